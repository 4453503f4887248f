"""Stages, samplers and schedules of a spec: what is refused, and at which line."""

from __future__ import annotations

import pytest
import torch

from vaezoo.components.posteriors import DiagonalNormalPosterior
from vaezoo.components.regularizers import KL
from vaezoo.model.objectives import Schedule
from vaezoo.model.phase import Phase
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.dump import dump
from vaezoo.spec.load import load_spec
from vaezoo.utils.errors import SpecError

CPU = torch.device("cpu")
MIXTURE = {"prior": {"type": "mixture", "components": 3}}
A, B = {"name": "a", "steps": 3}, {"name": "b", "steps": 3}


@pytest.fixture
def refused(spec, tmp_path):
    """The message of the SpecError with which a spec is refused."""

    def compose(**blocks):
        path = tmp_path / "spec.yaml"
        path.write_text(dump(spec(**blocks)))
        with pytest.raises(SpecError) as caught:
            prepare_training(load_spec(path), CPU)
        return str(caught.value)

    return compose


def stages(*blocks, **others):
    return {"stages": list(blocks), "train": {"epochs": 2}, **others}


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (stages(A, {**B, "name": "a"}), "stages.1.name: two stages are named 'a'"),
        (stages({**A, "from": "best"}), "stages.0.from: the first stage has no stage before it"),
        (stages({**A, "epochs": 3}), "stages.0: give `epochs` or `steps`, not both"),
        (stages({**A, "parts": ["encodr"]}), "stages.0.parts.0: the model has no part named "
         "'encodr'; did you mean 'encoder'?"),
        (stages({**A, "parts": ["likelihood"]}), "stages.0.parts: this stage has no weights"),
        (stages({**A, "parts": []}), "stages.0.parts: must be a list of 1 or more"),
        (stages({**A, "sampler": "gmm"}), "stages.0.sampler: no sampler named 'gmm'; list it"),
        (stages({**A, "optimizer": "adamm"}), "stages.0.optimizer.type: no optimizer named"),
        (stages({**A, "warmup": 3, "scheduler": {"type": "one-cycle", "max_lr": 1.0}}),
         "stages.0.warmup: scheduler 'one-cycle' sets the learning rate itself; remove warmup"),
        (stages({**A, "objective": "prior-nll", "regularizers": ["kl"]}),
         "stages.0.regularizers.0: objective 'prior-nll' already includes the rate"),
        (stages({**A, "objective": "prior-nll", "select": "distortion"}),
         "stages.0.select: 'distortion' is not defined for objective 'prior-nll'"),
        (stages({**A, "parts": ["encoder", "decoder"], "regularizers": []}, model=MIXTURE),
         "stages.0.select: 'bound' is not defined here: up to this stage the prior is not"),
        (stages({**A, "objectiv": "iwae"}), "stages.0.objectiv: unknown key; did you mean"),
        ({"train": {"warmup": 3, "scheduler": {"type": "one-cycle", "max_lr": 1.0}}},
         "train.warmup: scheduler 'one-cycle' sets the learning rate itself; remove warmup"),
        ({"samplers": {"normal": "standard-normal"}}, "samplers.normal: prior 'standard-normal' "
         "cannot be fitted to codes; train it in a stage with sampler: normal"),
        ({"samplers": {"prior": "gaussian-mixture"}}, "samplers.prior: 'prior' is not a name for"),
        ({"samplers": {"gmm": "gausian-mixture"}}, "samplers.gmm: no prior named"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_at_its_line(blocks, message, refused):
    text = refused(**blocks)
    assert message in text
    assert text.split(": ")[0].count(":") == 2, "file, line and column"


def test_every_fault_of_every_stage_is_reported_at_once(refused):
    faults = refused(**stages({**A, "optimizer": "adamm"}, {**B, "objective": "iwaee"}))
    assert len(faults.splitlines()) == 2


def test_a_stage_has_the_options_of_the_spec_and_its_own(spec):
    loaded = load_spec(
        spec(
            train={"epochs": 7, "clip": 2.0, "optimizer": {"type": "sgd", "lr": 0.5}},
            regularizers=[],
            stages=[A, {"name": "b", "clip": None, "objective": "reconstruction"}],
        )
    )
    first, second = loaded.stages
    assert (first.train.steps, first.train.epochs, first.train.clip) == (3, None, 2.0)
    assert (second.train.steps, second.train.epochs, second.train.clip) == (None, 7, None)
    assert second.train.optimizer.type == "sgd" and second.seed != first.seed == loaded.seed
    assert first.regularizers == () and [r.name for r in second.regularizers] == ["kl"]
    again = load_spec(dump(loaded.resolved()), text=True)
    assert again.resolved() == loaded.resolved()
    assert [stage.train for stage in again.stages] == [stage.train for stage in loaded.stages]


# -------------------------------------------------------------------------------------------------
# ---- schedules


class Ladder(Schedule):
    """Counts how often it is asked."""

    def __init__(self, *, start: int = 0) -> None:
        super().__init__()
        self.asked, self.start = [], start

    def forward(self, step):
        self.asked.append(step)
        return float(step + self.start)


@pytest.mark.parametrize("train", [{}, {"accumulate": 3}])
@pytest.mark.parametrize("place", ["posterior", "likelihood", "regularizer", "objective"])
def test_a_schedule_is_updated_once_per_step_wherever_it_sits(place, train, trainer, monkeypatch):
    built = trainer(train={"epochs": None, "steps": 7, **train})
    schedule, used = Ladder(), []
    task = built.task
    owner = {
        "posterior": task.model.latents.posterior,
        "likelihood": task.model.likelihood,
        "regularizer": task.regularizers["kl"],
        "objective": task.objective,
    }[place]
    owner.schedule = schedule
    task.__init__(task.model, task.objective, dict(task.regularizers.items()))
    original = KL.forward
    monkeypatch.setattr(
        KL,
        "forward",
        lambda self, trace: (used.append(schedule.value.item()), original(self, trace))[1],
    )
    schedule.asked.clear()
    built.fit()
    assert schedule.asked == [*range(7)]
    parts = train.get("accumulate", 1)
    assert used == [float(step) for step in range(7) for _ in range(parts)]


class Loose(DiagonalNormalPosterior):
    """Keeps its schedule where no module finds it."""

    def __init__(self, wiring, /, *, temperature: float | Schedule = 1.0) -> None:
        super().__init__(wiring)
        self.found = [temperature]


def test_a_schedule_outside_the_module_tree_is_refused_at_its_line(refused, monkeypatch):
    monkeypatch.setattr("vaezoo.components.posteriors.DiagonalNormalPosterior", Loose)
    posterior = {"type": "diagonal-normal", "temperature": {"type": "linear", "steps": 9}}
    message = refused(model={"posterior": posterior})
    assert (
        ": model.posterior.temperature: schedule 'linear' is no submodule of posterior" in message
    )


# -------------------------------------------------------------------------------------------------
# ---- phases


def loss(model, batch):
    raise AssertionError("no phase is stepped here")


@pytest.mark.parametrize(
    ("phase", "message"),
    [
        (lambda part: Phase("empty", torch.nn.ReLU(), loss), "phase 'empty' has no weights"),
        (lambda part: Phase("loose", torch.nn.Linear(1, 1), loss), "is no submodule of the"),
        (lambda part: Phase("critic", part, loss, moves=0), "every and moves are at least 1"),
    ],
)
def test_a_phase_that_cannot_be_stepped_is_refused_at_its_owner(
    phase, message, refused, monkeypatch
):
    monkeypatch.setattr(DiagonalNormalPosterior, "phases", lambda self: (phase(self),))
    text = refused()
    assert "model.posterior: " in text and message in text


def test_two_phases_with_the_same_weights_are_refused(refused, monkeypatch):
    monkeypatch.setattr(
        DiagonalNormalPosterior,
        "phases",
        lambda self: (Phase("one", self, loss), Phase("one", self, loss)),
    )
    assert "model.posterior: phases 'one' and 'one-2' train the same weights" in refused()


@pytest.mark.parametrize(("every", "moves", "start"), [(1, 1, 0), (2, 3, 0), (3, 2, 4), (1, 1, 9)])
def test_the_moves_of_a_phase_are_those_of_the_steps_in_which_it_is_due(every, moves, start):
    phase = Phase("critic", torch.nn.Linear(1, 1), loss, every=every, moves=moves, start=start)
    for steps in range(12):
        due = [step for step in range(steps) if phase.is_due(step)]
        assert phase.count_moves(steps) == moves * len(due)
        assert due == [*range(start, steps, every)]
