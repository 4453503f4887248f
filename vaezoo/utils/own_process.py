"""What the ``vaezoo`` command does with the process that it has for itself: no traceback reaches
its user, and Ctrl-C or SIGTERM ends it with exit code 130.

It is set up before anything else is imported, and so imports next to nothing. Functions of the
library, which run in the process of somebody else, change no handlers.

A signal raises ``KeyboardInterrupt`` while a command works. At three moments that would not do,
and the process ends at once, which is safe because files are replaced atomically: while modules
are imported, where other packages lose the exception or answer it with errors of their own; before
and after the command, where nothing catches it; and in code whose exceptions Python cannot raise,
such as ``__del__``.
"""

from __future__ import annotations

import os
import signal
import sys

from vaezoo.utils.exit_codes import EXIT_INTERRUPTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from types import FrameType, TracebackType

RESET_TERMINAL = "\r\033[K\033[?25h"
"""Erases the line at the bottom of a terminal, and shows the cursor, which a bar hides."""

is_installed = False
"""Whether this process is a command's own."""
shows_tracebacks = True
"""Whether errors that are no user's are shown with their traceback; false in a command's process,
unless it is verbose."""
resume_command = ""
"""Resumes what this process is doing, if anything does."""
is_working = False
"""Whether the command is at work, so that an interruption is raised in it."""


def install() -> None:
    """Makes this process that of a command; does nothing the second time."""
    global is_installed, shows_tracebacks
    if is_installed:
        return
    is_installed, shows_tracebacks = True, False
    _open_closed_streams()
    sys.excepthook = _end_by_error
    sys.unraisablehook = _report_unraisable
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell may ignore it
        signal.signal(signal.SIGINT, _interrupt)
    # a launcher ends all processes by SIGTERM when one fails; see vaezoo.runs.processes
    is_alone = os.environ.get("WORLD_SIZE", "1") == "1"
    if is_alone and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _interrupt)


def _open_closed_streams() -> None:
    """Replaces a closed stdin, stdout or stderr by the null device.

    Otherwise the next file that is opened would take its number, and receive what is printed.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


class Working:
    """Within, an interruption is raised; afterwards it ends the process at once again."""

    def __enter__(self) -> None:
        global is_working
        is_working = True

    def __exit__(self, *_: object) -> None:
        global is_working
        is_working = False


def _interrupt(number: int, frame: FrameType | None) -> None:
    """The handler of SIGINT and SIGTERM."""
    reason = "interrupted" if number == signal.SIGINT else "stopped by SIGTERM"
    if is_working and not _is_importing(frame):
        raise KeyboardInterrupt(reason)
    end_interrupted(reason)


def _is_importing(frame: FrameType | None) -> bool:
    """Whether a frame is within an import statement."""
    while frame is not None:
        code = frame.f_code
        if code.co_name == "_find_and_load" and "importlib._bootstrap" in code.co_filename:
            return True
        frame = frame.f_back
    return False


def end_interrupted(reason: str) -> None:
    """Ends this process at once with exit code 130, after a line that says why."""
    if os.environ.get("RANK", "0") == "0":
        lines = [f"error: {reason}", *([f"  {resume_command}"] if resume_command else [])]
        text = (RESET_TERMINAL if os.isatty(2) else "") + "".join(f"{line}\n" for line in lines)
        try:  # noqa: SIM105 - a moment may be within the import of contextlib
            os.write(2, text.encode(errors="backslashreplace"))
        except OSError:  # stderr is closed
            pass
    os._exit(EXIT_INTERRUPTED)


def _end_by_error(
    cls: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """The last resort for an exception that nothing has caught, as ``sys.excepthook``."""
    if issubclass(cls, KeyboardInterrupt):
        end_interrupted(str(error) or "interrupted")
    if shows_tracebacks:
        sys.__excepthook__(cls, error, traceback)
        return
    from vaezoo.utils.errors import describe_failure, print_error

    print_error(describe_failure(error)[1])


def _report_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Reports an exception that Python could not raise, as ``sys.unraisablehook``."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        end_interrupted(str(unraisable.exc_value or "") or "interrupted")
    if shows_tracebacks:
        sys.__unraisablehook__(unraisable)


def report_thread(failed: threading.ExceptHookArgs) -> None:
    """Reports an exception that ended a thread, as ``threading.excepthook``."""
    if failed.exc_value is not None and not issubclass(failed.exc_type, SystemExit):
        _end_by_error(failed.exc_type, failed.exc_value, failed.exc_traceback)
