"""What can go wrong, each kind with the exit code that the command line ends with.

Every message is written for the person who caused it: what failed, where, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

EXIT_OK = 0
EXIT_INTERRUPTED = 130


class VaezooError(Exception):
    """The base of every error that a user of vaezoo can cause."""

    exit_code = 1


class UsageError(VaezooError):
    """A command or a call was given arguments that do not fit together."""

    exit_code = 2


@dataclass(frozen=True, order=True)
class Problem:
    """One fault in a spec, at a place a text editor can jump to.

    Attributes:
        file: the file, or ``-s key=value`` for an override on the command line.
        line, column: counted from 1.
        path: where in the spec, such as ``model.encoder.channels``; empty for the whole file.
        message: what is wrong and what to do about it.
    """

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: "
        return where + (f"{self.path}: " if self.path else "") + self.message


class SpecError(VaezooError):
    """A spec is not valid. ``problems`` holds every fault found, in file order."""

    exit_code = 3

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class IntegrityError(VaezooError):
    """Bytes on disk are not what they are declared to be."""

    exit_code = 4


class RegistryError(IntegrityError):
    """A registry file, or weights that it lists, are not what they must be."""


class UnavailableError(VaezooError):
    """Something that is needed (a data set, a package, a server) is not at hand."""

    exit_code = 5


class PluginError(VaezooError):
    """A plugin is missing, broken, or claims a name that is taken."""

    exit_code = 6


class DataError(VaezooError):
    """A data set cannot be read. The message names the file and, where there is one, the row."""


class TrainingError(VaezooError):
    """Training cannot go on, for instance because a loss is no longer finite."""


class Interrupted(VaezooError):
    """A signal stopped the run after its checkpoint was written."""

    exit_code = EXIT_INTERRUPTED


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint such as ``; did you mean 'conv'?``, or the choices when nothing is close."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""
