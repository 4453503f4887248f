"""Fuzzes the readers of people's data: images, npz, tables, midi, text; or all of them.

    python benchmarks/fuzz.py images --cases 5000         # in process; three minutes on one core
    python benchmarks/fuzz.py images --seed 137           # repeats one case
    python benchmarks/fuzz.py all --command --cases 300   # through the command

What is a fault is said in tests/fuzz/harness.py. Without ``--command`` the data sets are read in
this process, with a limit for its memory and for the time of a case. With it each source is
written with a spec of a tiny model, and ``vaezoo run --dry-run`` is called, and every twentieth
time ``vaezoo run`` of one step. Each command is a process of its own: it is forked from one that
has imported vaezoo, and calls the main function of the command, which decides the exit code. No
command may print a traceback or a warning, take longer than ``--limit`` seconds, or end with a
code other than 0 to 5. What must be refused must not end with 0, and what must not be refused must
end with 0, unless a loss is not finite. A dry run reads one batch of pictures only, so there a
refusal is not demanded.

Prints the numbers of cases and verdicts, and each fault with its seed; ``--out`` writes them as
JSON. Ends with 1 if there are faults. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import re
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

MEMORY = 4 * 2**30
"""How much memory a case may ask for beyond what the process has at its start, in bytes."""
CODES = (0, 1, 2, 3, 4, 5)
MLP = {"latent_dim": 2, "encoder": {"type": "mlp", "hidden": [4]},
       "decoder": {"type": "mlp", "hidden": [4]}, "likelihood": "normal"}  # fmt: skip
STEPS = {"latent_dim": 2, "encoder": {"type": "recurrent", "units": 4},
         "latents": {"type": "recurrent", "units": 4},
         "decoder": {"type": "steps", "hidden": [4]}}  # fmt: skip
PART = {"type": "mlp", "hidden": [4]}
JOINT = {"latent_dim": 2, "encoder": {"type": "joint", "parts": {"a": PART, "b": PART}},
         "decoder": {"type": "joint", "parts": {"a": PART, "b": PART}},
         "likelihood": {"type": "joint", "parts": {"a": "normal", "b": "normal"}}}  # fmt: skip
MODELS = {
    "image-folder": MLP, "npz": MLP, "table": MLP, "joint": JOINT,
    "sequences": {**STEPS, "likelihood": "normal"}, "midi": {**STEPS, "likelihood": "bernoulli"},
    "text": {**STEPS, "likelihood": "categorical"},
}  # fmt: skip


def limit_memory() -> None:
    """Lets this process ask for MEMORY more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))


def in_process(name: str, seed: int, folder: Path, options: argparse.Namespace) -> str:
    """Judges a case in this process; returns the verdict."""
    from tests.fuzz.formats import FORMATS
    from tests.fuzz.harness import run_case
    from tests.fuzz.reading import Fault

    def stop(*_: object) -> None:
        raise Fault(f"takes longer than {options.limit} seconds")

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, options.limit)
    try:
        return run_case(FORMATS[name], seed, folder, options.mutator)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def call(arguments: list[str], folder: Path) -> None:
    """The command, in a process of its own, with its output in files."""
    os.chdir(folder)
    limit_memory()
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT, 0o600), number)
    from vaezoo.cli.main import main

    sys.argv = ["vaezoo", *arguments]
    main()


def through_command(name: str, seed: int, folder: Path, options: argparse.Namespace) -> str:
    """Writes a case with a spec and calls the command; returns its exit code in words."""
    import shutil

    from tests.fuzz.formats import FORMATS
    from tests.fuzz.harness import case
    from tests.fuzz.reading import Fault

    place = folder / f"{name}-{seed}"
    _, source, _, claim = case(FORMATS[name], seed, options.mutator)
    (place / "data").mkdir(parents=True)
    block = source.write(place / "data")
    is_joint = source.type == "npz" and any(key.startswith("x.") for key in source.content)
    spec = {"spec": "vaezoo/v1", "name": "fuzz", "data": {**block, "batch_size": 4},
            "model": MODELS["joint" if is_joint else source.type],
            "train": {"steps": 1, "device": "cpu"}, "evaluate": ["elbo"]}  # fmt: skip
    (place / "spec.yaml").write_text(json.dumps(spec))
    arguments = ["run", "spec.yaml", *([] if seed % 20 == 0 else ["--dry-run"])]
    process = options.forks.Process(target=call, args=(arguments, place))
    process.start()
    process.join(options.limit)
    try:
        if process.is_alive():
            process.kill()
            process.join()
            raise Fault(f"takes longer than {options.limit} seconds")
        code, errors = process.exitcode, (place / "stderr").read_text("utf-8", "replace")
        is_seen = (
            "--dry-run" not in arguments or name != "images"
        )  # it reads one batch of pictures
        check_command(
            code, errors, claim.refusal if is_seen or claim.refusal == "never" else "may"
        )
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return f"exit code {code}"


def check_command(code: int | None, errors: str, refusal: str) -> None:
    """Checks how a command ended.

    Raises:
        Fault: it printed a traceback or control characters, or ended otherwise than it must.
    """
    from tests.fuzz.reading import Fault

    if "Traceback" in errors or "Error: " in errors:
        raise Fault(f"prints a traceback: ...{errors[-500:]}")
    if code not in CODES:
        raise Fault(f"ends with {code}: {errors[-300:]}")
    lines = errors.splitlines()
    if not all(line.isprintable() for line in lines):
        raise Fault(f"prints control characters: {errors!r}")
    said = [line for line in lines if line.startswith("error: ")]
    if (code > 0) != (len(said) == 1) or any(line.startswith("warning: ") for line in lines):
        raise Fault(f"ends with {code} and prints: {errors[-300:]}")
    is_diverged = re.search("(loss|distortion) is (nan|-?inf) on", errors)  # on extreme values
    if (refusal == "must" and not code) or (refusal == "never" and code and not is_diverged):
        raise Fault(f"{refusal} be refused, but ends with {code}: {errors[-300:]}")


def clock_of(options: argparse.Namespace) -> Callable[[], float]:
    """Measures CPU time; commands are children of the fork server, so of them it is not known."""
    return time.monotonic if options.command else time.process_time


def fuzz(name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Runs the cases of a format; returns what came of them."""
    from tests.fuzz.formats import FORMATS
    from tests.fuzz.harness import case
    from tests.fuzz.reading import Fault

    run: Callable[..., str] = through_command if options.command else in_process
    verdicts: Counter[str] = Counter()
    clock = clock_of(options)
    faults, start, cases = [], clock(), 0
    for seed in range(options.seed, options.seed + options.cases):
        if options.seconds and clock() - start > options.seconds:
            break
        cases += 1
        try:
            verdicts[run(name, seed, folder, options)] += 1
        except Exception as error:  # of the reader, or of what the tests expect of it
            fault = error if isinstance(error, Fault) else repr(error)
            mutator = options.mutator or "by seed"
            with contextlib.suppress(Exception):  # what makes cases may be at fault itself
                mutator = case(FORMATS[name], seed, options.mutator)[2]
            faults.append({"seed": seed, "mutator": mutator, "fault": str(fault)})
            print(f"{name} --seed {seed}  # {mutator}: {fault}", flush=True)
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


def main() -> None:
    from tests.fuzz.formats import FORMATS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("format", choices=[*FORMATS, "all"])
    parser.add_argument("--cases", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the first case")
    parser.add_argument(
        "--seconds",
        type=float,
        default=0,
        help="stop each format after this CPU time; commands after this time",
    )
    parser.add_argument("--mutator", default="", help="by default each seed has one")
    parser.add_argument("--command", action="store_true", help="call the command")
    parser.add_argument("--limit", type=float, default=60, help="seconds that a case may take")
    parser.add_argument("--out", type=Path, help="write the results as JSON")
    options = parser.parse_args()
    if options.command:
        options.forks = multiprocessing.get_context("forkserver")
        options.forks.set_forkserver_preload(["tests.fuzz.warm"])
        os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    else:
        limit_memory()
    names = list(FORMATS) if options.format == "all" else [options.format]
    with tempfile.TemporaryDirectory() as folder:
        results = {name: fuzz(name, Path(folder), options) for name in names}
    if options.out:
        options.out.write_text(json.dumps(results, indent=2) + "\n")
    sys.exit(any(result["faults"] for result in results.values()))


if __name__ == "__main__":
    main()
