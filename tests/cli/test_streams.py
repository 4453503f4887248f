"""Commands whose stdin, stdout or stderr is closed, full, or read by nobody."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys

import pytest

from tests.commands import run_forked
from vaezoo.utils.packaged import ROOT

SPEC = str(ROOT / "examples/vae-digits.yaml")
VAEZOO = shlex.join([sys.executable, "-m", "vaezoo"])


def shell(line, cwd=None):
    """Runs a line of bash in which V is the command and S a spec."""
    return subprocess.run(
        ["bash", "-c", line],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "V": VAEZOO, "S": SPEC},
    )


@pytest.mark.parametrize("closing", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("command", "code"), [("list encoder --json", 0), ("nonsense", 2)])
def test_a_closed_stream_changes_nothing_else(command, code, closing):
    as_ever, done = shell(f"$V {command}"), shell(f"$V {command} {closing}")
    assert done.returncode == code == as_ever.returncode
    assert done.stdout == ("" if ">&-" in closing.replace("2>&-", "") else as_ever.stdout)
    assert done.stderr == ("" if "2>&-" in closing else as_ever.stderr)


def test_no_file_of_a_run_takes_the_place_of_a_closed_stream(tmp_path):
    done = shell("$V run $S -s train.steps=2 -s evaluate=[elbo] <&- >&- 2>&-", tmp_path)
    assert done.returncode == 0
    (run,) = (tmp_path / "runs/vae-digits").iterdir()
    for line in (run / "metrics.jsonl").read_text().splitlines():
        json.loads(line)
    assert run_forked("-q", "evaluate", run).returncode == 0


@pytest.mark.parametrize("command", ["list", "list --json", "show encoder mlp", "--help"])
def test_a_reader_who_leaves_early_sees_no_error(command):
    done = shell(f"set -o pipefail; $V {command} | true")
    assert done.stderr == "" and done.returncode in (0, 1)  # 0 if it was faster than `true`


@pytest.mark.parametrize("command", ["list", "--help", "validate $S --json", "schema"])
def test_a_full_disk_is_one_line(command):
    done = shell(f"$V {command} > /dev/full")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "No space left on device" in done.stderr and "error: :" not in done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_what_is_still_to_be_written_at_the_end_counts():
    code = "import vaezoo.cli.main as m; m._call = lambda *_: (print('late', end=''), (0, ''))[1]"
    code += "; from vaezoo.__main__ import main; main()"
    done = shell(f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} > /dev/full")
    assert (done.returncode, done.stderr) == (1, "error: No space left on device\n")
