"""Servers that stall, lie, break off and redirect."""

from __future__ import annotations

import re
import socket
import threading
import time

import pytest
import urllib3

from vaezoo.pretrained import download
from vaezoo.pretrained.cache import ChecksumMismatch
from vaezoo.pretrained.registries import open_registries
from vaezoo.utils.errors import RegistryError, UnavailableError, VaezooError

from .conftest import DATA, FILE, fetched


def test_a_server_that_fails_three_times_is_asked_again(home, site, monkeypatch):
    waited = []
    monkeypatch.setattr(download, "BACKOFF", 0.5)
    monkeypatch.setattr(download.time, "sleep", waited.append)

    def page(handler):
        handler.send_error(500) if len(site.requests) <= 3 else handler.give(DATA)

    site.pages["/file"] = page
    assert bytes(fetched(home, site)) == DATA and len(site.requests) == 4
    assert waited == [0.5, 1.0, 2.0]


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
    download._pool.cache_clear()
    monkeypatch.setattr(download.time, "sleep", lambda seconds: pytest.fail("a second attempt"))
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
    assert [requested for _, requested in site.requests] == [None, "bytes=200000-"]


def test_a_server_that_cannot_go_on_begins_again(home, site):
    def page(handler):
        stop = 200_000 if len(site.requests) == 1 else None
        del handler.headers["Range"]
        handler.give(DATA, stop=stop)

    site.pages["/file"] = page
    assert bytes(fetched(home, site)) == DATA and len(site.requests) == 2


def test_a_server_that_stalls_is_given_up_and_what_came_is_kept(home, site, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", urllib3.Timeout(connect=5, read=0.2))
    monkeypatch.setattr(download, "ATTEMPTS", 2)
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
    monkeypatch.setattr(download, "ATTEMPTS", 2)

    def page(handler):
        del handler.headers["Range"]
        handler.give(DATA[:-1000] if claim < len(DATA) else DATA[:-500], claim=claim)

    site.pages["/file"] = page
    with pytest.raises(VaezooError) as caught:
        fetched(home, site)
    assert isinstance(caught.value, UnavailableError if claim > len(DATA) else ChecksumMismatch)
    assert home.get(FILE) is None


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
        download.download_file("http://localhost:1/x", home.root / "x", 1)


@pytest.mark.parametrize("chunked", [True, False])
def test_an_answer_without_a_length_is_whole_where_it_tells_its_end(
    home, site, chunked, monkeypatch
):
    monkeypatch.setattr(download, "ATTEMPTS", 2)

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
        download.download_file(site.url + "/file", target, 1000)
        assert target.read_bytes() == b"hello" and len(site.requests) == 1
    else:
        with pytest.raises(UnavailableError, match="closed after 5 of 1,000 bytes"):
            download.download_file(site.url + "/file", target, 1000)


def test_a_registry_that_ends_with_the_connection_is_read(home, site, published):
    """Its size is not known before: it is whole if it can be parsed."""
    data = (published / "registry.yaml").read_bytes()

    def page(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(data)
        handler.close_connection = True

    site.pages["/registry.yaml"] = page
    (registry,) = open_registries([f"far={site.url}/registry.yaml"], only_prefix="far")
    assert registry.ids == ["vae/small@1"] and len(site.requests) == 1
    data = data[: data.index(b"  spec:")]
    with pytest.raises(RegistryError, match="is required"):
        open_registries([f"far={site.url}/registry.yaml"], only_prefix="far")


def test_offline_makes_no_request(home, site, monkeypatch):
    site.pages["/file"] = DATA
    monkeypatch.setenv("VAEZOO_OFFLINE", "1")
    with pytest.raises(UnavailableError, match="offline"):
        fetched(home, site)
    monkeypatch.delenv("VAEZOO_OFFLINE")
    fetched(home, site)
    requested = len(site.requests)
    monkeypatch.setenv("VAEZOO_OFFLINE", "1")
    assert bytes(home.get(FILE)) == DATA and bytes(fetched(home, site)) == DATA
    assert len(site.requests) == requested


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize(("patience", "arrives"), [(0.1, False), (60.0, True)])
def test_a_server_that_trickles_is_given_up_however_fast_it_began(
    home, site, monkeypatch, patience, arrives, resumed
):
    monkeypatch.setattr(download, "SPEED_WINDOW", patience)
    monkeypatch.setattr(download, "MIN_BYTES_PER_SECOND", 1_000_000)
    monkeypatch.setattr(download, "ATTEMPTS", 1)

    def page(handler):
        handler.give(DATA, stop=len(DATA) - 400)
        for start in range(len(DATA) - 400, len(DATA), 20):
            time.sleep(0.05)
            handler.wfile.write(DATA[start : start + 20])

    site.pages["/file"] = page
    if resumed:
        partial = home.root / "partial" / FILE.sha256
        partial.parent.mkdir(parents=True)
        partial.write_bytes(DATA[:300_000])
    if arrives:
        assert bytes(fetched(home, site)) == DATA and len(site.requests) == 1
    else:
        with pytest.raises(
            UnavailableError, match="the server sent less than 1000000 bytes a second"
        ):
            fetched(home, site)


@pytest.mark.parametrize("acting", ["\x9b2J", "\x1b[2J", "\x7f"])
def test_what_a_server_says_is_quoted_without_acting_characters(home, site, acting):
    site.pages["/file"] = moved(f"http://host/{acting}")
    escaped = re.escape(ascii(acting)[1:-1])
    with pytest.raises(RegistryError, match=f"^[ -~]*leads to http://host/{escaped}; only https"):
        fetched(home, site)


@pytest.mark.parametrize(
    "url",
    [
        "https://host:99999999/x",
        "https://host:abc/x",
        "https://:443/x",
        "https:///x",
        f"https://{'a' * 70}.com/x",
        "https://a..b/x",
        "https://h\x07ost/x",
        "https://\u202ehost/x",
        "https://[::1/x",
    ],
)
def test_an_address_that_no_host_can_have_is_tried_once(url, home, monkeypatch):
    tries, attempt = [], download._attempt
    monkeypatch.setattr(download, "BACKOFF", 0.001)
    monkeypatch.setattr(download, "_attempt", lambda *args: tries.append(args) or attempt(*args))
    with pytest.raises((UnavailableError, RegistryError)) as caught:
        download.download_file(url, home.root / "x", 10)
    assert len(tries) == 1 and "attempts" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "expected"),
    [(socket.EAI_NONAME, 1), (socket.EAI_AGAIN, download.ATTEMPTS), (None, download.ATTEMPTS)],
)
def test_a_host_that_does_not_exist_is_tried_once(code, expected, home, monkeypatch):
    """A name server that is out of reach, and a host that refuses, may be there in a moment."""
    tries = []

    def resolve(*args, **kwargs):
        tries.append(args)
        if code is None:
            raise ConnectionRefusedError(111, "Connection refused")
        raise socket.gaierror(code, "Name or service not known")

    monkeypatch.setattr(download, "BACKOFF", 0.001)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(UnavailableError):
        download.download_file("https://no-such-host.invalid/x", home.root / "x", 10)
    assert len(tries) == expected


def test_a_redirect_to_an_address_that_no_host_can_have_is_not_repeated(home, site):
    site.pages["/file"] = moved("https://host:99999999/x")
    with pytest.raises(VaezooError):
        fetched(home, site)
    assert len(site.requests) == 1
