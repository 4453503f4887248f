"""Weights in private repositories of the Hugging Face hub, from a hub on this machine."""

from __future__ import annotations

import hashlib
import http.server
import sys
import threading
from typing import ClassVar

import pytest

import vaezoo
from vaezoo.pretrained import hub_files
from vaezoo.pretrained.download import download_file
from vaezoo.utils.errors import RegistryError, UnavailableError

from .conftest import WEIGHTS, rewrite
from .conftest import load as load_local

COMMIT = "c" * 40
TOKEN = "hf_secret"


class Hub(http.server.BaseHTTPRequestHandler):
    """A private repository: it serves files to those who send the token."""

    files: ClassVar[dict[str, bytes]] = {}
    requests: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        data = self._head()
        if data is not None:
            self.wfile.write(data)

    def do_HEAD(self) -> None:
        self._head()

    def _head(self) -> bytes | None:
        self.requests.append((self.command, self.path))
        name = self.path.partition(f"/resolve/{COMMIT}/")[2]
        allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        data = self.files.get(name) if allowed else None
        self.send_response(200 if data is not None else 404 if allowed else 401)
        if data is None:
            self.send_header("X-Error-Code", "EntryNotFound" if allowed else "RepoNotFound")
            self.send_header("Content-Length", "0")
        else:
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        return data

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The hub without files, and an empty cache of huggingface_hub."""
    from huggingface_hub import constants

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Hub.files.clear()
    Hub.requests.clear()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setenv("VAEZOO_HOME", str(tmp_path / "home"))
    yield Hub
    server.shutdown()
    server.server_close()


@pytest.fixture
def repository(hub, published):
    """The address of a registry with all files of a published one."""
    for path in published.rglob("*"):
        if path.is_file():
            hub.files[path.relative_to(published).as_posix()] = path.read_bytes()
    return f"hf://me/zoo@{COMMIT}/registry.yaml"


def load(repository):
    return vaezoo.load("zoo:vae-small", registry=repository)


def test_weights_of_a_private_repository_are_loaded(hub, repository, monkeypatch, tmp_path):
    assert load(repository).latent_dim == 2
    count = len(hub.requests)
    monkeypatch.setenv("VAEZOO_HOME", str(tmp_path / "another"))
    monkeypatch.setenv("VAEZOO_OFFLINE", "1")  # from the cache of the hub
    assert load(repository).latent_dim == 2
    assert len(hub.requests) == count


def test_without_the_token_nothing_is_read(repository, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "another")
    with pytest.raises(UnavailableError, match=r"registry\.yaml: .*401"):
        load(repository)


def test_each_byte_is_checked(hub, repository):
    name = next(name for name in hub.files if name.endswith(".safetensors"))
    hub.files[name] = hub.files[name][:-1] + b"x"
    with pytest.raises(RegistryError, match="expected sha256"):
        load(repository)


def test_a_larger_file_than_declared_is_not_downloaded(hub, repository):
    name = next(name for name in hub.files if name.endswith(".safetensors"))
    hub.files[name] += b"x"
    with pytest.raises(RegistryError, match="and not at most"):
        load(repository)
    assert ("GET", f"/me/zoo/resolve/{COMMIT}/{name}") not in hub.requests


def test_what_is_in_no_cache_is_not_read_offline(hub, monkeypatch, tmp_path):
    monkeypatch.setenv("VAEZOO_OFFLINE", "1")
    with pytest.raises(UnavailableError, match=r"offline .* not in the hub's cache"):
        download_file(f"hf://me/zoo@{COMMIT}/a", tmp_path / "a", 10)
    assert not hub.requests


@pytest.mark.parametrize("name", ["me/a--b", "me/zoo.git", "-me/zoo", "m e/zoo"])
@pytest.mark.parametrize("offline", ["0", "1"])
def test_a_name_that_no_repository_can_have_is_not_the_only_source(
    hub, published, monkeypatch, site, name, offline
):
    """The next source is read; without one the address is named."""
    path = f"hf://{name}@{COMMIT}/model"
    site.pages["/model"] = (published / WEIGHTS).read_bytes()
    (published / WEIGHTS).unlink()
    rewrite(published, lambda text: text.replace(f"[{WEIGHTS}]", f"['{path}']"))
    monkeypatch.setenv("VAEZOO_OFFLINE", offline)
    with pytest.raises(UnavailableError, match=f"{path}: .*{name}"):
        load_local(published)
    monkeypatch.setenv("VAEZOO_OFFLINE", "0")
    rewrite(published, lambda text: text.replace(f"['{path}']", f"['{path}', {site.url}/model]"))
    assert load_local(published).latent_dim == 2


def test_a_file_of_the_hub_that_cannot_be_read_is_not_available(hub, tmp_path, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda *_, **__: str(tmp_path / "gone")
    )
    with pytest.raises(UnavailableError, match=r"hf://me/zoo.*gone"):
        download_file(f"hf://me/zoo@{COMMIT}/a", tmp_path / "a", 10)


def test_without_the_library_public_addresses_are_read(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setenv("HF_ENDPOINT", "https://no-such-host.invalid")
    source = f"hf://me/zoo@{COMMIT}/a b"
    assert hub_files.public_url(source).endswith(f"/me/zoo/resolve/{COMMIT}/a%20b")
    with pytest.raises(UnavailableError, match=r"no-such-host.*pip install 'vaezoo\[hub\]'"):
        download_file(source, tmp_path / "a", 10)
