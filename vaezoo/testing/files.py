"""Promises of what writes files: formats and callbacks."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from vaezoo.data.batch import Batch
from vaezoo.data.format import Format
from vaezoo.testing.case import Case
from vaezoo.testing.noise import touched_generators
from vaezoo.testing.passes import differs, tensors_of
from vaezoo.testing.promise import Rule
from vaezoo.utils.errors import UnavailableError


def _format(case: Case) -> Format:
    made: Format = case.cls(case.dataset.spec)
    return made


def _source(case: Case) -> Batch:
    """Examples in the units of the source, as formats get them."""
    data, batch = case.dataset.spec, case.split("train").first(1 if _is_single(case) else 5)
    return Batch(data.to_source_units(batch.x), None, batch.mask)


def _is_single(case: Case) -> bool:
    return bool(case.cls.one_example_per_file)


def check_round_trip(case: Case) -> None:
    """A file that is written holds the examples, and writing does not change them."""
    examples, made = _source(case), _format(case)
    before = {name: value.clone() for name, value in tensors_of(examples).items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"examples.{case.entry.name}"
        made.write(path, examples, 2)
        assert path.is_file(), "writes no file at the path that it is given"
        for name, value in tensors_of(examples).items():
            assert torch.equal(value, before[name]), f"writing changes {name!r} of the examples"
        if not made.reads:
            return
        read = made.read(path)
    assert len(read) == len(examples), f"a file of {len(examples)} examples is read as {len(read)}"
    written = [torch.as_tensor(x).float() for x in examples.sequences()]
    if not differs_in_length(read, written):
        found = torch.cat([x.float().flatten() for x in read.sequences()])
        assert not differs(found, torch.cat([x.flatten() for x in written]), 1e-3), (
            "what is read differs from what was written; files are in the units of the source"
        )


def differs_in_length(read: Batch, written: list[torch.Tensor]) -> bool:
    """Whether examples have another number of values than those that were written."""
    return [x.numel() for x in read.sequences()] != [x.numel() for x in written]


def check_callback(case: Case) -> None:
    """A callback takes the records of a run, and leaves random generators alone."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            callback = case.cls(Path(folder), **case.setting.options)
        except UnavailableError:
            return

        def records() -> None:
            callback.start(0)
            for step in (1, 2):
                callback.log({"split": "train", "step": step, "loss": 1.5, "time": 0.1})
            callback.log({"split": "validation", "step": 2, "elbo": -3.0})
            callback.close()

        _, touched = touched_generators(records)
    assert not touched, f"uses or seeds {touched[0]}, which would change the training"


RULES = (
    Rule("keeps what it writes", ("format",), check_round_trip),
    Rule("takes the records of a run", ("callback",), check_callback),
)
"""Promises of formats and callbacks."""
