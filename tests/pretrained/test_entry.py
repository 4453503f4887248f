"""The registry file: every fault named with its line, and no way out of its folder."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from unittest import mock

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vaezoo.pretrained import entry as entry_module
from vaezoo.pretrained.entry import LIMITS, parse_registry
from vaezoo.pretrained.names import path_fault, resolve_inside
from vaezoo.utils.errors import RegistryError

SHA = "0" * 64


def entry(**changes):
    base = {
        "id": "vae/small@1",
        "title": "A model",
        "published": "2026-01-01",
        "spec": {"path": "weights/spec.yaml", "sha256": SHA, "size": 10},
        "requires": ["vaezoo>=0.1"],
        "files": [
            {
                "name": "model.safetensors",
                "sha256": SHA,
                "size": 8,
                "sources": ["weights/model.safetensors"],
            }
        ],
        "tensors": {"count": 1, "parameters": 2, "sha256": SHA},
        "preprocessing": {
            "data": "{type: digits}",
            "shape": [1, 8, 8],
            "support": "unit",
            "output": "[0, 1]",
        },
        "metrics": [],
        "training": {
            "command": "vaezoo run x.yaml",
            "hardware": "cpu",
            "seconds": 1.0,
            "versions": "torch",
        },
        "licence": {"weights": "Apache-2.0", "data": "BSD"},
        "citation": "nobody",
    }
    return base | changes


def parsed(*result, **top):
    text = yaml.safe_dump(
        {"registry": "vaezoo/weights/v1", "entries": list(result)} | top, sort_keys=False
    )
    return parse_registry(text.encode(), "registry.yaml").entries


def source(text):
    return [entry()["files"][0] | {"sources": [text]}]


def test_a_whole_entry_is_read():
    (result,) = parsed(entry())
    assert (result.architecture, result.tag, result.version, result.size) == ("vae", "small", 1, 8)


@pytest.mark.parametrize("missing", [key for key in entry() if key != "classes"])
def test_every_part_is_required(missing):
    broken = entry()
    del broken[missing]
    with pytest.raises(
        RegistryError, match=rf"registry.yaml:\d+:\d+: entries.0.{missing}: is required"
    ):
        parsed(broken)


@pytest.mark.parametrize("part", ["sha256", "size"])
def test_hash_and_size_of_a_file_are_mandatory(part):
    file = dict(entry()["files"][0])
    del file[part]
    with pytest.raises(RegistryError, match=rf"files.0.{part}: is required"):
        parsed(entry(files=[file]))


@pytest.mark.parametrize(
    "path",
    [
        "../model.safetensors",
        "weights/../../etc/passwd",
        "/etc/passwd",
        "~/model.safetensors",
        "C:/model.safetensors",
        "weights\\model.safetensors",
        "weights/CON",
        "weights/nul.safetensors",
        "weights/nul .safetensors",
        "CONIN$",
        "COM1/model.safetensors",
        "weights/model.",
        "weights/model ",
        "weights//model",
        "./model",
        "weights/a\x00b",
        "weights/" + "a" * 300,
        "http://host/model.safetensors",
        "file:///etc/passwd",
        "https://user@host/model.safetensors",
        "https://[x/model.safetensors",
        "hf://owner/repo@main/model.safetensors",
        f"hf://../..@{'a' * 40}/model.safetensors",
        f"hf://owner/repo@{'a' * 40}/../../../../evil/model.safetensors",
        "",
    ],
)
def test_a_source_that_could_lead_astray_is_refused(path):
    with pytest.raises(RegistryError, match=r"registry\.yaml:"):
        parsed(entry(files=source(path)))


@pytest.mark.parametrize(
    "path",
    ["https://host/a/b", f"hf://owner/repo@{'a' * 40}/dir/file", "weights/x/model.safetensors"],
)
def test_other_sources_pass(path):
    assert parsed(entry(files=source(path)))[0].files[0].sources == [path]


def test_a_symbolic_link_out_of_the_folder_is_refused(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "secret"
    root.mkdir()
    outside.mkdir()
    (outside / "file").write_text("x")
    (root / "link").symlink_to(outside)
    with pytest.raises(RegistryError, match="through a symbolic link"):
        resolve_inside(root, "link/file")
    (root / "own").mkdir()
    (root / "near").symlink_to(root / "own")
    assert resolve_inside(root, "near/file") == root / "near" / "file"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"id": "Small"}, "architecture/tag@version"),
        ({"id": "vae/small"}, "architecture/tag@version"),
        ({"status": "deprecated"}, "an entry with `successor`"),
        ({"status": "deprecated", "successor": "vae/small@2"}, "is not listed"),
        ({"status": "revoked"}, "an entry with `reason`"),
        ({"spec": {"sha256": SHA, "size": 3}}, "either `path` or `inline`"),
        (
            {"spec": {"path": "a", "inline": {}, "sha256": SHA, "size": 3}},
            "either `path` or `inline`",
        ),
        ({"files": []}, "a list of 1 or more"),
        ({"files": entry()["files"] + entry()["files"]}, "whose files have different names"),
        ({"requires": ["not a requirement!"]}, "a package and its versions"),
        ({"requires": ["x @ https://host/x.whl"]}, "by name, not by URL"),
        ({"requires": ["x; os_name ~= 'posix'"]}, "with a valid environment marker"),
        ({"title": 3}, "must be text"),
        ({"published": "x"}, r"published: must be a date such as 2026-11-27, not 'x'$"),
        ({"titel": "x"}, r"unknown key; did you mean 'title'\?$"),
    ],
)
def test_what_is_wrong_is_said(change, says):
    with pytest.raises(RegistryError, match=says) as caught:
        parsed(entry(**change))
    assert str(caught.value).startswith("registry.yaml")


def test_an_id_is_listed_once():
    with pytest.raises(RegistryError, match="listed twice"):
        parsed(entry(), entry())


def test_a_deprecated_entry_points_on():
    old, new = parsed(entry(status="deprecated", successor="vae/small@2"), entry(id="vae/small@2"))
    assert old.successor == new.id


@pytest.mark.parametrize(
    "data",
    [b"", b"- a", b"registry: x", b"\xff", b"a: &b c", b"x" * (LIMITS.bytes + 1), b"a: [" * 50],
)
def test_other_files_are_refused(data):
    with pytest.raises(RegistryError, match=r"registry\.yaml"):
        parse_registry(data, "registry.yaml")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace")),
    )
)
def test_any_bytes_are_a_registry_or_an_error(data):
    _bounded(data)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(entry())), VALUES)
def test_any_change_of_an_entry_is_a_registry_or_an_error(key, value):
    changed = yaml.safe_dump(
        {"registry": "vaezoo/weights/v1", "entries": [entry(**{key: value})]}, allow_unicode=True
    )
    _bounded(changed.encode("utf-8", "replace"))


HEAD = "registry: vaezoo/weights/v1\nentries: "


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "word " * (LIMITS.bytes // 5 - 10),
        HEAD + "[" + ",".join("1" * (LIMITS.nodes - 10)) + "]",
        HEAD + "[" + ",".join(["{}"] * (LIMITS.nodes - 10)) + "]",
        HEAD + "[" + ",".join(["{}"] * 50) + "]",
        HEAD + "[]\n" + "".join(f"k{i}: 1\n" for i in range(LIMITS.nodes // 2 - 10)),
        HEAD + "[" * LIMITS.bytes,
        HEAD + "[" + ",".join("1" * (LIMITS.bytes // 2 - 100)) + "]",
    ],
    ids=["words", "numbers", "mappings", "entries", "keys", "brackets", "too many numbers"],
)
def test_as_much_as_a_file_may_hold_is_refused_after_bounded_work(text):
    data = text.encode()[: LIMITS.bytes]
    _bounded(data)
    with pytest.raises(RegistryError) as caught:
        parse_registry(data, "full")
    assert len(str(caught.value)) < 10_000


def test_a_file_that_is_too_large_is_refused_before_it_is_parsed():
    assert _bounded(b"x" * (LIMITS.bytes + 1)) == Counter()


def _bounded(data):
    """Parses a registry file and checks how much work that takes; returns the counts.

    Each node of the file is one parser event; a mapping or a list has one more event at its end.
    The parser stops at the first node beyond the limit, and pydantic at the first entry beyond 50.
    """
    calls = Counter()
    get_event, problems = yaml.SafeLoader.get_event, entry_module._problems

    def counting_event(loader):
        calls["events"] += 1
        return get_event(loader)

    def counting_problems(error, *arguments):
        calls["errors"] = error.error_count()
        result = problems(error, *arguments)
        calls["problems"] = len(result)
        return result

    with (
        mock.patch.object(yaml.SafeLoader, "get_event", counting_event),
        mock.patch.object(entry_module, "_problems", counting_problems),
        contextlib.suppress(RegistryError),
    ):
        parse_registry(data, "fuzz")
    assert calls["events"] <= 2 * (LIMITS.nodes + 1) + 4
    assert calls["errors"] <= LIMITS.nodes
    assert calls["problems"] <= 50
    return calls


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="./\\~:abc\0 CON", max_size=12))
def test_no_harmless_path_leaves_its_folder(path):
    if path_fault(path) is None:
        assert os.path.normpath(f"/root/dir/{path}").startswith("/root/dir/")
