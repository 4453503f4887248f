"""The files of a run's directory, written so that a kill at any moment never corrupts a run.

spec.yaml                 the resolved spec
environment.json          versions, plugins, device, git state; what only that process had
metrics.jsonl             one record per log interval and per validation
checkpoint/               step-000001200.safetensors: tensors, with the remaining state as JSON in
                          the header
model.safetensors         the weights that ``train.select`` selects on the validation split
regularizers.safetensors  the state of the regularizers at that step, such as critics; only if they
                          have trainable parameters
objective.safetensors     likewise the state of the objective, such as that of a discriminator
evaluation.json           metrics on the test split
evaluation-validation.json  those on the validation split, which a sweep chooses a trial by
evaluation-examples.safetensors  the metrics of each test example, of those that are means of them;
                          evaluation-examples-validation.safetensors likewise
pictures/                 samples, reconstructions, curves, latent map
report.html               all of these on one page

Every file that is read back has a digest (``vaezoo.utils.digests``), which is checked then.
"""

from __future__ import annotations

import contextlib
import errno
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import Tensor

from vaezoo.runs.environment import check_environment
from vaezoo.runs.evaluation_file import check_evaluation
from vaezoo.training.state import TrainerState
from vaezoo.utils.errors import IntegrityError, UsageError, VaezooError, one_line
from vaezoo.utils.files import (
    TEMPORARY,
    pack,
    read_json,
    read_tensors,
    unpack,
    write_tensors,
    write_text,
)
from vaezoo.utils.json_text import json_text
from vaezoo.utils.locks import describe_holder
from vaezoo.utils.own_files import open_own_file
from vaezoo.utils.paths import is_file
from vaezoo.utils.records import read_records, record_line

_FORMAT = "checkpoint/v4"
_CHECKPOINT = re.compile(r"step-(?P<step>[0-9]{9,18})\.safetensors")


class RunDirectory:
    """Reads and writes the files of one run.

    Attributes:
        path: the directory.
        spec, environment, metrics, model, regularizers, objective, evaluation, report: files in
            it.
        checkpoints, pictures: folders in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spec = path / "spec.yaml"
        self.environment = path / "environment.json"
        self.metrics = path / "metrics.jsonl"
        self.checkpoints = path / "checkpoint"
        self.model = path / "model.safetensors"
        self.regularizers = path / "regularizers.safetensors"
        self.objective = path / "objective.safetensors"
        self.evaluation = path / "evaluation.json"
        self.pictures = path / "pictures"
        self.report = path / "report.html"

    @classmethod
    def create(cls, root: Path, name: str) -> RunDirectory:
        """Creates a new directory ``root/name/<time>``; an existing one is never reused.

        Raises:
            VaezooError: the directory cannot be created.
        """
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        for attempt in range(1, 1000):
            path = root / name / (stamp if attempt == 1 else f"{stamp}-{attempt}")
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
            except OSError as error:
                reason = error.strerror or error
                raise VaezooError(
                    f"cannot create {path}: {reason}; choose another --out"
                ) from error
            return cls(path)
        raise VaezooError(f"cannot find an unused directory name below {root / name}")

    @classmethod
    def open(cls, path: str | Path) -> RunDirectory:
        """Opens the directory of an existing run.

        Raises:
            UsageError: there is no run at ``path``.
        """
        directory = cls(Path(path))
        if not is_file(directory.spec):
            raise UsageError(f"{path}: not a run: it has no spec.yaml")
        return directory

    def evaluation_of(self, split: str) -> Path:
        """The file with the metrics on a split; ``evaluation.json`` is that of the test split."""
        return self.evaluation if split == "test" else self.path / f"evaluation-{split}.json"

    def example_values_of(self, split: str) -> Path:
        """The file with the metrics of each example of a split."""
        suffix = "" if split == "test" else f"-{split}"
        return self.path / f"evaluation-examples{suffix}.safetensors"

    def read_environment(self) -> dict[str, Any]:
        """Reads ``environment.json``; empty if the run ended before it was written.

        A damaged file is empty, too, with a warning: the weights do not depend on it.
        """
        if not self.environment.exists():
            return {}
        try:
            return check_environment(read_json(self.environment))
        except (IntegrityError, ValueError) as error:
            reason = str(error).removeprefix(f"{self.environment}: ")
            warnings.warn(
                f"{self.environment}: {reason}; the run is used without what it records: its "
                "data, its spec, and what it was run with",
                stacklevel=2,
            )
            return {}

    def read_evaluation(self, split: str) -> dict[str, Any]:
        """Reads the evaluation of a split.

        Raises:
            IntegrityError: the file is missing or damaged, or is no evaluation.
        """
        path = self.evaluation_of(split)
        remedy = f"vaezoo evaluate {self.path} {split} measures again"
        try:
            return check_evaluation(read_json(path, needs_digest=self._has_digests()))
        except IntegrityError as error:
            raise IntegrityError(f"{error}; {remedy}") from error
        except ValueError as error:
            raise IntegrityError(f"{path}: is no evaluation: {error}; {remedy}") from error

    def read_tensors(self, path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Reads the tensors and the metadata of a file of this run.

        Raises:
            IntegrityError: it is missing or damaged.
        """
        return read_tensors(path, needs_digest=self._has_digests())

    def _has_digests(self) -> bool:
        """Whether every file has a digest, because the run began with a version that says so."""
        return bool(self.read_environment().get("digests"))

    def records(self) -> list[dict[str, Any]]:
        """Reads ``metrics.jsonl``, as ``read_records`` does."""
        return read_records(self.metrics)

    def rewind(self, step: int) -> None:
        """Removes records and checkpoints after ``step``, which training will write again."""
        for path in self.checkpoint_files():
            if _step_of(path) > step:
                path.unlink()
        lines = [record_line(record) for record in self.records() if record["step"] <= step]
        write_text(self.metrics, "".join(lines))

    def checkpoint_files(self) -> list[Path]:
        """The checkpoint files, from the oldest to the newest; other files are ignored."""
        files = [
            path
            for path in self.checkpoints.glob("step-*.safetensors")
            if _CHECKPOINT.fullmatch(path.name) and path.is_file()
        ]
        return sorted(files, key=_step_of)

    def save_checkpoint(
        self, step: int, state: Mapping[str, Any], keep: int, identity: str = ""
    ) -> None:
        """Writes a checkpoint, then removes all checkpoints except the last ``keep``.

        Args:
            step: the training step.
            state: what training depends on.
            keep: the number of checkpoints to keep.
            identity: of the run, as ``recorded_spec.run_identity`` computes it.
        """
        packed, tensors = pack(state)
        path = self.checkpoints / f"step-{step:09d}.safetensors"
        header = {"vaezoo": _FORMAT, "run": identity, "state": json_text(packed)}
        write_tensors(path, tensors, header)
        for old in self.checkpoint_files()[:-keep]:
            old.unlink(missing_ok=True)

    def load_checkpoint(self) -> TrainerState | None:
        """Loads the newest readable checkpoint; None if the run has no checkpoints.

        Raises:
            IntegrityError: there are checkpoints, and every one is damaged or that of another run.
        """
        failures: list[str] = []
        environment = self.read_environment()
        for path in reversed(self.checkpoint_files()):
            try:
                state = self._read_checkpoint(path, environment)
            except IntegrityError as error:
                failures.append(str(error))
                continue
            if failures:
                warnings.warn(f"{'; '.join(failures)}; {path.name} is used instead", stacklevel=2)
            return state
        if failures:
            raise IntegrityError(
                f"{'; '.join(failures)}; to train from the start, remove {self.checkpoints}"
            )
        return None

    def _read_checkpoint(self, path: Path, environment: Mapping[str, Any]) -> TrainerState:
        """Reads one checkpoint; raises IntegrityError if it is damaged or that of another run."""
        tensors, metadata = read_tensors(path, needs_digest=environment.get("digests", False))
        identity = environment.get("identity", "")
        # those of earlier versions do not say whose they are
        if identity and metadata.get("run", "") not in ("", identity):
            raise IntegrityError(f"{path}: is a checkpoint of another run")
        if metadata.get("vaezoo") != _FORMAT:
            raise IntegrityError(
                f"{path}: its format is {metadata.get('vaezoo')}, but this version of "
                f"vaezoo can only resume from {_FORMAT}"
            )
        try:
            state: TrainerState = unpack(json.loads(metadata["state"]), tensors)
            if not TrainerState.__required_keys__ <= state.keys():
                raise ValueError("keys are missing")
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise IntegrityError(f"{path}: is no checkpoint: {one_line(error)}") from error
        return state

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Locks the run for this process, so that two processes cannot write to it.

        Raises:
            UsageError: another process has locked it.
            VaezooError: the file of the lock cannot be opened, or is not the run's own.
        """
        try:
            import fcntl
        except ImportError:  # the operating system has no such locks: the user must take care
            yield
            return
        try:  # a run of others may hold a link to any file of this user
            opened = open_own_file(self.path / ".lock", append=True)
        except OSError as error:
            reason = error.strerror or error
            hint = "; remove it" if error.errno == errno.EPERM else ""
            raise VaezooError(f"cannot lock {self.path / '.lock'}: {reason}{hint}") from error
        with opened as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = describe_holder(self.path / ".lock")
                raise UsageError(f"{self.path}: {holder} is using this run") from None
            except OSError:
                pass  # the file system has no locks
            yield

    def remove_temporary_files(self) -> None:
        """Removes temporary files that were left by a kill."""
        for folder in (self.path, self.checkpoints, self.pictures):
            for path in folder.glob(f"{TEMPORARY}*"):
                if not path.is_dir():
                    path.unlink(missing_ok=True)


def _step_of(checkpoint: Path) -> int:
    """The training step in the name of a checkpoint file."""
    return int(checkpoint.stem.removeprefix("step-"))
