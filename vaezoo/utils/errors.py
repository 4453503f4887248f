"""The errors that a user of vaezoo can cause, with the exit codes of the command line.

Every message addresses the user: it says what failed, where, and what to do.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass

from vaezoo.utils.exit_codes import EXIT_INTERRUPTED

_USER = re.compile(r"(\bhttps?://)[^/\s@]+@")
_QUERY = re.compile(r"""(\bhttps?://[^\s?'"]*)\?[^\s'"]*?(?=[.,:;)]*(?:['"\s]|$))""")


class VaezooError(Exception):
    """The base class of every error that a user of vaezoo can cause.

    Example:
        >>> import vaezoo
        >>> try:
        ...     model = vaezoo.load("vae-mnst")
        ... except vaezoo.VaezooError as error:
        ...     print(str(error).partition(";")[0])
        no weights named 'vae-mnst'
    """

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        # messages quote files, specs, registries and servers, which may hold anything
        super().__init__(printable_lines(without_secrets(str(message))))


class UsageError(VaezooError):
    """The arguments of a command or a call are wrong or do not fit together."""

    exit_code = 2


@dataclass(frozen=True, order=True)
class Problem:
    """One fault in a spec, with its position in the file.

    Attributes:
        file: the file, or ``-s key=value`` for an override on the command line.
        line, column: counted from 1.
        path: the key in the spec, such as ``model.encoder.channels``; empty for a fault of the
            file.
        message: what is wrong and what to do about it.
    """

    file: str
    line: int
    column: int
    _: KW_ONLY
    path: str
    message: str

    def __str__(self) -> str:
        position = f"{self.file}:{self.line}:{self.column}: "
        return position + (f"{shorten(self.path)}: " if self.path else "") + self.message


class SpecError(VaezooError):
    """A spec is not valid.

    Attributes:
        problems: every fault of the spec, in the order of the file.

    Example:
        >>> import vaezoo
        >>> spec = {
        ...     "spec": "vaezoo/v2",
        ...     "name": "tiny",
        ...     "data": "digts",
        ...     "model": {
        ...         "latent_dim": 2, "encoder": "mlp", "decoder": "mlp", "likelihood": "bernoulli"
        ...     },
        ... }
        >>> try:
        ...     vaezoo.load_spec(spec)
        ... except vaezoo.SpecError as error:
        ...     for problem in error.problems:
        ...         print(f"{problem.path}: {problem.message}")
        data: no dataset named 'digts'; did you mean 'digits'?
    """

    exit_code = 3

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class IntegrityError(VaezooError):
    """A file on disk is damaged or does not have the declared content.

    Example:
        >>> from pathlib import Path
        >>> import vaezoo
        >>> folder = Path("damaged-run")
        >>> folder.mkdir()
        >>> text = '''
        ... spec: vaezoo/v2
        ... name: tiny
        ... data: digits
        ... model: {latent_dim: 2, encoder: mlp, decoder: mlp, likelihood: bernoulli}
        ... '''
        >>> _ = (folder / "spec.yaml").write_text(text)
        >>> _ = (folder / "model.safetensors").write_bytes(b"not weights")
        >>> try:
        ...     run = vaezoo.open_run(folder)
        ... except vaezoo.IntegrityError as error:
        ...     print(str(error).split(": ")[1])
        cannot be read as safetensors
    """

    exit_code = 4


class RegistryError(IntegrityError):
    """A registry file is not valid, or weights are not what the registry declares.

    Example:
        >>> from pathlib import Path
        >>> import vaezoo
        >>> _ = Path("registry.yaml").write_bytes(b"\\xff")
        >>> try:
        ...     model = vaezoo.load("mine:vae", registry="mine=registry.yaml")
        ... except vaezoo.RegistryError as error:
        ...     print(error)
        registry.yaml: not UTF-8 text: byte 0
    """


class UnavailableError(VaezooError):
    """A data set, a package, a file, a server or a device is needed but not available.

    Example:
        >>> import vaezoo
        >>> try:
        ...     model = vaezoo.load("mine:vae", registry="mine=missing/registry.yaml")
        ... except vaezoo.UnavailableError as error:
        ...     print(error)
        registry missing/registry.yaml: cannot be read: No such file or directory
    """

    exit_code = 5


class PluginError(VaezooError):
    """A plugin is missing or broken, or registers a name that is already used.

    Example:
        >>> import vaezoo
        >>> spec = {
        ...     "spec": "vaezoo/v2",
        ...     "requires": ["vaezoo-example>=1"],
        ...     "name": "tiny",
        ...     "data": "digits",
        ...     "model": {
        ...         "latent_dim": 2, "encoder": "mlp", "decoder": "mlp", "likelihood": "bernoulli"
        ...     },
        ... }
        >>> try:
        ...     vaezoo.load_spec(spec)
        ... except vaezoo.PluginError as error:
        ...     print(str(error).partition("; ")[2])
        pip install 'vaezoo-example>=1'
    """

    exit_code = 6


class DataError(VaezooError):
    """A data set cannot be read. The message names the file and, if there is one, the row.

    Example:
        >>> import vaezoo
        >>> spec = {
        ...     "spec": "vaezoo/v2",
        ...     "name": "tiny",
        ...     "data": {"type": "npz", "path": "missing.npz"},
        ...     "model": {
        ...         "latent_dim": 2, "encoder": "mlp", "decoder": "mlp", "likelihood": "normal"
        ...     },
        ... }
        >>> try:
        ...     run = vaezoo.run(spec)
        ... except vaezoo.DataError as error:
        ...     print(str(error).partition("; ")[2])
        give another path or set VAEZOO_DATA
    """

    def __init__(self, message: str) -> None:
        # names of people's files and columns may hold anything
        super().__init__(printable(message))


def printable(name: object) -> str:
    """A text without control characters, line ends and bytes that are no text: escaped."""
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in str(name)
    )


def without_secrets(text: str) -> str:
    """A text whose URLs are without user, password and query, which may be secret.

    Example:
        >>> from vaezoo.utils.errors import without_secrets
        >>> without_secrets("https://me:pw@example.org/registry.yaml?token=x: not found")
        'https://...@example.org/registry.yaml?...: not found'
    """
    return _QUERY.sub(r"\1?...", _USER.sub(r"\1...@", text))


def printable_lines(text: str) -> str:
    """A text of several lines, each of which is as ``printable`` returns it."""
    return "\n".join(map(printable, text.split("\n")))


class TrainingError(VaezooError):
    """Training cannot continue, for example because a loss is no longer finite."""


class Interrupted(VaezooError):
    """A signal stopped a command, such as a run after its checkpoint was written.

    The message of a run has a second line, which is indented: how to resume it.
    """

    exit_code = EXIT_INTERRUPTED


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns a hint for an error message.

    Args:
        word: the unknown name.
        known: the names that exist.

    Returns:
        ``; did you mean 'conv'?``, or the list of known names if none is similar.
    """
    known = sorted(known)
    if close := close_match(word, known):
        return f"; did you mean {close!r}?"
    return f"; known: {', '.join(map(printable, known))}" if known else ""


def close_match(word: str, known: Iterable[str]) -> str | None:
    """The name among those that exist that an unknown one is probably meant to be, or None."""
    return next(iter(difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)), None)


def describe_error(error: Exception) -> str:
    """An error on one line; one that components do not raise on purpose is named."""
    text = one_line(error)
    is_on_purpose = isinstance(error, RuntimeError | ValueError) and text
    return text if is_on_purpose else f"{type(error).__name__}: {text}"


def shorten(text: str, longest: int = 200) -> str:
    """A text that a message repeats for each problem, cut where it is too long to be read."""
    return text if len(text) <= longest else text[: longest - 3] + "..."


def one_line(error: object) -> str:
    """The text of an error on one line, as messages of vaezoo quote it."""
    return " ".join(str(error).split())


def describe_failure(error: BaseException) -> tuple[int, str]:
    """The exit code and the message with which a command ends because of an error."""
    if isinstance(error, VaezooError):
        return error.exit_code, str(error)
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED, str(error) or "interrupted"
    text = one_line(error)
    if isinstance(error, OSError):
        file = "" if error.filename is None else f"{printable(os.fsdecode(error.filename))}: "
        return 1, file + (error.strerror or text)
    if isinstance(error, MemoryError):
        return 1, f"out of memory{f' ({text})' if text else ''}; use less data or a smaller model"
    name = type(error).__name__
    return 1, f"{name}{f': {text}' if text else ''}; vaezoo -v shows where it was raised"


def print_error(message: str) -> None:
    """Prints each line of a message on stderr after ``error:``, which is red on a terminal.

    Lines that are indented are commands to copy and printed as they are.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):  # stderr is closed or None
        is_colored = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        prefix = "\033[31m\033[1merror:\033[0m" if is_colored else "error:"
        for line in printable_lines(message).splitlines() or ["failed"]:
            text = line if line.startswith("  ") else f"{prefix} {line}"
            print(text, file=sys.stderr, flush=True)
