"""Runs of several stages: what moves, what stands still, where each begins, and resume."""

from __future__ import annotations

import shutil

import pytest
import torch

import vaezoo
from vaezoo.cli.main import cli
from vaezoo.components.regularizers import KL
from vaezoo.model.task import Task
from vaezoo.pretrained.finding import find_entry
from vaezoo.runs.checking import reproduce
from vaezoo.runs.dry_run import dry_run
from vaezoo.runs.init import load_init
from vaezoo.runs.start import run
from vaezoo.spec.load import load_spec
from vaezoo.training.trainer import Trainer
from vaezoo.utils.errors import SpecError, UnavailableError

MIXTURE = {"model": {"prior": {"type": "mixture", "components": 3}}}
LINEAR = {"type": "kl", "weight": {"type": "linear", "steps": 20}}
AUTOENCODER = {
    "name": "autoencoder",
    "parts": ["encoder", "posterior", "decoder"],
    "steps": 12,
    "select": "distortion",
    "regularizers": [],
}
PRIOR = {"name": "prior", "parts": ["prior"], "objective": "prior-nll", "steps": 14}
ALL = {"name": "all", "steps": 13, "objective": "reconstruction", "regularizers": [LINEAR]}
TRAIN = {"log_every": 4, "epochs": None}
"""Ten steps are an epoch."""


def staged(*stages, **blocks):
    return {**MIXTURE, "stages": list(stages), "train": TRAIN, **blocks}


@pytest.fixture
def ends(monkeypatch):
    """The state of the task at the end of each stage, before the next begins, by its name."""
    states = {}
    original = Trainer.load_weights

    def load_weights(self, *, best):
        last = {name: value.clone() for name, value in self.task.state_dict().items()}
        original(self, best=best)
        chosen = {name: value.clone() for name, value in self.task.state_dict().items()}
        states[self.stage.name] = (last, chosen)

    monkeypatch.setattr(Trainer, "load_weights", load_weights)
    return states


def moved(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_only_the_parts_of_a_stage_move(train, ends):
    train(**staged(AUTOENCODER, PRIOR, ALL))
    first, second, third = (
        {name: value for name, value in chosen.items() if name.startswith("model.")}
        for _, chosen in ends.values()
    )
    trained = moved(first, second)
    assert trained == {f"model.latents.prior.{name}" for name in ("logits", "mean", "log_scale")}
    assert moved(second, third) == {*first}


def test_other_parts_are_in_evaluation_mode_and_get_no_gradients(train, monkeypatch):
    seen, original = [], Task.set_step

    def set_step(task, step):
        original(task, step)
        if task.training and step:
            parts = (task.model.encoder, task.model.latents.prior, task.objective)
            weights = {weight.requires_grad for weight in task.model.encoder.parameters()}
            seen.append((task.parts, tuple(part.training for part in parts), weights))

    monkeypatch.setattr(Task, "set_step", set_step)
    done = train(**staged(AUTOENCODER, PRIOR))
    assert [each[1:] for each in seen] == [((True, False, True), {True})] * 11 + [
        ((False, True, True), {False})
    ] * 13
    assert all(weight.requires_grad for weight in done.model.parameters())


def test_the_first_stage_is_a_run_without_stages(train, same):
    alone = train(train={**TRAIN, "steps": 12}, **MIXTURE)
    first = train(**staged({"name": "first", "steps": 12}))
    same(alone.model.state_dict(), first.model.state_dict())
    assert alone.evaluation == first.evaluation


def test_the_random_streams_of_a_stage_are_its_own(train, monkeypatch):
    seeds, original = {}, Task.set_step

    def set_step(task, step):
        original(task, step)
        seeds[id(task), step] = torch.initial_seed()  # the last is that of training

    monkeypatch.setattr(Task, "set_step", set_step)
    train(**staged({"name": "a", "steps": 5}, {"name": "b", "steps": 5}))
    assert len(seeds) == len({*seeds.values()}) == 10


@pytest.mark.parametrize("begin_from", ["best", "last"])
def test_a_stage_begins_from_the_best_or_the_last_weights(begin_from, train, ends, monkeypatch):
    worse = iter([1.0, 0.0, -1.0] + [5.0] * 9)
    monkeypatch.setattr(
        "vaezoo.runs.stages.validate",
        lambda task, data: {"bound": next(worse), "elbo": 0.0, "distortion": 0.0, "rate": 0.0},
    )
    starts, original = [], Trainer.fit

    def fit(self):
        starts.append({name: v.clone() for name, v in self.task.model.state_dict().items()})
        original(self)

    monkeypatch.setattr(Trainer, "fit", fit)
    train(**staged({"name": "a", "steps": 30}, {"name": "b", "steps": 5, "from": begin_from}))
    last, chosen = ends["a"]
    expected = chosen if begin_from == "best" else last
    assert not moved(starts[1], {n.removeprefix("model."): v for n, v in expected.items()})
    assert bool(moved(last, chosen)) == (begin_from == "best")


def test_records_name_the_stage_and_count_the_steps_of_the_run(train):
    records = train(**staged(AUTOENCODER, PRIOR, ALL)).records
    trained = [record for record in records if record["split"] == "train"]
    position = [(r["stage"], r["step"], r["stage_step"], r["steps"]) for r in trained]
    assert position == sorted(position, key=lambda each: each[1])
    assert ("autoencoder", 12, 12, 39) in position and ("prior", 26, 14, 39) in position
    assert ("all", 30, 4, 39) in position and ("all", 39, 13, 39) in position
    assert not any("rate" in r or "elbo" in r for r in records if r["stage"] == "autoencoder")
    assert all("distortion" not in r and "rate" in r for r in records if r["stage"] == "prior")


def test_schedules_count_the_steps_of_their_stage(train):
    records = train(**staged(AUTOENCODER, PRIOR, ALL)).records
    weights = [(r["stage_step"], r["kl_weight"]) for r in records if "kl_weight" in r]
    assert [step for step, _ in weights] == [4, 8, 10, 12, 13]
    for step, weight in weights:
        assert weight == pytest.approx((step - 1) / 20)


@pytest.mark.parametrize("step", [8, 10, 12, 20, 26, 30], ids="step {}".format)
def test_a_resumed_run_has_the_same_bits(step, resumes_exactly):
    """Step 12 is the boundary of the first two stages, 26 that of the others."""
    blocks = staged({**AUTOENCODER, "ema": 0.9}, {**PRIOR, "scheduler": "one-cycle"}, ALL)
    blocks["stages"][1]["scheduler"] = {"type": "one-cycle", "max_lr": 0.01}
    resumes_exactly(step, **blocks)


def test_a_dry_run_takes_a_step_in_every_stage(spec):
    report = dry_run(load_spec(spec(**staged(AUTOENCODER, PRIOR, ALL))))
    assert list(report.losses) == ["autoencoder/model", "prior/model", "all/model"]


def test_what_adapts_hears_each_step_of_a_stage_that_trains_it(train, monkeypatch):
    steps, batches = [], []
    monkeypatch.setattr(KL, "after_step", lambda self, result: steps.append(result.step))
    monkeypatch.setattr(KL, "initialise", lambda self, model, batch: batches.append(len(batch)))
    train(**staged({**ALL, "accumulate": 2, "steps": 4}, {**ALL, "name": "b", "steps": 3}))
    assert steps == [0, 1, 2, 3, 0, 1, 2]
    assert batches == [128, 128]


# -------------------------------------------------------------------------------------------------
# ---- weights to begin with


def test_parts_begin_with_the_weights_of_another_run(train, spec, same):
    source = train(seed=3, train={"epochs": 1})
    blocks = spec(init=[{"from": str(source.path), "parts": ["encoder", "latents"]}])
    fresh, model = (
        vaezoo.compose(load_spec(s), source.model.data, 9).model for s in (spec(), blocks)
    )
    loaded = load_init(load_spec(blocks), model)
    assert loaded[0]["parts"] == ["encoder", "latents"] and len(loaded[0]["sha256"]) == 64
    for part, expected in (
        ("encoder", source.model),
        ("latents", source.model),
        ("decoder", fresh),
    ):
        same(getattr(model, part).state_dict(), getattr(expected, part).state_dict())


def test_all_parts_begin_with_pretrained_weights(same):
    loaded = vaezoo.load("vae-mnist-conv")
    spec = load_spec("examples/zoo/vae-mnist-conv.yaml", ["init=[{from: vae-mnist-conv}]"])
    model = vaezoo.compose(spec, loaded.data, 50000).model
    load_init(spec, model)
    same(model.state_dict(), loaded.state_dict())


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"from": "SOURCE", "parts": ["encoder", "decoder"]}, r"init\.0\.parts\.1: decoder of .*"
         r"weights do not fit the spec: .*net\.0\.weight is \(16, 2\), expected \(32, 2\)"),
        ({"from": "SOURCE", "parts": ["encodr"]}, r"init\.0\.parts\.0: .*did you mean 'encoder'"),
        ({"from": "runs/missing"}, r"init\.0\.from: runs/missing: not a run, and no weights"),
        ({"form": "SOURCE"}, r"init\.0\.form: unknown key; did you mean 'from'"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused_at_their_line(item, message, train, spec, tmp_path):
    source = train(train={"epochs": 1})
    item = {key: str(source.path) if v == "SOURCE" else v for key, v in item.items()}
    blocks = spec(init=[item], model={"decoder": {"type": "mlp", "hidden": [32]}})
    with pytest.raises(SpecError, match=rf":\d+:\d+: {message}"):
        run(blocks, out=tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def test_published_weights_need_neither_the_run_nor_what_it_began_with(
    train, spec, tmp_path, same
):
    source = train(train={"epochs": 1})
    done = run(spec(init=[{"from": str(source.path)}], train={"epochs": 1}), out=tmp_path / "b")
    cli.main(
        ["publish", str(done.path), "--name", "a/b@1", "--to", str(tmp_path / "lab")],
        standalone_mode=False,
    )
    text = (tmp_path / "lab/weights/a-b-1/spec.yaml").read_text()
    assert str(tmp_path) not in text and source.path.name not in text
    assert "from: unpublished" in text
    with pytest.raises(UnavailableError, match=r"began with 'unpublished'.*cannot be repeated"):
        reproduce(find_entry("lab:a/b@1", [str(tmp_path / "lab")]), tmp_path / "again", print)
    weights = done.model.state_dict()
    shutil.rmtree(source.path)
    shutil.rmtree(done.path)
    same(weights, vaezoo.load("lab:a/b@1", registry=tmp_path / "lab").state_dict())


# -------------------------------------------------------------------------------------------------
# ---- samplers


def test_a_sampler_is_fitted_stored_and_used(train, spec):
    done = train(samplers={"gmm": {"type": "gaussian-mixture", "components": 4}})
    assert bool(done.model.samplers["gmm"].logits.any()), "fitted"
    opened = vaezoo.open_run(done.path, device="cpu")
    first, second = (m.sample(5, seed=1, sampler="gmm") for m in (done.model, opened.model))
    assert torch.equal(first, second) and not torch.equal(first, done.model.sample(5, seed=1))
    plain, other = (opened.evaluate(metrics=["rate"], sampler=s) for s in (None, "gmm"))
    assert plain["metrics"] != other["metrics"] and other["sampler"] == "gmm"
    with pytest.raises(ValueError, match="no sampler named 'gm'; the model has gmm"):
        done.model.sample(1, sampler="gm")


def test_a_sampler_can_be_trained_in_a_stage(train):
    samplers = {"flow": {"type": "mixture", "components": 3}}
    stages = ({"name": "vae", "steps": 10}, {**PRIOR, "sampler": "flow"})
    del stages[1]["parts"]
    done = train(samplers=samplers, stages=list(stages), train=TRAIN)
    log = [record["loss"] for record in done.records if record["stage"] == "prior"
           and record["split"] == "train"]  # fmt: skip
    assert log[-1] < log[0]
    assert done.model.sample(3, sampler="flow").shape == (3, 1, 8, 8)
