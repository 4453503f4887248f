"""A cache that many processes share and that survives a kill, a full disk and wrong bytes."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

from vaezoo.pretrained import cache
from vaezoo.pretrained.cache import Cache, ChecksumMismatch, read_verified
from vaezoo.utils.errors import VaezooError

from .conftest import DATA, FILE, fetched


def quarantined(cache):
    return sorted((cache.root / "quarantine").glob("*"))


def test_a_file_is_fetched_once_and_kept_read_only(home, site):
    site.pages["/file"] = DATA
    assert bytes(fetched(home, site)) == DATA and bytes(home.get(FILE)) == DATA
    assert bytes(fetched(home, site)) == DATA and len(site.requests) == 1
    assert home.path(FILE.sha256).stat().st_mode & 0o777 == 0o444
    assert [
        path.name for path in (home.root / "partial").glob("*") if path.suffix != ".lock"
    ] == []


def test_more_than_was_declared_is_never_stored(home, site):
    site.pages["/file"] = DATA * 50
    with pytest.raises(ChecksumMismatch, match=f"got .* of {len(DATA) + 1:,}"):
        fetched(home, site)
    assert quarantined(home)[0].stat().st_size == len(DATA) + 1


@pytest.mark.parametrize(
    ("page", "looks"),
    [
        (b"<!DOCTYPE html><title>Log in</title>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a Git-LFS pointer"),
        (b'{"error": "no"}', "JSON"),
    ],
)
def test_what_came_instead_is_recognised_and_quarantined(home, site, page, looks):
    site.pages["/file"] = lambda handler: handler.give(page, content="text/html")
    with pytest.raises(ChecksumMismatch, match=looks) as caught:
        fetched(home, site)
    message = str(caught.value)
    assert (
        FILE.sha256 in message
        and hashlib.sha256(page).hexdigest() in message
        and site.url in message
    )
    assert quarantined(home)[0].read_bytes() == page and home.get(FILE) is None


def test_a_damaged_beginning_is_fetched_again(home, site):
    site.pages["/file"] = DATA
    partial = home.root / "partial" / FILE.sha256
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"x" * 1000)
    assert bytes(fetched(home, site)) == DATA
    assert [requested for _, requested in site.requests] == ["bytes=1000-", None]


def test_a_flipped_bit_in_the_cache_is_quarantined(home, site):
    site.pages["/file"] = DATA
    fetched(home, site)
    path = home.path(FILE.sha256)
    path.chmod(0o644)
    path.write_bytes(DATA[:-1] + b"\x00")
    with pytest.raises(ChecksumMismatch, match="quarantine"):
        home.get(FILE)
    assert not path.exists() and len(quarantined(home)) == 1


def test_a_read_only_cache_still_loads(site, tmp_path):
    (tmp_path / "file").write_text("in the way of a folder")
    site.pages["/file"] = DATA
    assert bytes(fetched(Cache(tmp_path / "file" / "home"), site)) == DATA


def test_a_cache_on_a_read_only_file_system_still_loads(home, site, monkeypatch):
    make = Path.mkdir

    def refuse(path, *args, **kwargs):
        if path.is_relative_to(home.root):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        make(path, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", refuse)
    site.pages["/file"] = DATA
    assert bytes(fetched(home, site)) == DATA and not home.root.exists()


def test_a_file_of_another_size_is_not_read_into_memory(tmp_path):
    with open(tmp_path / "large", "wb") as file:
        file.truncate(200_000_000)
    tracemalloc.start()
    try:
        pattern = r"expected .* of 512,000 bytes, got [0-9a-f]{64} of 200,000,000; it begins"
        with pytest.raises(ChecksumMismatch, match=pattern):
            read_verified(tmp_path / "large", FILE, "here")
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_file_systems_without_locks_work(code, home, site, monkeypatch):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refuse)
    site.pages["/file"] = DATA
    assert bytes(fetched(home, site)) == DATA and bytes(home.get(FILE)) == DATA
    assert [path for path in (home.root / "partial").glob("*") if path.suffix != ".lock"] == []


def test_what_is_being_fetched_is_not_unused(home, site):
    with home._partial_file(FILE.sha256) as partial:
        partial.write_bytes(DATA[:10])
        assert home.unused(set()) == []
    assert home.unused(set()) == [partial]


def until(condition, seconds=60.0):
    """Waits for something that another thread or process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


PULL = """
import sys
from pathlib import Path
from vaezoo.pretrained import download
from vaezoo.pretrained.cache import Cache
from vaezoo.pretrained.entry_parts import File
url, sha, size, *waits = sys.argv[1:]
file = File(name="model.safetensors", sha256=sha, size=int(size), sources=["https://host/file"])
cache = Cache()
if waits:
    print("ready", flush=True)
    sys.stdin.readline()
data = cache.get(file)
if data is None:
    data = cache.add(file, url, lambda target, limit: download.download_file(url, target, limit))
print(len(data))
"""


def pulling(site, *, limit=None, waits=False):
    def ahead():
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            PULL,
            site.url + "/file",
            FILE.sha256,
            str(FILE.size),
            *["waits"] * waits,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=ahead if limit else None,
    )


def test_eight_processes_share_one_download(home, site):
    def page(handler):
        time.sleep(1)  # in which all of them ask for the file, or for its lock
        handler.give(DATA)

    site.pages["/file"] = page
    processes = [pulling(site, waits=True) for _ in range(8)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        out, errors = process.communicate(timeout=120)
        assert (process.returncode, out) == (0, f"{len(DATA)}\n"), errors
    assert len(site.requests) == 1
    stored = [path for path in home.root.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert stored == [home.path(FILE.sha256)]


def test_after_a_kill_the_next_pull_is_right(home, site):
    released = threading.Event()

    def page(handler):
        handler.give(DATA, stop=300_000)
        released.wait(30)

    site.pages["/file"] = page
    process = pulling(site)
    partial = home.root / "partial" / FILE.sha256
    until(lambda: partial.exists() and partial.stat().st_size > 0)
    process.kill()
    process.communicate(timeout=30)
    released.set()
    assert home.get(FILE) is None
    site.pages["/file"] = DATA
    assert bytes(fetched(home, site)) == DATA


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 200 kB; None where this user may not mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", place], capture_output=True
    )
    yield place if mounted.returncode == 0 else None
    if mounted.returncode == 0:
        subprocess.run(["umount", place], check=True)


def test_a_full_file_system_keeps_what_was_there(small_disk, site, home):
    site.pages["/file"] = DATA
    if small_disk is None:
        pytest.skip(
            "this user may not mount; the limit on a file's size, below, is the same promise"
        )
    (small_disk / "kept").write_text("kept")
    with pytest.raises(VaezooError, match="No space left on device; make room or set VAEZOO_HOME"):
        fetched(Cache(small_disk), site)
    assert [
        path.name for path in small_disk.rglob("*") if path.is_file() and path.suffix != ".lock"
    ] == ["kept"]


def test_a_full_disk_is_one_line_and_leaves_nothing(home, site):
    site.pages["/file"] = DATA
    process = pulling(site, limit=100_000)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "cannot write" in errors and "set VAEZOO_HOME" in errors
    assert [
        path for path in home.root.rglob("*") if path.is_file() and path.suffix != ".lock"
    ] == []
    assert bytes(fetched(home, site)) == DATA


def test_bytes_are_on_disk_before_they_have_their_name(home, site, monkeypatch):
    synced, fsync = [], os.fsync

    def record(descriptor):
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((path.name, home.path(FILE.sha256).exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    site.pages["/file"] = DATA
    fetched(home, site)
    assert synced[-2:] == [(FILE.sha256, False), (FILE.sha256[:2], True)]


def plant_link(partial, victim):
    partial.symlink_to(victim)


def plant_name(partial, victim):
    os.link(victim, partial)


def plant_pipe(partial, victim):
    os.mkfifo(partial)


def plant_dangling(partial, victim):
    partial.symlink_to(victim.with_name("new"))


@pytest.mark.parametrize("plant", [plant_link, plant_name, plant_pipe, plant_dangling])
@pytest.mark.parametrize("suffix", ["", ".lock"])
def test_what_others_planted_in_a_shared_cache_is_not_written_through(
    plant, suffix, home, site, tmp_path
):
    if suffix and plant is plant_pipe:
        pytest.skip("the library that locks files decides what it does with a pipe")
    victim = tmp_path / "own file of the user"
    victim.write_bytes(b"precious")
    victim.chmod(0o640)
    (home.root / "partial").mkdir(parents=True)
    plant(home.root / "partial" / f"{FILE.sha256}{suffix}", victim)
    site.pages["/file"] = DATA
    try:
        assert bytes(fetched(home, site)) == DATA
        assert suffix or not home.path(FILE.sha256).is_symlink()
    except VaezooError:
        assert suffix  # a lock that cannot be had is an error, too
    assert victim.read_bytes() == b"precious" and victim.stat().st_mode & 0o777 == 0o640
    assert not victim.with_name("new").exists() or not victim.with_name("new").read_bytes()


@pytest.mark.parametrize("plant", [plant_link, plant_name, plant_pipe, plant_dangling])
def test_a_link_that_appears_at_the_last_moment_is_not_written_through(
    plant, home, site, tmp_path, monkeypatch
):
    """After the look at what is there, and before the file is opened."""
    victim = tmp_path / "own file of the user"
    victim.write_bytes(b"precious")
    monkeypatch.setattr(cache, "_remove_planted", lambda partial: plant(partial, victim))
    site.pages["/file"] = DATA
    try:
        assert bytes(fetched(home, site)) == DATA
    except VaezooError as error:
        assert "cannot write" in str(error) or "is not what" in str(error)
    assert victim.read_bytes() == b"precious"
    assert not victim.with_name("new").exists()
