"""A run's directory: what is in it, written so that a kill at any moment loses nothing that counted.

spec.yaml            the resolved spec
environment.json     versions, plugins, device, git state
metrics.jsonl        one record per log interval and validation
checkpoint/          step-000001200.safetensors: tensors, with the rest of the state as JSON in the header
model.safetensors    the best weights by the validation bound
regularizers.safetensors  what regularizers had learned by then: critics, say; only where they learn
evaluation.json      metrics on the test split
pictures/            samples, reconstructions, curves, latent map
report.html          all of it on one page
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vaezoo.utils.errors import IntegrityError, UsageError, VaezooError
from vaezoo.utils.files import TEMPORARY, pack, read_tensors, unpack, write_tensors, write_text

_FORMAT = "checkpoint/v3"


class RunDirectory:
    """Paths and records of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spec = path / "spec.yaml"
        self.environment = path / "environment.json"
        self.metrics = path / "metrics.jsonl"
        self.checkpoints = path / "checkpoint"
        self.model = path / "model.safetensors"
        self.regularizers = path / "regularizers.safetensors"
        self.evaluation = path / "evaluation.json"
        self.pictures = path / "pictures"
        self.report = path / "report.html"

    @classmethod
    def create(cls, root: Path, name: str) -> RunDirectory:
        """A new directory ``root/name/<time>``; one that exists is never taken."""
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        for attempt in range(1, 1000):
            path = root / name / (stamp if attempt == 1 else f"{stamp}-{attempt}")
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
            except OSError as error:
                raise VaezooError(f"cannot create {path}: {error.strerror or error}; choose another --out") from error
            return cls(path)
        raise VaezooError(f"cannot find a free name below {root / name}")

    @classmethod
    def open(cls, path: str | Path) -> RunDirectory:
        """An existing run.

        Raises:
            UsageError: there is no run at ``path``.
        """
        directory = cls(Path(path))
        if not directory.spec.is_file():
            raise UsageError(f"{path}: not a run: it has no spec.yaml")
        return directory

    def records(self) -> list[dict[str, Any]]:
        """Every whole line of ``metrics.jsonl``; a part of one, left by a kill, is passed over."""
        found = []
        text = self.metrics.read_text("utf-8") if self.metrics.exists() else ""
        for line in text.splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found

    def rewind(self, step: int) -> None:
        """Forgets records and checkpoints after ``step``: they will be written again."""
        for path in self.checkpoint_files():
            if int(path.stem.removeprefix("step-")) > step:
                path.unlink()
        kept = [json.dumps(record) for record in self.records() if record["step"] <= step]
        write_text(self.metrics, "".join(line + "\n" for line in kept))

    def checkpoint_files(self) -> list[Path]:
        """Checkpoints, the oldest first."""
        return sorted(self.checkpoints.glob("step-*.safetensors"))

    def save_checkpoint(self, step: int, state: Mapping[str, Any], keep: int) -> None:
        """Writes a checkpoint, then removes all but the last ``keep``."""
        packed, tensors = pack(state)
        path = self.checkpoints / f"step-{step:09d}.safetensors"
        write_tensors(path, tensors, {"vaezoo": _FORMAT, "state": json.dumps(packed)})
        for old in self.checkpoint_files()[:-keep]:
            old.unlink(missing_ok=True)

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The newest checkpoint that can be read; None where there is none yet.

        Raises:
            IntegrityError: there are checkpoints, and every one is damaged.
        """
        failures: list[str] = []
        for path in reversed(self.checkpoint_files()):
            try:
                tensors, metadata = read_tensors(path)
                if metadata.get("vaezoo") != _FORMAT:
                    raise IntegrityError(f"{path}: {metadata.get('vaezoo')}, but this vaezoo goes on from {_FORMAT}")
                state: dict[str, Any] = unpack(json.loads(metadata["state"]), tensors)
                return state
            except (IntegrityError, KeyError, ValueError) as error:
                failures.append(str(error))
        if failures:
            raise IntegrityError("; ".join(failures))
        return None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the run for this process, so that no two write to it.

        Raises:
            UsageError: another process holds it.
        """
        try:
            import fcntl
        except ImportError:  # a system without them: the user must take care
            yield
            return
        with open(self.path / ".lock", "w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"{self.path}: another process is at work on this run") from None
            except OSError:
                pass  # a file system without locks
            yield

    def sweep(self) -> None:
        """Removes temporary files that a kill left behind."""
        for folder in (self.path, self.checkpoints, self.pictures):
            for leftover in folder.glob(f"{TEMPORARY}*"):
                leftover.unlink(missing_ok=True)
