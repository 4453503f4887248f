"""Fuzzers for the readers of people's data: what they are, and how it is decided what is legal.

A *format* makes a small valid source from a seed, with the examples that it holds, which are known
because they were written, not because they were read. A *mutator* changes the source and returns a
*claim*: what must follow. The data set is then read as a spec reads it, and judged.

- A claim of a mutator that knows the format says which examples the source then holds: the same
  ones in the same splits to the last bit (``same``); the same in any order, or exactly these
  others (``becomes``); or that it must be refused (``refused``). Where more than one answer is
  right, such as the colour behind transparent pixels, the claim lists the answers and no other is
  accepted. It also says what ``left_out`` must name; otherwise ``left_out`` must be empty.
- After a change of bytes, another reader reads the changed file: PIL, numpy, the csv module or
  mido, called directly and interpreted in the tests. If it fails, the source must be refused.
  If it succeeds, the source gives these examples or is refused. Where it cannot tell what is
  right, any data within its bounds is accepted.
- Whatever the source, a refusal is one printable line that names the file or the folder, data are
  finite, in their support and of the described shape, and there is no other error, warning or
  output, no written file, no changed random generator and no allocation out of proportion.

``python benchmarks/fuzz.py FORMAT --seed S`` repeats the case S of a format.
"""

from __future__ import annotations

import copy
import os
import shutil
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

import vaezoo
from tests.fuzz.damage import damage
from tests.fuzz.guard import Fault
from tests.fuzz.reading import SPLITS, Reading, Refusal, read

Example: TypeAlias = dict[str, Any]
"""One example in the units of its source: arrays and texts by name."""
Verdict: TypeAlias = Literal["refused", "equal", "legal"]


@dataclass(frozen=True)
class Link:
    """A symbolic link in a source."""

    target: str


class Folder:
    """An empty folder in a source."""


class Pipe:
    """A named pipe in a source: reading it would wait for ever."""


@dataclass
class Source:
    """Files, and the data set that reads them.

    Attributes:
        type: the name of the data set.
        options: its options, but for ``path``.
        path: the file or folder that is read, relative to where the source is written.
        files: what is written, by relative path.
        content: what the files hold, as their format made it.
    """

    type: str
    options: dict[str, Any]
    path: str
    files: dict[str, bytes | Link | Folder | Pipe] = field(default_factory=dict)
    content: Any = None

    def write(self, folder: Path) -> dict[str, Any]:
        """Writes the files below a folder; returns the block ``data`` of the spec."""
        for name, value in self.files.items():
            file = folder / name
            place = file if isinstance(value, Folder) else file.parent
            place.mkdir(parents=True, exist_ok=True)
            if isinstance(value, bytes):
                file.write_bytes(value)
            elif isinstance(value, Link):
                file.symlink_to(value.target)
            elif isinstance(value, Pipe):
                os.mkfifo(file)
        return {"type": self.type, "path": str(folder / self.path), **self.options}


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What must follow from a mutation.

    Attributes:
        refusal: whether the source must, may or must never be refused.
        alternatives: the examples that it may hold; None if any within their bounds are right.
        same: whether the splits are those of the unmutated source, to the last bit.
        tells: words that ``left_out`` must hold; it is empty if there are none. None leaves it.
        names: words of which a refusal must hold one: by default the name of the path.
        tolerance: how far numbers may be from those of the examples.
    """

    refusal: Literal["must", "may", "never"] = "never"
    alternatives: Sequence[Sequence[Example]] | None = None
    same: bool = False
    tells: tuple[str, ...] | None = ()
    names: tuple[str, ...] = ()
    tolerance: float = 1e-5


def refused(*names: str) -> Claim:
    return Claim(refusal="must", names=names)


def same(**other: Any) -> Claim:
    return Claim(same=True, **other)


def becomes(*alternatives: Sequence[Example], **other: Any) -> Claim:
    return Claim(alternatives=alternatives, **other)


def bounded(**other: Any) -> Claim:
    return Claim(**{"refusal": "may", "tells": None, **other})


Mutator: TypeAlias = Callable[[Source, np.random.Generator], Claim]


class Format:
    """How sources of one format are made, mutated and compared; subclasses are the formats."""

    name: str

    def __init__(self) -> None:
        self.mutators: dict[str, Mutator] = {
            name.removeprefix("mutate_"): getattr(self, name)
            for name in dir(self)
            if name.startswith("mutate_")
        }

    def make(self, rng: np.random.Generator) -> Source:
        """A valid source."""
        raise NotImplementedError

    def expected(self, source: Source) -> list[Example]:
        """The examples that the content of a source holds."""
        raise NotImplementedError

    def examples(self, reading: Reading, split: str) -> list[Example]:
        """The examples that were read."""
        raise NotImplementedError

    def compare(self, reading: Reading, wanted: Example, got: Example, tolerance: float) -> bool:
        """Whether an example that was read is one that is expected."""
        return wanted.keys() == got.keys() and all(
            close(wanted[key], got[key], tolerance) for key in wanted
        )

    def scaled(self, reading: Reading, wanted: Example) -> Example:
        """An expected example in the units of those that are read; 0 where it is hidden."""
        return wanted

    def check(self, reading: Reading, train: list[Example]) -> None:
        """Checks what the description says of the training split, whose examples are given."""

    def reference(self, source: Source) -> Claim:
        """What another reader makes of the files after a change of bytes."""
        raise NotImplementedError

    def mutate_bytes(self, source: Source, rng: np.random.Generator) -> Claim:
        """A change of bytes in one file."""
        names = [name for name, value in source.files.items() if isinstance(value, bytes)]
        name = names[rng.integers(len(names))]
        data = source.files[name]
        assert isinstance(data, bytes)
        source.files[name] = damage(data, rng)
        return same() if source.files[name] == data else self.reference(source)


def close(wanted: Any, got: Any, tolerance: float) -> bool:
    """Whether two values of examples are equal; NaN is nowhere."""
    if not isinstance(wanted, np.ndarray):
        return bool(wanted == got)
    if wanted.shape != got.shape:
        return False
    limit = tolerance * (1 + np.abs(wanted))
    return bool((np.abs(wanted.astype(np.float64) - got) <= limit).all())


def case(form: Format, seed: int, mutator: str = "") -> tuple[Source, Source, str, Claim]:
    """The source of a case before and after its mutation, and what must follow."""
    rng = np.random.default_rng([zlib.crc32(form.name.encode()), seed])
    if not mutator:  # each in turn, and in one case of four a change of bytes
        names = sorted(form.mutators.keys() - {"bytes"})
        turn, number = divmod(seed, 4)
        mutator = names[(3 * turn + number) % len(names)] if number < 3 else "bytes"
    original = form.make(rng)
    changed = copy.deepcopy(original)
    claim = form.mutators[mutator](changed, rng)
    return original, changed, mutator, claim


def judge(form: Format, seed: int, folder: Path, mutator: str = "") -> Verdict:
    """Runs one case in an empty folder.

    Raises:
        Fault: the reader does not do what must follow.
    """
    original, changed, _, claim = case(form, seed, mutator)
    place = folder / "changed"
    result = read(changed.write(place), place)
    if isinstance(result, Refusal):
        names = claim.names or (Path(changed.path).name,)
        if claim.refusal == "never":
            raise Fault(f"refused: {result.message}")
        if not any(name in result.message for name in names):
            raise Fault(f"the message names none of {', '.join(names)}: {result.message}")
        return "refused"
    if claim.refusal == "must":
        raise Fault("accepted; must be refused")
    left_out = result.left_out
    if claim.same:
        base = read(original.write(folder / "original"), folder / "original")
        if isinstance(base, Refusal):
            raise Fault(f"the unmutated source is refused: {base.message}")
        _check_same(base, result)
        left_out = tuple(phrase for phrase in left_out if phrase not in base.left_out)
    _check_left_out(claim, left_out)
    if claim.same:
        return "equal"
    if claim.alternatives is None:
        return "legal"
    faults = [_difference(form, wanted, result, claim.tolerance) for wanted in claim.alternatives]
    if all(faults):
        raise Fault(" / ".join(faults))
    return "legal"


def run_case(form: Format, seed: int, folder: Path, mutator: str = "") -> Verdict:
    """``judge`` in a folder that is removed afterwards."""
    place = folder / f"{form.name}-{seed}"
    try:
        return judge(form, seed, place, mutator)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _check_left_out(claim: Claim, left_out: Sequence[str]) -> None:
    if claim.tells is None:
        return
    if not claim.tells and left_out:
        raise Fault(f"left_out says {left_out}, but nothing was left out")
    missing = [word for word in claim.tells if word not in " ".join(left_out)]
    if missing:
        raise Fault(f"left_out does not tell {missing}: {left_out}")


def _without_form(spec: vaezoo.DataSpec) -> vaezoo.DataSpec:
    """A description without how the csv file was written."""
    facts = {
        plugin: {
            name: fact for name, fact in known.items() if name not in ("form", "csv", "order")
        }
        for plugin, known in spec.facts.items()
    }
    return replace(spec, facts=facts)


def _check_same(base: Reading, result: Reading) -> None:
    """Checks that two readings are equal to the last bit."""
    if _without_form(base.spec) != _without_form(result.spec):
        raise Fault(f"the description changed from {base.spec} to {result.spec}")
    for name in SPLITS:
        first, second = base.splits[name], result.splits[name]
        for key in ("x", "mask", "condition", "extras", "present"):
            if not _equal(getattr(first, key), getattr(second, key)):
                raise Fault(f"{key} of {name} changed")


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_equal(first[k], second[k]) for k in first)
    if first is None or second is None:
        return first is second
    return bool(first.shape == second.shape and (first == second).all())


def _difference(form: Format, wanted: Sequence[Example], result: Reading, tolerance: float) -> str:
    """What differs between the examples that are expected and those read; empty if nothing."""
    left, train, is_certain = list(wanted), [], True
    for name in SPLITS:
        for number, got in enumerate(form.examples(result, name)):
            alike = [each for each in left if form.compare(result, each, got, tolerance)]
            if not alike:
                return f"example {number} of {name} is not expected: {_brief(got)}"
            distances = [_distance(form.scaled(result, each), got) for each in alike]
            nearest = alike[distances.index(min(distances))]
            # such as a missing number, in whose place there is the mean, and the mean itself
            is_certain &= all(
                distance > min(distances) or _is_same(each, nearest)
                for each, distance in zip(alike, distances, strict=True)
            )
            left = [example for example in left if example is not nearest]
            train += [nearest] if name == "train" else []
    if left:
        return f"{len(left)} of {len(wanted)} examples are missing: {_brief(left[0])}"
    if is_certain:  # which examples are those of training
        form.check(result, train)
    return ""


def _distance(wanted: Example, got: Example) -> float:
    """The sum of the differences between the arrays of two examples that compare as equal."""
    return sum(
        float(np.abs(value.astype(np.float64) - got[key]).sum())
        for key, value in wanted.items()
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiu"
    )


def _is_same(a: Example, b: Example) -> bool:
    return all(np.array_equal(value, b[key]) for key, value in a.items())


def _brief(example: Example) -> str:
    with np.printoptions(threshold=8, edgeitems=2, precision=5):
        return " ".join(str(example).split())
