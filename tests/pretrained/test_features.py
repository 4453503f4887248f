"""Feature extractors in registries: verified like weights, and never taken for a model."""

from __future__ import annotations

import hashlib

import pytest
import torch
import yaml
from torch import nn

import vaezoo
from vaezoo.cli.main import cli
from vaezoo.pretrained import safetensors_header
from vaezoo.pretrained.cache import Cache
from vaezoo.pretrained.entry import parse_registry
from vaezoo.pretrained.registries import open_registries
from vaezoo.runs.opening import open_run
from vaezoo.runs.publishing import publish
from vaezoo.utils.errors import PluginError, RegistryError, UsageError
from vaezoo.utils.files import encode_tensors


class Tiny(vaezoo.Features):
    """The projections of an image on some directions."""

    def __init__(self, *, width: int = 3) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width, 4))

    def forward(self, x):
        return x.flatten(1) @ self.weight.T


class Flat(Tiny):
    """Returns one number for all examples."""

    def forward(self, x):
        return x.sum()


WEIGHT = torch.arange(12.0).view(3, 4)


@pytest.fixture(autouse=True)
def _registered():
    vaezoo.register("features", "tiny-directions", Tiny)
    vaezoo.register("features", "flat-directions", Flat)


def write(folder, stored=None, **changes):
    """A registry with one feature extractor; ``changes`` of its entry."""
    tensors = {"weight": WEIGHT} if stored is None else stored
    data = b"".join(encode_tensors(tensors, {}))
    entry = {
        "id": "features/tiny@1",
        "title": "Directions",
        "published": "2026-01-01",
        "component": {"type": "tiny-directions"},
        "requires": ["vaezoo>=0.1"],
        "files": [
            {
                "name": "model.safetensors",
                "sha256": hashlib.sha256(data).hexdigest(),
                "size": len(data),
                "sources": ["weights/tiny.safetensors"],
            }
        ],
        "tensors": {
            "count": len(tensors),
            "parameters": sum(each.numel() for each in tensors.values()),
            "sha256": safetensors_header.fingerprint(tensors),
        },
        "preprocessing": {"shape": [1, 2, 2], "support": "unit"},
        "training": {"command": "none", "hardware": "cpu", "seconds": 0.0, "versions": "torch"},
        "licence": {"weights": "Apache-2.0", "data": "none"},
        "citation": "nobody",
    }
    (folder / "weights").mkdir(parents=True, exist_ok=True)
    (folder / "weights" / "tiny.safetensors").write_bytes(data)
    content = {"registry": "vaezoo/weights/v1", "entries": [], "features": [entry | changes]}
    (folder / "registry.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder


@pytest.fixture
def lab(tmp_path):
    return write(tmp_path / "lab")


def load(folder):
    return vaezoo.load_features("lab:features-tiny", registry=folder)


def test_a_call_maps_examples_to_features(lab):
    features = load(lab)
    x = torch.rand(5, 1, 2, 2)
    torch.testing.assert_close(features(x), x.flatten(1) @ WEIGHT.T)
    assert (features.name, features.tag) == ("lab:features/tiny@1", "tiny")
    assert (features.shape, features.support) == ((1, 2, 2), "unit")
    assert not features.training and not any(p.requires_grad for p in features.parameters())
    assert torch.equal(features.extract(torch.cat([x] * 500))[-5:], features(x))


def test_only_data_of_its_shape_and_values_is_read(lab):
    features = load(lab)
    for support in ("unit", "binary"):
        features.check_data(vaezoo.DataSpec((1, 2, 2), support))
    for data in (vaezoo.DataSpec((1, 2, 3), "unit"), vaezoo.DataSpec((1, 2, 2), "real")):
        with pytest.raises(
            NotImplementedError, match=r"reads examples of shape \(1, 2, 2\), unit"
        ):
            features.check_data(data)


@pytest.mark.parametrize(
    ("stored", "changes", "says"),
    [
        ({"weight": torch.full((3, 4), torch.nan)}, {}, "NaN"),
        ({"weights": WEIGHT}, {}, "missing weight; unexpected weights"),
        ({"weight": WEIGHT[:2]}, {}, r"weight is \(2, 4\), expected \(3, 4\)"),
        (None, {"component": {"type": "tiny-directions", "width": 10**9}}, "too large"),
        (None, {"component": {"type": "tiny-directions", "width": -1}}, "non-negative"),
        (None, {"component": {"type": "tiny-directions", "depth": 1}}, "unknown key"),
        (None, {"component": {"type": "tiny-direction"}}, "did you mean 'tiny-directions'"),
        (None, {"component": {}}, "names the features"),
        (None, {"status": "revoked", "reason": "wrong"}, "was revoked: wrong"),
        (None, {"tensors": {"count": 1, "parameters": 13, "sha256": "0" * 64}}, "13 numbers"),
    ],
)
def test_what_is_not_as_declared_is_refused(stored, changes, says, tmp_path):
    with pytest.raises(RegistryError, match=says):
        load(write(tmp_path / "lab", stored, **changes))


def test_damaged_bytes_are_refused(lab):
    path = lab / "weights" / "tiny.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(RegistryError, match="is not what the registry declares"):
        load(lab)


def test_a_missing_plugin_is_named_with_the_command(tmp_path):
    with pytest.raises(PluginError, match="pip install 'vaezoo-birds>=1'"):
        load(write(tmp_path / "lab", requires=["vaezoo-birds>=1"]))


def test_what_is_no_vector_for_each_example_is_refused(tmp_path):
    features = load(write(tmp_path / "lab", component={"type": "flat-directions"}))
    with pytest.raises(ValueError, match=r"features of 2 examples have shape \(\)"):
        features.extract(torch.rand(2, 1, 2, 2))


def test_a_model_and_features_are_not_taken_for_each_other(lab):
    with pytest.raises(UsageError, match=r"is a feature extractor, no model"):
        vaezoo.load("features/mnist@1")
    with pytest.raises(UsageError, match=r"is a model, no feature extractor"):
        vaezoo.load_features("vae-mnist-conv")
    with pytest.raises(UsageError, match="did you mean features/mnist"):
        vaezoo.load_features("features-mnst")
    with pytest.raises(UsageError, match="no weights named 'features-mnst'"):
        vaezoo.load("features-mnst")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"files": []}, r"features.0.files: must be a list of 1 or more"),
        ({"component": None}, r"features.0.component: must be"),
        ({"metrics": []}, r"features.0.metrics: unknown key"),
        ({"status": "deprecated", "successor": "features/tiny@2"}, "which is not listed"),
    ],
)
def test_faults_of_an_entry_are_named(changes, says, tmp_path):
    folder = write(tmp_path / "lab", **changes)
    with pytest.raises(RegistryError, match=says):
        load(folder)


def call(*words):
    return cli.main(["weights", *words], prog_name="vaezoo", standalone_mode=False)


def test_commands_know_them(lab, monkeypatch, capfd):
    monkeypatch.setenv("VAEZOO_REGISTRIES", str(lab))
    assert call("list") == 0 and "lab:features/tiny@1  " in capfd.readouterr().out
    assert call("list", "--metric", "elbo") == 0
    assert "features/" not in capfd.readouterr().out
    call("show", "lab:features-tiny")
    assert 'load_features("lab:features-tiny")  # maps [N, 1, 2, 2]' in capfd.readouterr().out
    assert call("verify", "lab:features-tiny", "--metrics") == 0
    call("pull", "lab:features-tiny")
    assert capfd.readouterr().err.count("verified") == 2


def test_the_cache_keeps_their_files(lab, home, monkeypatch):
    monkeypatch.setenv("VAEZOO_REGISTRIES", str(lab))
    (registry,) = (each for each in open_registries() if each.prefix == "lab")
    (file,) = registry.features[0].files
    path = Cache().path(file.sha256)
    path.parent.mkdir(parents=True)
    path.write_bytes((lab / "weights" / "tiny.safetensors").read_bytes())
    call("gc")
    assert path.is_file()


def test_publishing_a_model_keeps_them(lab, small_run, about):
    before = parse_registry((lab / "registry.yaml").read_bytes(), "x").features
    publish(open_run(small_run), "vae/small@1", lab, about)
    content = parse_registry((lab / "registry.yaml").read_bytes(), "x")
    assert content.features == before and len(content.entries) == 1
    with pytest.raises(UsageError, match="already exists"):
        publish(open_run(small_run), "features/tiny@1", lab, about)


def test_an_index_keeps_them(lab, small_run, about, monkeypatch):
    monkeypatch.setattr("vaezoo.runs.registry_file.MAX_ENTRIES", 0)
    publish(open_run(small_run), "vae/small@1", lab, about)
    content = parse_registry((lab / "registry.yaml").read_bytes(), "x")
    assert content.index is not None and len(content.features) == 1
    assert torch.equal(load(lab).weight, WEIGHT)
    vaezoo.load("lab:vae-small", registry=lab)
