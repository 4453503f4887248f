"""Files are replaced as a whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from vaezoo.utils import files
from vaezoo.utils.errors import IntegrityError, VaezooError


@pytest.mark.parametrize("step", ["write_bytes", "replace"])
def test_a_failing_write_leaves_the_old_file_and_nothing_else(step, tmp_path, monkeypatch):
    target = tmp_path / "file.json"
    files.write_json(target, {"old": True})

    def full(self, *args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, step, full)
        with pytest.raises(
            VaezooError, match=r"cannot write .*file\.json: No space left on device"
        ):
            files.write_json(target, {"old": False})
    assert files.read_json(target) == {"old": True}
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_write_that_is_broken_off_leaves_the_old_file(error, tmp_path):
    target = tmp_path / "file.txt"
    files.write_text(target, "old")
    with pytest.raises(error), files.atomic_write(target) as temporary:
        temporary.write_text("half of the ne")
        raise error
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_says_who_may_read_what_is_written(umask, mode, tmp_path):
    before = os.umask(umask)
    try:
        files.write_text(tmp_path / "file.txt", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == mode


def pipe(path):
    os.mkfifo(path)


def link_to_a_pipe(path):
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


def link_to_a_device(path):
    path.symlink_to("/dev/null")


def link_to_an_open_file(path):
    opened = path.with_name("opened")
    opened.write_text("old")
    path.symlink_to(f"/proc/self/fd/{os.open(opened, os.O_RDWR)}")


@pytest.mark.parametrize(
    "make", [pipe, link_to_a_pipe, link_to_a_device, link_to_an_open_file, Path.mkdir]
)
def test_what_is_no_file_is_not_replaced(make, tmp_path):
    target = tmp_path / "file.csv"
    make(target)
    before = {path: path.lstat() for path in tmp_path.iterdir()}
    with pytest.raises(VaezooError) as raised:
        files.write_text(target, "text")
    assert str(raised.value) == f"{target}: is a device, pipe or folder; choose another name"
    after = {path: path.lstat() for path in tmp_path.iterdir()}
    assert {p: (s.st_ino, s.st_mode) for p, s in after.items()} == {
        p: (s.st_ino, s.st_mode) for p, s in before.items()
    }


def test_links_to_files_and_to_nothing_are_replaced_and_their_targets_left(tmp_path):
    (tmp_path / "old.txt").write_text("old")
    for name in ("old.txt", "nothing"):
        link = tmp_path / f"{name}-link"
        link.symlink_to(name)
        files.write_text(link, "new")
        assert link.read_text() == "new" and not link.is_symlink()
    assert (tmp_path / "old.txt").read_text() == "old" and not (tmp_path / "nothing").exists()


def test_a_file_is_written_although_its_folder_cannot_be_synced(tmp_path, monkeypatch):
    whole, target = files.sync, tmp_path / "file.txt"

    def sync(path):
        if path.is_dir():
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        whole(path)

    monkeypatch.setattr(files, "sync", sync)
    files.write_text(target, "text")
    assert target.read_text() == "text"


@pytest.mark.parametrize("read", [files.read_json, files.read_tensors])
def test_pipes_and_devices_are_not_read(read, tmp_path):
    for make in (pipe, lambda path: path.symlink_to("/dev/zero"), Path.mkdir):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.json"
        make(path)
        with pytest.raises(IntegrityError, match="is a device, pipe or folder"):
            read(path)


def test_a_file_that_would_fill_the_memory_is_not_read(tmp_path):
    path = tmp_path / "large.json"
    with open(path, "wb") as file:
        file.truncate(1 << 40)  # which takes no space
    with pytest.raises(IntegrityError, match="is larger than 64 MiB"):
        files.read_json(path)
