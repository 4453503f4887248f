"""How to resume a run that was interrupted: a command to copy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from vaezoo.runs.directory import RunDirectory
from vaezoo.runs.in_memory import needs_data
from vaezoo.runs.process_classes import class_record
from vaezoo.spec.spec import Spec
from vaezoo.utils import own_process
from vaezoo.utils.errors import Interrupted
from vaezoo.utils.paths import shell_word


def resume_command(path: Path, spec: Spec) -> str:
    """The command that resumes a run, or the call if it needs something of a Python process."""
    if needs_data(spec):
        return f"vaezoo.resume({str(path)!r}, data=...)"
    if class_record(spec):
        return f"vaezoo.resume({str(path)!r})"
    return f"vaezoo resume {shell_word(path)}"


@contextlib.contextmanager
def name_resume_command(directory: RunDirectory, spec: Spec) -> Iterator[None]:
    """Adds a line with the command to the message of an interruption within a block.

    Raises:
        Interrupted: the block raised it, or KeyboardInterrupt.
    """
    command, outer = resume_command(directory.path, spec), own_process.resume_command
    own_process.resume_command = outer or command
    try:
        yield
    except (Interrupted, KeyboardInterrupt) as error:
        reason = str(error) or "interrupted"
        is_started = directory.spec.is_file()
        raise Interrupted(f"{reason}\n  {command}" if is_started else reason) from error
    finally:
        own_process.resume_command = outer
