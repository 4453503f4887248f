"""The promises of the components of this plugin."""

from __future__ import annotations

import pandas as pd
import pytest

from vaezoo import testing
from vaezoo.testing import Setting

FRAME = pd.DataFrame(
    {
        "age": [20 + 1.5 * i for i in range(60)],
        "visits": [i % 7 for i in range(60)],
        "colour": ["red", "green", "blue"] * 20,
    }
)
TABLE = {
    "data": {"type": "table", "batch_size": 5, "fractions": [0.5, 0.25, 0.25]},
    "model": {"encoder": "table", "likelihood": "table"},
}
SETTINGS = {
    "encoder table": Setting(spec=TABLE, data=FRAME),
    "likelihood table": Setting(spec=TABLE, data=FRAME),
    "likelihood truncated-normal": Setting(options={"low": -8.0, "high": 8.0}, data="real"),
    "dataset table": Setting(spec=TABLE, data=FRAME),
    "metric synthetic-rows": Setting(spec=TABLE, data=FRAME),
    "format csv": Setting(spec=TABLE, data=FRAME),
    "format parquet": Setting(spec=TABLE, data=FRAME),
    "format png": Setting(spec=TABLE, data=FRAME),
}


@pytest.mark.parametrize("promise", testing.promises("vaezoo-tabular", SETTINGS), ids=str)
def test_promise(promise):
    promise.check()
