"""Fuzzers for the documents that vaezoo reads: specs, registries, headers of weights, metrics.

A *kind* of document makes a case from a seed: a copy of good files in a folder, of which one
document is changed. The change knows the tree of the document (``tests/fuzz/odd.py``) or changes
bytes (``tests/fuzz/damage.py``); hashes that stand in other files are made right again where a
hostile publisher would do so. Then vaezoo reads it, and only two answers are legal: a success in
which nothing changed silently, which each kind checks against another reader of the document, or a
``VaezooError`` whose lines are printable, each naming the file. Any other error or warning is a
fault, and so is a file that is changed outside of the folder, a program that is run, a connection,
a changed random generator, too much time or memory.

Through the command the exit code is 0 to 5, or 6 for a package that the document needs and that is
not installed, and there is an ``error:`` line if it is not 0, which is not that of the last-resort
handler.

``python benchmarks/fuzz_documents.py KIND --seed S`` repeats the case S of a kind.
"""

from __future__ import annotations

import traceback
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch._inductor.codecache  # noqa: F401 - makes a folder for its caches when it is first used

from tests.fuzz.driver import Commands, Ended, check_printed
from tests.fuzz.guard import Fault
from vaezoo.utils.errors import VaezooError

LAST_RESORT = ("vaezoo -v shows where it was raised", "out of memory")
"""What the last-resort handler prints of an error that nobody foresaw."""
LONGEST = 12_000
"""The characters of a line of a message: a path of 4,096 bytes, which are escaped, and more."""
HOME = "home"


class Kind(ABC):
    """Makes and judges cases of one kind of document; a ``Fuzzer`` of the driver."""

    name: str
    mutators: Sequence[str]

    def mutator_of(self, seed: int) -> str:
        """What a case changes: each in turn."""
        return self.mutators[seed % len(self.mutators)]

    def rng(self, seed: int) -> np.random.Generator:
        """The random numbers of a case."""
        return np.random.default_rng([zlib.crc32(self.name.encode()), seed])

    def in_process(self, seed: int, place: Path, mutator: str) -> str:
        """Judges a case in this process; returns the verdict."""
        place.mkdir(parents=True)
        return self.judge(self.rng(seed), place, mutator or self.mutator_of(seed))

    def through_command(self, seed: int, place: Path, mutator: str, commands: Commands) -> str:
        """Judges a case by a command; returns its exit code in words."""
        place.mkdir(parents=True)
        words = self.command(self.rng(seed), place, mutator or self.mutator_of(seed))
        ended = commands.call(words, place, environment(place))
        check_ended(ended)
        return f"exit code {ended.code}"

    @abstractmethod
    def judge(self, rng: np.random.Generator, place: Path, mutator: str) -> str:
        """Makes a case in an empty folder and reads it.

        Raises:
            Fault: what is read is not what the document says, or not refused as it must be.
        """

    @abstractmethod
    def command(self, rng: np.random.Generator, place: Path, mutator: str) -> list[str]:
        """Makes a case in an empty folder; returns the words of a command that reads it."""


def environment(place: Path) -> dict[str, str]:
    """Environment variables with which no network and no other place is used."""
    home = place / HOME
    home.mkdir(exist_ok=True)
    return {"VAEZOO_HOME": str(home), "VAEZOO_OFFLINE": "1", "VAEZOO_REGISTRIES": ""}


def attempt(action: Callable[[], Any], named: Callable[[str], bool]) -> tuple[Any, bool]:
    """What an action returns, and whether it was not refused.

    Args:
        action: reads a document.
        named: whether a line of an error names the document as it must.

    Raises:
        Fault: it fails with another error than vaezoo's, or with lines that are not as they must.
    """
    try:
        return action(), True
    except Fault:
        raise
    except VaezooError as error:
        message = str(error)
        for line in message.split("\n"):
            if len(line) > LONGEST:
                raise Fault(f"a line has {len(line)} characters: {line[:300]}") from error
            if not line.isprintable() or not named(line):
                raise Fault(f"{type(error).__name__} does not name it: {line!r:.500}") from error
        return None, False
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "/vaezoo/" in frame.filename][-1:]
        places = ", ".join(
            f"{Path(frame.filename).name}:{frame.lineno}" for frame in (*own, frames[-1])
        )
        raise Fault(f"{type(error).__name__} at {places}: {error!s:.300}") from error


def check_ended(ended: Ended) -> None:
    """Checks how a command ended that read a document.

    Raises:
        Fault: it ended otherwise than it may.
    """
    said = [line for line in ended.errors.splitlines() if line.startswith("error: ")]
    if ended.code == 6 and "pip install" in ended.errors:
        ended = Ended(1, ended.output, ended.errors)
    check_printed(ended)
    if (ended.code == 0) == bool(said) or any(text in ended.errors for text in LAST_RESORT):
        raise Fault(f"ends with {ended.code} and prints: {ended.errors[-400:]}")
