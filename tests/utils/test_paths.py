"""Paths of users whom the system does not know, such as those of containers."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest

import vaezoo
from vaezoo.cli.main import main
from vaezoo.pretrained.locations import _parse_location
from vaezoo.utils import paths
from vaezoo.utils.errors import DataError, SpecError, UnavailableError, UsageError
from vaezoo.utils.paths import cache_home, expand_user, find_data, shell_word


@pytest.fixture
def nobody(monkeypatch):
    """A process without HOME whose user has no entry."""

    def unknown(*_):
        raise KeyError("no such user")

    for name in ("HOME", "VAEZOO_HOME", "USERPROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(pwd, "getpwnam", unknown)


def exit_code(*words):
    with pytest.raises(SystemExit) as end:
        main(list(words))
    return end.value.code


@pytest.mark.parametrize("path", ["~/data", "~nosuchuser/data"])
def test_a_home_that_is_not_known_stays_as_it_is(nobody, path):
    assert expand_user(path) == Path(path)
    _parse_location(f"{path}/registry.yaml")  # which is found to be missing when it is read
    with pytest.raises(vaezoo.DataError, match="no ~"):
        find_data(path)


def test_the_cache_names_the_variable_to_set(nobody, monkeypatch, tmp_path):
    with pytest.raises(UnavailableError, match="set VAEZOO_HOME"):
        cache_home()
    monkeypatch.setenv("VAEZOO_HOME", str(tmp_path))
    assert cache_home() == tmp_path


@pytest.mark.parametrize("home", ["~nosuchuser/cache", "~/cache"])
def test_no_folder_named_like_a_user_is_created(nobody, monkeypatch, tmp_path, home):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAEZOO_HOME", home)
    with pytest.raises(UnavailableError, match="is not known"):
        cache_home()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("plugins",), 0),
        (("weights", "list", "--registry", "~nosuchuser/registry.yaml"), 5),
        (("weights", "list", "--registry", "mine=~nosuchuser/registry.yaml"), 5),
        (("validate", "~nosuchuser/spec.yaml"), 3),
        (("resume", "~nosuchuser/run"), 2),
        (("weights", "show", "vae-mnist"), 0),
    ],
)
def test_commands_of_an_unknown_user_end_in_a_line(nobody, words, code, capsys):
    assert exit_code(*words) == code
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "path",
    ["plain/path-1", "a b'c\"$d", b"out\xff/'\\ x", "line\nend\t", "Köln/\u202e", b"\xc3\x28"],
)
def test_a_shell_takes_the_word_for_a_path_and_a_terminal_shows_it(path):
    word = shell_word(os.fsdecode(path))
    assert word.isprintable()
    echoed = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True).stdout
    assert echoed == os.fsencode(path)


LONG = "x" * 300


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (lambda: paths.find_data(LONG), DataError),
        (lambda: vaezoo.open_run(LONG), UsageError),
        (lambda: vaezoo.resume(LONG), UsageError),
        (lambda: vaezoo.load("a:vae", registry=f"a={LONG}"), UnavailableError),
        (lambda: vaezoo.load_spec(LONG), SpecError),
    ],
    ids=["data", "open_run", "resume", "registry", "spec"],
)
def test_a_name_that_is_too_long_is_that_of_no_file(action, error):
    with pytest.raises(error) as caught:
        action()
    assert LONG in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("look", [paths.exists, paths.is_file, paths.is_folder])
def test_what_the_operating_system_hides_is_not_found(look, monkeypatch, tmp_path):
    def refuse(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    assert look(tmp_path) == (look is not paths.is_file)
    monkeypatch.setattr(Path, "stat", refuse)
    assert not look(tmp_path)


@pytest.mark.parametrize("words", [("run", "{path}"), ("bench", "{path}"), ("validate", "{path}")])
def test_a_spec_that_never_ends_is_read_no_further_than_specs_may_be_long(words, capsys):
    assert exit_code(*(word.format(path="/dev/zero") for word in words)) == 3
    assert "/dev/zero:1:1: larger than 64 KiB" in capsys.readouterr().err


def test_a_registry_that_never_ends_is_read_no_further_than_registries_may_be_long(
    capsys, monkeypatch
):
    monkeypatch.setenv("VAEZOO_REGISTRIES", "")  # which the option adds to, for the process
    assert exit_code("weights", "show", "dev:a/b", "--registry", "/dev/zero") == 4
    assert "/dev/zero: larger than 256 KiB" in capsys.readouterr().err


def test_data_that_is_a_device_or_a_pipe_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
    for path in ("/dev/zero", str(tmp_path / "pipe")):
        with pytest.raises(vaezoo.DataError, match="is no file or folder, but a device, pipe"):
            find_data(path)
