"""Drawing and weighing training examples by class."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.conftest import measure_nothing
from vaezoo.data.balance import Balance
from vaezoo.data.dataset import Split
from vaezoo.data.loader import Loader
from vaezoo.runs.dry_run import dry_run
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.utils.errors import SpecError
from vaezoo.utils.files import read_json

CPU = torch.device("cpu")
CLASSES = ("cat", "dog", "owl")
LABELS = torch.tensor([0] * 80 + [1] * 15 + [2] * 5)
PARTLY = torch.tensor([0] * 40 + [1] * 10 + [-1] * 50)


class Lazy(torch.utils.data.Dataset):
    """Examples that hold their index, with the labels ``LABELS``."""

    def __len__(self):
        return len(LABELS)

    def __getitem__(self, i):
        return torch.tensor([float(i)]), LABELS[i]


def loader(labels=LABELS, *, lazy=False, rank=0, world_size=1, size=16, **options):
    x = torch.arange(len(labels), dtype=torch.float32)[:, None]
    split = Split(Lazy()) if lazy else Split(x, labels)
    result = Loader(split, CPU, size, seed=3, rank=rank, world_size=world_size)
    result.balance = Balance(labels, CLASSES, **options)
    return result


def drawn(batches):
    """How often each example is in the batches, ``[n]``."""
    return torch.bincount(torch.cat([batch.index for batch in batches]), minlength=100)


@pytest.mark.parametrize("lazy", [False, True])
def test_balanced_sampling_draws_each_class_and_each_of_its_examples_equally_often(lazy):
    for epoch in range(3):
        counts = drawn(loader(lazy=lazy, sampling="balanced").epoch(epoch))
        assert counts.sum() == 100
        for label, expected in ((0, 100 / 3), (1, 100 / 3), (2, 100 / 3)):
            of_class = counts[label == LABELS]
            assert abs(int(of_class.sum()) - expected) < 1
            assert of_class.max() - of_class.min() <= 1


def test_given_weights_are_those_of_an_example():
    counts = drawn(loader(sampling={"owl": 4, "dog": 0}).epoch(0))  # 80 cats, and 5 x 4 owls
    assert [int(counts[label == LABELS].sum()) for label in range(3)] == [80, 0, 20]
    assert counts[LABELS == 2].tolist() == [4] * 5


def test_balanced_sampling_keeps_the_share_of_examples_without_a_label():
    counts = drawn(loader(PARTLY, sampling="balanced").epoch(0))
    shares = [int(counts[label == PARTLY].sum()) for label in (0, 1, -1)]
    assert shares == pytest.approx([25, 25, 50], abs=1)


def test_an_epoch_is_a_function_of_its_number_and_processes_divide_its_batches():
    whole = loader(sampling="balanced")
    torch.manual_seed(5)
    order = whole.epoch_order(4)
    assert torch.equal(order, loader(sampling="balanced").epoch_order(4))
    assert not torch.equal(order, whole.epoch_order(5))
    assert not torch.equal(order[:10], order.sort().values[:10])
    shares = [
        [b.index for b in loader(sampling="balanced", rank=rank, world_size=2).epoch(4)]
        for rank in range(2)
    ]
    for batch, first, second in zip(whole.epoch(4), *shares):
        assert torch.equal(batch.index[::2], first) and torch.equal(batch.index[1::2], second)
    resumed = list(whole.epoch(4, start=3))
    assert torch.equal(resumed[0].index, list(whole.epoch(4))[3].index)


def test_other_batches_than_those_of_training_are_neither_drawn_nor_weighed():
    batches = list(loader(sampling="balanced", loss="balanced").ordered())
    assert torch.cat([batch.index for batch in batches]).tolist() == list(range(100))
    assert all(batch.weight is None for batch in batches)


@pytest.mark.parametrize("sampling", [None, "balanced", {"owl": 7}])
@pytest.mark.parametrize("loss", ["balanced", {"cat": 0.1, "owl": 3}])
def test_weights_have_a_mean_of_1_over_the_examples_that_are_drawn(sampling, loss):
    balance = Balance(LABELS, CLASSES, sampling=sampling, loss=loss)
    share = torch.ones(100).double() if balance.sampling is None else balance.sampling
    if balance.loss is None:  # every example would count the same
        return
    assert float((share / share.sum()) @ balance.loss.double()) == pytest.approx(1, rel=1e-6)
    totals = [float(balance.loss[label == LABELS].sum()) for label in range(3)]
    if loss == "balanced":
        assert totals == pytest.approx([totals[0]] * 3)
    else:
        per_example = [total / n for total, n in zip(totals, (80, 15, 5))]
        assert per_example[2] / per_example[0] == pytest.approx(30)


@pytest.mark.parametrize("weights", [{"cat": 1.0}, dict.fromkeys(CLASSES, 0.3), "balanced"])
def test_uniform_weights_change_nothing(weights):
    labels = torch.arange(99) % 3
    balance = Balance(labels, CLASSES, sampling=weights, loss=weights)
    assert balance.sampling is None and balance.loss is None and not balance.phrases()


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (LABELS, {"sampling": {"dogs": 1}}, "no class 'dogs'; did you mean 'dog'"),
        (LABELS, {"loss": {"cat": 0, "dog": 0, "owl": 0}}, "has a positive weight"),
        (LABELS, {"sampling": {"cat": 0}, "loss": {"dog": 0, "owl": 0}}, "that is drawn"),
        (LABELS * 0 - 1, {"sampling": "balanced"}, "no training example has a label"),
    ],
)
def test_weights_that_do_not_fit_the_classes_are_refused(labels, options, message):
    with pytest.raises(ValueError, match=message):
        Balance(labels, CLASSES, **options)


@pytest.fixture
def imbalanced(tmp_path):
    """The options of an npz file of 400 examples with the labels 0 (90 %) and 1."""
    random = np.random.default_rng(0)
    labels = (np.arange(400) % 10 == 0).astype(np.int64)
    np.savez(tmp_path / "x.npz", x=random.random((400, 4), dtype=np.float32), condition=labels)
    return {"type": "npz", "path": str(tmp_path / "x.npz"), "batch_size": 64}


NORMAL = {"likelihood": "normal"}


def test_the_loss_is_the_weighted_mean_over_examples(imbalanced, trainer):
    run = trainer(
        data={**imbalanced, "class_weights": {"1": 5.0}},
        model=NORMAL,
        train={"optimizer": {"type": "sgd", "lr": 1.0}},
    )
    (phase,), batch = run.phase_optimizers, next(run.loader.epoch(0))
    weight = torch.where(batch.condition == 1, 5.0, 1.0)
    labels = run.loader.condition
    weight = weight / torch.where(labels == 1, 5.0, 1.0).mean()
    before = [parameter.detach().clone() for parameter in run.task.parameters()]
    torch.manual_seed(0)
    loss, _ = run.task(batch)
    expected = torch.autograd.grad((loss * weight).mean(), list(run.task.parameters()))
    torch.manual_seed(0)
    terms = phase.step(batch, len(batch), measure_norm=False)
    torch.testing.assert_close(terms["loss"], loss.detach() * weight)
    for old, new, gradient in zip(before, run.task.parameters(), expected):
        torch.testing.assert_close(old - new, gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_parts_of_a_batch_have_the_gradient_of_the_whole(
    imbalanced, trainer, without_noise, accumulate
):
    gradients = []
    for parts in (1, accumulate):
        run = trainer(
            data={**imbalanced, "class_weights": "balanced"},
            model=NORMAL,
            train={"accumulate": parts},
        )
        batch = next(run.loader.epoch(0))
        run.phase_optimizers[0].step(batch, len(batch), measure_norm=False)
        gradients.append([parameter.grad for parameter in run.task.parameters()])
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_uniform_weights_train_the_same_bits(imbalanced, train, left_by, same, monkeypatch):
    monkeypatch.setattr("vaezoo.runs.run.Run.evaluate", measure_nothing)
    plain = train(data=imbalanced, model=NORMAL)
    uniform = {"0": 0.3, "1": 0.3}
    weighed = train(
        data={**imbalanced, "class_weights": uniform, "class_sampling": uniform}, model=NORMAL
    )
    same(left_by(plain.path)[1], left_by(weighed.path)[1])
    balanced = train(data={**imbalanced, "class_weights": "balanced"}, model=NORMAL)
    with pytest.raises(AssertionError):
        same(left_by(plain.path)[1], left_by(balanced.path)[1])


def test_a_balanced_run_resumes_exactly(imbalanced, resumes_exactly):
    data = {**imbalanced, "class_sampling": "balanced", "class_weights": {"1": 2.0}}
    resumes_exactly(6, data=data, model=NORMAL, train={"epochs": 3, "log_every": 1})


def test_the_dry_run_and_the_record_of_a_run_say_it(imbalanced, spec, train):
    data = {**imbalanced, "class_sampling": "balanced", "class_weights": {"1": 3.0}}
    report = dry_run(load_spec(spec(data=data, model=NORMAL)))
    text = "balance: of 320 examples an epoch draws 0 160, 1 160; the loss weighs 0 0.5, 1 1.5"
    assert text in report.as_text()
    assert "class_sampling: balanced" in report.as_text()
    run = train(data=data, model=NORMAL, train={"epochs": 1})
    recorded = read_json(run.directory.environment)["examples"]["balance"]
    assert text.removeprefix("balance: ").split("; ") == recorded
    assert run.data("train").balance is None


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ({"data": {"class_sampling": {"9": 1.0}}}, r"data\.class_sampling: no class '9'"),
        ({"data": {"class_weights": "even"}}, r"data\.class_weights: .*balanced"),
        ({"data": {"class_weights": {"0": -1}}}, r"data\.class_weights: .*'0' is -1.0; 0 is"),
        (
            {
                "data": {"class_weights": {"1": 2.0}},
                "model": {"likelihood": {"type": "normal", "scale": "optimal"}},
            },
            r"data\.class_weights: model\.likelihood \(NormalLikelihood\) is a term of a whole",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused_at_their_place(imbalanced, spec, blocks, message):
    blocks = {"model": NORMAL, **blocks, "data": {**imbalanced, **blocks["data"]}}
    with pytest.raises(SpecError, match=message):
        prepare_training(load_spec(spec(**blocks)), CPU)


def test_data_without_labels_cannot_be_balanced(tmp_path, spec):
    np.savez(tmp_path / "x.npz", x=np.zeros((40, 4), np.float32))
    data = {"type": "npz", "path": str(tmp_path / "x.npz"), "class_sampling": "balanced"}
    with pytest.raises(SpecError, match=r"data\.class_sampling: .*'npz' has no class labels"):
        prepare_training(load_spec(spec(data=data, model=NORMAL)), CPU)


def test_data_that_already_says_how_often_examples_are_drawn_is_refused(spec):
    data = {"type": "mnist", "labels": 100, "class_sampling": "balanced"}
    with pytest.raises(SpecError, match=r"already say how often examples are drawn"):
        prepare_training(load_spec(spec(data=data)), CPU)
