"""Numbers that are NaN or infinite: a failure that names them, and keeps all else."""

from __future__ import annotations

import ast
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import vaezoo
from vaezoo.cli.main import cli
from vaezoo.evaluation.evaluate import EvaluationError, evaluate, metric_rows
from vaezoo.evaluation.latent_space import ActiveUnits
from vaezoo.evaluation.metric import Estimate, Metric
from vaezoo.runs.directory import RunDirectory
from vaezoo.training.state import TrainerState
from vaezoo.utils.errors import VaezooError
from vaezoo.utils.finite import NotFiniteError, first_fault
from vaezoo.utils.json_text import json_text
from vaezoo.utils.records import record_line

ROOT = Path(__file__).parents[2]
HUGE = 1e20  # finite, but its square is not in single precision


def call(*words):
    """A command in this process."""
    return cli.main([*map(str, words)], prog_name="vaezoo", standalone_mode=False, obj={})


@pytest.fixture
def spoilt(spec, tmp_path):
    """A spec of data whose fourth test example is too large to be scored."""
    x = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    test = vaezoo.split_indices(100, [8, 1, 1], 0, "x")["test"]
    x[test[3]] = HUGE
    np.savez(tmp_path / "x.npz", x=x)
    data = {"type": "npz", "path": str(tmp_path / "x.npz"), "fractions": [8, 1, 1]}
    normal = {"likelihood": {"type": "normal", "scale": 1.0}}
    return spec(train={"epochs": 1}, data={**data, "batch_size": 16}, model=normal) | {
        "evaluate": ["elbo", "active-units", {"type": "nll", "limit": 3, "samples": 2}]
    }


FAULT = "its value for example 3 is -inf"


def strict(path):
    """The JSON of a file, in which NaN and Infinity are errors."""
    return json.loads(path.read_text("utf-8"), parse_constant=lambda name: pytest.fail(name))


def test_a_run_keeps_all_but_the_metric_that_is_not_finite(spoilt, tmp_path, no_report, capfd):
    with pytest.raises(EvaluationError, match=f"test split: elbo: {FAULT}") as failed:
        vaezoo.run(spoilt, out=tmp_path / "runs")
    assert failed.value.exit_code == 1 and isinstance(failed.value, VaezooError)
    (path,) = (tmp_path / "runs" / "tiny").iterdir()
    directory = RunDirectory(path)
    assert strict(directory.evaluation)
    kept = directory.read_evaluation("test")
    assert kept["not_finite"] == {"elbo": FAULT} and set(kept["metrics"]) == {
        "active_units",
        "nll",
    }
    assert failed.value.evaluation == kept and directory.model.is_file()
    assert ("elbo", "not finite", "", FAULT) in metric_rows(kept)

    with pytest.raises(EvaluationError, match=FAULT):
        vaezoo.open_run(path, device="cpu").evaluate()
    directory.evaluation.unlink()
    with pytest.raises(EvaluationError, match=FAULT):
        call("evaluate", path, "--json")
    printed = json.loads(capfd.readouterr().out)["evaluation"]
    assert printed == kept == directory.read_evaluation("test")

    out = tmp_path / "scores.csv"
    with pytest.raises(NotFiniteError, match="test: the score of example 3 is inf"):
        call("score", path, "--out", out)
    cells = [line.split(",")[1] for line in out.read_text().splitlines()[1:]]
    assert len(cells) == 10 and cells[3] == "" and all(cells[:3] + cells[4:])


def measured(metric, model, x):
    class Spec:
        name = "some"

        def build(self):
            return metric

    data = vaezoo.Loader(vaezoo.Split(x), torch.device("cpu"), 4)
    return evaluate(model, [Spec()], data, "test", seed=0)


class Constant(Metric):
    def __init__(self, **fields):
        self.fields = {"value": 1.0, "error": None, "examples": 9, **fields}

    def __call__(self, model, data):
        return {"constant": Estimate(**self.fields)}


def test_a_metric_of_a_plugin_is_found_out_and_the_example_sought(exact):
    x = exact.data(9)
    for fields, says in (
        ({"value": math.nan}, "it is nan"),
        ({"error": math.inf}, "its standard error is inf"),
    ):
        assert measured(Constant(**fields), exact.model, x)["not_finite"] == {"constant": says}
    x[6] = HUGE
    result = measured(Constant(value=math.nan), exact.model, x)
    assert result["not_finite"] == {"constant": "it is nan; the ELBO of example 6 is -inf"}
    assert result["metrics"] == {}


def test_details_that_are_not_finite_are_null(exact):
    result = measured(
        Constant(details={"share": math.nan, "draws": 2.0}), exact.model, exact.data(9)
    )
    assert result["not_finite"] == {} and result["metrics"]["constant"]["share"] is None
    assert metric_rows(result)[0][3] == "9 examples, share not finite, draws 2"


def test_counts_of_what_is_nan_are_no_numbers(exact):
    """A comparison with NaN is false: each dimension would count as inactive."""
    x = exact.data(9)
    x[5] = torch.nan
    faults = measured(ActiveUnits(), exact.model, x)["not_finite"]
    assert faults == {"some": "the posterior mean of example 5 is nan"}


def test_the_first_fault_is_named():
    values = torch.tensor([[1.0, 2.0], [3.0, -torch.inf], [torch.nan, 0.0]])
    assert first_fault(values, "row") == "row 1 is -inf" and first_fault(values[:1], "row") == ""
    assert first_fault(values[:, 0], "row") == "row 2 is nan"


def test_json_has_null_in_place_of_nan():
    value = {"a": [1.0, math.nan], "b": (-math.inf, {"c": np.float64("inf")}), "d": "NaN"}
    assert json.loads(json_text(value)) == {"a": [1.0, None], "b": [None, {"c": None}], "d": "NaN"}


def test_records_that_are_not_finite_come_back(tmp_path):
    directory = RunDirectory(tmp_path)
    record = {"step": 3, "epoch": 0.5, "split": "train", "time": "2026-01-01T00:00:00+00:00"}
    directory.metrics.write_text(record_line({**record, "rate": math.inf}))
    directory.rewind(3)
    assert strict(directory.metrics)["rate"] is None
    (found,) = directory.records()
    assert math.isnan(found.pop("rate")) and found == record


def test_checkpoints_keep_infinity_in_json(tmp_path):
    directory = RunDirectory(tmp_path)
    others = dict.fromkeys(TrainerState.__required_keys__, 0)
    state = {**others, "best": -math.inf, "losses": [math.inf, 1.5]}
    directory.save_checkpoint(4, state, 1)
    (path,) = directory.checkpoint_files()
    with safe_open(path, framework="pt") as file:
        json.loads(file.metadata()["state"], parse_constant=lambda name: pytest.fail(name))
    assert directory.load_checkpoint() == state


def test_json_is_written_where_nan_is_no_number():
    """By ``json_text``, or by a call that refuses NaN."""
    modules = [ROOT / "vaezoo", *(ROOT / "plugins").glob("*/src")]
    for path in (each for folder in modules for each in folder.rglob("*.py")):
        text = path.read_text("utf-8")
        nodes = ast.walk(ast.parse(text)) if "json.dump" in text else ()
        for node in (each for each in nodes if isinstance(each, ast.Call)):
            if ast.unparse(node.func) in ("json.dumps", "json.dump"):
                assert "allow_nan" in [word.arg for word in node.keywords], f"{path}:{node.lineno}"


def test_numbers_of_a_diverged_run_are_short():
    row = {"value": -2e12, "standard_error": 3e9, "examples": 5, "unit": "nats per example"}
    evaluation = {"metrics": {"elbo": row}, "undefined": {}}
    assert metric_rows(evaluation)[0][1] == "-2.000e+12 ± 3.000e+09"
