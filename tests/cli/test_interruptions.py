"""Ctrl-C and SIGTERM at every moment of a command: exit code 130, and never a traceback.

Moments are chosen by what the process does, not by time: each test sends the signal from within.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.commands import VAEZOO, run_forked

AT_IMPORT = """
import os, signal, sys
class Moment:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["MOMENT"]:
            os.kill(os.getpid(), int(os.environ["SIGNAL"]))
sys.meta_path.insert(0, Moment())
"""
PROLOGUE = """
import atexit, os, signal, sys
def interrupt(*_, **__):
    os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.fixture
def small(tmp_path):
    mlp = {"type": "mlp", "hidden": [8]}
    content = {
        "spec": "vaezoo/v2",
        "name": "small",
        "data": {"type": "digits", "batch_size": 256},
        "model": {"latent_dim": 2, "encoder": mlp, "decoder": mlp, "likelihood": "bernoulli"},
        "train": {"steps": 3},
        "evaluate": ["elbo"],
    }
    (tmp_path / "small.yaml").write_text(json.dumps(content))
    return tmp_path


def call(folder, *command, **environment):
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", **environment},
        timeout=120,
    )


def with_code(folder, code, *arguments):
    return run_forked(*arguments, code=f"{PROLOGUE}{code}\n{VAEZOO}", cwd=folder)


def check_resumable(folder, done):
    """The run is named with the command that resumes it, which works."""
    (run,) = (folder / "runs/small").iterdir()
    assert done.stderr.splitlines()[-1] == f"  vaezoo resume {run.relative_to(folder)}"
    assert run_forked("-q", "resume", run, cwd=folder).returncode == 0


@pytest.mark.parametrize(
    ("module", "number"),
    [
        ("vaezoo.cli.main", signal.SIGINT),
        ("click", signal.SIGINT),
        ("torch", signal.SIGINT),
        ("torch", signal.SIGTERM),
        ("sklearn", signal.SIGINT),
    ],
)
def test_an_import_is_interrupted(small, module, number):
    (small / "sitecustomize.py").write_text(AT_IMPORT)
    done = call(
        small,
        *("-m", "vaezoo", "run", "small.yaml"),
        MOMENT=module,
        SIGNAL=str(int(number)),
        PYTHONPATH=str(small),
    )
    reason = "interrupted" if number == signal.SIGINT else "stopped by SIGTERM"
    assert (done.returncode, done.stderr) == (130, f"error: {reason}\n")


def test_an_import_after_training_is_interrupted_with_the_command_to_resume(small):
    (small / "sitecustomize.py").write_text(AT_IMPORT)
    done = call(
        small,
        *("-m", "vaezoo", "run", "small.yaml"),
        MOMENT="jinja2",
        SIGNAL=str(int(signal.SIGINT)),
        PYTHONPATH=str(small),
    )
    assert done.returncode == 130 and "Traceback" not in done.stderr
    check_resumable(small, done)


@pytest.mark.parametrize(
    "moment",
    [
        "import vaezoo.runs.start as start; old = start.dump\n"
        "start.dump = lambda *a: (Moment(), old(*a))[1]",
        "import vaezoo.runs.training as training; old = training.build_loader\n"
        "training.build_loader = lambda *a: (Moment(), old(*a))[1]",
    ],
    ids=["before-the-spec-is-written", "in-the-run"],
)
def test_an_interruption_is_not_lost_where_python_cannot_raise_it(small, moment):
    code = "class Moment:\n    __del__ = interrupt\n"
    done = with_code(small, code + moment, "run", "small.yaml")
    assert done.returncode == 130
    assert "Traceback" not in done.stderr and "ignored" not in done.stderr
    assert "error: interrupted" in done.stderr


@pytest.mark.parametrize(
    "moment",
    [
        "import vaezoo.training.trainer as t; old = t.Trainer.load_weights\n"
        "t.Trainer.load_weights = lambda *a, **k: (interrupt(), old(*a, **k))[1]",
        "import vaezoo.runs.training as training; old = training.fit_samplers\n"
        "training.fit_samplers = lambda *a: (interrupt(), old(*a))[1]",
        "import vaezoo.runs.directory as d; lock = d.RunDirectory.lock\n"
        "d.RunDirectory.lock = lambda *a: (interrupt(), lock(*a))[1]",
    ],
    ids=["after-the-last-step", "after-training", "before-training"],
)
def test_a_run_is_interrupted_at_its_seams(small, moment):
    done = with_code(small, moment, "run", "small.yaml")
    assert done.returncode == 130 and "Traceback" not in done.stderr, done.stderr
    check_resumable(small, done)


def test_the_preparation_of_a_resumed_run_is_interrupted_with_the_command_to_resume(small):
    stopped = with_code(
        small,
        "import vaezoo.runs.training as training; training.train_stages = interrupt",
        *("run", "small.yaml"),
    )
    assert stopped.returncode == 130
    (run,) = (small / "runs/small").iterdir()
    done = with_code(
        small,
        "import vaezoo.runs.start as start; old = start.prepare_current_process\n"
        "start.prepare_current_process = lambda *a: (interrupt(), old(*a))[1]",
        *("resume", str(run.relative_to(small))),
    )
    assert done.returncode == 130
    check_resumable(small, done)


def test_the_end_of_a_command_is_interrupted(small):
    done = with_code(small, "atexit.register(interrupt)", "validate", "small.yaml")
    assert done.returncode == 130
    assert done.stderr == "small.yaml: valid\nerror: interrupted\n"


def test_a_signal_that_the_shell_ignores_stays_ignored(small):
    code = "import vaezoo.spec.load as load; old = load.load_spec\n"
    code += "load.load_spec = lambda *a: (interrupt(), old(*a))[1]"
    ignoring = "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    assert with_code(small, ignoring + code, "validate", "small.yaml").returncode == 0


def test_a_process_of_somebody_else_keeps_its_handlers():
    code = (
        "import signal, sys, vaezoo; from vaezoo.cli.main import main\n"
        "before = signal.getsignal(2), signal.getsignal(15), sys.excepthook, sys.unraisablehook\n"
        "try: main(['list', 'encoder'])\n"
        "except SystemExit: pass\n"
        "assert before == (signal.getsignal(2), signal.getsignal(15), sys.excepthook,"
        " sys.unraisablehook)"
    )
    done = run_forked(code=code)
    assert done.returncode == 0, done.stderr


def test_the_first_modules_of_the_command_import_next_to_nothing():
    """Until the handler is set Python's own is there, whose exception shows a traceback."""
    code = (
        "import sys, signal; before = set(sys.modules)\n"
        "import vaezoo.__main__; print(sorted(set(sys.modules) - before))"
    )
    done = call(None, "-c", code)
    utils = ["vaezoo.utils", "vaezoo.utils.exit_codes", "vaezoo.utils.own_process"]
    assert done.stdout.strip() == str(["__future__", "vaezoo", "vaezoo.__main__", *utils])
