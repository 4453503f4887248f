"""The spec that is proposed for a table."""

from __future__ import annotations

import numpy as np
import pytest
from vaezoo_tabular.dataset import Table


@pytest.mark.parametrize(
    ("columns", "dimension", "limit"),
    [(1, 4, ", but at least 4"), (2, 4, ""), (16, 32, ""), (18, 32, ", but at most 32")],
)
def test_the_proposed_dimension_is_what_its_reason_says(tmp_path, columns, dimension, limit):
    rows = np.random.default_rng(0).normal(size=(60, columns)).round(3).tolist()
    lines = [",".join(map(str, row)) for row in [[f"c{i}" for i in range(columns)], *rows]]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    proposal = Table.propose(tmp_path / "t.csv")
    assert proposal.spec["model"]["latent_dim"] == dimension
    reason = proposal.reasons["model.latent_dim"]
    assert reason == f"two for each column, here {columns}{limit}"
