"""Nothing that strangers wrote reaches a terminal as a character that acts on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vaezoo.cli import output
from vaezoo.cli.main import main
from vaezoo.spec.load import load_spec
from vaezoo.spec.tree import parse
from vaezoo.utils.errors import (
    DataError,
    SpecError,
    UnavailableError,
    UsageError,
    VaezooError,
    print_error,
    printable_lines,
)

ACTING = ["\x1b[2J", "\x9b2J", "\u202e", "\x07", "\r", "\x85", "\u2028", "\u2066", "\x7f", "\x08"]
HEAD = "spec: vaezoo/v2\nname: tiny\n"
MODEL = "model: {latent_dim: 2, encoder: mlp, decoder: mlp, likelihood: bernoulli}\n"


def command(capfd, *words):
    """What a command printed on stdout and stderr, and its exit code."""
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    printed = capfd.readouterr()
    for text in (printed.out, printed.err):
        assert all(character.isprintable() or character == "\n" for character in text), text
    return printed.out, printed.err, caught.value.code


@pytest.mark.parametrize("acting", ACTING)
@pytest.mark.parametrize("kind", [VaezooError, UsageError, UnavailableError, DataError])
def test_the_message_of_an_error_has_no_acting_character(acting, kind, capfd):
    error = kind(f"no {acting} here")
    assert str(error) == f"no {ascii(acting)[1:-1]} here"
    print_error(f"one {acting}\ntwo")
    printed = capfd.readouterr().err
    assert printed.splitlines() == [f"error: one {ascii(acting)[1:-1]}", "error: two"]


def test_lines_of_messages_and_commands_stay_lines():
    assert str(VaezooError("one\n  vaezoo run é ±")) == "one\n  vaezoo run é ±"
    assert printable_lines("a\n\nb\n") == "a\n\nb\n"


@pytest.mark.parametrize("tag", ["!<%1B[2J>", "!<%C2%9B2J>", "!<%E2%80%AE>", "!%07"])
def test_a_tag_is_quoted_without_what_it_encodes(tag, tmp_path, capfd):
    (tmp_path / "spec.yaml").write_text(f"{HEAD}data: {tag} digits\n{MODEL}")
    with pytest.raises(SpecError):
        parse(f"a: {tag} b", "here")
    for words in (("validate",), ("run", "--dry-run"), ("validate", "--json")):
        out, err, code = command(capfd, words[0], tmp_path / "spec.yaml", *words[1:])
        assert code == 3 and "not allowed" in out + err


@pytest.mark.parametrize(
    "line",
    [
        'data: "dig\\e[2Jits"',
        'data: {type: npz, path: "\\u202e.npz"}',
        'data: {type: torchvision, name: "\\x9b"}',
        'data: digits\nrequires: ["vaezoo\\u202e"]',
        'data: digits\nextends: "./\\e[2J.yaml"',
        'data: digits\n"ke\\u202ey": 1',
        'data: digits\ntrain: {epochs: "\\x9b"}',
        'data: digits\ninit: [{from: "\\e[2J"}]',
    ],
)
def test_texts_of_a_spec_are_quoted_without_what_they_hold(line, tmp_path, capfd):
    (tmp_path / "spec.yaml").write_text(f"{HEAD}{line}\n{MODEL}")
    _, err, code = command(capfd, "run", "--dry-run", tmp_path / "spec.yaml")
    assert code in (1, 3, 5) and err.startswith("error: ")
    command(capfd, "-v", "run", "--dry-run", tmp_path / "spec.yaml", "-s", "seed=\x9b")


@pytest.mark.parametrize("acting", ACTING)
def test_names_on_the_command_line_are_quoted_without_what_they_hold(acting, tmp_path, capfd):
    for words in (
        ("validate", tmp_path / f"{acting}.yaml"),
        ("weights", "show", f"a{acting}"),
        ("weights", "show", f"{acting}:a"),
        ("show", "encoder", f"a{acting}"),
        (f"a{acting}",),
        ("run", f"--a{acting}"),
        ("sample", f"./{acting}"),
    ):
        _, err, code = command(capfd, *words)
        assert code and ascii(acting)[1:-1] in err


@pytest.mark.parametrize("acting", ACTING)
def test_what_commands_print_acts_on_no_terminal(acting, capfd):
    text = f"a{acting}b"
    output.echo(text)
    output.print_to_stderr(text)
    output.table(("name",), [(text,)])
    output.print_json({"file": text, "é": "\U0001f600"})
    printed = capfd.readouterr()
    for part in (printed.out, printed.err):
        assert all(character.isprintable() or character == "\n" for character in part)
    document = json.loads("{" + printed.out.partition("{")[2])
    assert document["file"] == text and document["é"] == "\U0001f600"


def test_no_command_prints_past_the_function_that_escapes():
    folder = Path(output.__file__).parent
    for path in folder.glob("*.py"):
        expected = 2 if path.name == "output.py" else 0
        assert path.read_text("utf-8").count("click.echo(") == expected, path
        assert "click.secho" not in path.read_text("utf-8")


def test_a_spec_error_of_python_has_no_acting_character():
    with pytest.raises(SpecError) as caught:
        load_spec({"spec": "vaezoo/v2", "name": "a\u202eb", "data": "\x9b"})
    assert str(caught.value).replace("\n", "").isprintable()
