"""Variants for counts, tables and data of several parts, through the doors of their users."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch

import vaezoo
from tests.conftest import standard_error
from tests.plugins.test_variants import CPU, call
from vaezoo.evaluation.validation import validate
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.dump import dump
from vaezoo.spec.load import load_spec
from vaezoo.testing import check_spec
from vaezoo.utils.errors import SpecError, UsageError

MLP = {"type": "mlp", "hidden": [16]}
COUNTS = {
    "encoder": {"type": "log1p", "encoder": MLP},
    "decoder": MLP,
    "likelihood": "vaezoo-variants:negative-binomial",
}
COLUMNS = {"encoder": MLP, "decoder": MLP, "likelihood": "columns"}
EXPERTS = {
    "encoder": {"type": "joint", "parts": {"image": MLP, "label": MLP}},
    "latents": "product-of-experts",
    "decoder": {"type": "joint", "parts": {"image": MLP, "label": MLP}},
    "likelihood": {"type": "joint", "parts": {"image": "bernoulli", "label": "categorical"}},
}
OBJECTIVE = {"type": "subset-elbo", "subsets": 1}


@pytest.fixture(autouse=True)
def _installed(variants):
    """The package is installed like a stranger's."""


# --- data ----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def counts_file(tmp_path_factory):
    """300 cells of 6 genes, whose sizes differ by a factor of about 40."""
    generator = np.random.default_rng(0)
    share = generator.dirichlet(np.ones(6), 300) * generator.lognormal(6, 1, (300, 1))
    x = generator.poisson(share) + 1
    path = tmp_path_factory.mktemp("counts") / "counts.npz"
    np.savez(path, x=x, **{"extras.size": x.sum(1).astype(np.float32)})
    assert x.max() > 255
    return path


@pytest.fixture(scope="session")
def table_file(tmp_path_factory):
    """200 people, with a tenth of the cells missing."""
    generator = np.random.default_rng(0)
    columns = {
        "age": [f"{age:.1f}" for age in generator.normal(40, 12, 200)],
        "visits": [str(n) for n in generator.poisson(3, 200)],
        "city": generator.choice(["Basel", "Genf", "Ulm"], 200).tolist(),
        "paid": generator.choice(["0", "1"], 200).tolist(),
    }
    for cells in columns.values():
        for row in generator.choice(200, 20, replace=False):
            cells[row] = ""
    path = tmp_path_factory.mktemp("table") / "table.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


KINDS = {"visits": "count", "paid": "categorical"}


@pytest.fixture(scope="session")
def parts_file(tmp_path_factory, _digits):
    """400 digits with their labels; some lack their image, others their label."""
    images, labels = (array[:400] for array in _digits)
    generator = np.random.default_rng(0)
    has_image = generator.random(400) < 0.8
    arrays = {
        "x.image": (images > 7).reshape(-1, 1, 8, 8).astype(np.uint8),
        "x.label": np.eye(10, dtype=np.uint8)[labels],
        "present.image": has_image,
        "present.label": ~has_image | (generator.random(400) < 0.5),
    }
    path = tmp_path_factory.mktemp("parts") / "parts.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture
def blocks(spec, counts_file, table_file, parts_file):
    """The spec of a variant, short."""
    supports = {"image": "binary", "label": "one-hot"}
    data = {
        "counts": {"type": "npz", "path": str(counts_file), "support": "count"},
        "columns": {"type": "rows", "path": str(table_file), "kinds": KINDS},
        "experts": {"type": "npz", "path": str(parts_file), "support": supports},
    }
    models = {"counts": COUNTS, "columns": COLUMNS, "experts": EXPERTS}

    def make(name, model=(), **changes):
        changes.setdefault("train", {})
        if name == "experts":
            changes.setdefault("objective", OBJECTIVE)
        result = spec(
            name=name,
            data={**data[name], "batch_size": 64},
            evaluate=["elbo", "rate", {"type": "nll", "samples": 5}],
            **changes,
        )
        result["train"] = {"epochs": None, "steps": 14, "device": "cpu", **changes["train"]}
        result["model"] = {"latent_dim": 2, **models[name], **dict(model)}
        return result

    return make


@pytest.fixture
def composed(blocks):
    """The task of a variant in evaluation mode, with noise in its weights, and 20 examples."""

    def make(name, **changes):
        _, train, (task,) = prepare_training(load_spec(blocks(name, **changes)), CPU)
        with torch.no_grad():
            for parameter in task.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        task.initialise(train.first(20))
        return task.eval(), train.first(20)

    return make


def decoded(model, trace):
    """The decoder's output for the codes of a pass, ``[K, B, ...]``."""
    return model.decoder(trace.code.flatten(0, 1)).unflatten(0, trace.code.shape[:2])


# --- counts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (vaezoo.DataSpec((6,), "count"), "needs the extra 'size'.*but this data lacks it"),
        (
            vaezoo.DataSpec((6,), "count", extras={"size": (2,)}),
            r"needs the extra 'size'.*has it with the shape \(2,\)",
        ),
        (vaezoo.DataSpec((6,), "real", extras={"size": ()}), "needs count data"),
    ],
)
def test_data_without_sizes_is_refused(data, message, spec):
    loaded = load_spec(spec(model={"likelihood": "vaezoo-variants:negative-binomial"}))
    with pytest.raises(SpecError, match=rf"model\.likelihood: .*{message}"):
        vaezoo.compose(loaded, data, 100)


def test_another_extra_can_be_the_size(spec):
    loaded = load_spec(
        spec(model={"likelihood": {"type": "vaezoo-variants:negative-binomial", "size": "depth"}})
    )
    model = vaezoo.compose(loaded, vaezoo.DataSpec((6,), "count", extras={"depth": ()}), 9).model
    x, depth = model.sample(2, extras={"depth": torch.tensor([5.0, 9.0])}), [5.0, 9.0]
    assert x.sum(1).tolist() == pytest.approx(depth)


def test_examples_without_their_sizes_are_refused(composed):
    task, batch = composed("counts")
    with pytest.raises(ValueError, match="the examples need the extra 'size'"):
        task.model.reconstruct(batch.x)


def test_the_loss_of_training_has_the_sizes_of_its_examples(composed, without_noise):
    task, batch = composed("counts")
    assert torch.equal(batch.extras["size"], batch.x.sum(1))
    assert len(batch.x.sum(1).unique()) > 10
    task.train()
    loss, terms = task(batch)
    h = decoded(task.model, task.model(batch))[0]
    mean = (batch.extras["size"][:, None] * h.softmax(-1)).double()
    t = task.model.likelihood.log_inverse_dispersion.exp().double()
    distribution = scipy.stats.nbinom(t.detach().numpy(), (t / (t + mean)).detach().numpy())
    expected = torch.tensor(-distribution.logpmf(batch.x.numpy()).sum(1))
    torch.testing.assert_close(terms["distortion"].double(), expected, atol=1e-2, rtol=1e-4)
    torch.testing.assert_close(loss, terms["distortion"] + terms["rate"])


@torch.no_grad()
def test_samples_have_the_sizes_that_are_given(composed):
    task, _ = composed("counts")
    size = torch.tensor([50.0, 2000.0]).repeat_interleave(2000)
    with torch.no_grad():
        task.model.likelihood.log_inverse_dispersion.fill_(2.0)
    totals = task.model.sample(4000, mean=False, seed=0, extras={"size": size}).sum(1)
    for mean, values in zip((50.0, 2000.0), totals.chunk(2), strict=True):
        assert bool((values == values.round()).all())
        assert abs(float(values.mean()) - mean) < 4 * standard_error(values)


def test_reconstructions_and_interpolations_have_the_sizes_of_the_examples(composed):
    task, batch = composed("counts")
    size = batch.extras["size"]
    torch.testing.assert_close(task.model.reconstruct(batch).sum(-1), size)
    first, second = batch.select(slice(5)), batch.select(slice(5, 10))
    path = task.model.interpolate(first, second, 3)
    torch.testing.assert_close(path.sum(-1), size[:5, None].expand(5, 3))


def test_generated_examples_have_the_median_size_of_the_first_batch(blocks, train, tmp_path):
    run = train(**blocks("counts"))
    loader = run.data("train")
    typical = float(loader.first_training_batch().extras["size"].median())
    sizes = torch.cat([batch.extras["size"] for batch in loader.ordered()])
    assert float(sizes.min()) < typical < float(sizes.max())
    call("sample", run.path, "-n", 5, "--out", tmp_path / "samples.npz")
    x = np.load(tmp_path / "samples.npz")["x"]
    np.testing.assert_allclose(x.sum(1), typical, rtol=1e-4)
    assert float(run.model.likelihood.typical_extras(3)["size"][2]) == typical


def test_a_batch_in_parts_has_the_sizes_of_its_parts(blocks, train, without_noise):
    weights = []
    for accumulate in (1, 2):
        changes = blocks("counts", train={"accumulate": accumulate, "select": "last"})
        weights.append(train(**{**changes, "evaluate": []}).model.state_dict())
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_two_processes_train_on_the_sizes_of_their_examples(trained_in_two, blocks, train):
    """A deterministic posterior, so that both processes together compute what one does."""
    changes = blocks("counts", model={"posterior": "deterministic"}, train={"select": "last"})
    changes |= {"regularizers": [], "evaluate": ["distortion"], "name": "tiny"}
    tensors = trained_in_two(changes)
    alone = train(**changes)
    assert torch.equal(tensors["likelihood.typical_size"], alone.model.likelihood.typical_size)
    for name, tensor in alone.model.state_dict().items():
        torch.testing.assert_close(tensors[name], tensor, rtol=1e-3, atol=1e-4, msg=name)


def test_an_encoder_of_logarithms_is_another_one_on_log1p(composed):
    task, batch = composed("counts")
    encoder = task.model.encoder
    expected = encoder.encoder(torch.log1p(batch.x))[0]
    assert torch.equal(encoder(batch.x)[0], expected)
    mask = torch.rand(20, 6) < 0.5
    hidden = torch.where(mask, batch.x, torch.nan)
    assert torch.equal(encoder(hidden, mask)[0], encoder(batch.x, mask)[0])


def test_an_encoder_of_logarithms_takes_no_condition(spec):
    condition = {"type": "label", "into": ["encoder"]}
    with pytest.raises(SpecError, match=r"model\.encoder: .*once a condition is fused"):
        prepare_training(
            load_spec(spec(model={"encoder": COUNTS["encoder"], "condition": condition})), CPU
        )


# --- columns -------------------------------------------------------------------------------------


def test_rows_of_a_csv_file_become_columns_with_a_mask(table_file):
    from vaezoo_variants.rows import Rows

    table = Rows(path=str(table_file), kinds=KINDS)
    data, parts = table.spec, [table.split(name) for name in ("train", "validation", "test")]
    assert (data.shape, data.support, data.mask_dims) == ((7,), "mixed", 1)
    described = [(field.name, field.kind, field.columns) for field in data.fields]
    assert described == [
        ("age", "numeric", (0, 1)),
        ("visits", "count", (1, 2)),
        ("city", "categorical", (2, 5)),
        ("paid", "categorical", (5, 7)),
    ]
    assert data.fields[2].categories == ("Basel", "Genf", "Ulm")
    assert [len(part) for part in parts] == [160, 20, 20]
    x, mask = parts[0].x, parts[0].mask
    known = x[mask[:, 0], 0]
    assert float(known.mean()) == pytest.approx(0, abs=1e-5)
    assert float(known.std(correction=0)) == pytest.approx(1, abs=1e-5)
    assert not bool(x[~mask].any()), "0 where a cell is missing"
    assert torch.equal(x[:, 2:5].sum(1) == 1, mask[:, 2]) and not bool(mask.all())


def test_rows_come_back_in_the_units_of_the_source(table_file):
    from vaezoo_variants.rows import Rows

    table = Rows(path=str(table_file), kinds=KINDS)
    with open(table_file, newline="", encoding="utf-8") as file:
        source = [tuple(row.values()) for row in csv.DictReader(file)]
    restored, city, paid = [], *(field.categories for field in table.spec.fields[2:])
    for split in map(table.split, ("train", "validation", "test")):
        x = table.spec.to_source_units(split.x)
        torch.testing.assert_close(table.spec.from_source_units(x), split.x)
        for row, seen in zip(x, split.mask, strict=True):
            cells = (
                f"{row[0]:.1f}",
                f"{row[1]:.0f}",
                city[row[2:5].argmax()],
                paid[row[5:].argmax()],
            )
            first = seen[[0, 1, 2, 5]]
            restored.append(
                tuple(cell if there else "" for cell, there in zip(cells, first, strict=True))
            )
    assert sorted(restored) == sorted(source)


def test_reconstructed_rows_are_written_in_the_units_of_the_source(blocks, train, tmp_path):
    run = train(**blocks("columns", train={"steps": 200}))
    call("reconstruct", run.path, "-n", 10, "--out", tmp_path / "rows.csv")
    with open(tmp_path / "rows.csv", newline="", encoding="utf-8") as file:
        _, *lines = csv.reader(file)
    ages = [float(line[1]) for line in lines]
    assert len(ages) == 10 and 30 < np.mean(ages) < 50


@pytest.mark.parametrize(
    ("text", "kinds", "message"),
    [
        ("a,b\n1,2\n3\n", {}, "row 3 has not 2 cells"),
        ("a,b\n1,2\n3,x\n", {"b": "numeric"}, r"column 'b', row 3: 'x' is no numeric"),
        ("a,b\n1,2\n3,1.5\n", {"b": "count"}, r"column 'b', row 3: '1\.5' is no count"),
        ("a,b\n1,2\n3,-1\n", {"b": "count"}, r"column 'b', row 3: '-1' is no count"),
        ("a,b\n1,2\n3,inf\n", {}, r"column 'b', row 3: 'inf' is no numeric"),
        ("a,b\n1,2\n3,2\n", {}, "column 'b' has too few values"),
        ("a,b\n1,\n3,\n", {}, "column 'b' has too few values"),
        ("a,b\n1,2\n3,4\n", {"c": "count"}, "there is no column 'c'"),
        ("", {}, "0 examples are too few"),
    ],
)
def test_faulty_rows_are_reported(text, kinds, message, tmp_path):
    from vaezoo_variants.rows import Rows

    text += "".join(text.splitlines(keepends=True)[1:2]) * 20
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(vaezoo.DataError, match=rf"table\.csv.*{message}"):
        _ = Rows(path=str(tmp_path / "table.csv"), kinds=kinds).spec


def test_a_column_needs_a_value_in_the_training_split(tmp_path):
    from vaezoo_variants.rows import Rows

    held_out = {*vaezoo.split_indices(40, (0.8, 0.1, 0.1), 0, "")["test"].tolist()}
    lines = [f"{i},{i if i in held_out else ''}" for i in range(40)]
    (tmp_path / "table.csv").write_text("\n".join(["a,b", *lines]))
    with pytest.raises(vaezoo.DataError, match="column 'b' has too few values"):
        _ = Rows(path=str(tmp_path / "table.csv")).spec


# --- experts -------------------------------------------------------------------------------------


def test_an_example_without_the_parts_of_a_subset_counts_0_with_any_prior(composed):
    task, batch = composed("experts", model={"prior": {"type": "mixture", "components": 3}})
    nothing = replace(batch, present=dict.fromkeys(batch.x, torch.zeros(20, dtype=torch.bool)))
    trace = task.objective.trace(task.model, nothing)
    assert bool((trace.mean_rate != 0).all())
    torch.testing.assert_close(task.objective(trace), -trace.mean_elbo)


def test_validation_measures_the_elbo_of_all_parts_with_one_pass(composed, blocks):
    task, _ = composed("experts")
    _, _, (other,) = prepare_training(
        load_spec(blocks("experts", objective="reconstruction")), CPU
    )
    other.model.load_state_dict(task.model.state_dict())
    _, loader, _ = prepare_training(load_spec(blocks("experts")), CPU)
    calls, measured = [], []
    task.model.decoder.register_forward_hook(lambda *_: calls.append(1))
    for each in (task, other):
        torch.manual_seed(0)
        measured.append(validate(each, loader))
    assert measured[0] == measured[1] and measured[0]["bound"] == measured[0]["elbo"]
    assert len(calls) == 1, "no subset is decoded"


def test_features_are_computed_once_for_all_subsets(composed):
    task, batch = composed("experts", objective={**OBJECTIVE, "subsets": 3})
    encoded, passed = [], []
    task.model.encoder.register_forward_hook(lambda *_: encoded.append(1))
    task.model.decoder.register_forward_hook(lambda *_: passed.append(1))
    task.train()(batch)
    assert len(encoded) == 1 and len(passed) == 6


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"model": {"latents": "product-of-experts"}}, r"model\.latents"),
        ({"objective": "subset-elbo"}, "objective"),
    ],
)
def test_data_without_parts_is_refused(changes, place, spec):
    with pytest.raises(SpecError, match=rf"{place}: .*needs data of several parts"):
        prepare_training(load_spec(spec(**changes)), CPU)


@pytest.mark.parametrize("name", ["counts", "experts"])
def test_the_conditional_version_trains_and_samples(name, blocks, tmp_path):
    changes = blocks(name, model={"condition": {"type": "label", "into": ["decoder"]}})
    arrays = dict(np.load(changes["data"]["path"]))
    arrays["condition"] = np.arange(len(next(iter(arrays.values())))) % 10
    np.savez(tmp_path / "labelled.npz", **arrays)
    changes["data"]["path"] = str(tmp_path / "labelled.npz")
    check_spec(changes)
    _, _, (task,) = prepare_training(load_spec(changes), CPU)
    one, two = (task.eval().model.sample(3, condition=digit, seed=0) for digit in (1, 2))
    assert not equal(one, two) and equal(one, task.model.sample(3, condition=1, seed=0))


# --- every command -------------------------------------------------------------------------------

NAMES = ["counts", "columns", "experts"]


def equal(first, second):
    """Whether samples, or those of each part, are the same."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(
            torch.equal(first[name], second[name]) for name in first
        )
    return torch.equal(first, second)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_takes_the_variant(name, blocks, tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(dump(blocks(name)))
    call("run", path, "--dry-run")
    call("run", path, "--out", tmp_path / "runs")
    (run,) = (tmp_path / "runs" / name).iterdir()
    assert (run / "report.html").is_file()
    for command in ("sample", "reconstruct", "interpolate", "traverse"):
        call(command, run, "--out", tmp_path / f"{command}.npz")
        stored = np.load(tmp_path / f"{command}.npz")
        assert set(stored.files) >= ({"x.image", "x.label"} if name == "experts" else {"x"})
    call("sample", run, "--draw", "--prior-temperature", 0.5, "--out", tmp_path / "colder.npz")
    call("encode", run, "-n", 5, "--out", tmp_path / "z.npz")
    assert np.load(tmp_path / "z.npz")["mean"].shape == (5, 2)
    call("evaluate", run, "--metric", "elbo")
    for method in ("reconstruction", "elbo", "nll", "mahalanobis"):
        call("score", run, "--method", method, "--out", tmp_path / "scores.csv")
    assert len((tmp_path / "scores.csv").read_text().splitlines()) > 20
    exported = ("export", run, "--format", "torch-export", "--out", tmp_path / "exported")
    if name == "experts":
        with pytest.raises(UsageError, match="parts"):
            call(*exported)
    else:
        call(*exported)
    call("publish", run, "--name", f"{name}/data@1", "--to", tmp_path / "lab")
    model, loaded = (
        vaezoo.open_run(run, device="cpu").model,
        vaezoo.load(f"lab:{name}/data@1", registry=tmp_path / "lab"),
    )
    assert loaded.data == model.data
    assert equal(model.sample(3, seed=1), loaded.sample(3, seed=1))


@pytest.mark.parametrize("name", NAMES)
def test_contracts_hold(name, blocks):
    check_spec(blocks(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_has_the_same_bits(name, blocks, resumes_exactly):
    changes = blocks(name, train={"log_every": 3, "ema": 0.9})
    tensors = resumes_exactly(6, **{**changes, "name": "tiny"})
    assert any("typical_size" in key for key in tensors) == (name == "counts")


@pytest.mark.parametrize("name", NAMES)
def test_a_compiled_step_is_one_graph(name, blocks, graphs_of):
    _, train, (task,) = prepare_training(load_spec(blocks(name)), CPU)
    assert graphs_of(task.train(), train.first(32)) == 1


@pytest.mark.parametrize(("name", "examples"), [("counts", 300), ("experts", 400)])
def test_the_examples_of_a_file_are_scored(
    name, examples, blocks, train, counts_file, parts_file, tmp_path
):
    file = {"counts": counts_file, "experts": parts_file}[name]
    run = train(**{**blocks(name), "evaluate": []})
    call("score", run.path, file, "--method", "elbo", "--out", tmp_path / "scores.csv")
    lines = (tmp_path / "scores.csv").read_text().splitlines()
    assert len(lines) == 1 + examples and not any("nan" in line for line in lines)
