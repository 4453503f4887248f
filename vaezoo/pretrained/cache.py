"""Content-addressed cache of downloaded files in the folder ``VAEZOO_HOME``.

A file is stored under the SHA-256 of its bytes, written once and shared by all processes::

    blobs/sha256/ab/ab12...   complete, verified, read-only files
    partial/                  incomplete downloads, each with a lock file next to it
    quarantine/               files with an unexpected size or hash
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

from vaezoo.pretrained.entry_parts import File
from vaezoo.utils.errors import RegistryError, VaezooError
from vaezoo.utils.files import sync
from vaezoo.utils.locks import acquire
from vaezoo.utils.own_files import file_fault
from vaezoo.utils.paths import cache_home

Downloader = Callable[[Path, int], None]
"""Appends to the file at a path until it has a given number of bytes."""
_READ_ONLY_ERRORS = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)
_LOCK_SUFFIX = ".lock"
_STALE_SECONDS = 3600.0
"""Without file locks, a download that has not grown for this long counts as interrupted."""
_HEAD_BYTES = 64
"""How many of the first bytes are used to recognise the type of a wrong file."""
_KNOWN_TYPES = (
    (b"version https://git-lfs", "a Git-LFS pointer: run git lfs pull to fetch the file itself"),
    (b"<!doctype html", "an HTML page, for example a login or an error page"),
    (b"<html", "an HTML page, for example a login or an error page"),
    (b"{", "JSON, for example an error message"),
)


class ChecksumMismatch(RegistryError):
    """A file whose size or hash differs from the one declared in the registry."""


def read_verified(path: Path, file: File, source: str) -> bytearray:
    """Reads a file once and verifies its size and hash.

    Args:
        path: the file to read.
        file: its declared size and hash.
        source: where the bytes come from, for messages.

    Returns:
        The bytes, in writable memory that tensors can share.

    Raises:
        ChecksumMismatch: the size or the hash differs. The message has the expected and the actual
            values, the source and the first bytes.
    """
    with open(path, "rb", buffering=0) as stream:
        size = os.fstat(stream.fileno()).st_size
        if (
            size != file.size
        ):  # the file may be larger than memory, so it is hashed without reading it as a whole
            head = stream.read(_HEAD_BYTES)
            stream.seek(0)
            actual_hash = hashlib.file_digest(stream, "sha256").hexdigest()
            raise _mismatch_error(file, source, actual_hash, size, head)
        data = bytearray(size)
        view, filled = memoryview(data), 0
        while filled < len(data) and (count := stream.readinto(view[filled:])):
            filled += count
    return verify_bytes(data, file, source)


def verify_bytes(data: bytearray, file: File, source: str) -> bytearray:
    """Returns ``data`` if its size and hash are the declared ones; raises as ``read_verified``."""
    actual_hash = hashlib.sha256(data).hexdigest()
    if len(data) == file.size and actual_hash == file.sha256:
        return data
    raise _mismatch_error(file, source, actual_hash, len(data), bytes(data[:_HEAD_BYTES]))


def _mismatch_error(
    file: File, source: str, actual_hash: str, size: int, head: bytes
) -> ChecksumMismatch:
    hint = next(
        (
            f", which looks like {kind}"
            for start, kind in _KNOWN_TYPES
            if head.lower().startswith(start)
        ),
        "",
    )
    return ChecksumMismatch(
        f"{source}: {file.name} is not what the registry declares: expected sha256 {file.sha256} "
        f"of {file.size:,} bytes, got {actual_hash} of {size:,}; "
        f"it begins with {head[:24]!r}{hint}"
    )


class Cache:
    """The cached files of one ``VAEZOO_HOME``."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or cache_home()

    def path(self, sha256: str) -> Path:
        """The path at which a file with this hash is stored."""
        return self.root / "blobs" / "sha256" / sha256[:2] / sha256

    def get(self, file: File) -> bytearray | None:
        """The bytes of a file; None if it is not in the cache.

        Raises:
            ChecksumMismatch: the cached file was damaged; it has been moved to the quarantine.
        """
        path = self.path(file.sha256)
        try:
            return read_verified(path, file, str(path))
        except OSError:
            return None
        except ChecksumMismatch as error:
            raise self._quarantine(path, error) from None

    def add(self, file: File, source: str, download: Downloader) -> bytearray:
        """Downloads a file, verifies it and stores it.

        Of several processes that need the same file at the same time, only one downloads it. If
        the cache is read-only, the file is downloaded but not stored.

        Raises:
            ChecksumMismatch: the downloaded bytes are not the declared ones; they have been moved
                to the quarantine.
            VaezooError: the cache cannot be written, or the disk is full.
        """
        try:
            with self._partial_file(file.sha256) as partial:
                with contextlib.suppress(ChecksumMismatch):
                    data = self.get(file)  # another process may have downloaded it meanwhile
                    if data is not None:
                        return data
                return self._download(file, source, partial, download)
        except OSError as error:
            if error.errno in _READ_ONLY_ERRORS:
                with tempfile.TemporaryDirectory() as folder:
                    temporary = Path(folder) / file.name
                    download(temporary, file.size)
                    return read_verified(temporary, file, source)
            reason = error.strerror or error
            raise VaezooError(
                f"cannot write {self.root}: {reason}; make room or set VAEZOO_HOME"
            ) from error

    def _download(self, file: File, source: str, partial: Path, download: Downloader) -> bytearray:
        resumed = partial.exists() and partial.stat().st_size > 0
        try:
            download(partial, file.size)
            data = read_verified(partial, file, source)
        except ChecksumMismatch as error:
            if resumed:  # the bytes of the earlier attempt may be the wrong ones
                partial.unlink()
                return self._download(file, source, partial, download)
            raise self._quarantine(partial, error) from None
        except OSError:
            partial.unlink(missing_ok=True)  # the disk may be full: leave nothing behind
            raise
        path = self.path(file.sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        _finish(partial)
        partial.replace(path)
        sync(path.parent)
        return data

    @contextlib.contextmanager
    def _partial_file(self, sha256: str) -> Iterator[Path]:
        """The locked file of an incomplete download; without file locks, one of this process."""
        folder = self.root / "partial"
        folder.mkdir(parents=True, exist_ok=True)
        lock = _lock(folder / sha256)
        try:
            acquire(lock, "downloading this file")
        except OSError:
            handle, name = tempfile.mkstemp(prefix=f"{sha256}.", dir=folder)
            os.close(handle)
            try:
                yield Path(name)
            finally:
                Path(name).unlink(missing_ok=True)
            return
        try:
            _remove_planted(folder / sha256)
            yield folder / sha256
        finally:
            lock.release()

    def _quarantine(self, path: Path, error: ChecksumMismatch) -> ChecksumMismatch:
        """Moves a wrong file to the quarantine and returns the error with the new path."""
        target = self.root / "quarantine" / f"{path.name}-{time.time_ns()}"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
        except OSError as problem:
            reason = problem.strerror or problem
            return ChecksumMismatch(f"{error}; it could not be moved to {target.parent}: {reason}")
        return ChecksumMismatch(f"{error}; it was moved to {target}")

    def unused(self, used_hashes: set[str]) -> list[Path]:
        """Files that can be removed: unused blobs, interrupted downloads and the quarantine.

        Lock files are not included: a process that waits for a lock would not notice that its
        file was replaced.

        Args:
            used_hashes: the SHA-256 of every file that a registry lists.
        """
        blobs = sorted((self.root / "blobs").glob("sha256/*/*"))
        partial = [
            path
            for path in (self.root / "partial").glob("*")
            if path.suffix != _LOCK_SUFFIX and not _is_downloading(path)
        ]
        quarantine = (self.root / "quarantine").glob("*")
        return [path for path in blobs if path.name not in used_hashes] + sorted(
            [*partial, *quarantine]
        )


def _finish(partial: Path) -> None:
    """Waits until a file is on disk, and makes it read-only; never what a link leads to."""
    descriptor = os.open(partial, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    try:
        os.fsync(descriptor)  # a process that wrote the last bytes may have died before that
        if hasattr(os, "fchmod"):  # not on Windows
            os.fchmod(descriptor, 0o444)
    finally:
        os.close(descriptor)


def _remove_planted(partial: Path) -> None:
    """Removes what others may have put in the place of an incomplete download, such as a link.

    Without it, a download would write to the file that the link leads to.
    """
    with contextlib.suppress(FileNotFoundError):
        if file_fault(partial.lstat()):
            partial.unlink()


def _lock(partial: Path) -> BaseFileLock:
    """The lock that a process holds while it downloads to ``partial``."""
    return FileLock(partial.with_name(partial.name + _LOCK_SUFFIX), fallback_to_soft=False)


def _is_downloading(partial: Path) -> bool:
    """Whether a process is downloading to ``partial``."""
    try:
        with _lock(partial.with_name(partial.name.partition(".")[0])).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # no locks on this file system: check when the file last grew
        return time.time() - partial.stat().st_mtime < _STALE_SECONDS
