"""No traceback reaches the user of a command, whatever is raised and wherever."""

from __future__ import annotations

import pytest

from tests.commands import VAEZOO, run_forked
from vaezoo.utils.packaged import ROOT

SPEC = str(ROOT / "examples/vae-digits.yaml")
RAISE = "\nimport vaezoo.spec.load as load\ndef fail(*_):\n    {}\nload.load_spec = fail\n"


def call(code, *arguments):
    """Runs a command in a process in which something is broken."""
    return run_forked(*arguments, code=f"{code}\n{VAEZOO}")


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("raise MemoryError", "out of memory; use less data or a smaller model"),
        ("[0] * 10**15", "out of memory; use less data or a smaller model"),
        ("raise TypeError('a\\nb')", "TypeError: a b; vaezoo -v shows where it was raised"),
        ("raise AssertionError", "AssertionError; vaezoo -v shows where it was raised"),
        ("f = lambda: f(); f()", "RecursionError: maximum recursion depth exceeded; vaezoo -v"),
        ("raise OSError('odd')", "odd"),
        ("open('/absent/file')", "/absent/file: No such file or directory"),
    ],
)
def test_an_error_that_is_no_users_is_one_line(statement, message):
    done = call(RAISE.format(statement), "validate", SPEC)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and done.stderr.startswith(f"error: {message}")


@pytest.mark.parametrize("position", ["before", "behind"])
def test_verbose_shows_where_it_was_raised(position):
    words = ["-v", "validate", SPEC] if position == "before" else ["validate", SPEC, "-v"]
    done = call(RAISE.format("raise TypeError('odd')"), *words)
    assert done.returncode == 1 and "Traceback (most recent call last)" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: TypeError: odd")


def test_an_error_outside_of_the_command_is_one_line():
    done = call("import vaezoo.cli.main as m\ndef fail(*_):\n    1 / 0\nm.end = fail", "list")
    assert done.returncode == 1
    assert done.stderr == (
        "error: ZeroDivisionError: division by zero; vaezoo -v shows where it was raised\n"
    )


def test_an_error_at_the_import_of_a_command_is_one_line():
    done = call("import sys; sys.modules['vaezoo.cli.components'] = None", "list")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ModuleNotFoundError: import of vaezoo.cli.components")


def test_an_error_in_a_thread_or_a_destructor_shows_no_traceback():
    code = (
        "import threading, vaezoo.cli.main as m; old = m.leave_to_main_process\n"
        "class Odd:\n    def __del__(self): 1 / 0\n"
        "def fail(ctx):\n"
        "    Odd(); thread = threading.Thread(target=lambda: {}['key'])\n"
        "    thread.start(); thread.join(); old(ctx)\n"
        "m.leave_to_main_process = fail"
    )
    done = call(code, "list", "encoder")
    assert done.returncode == 0 and "mlp" in done.stdout
    assert done.stderr == "error: KeyError: 'key'; vaezoo -v shows where it was raised\n"


@pytest.mark.parametrize(
    "words",
    [
        ("-q", "weights", "list"),
        ("weights", "-q", "list"),
        ("weights", "list", "--quiet"),
        ("validate", SPEC, "-q"),
        ("list", "encoder", "-v", "-q"),
    ],
    ids=" ".join,
)
def test_shared_options_stand_before_or_behind_a_command(words):
    code = (
        "import vaezoo.cli.main as m; call = m._call\n"
        "def noted(args, state):\n    result = call(args, state); print(state); return result\n"
        "m._call = noted"
    )
    done = call(code, *words)
    assert done.returncode == 0, done.stderr
    assert "'quiet': True" in done.stdout
    assert ("'verbose': True" in done.stdout) == ("-v" in words)


def test_a_plugin_is_disabled_before_or_behind_a_command():
    listed = call("", "list", "dataset").stdout
    assert "vaezoo-mnist" in listed
    for words in (
        ("--no-plugin", "vaezoo-mnist", "list", "dataset"),
        ("list", "dataset", "--no-plugin", "vaezoo-mnist"),
    ):
        done = call("", *words)
        assert done.returncode == 0 and "vaezoo-mnist" not in done.stdout, done.stderr
