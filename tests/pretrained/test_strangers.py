"""Whatever a stranger's registry, spec or header says is refused in one line, or is harmless."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import subprocess
from html import unescape

import pytest
import torch
from markdown_it import MarkdownIt
from safetensors.torch import load_file, save_file

from vaezoo.nn.loading import check_finite
from vaezoo.pretrained.card import card, gallery, usage_example
from vaezoo.pretrained.finding import find_entry
from vaezoo.pretrained.model_header import read_model_header
from vaezoo.runs import checking
from vaezoo.runs.opening import open_run
from vaezoo.runs.publishing import publish
from vaezoo.spec.load import load_spec
from vaezoo.utils.errors import IntegrityError, PluginError, RegistryError, SpecError
from vaezoo.utils.tensor_limit import TensorLimit, TooManyNumbersError

from .conftest import load, rewrite
from .test_entry import entry, parsed
from .test_loading import damage
from .test_publishing import call

DIGITS = "1" * 5000
HUGE = 10**12


def one_line(error, *words):
    message = str(error.value)
    assert "\n" not in message and len(message) < 2000
    assert all(word in message for word in words)


@pytest.mark.parametrize(
    "text",
    [
        f"vaezoo>={DIGITS}",
        f"vaezoo=={DIGITS}.*",
        f"vaezoo; python_version > '{DIGITS}'",
        "vaezoo;" + "(" * 5000 + "os_name == 'x'" + ")" * 5000,
        "vaezoo>=0." + "1." * 3000 + "1",
        "vaezoo; os_name == '\x9b2J'",
        "vaezoo; os_name == '\u202e'",
    ],
)
def test_a_requirement_that_nobody_can_compare_is_refused(text):
    with pytest.raises(RegistryError, match="a package and its versions"):
        parsed(entry(requires=[text]))
    spec = {"spec": "vaezoo/v2", "name": "a", "requires": [text], "data": "digits"}
    with pytest.raises(SpecError, match="is not a package and its versions"):
        load_spec(spec)


@pytest.mark.parametrize(
    "train_size",
    [*"Infinity -Infinity NaN 1e999 -1 0 1.5 true null []".split(), '"5"', DIGITS],  # noqa: SIM905
)
def test_a_number_of_examples_that_is_none_is_refused(train_size):
    about = f'{{"data": {{"shape": [3], "support": "real"}}, "train_size": {train_size}}}'
    with pytest.raises(IntegrityError, match="does not describe a vaezoo model") as caught:
        read_model_header({"about": about, "vaezoo": "model/v2"}, "here")
    one_line(caught)


@pytest.mark.parametrize(
    "about",
    [
        "[" * 100_000,
        '{"data": ' + "[" * 100_000 + "]" * 100_000 + ', "train_size": 1}',
        '{"data": ' + '{"parts": {"a": ' * 20_000,
        '{"data": {"shape": [NaN]}, "train_size": 1}',
        '{"data": {"shape": [1e400]}, "train_size": 1}',
        '{"data": {"shape": [3], "support": "real", "extras": {"a": Infinity}}, "train_size": 1}',
        '{"data": {"shape": [3], "support": "real", "' + "x" * 50_000 + '": 1}, "train_size": 1}',
        '{"data": {"shape": [3], "support": "' + "x" * 50_000 + '"}, "train_size": 1}',
        "{}",
        "3",
        "",
    ],
    ids=range(11),
)
@pytest.mark.parametrize("file_format", ["model/v1", "model/v2"])
def test_a_description_of_no_model_is_refused(about, file_format):
    with pytest.raises(IntegrityError, match="does not describe a vaezoo model") as caught:
        read_model_header({"about": about, "vaezoo": file_format}, "here")
    one_line(caught)


def in_header(published, change):
    """Changes what the header of the weights says."""

    def write(path, before):
        path.write_bytes(before)
        tensors = load_file(path)
        metadata = json.loads(before[8 : 8 + int.from_bytes(before[:8], "little")])["__metadata__"]
        about = json.loads(metadata["about"])
        change(about)
        save_file(tensors, path, {**metadata, "about": json.dumps(about)})

    damage(published, write)


def in_spec(published, old, new):
    """Changes the spec of the entry, so that its hash is right again."""

    def write(path, before):
        assert old in before.decode()
        path.write_text(before.decode().replace(old, new))

    damage(published, write, published / "weights/vae-small-1/spec.yaml")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("prior: {type: standard-normal}", f"prior: {{type: mixture, components: {HUGE}}}"),
        ("latent_dim: 2", "latent_dim: 1000000"),
        ("hidden: [16]", f"hidden: [{HUGE}]"),
        ("hidden: [16]", f"hidden: [16, {HUGE}]"),
        ("hidden: [16]", "hidden: [" + ", ".join(["20000"] * 3) + "]"),
        ("hidden: [16]", "hidden: [" + ", ".join(["1"] * 1900) + "]"),
    ],
)
def test_a_spec_that_is_larger_than_its_weights_is_not_composed(published, old, new, monkeypatch):
    in_spec(published, old, new)
    created, count = [], TensorLimit._count

    def watch(self, size):
        count(self, size)
        created.append(size)

    monkeypatch.setattr(TensorLimit, "_count", watch)
    with pytest.raises(RegistryError, match="too large for its weights") as caught:
        load(published)
    one_line(caught, "lab:vae/small@1")
    assert sum(created) < 2**26


def test_examples_that_are_larger_than_the_weights_are_not_created(published):
    in_header(published, lambda about: about["data"].update(shape=[1, 2**24, 2**24]))
    rewrite(
        published, lambda text: text.replace("shape: [1, 8, 8]", "shape: [1, 16777216, 16777216]")
    )
    with pytest.raises(RegistryError, match="too large for its weights"):
        load(published)


def test_the_limit_counts_before_memory_is_taken_and_changes_nothing():
    def create():
        torch.manual_seed(0)
        return torch.randn(10), torch.nn.Linear(3, 4).weight, torch.zeros(2).new_ones(3)

    with TensorLimit(10_000, 50):
        inside = create()
    assert all(torch.equal(a, b) for a, b in zip(inside, create(), strict=True))
    for too_many in (
        lambda: torch.empty(2**50),
        lambda: torch.randn(2**30, 2**20, generator=torch.Generator()),
        lambda: torch.arange(2**50),
        lambda: torch.zeros(1).new_zeros(2**50),
        lambda: torch.zeros(1).repeat(2**25, 2**25),
        lambda: torch.nn.Linear(2**25, 2**25),
        lambda: [torch.zeros(1) for _ in range(100)],
    ):
        with pytest.raises(TooManyNumbersError), TensorLimit(10_000, 50):
            too_many()


@pytest.mark.parametrize(
    "error",
    [RecursionError("RecursionError"), MemoryError(), OverflowError("large"), KeyError("k")],
)
def test_a_component_that_fails_unexpectedly_is_the_registrys_fault(published, monkeypatch, error):
    def fail(*args):
        raise error

    monkeypatch.setattr("vaezoo.pretrained.loading.compose", fail)
    with pytest.raises(RegistryError, match=type(error).__name__) as caught:
        load(published)
    one_line(caught, "lab:vae/small@1")


@pytest.fixture
def broken(tmp_path):
    """The folder of a registry that is no YAML."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "registry.yaml").write_text("registry: [")
    return tmp_path / "broken"


def test_verify_goes_on_after_an_entry_or_a_registry_that_is_bad(
    published, broken, monkeypatch, capfd
):
    path = published / "registry.yaml"
    head, _, body = path.read_text().partition("- id: vae/small@1")
    path.write_text(f"{head}- id: vae/small@1{body}- id: vae/small@2{body}")
    monkeypatch.setattr("vaezoo.pretrained.locations.own_registry_path", lambda: path)
    verify, names = checking.verify, []

    def fail(entry):
        names.append(entry.name)
        if entry.name == "vae/small@1":
            raise PluginError("nobody foresaw this")
        return verify(entry)

    monkeypatch.setattr(checking, "verify", fail)
    code = call("weights", "verify", "--all", "--registry", broken)
    output = capfd.readouterr()
    assert names == ["vae/small@1", "vae/small@2"]
    assert "error: vae/small@1: nobody foresaw this" in output.err
    assert "error: registry broken: " in output.err and "error: 2 failed" in output.err
    assert "vae/small@2: " in output.err and "verified" in output.err
    assert code == 4, "damage is worse than a plugin that is missing"
    assert call("weights", "list", "--registry", broken) == 4
    output = capfd.readouterr()
    assert "vae/small@2" in output.out and "not valid YAML" in output.err


def test_gc_removes_nothing_where_a_registry_cannot_be_read(broken, home):
    """It does not know what that registry uses."""
    blob = home.path(hashlib.sha256(b"x").hexdigest())
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"x")
    with pytest.raises(RegistryError):
        call("weights", "gc", "--registry", broken)
    assert blob.exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("every", [False, True])
def test_weights_that_are_no_numbers_are_refused(published, value, every):
    def write(path, before):
        path.write_bytes(before)
        tensors = load_file(path)
        header = json.loads(before[8 : 8 + int.from_bytes(before[:8], "little")])["__metadata__"]
        for tensor in list(tensors.values())[: None if every else 1]:
            tensor.flatten()[-1] = value
        save_file(tensors, path, header)

    damage(published, write)
    for action in (lambda: load(published), lambda: checking.verify(lab_entry(published))):
        with pytest.raises(
            RegistryError, match=r"not finite: .*has (NaN|infinite) values"
        ) as caught:
            action()
        one_line(caught, "lab:vae/small@1")


def lab_entry(published):
    return find_entry("lab:vae/small@1", [str(published)])


def test_weights_that_are_no_numbers_are_not_published(small_run, tmp_path, about):
    run = open_run(small_run)
    with torch.no_grad():
        next(run.model.parameters()).fill_(float("nan"))
    with pytest.raises(IntegrityError, match="has NaN values"):
        publish(run, "vae/small@1", tmp_path / "lab", about)
    assert not (tmp_path / "lab" / "registry.yaml").exists()


def test_a_mask_of_a_buffer_may_be_infinite():
    module = torch.nn.Linear(2, 2)
    module.register_buffer("mask", torch.tensor([0.0, -float("inf")]))
    check_finite(module, "here")
    module.mask[0] = float("nan")
    with pytest.raises(IntegrityError, match="here: weights are not finite: mask has NaN values"):
        check_finite(module, "here")


NASTY = (
    'a"]); import os; os.system("x") # | <img src=x onerror=y> [b](javascript:c) `d` \\ *e* &lt;'
)


def nasty_entry(text=NASTY):
    raw = entry(
        title=text,
        citation=text,
        classes=["0", text],
        requires=["vaezoo>=0.1"],
        licence={"weights": text, "data": text},
        training=entry()["training"] | {"command": text, "hardware": text, "versions": text},
        preprocessing=entry()["preprocessing"]
        | {"data": text, "support": text, "output": text, "parts": {text: [1]}},
        metrics=[
            {"name": text, "value": 1.0, "unit": text, "data": text, "split": "test"}
            | {"examples": 1, "seed": 0, "spec_sha256": "0" * 64, "note": text}
        ],
        status="revoked",
        reason=text,
    )
    return parsed(raw)[0]


def test_texts_of_an_entry_are_shown_as_they_are_in_markdown():
    weights = nasty_entry()
    for page in (card(weights, ()), card(weights.model_copy(update={"status": "active"}), ())):
        html = MarkdownIt("commonmark", {"html": True}).enable("table").render(page)
        assert "<img" not in html and "href=" not in html.replace('href="spec.yaml"', "")
        assert "<em>" not in html
        shown = unescape(re.sub(r"<[^>]*>", "", html))
        in_python = page.count("vaezoo.load(")  # where quotes are escaped
        assert shown.count(NASTY) == page.count("onerror") - in_python
    active = weights.model_copy(update={"status": "active"})
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(gallery([active], {}))
    assert "<img" not in html and "href=" not in html
    for line in card(weights, ()).splitlines():
        if line.startswith("| ") and "value" not in line:
            assert len(re.findall(r"(?<!\\)\|", line)) in (3, 5)


@pytest.mark.parametrize("text", [NASTY, '"', "\\", "'", '\\"', "é", "\U0001f600", "{x}", "```"])
def test_a_class_in_python_for_pasting_is_one_literal(text):
    lines = usage_example(nasty_entry(text).model_copy(update={"status": "active"}))
    tree = ast.parse("\n".join(lines[1:-1]))
    (call,) = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.keywords]
    assert ast.literal_eval(call.keywords[0].value) == text
    assert len([node for node in ast.walk(tree) if isinstance(node, ast.Call)]) == 2


def test_a_pip_command_for_pasting_is_one_word_for_each_package(published):
    text = "nobody-has-this; python_version > '0' or os_name == '$(touch x)`id`'"
    rewrite(published, lambda old: old.replace("requires: [", f'requires: ["{text}", '))
    with pytest.raises(PluginError) as caught:
        load(published)
    command = str(caught.value).rpartition("; pip install ")[2]
    pasted = subprocess.run(["sh", "-c", f"printf %s {command}"], capture_output=True, text=True)
    assert pasted.stdout == text  # the shell replaced nothing


@pytest.mark.parametrize(
    "change",
    [
        {"title": "\x9b2J"},
        {"title": "\u202e"},
        {"classes": ["\x1b[2J"]},
        {"preprocessing": entry()["preprocessing"] | {"data": "a\n# b"}},
        {"preprocessing": entry()["preprocessing"] | {"output": "\u2028"}},
        {"preprocessing": entry()["preprocessing"] | {"parts": {"\u202e": [1]}}},
    ],
)
def test_texts_of_an_entry_are_lines_of_printable_characters(change):
    with pytest.raises(RegistryError):
        parsed(entry(**change))
