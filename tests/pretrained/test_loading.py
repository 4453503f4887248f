"""Loading of pretrained models by name: verified bytes, the right tensors, clear errors."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tracemalloc
from collections import Counter
from importlib import metadata

import pytest
import torch
from safetensors.torch import load_file, save_file

import vaezoo
from vaezoo.data.dataspec import DataSpec
from vaezoo.nn.loading import load_strict
from vaezoo.pretrained.fetching import fetch
from vaezoo.pretrained.finding import find_entry
from vaezoo.pretrained.loading import _check_entry_data, read_weights
from vaezoo.pretrained.model_header import read_model_header
from vaezoo.utils.errors import IntegrityError, PluginError, RegistryError, UnavailableError

from .conftest import WEIGHTS, load, rewrite

ONE = "encoder.net.0.weight"


def damage(folder, change, path=None):
    """Changes a file, or the weights, and the registry so that hash and size are right again."""
    path = path or folder / WEIGHTS
    before = path.read_bytes()
    path.unlink()
    change(path, before)
    after = path.read_bytes()

    def sized(text):
        old, new = (hashlib.sha256(data).hexdigest() for data in (before, after))
        return text.replace(old, new).replace(f"size: {len(before)}", f"size: {len(after)}")

    rewrite(folder, sized)


def test_the_model_is_the_one_that_was_trained(published, small_run, home):
    loaded, trained = load(published), vaezoo.open_run(small_run).model
    assert loaded.state_dict().keys() == trained.state_dict().keys()
    assert all(
        torch.equal(value, trained.state_dict()[name])
        for name, value in loaded.state_dict().items()
    )
    assert torch.equal(loaded.sample(3, seed=1), trained.sample(3, seed=1)) and not loaded.training
    assert not (home.root / "blobs").exists()  # what lies beside the registry is not copied


def flip(path, before):
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))


@pytest.mark.parametrize("change", [flip, lambda path, before: path.write_bytes(before[:-4])])
def test_bytes_that_are_not_the_declared_ones_are_refused(published, change):
    path = published / WEIGHTS
    before = path.read_bytes()
    change(path, before)
    with pytest.raises(
        RegistryError, match=r"expected sha256 [0-9a-f]{64}.*got [0-9a-f]{64}"
    ) as caught:
        load(published)
    assert (
        str(path) in str(caught.value)
        and "\n" not in str(caught.value)
        and caught.value.exit_code == 4
    )
    assert path.is_file()  # what the user keeps there is not touched


def test_a_link_out_of_the_registrys_folder_is_not_followed(published, tmp_path):
    path = published / WEIGHTS
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RegistryError, match=r"leads out of .* through a symbolic link"):
        load(published)


def test_the_next_source_is_tried(published, site, home):
    path = published / WEIGHTS
    site.pages["/good"] = path.read_bytes()
    flip(path, path.read_bytes())
    rewrite(
        published,
        lambda text: text.replace(f"[{WEIGHTS}]", f"[{WEIGHTS}, {site.url}/bad, {site.url}/good]"),
    )
    site.pages["/bad"] = b"<html>please log in</html>"
    assert load(published).latent_dim == 2
    assert [requested for requested, _ in site.requests] == ["/bad", "/good"]
    load(published)
    assert len(site.requests) == 2  # from the cache, before any request


def test_when_no_source_is_right_all_are_told(published, site, home):
    path = published / WEIGHTS
    flip(path, path.read_bytes())
    rewrite(
        published,
        lambda text: text.replace(f"[{WEIGHTS}]", f"[{WEIGHTS}, {site.url}/bad, {site.url}/none]"),
    )
    site.pages["/bad"] = b"<html>please log in</html>"
    with pytest.raises(RegistryError) as caught:
        load(published)
    message = str(caught.value)
    assert (
        all(part in message for part in (str(path), "/bad", "an HTML page", "answered 404"))
        and "\n" not in message
    )


def test_offline_a_miss_says_what_to_fetch(published, site, home, monkeypatch):
    (published / WEIGHTS).unlink()
    rewrite(published, lambda text: text.replace(f"[{WEIGHTS}]", f"[{site.url}/good]"))
    monkeypatch.setenv("VAEZOO_OFFLINE", "1")
    with pytest.raises(
        UnavailableError, match=r"while online: vaezoo weights pull lab:vae/small@1"
    ):
        load(published)
    assert not site.requests


def test_an_inline_spec_is_hashed_too(published):
    import yaml

    from vaezoo.spec.dump import dump
    from vaezoo.spec.tree import parse

    text = (published / "registry.yaml").read_text("utf-8")
    complete = parse(text, "registry.yaml").plain()
    inline = parse(
        (published / "weights/vae-small-1/spec.yaml").read_text("utf-8"), "spec.yaml"
    ).plain()
    data = dump(inline).encode()
    complete["entries"][0]["spec"] = {
        "inline": inline,
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
    }
    (published / "registry.yaml").write_text(dump(complete), "utf-8")
    assert load(published).latent_dim == 2
    inline["seed"] = 1
    (published / "registry.yaml").write_text(yaml.safe_dump(complete), "utf-8")
    with pytest.raises(RegistryError, match="inline"):
        load(published)


def test_each_problem_of_a_spec_names_the_weights(published):
    path = published / "weights/vae-small-1/spec.yaml"
    text = path.read_text("utf-8").replace("latent_dim: 2", "latent_dim: two\n  more: 1")
    path.write_text(text, "utf-8")
    size, sha256 = len(text.encode()), hashlib.sha256(text.encode()).hexdigest()
    registry = (published / "registry.yaml").read_text("utf-8")
    listed = re.search(
        r"spec:\n? *\{?path: [^,\n]*spec.yaml,?\s+sha256: (\w+),?\s+size: (\d+)", registry
    )
    registry = registry.replace(listed[1], sha256).replace(f"size: {listed[2]}", f"size: {size}")
    (published / "registry.yaml").write_text(registry, "utf-8")
    with pytest.raises(RegistryError) as caught:
        load(published)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2 and all(line.startswith("lab:vae/small@1: ") for line in lines)


def saved(change):
    def act(path, before):
        path.write_bytes(before)
        tensors = load_file(path)
        from safetensors import safe_open

        with safe_open(path, "pt") as loaded_run:
            reported = loaded_run.metadata()
        change(tensors)
        save_file(tensors, path, reported)

    return act


def swap(tensors):
    first, second = sorted(name for name in tensors if tensors[name].dim() == 2)[:2]
    tensors[first], tensors[second] = tensors[second], tensors[first]


@pytest.mark.parametrize(
    "change",
    [swap, lambda t: t.update(extra=torch.zeros(1)), lambda t: t.pop(sorted(t)[0])],
)
def test_tensors_that_are_not_those_of_the_table_are_refused(published, change):
    damage(published, saved(change))
    with pytest.raises(RegistryError, match="with the fingerprint"):
        load(published)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.update(extra=torch.zeros(1)), "unexpected extra"),
        (lambda t: t.pop(ONE), f"missing {ONE}"),
        (lambda t: t.update({ONE: torch.zeros(1)}), rf"{ONE} is \(1,\), expected"),
        (
            lambda t: t.update({ONE: t[ONE].long()}),
            f"{ONE} is torch.int64, expected torch.float32",
        ),
    ],
)
def test_a_table_that_is_not_the_models_names_each_tensor(published, small_run, change, says):
    model = vaezoo.open_run(small_run).model
    tensors = dict(model.state_dict())
    change(tensors)
    with pytest.raises(IntegrityError, match=f"here: weights do not fit the spec: {says}"):
        load_strict(model, tensors, "here")


def test_a_missing_plugin_is_named_with_its_pip_command(published):
    rewrite(
        published,
        lambda text: text.replace("requires: [vaezoo", "requires: ['vaezoo-nowhere>=2', vaezoo"),
    )
    with pytest.raises(
        PluginError, match=r"needs vaezoo-nowhere>=2; pip install 'vaezoo-nowhere>=2'"
    ) as caught:
        load(published)
    assert caught.value.exit_code == 6


def test_an_old_plugin_is_refused(published):
    version = metadata.version("vaezoo")
    rewrite(
        published,
        lambda text: text.replace(f"requires: [vaezoo>={version}", "requires: ['vaezoo>=99'"),
    )
    with pytest.raises(PluginError, match="needs vaezoo>=99"):
        load(published)


def test_a_revoked_entry_says_why_and_a_deprecated_one_points_on(published, small_run, about):
    from vaezoo.runs.publishing import publish

    publish(vaezoo.open_run(small_run), "vae/small@2", published, about)
    first = "id: vae/small@1\n"
    rewrite(
        published,
        lambda text: text.replace(
            first, f"{first}  status: deprecated\n  successor: vae/small@2\n"
        ),
    )
    with pytest.warns(UserWarning, match="its successor is lab:vae/small@2"):
        load(published)
    second = "id: vae/small@2\n"
    rewrite(
        published,
        lambda text: text.replace(
            second, f"{second}  status: revoked\n  reason: trained on the test set\n"
        ),
    )
    with pytest.raises(RegistryError, match="was revoked: trained on the test set"):
        load(published, "lab:vae/small@2")


def test_a_file_is_read_once_and_shared_with_the_tensors(published):
    result = find_entry("lab:vae-small", [str(published)])
    (file,) = result.weights.files
    tensors, _ = read_weights(result, file)
    begin = min(tensor.data_ptr() for tensor in tensors.values())
    end = max(tensor.data_ptr() + tensor.nbytes for tensor in tensors.values())
    assert end - begin <= file.size  # one piece of memory, the file's own
    model = load(published)
    own = [value.data_ptr() for value in model.state_dict().values()]
    assert max(own) - min(own) < file.size


def test_each_byte_is_read_and_hashed_once_and_never_copied(tmp_path, monkeypatch):
    from vaezoo.pretrained import cache, safetensors_header
    from vaezoo.pretrained.entry_parts import File

    path = tmp_path / "large.safetensors"
    save_file({f"t{i}": torch.randn(1000, 250) for i in range(40)}, path)
    size = path.stat().st_size
    file = File(
        name="x", sha256=hashlib.sha256(path.read_bytes()).hexdigest(), size=size, sources=["x"]
    )

    counts, sha256 = Counter(), hashlib.sha256

    class CountingFile(io.FileIO):
        def readinto(self, buffer):
            count = super().readinto(buffer)
            counts["read"] += count
            return count

        def read(self, size=-1):
            data = super().read(size)
            counts["read"] += len(data)
            return data

    def counting_sha256(data=b""):
        counts["hashed"] += len(data)
        return sha256(data)

    monkeypatch.setattr(cache, "open", lambda path, *_, **__: CountingFile(path), raising=False)
    monkeypatch.setattr(hashlib, "sha256", counting_sha256)
    tracemalloc.start()
    try:
        data = cache.read_verified(path, file, "here")
        tensors, _ = safetensors_header.parse_tensors(data, "here")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert counts == {"read": size, "hashed": size}
    assert size <= peak < size + 1_000_000
    begin = torch.frombuffer(data, dtype=torch.uint8).data_ptr()
    assert len(tensors) == 40
    for tensor in tensors.values():
        assert begin <= tensor.data_ptr() and tensor.data_ptr() + tensor.nbytes <= begin + size


def test_metadata_that_describes_no_model_is_refused(published):
    def strip(path, before):
        path.write_bytes(before)
        tensors = load_file(path)
        save_file(tensors, path, {"about": json.dumps({"data": {}})})

    damage(published, strip)
    with pytest.raises(RegistryError, match="does not describe a vaezoo model"):
        load(published)


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"stray": 1}, "data.stray"),
        ({"a\n\x1bb": 1}, r"data\.a\\n\\x1bb"),
        (
            {"factors": [{"name": "a", "kind": "numeric", "columns": [0, 1], "values": ["b"]}]},
            "data.factors.0.values",
        ),
    ],
)
def test_a_header_with_an_unknown_key_is_refused_at_any_depth(data, path):
    header = {"about": json.dumps({"data": {"shape": [3], **data}, "train_size": 1})}
    with pytest.raises(IntegrityError, match=f"of this version: {path}: unknown key$"):
        read_model_header(header, "here")


def test_fetch_needs_no_model(published, home):
    result = find_entry("lab:vae-small", [str(published)])
    assert len(fetch(result.registry, result.weights.files[0], result.name)) == result.weights.size


def test_a_source_that_leads_out_does_not_keep_the_next_from_being_tried(published, tmp_path):
    (tmp_path / "secret").write_text("x")
    (published / "link").symlink_to(tmp_path / "secret")
    rewrite(
        published,
        lambda text: text.replace(f"sources: [{WEIGHTS}]", f"sources: [link, {WEIGHTS}]"),
    )
    assert load(published).latent_dim == 2


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "shape: [1, 8, 8]",
            "shape: [1, 28, 28]",
            r"are \(1, 8, 8\), unit, not \(1, 28, 28\), unit as",
        ),
        ("support: unit", "support: binary", r"not \(1, 8, 8\), binary as listed"),
        ("  metrics:", "  classes: [a, b]\n  metrics:", "its classes are .*, not those listed"),
    ],
)
def test_what_an_entry_says_of_its_data_is_what_the_weights_say(published, old, new, says):
    rewrite(published, lambda text: text.replace(old, new))
    assert new in (published / "registry.yaml").read_text()
    with pytest.raises(RegistryError, match=says):
        load(published)


def test_classes_that_differ_are_named_on_one_line(published):
    rewrite(published, lambda text: text.replace("  metrics:", "  classes: [a, b]\n  metrics:"))
    entry = find_entry("lab:vae-small", [str(published)])
    data = DataSpec((1, 8, 8), "unit", classes=("a\nb", "c"), condition_shape=())
    with pytest.raises(RegistryError, match=r"its classes are a\\nb, c, not those listed"):
        _check_entry_data(entry, data)


MLP = (
    "    hidden: [16]\n    activation: relu\n    gated: false\n    norm: none\n    dropout: 0.0\n"
)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("latent_dim: 2", "latent_dim: two", "must be an integer"),
        (
            f"encoder:\n    type: mlp\n{MLP}",
            "encoder:\n    type: conv\n    channels: [4, 4, 4, 4, 4, 4]\n",
            "encoder",
        ),
    ],
)
def test_a_spec_that_is_none_or_does_not_compose_is_the_registrys_fault(published, old, new, says):
    path = published / "weights/vae-small-1/spec.yaml"
    damage(
        published,
        lambda path, before: path.write_bytes(before.replace(old.encode(), new.encode())),
        path,
    )
    with pytest.raises(RegistryError, match=f"lab:vae/small@1: .*{says}"):
        load(published)
