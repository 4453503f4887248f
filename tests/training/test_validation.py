"""Validation: its metrics, the selection of the best weights, and early stopping."""

from __future__ import annotations

import pytest
import torch

from vaezoo.components.regularizers import KL
from vaezoo.evaluation.validation import validate
from vaezoo.runs.loaders import build_loader
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.utils.seeds import seed_device

CPU = torch.device("cpu")


def validations(run):
    return [record for record in run.records if record["split"] == "validation"]


def measured(run, **train):
    """The results of ``validate`` for the selected weights of a run."""
    spec = load_spec({**run.spec.resolved(), "train": {**run.spec.resolved()["train"], **train}})
    dataset, _, (task,) = prepare_training(spec, CPU)
    task.model.load_state_dict(run.model.state_dict())
    seed_device(CPU, spec.seed, "validation")
    return validate(task, build_loader(spec, dataset, "validation", CPU))


def parts_of(record):
    return {key: record[key] for key in ("distortion", "rate", "elbo", "bound")}


# what each validation measures: the best by one figure is never the best by another, nor the last
SCRIPT = [
    {"bound": -9.0, "elbo": -5.0, "distortion": 3.0},
    {"bound": -1.0, "elbo": -6.0, "distortion": 5.0},
    {"bound": -2.0, "elbo": -7.0, "distortion": 1.0},
    {"bound": -3.0, "elbo": -8.0, "distortion": 2.0},
]


@pytest.mark.parametrize(
    ("select", "best"), [("bound", 20), ("elbo", 10), ("distortion", 30), (None, 20)]
)
def test_the_weights_kept_are_those_of_the_best_validation(select, best, trainer):
    block = {"epochs": 4} if select is None else {"epochs": 4, "select": select}
    chosen, remaining = trainer(SCRIPT, train=block), {}
    inputs = chosen.validate

    def remember(task):
        remaining[chosen.step] = {
            name: weight.clone() for name, weight in task.model.state_dict().items()
        }
        return inputs(task)

    chosen.validate = remember
    chosen.fit()
    assert chosen.selection.best["step"] == best
    for name, weight in chosen.selection.best["model"].items():
        assert torch.equal(weight, remaining[best][name])
        assert not torch.equal(weight, remaining[40][name])
    flags = [
        record["best"] for record in chosen.run_log.records if record["split"] == "validation"
    ]
    assert flags == [step in (10, best) for step in (10, 20, 30, 40)]


def test_the_training_loss_decides_nothing(trainer):
    """A loss that only falls, beside a bound that only worsens: the first weights are kept."""
    chosen = trainer([{"bound": -1.0 - n} for n in range(3)], train={"epochs": 3})
    chosen.fit()
    losses = [record["loss"] for record in chosen.run_log.records if record["split"] == "train"]
    assert losses[-1] < losses[0] and chosen.selection.best["step"] == 10


@pytest.mark.parametrize(("patience", "end"), [(1, 20), (2, 50), (3, 60)])
def test_early_stopping_counts_validations_without_progress(patience, end, trainer):
    bounds = [-3.0, -4.0, -2.0, -2.0, -2.5, -1.0]
    block = {"epochs": 6, "early_stopping": patience}
    stopped = trainer([{"bound": bound} for bound in bounds], train=block)
    stopped.fit()
    assert stopped.step == end
    assert stopped.run_log.checkpoints[-1] == end


def test_validation_comes_every_so_many_epochs_and_at_the_end(trainer):
    rare = trainer(train={"steps": 47, "epochs": None, "validate_every": 2})
    rare.fit()
    assert [r["step"] for r in rare.run_log.records if r["split"] == "validation"] == [20, 40, 47]


def test_the_weight_of_kl_is_in_the_loss_and_in_no_other_figure(train):
    for weight in (0.0, 4.0):
        run = train(regularizers=[{"type": "kl", "weight": weight}], train={"epochs": 2})
        for record in run.records:
            assert record["elbo"] == pytest.approx(
                -(record["distortion"] + record["rate"]), rel=1e-6
            )
            assert record["rate"] > 0.001
            if record["split"] == "train":
                assert record["kl_weight"] == weight and record["kl"] == record["rate"]
                assert record["loss"] == pytest.approx(
                    record["distortion"] + weight * record["kl"], rel=1e-6
                )
                assert record["loss"] != pytest.approx(-record["elbo"], rel=1e-6)
            else:
                assert not {"loss", "kl", "kl_weight"} & record.keys()
                assert record["bound"] == pytest.approx(record["elbo"], rel=1e-6)


def test_the_logged_means_are_those_of_every_step(train):
    """Records of four steps hold the means of the records of each."""
    fine = [r for r in train(train={"log_every": 1, "epochs": 1}).records if r["split"] == "train"]
    coarse = [
        r for r in train(train={"log_every": 4, "epochs": 1}).records if r["split"] == "train"
    ]
    groups = [fine[0:4], fine[4:8], fine[8:10]]
    for record, steps in zip(coarse, groups, strict=True):
        for key in ("loss", "distortion", "rate", "kl", "elbo"):
            assert record[key] == pytest.approx(
                sum(step[key] for step in steps) / len(steps), rel=1e-6
            )
        assert record["step"] == steps[-1]["step"]


@pytest.mark.parametrize("readers", [{49}, {3, 49, 50, 59}, set(range(60))], ids=len)
def test_a_component_may_read_the_terms_of_any_step(readers, train, monkeypatch):
    """Also of the fiftieth, after which terms that nobody has read are averaged."""
    options = {"steps": 60, "epochs": None, "validate_every": 10}
    fine = train(train={"log_every": 1, **options}).records
    expected = {r["step"] - 1: r["rate"] for r in fine if r["split"] == "train"}
    read = {}

    def after_step(penalty, result):
        if result.step in readers:
            read[result.step] = float(result.terms["rate"])

    monkeypatch.setattr(KL, "after_step", after_step)
    train(train={"log_every": 60, **options})
    assert read == {step: pytest.approx(expected[step], rel=1e-6) for step in sorted(readers)}


def test_a_schedule_is_logged_with_the_weight_its_step_was_taken_with(train):
    ramp = {"type": "kl", "weight": {"type": "linear", "steps": 8}}
    records = train(regularizers=[ramp], train={"log_every": 1, "epochs": 1}).records
    reported = [record for record in records if record["split"] == "train"]
    assert [record["kl_weight"] for record in reported] == [
        min(1.0, step / 8) for step in range(10)
    ]
    for record in reported:
        assert record["loss"] == pytest.approx(
            record["distortion"] + record["kl_weight"] * record["kl"], rel=1e-6
        )


def test_iwae_is_selected_by_its_own_bound(train):
    run = train(objective={"type": "iwae", "samples": 8})
    for record in validations(run):
        assert record["bound"] > record["elbo"], "eight samples are tighter than one"
    best = max(validations(run), key=lambda record: record["bound"])
    assert parts_of(best) == measured(run)


@pytest.mark.parametrize("ema", [None, 0.9])
def test_the_kept_weights_measure_what_the_best_record_says(ema, train):
    run = train(train={"ema": ema, "epochs": 4} if ema else {"epochs": 4})
    best = [record for record in validations(run) if record["best"]][-1]
    assert parts_of(best) == measured(run)


@pytest.mark.parametrize("samples", [1, 4])
def test_validation_of_a_bf16_run_computes_in_fp32(samples, train, monkeypatch):
    """Both the figures that select the best weights and those of the evaluation."""
    objective = {"type": "reconstruction", "samples": samples}
    run = train(train={"precision": "bf16", "epochs": 1}, objective=objective)
    (record,) = validations(run)
    assert parts_of(record) == measured(run, precision="fp32")
    assert run.model.precision == "fp32"
    other = train(train={"epochs": 1}, objective=objective)
    assert parts_of(validations(other)[0]) != parts_of(record), "training itself must be in bf16"
    monkeypatch.setattr(
        type(run.model),
        "inference",
        lambda self, precision=None, *, others=(): torch.inference_mode(),
    )
    assert parts_of(record) != measured(run, precision="bf16"), "bf16 would have been seen"


def test_validation_leaves_training_as_it_was(trainer, same):
    """How often a run validates changes no weight of its last step."""
    model = {"encoder": {"type": "mlp", "hidden": [16], "dropout": 0.5}}
    ends = []
    for every in (1, 4):
        trained = trainer(train={"epochs": 4, "validate_every": every}, model=model)
        inputs = trained.validate
        trained.validate = lambda task, inputs=inputs: (task.eval(), torch.rand(3), inputs(task))[
            2
        ]
        trained.fit()
        ends.append(trained.task.state_dict())
    same(*ends)
