"""Runs the cases of fuzzers, in process or through the command, and prints what came of them.

Each command is a process of its own: it is forked from one that has imported vaezoo, and calls the
main function of the command, which decides the exit code.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.commands import receive_interruptions
from tests.fuzz.guard import Fault

MEMORY = 4 * 2**30
"""How much memory a case may ask for beyond what the process has at its start, in bytes."""
CODES = (0, 1, 2, 3, 4, 5)
ROOT = Path(__file__).parents[2]


class Fuzzer(Protocol):
    """Makes and judges the cases of one kind."""

    def in_process(self, seed: int, place: Path, mutator: str) -> str:
        """Judges a case in this process; returns the verdict."""

    def through_command(self, seed: int, place: Path, mutator: str, commands: Commands) -> str:
        """Judges a case by a command; returns the verdict."""

    def mutator_of(self, seed: int) -> str:
        """The name of what a case changes, for the line of a fault."""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code and what it printed."""

    code: int | None
    output: str
    errors: str


class Commands:
    """Starts commands in processes of their own.

    Args:
        limit: seconds that each may take.
    """

    def __init__(self, limit: float, preload: str = "tests.fuzz.warm") -> None:
        self.limit = limit
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload([preload])
        known = os.environ.get("PYTHONPATH", "")  # of the fork server
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), known]))

    def call(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
    ) -> Ended:
        """Runs a command in a folder, with some environment variables changed.

        Raises:
            Fault: it takes too long.
        """
        process = self.context.Process(
            target=_command, args=([*map(str, arguments)], folder, {**(environment or {})})
        )
        process.start()
        process.join(self.limit)
        if process.is_alive():
            process.kill()
            process.join()
            raise Fault(f"{arguments[0]} takes longer than {self.limit} seconds")
        output, errors = (
            (folder / name).read_text("utf-8", "replace") for name in ("stdout", "stderr")
        )
        return Ended(process.exitcode, output, errors)


def _command(
    arguments: list[str], folder: Path, environment: Mapping[str, str] | None = None
) -> None:
    """The command, in a process of its own, with its output in files."""
    os.chdir(folder)
    os.environ.update(environment or {})
    limit_memory()
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    from vaezoo.cli.main import main

    sys.argv = ["vaezoo", *arguments]
    main()


def check_printed(ended: Ended) -> list[str]:
    """Checks how a command ended and what it printed on stderr; returns its lines.

    Raises:
        Fault: it printed a traceback or control characters, or ended otherwise than it may.
    """
    errors = ended.errors
    if "Traceback" in errors or "Error: " in errors:
        raise Fault(f"prints a traceback: ...{errors[-500:]}")
    if ended.code not in CODES:
        raise Fault(f"ends with {ended.code}: {errors[-300:]}")
    lines = errors.splitlines()
    if not all(line.isprintable() for line in lines):
        raise Fault(f"prints control characters: {errors!r}")
    return lines


def limit_memory() -> None:
    """Lets this process ask for MEMORY more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))


@contextmanager
def limited_to(seconds: float) -> Iterator[None]:
    """Raises a Fault in a block that takes longer than some seconds, also if it catches that."""
    faults: list[Fault] = []

    def stop(*_: object) -> None:
        faults.append(Fault(f"takes longer than {seconds} seconds"))
        raise faults[-1]

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if faults:
            raise faults[0]


def parse_options(names: Sequence[str], description: str, what: str) -> argparse.Namespace:
    """The options of the command line of a fuzzer, with the names that were chosen as ``names``.

    Args:
        names: the names of all fuzzers.
        description: of the command.
        what: a fuzzer, such as ``format``.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("name", metavar=what, choices=[*names, "all"])
    parser.add_argument("--cases", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the first case")
    parser.add_argument(
        "--seconds",
        type=float,
        default=0,
        help=f"stop each {what} after this CPU time; commands after this time",
    )
    parser.add_argument("--mutator", default="", help="by default each seed has one")
    parser.add_argument("--command", action="store_true", help="call the command")
    parser.add_argument("--limit", type=float, default=60, help="seconds that a case may take")
    parser.add_argument("--out", type=Path, help="write the results as JSON")
    options = parser.parse_args()
    options.names = [*names] if options.name == "all" else [options.name]
    return options


def run_fuzzers(fuzzers: Mapping[str, Fuzzer], options: argparse.Namespace) -> None:
    """Runs the cases of the fuzzers that were chosen; ends the process with 1 if there are faults.

    In this process with a limit for its memory and for the time of a case.
    """
    receive_interruptions()
    commands = Commands(options.limit) if options.command else None
    if commands is None:
        limit_memory()
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        results = {
            name: _fuzz(name, fuzzers[name], Path(folder), options, commands)
            for name in options.names
        }
    if options.out:
        options.out.write_text(json.dumps(results, indent=2) + "\n")
    sys.exit(any(result["faults"] for result in results.values()))


def clock_of(options: argparse.Namespace) -> Callable[[], float]:
    """Measures CPU time; commands are children of the fork server, so of them it is not known."""
    return time.monotonic if options.command else time.process_time


def _fuzz(
    name: str,
    fuzzer: Fuzzer,
    folder: Path,
    options: argparse.Namespace,
    commands: Commands | None,
) -> dict[str, Any]:
    """Runs the cases of one fuzzer; returns what came of them."""
    verdicts: Counter[str] = Counter()
    clock = clock_of(options)
    faults, start, cases = [], clock(), 0
    for seed in range(options.seed, options.seed + options.cases):
        if options.seconds and clock() - start > options.seconds:
            break
        cases += 1
        place = folder / f"{name}-{seed}"
        try:
            if commands is not None:
                verdict = fuzzer.through_command(seed, place, options.mutator, commands)
            else:
                with limited_to(options.limit):
                    verdict = fuzzer.in_process(seed, place, options.mutator)
            verdicts[verdict] += 1
        except Exception as error:  # of the reader, or of what the tests expect of it
            fault = error if isinstance(error, Fault) else repr(error)
            mutator = options.mutator or "by seed"
            with suppress(Exception):  # what makes cases may be at fault itself
                mutator = options.mutator or fuzzer.mutator_of(seed)
            faults.append({"seed": seed, "mutator": mutator, "fault": str(fault)})
            print(f"{name} --seed {seed}  # {mutator}: {fault}", flush=True)
        finally:
            shutil.rmtree(place, ignore_errors=True)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    seconds, unit = clock() - start, "s" if options.command else "CPU seconds"
    print(
        f"{name}: {cases} cases in {seconds:.0f} {unit}: {counts}; {len(faults)} faults",
        flush=True,
    )
    return {
        "cases": cases,
        "first_seed": options.seed,
        "seconds": round(seconds),
        **verdicts,
        "faults": faults,
    }
