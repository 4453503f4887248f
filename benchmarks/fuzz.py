"""Fuzzes the readers of people's data: images, npz, tables, midi, text; or all of them.

    python benchmarks/fuzz.py images --cases 5000         # in process; three minutes on one core
    python benchmarks/fuzz.py images --seed 137           # repeats one case
    python benchmarks/fuzz.py all --command --cases 300   # through the command

What is a fault is said in tests/fuzz/harness.py. Without ``--command`` the data sets are read in
this process, with a limit for its memory and for the time of a case. With it each source is
written with a spec of a tiny model, and ``vaezoo run --dry-run`` is called, and every twentieth
time ``vaezoo run`` of one step. No command may print a traceback or a warning, take longer than
``--limit`` seconds, or end with a code other than 0 to 5. What must be refused must not end with
0, and what must not be refused must end with 0, unless a loss is not finite. A dry run reads one
batch of pictures only, so there a refusal is not demanded.

Prints the numbers of cases and verdicts, and each fault with its seed; ``--out`` writes them as
JSON. Ends with 1 if there are faults. Linux only.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from tests.fuzz.driver import Commands, Ended, check_printed, parse_options, run_fuzzers
from tests.fuzz.formats import FORMATS
from tests.fuzz.guard import Fault
from tests.fuzz.harness import Format, case, run_case

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


@dataclass(frozen=True)
class Reader:
    """The fuzzer of the reader of a format."""

    form: Format

    def in_process(self, seed: int, place: Path, mutator: str) -> str:
        """Judges a case in this process; returns the verdict."""
        return run_case(self.form, seed, place.parent, mutator)

    def through_command(self, seed: int, place: Path, mutator: str, commands: Commands) -> str:
        """Writes a case with a spec and calls the command; returns its exit code in words."""
        name = self.form.name
        _, source, _, claim = case(self.form, seed, mutator)
        (place / "data").mkdir(parents=True)
        block = source.write(place / "data")
        is_joint = source.type == "npz" and any(key.startswith("x.") for key in source.content)
        spec = {"spec": "vaezoo/v1", "name": "fuzz", "data": {**block, "batch_size": 4},
                "model": MODELS["joint" if is_joint else source.type],
                "train": {"steps": 1, "device": "cpu"}, "evaluate": ["elbo"]}  # fmt: skip
        (place / "spec.yaml").write_text(json.dumps(spec))
        arguments = ["run", "spec.yaml", *([] if seed % 20 == 0 else ["--dry-run"])]
        ended = commands.call(arguments, place)
        is_seen = "--dry-run" not in arguments or name != "images"  # it reads one batch of them
        check_command(ended, claim.refusal if is_seen or claim.refusal == "never" else "may")
        return f"exit code {ended.code}"

    def mutator_of(self, seed: int) -> str:
        """The name of the mutator of a case."""
        return case(self.form, seed)[2]


def check_command(ended: Ended, refusal: str) -> None:
    """Checks how a command ended.

    Raises:
        Fault: it printed a traceback or control characters, or ended otherwise than it must.
    """
    lines, code, errors = check_printed(ended), ended.code, ended.errors
    said = [line for line in lines if line.startswith("error: ")]
    if bool(code) != (len(said) == 1) or any(line.startswith("warning: ") for line in lines):
        raise Fault(f"ends with {code} and prints: {errors[-300:]}")
    is_diverged = re.search("(loss|distortion) is (nan|-?inf) on", errors)  # on extreme values
    if (refusal == "must" and not code) or (refusal == "never" and code and not is_diverged):
        raise Fault(f"{refusal} be refused, but ends with {code}: {errors[-300:]}")


if __name__ == "__main__":
    run_fuzzers(
        {name: Reader(form) for name, form in FORMATS.items()},
        parse_options([*FORMATS], __doc__, "format"),
    )
