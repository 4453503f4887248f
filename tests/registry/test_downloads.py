"""Fetching from servers that stall, lie, break off and redirect; and a cache that many processes share."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import urllib3

from vaezoo.errors import RegistryError, UnavailableError, VaezooError
from vaezoo.registry import http
from vaezoo.registry.cache import Cache, Mismatch
from vaezoo.registry.schema import File

DATA = bytes(range(256)) * 2000
FILE = File(
    name="model.safetensors", sha256=hashlib.sha256(DATA).hexdigest(), size=len(DATA), sources=["https://host/file"]
)


def fetched(cache, site, path="/file"):
    url = site.url + path
    return cache.add(FILE, url, lambda target, size: http.download(url, target, size))


def quarantined(cache):
    return sorted((cache.root / "quarantine").glob("*"))


def test_a_file_is_fetched_once_and_kept_read_only(home, site):
    site.pages["/file"] = DATA
    assert bytes(fetched(home, site)) == DATA and bytes(home.get(FILE)) == DATA
    assert bytes(fetched(home, site)) == DATA and len(site.requests) == 1
    assert home.path(FILE.sha256).stat().st_mode & 0o777 == 0o444
    assert [path.name for path in (home.root / "partial").glob("*") if path.suffix != ".lock"] == []


def test_a_server_that_fails_three_times_is_asked_again(home, site):
    def page(handler):
        handler.send_error(500) if len(site.requests) <= 3 else handler.give(DATA)

    site.pages["/file"] = page
    assert bytes(fetched(home, site)) == DATA and len(site.requests) == 4


def test_a_refused_range_begins_again(home, site):
    def page(handler):
        handler.send_error(416) if len(site.requests) == 1 else handler.give(DATA)

    site.pages["/file"] = page
    assert bytes(fetched(home, site)) == DATA and len(site.requests) == 2


def moved(to):
    def page(handler):
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return page


@pytest.mark.parametrize(("hops", "arrives"), [(5, True), (6, False)])
def test_five_redirects_are_followed(home, site, hops, arrives):
    for hop in range(hops):
        site.pages[f"/{hop}"] = moved(f"/{hop + 1}")
    site.pages[f"/{hops}"] = DATA
    if arrives:
        assert bytes(fetched(home, site, "/0")) == DATA
    else:
        with pytest.raises(UnavailableError, match="more than 5 redirects"):
            fetched(home, site, "/0")


def test_a_redirect_to_no_address_is_refused(home, site):
    site.pages["/file"] = moved("https://[nowhere/file")
    with pytest.raises(VaezooError, match="nowhere"):
        fetched(home, site)


def test_a_certificate_that_nobody_vouches_for_is_not_tried_again(home, site, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    http._pool.cache_clear()
    monkeypatch.setattr(http.time, "sleep", lambda seconds: pytest.fail("a second attempt"))
    site.pages["/file"] = DATA
    with pytest.raises(UnavailableError, match="certificate"):
        fetched(home, site)


def test_a_server_that_always_fails_is_given_up(home, site):
    site.pages["/file"] = lambda handler: handler.send_error(503)
    with pytest.raises(UnavailableError, match=r"answered 503 \(5 attempts\)"):
        fetched(home, site)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_not_repeated(home, site, status):
    site.pages["/file"] = lambda handler: handler.send_error(status)
    with pytest.raises(UnavailableError, match=f"answered {status}"):
        fetched(home, site)
    assert len(site.requests) == 1


def test_a_download_that_breaks_off_goes_on_where_it_was(home, site):
    def page(handler):
        handler.give(DATA, stop=200_000) if len(site.requests) == 1 else handler.give(DATA)

    site.pages["/file"] = page
    assert bytes(fetched(home, site)) == DATA
    assert [asked for _, asked in site.requests] == [None, "bytes=200000-"]


def test_a_server_that_cannot_go_on_begins_again(home, site):
    def page(handler):
        stop = 200_000 if len(site.requests) == 1 else None
        del handler.headers["Range"]
        handler.give(DATA, stop=stop)

    site.pages["/file"] = page
    assert bytes(fetched(home, site)) == DATA and len(site.requests) == 2


def test_a_server_that_stalls_is_given_up_and_what_came_is_kept(home, site, monkeypatch):
    monkeypatch.setattr(http, "TIMEOUT", urllib3.Timeout(connect=5, read=0.2))
    monkeypatch.setattr(http, "ATTEMPTS", 2)
    released = threading.Event()

    def page(handler):
        handler.give(DATA, stop=100_000)
        released.wait(20)

    site.pages["/file"] = page
    with pytest.raises(UnavailableError, match="Timeout"):
        fetched(home, site)
    released.set()
    site.pages["/file"] = DATA
    assert bytes(fetched(home, site)) == DATA
    assert site.requests[-1][1] == "bytes=200000-" or site.requests[-1][1] == "bytes=100000-"


@pytest.mark.parametrize("claim", [len(DATA) + 1000, len(DATA) - 1000])
def test_a_server_that_lies_about_the_length_is_caught(home, site, claim, monkeypatch):
    monkeypatch.setattr(http, "ATTEMPTS", 2)

    def page(handler):
        del handler.headers["Range"]
        handler.give(DATA[:-1000] if claim < len(DATA) else DATA[:-500], claim=claim)

    site.pages["/file"] = page
    with pytest.raises(VaezooError) as caught:
        fetched(home, site)
    assert isinstance(caught.value, UnavailableError if claim > len(DATA) else Mismatch)
    assert home.get(FILE) is None


def test_more_than_was_declared_is_never_stored(home, site):
    site.pages["/file"] = DATA * 50
    with pytest.raises(Mismatch, match=f"got .* of {len(DATA) + 1:,}"):
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
    with pytest.raises(Mismatch, match=looks) as caught:
        fetched(home, site)
    message = str(caught.value)
    assert FILE.sha256 in message and hashlib.sha256(page).hexdigest() in message and site.url in message
    assert quarantined(home)[0].read_bytes() == page and home.get(FILE) is None


def test_a_damaged_beginning_is_fetched_again(home, site):
    site.pages["/file"] = DATA
    partial = home.root / "partial" / FILE.sha256
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"x" * 1000)
    assert bytes(fetched(home, site)) == DATA
    assert [asked for _, asked in site.requests] == ["bytes=1000-", None]


def test_a_flipped_bit_in_the_cache_is_quarantined(home, site):
    site.pages["/file"] = DATA
    fetched(home, site)
    path = home.path(FILE.sha256)
    path.chmod(0o644)
    path.write_bytes(DATA[:-1] + b"\x00")
    with pytest.raises(Mismatch, match="quarantine"):
        home.get(FILE)
    assert not path.exists() and len(quarantined(home)) == 1


def test_redirects_are_followed_to_https_alone(home, site):
    site.pages |= {"/file": moved("/real"), "/real": DATA, "/plain": moved("http://localhost:1/x")}
    site.pages["/round"] = moved("/round")
    assert bytes(fetched(home, site)) == DATA
    home.path(FILE.sha256).unlink()
    with pytest.raises(RegistryError, match="leads to http://localhost:1/x; only https"):
        fetched(home, site, "/plain")
    with pytest.raises(UnavailableError, match="more than 5 redirects"):
        fetched(home, site, "/round")
    with pytest.raises(RegistryError, match="only https"):
        http.download("http://localhost:1/x", home.root / "x", 1)


@pytest.mark.parametrize("chunked", [True, False])
def test_an_answer_without_a_length_is_whole_where_it_tells_its_end(home, site, chunked, monkeypatch):
    monkeypatch.setattr(http, "ATTEMPTS", 2)

    def page(handler):
        if chunked:
            handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        if chunked:
            handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"5\r\nhello\r\n0\r\n\r\n" if chunked else b"hello")
        handler.close_connection = True

    site.pages["/file"] = page
    target = home.root / "target"
    target.parent.mkdir(parents=True)
    if chunked:
        http.download(site.url + "/file", target, 1000)
        assert target.read_bytes() == b"hello" and len(site.requests) == 1
    else:
        with pytest.raises(UnavailableError, match="closed after 5 of 1,000 bytes"):
            http.download(site.url + "/file", target, 1000)


def test_a_certificate_nobody_knows_is_refused(home, site, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setattr(http, "ATTEMPTS", 1)
    site.pages["/file"] = DATA
    with pytest.raises(UnavailableError, match="certificate"):
        fetched(home, site)


def test_offline_makes_no_request(home, site, monkeypatch):
    site.pages["/file"] = DATA
    monkeypatch.setenv("VAEZOO_OFFLINE", "1")
    with pytest.raises(UnavailableError, match="offline"):
        fetched(home, site)
    monkeypatch.delenv("VAEZOO_OFFLINE")
    fetched(home, site)
    asked = len(site.requests)
    monkeypatch.setenv("VAEZOO_OFFLINE", "1")
    assert bytes(home.get(FILE)) == DATA and bytes(fetched(home, site)) == DATA
    assert len(site.requests) == asked


def test_a_read_only_cache_still_loads(site, tmp_path):
    (tmp_path / "file").write_text("in the way of a folder")
    site.pages["/file"] = DATA
    assert bytes(fetched(Cache(tmp_path / "file" / "home"), site)) == DATA


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_file_systems_without_locks_work(code, home, site, monkeypatch):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refuse)
    site.pages["/file"] = DATA
    assert bytes(fetched(home, site)) == DATA and bytes(home.get(FILE)) == DATA
    assert [path for path in (home.root / "partial").glob("*") if path.suffix != ".lock"] == []


def test_what_is_being_fetched_is_not_unused(home, site):
    with home._partial(FILE.sha256) as partial:
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
from vaezoo.registry import http
from vaezoo.registry.cache import Cache
from vaezoo.registry.schema import File
url, sha, size, *waits = sys.argv[1:]
file = File(name="model.safetensors", sha256=sha, size=int(size), sources=["https://host/file"])
cache = Cache()
if waits:
    print("ready", flush=True)
    sys.stdin.readline()
data = cache.get(file) or cache.add(file, url, lambda target, limit: http.download(url, target, limit))
print(len(data))
"""


def pulling(site, *, limit=None, waits=False):
    def ahead():
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.Popen(
        [sys.executable, "-c", PULL, site.url + "/file", FILE.sha256, str(FILE.size), *["waits"] * waits],
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
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", place], capture_output=True)
    yield place if mounted.returncode == 0 else None
    if mounted.returncode == 0:
        subprocess.run(["umount", place], check=True)


def test_a_full_file_system_keeps_what_was_there(small_disk, site, home):
    site.pages["/file"] = DATA
    if small_disk is None:  # the limit on a file's size, below, is the same promise
        return
    (small_disk / "kept").write_text("kept")
    with pytest.raises(VaezooError, match="No space left on device; make room or set VAEZOO_HOME"):
        fetched(Cache(small_disk), site)
    assert [path.name for path in small_disk.rglob("*") if path.is_file() and path.suffix != ".lock"] == ["kept"]


def test_a_full_disk_is_one_line_and_leaves_nothing(home, site):
    site.pages["/file"] = DATA
    process = pulling(site, limit=100_000)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "cannot write" in errors and "set VAEZOO_HOME" in errors
    assert [path for path in home.root.rglob("*") if path.is_file() and path.suffix != ".lock"] == []
    assert bytes(fetched(home, site)) == DATA
