"""What is on the screen while commands work and afterwards, and what they print into a pipe."""

from __future__ import annotations

import io
import os
import re
import shlex
import signal
import subprocess
import sys
import warnings
from functools import partial

import click
import numpy as np
import pytest

from tests.cli.terminal import Screen, run_in_terminal
from tests.commands import run_forked
from vaezoo.cli.bottom_line import BottomLine
from vaezoo.cli.main import _print_warning
from vaezoo.cli.output import print_to_stderr
from vaezoo.cli.progress import suite_progress, training_progress

SPEC = """\
spec: vaezoo/v2
name: small
data: {type: npz, path: x.npz, batch_size: 16}
model: {latent_dim: 2, encoder: mlp, decoder: mlp, likelihood: bernoulli}
train: {epochs: 3, log_every: 1, device: cpu}
evaluate: [elbo]
"""
UNSET = ("NO_COLOR", "CI", "COLUMNS", "FORCE_COLOR")
TERMINAL = "xterm-256color"
VAEZOO = [sys.executable, "-m", "vaezoo"]
REMNANTS = re.compile(r"\d%|ETA|working|[━╸╺]")


@pytest.fixture
def folder(tmp_path):
    x = np.random.default_rng(0).random((40, 1, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x, condition=np.arange(40) % 4)
    (tmp_path / "small.yaml").write_text(SPEC)
    return tmp_path


def environment(**variables):
    kept = {name: value for name, value in os.environ.items() if name not in UNSET}
    return {**kept, "OMP_NUM_THREADS": "1", "TERM": TERMINAL, **variables}


def records(epochs, steps_per_epoch=2, log_every=1, **fields):
    """The records of a training, one at each step and a validation after each epoch."""
    total = epochs * steps_per_epoch
    for step in range(1, total + 1):
        position = {"step": step, "steps": total, "epoch": step / steps_per_epoch, **fields}
        metrics = {"elbo": -98.123 + step / total, "rate": 9.5, "distortion": 107.6}
        if step % log_every == 0 or step % steps_per_epoch == 0:
            yield {**position, "split": "train", **metrics, "examples_per_second": 12345.6}
        if step % steps_per_epoch == 0:
            yield {**position, "split": "validation", **metrics, "best": True}


class Terminal(io.TextIOWrapper):
    """A stream that says that it is a terminal."""

    def __init__(self, encoding="utf-8"):
        super().__init__(io.BytesIO(), encoding=encoding, errors="backslashreplace", newline="")

    def isatty(self):
        return True

    def written(self):
        self.flush()
        return self.buffer.getvalue().decode().replace("\n", "\r\n")


@pytest.fixture
def terminal(monkeypatch):
    def open_terminal(width, encoding="utf-8", **variables):
        stream = Terminal(encoding)
        monkeypatch.setattr(sys, "stderr", stream)
        for name in set(os.environ) - set(environment()):
            monkeypatch.delenv(name)
        for name, value in environment(COLUMNS=str(width), **variables).items():
            monkeypatch.setenv(name, value)
        return stream

    return open_terminal


def show(fed, between=lambda: None):
    """Shows records as a command does, and calls a function after each."""
    ctx = click.Context(click.Command("run"), obj={"quiet": False})
    with training_progress(ctx) as callbacks:
        for callback in callbacks:
            callback.start(0)
        for record in fed:
            for callback in callbacks:
                callback.log(record)
                if hasattr(callback, "line"):
                    callback.line.live.refresh()
            between()
        for callback in callbacks:
            callback.close()
    print_to_stderr("end")


@pytest.mark.parametrize("fields", [{}, {"stage": "second-prior"}])
@pytest.mark.parametrize("width", [10, 20, 30, 40, 60, 80, 120, 200])
def test_the_bar_fits_every_terminal_and_is_erased(terminal, width, fields):
    stream = terminal(width)
    show(records(4, **fields))
    screen = Screen(stream.written(), width)
    assert screen.lines == ["end", ""] and screen.is_cursor_visible
    assert max(map(len, screen.bottom_lines)) <= width - 2, "^C must fit behind the line"
    # a line that wrapped would leave its first part above the line that is erased
    bars = [line for line in screen.bottom_lines if "%" in line]
    assert len(bars) >= 4
    if width >= 80:
        shown = r"ETA .:..:.. .*epoch 2\.0  elbo -97\.62"
        assert any(re.search(shown, line) and " 50%" in line and "━━━" in line for line in bars)
        assert all(re.search(r"val(idation)? -97\.12", line) for line in bars[-1:])
        assert all(fields.get("stage", "") in line for line in bars[1:])
    if width >= 40:
        assert all("elbo" in line for line in bars[1:])


def test_warnings_and_lines_appear_above_the_bar_in_one_piece(terminal, monkeypatch):
    stream, command = terminal(60), "vaezoo resume " + "long/" * 30
    monkeypatch.setattr(warnings, "showwarning", partial(_print_warning, set()))

    def between():
        print_to_stderr(command)
        print("said by a plugin", file=sys.stderr)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("beware")

    show(records(1), between)
    text = stream.written()
    lines = [line for line in Screen(text, 1000).lines if line]
    said = [command, "said by a plugin"]
    assert lines == [*said, "warning: beware", *said, *said, "end"], "a warning is printed once"
    assert command in text, "a line that rich breaks cannot be copied"


@pytest.mark.parametrize("width", [10, 30, 60, 80, 200])
def test_the_runs_of_a_suite_are_counted(terminal, width, monkeypatch):
    stream, lines = terminal(width), []
    monkeypatch.setattr(
        "vaezoo.cli.progress.BottomLine", lambda: lines.append(BottomLine()) or lines[0]
    )
    ctx = click.Context(click.Command("bench"), obj={"quiet": False})
    with suite_progress(ctx) as show_runs:
        for done, running in ((0.0, []), (1.5, ["vae seed 1 25%", "iwae seed 0 25%"])):
            show_runs(done, 4, running)
            lines[0].live.refresh()
    print_to_stderr("end")
    screen = Screen(stream.written(), width)
    assert screen.lines == ["end", ""] and screen.is_cursor_visible
    assert max(map(len, screen.bottom_lines)) <= width - 2
    if width >= 60:
        assert any("1 of 4 runs" in line for line in screen.bottom_lines)
    whole = "1 of 4 runs  vae seed 1 25%  iwae seed 0 25%"
    assert any(whole in line for line in screen.bottom_lines) == (width >= 80)


def test_colours_are_left_out_where_they_are_not_wanted_and_readable_elsewhere(terminal):
    def colours(**variables):
        stream = terminal(80, **variables)
        show(records(2))
        return {
            code
            for codes in re.findall(r"\x1b\[([\d;]+)m", stream.written())
            for code in codes.split(";")
        }

    assert colours() & {"35", "31", "32"}
    assert not colours() & {"33", "93", "37", "97", "30", "90"}, "yellow, white, black or grey"
    assert not {code for code in colours(NO_COLOR="1") if int(code) >= 30}


def test_an_ascii_terminal_gets_ascii(terminal):
    stream = terminal(80, encoding="ascii")
    show(records(4))
    text = stream.written()
    assert text.isascii() and "\\u" not in text
    assert any(re.search(r"50% -+ -* *ETA", line) for line in Screen(text, 80).bottom_lines)


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"CI": "true"}])
def test_terminals_that_cannot_redraw_and_ci_get_plain_lines(terminal, variables):
    stream = terminal(80, **variables)
    show(records(3))
    text = stream.written()
    assert "\x1b" not in text and text.count("\r") == text.count("\r\n") == 7
    assert "step 6 of 6 (100%)  epoch 3.0  elbo -97.12" in text


@pytest.mark.parametrize("log_every", [1, 3, 50])
@pytest.mark.parametrize("epochs", [1, 3, 300])
@pytest.mark.parametrize("steps_per_epoch", [1, 70])
def test_outside_of_a_terminal_about_ten_lines_are_printed(
    capsys, epochs, steps_per_epoch, log_every
):
    show(records(epochs, steps_per_epoch, log_every))
    *lines, end = capsys.readouterr().err.splitlines()
    assert end == "end" and 1 <= len(lines) <= 11 and len(set(lines)) == len(lines)
    total = epochs * steps_per_epoch
    assert lines[-1].startswith(f"step {total} of {total} (100%)  epoch {epochs}.0  elbo -97.12")
    assert lines[-1].endswith("validation elbo -97.12 best")
    if total >= 300:
        percentages = [int(re.search(r"\((\d+)%\)", line)[1]) for line in lines]
        gaps = np.diff([0, *percentages])
        assert max(gaps) <= 10 + 100 * log_every / total + 1, percentages


def test_a_pipe_gets_a_handful_of_lines_whatever_the_number_of_epochs(folder):
    for epochs in (3, 300):
        words = ("run", "small.yaml", "-s", f"train.epochs={epochs}")
        done = run_forked(*words, cwd=folder, **dict.fromkeys(UNSET), TERM=TERMINAL)
        assert done.returncode == 0, done.stderr
        lines = done.stderr.splitlines()
        assert re.fullmatch(r"run runs/small/[\d-]+", lines[0]) and "32 train" in lines[1]
        assert "on cpu" in lines[2]
        assert 1 <= sum(line.startswith("step ") for line in lines[3:]) <= 11
        assert len(lines) <= 3 + 11 + 2 + 5
        assert not re.search(r"[\r\x1b]", done.stderr + done.stdout)


def test_a_finished_run_leaves_a_clean_screen_and_commands_that_work(folder):
    # the commands are longer than the terminal is wide
    out = folder / ("far " * 20)
    code, text = run_in_terminal(
        # long enough for a bar, which is drawn four times a second
        [*VAEZOO, "run", "small.yaml", "--out", out, "-s", "train.epochs=150"],
        60,
        cwd=folder,
        env=environment(),
    )
    screen = Screen(text, 60)
    assert code == 0 and screen.is_cursor_visible
    bars = [line for line in screen.bottom_lines if "%" in line]
    assert bars and max(map(len, bars)) <= 58
    assert not [line for line in screen.lines if REMNANTS.search(line)]
    commands = [line[2:] for line in text.splitlines() if line.startswith("  vaezoo ")]
    assert [command.split()[1] for command in commands] == ["sample", "score", "evaluate"]
    assert shlex.split(commands[0])[2].startswith(str(out)) and "samples.png" in commands[0]
    for command in commands:
        assert run_forked(*shlex.split(command)[1:], cwd=folder).returncode == 0
    assert (folder / "samples.png").is_file() and (folder / "scores.csv").is_file()


def test_ctrl_c_leaves_a_clean_screen_and_the_command_to_resume(folder):
    code, text = run_in_terminal(
        [*VAEZOO, "run", "small.yaml", "-s", "train.epochs=100000"],
        60,
        press_ctrl_c_at="elbo",
        cwd=folder,
        env=environment(),
    )
    screen = Screen(text, 60)
    assert code == 130 and screen.is_cursor_visible
    assert not [line for line in screen.lines if REMNANTS.search(line) or "^C" in line]
    (run,) = (folder / "runs/small").iterdir()
    assert f"  vaezoo resume {run.relative_to(folder)}" in screen.lines
    assert sum(line.startswith("error: stopped at step ") for line in screen.lines) == 1


def test_an_error_leaves_a_clean_screen_and_says_what_to_do(folder):
    code, text = run_in_terminal(
        [
            *VAEZOO,
            "run",
            "small.yaml",
            "-s",
            "train.epochs=200",
            "-s",
            "train.optimizer={type: sgd, lr: 1e9}",
        ],
        80,
        cwd=folder,
        env=environment(NO_COLOR="1"),
    )
    screen = Screen(text, 80)
    assert code == 1 and screen.is_cursor_visible and "Traceback" not in text
    assert not [line for line in screen.lines if REMNANTS.search(line)]
    assert "what usually helps: a smaller train.optimizer.lr" in "".join(screen.lines)


@pytest.mark.parametrize("moment", ["evaluating the weights", "drawing the report"])
def test_a_kill_after_training_names_the_command_to_resume(folder, moment):
    slow = (
        "import time, vaezoo.runs.run as run\n"
        "import vaezoo.runs.report.page as page\n"
        "run.Run.evaluate = lambda *_: time.sleep(60)\n"
    )
    if moment == "drawing the report":
        slow = slow.replace("run.Run.evaluate = lambda *_", "page.write_report = lambda *_")
    code = f"{slow}\nfrom vaezoo.cli.main import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "run", "small.yaml"],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        lines = iter(process.stderr)
        assert any(moment in line for line in lines)
        process.send_signal(signal.SIGTERM)
        rest = "".join(lines)
    (run,) = (folder / "runs/small").iterdir()
    assert process.returncode == 130
    assert rest == f"error: stopped by SIGTERM\n  vaezoo resume {run.relative_to(folder)}\n"
