"""Downloads: https alone, taken up where they broke off, tried again where the network failed."""

from __future__ import annotations

import os
import ssl
import time
from functools import cache
from pathlib import Path
from urllib.parse import quote, urljoin

import urllib3

from vaezoo.pretrained.names import hub, split
from vaezoo.utils.errors import RegistryError, UnavailableError

ATTEMPTS = 5
BACKOFF = 0.5
"""Seconds before the second attempt; twice as many before each further one."""
TIMEOUT = urllib3.Timeout(connect=10, read=30)
PATIENCE = 60.0
"""Seconds over which a server must send at least ``SLOWEST`` bytes a second, again and again."""
SLOWEST = 1024
_REDIRECTS = 5
_CHUNK = 1 << 20
_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class _Transient(Exception):
    """The network or the server failed in a way that may pass."""


def offline() -> bool:
    """Whether ``VAEZOO_OFFLINE`` forbids requests."""
    return os.environ.get("VAEZOO_OFFLINE", "0") not in ("", "0")


def address(source: str) -> str:
    """The https address of a source: ``hf://owner/repo@commit/file`` is a file of a hub."""
    if not source.startswith("hf://"):
        return source
    found = hub(source)
    if found is None:
        raise RegistryError(f"{source}: say hf://owner/repo@commit/file with a whole commit")
    repository, commit, file = found
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    return f"{endpoint}/{repository}/resolve/{commit}/{quote(file)}"


def download(url: str, target: Path, limit: int) -> None:
    """Appends to ``target`` what is missing of a file, and no more than ``limit`` bytes and one in all.

    Raises:
        UnavailableError: offline, refused by the server, or not to be had in several attempts; ``target`` keeps what
            came, for the next time.
        RegistryError: the address, or one it redirects to, is not https.
        OSError: ``target`` cannot be written.
    """
    if offline():
        raise UnavailableError(f"{url}: offline (VAEZOO_OFFLINE)")
    reasons: list[str] = []
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(BACKOFF * 2 ** (attempt - 1))
        try:
            _attempt(url, target, limit)
            return
        except _Transient as error:
            reasons.append(str(error))
    raise UnavailableError(f"{url}: {reasons[-1]} ({ATTEMPTS} attempts)")


@cache
def _pool() -> urllib3.PoolManager:
    return urllib3.PoolManager(retries=False, timeout=TIMEOUT, headers={"User-Agent": "vaezoo"})


def _attempt(url: str, target: Path, limit: int) -> None:
    start = target.stat().st_size if target.exists() else 0
    if start >= limit:
        return
    try:
        response = _open(url, {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {}))
        try:
            _receive(response, url, target, start, limit)
        finally:
            response.release_conn()
    except (urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in error.args):
            raise UnavailableError(f"{url}: {reason}") from error
        raise _Transient(reason) from error


def _open(url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
    """The response at the end of a chain of redirects."""
    here = url
    for _ in range(_REDIRECTS + 1):
        parts = split(here)
        if parts is None or parts.scheme != "https":
            raise RegistryError(f"{url}: leads to {here}; only https is followed")
        response = _pool().request("GET", here, headers=headers, redirect=False, preload_content=False, timeout=TIMEOUT)
        location = response.headers.get("Location")
        if response.status not in (301, 302, 303, 307, 308) or not location:
            return response
        response.release_conn()
        try:
            here = urljoin(here, location)
        except ValueError as error:
            raise UnavailableError(f"{url}: leads to {location!r}, which is no address") from error
    raise UnavailableError(f"{url}: more than {_REDIRECTS} redirects")


def _receive(response: urllib3.BaseHTTPResponse, url: str, target: Path, start: int, limit: int) -> None:
    status = response.status
    if status in _TRY_AGAIN or status == 416:
        if status == 416:  # what is there is not the beginning of what the server has
            target.unlink(missing_ok=True)
        raise _Transient(f"the server answered {status}")
    if status not in (200, 206):
        raise UnavailableError(f"{url}: the server answered {status}")
    continues = status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
    if status == 206 and not continues:
        raise _Transient("the server sent another part than it was asked for")
    kept = start if continues else 0
    due, wanted = time.monotonic() + PATIENCE, kept + SLOWEST * PATIENCE
    with open(target, "ab" if continues else "wb") as written:
        while kept <= limit and (chunk := response.read1(min(_CHUNK, limit + 1 - kept))):
            written.write(chunk)
            kept += len(chunk)
            if time.monotonic() > due:  # others wait for this file, too
                if kept < wanted:
                    raise _Transient(f"the server sent less than {SLOWEST} bytes a second")
                due, wanted = time.monotonic() + PATIENCE, kept + SLOWEST * PATIENCE
        written.flush()
        os.fsync(written.fileno())
    tells_its_end = "Content-Length" in response.headers or response.headers.get("Transfer-Encoding") == "chunked"
    if kept < limit and not tells_its_end:
        raise _Transient(f"the connection closed after {kept:,} of {limit:,} bytes")
