"""Files are replaced as a whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from vaezoo.utils import files
from vaezoo.utils.errors import VaezooError


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


def test_others_may_read_what_is_written(tmp_path):
    files.write_text(tmp_path / "file.txt", "text")
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == 0o644
