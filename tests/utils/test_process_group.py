"""What two processes exchange, over gloo on one machine."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from vaezoo.utils.process_group import ProcessGroup


def exchange(rank, folder):
    """One of two processes: exchanges values, and writes what it received as JSON."""
    import json
    from pathlib import Path

    import torch
    import torch.distributed as dist
    from torch import nn

    from vaezoo.utils.process_group import ProcessGroup

    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    group = ProcessGroup.current()
    own = torch.tensor([[1.0, 2.0], [3.0, 4.0]]) * (rank + 1)
    columns = own.clone().T  # not contiguous
    received = {
        "sum": group.sum(own).tolist(),
        "sum of columns": group.sum(own.T).tolist(),
        "returns itself": group.broadcast(columns) is columns,
        "columns": columns.tolist(),
        "booleans": group.broadcast(torch.tensor([rank == 0, rank == 1])).tolist(),
        "integer": group.broadcast(torch.tensor(7 - rank)).item(),
        "nothing": group.broadcast(torch.empty(0)).tolist(),
        "text": group.broadcast_text("päth" if rank == 0 else "a longer text"),
        "no text": group.broadcast_text("" if rank == 0 else "text"),
        "any": [group.any(rank == 1), group.any(False)],
        "own": own.tolist(),
    }
    torch.manual_seed(rank)
    module = nn.BatchNorm1d(2)
    nn.init.normal_(module.weight)
    module(torch.randn(4, 2))
    group.broadcast_module(module)
    received["module"] = {name: value.tolist() for name, value in module.state_dict().items()}
    group.barrier()
    Path(folder, f"{rank}.json").write_text(json.dumps(received))
    dist.destroy_process_group()


def test_two_processes_exchange_values(child, tmp_path):
    for process in [child(exchange, rank, str(tmp_path)) for rank in (0, 1)]:
        process.join(60)
        assert process.exitcode == 0
    first, second = (json.loads(Path(tmp_path, f"{rank}.json").read_text()) for rank in (0, 1))
    assert first.pop("own") == [[1.0, 2.0], [3.0, 4.0]]
    assert second.pop("own") == [[2.0, 4.0], [6.0, 8.0]]
    assert first == second
    assert first.pop("module")["num_batches_tracked"] == 1
    assert first == {
        "sum": [[3.0, 6.0], [9.0, 12.0]],
        "sum of columns": [[3.0, 9.0], [6.0, 12.0]],
        "returns itself": True,
        "columns": [[1.0, 3.0], [2.0, 4.0]],
        "booleans": [True, False],
        "integer": 7,
        "nothing": [],
        "text": "päth",
        "no text": "",
        "any": [True, False],
    }


def test_one_process_exchanges_nothing():
    group, values, module = ProcessGroup(), torch.ones(2), nn.Linear(1, 1)
    assert group.sum(values) is values and group.broadcast(values) is values
    assert group.broadcast_text("text") == "text" and group.any(True)
    group.broadcast_module(module)
    group.barrier()


def leave_early(rank, folder):
    """One of two processes: the second ends, and the first waits for it."""
    import os
    from pathlib import Path

    import torch
    import torch.distributed as dist

    from vaezoo.utils.errors import VaezooError
    from vaezoo.utils.process_group import ProcessGroup

    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    group = ProcessGroup.current()
    group.barrier()
    if rank == 1:
        os._exit(0)
    try:
        group.sum(torch.ones(2))
    except VaezooError as error:
        Path(folder, "error").write_text(str(error))
    os._exit(0)


def test_an_exchange_with_a_process_that_is_gone_fails_with_one_line(child, tmp_path):
    for process in [child(leave_early, rank, str(tmp_path)) for rank in (0, 1)]:
        process.join(60)
    (line,) = (tmp_path / "error").read_text().splitlines()
    assert line.startswith("cannot exchange data with the other processes: ")
