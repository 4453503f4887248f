"""Damages the files of a run, and counts what is noticed.

    python benchmarks/damage.py --cases 3000            # in process
    python benchmarks/damage.py --command --cases 300   # vaezoo evaluate, then vaezoo resume
    python benchmarks/damage.py --seed 17               # repeats one case

Every case flips a bit, or changes, cuts or repeats some bytes, in one file of a copy of a small
run. Noticed is an error with exit code 4, or a warning, that names the file. Otherwise everything
that is read must be the same as before, and a resumed run must leave the same weights to the last
bit. Anything else is a fault: other values without a word, a traceback, another exit code. Records
that end early are counted apart (``cut``): a kill leaves them so, and weights do not depend on
them. Prints a table of files and verdicts, and each fault with its seed; ends with 1 if there are
faults. Commands are forked from a process that has imported vaezoo (``tests/fuzz/driver.py``):
with an import for each, 300 cases take more than an hour on a busy machine.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import numpy as np

import vaezoo
from tests.fuzz.damage import damage
from tests.fuzz.driver import Commands
from tests.fuzz.guard import Fault
from tests.fuzz.run_files import READ_BACK, Trained, flip, is_equal, read_everything
from vaezoo.utils.errors import VaezooError

SPEC = {
    "spec": "vaezoo/v2",
    "name": "tiny",
    "data": {"type": "digits", "batch_size": 128},
    "model": {
        "latent_dim": 2,
        "encoder": {"type": "mlp", "hidden": [16]},
        "decoder": {"type": "mlp", "hidden": [16]},
        "likelihood": "bernoulli",
    },
    "train": {"epochs": 3, "log_every": 4, "checkpoint_every": 0, "keep": 1, "device": "cpu"},
    "evaluate": ["elbo"],
}


def change(path: Path, generator: random.Random) -> None:
    """Damages a file: half of the cases flip one bit."""
    if generator.random() < 0.5:
        flip(path, generator)
    else:
        random_numbers = np.random.default_rng(generator.randrange(2**32))
        path.write_bytes(damage(path.read_bytes(), random_numbers))


def in_process(path: Path, name: str, whole: dict[str, Any]) -> str:
    """Reads everything of a run of which a file was changed; returns the verdict."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = read_everything(path)
        except VaezooError as error:
            is_named = name in str(error) and "\n" not in str(error)
            if error.exit_code == 4 and is_named:
                return "refused"
            return f"FAULT: exit code {error.exit_code}: {error}"
        except Exception as error:
            return f"FAULT: {type(error).__name__}: {error}"
    if any(name in str(each.message) for each in caught):
        return "warned"
    if is_equal(found, whole):
        return "same"
    is_cut = found["records"] == whole["records"][: len(found["records"])]
    is_else_equal = is_equal({**found, "records": []}, {**whole, "records": []})
    return "cut" if is_cut and is_else_equal else "FAULT: other values, without a word"


def by_command(path: Path, name: str, weights: bytes, commands: Commands) -> str:
    """Evaluates and resumes a run of which a file was changed; returns the verdict."""
    verdict = "same"
    for word in ("evaluate", "resume"):
        try:
            ended = commands.call(["-q", word, str(path)], path.parent)
        except Fault as fault:
            return f"FAULT: {fault}"
        if ended.code not in (0, 4) or "Traceback" in ended.errors:
            return f"FAULT: {word}: exit code {ended.code}: {ended.errors[-300:]}"
        if ended.code == 4 or "warning: " in ended.errors:
            if name not in ended.errors:
                return f"FAULT: {word} does not name {name}: {ended.errors[-300:]}"
            verdict = "refused" if ended.code else "warned"
    if verdict != "refused" and (path / "model.safetensors").read_bytes() != weights:
        return "FAULT: other weights, without a word"
    return verdict


def main() -> None:
    """Runs the cases and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--first", type=int, default=0, help="the seed of the first case")
    parser.add_argument("--seed", type=int, help="repeat one case")
    parser.add_argument("--command", action="store_true", help="through the command")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.cases)
    if options.seed is not None:
        seeds = range(options.seed, options.seed + 1)
    files = [name for name in READ_BACK if not (options.command and "regularizers" in name)]
    verdicts: Counter[tuple[str, str]] = Counter()
    commands = Commands(limit=300)
    with tempfile.TemporaryDirectory() as folder:
        regularizers: list[str] = ["kl"]
        if not options.command:  # a class of this process, which a command does not have
            vaezoo.register("regularizer", "trained", Trained)
            regularizers.append("trained")
        run = vaezoo.run({**SPEC, "regularizers": regularizers}, out=folder).path
        whole, weights = read_everything(run), (run / "model.safetensors").read_bytes()
        for seed in seeds:
            generator = random.Random(seed)
            name, path = generator.choice(files), Path(folder, "copy")
            shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(run, path)
            change(path / name, generator)
            last = name.rpartition("/")[2]
            if options.command:
                verdict = by_command(path, last, weights, commands)
            else:
                verdict = in_process(path, last, whole)
            verdicts[name, verdict.partition(":")[0]] += 1
            if verdict.startswith("FAULT"):
                print(f"seed {seed}: {name}: {verdict}", flush=True)
    for (name, verdict), count in sorted(verdicts.items()):
        print(f"{name:40} {verdict:8} {count}")
    sys.exit(any(verdict == "FAULT" for _, verdict in verdicts))


if __name__ == "__main__":
    main()
