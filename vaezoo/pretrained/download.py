"""HTTPS downloads that resume after interruptions and retry after temporary failures."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
from functools import cache
from pathlib import Path
from urllib.parse import urljoin

import urllib3

from vaezoo.pretrained import hub_files
from vaezoo.pretrained.names import split_url
from vaezoo.utils.errors import RegistryError, UnavailableError, one_line
from vaezoo.utils.own_files import open_own_file

ATTEMPTS = 5
BACKOFF = 0.5
"""Seconds before the second attempt; doubled before each further attempt."""
TIMEOUT = urllib3.Timeout(connect=10, read=30)
SPEED_WINDOW = 60.0
"""Length in seconds of the periods for which ``MIN_BYTES_PER_SECOND`` is checked."""
MIN_BYTES_PER_SECOND = 1024
"""What a server must send on average in each period; otherwise the attempt is given up."""
_MAX_REDIRECTS = 5
_CHUNK = 1 << 20
_NO_SUCH_NAME = frozenset(
    {getattr(socket, name, None) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_FAIL")} - {None}
)
"""The errors of name servers that know that there is no such host."""
_RETRY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


class _TemporaryError(Exception):
    """A failure of the network or the server after which another attempt may succeed."""


def is_offline() -> bool:
    """Whether ``VAEZOO_OFFLINE`` forbids network requests."""
    return os.environ.get("VAEZOO_OFFLINE", "0") not in ("", "0")


def check_online(url: str) -> None:
    """Raises UnavailableError if a URL may not be requested; the hub has a cache of its own."""
    if is_offline() and not url.startswith(hub_files.SCHEME):
        raise UnavailableError(f"{url}: offline (VAEZOO_OFFLINE)")


def download_file(url: str, target: Path, limit: int, *, is_exact: bool = True) -> None:
    """Downloads a file, or the missing rest of it, to ``target``.

    Args:
        url: an https URL, or ``hf://owner/repo@commit/file`` of the Hugging Face hub.
        target: the file to append to; its present bytes are not requested again.
        limit: the expected size. At most ``limit + 1`` bytes are written, so that a file that is
            too long can be detected.
        is_exact: false if the file may be smaller: it then ends where the server closes the
            connection, unless the server tells its size.

    Raises:
        UnavailableError: offline, refused by the server, or all attempts failed; the bytes
            received so far stay in ``target`` for the next call.
        RegistryError: ``url``, or a URL it redirects to, is not https.
        OSError: ``target`` cannot be written.
    """
    if url.startswith(hub_files.SCHEME):
        if hub_files.copy_hub_file(url, target, limit, offline=is_offline()):
            return
        try:
            download_file(hub_files.public_url(url), target, limit, is_exact=is_exact)
        except UnavailableError as error:
            raise UnavailableError(f"{error}; {hub_files.MISSING_LIBRARY}") from error
        return
    check_online(url)
    reasons: list[str] = []
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(BACKOFF * 2 ** (attempt - 1))
        try:
            _attempt(url, target, limit, is_exact)
            return
        except _TemporaryError as error:
            reasons.append(str(error))
    raise UnavailableError(f"{url}: {reasons[-1]} ({ATTEMPTS} attempts)")


@cache
def _pool() -> urllib3.PoolManager:
    return urllib3.PoolManager(retries=False, timeout=TIMEOUT, headers={"User-Agent": "vaezoo"})


def _attempt(url: str, target: Path, limit: int, is_exact: bool) -> None:
    start = target.stat().st_size if target.exists() else 0
    if start >= limit:
        return
    try:
        response = _open(
            url, {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        )
        with contextlib.closing(response):  # also if some of it was not read
            received = _receive(response, url, target, start, limit)
            if is_exact and received < limit and not _tells_end(response):
                raise _TemporaryError(
                    f"the connection closed after {received:,} of {limit:,} bytes"
                )
    except (urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
        reason = f"{type(error).__name__}: {one_line(error)[:200]}"
        if _is_permanent(error):
            raise UnavailableError(f"{url}: {reason}") from error
        raise _TemporaryError(reason) from error


def _is_permanent(error: Exception) -> bool:
    """Whether another attempt would fail in the same way: an address or a certificate is wrong."""
    if isinstance(error, urllib3.exceptions.LocationValueError | urllib3.exceptions.InvalidHeader):
        return True
    causes = (*error.args, error.__cause__, error.__context__)
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return True
    return any(
        isinstance(cause, socket.gaierror) and cause.errno in _NO_SUCH_NAME for cause in causes
    )


def _open(url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
    """Requests a URL and follows its redirects, https only."""
    current = url
    for _ in range(_MAX_REDIRECTS + 1):
        parts = split_url(current)
        if parts is None or parts.scheme != "https":
            raise RegistryError(f"{url}: leads to {current}; only https is followed")
        response = _pool().request(
            "GET", current, headers=headers, redirect=False, preload_content=False, timeout=TIMEOUT
        )
        location = response.headers.get("Location")
        if response.status not in (301, 302, 303, 307, 308) or not location:
            return response
        response.close()
        try:
            current = urljoin(current, location)
        except ValueError as error:
            raise UnavailableError(
                f"{url}: leads to {location!r}, which is not a valid URL"
            ) from error
    raise UnavailableError(f"{url}: more than {_MAX_REDIRECTS} redirects")


def _receive(
    response: urllib3.BaseHTTPResponse, url: str, target: Path, start: int, limit: int
) -> int:
    """Checks the status of a response and writes its content; returns the size of ``target``."""
    status = response.status
    if status in _RETRY_STATUSES or status == 416:
        if status == 416:
            # range not satisfiable: the partial file does not belong to the server's file
            target.unlink(missing_ok=True)
        raise _TemporaryError(f"the server answered {status}")
    if status not in (200, 206):
        raise UnavailableError(f"{url}: the server answered {status}")
    resumes = status == 206 and response.headers.get("Content-Range", "").startswith(
        f"bytes {start}-"
    )
    if status == 206 and not resumes:
        raise _TemporaryError("the server sent a different byte range than requested")
    return _write_content(response, target, start if resumes else 0, limit)


def _tells_end(response: urllib3.BaseHTTPResponse) -> bool:
    """Whether a response says where its content ends; if not, it may have been cut off."""
    return (
        "Content-Length" in response.headers
        or response.headers.get("Transfer-Encoding", "").lower() == "chunked"
    )


def _write_content(
    response: urllib3.BaseHTTPResponse, target: Path, start: int, limit: int
) -> int:
    """Writes the content from byte ``start`` on; returns the file's new size."""
    received = start
    deadline, required = (
        time.monotonic() + SPEED_WINDOW,
        received + MIN_BYTES_PER_SECOND * SPEED_WINDOW,
    )
    with open_own_file(target, append=bool(start)) as file:
        while received <= limit and (chunk := response.read1(min(_CHUNK, limit + 1 - received))):
            file.write(chunk)
            received += len(chunk)
            if (
                time.monotonic() > deadline
            ):  # too slow a download would block other processes that need the file
                if received < required:
                    raise _TemporaryError(
                        f"the server sent less than {MIN_BYTES_PER_SECOND} bytes a second"
                    )
                deadline = time.monotonic() + SPEED_WINDOW
                required = received + MIN_BYTES_PER_SECOND * SPEED_WINDOW
        file.flush()
        os.fsync(file.fileno())
    return received
