"""Registries under their prefixes, and entries found by name."""

from __future__ import annotations

import shutil
import sys

import pytest

import vaezoo
from vaezoo.plugins import discovery
from vaezoo.plugins.catalogue import Catalogue, PluginInfo
from vaezoo.pretrained.finding import find_entry
from vaezoo.pretrained.hub_files import public_url
from vaezoo.pretrained.registries import open_registries
from vaezoo.pretrained.registry import Registry
from vaezoo.runs.publishing import publish
from vaezoo.utils.errors import PluginError, RegistryError, UnavailableError, UsageError

from .conftest import load, rewrite


@pytest.mark.parametrize(
    "name", ["lab:vae/small@1", "lab:vae/small", "lab:vae-small", "lab:vae-small@1", "lab:vae"]
)
def test_names_may_be_short(published, name):
    assert load(published, name).latent_dim == 2


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("lab:vae-smal", "did you mean lab:vae/small"),
        ("vae-smal", "did you mean lab:vae/small"),
        ("lab:vae/small@2", "no weights named"),
        ("other:vae/small", "no registry with the prefix 'other'; known: lab"),
        ("lab:../../x", "no weights named"),
    ],
)
def test_an_unknown_name_gets_close_matches(published, name, says):
    with pytest.raises(UsageError, match=says):
        load(published, name)


def test_an_ambiguous_name_gets_all_it_may_mean(published, small_run, about):
    publish(vaezoo.open_run(small_run), "vae/other@1", published, about)
    with pytest.raises(UsageError, match="may be any of lab:vae/other@1, lab:vae/small@1"):
        load(published, "lab:vae")
    publish(vaezoo.open_run(small_run), "vae/other@2", published, about)
    also = [str(published)]
    assert find_entry("lab:vae-other", also).weights.version == 2
    assert find_entry("lab:vae-other@1", also).weights.version == 1


def test_no_registry_shadows_another(published, tmp_path):
    shutil.copytree(published, tmp_path / "elsewhere" / "lab")
    with pytest.raises(UsageError, match="have the same prefix; write another-name="):
        open_registries([str(published), str(tmp_path / "elsewhere" / "lab")])
    both = [str(published), f"second={tmp_path / 'elsewhere' / 'lab' / 'registry.yaml'}"]
    assert [registry.prefix for registry in open_registries(both)] == ["", "lab", "second"]
    with pytest.raises(UsageError, match="no weights named 'vae/small@1'; did you mean"):
        find_entry("vae/small@1", both)  # without a prefix only vaezoo's own are meant


def test_a_registry_out_of_reach_stops_nobody_who_needs_another(published, tmp_path):
    (tmp_path / "broken.yaml").write_text("registry: [")
    also = [
        f"broken={tmp_path / 'broken.yaml'}",
        "gone=https://localhost:1/registry.yaml",
        str(published),
    ]
    assert find_entry("lab:vae-small", also).weights.id == "vae/small@1"
    assert find_entry("vae-mnist", also).registry.prefix == ""
    with pytest.raises(RegistryError, match="not valid YAML"):
        find_entry("broken:vae-small", also)


def test_a_registry_of_a_hub_is_called_by_its_repository():
    from vaezoo.pretrained.locations import _parse_location

    place = f"hf://me/My_Zoo@{'c' * 40}/registry.yaml"
    assert [_parse_location(text).prefix for text in (place, f"far={place}")] == ["my-zoo", "far"]


def plugged(monkeypatch, *contributed):
    """Plugins that bring a registry each: a prefix and ``package:path``."""
    known = discovery.catalogue()
    infos = [
        PluginInfo(f"vaezoo-{i}", "1", "ok", registries=(each,))
        for i, each in enumerate(contributed)
    ]
    monkeypatch.setattr(
        discovery, "catalogue", lambda: Catalogue([*known.plugins, *infos], known.entries)
    )


def test_plugins_whose_registries_are_amiss_stop_nobody_who_needs_another(published, monkeypatch):
    duplicates = ("twin", "vaezoo_vrae:a.yaml"), ("twin", "vaezoo_vrae:b.yaml")
    lost = (
        ("lost", "no_such_package:r.yaml"),
        ("deep", "no_such_package.inner:r.yaml"),
        ("none", ":r.yaml"),
    )
    plugged(monkeypatch, *duplicates, *lost)
    assert find_entry("vae-mnist").registry.prefix == "" and load(published).latent_dim == 2
    with pytest.raises(UsageError, match="have the same prefix"):
        find_entry("twin:vae-small")
    for prefix, _ in lost:
        with pytest.raises(PluginError, match="but there is no package '"):
            find_entry(f"{prefix}:vae-small")


def test_revoked_weights_give_way_to_older_ones_that_stand(published, small_run, about):
    for version in (2, 3):
        publish(vaezoo.open_run(small_run), f"vae/small@{version}", published, about)

    def revoke(version):
        line = f"id: vae/small@{version}\n"
        rewrite(
            published,
            lambda text: text.replace(line, f"{line}  status: revoked\n  reason: wrong\n"),
        )

    also = [str(published)]
    for revoked, newest in ((None, 3), (3, 2), (1, 2), (2, 3)):
        if revoked is not None:
            revoke(revoked)
        assert find_entry("lab:vae-small", also).weights.version == newest, (
            "the newest of all where none stands"
        )


@pytest.mark.parametrize("text", ["my_zoo=lab", "B=lab", "=lab"])
def test_a_prefix_that_is_none_is_said_to_be_that(text):
    with pytest.raises(
        UsageError, match="a prefix is lower-case words and numbers joined by hyphens"
    ):
        open_registries([text])


def test_an_empty_registry_is_told_how_to_begin(tmp_path):
    (tmp_path / "registry.yaml").write_text("# nothing\n")
    with pytest.raises(
        RegistryError, match="empty; it must begin with 'registry: vaezoo/weights/v1'"
    ):
        open_registries([str(tmp_path)])


def test_a_source_below_an_address_is_quoted():
    far = Registry("far", "https://host/a/registry.yaml", None)
    assert (
        far.locate("weights/my model#1.safetensors")
        == "https://host/a/weights/my%20model%231.safetensors"
    )
    commit = "c" * 40
    hub = Registry("hub", f"hf://me/zoo@{commit}/registry.yaml", None)
    assert hub.locate("w/a b") == f"hf://me/zoo@{commit}/w/a b"
    assert public_url(hub.locate("a b")).endswith(f"/me/zoo/resolve/{commit}/a%20b")
    assert public_url(f"hf://me/zoo@{commit}/a%b").endswith(f"/me/zoo/resolve/{commit}/a%25b")


def test_registries_come_from_the_environment_and_from_plugins(published, monkeypatch, tmp_path):
    monkeypatch.setenv("VAEZOO_REGISTRIES", f"mine={published}")
    assert vaezoo.load("mine:vae-small").latent_dim == 2
    package = tmp_path / "vaezoo_lab"
    shutil.copytree(published, package)
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugged(
        monkeypatch,
        ("plugged", "vaezoo_lab:registry.yaml"),
        ("plugged", "vaezoo_lab:registry.yaml"),
    )
    assert len(open_registries([f"plugged={package}"])) == 3, (
        "its own, mine, and the one that three name"
    )
    assert vaezoo.load("plugged:vae-small").latent_dim == 2
    sys.modules.pop("vaezoo_lab", None)


def test_a_registry_at_an_address_and_its_last_copy(published, site, home, monkeypatch):
    for path in published.rglob("*"):
        if path.is_file():
            site.pages[f"/zoo/{path.relative_to(published)}"] = path.read_bytes()
    address = f"far={site.url}/zoo/registry.yaml"
    assert vaezoo.load("far:vae-small", registry=address).latent_dim == 2
    monkeypatch.setenv("VAEZOO_OFFLINE", "1")
    requested = len(site.requests)
    assert (
        vaezoo.load("far:vae-small", registry=address).latent_dim == 2
        and len(site.requests) == requested
    )


def test_a_page_in_place_of_a_registry_leaves_the_last_good_copy(
    published, site, home, monkeypatch
):
    site.pages["/registry.yaml"] = (published / "registry.yaml").read_bytes()
    address = [f"far={site.url}/registry.yaml"]
    assert find_entry("far:vae-small", address).weights.id == "vae/small@1"
    site.pages["/registry.yaml"] = b"<!DOCTYPE html><title>Log in</title>"
    with pytest.raises(RegistryError, match="a registry is a mapping"):
        find_entry("far:vae-small", address)
    del site.pages["/registry.yaml"]
    with pytest.warns(
        UserWarning,
        match=r"registry\.yaml: the server answered 404; its copy of \d{4}-\S+ is used",
    ):
        assert find_entry("far:vae-small", address).weights.id == "vae/small@1"


def test_a_registry_is_read_where_nothing_can_be_kept(published, site, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way of a folder")
    monkeypatch.setenv("VAEZOO_HOME", str(tmp_path / "file" / "home"))
    site.pages["/registry.yaml"] = (published / "registry.yaml").read_bytes()
    assert (
        find_entry("far:vae-small", [f"far={site.url}/registry.yaml"]).weights.id == "vae/small@1"
    )


@pytest.mark.parametrize(
    ("query", "kept"), [("?token=a/b&x=1", "?token=a/b&x=1"), ("#part/two", ""), ("?", "")]
)
def test_the_query_of_an_address_is_no_part_of_its_folder(query, kept):
    far = Registry("far", f"https://host/zoo/a/registry.yaml{query}", None)
    assert far.locate("weights/b c") == f"https://host/zoo/a/weights/b%20c{kept}"
    assert far.locate("https://other/c") == "https://other/c"


def test_a_registry_at_an_address_with_a_query_loads_its_files(published, site, home):
    """The file server wants the same token for each file; the folder is called zoo."""
    for path in published.rglob("*"):
        if path.is_file():
            page = f"/zoo/{path.relative_to(published)}?token=a/b=c"
            site.pages[page] = path.read_bytes()
    address = f"{site.url}/zoo/registry.yaml?token=a/b=c"
    assert vaezoo.load("zoo:vae-small", registry=address).latent_dim == 2
    assert vaezoo.load("far:vae-small", registry=f"far={address}").latent_dim == 2
    for fault in (f"{site.url}/zoo/no.yaml?token=a/b=c", f"https://me:secret@{site.url[8:]}/no"):
        with pytest.raises(UnavailableError, match="the server answered 404") as caught:
            vaezoo.load("far:vae-small", registry=f"far={fault}")
        assert "a/b=c" not in str(caught.value) and "secret" not in str(caught.value)
