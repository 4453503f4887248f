"""Files by the hash of their bytes, below ``VAEZOO_HOME``: written once, read by many.

blobs/sha256/ab/ab12...   whole and verified, read-only
partial/                  what has come of a download so far, with a lock beside it
quarantine/               bytes that were not what they were declared to be
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from vaezoo.pretrained.entry import File
from vaezoo.utils.errors import RegistryError, VaezooError
from vaezoo.utils.files import sync
from vaezoo.utils.paths import cache_home

Download = Callable[[Path, int], None]
"""Completes the file at a path up to a number of bytes."""
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)
_LOCK = ".lock"
_QUIET = 3600.0
"""Seconds after which a download that does not grow has broken off, where there are no locks."""
_FIRST = 64
"""Bytes by which something else is recognised."""
_HINTS = (
    (b"version https://git-lfs", "a Git-LFS pointer: the file itself was not fetched (git lfs pull)"),
    (b"<!doctype html", "an HTML page: a login or an error page, say"),
    (b"<html", "an HTML page: a login or an error page, say"),
    (b"{", "JSON: an error message, say"),
)


class Mismatch(RegistryError):
    """Bytes that are not those a registry declares."""


def read(path: Path, file: File, source: str) -> bytearray:
    """The bytes of ``file``, read once into memory that tensors may share.

    Args:
        path: where they are.
        file: what they are declared to be.
        source: where they come from, for messages.

    Raises:
        Mismatch: they are something else; says what was expected, what was got, from where, and how it begins.
    """
    with open(path, "rb", buffering=0) as opened:
        size = os.fstat(opened.fileno()).st_size
        if size != file.size:  # which may be far more than memory holds
            first = opened.read(_FIRST)
            opened.seek(0)
            raise _mismatch(file, source, hashlib.file_digest(opened, "sha256").hexdigest(), size, first)
        data = bytearray(size)
        view, filled = memoryview(data), 0
        while filled < len(data) and (count := opened.readinto(view[filled:])):
            filled += count
    return verified(data, file, source)


def verified(data: bytearray, file: File, source: str) -> bytearray:
    """The same bytes, once they are known to be those of ``file``; raises as ``read``."""
    got = hashlib.sha256(data).hexdigest()
    if len(data) == file.size and got == file.sha256:
        return data
    raise _mismatch(file, source, got, len(data), bytes(data[:_FIRST]))


def _mismatch(file: File, source: str, got: str, size: int, first: bytes) -> Mismatch:
    looks = next((f", which looks like {what}" for mark, what in _HINTS if first.lower().startswith(mark)), "")
    return Mismatch(
        f"{source}: {file.name} is not what the registry declares: expected sha256 {file.sha256} of {file.size:,} "
        f"bytes, got {got} of {size:,}; it begins with {first[:24]!r}{looks}"
    )


class Cache:
    """The files of one ``VAEZOO_HOME``."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or cache_home()

    def path(self, sha256: str) -> Path:
        """Where the bytes with this hash are, or would be."""
        return self.root / "blobs" / "sha256" / sha256[:2] / sha256

    def get(self, file: File) -> bytearray | None:
        """The bytes of a file that is here; None where it is not.

        Raises:
            Mismatch: what was here is damaged; it has been put into quarantine.
        """
        path = self.path(file.sha256)
        try:
            return read(path, file, str(path))
        except OSError:
            return None
        except Mismatch as error:
            raise self._quarantine(path, error) from None

    def add(self, file: File, source: str, download: Download) -> bytearray:
        """Fetches a file, verifies it and keeps it; of several processes one fetches. A read-only cache keeps nothing.

        Raises:
            Mismatch: what came is not what is declared; it has been put into quarantine.
            VaezooError: the cache cannot be written, or the disk is full.
        """
        try:
            with self._partial(file.sha256) as partial:
                with contextlib.suppress(Mismatch):
                    if (found := self.get(file)) is not None:  # another process was faster
                        return found
                return self._fetch(file, source, partial, download)
        except OSError as error:
            if error.errno in _READ_ONLY:
                with tempfile.TemporaryDirectory() as folder:
                    passing = Path(folder) / file.name
                    download(passing, file.size)
                    return read(passing, file, source)
            reason = error.strerror or error
            raise VaezooError(f"cannot write {self.root}: {reason}; make room or set VAEZOO_HOME") from error

    def _fetch(self, file: File, source: str, partial: Path, download: Download) -> bytearray:
        resumed = partial.exists() and partial.stat().st_size > 0
        try:
            download(partial, file.size)
            data = read(partial, file, source)
        except Mismatch as error:
            if resumed:  # what was there from before may have been the fault
                partial.unlink()
                return self._fetch(file, source, partial, download)
            raise self._quarantine(partial, error) from None
        except OSError:
            partial.unlink(missing_ok=True)  # a full disk: leave none of it
            raise
        path = self.path(file.sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        sync(partial)  # another process may have written the last of it, and died before that was on disk
        partial.chmod(0o444)
        partial.replace(path)
        sync(path.parent)
        return data

    @contextlib.contextmanager
    def _partial(self, sha256: str) -> Iterator[Path]:
        """The file that a download grows in, for this process alone; where locks are not to be had, one of its own."""
        folder = self.root / "partial"
        folder.mkdir(parents=True, exist_ok=True)
        lock = _lock(folder / sha256)
        try:
            lock.acquire()
        except OSError:
            handle, name = tempfile.mkstemp(prefix=f"{sha256}.", dir=folder)
            os.close(handle)
            try:
                yield Path(name)
            finally:
                Path(name).unlink(missing_ok=True)
            return
        try:
            yield folder / sha256
        finally:
            lock.release()

    def _quarantine(self, path: Path, error: Mismatch) -> Mismatch:
        """Moves damaged bytes out of the way and says where."""
        place = self.root / "quarantine" / f"{path.name}-{time.time_ns()}"
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
        except OSError as problem:
            return Mismatch(f"{error}; it could not be moved to {place.parent}: {problem.strerror or problem}")
        return Mismatch(f"{error}; it was moved to {place}")

    def unused(self, wanted: set[str]) -> list[Path]:
        """What nobody needs: blobs that are not ``wanted``, downloads that broke off, quarantine.

        Locks stay: whoever waits for one would not notice that another has taken its place.
        """
        blobs = sorted((self.root / "blobs").glob("sha256/*/*"))
        partial = [path for path in (self.root / "partial").glob("*") if path.suffix != _LOCK and not _busy(path)]
        rest = [*partial, *(self.root / "quarantine").glob("*")]
        return [path for path in blobs if path.name not in wanted] + sorted(rest)


def _lock(partial: Path) -> BaseFileLock:
    """What a process holds while a download grows."""
    return FileLock(partial.with_name(partial.name + _LOCK), fallback_to_soft=False)


def _busy(partial: Path) -> bool:
    """Whether a process is at work on a download."""
    try:
        with _lock(partial.with_name(partial.name.partition(".")[0])).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # no locks here: look whether it still grows
        return time.time() - partial.stat().st_mtime < _QUIET
