"""Finds runs on disk, and the run that a user means: a path, ``latest``, or a prefix.

Nothing here imports torch, so that ``vaezoo runs`` is quick.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vaezoo.utils.errors import UsageError
from vaezoo.utils.paths import exists, expand_user, is_folder

RUNS = "runs"
"""The folder in which runs are created, and looked for, unless another is named."""
LATEST = "latest"
SPEC = "spec.yaml"
"""The file by which a folder is known to be a run."""
_MAX_DEPTH = 8
"""How many folders below the first one runs are looked for: SWEEP/runs/NAME/TIME are four."""
_MAX_NAMES = 5


@dataclass(frozen=True)
class Folder:
    """A folder that is a run, or that ought to be one.

    Attributes:
        path: the folder.
        fault: why it is no run; empty for a run.
    """

    path: Path
    fault: str = ""


def find_folders(root: Path) -> Iterator[Folder]:
    """Yields the runs below a folder, or the folder itself if it is one.

    Folders in which nothing leads to a run, and those that cannot be read, are yielded with what
    is wrong. Hidden folders are left out, and links are followed once.
    """
    yield from _walk(root, _MAX_DEPTH, set())


def _walk(path: Path, depth: int, visited: set[str]) -> Iterator[Folder]:
    real = os.path.realpath(path)
    if real in visited:
        return
    visited.add(real)
    try:
        with os.scandir(path) as entries:
            names = {entry.name: entry.is_dir() for entry in entries}
    except OSError as error:
        yield Folder(path, f"cannot be read: {error.strerror or error}")
        return
    if names.get(SPEC) is False:
        yield Folder(path)
        return
    folders = sorted(name for name, is_dir in names.items() if is_dir and name[0] != ".")
    known = [name for name in folders if name not in ("checkpoint", "pictures")]
    if not depth and known:
        yield Folder(path, f"folders deeper than {_MAX_DEPTH} levels are not looked into")
    elif not known and len(visited) > 1:  # an empty folder of runs is none that ought to be a run
        yield Folder(path, f"has no {SPEC}")
    else:
        for name in known:
            yield from _walk(path / name, depth - 1, visited)


def find_runs(root: Path) -> list[Path]:
    """The runs below a folder."""
    return [folder.path for folder in find_folders(root) if not folder.fault]


def age_key(path: Path) -> tuple[str, float]:
    """A key that sorts runs by their age: the time that names them, or that of their spec."""
    try:
        changed = (path / SPEC).stat().st_mtime
    except OSError:
        changed = 0.0
    return started(path) or _stamp(changed), changed


def started(path: Path) -> str:
    """The time in the name of a run, such as ``20261127-062436``; empty if it has another name."""
    stamp = path.name[:15]
    is_time = len(stamp) == 15 and stamp[8] == "-" and (stamp[:8] + stamp[9:]).isdigit()
    return stamp if is_time else ""


def _stamp(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%d-%H%M%S")


def find_run(text: str | Path) -> Path:
    """The directory of the run that a text means.

    Args:
        text: a path; ``latest`` for the newest run below ``runs``, ``NAME/latest`` for the newest
            of a name or below another folder; or the beginning of the path of a run below
            ``runs``, of the part of it behind ``runs/``, or of its time, which fits no other run.
            A path that exists is always meant as such.

    Raises:
        UsageError: no run fits, or more than one; the message names them.
    """
    path = expand_user(text)
    if exists(path):
        return path
    matches = matching_runs(text)
    if not matches:
        raise UsageError(f"{text}: not a run: {_where(text)}")
    return the_only_one(text, matches)


def matching_runs(text: str | Path) -> list[Path]:
    """The runs that a text may mean which is no path; of ``latest`` only the newest one."""
    path = expand_user(text)
    if path.name == LATEST:
        return _latest(path.parent)
    begin = str(path)
    if begin in ("", ".", ".."):
        return []
    if path.parent != Path() and is_folder(path.parent):
        siblings = [run for run in find_runs(path.parent) if str(run).startswith(begin)]
        if siblings:
            return siblings
    return [
        run
        for run in find_runs(Path(RUNS))
        if str(run.relative_to(RUNS)).startswith(begin) or run.name.startswith(begin)
    ]


def _latest(parent: Path) -> list[Path]:
    """The newest run below a folder, or of a name; empty if there is none."""
    for folder in (Path(RUNS),) if parent == Path() else (parent, Path(RUNS) / parent):
        if runs := find_runs(folder) if folder.is_dir() else []:
            return [max(runs, key=age_key)]
    return []


def the_only_one(text: str | Path, matches: list[Path]) -> Path:
    """The match of a text; raises UsageError if there are several."""
    if len(matches) == 1:
        return matches[0]
    newest = sorted(matches, key=age_key, reverse=True)
    names = ", ".join(map(str, newest[:_MAX_NAMES]))
    more = f" and {len(newest) - _MAX_NAMES:,} more" if len(newest) > _MAX_NAMES else ""
    raise UsageError(f"{text}: is ambiguous: it may be any of {names}{more}")


def _where(text: str | Path) -> str:
    """Where was looked for the run."""
    if Path(text).name == LATEST:
        parent = Path(text).parent
        return f"there is none below {Path(RUNS) if parent == Path() else parent}"
    return f"there is no such folder, and none below {RUNS} begins so"
