"""A small trained run, a registry that holds it, and an https server that can misbehave."""

from __future__ import annotations

import hashlib
import http.server
import ssl
import threading

import pytest
import trustme

import vaezoo
from vaezoo.pretrained import download
from vaezoo.pretrained.cache import Cache
from vaezoo.pretrained.entry_parts import File
from vaezoo.runs.opening import open_run
from vaezoo.runs.publishing import PublicationInfo, publish

SPEC = {
    "spec": "vaezoo/v1",
    "name": "small",
    "data": {"type": "digits", "batch_size": 64},
    "model": {
        "latent_dim": 2,
        "encoder": {"type": "mlp", "hidden": [16]},
        "decoder": {"type": "mlp", "hidden": [16]},
        "likelihood": "continuous-bernoulli",
    },
    "train": {"epochs": 1},
    "evaluate": ["elbo", "active-units"],
}
ABOUT = PublicationInfo(
    title="A small model",
    weights_licence="Apache-2.0",
    data_licence="BSD-3-Clause",
    citation="Kingma & Welling 2014",
)

WEIGHTS = "weights/vae-small-1/model.safetensors"
DATA = bytes(range(256)) * 2000
FILE = File(
    name="model.safetensors",
    sha256=hashlib.sha256(DATA).hexdigest(),
    size=len(DATA),
    sources=["https://host/file"],
)


def fetched(cache, site, path="/file"):
    """``FILE`` from a page of the server, through the cache."""
    url = site.url + path
    return cache.add(FILE, url, lambda target, size: download.download_file(url, target, size))


def rewrite(folder, change):
    """Changes the text of a registry."""
    path = folder / "registry.yaml"
    path.write_text(change(path.read_text("utf-8")), "utf-8")


def load(folder, name="lab:vae/small@1"):
    return vaezoo.load(name, registry=folder)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    return vaezoo.run(SPEC, out=tmp_path_factory.mktemp("runs")).path


@pytest.fixture
def about():
    return ABOUT


@pytest.fixture
def published(small_run, tmp_path):
    """The folder of a registry with one entry, ``vae/small@1``."""
    publish(open_run(small_run), "vae/small@1", tmp_path / "lab", ABOUT)
    return tmp_path / "lab"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("VAEZOO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("VAEZOO_OFFLINE", raising=False)
    return Cache()


class Site:
    """The content of an https server: ``pages`` by path, each bytes or a request handler."""

    def __init__(self, server):
        self.pages, self.requests = {}, []
        self.url = f"https://localhost:{server.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        site = self.server.site
        site.requests.append((self.path, self.headers.get("Range")))
        page = site.pages.get(self.path)
        if page is None:
            self.send_error(404)
        elif callable(page):
            page(self)
        else:
            self.give(page)

    def give(self, data, *, claim=None, stop=None, content="application/octet-stream"):
        """Answers with a file, from where the client asks for."""
        begin = 0
        if requested := self.headers.get("Range"):
            begin = int(requested.removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Type", content)
        self.send_header("Content-Length", str(claim if claim is not None else len(data) - begin))
        self.end_headers()
        self.wfile.write(data[begin:stop])
        self.wfile.flush()

    def log_message(self, *args):
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


@pytest.fixture
def site(monkeypatch, tmp_path):
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    monkeypatch.setattr(download, "BACKOFF", 0.001)
    download._pool.cache_clear()
    server = _Server(("localhost", 0), _Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.site = Site(server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.site
    server.shutdown()
    thread.join()
    server.server_close()
    download._pool.cache_clear()
