"""Terms that depend on all examples of a batch: several processes have the gradient of one, and
parts of a batch have it, too, or are refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import vaezoo
from vaezoo.components.likelihoods import NormalLikelihood
from vaezoo.plugins import discovery
from vaezoo.spec.dump import dump
from vaezoo.utils.batch_share import BatchShare
from vaezoo.utils.errors import SpecError
from vaezoo.utils.files import read_tensors

DOCS = Path(__file__).parents[2] / "docs/specs.md"
POOLING = {
    "capacity-kl": {"capacity": 0.1},
    "free-bits": {"nats": 0.05},
    "beta-tc": {"beta": 3.0},
    "dip": {"kind": "ii"},
    "factor": {"width": 8, "layers": 1},
}
"""Whose limits lie between the values of the processes, so that one alone decides otherwise."""
RANDOM = {"mmd": {}, "sliced-wasserstein": {}}
"""Which draw samples of the prior: equal with equal noise, which their promises test."""
SITES = {"type": "free-bits", "groups": "site", "nats": 0.1}
ONE_BATCH = {"type": "factor", "width": 8, "layers": 1, "second_batch": False}
SEMI = {"latents": "category-and-style", "posterior": "deterministic"}


def blocks(spec, regularizers, accumulate=1, **model):
    """The spec of a model with regularizers."""
    train = {"accumulate": accumulate, "select": "last"}
    return {**spec(model=model, regularizers=regularizers, train=train), "spec": "vaezoo/v2"}


@pytest.fixture
def everything(spec):
    """Specs that have all such terms."""
    listed = [{"type": name, **options} for name, options in POOLING.items()]
    return {
        "pooled": blocks(
            spec,
            [*listed, SITES, "dip", ONE_BATCH],
            likelihood={"type": "normal", "scale": "optimal"},
        ),
        "labels": blocks(spec, ["supervised"], **SEMI),
        "labels in parts": blocks(spec, ["supervised"], 3, **SEMI),
    }


def member(rank, size, folder, specs):
    """One of several processes, or the only one: takes a step of each phase without noise, and
    writes the gradients, the buffers and the means of the terms."""
    from datetime import timedelta
    from pathlib import Path

    import torch
    import torch.distributed as dist

    from vaezoo.components.latents import Single
    from vaezoo.model.trace import Site
    from vaezoo.runs.setup import prepare_training
    from vaezoo.spec.load import load_spec
    from vaezoo.training.phase_optimizer import PhaseOptimizer
    from vaezoo.utils.files import write_tensors
    from vaezoo.utils.process_group import ProcessGroup

    def without_noise(self, inference):
        q = self.posterior(inference.features[-1].flatten(1).float())
        z = q.mean.expand(inference.k, *q.mean.shape)
        return (Site("z", z, q, inference.p(self.prior)),), z

    torch.set_num_threads(1)
    sampled, Single.infer = Single.infer, without_noise
    if size > 1:
        store = f"file://{folder}/store"
        dist.init_process_group(
            "gloo", init_method=store, rank=rank, world_size=size, timeout=timedelta(seconds=30)
        )
    results = {}
    for name, content in specs.items():
        _, train, (task,) = prepare_training(load_spec(content), torch.device("cpu"))
        batch = train.first(13).map(torch.clone)  # shares are neither equally large nor alike
        batch.x[1::2] *= 4
        batch.condition[:6] = -1
        batch.condition[8] = -1
        share = batch.select(slice(rank, None, size))
        for phase in task.train().phases():
            stage = load_spec(content).stages[0].train
            optimizer = PhaseOptimizer(
                phase, task=task, config=stage, total_steps=1, process_group=ProcessGroup.current()
            )
            torch.manual_seed(rank)
            terms = optimizer.step(share, len(batch), measure_norm=False)
            for term, values in terms.items():
                total = ProcessGroup.current().sum(values.sum())
                results[f"{name}/{phase.name}/{term}"] = total / len(batch)
            for index, weight in enumerate(optimizer.parameters):
                results[f"{name}/{phase.name}/{index}"] = weight.grad
        results |= {f"{name}/{key}": value for key, value in task.named_buffers()}
    write_tensors(Path(folder, f"{size}-{rank}.safetensors"), results, {})
    Single.infer = sampled
    if size > 1:
        dist.destroy_process_group()


def test_two_processes_have_the_gradient_of_one(everything, child, tmp_path):
    members = [child(member, rank, 2, str(tmp_path), everything) for rank in (0, 1)]
    member(0, 1, str(tmp_path), everything)
    for process in members:
        process.join(60)
        assert process.exitcode == 0
    alone, *together = (
        read_tensors(tmp_path / f"{name}.safetensors")[0] for name in ("1-0", "2-0", "2-1")
    )
    whole = {name: value for name, value in alone.items() if name.startswith("labels/")}
    pairs = [(name, value, other[name]) for name, value in alone.items() for other in together]
    # the parts of a batch have different numbers of labels
    pairs += [
        (name, value, alone[name.replace("labels/", "labels in parts/")])
        for name, value in whole.items()
    ]
    assert any("pooled/discriminator-2" in name for name in alone) and whole
    for name, value, other in pairs:
        close = {"rtol": 1e-4, "atol": 1e-5 * float(value.abs().max())}
        torch.testing.assert_close(other, value, **close, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("name", [*POOLING, *RANDOM, "normal"])
def test_parts_of_a_batch_are_refused_where_they_would_give_another_gradient(name, spec):
    regularizers, model, culprit = [], {}, r"model\.likelihood \(NormalLikelihood\)"
    if name == "normal":
        model = {"likelihood": {"type": "normal", "scale": "optimal"}}
    else:
        regularizers, culprit = (
            [{"type": name, **(POOLING | RANDOM)[name]}],
            r"regularizers\.0 \(\w+\)",
        )
    content = vaezoo.load_spec(dump(blocks(spec, regularizers, 2, **model)), text=True)
    data = vaezoo.DataSpec((1, 8, 8), "unit")
    with pytest.raises(SpecError, match=rf"\d+:\d+: train\.accumulate: {culprit} depends on all"):
        vaezoo.compose(content, data, 100)
    vaezoo.compose(vaezoo.load_spec(blocks(spec, regularizers, 1, **model)), data, 100)


def test_a_stage_may_divide_its_batches_where_another_cannot(spec):
    stages = [
        {"name": "a", "regularizers": [{"type": "dip"}], "steps": 1},
        {"name": "b", "parts": ["decoder"], "accumulate": 2, "steps": 1},
    ]
    content = {**blocks(spec, ["kl"]), "stages": stages}
    data = vaezoo.DataSpec((1, 8, 8), "unit")
    vaezoo.compose(vaezoo.load_spec(content), data, 100)
    stages[0]["accumulate"] = 2
    with pytest.raises(SpecError, match=r"stages\.0\.accumulate: stages\.0\.regularizers\.0"):
        vaezoo.compose(vaezoo.load_spec(content), data, 100)


def test_a_term_that_pools_without_saying_so_is_told_to():
    with BatchShare(size=4, examples=None, parts=2).active(), pytest.raises(ValueError) as error:
        BatchShare.current().mean(torch.zeros(()))
    assert "must set pools_examples" in str(error.value)
    assert BatchShare.current().parts == 1


def test_the_table_of_the_documentation_names_all_such_terms():
    text = DOCS.read_text("utf-8").partition("### Terms of a whole batch")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    refused = {n for row in rows if row[1] == "refused" for n in re.findall(r"`([\w-]+)`", row[0])}
    catalogue = discovery.catalogue()
    pooling = {
        name
        for (_, name), entries in catalogue.entries.items()
        if any(getattr(entry.load(), "pools_examples", False) for entry in entries)
    }
    assert refused == pooling | {"normal"} == {*POOLING, *RANDOM, "normal"}
    wiring = vaezoo.Wiring(data=vaezoo.DataSpec((2,)), train_size=1)
    scales = ("optimal", "learned")
    assert [NormalLikelihood(wiring, scale=s).pools_examples for s in scales] == [True, False]
