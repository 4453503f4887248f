"""Every example spec composes and takes a training step."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from vaezoo.cli.main import cli
from vaezoo.utils.errors import UnavailableError

ROOT = Path(__file__).parents[1]
EXAMPLES = [
    path.relative_to(ROOT).as_posix()
    for pattern in ("examples/*.yaml", "examples/zoo/*.yaml", "plugins/*/examples/*.yaml")
    for path in sorted(ROOT.glob(pattern))
]


@pytest.mark.parametrize("path", EXAMPLES)
def test_an_example_passes_its_dry_run(path):
    result = CliRunner().invoke(cli, ["-q", "run", str(ROOT / path), "--dry-run"], obj={})
    reason = str(result.exception)
    if isinstance(result.exception, UnavailableError) or reason.endswith("set VAEZOO_DATA"):
        pytest.skip(reason)  # its data is not on this machine
    assert result.exit_code == 0 and "one batch" in result.output, result.exception


def test_there_are_examples():
    assert len(EXAMPLES) > 40
