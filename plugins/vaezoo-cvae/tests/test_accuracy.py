"""The judge of samples: right about real images, and not to be fooled by copies."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from vaezoo_cvae import classifier
from vaezoo_cvae.accuracy import ConditionalAccuracy, SampleRecall
from vaezoo_cvae.coverage import Coverage, coverage

import vaezoo
from vaezoo.data.loader import Loader
from vaezoo.pretrained.finding import find_features
from vaezoo.runs.loaders import build_loader
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.utils.errors import IntegrityError, VaezooError

CPU = torch.device("cpu")
SPEC = {
    "spec": "vaezoo/v1",
    "name": "judge",
    "data": {"type": "mnist", "batch_size": 64},
    "model": {
        "latent_dim": 2,
        "encoder": {"type": "mlp", "hidden": [8]},
        "decoder": {"type": "mlp", "hidden": [8]},
        "likelihood": "bernoulli",
        "condition": "label",
    },
    "train": {"epochs": 1},
}


def prepared(binarize="none", images=1000):
    """The first test images, and a model of them that is not trained."""
    loaded = load_spec({**SPEC, "data": {**SPEC["data"], "binarize": binarize}})
    dataset, _, (task,) = prepare_training(loaded, CPU)
    first = build_loader(loaded, dataset, "test", CPU).split.select(torch.arange(images))
    return Loader(first, CPU, 64), task.model.eval()


@pytest.fixture(scope="module")
def mnist():
    return prepared()


class Replay:
    """Stands for a model: its samples are real images of the label asked for, the first
    ``variety`` in turn."""

    def __init__(self, model, batch, variety, lie=0):
        self.model, self.batch, self.variety, self.lie = model, batch, variety, lie

    def __getattr__(self, name):
        return getattr(self.model, name)

    def sample(self, n, condition=None, *, mean):
        self.mean = mean
        label = (int(condition[0]) + self.lie) % 10
        of_label = self.batch.x[self.batch.condition == label][: self.variety]
        return of_label[torch.arange(n) % len(of_label)]


def judged(mnist, **options):
    data, model = mnist
    with torch.inference_mode():
        replay = Replay(model, data.first(500), **options)
        return ConditionalAccuracy(per_class=40, draws=2)(replay, data)


def test_the_published_classifier_has_the_accuracy_it_states(mnist):
    split = vaezoo.load_spec(SPEC).data.build().split("test")
    measured = classifier.accuracy(classifier.load(), split.x, split.condition)
    title = find_features(classifier.PUBLISHED).weights.title
    assert measured == pytest.approx(0.9933, abs=2e-4) and "99.33 %" in title


def test_real_images_pass_and_cover(mnist):
    result = judged(mnist, variety=40)
    assert result["conditional_accuracy"].value > 0.98
    assert result["recall_by_class"].value > 0.5 and result["precision_by_class"].value > 0.95
    details = result["conditional_accuracy"].details
    assert details["accuracy_of_3"] > 0.95
    data, _ = mnist
    batch, net = data.first(len(data)), classifier.load()
    expected = float((net.logits(batch.x).argmax(1) == batch.condition).double().mean())
    assert details["accuracy_on_real_images"] == pytest.approx(expected)


def test_images_without_a_label_are_left_out_and_counted(mnist):
    data, model = mnist
    rows = torch.arange(len(data))
    hidden = torch.where(rows % 3 == 0, -1, data.split.condition)
    some = vaezoo.Loader(replace(data.split, condition=hidden), data.device, 500)
    known = vaezoo.Loader(data.split.select(rows[hidden >= 0]), data.device, 500)
    details = []
    with torch.inference_mode():
        for loader in (some, known):
            replay = Replay(model, data.first(500), variety=40)
            metric = ConditionalAccuracy(per_class=40, draws=2)
            details.append(metric(replay, loader)["conditional_accuracy"].details)
    assert details[0].pop("unlabelled") == int((hidden < 0).sum())
    assert details[0] == details[1]


def test_images_of_another_class_fail(mnist):
    assert judged(mnist, variety=40, lie=1)["conditional_accuracy"].value < 0.05


def test_recall_collapses_where_samples_of_a_class_are_alike(mnist):
    result = judged(mnist, variety=1)
    assert result["conditional_accuracy"].value > 0.9, "each copy is right"
    assert result["recall_by_class"].value < 0.02, "but says nothing of the others"


def test_coverage_is_that_of_the_definition():
    points, manifold = torch.randn(30, 2), torch.randn(40, 2)
    distances = torch.linalg.norm(manifold[:, None] - manifold[None], dim=-1)
    reach = distances.sort(1).values[:, 3]
    expected = (torch.linalg.norm(points[:, None] - manifold[None], dim=-1) <= reach).any(1)
    assert torch.equal(coverage(points, manifold), expected)


def test_the_stated_errors_are_the_spread_of_repeated_estimates():
    """Also where all real points share one drawn manifold, and all samples one real manifold."""
    stated, recall, precision, once = [], [], [], []
    for seed in range(30):
        torch.manual_seed(seed)
        real, draws = torch.randn(500, 4), [0.7 * torch.randn(40, 4) + 1 for _ in range(5)]
        result = Coverage.of(real, draws)
        estimates = result.estimate_recall(), result.estimate_precision()
        stated.append([estimate.error for estimate in estimates])
        recall.append(estimates[0].value)
        precision.append(estimates[1].value)
        once.append(float(result.recall[0].double().mean()))
    stated, spread = torch.tensor(stated).mean(0), torch.tensor([recall, precision]).std(1)
    assert (0.6 * spread < stated).all() and (stated < 1.6 * spread).all(), stated / spread
    once = torch.tensor(once)
    binomial = (once.mean() * (1 - once.mean()) / 500).sqrt()
    assert binomial < 0.6 * once.std(), "an error that ignores the draw is too small"


@pytest.mark.parametrize(("binarize", "mean"), [("none", True), ("static", False)])
def test_images_of_binary_data_are_drawn(binarize, mean, mnist):
    data, model = mnist if binarize == "none" else prepared(binarize, images=300)
    replay = Replay(model, data.first(300), variety=30)
    with torch.inference_mode():
        result = ConditionalAccuracy(per_class=30, draws=2)(replay, data)
    note = "images are means of p(x|z)" if mean else "images drawn from p(x|z)"
    assert replay.mean == mean and {each.note for each in result.values()} == {note}


def test_images_that_are_not_finite_are_no_misses(mnist):
    data, model = mnist
    broken = Replay(model, data.first(300), variety=30)
    broken.batch.x[0] = torch.nan
    with torch.inference_mode(), pytest.raises(VaezooError, match=r"pixel of sample \d+ is nan"):
        ConditionalAccuracy(per_class=30, draws=2)(broken, data)


def test_samples_without_labels_are_judged_too(mnist):
    data, _ = mnist
    plain = {
        **SPEC,
        "model": {key: value for key, value in SPEC["model"].items() if key != "condition"},
    }
    model = prepare_training(load_spec(plain), CPU)[2][0].model.eval()
    with model.inference():
        result = SampleRecall(samples=50, draws=2)(model, data)
        assert result["sample_recall"].examples == 1000 and result["sample_recall"].value < 0.1
        with pytest.raises(NotImplementedError, match="conditional on ten digits"):
            ConditionalAccuracy()(model, data)


def test_other_images_and_other_files_are_refused(mnist, tmp_path):
    digits = {**SPEC, "data": {"type": "digits"}}
    _, train, (task,) = prepare_training(load_spec(digits), CPU)
    with pytest.raises(NotImplementedError, match="28x28"):
        SampleRecall()(task.model, train)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no weights")
    with pytest.raises(IntegrityError, match="not the weights of a classifier"):
        classifier.load(broken)
