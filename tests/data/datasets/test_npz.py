from __future__ import annotations

import zipfile

import numpy as np
import pytest
import torch

from vaezoo.data import npz_file
from vaezoo.data.datasets.npz import NpzDataset, to_arrays, to_named
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.formats.npz import NpzFormat
from vaezoo.data.loader import Loader
from vaezoo.data.npz_file import read_npz
from vaezoo.data.splits import SPLIT_NAMES, split_indices
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.utils import memory
from vaezoo.utils.errors import DataError

RNG = np.random.default_rng(0)


@pytest.fixture
def npz(tmp_path):
    def make(support="auto", **arrays) -> NpzDataset:
        np.savez(tmp_path / "some.npz", **arrays)
        return NpzDataset(path=str(tmp_path / "some.npz"), support=support)

    return make


def test_masks_and_conditions_follow_their_examples(npz):
    row = np.arange(100.0)
    mask = np.arange(4) < 1 + row[:, None] % 4
    data = npz(x=np.tile(row[:, None, None], (1, 4, 2)), condition=row[:, None], mask=mask)
    result = []
    for name in SPLIT_NAMES:
        part = data.split(name)
        assert torch.equal(part.x[:, 0, 0], part.condition[:, 0])
        assert torch.equal(part.mask.sum(1), 1 + part.x[:, 0, 0].long() % 4)
        result += part.x[:, 0, 0].tolist()
    assert sorted(result) == row.tolist()
    assert (data.spec.shape, data.spec.mask_dims, data.spec.condition_shape) == ((4, 2), 1, (1,))
    assert [len(data.split(name)) for name in SPLIT_NAMES] == [80, 10, 10]


def test_an_integer_condition_is_a_label(npz):
    data = npz(x=RNG.normal(size=(30, 3)), condition=np.arange(30) % 4)
    assert (data.spec.classes, data.spec.condition_shape) == (("0", "1", "2", "3"), ())
    assert data.split("train").condition.dtype == torch.int64


@pytest.mark.parametrize(
    ("x", "support", "levels", "largest"),
    [
        (RNG.normal(size=(30, 3)), "real", 0, None),
        (np.linspace(0, 1, 90).reshape(30, 3), "unit", 0, 1.0),
        (np.arange(90).reshape(30, 3) % 2 * 1.0, "binary", 2, 1.0),
        (np.arange(90).reshape(30, 3) % 2, "binary", 2, 1.0),
        (np.arange(90, dtype=np.uint8).reshape(30, 3) + 166, "unit", 256, 1.0),
    ],
)
def test_the_support_is_found(npz, x, support, levels, largest):
    data = npz(x=x)
    assert (data.spec.support, data.spec.levels) == (support, levels)
    parts = [data.split(name) for name in SPLIT_NAMES]
    observed = torch.cat([part.transform(part.x) if part.transform else part.x for part in parts])
    assert observed.dtype == torch.float32
    assert largest is None or observed.max() == largest


def test_a_wider_support_may_be_asked_for(npz):
    assert npz("real", x=np.linspace(0, 1, 90).reshape(30, 3)).spec.support == "real"


def test_a_support_that_x_leaves_is_refused(npz, refuses):
    data = npz("unit", x=RNG.normal(size=(30, 3)))
    refuses(
        DataError,
        lambda: data.spec,
        "some.npz",
        "'x' row 0 must have numbers from 0 to 1",
    )


def test_what_a_mask_hides_may_be_nan(npz):
    x = np.ones((20, 4, 2))
    x[3, 2:] = np.nan
    part = npz(x=x, mask=np.isfinite(x[..., 0])).split("train")
    assert part.x.isfinite().all()
    assert (part.x[~part.mask] == 0).all()


def holed(value, dtype=float):
    x = np.ones((20, 3), dtype)
    x[7, 1] = value
    return x


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": holed(np.nan)}, ("'x' row 7",)),
        ({"x": holed(np.inf)}, ("'x' row 7",)),
        ({"x": holed(1e300)}, ("'x' row 7",)),
        ({"x": holed(np.nan), "mask": np.ones((20, 3))}, ("'x' row 7",)),
        ({"x": np.ones((20, 3)), "condition": holed(np.nan)}, ("'condition' row 7",)),
        ({"x": np.ones((20, 3)), "condition": holed(-2, int)[:, 1]}, ("'condition' row 7", "-2")),
        ({"y": np.ones((20, 3))}, ("no array 'x'",)),
        ({"x": np.ones(20)}, ("(20,)",)),
        ({"x": np.ones((0, 3))}, ("(0, 3)",)),
        ({"x": np.ones((20, 0))}, ("(20, 0)",)),
        ({"x": np.full((20, 3), "a")}, ("<U1",)),
        ({"x": np.full((20, 3), None)}, ("'x' holds Python objects",)),
        ({"x": np.ones((20, 3), "c8")}, ("'x' must be numbers, not complex64",)),
        ({"x": holed(256, int)}, ("'x' row 7 must have integers from 0 to 255",)),
        ({"x": holed(-1, int)}, ("'x' row 7 must have integers", "support: count")),
        ({"x": np.ones((20, 3)), "condition": np.ones(19)}, ("'condition'", "20 rows", "(19,)")),
        ({"x": np.ones((20, 3)), "condition": np.float64(1)}, ("'condition'", "20 rows")),
        ({"x": np.ones((20, 3)), "condition": np.full(20, "a")}, ("'condition'", "numbers")),
        ({"x": np.ones((20, 3)), "mask": np.full((20, 3), "a")}, ("'mask'", "numbers")),
        ({"x": np.ones((20, 3)), "mask": np.ones((20, 2))}, ("'mask' (20, 2)",)),
        ({"x": np.ones((20, 3)), "mask": np.ones(20)}, ("'mask' (20,)",)),
        ({"x": np.ones((20, 3)), "mask": holed(np.nan)}, ("'mask' row 7 holds NaN",)),
        ({"x": np.ones((20, 3)), "mask": holed(-1, int)}, ("'mask' row 7 holds -1", "0 or 1")),
        ({"x": np.ones((20, 3)), "lengths": [19, 2]}, ("do not add up to the 20 steps",)),
        ({"x": np.ones((20, 3)), "lengths": [21, -1]}, ("'lengths' row 1 is -1",)),
        ({"x": np.ones((20, 3)), "lengths": [20.0]}, ("'lengths' must be integers",)),
        ({"x": np.ones(20), "lengths": [20]}, ("x (20,) must be sequences",)),
        ({"x": np.ones((2, 4, 3)), "lengths": [4, 5]}, ("'lengths' row 1 is 5", "4 steps")),
        ({"x": np.ones((2, 4, 3)), "lengths": [4]}, ("one for each of the 2 rows",)),
        ({"x.a": np.ones((20, 3)), "lengths": [20]}, ("'lengths'", "use mask.NAME")),
        ({"x": np.ones((4, 3))}, ("4 examples are too few",)),
    ],
)
def test_bad_arrays_are_refused(npz, refuses, arrays, words):
    data = npz(**arrays)
    refuses(DataError, lambda: data.split("train"), "some.npz", *words)


def test_a_missing_file_is_refused(tmp_path, refuses):
    refuses(
        DataError,
        lambda: NpzDataset(path=str(tmp_path / "none.npz")).spec,
        "none.npz",
        "VAEZOO_DATA",
    )


def test_another_kind_of_file_is_refused(tmp_path, refuses):
    (tmp_path / "text.npz").write_text("hello\n")
    np.save(tmp_path / "one.npy", np.ones((20, 3)))
    for name in ("text.npz", "one.npy"):
        refuses(
            DataError,
            lambda name=name: NpzDataset(path=str(tmp_path / name)).spec,
            name,
            "not an npz file",
        )
    refuses(DataError, lambda: NpzDataset(path=str(tmp_path)).spec, "not an npz file")


def test_a_damaged_file_is_refused(npz, tmp_path, refuses):
    data = npz(x=RNG.normal(size=(200, 3)))
    file = tmp_path / "some.npz"
    content = bytearray(file.read_bytes())
    content[300:310] = bytes(10)
    file.write_bytes(content)
    refuses(DataError, lambda: data.spec, "some.npz", "not a readable npz file")


def test_a_relative_path_is_found_in_vaezoo_data(npz, tmp_path, monkeypatch, refuses):
    npz(x=np.ones((20, 3)))
    monkeypatch.chdir("/")
    refuses(DataError, lambda: NpzDataset(path="some.npz").spec, "no some.npz")
    monkeypatch.setenv("VAEZOO_DATA", str(tmp_path))
    assert NpzDataset(path="some.npz").spec.shape == (3,)
    refuses(
        DataError, lambda: NpzDataset(path="none.npz").spec, "no none.npz and no", str(tmp_path)
    )


def test_labels_without_an_example_are_refused(npz):
    with pytest.raises(
        DataError, match=r"no row of 'condition' is 1, but one is 2; number the classes"
    ):
        _ = npz(x=RNG.normal(size=(30, 3)), condition=np.arange(30) % 2 * 2).spec


@pytest.mark.parametrize(
    "x",
    [
        RNG.integers(0, 2, (40, 3)),
        RNG.integers(0, 256, (40, 3)),
        RNG.integers(0, 256, (40, 3), np.uint8),
    ],
)
def test_a_model_reads_a_file_as_training_read_it(npz, x, tmp_path):
    npz(x=x)
    model = {"latent_dim": 2, "encoder": "mlp", "decoder": "mlp", "likelihood": "bernoulli"}
    data = {"type": "npz", "path": str(tmp_path / "some.npz")}
    inputs = {
        "spec": "vaezoo/v1",
        "name": "x",
        "data": data,
        "model": model,
        "train": {"steps": 1},
    }
    dataset, loader, (task,) = prepare_training(load_spec(inputs), torch.device("cpu"))
    part = dataset.split("train")
    torch.testing.assert_close(task.model.prepare(part.x.long()), loader.first(len(loader)).x)


def test_parts_extras_and_presence_are_read(npz):
    x = RNG.integers(0, 256, (40, 1, 2, 2))
    label, size = np.eye(3, dtype=int)[np.arange(40) % 3], RNG.random(40)
    present = np.arange(40) % 2
    data = npz(
        {"label": "one-hot", "counts": "count"},
        **{
            "x.image": x,
            "x.label": np.where(present[:, None], label, -7),
            "x.counts": RNG.integers(0, 5000, (40, 2)),
            "present.label": present,
            "extras.size": size,
        },
    )
    spec = data.spec
    assert (spec.support, spec.shape, dict(spec.extras)) == ("joint", (), {"size": ()})
    supports = {name: (part.support, part.pixels) for name, part in spec.parts.items()}
    assert supports == {
        "image": ("unit", True),
        "label": ("one-hot", False),
        "counts": ("count", False),
    }
    batch = Loader(data.split("train"), torch.device("cpu"), 100).first(100)
    rows = np.sort(np.random.default_rng(0).permutation(40)[:32])
    np.testing.assert_allclose(batch.extras["size"], size[rows].astype(np.float32))
    np.testing.assert_allclose(batch.x["image"], (x[rows] / 255).astype(np.float32))
    np.testing.assert_array_equal(batch.x["label"], (label * present[:, None])[rows])
    np.testing.assert_array_equal(batch.present["label"], present[rows] == 1)


@pytest.mark.parametrize(
    ("support", "arrays", "words"),
    [
        ("auto", {"x": np.ones((20, 3)), "x.a": np.ones((20, 3))}, ("use one",)),
        ({"b": "real"}, {"x.a": np.ones((20, 3))}, ("'b'", "no part")),
        ("auto", {"x.a": np.ones((20, 3)), "x.b": np.ones((19, 3))}, ("'x.b'", "20 rows")),
        ("auto", {"x.a": np.ones((20, 3)), "present.b": np.ones(20)}, ("'present.b'", "no part")),
        ("auto", {"x.a": np.ones((20, 3)), "present.a": np.ones((20, 3))}, ("present.a", "[20]")),
        ("auto", {"x": np.ones((20, 3)), "extras.w": np.full(20, np.nan)}, ("'extras.w' row 0",)),
        ("count", {"x": holed(0.5)}, ("'x' row 7 must have counts 0, 1, 2",)),
        ("one-hot", {"x": np.ones((20, 3))}, ("'x' row 0 must have a single 1",)),
        ("binary", {"x": holed(2, int)}, ("'x' row 7 must have 0 or 1",)),
        ({"a": "unit"}, {"x.a": holed(2)}, ("'x.a' row 7 must have numbers",)),
        ("auto", {"x": np.float64(1)}, ("'x' must be numbers of shape [n, ...], not ()",)),
        ("auto", {"x.a": np.float64(1)}, ("'x.a' must be numbers of shape",)),
        ("auto", {"x.keys": np.ones((20, 3))}, ("'keys' cannot name a part",)),
        ("auto", {"x.a b": np.ones((20, 3))}, ("'a b' is no name",)),
        ("auto", {"x": np.ones((20, 3)), "extras.a b": np.ones(20)}, ("'a b' is no name",)),
        ("auto", {"x.a": np.ones((20, 3)), "mask.b": np.ones((20, 3))}, ("'mask.b' belongs to",)),
        ("auto", {"x": np.ones((20, 3)), "mask.x": np.ones((20, 3))}, ("'mask.x' belongs to",)),
        ("auto", {"x.a": np.ones((20, 3)), "mask": np.ones((20, 3))}, ("one for each part", "a")),
        (
            "auto",
            {"x.a": np.ones((20, 3)), "mask": np.ones(20), "mask.a": np.ones(20)},
            ("arrays 'mask' and 'mask.NAME'; use one",),
        ),
        (
            "auto",
            {"x.a": np.ones((20, 3)), "mask.a": np.ones(20)},
            ("'mask.a' (20,)", "of 'x.a' (20, 3)"),
        ),
    ],
)
def test_bad_parts_and_extras_are_refused(npz, refuses, support, arrays, words):
    data = npz(support, **arrays)
    refuses(DataError, lambda: data.split("train"), "some.npz", *words)


@pytest.mark.parametrize("support", ["auto", "binary", "unit", "real", "count"])
def test_booleans_are_the_numbers_zero_and_one(npz, support):
    x = RNG.random((40, 3)) < 0.5
    data = npz(support, x=x, condition=x[:, 0], **{"extras.flag": x[:, 1]})
    assert data.spec.support == ("binary" if support == "auto" else support)
    assert not data.spec.pixels and data.spec.classes == ("0", "1")
    batch = Loader(data.split("train"), torch.device("cpu"), 100).first(100)
    rows = np.sort(np.random.default_rng(0).permutation(40)[:32])
    assert batch.x.dtype == torch.float32
    np.testing.assert_array_equal(batch.x, x[rows])
    np.testing.assert_array_equal(batch.condition, x[rows, 0])
    np.testing.assert_array_equal(batch.extras["flag"], x[rows, 1])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x.a": np.ones((2, 3)), "mask": np.ones((2, 3))}, "'mask' must be one for each part"),
        ({"x.a": np.ones((2, 3)), "mask.b": np.ones((2, 3))}, "'mask.b' belongs to no part"),
        ({"x": np.ones((2, 3)), "mask.x": np.ones((2, 3))}, "'mask.x' belongs to no part"),
        ({"x": np.ones((2, 3)), "present.x": np.ones(2)}, "'present.x' belongs to no part"),
    ],
)
def test_masks_of_a_file_for_a_model_belong_to_its_parts(arrays, words, tmp_path, refuses):
    np.savez(tmp_path / "some.npz", **arrays)
    form = NpzFormat(DataSpec((3,)))
    refuses(DataError, lambda: form.read(tmp_path / "some.npz"), "some.npz", words)


def test_what_a_file_has_comes_back_by_its_names():
    names = ["x.a", "x.b", "mask.a", "present.b", "extras.w", "condition"]
    arrays = {name: np.full((2, 3), i) for i, name in enumerate(names)}
    assert to_named(to_arrays(arrays, "some.npz")) == arrays


def padded(lengths, steps=6, **more):
    """Sequences with NaN behind their ends, whose values name their place; in three forms."""
    x = np.arange(len(lengths) * steps * 2, dtype=np.float32).reshape(-1, steps, 2)
    mask = np.arange(steps) < np.array(lengths)[:, None]
    junk = np.where(mask[..., None], x, np.nan)
    return {
        "mask": {"x": junk, "mask": mask, **more},
        "lengths": {"x": junk, "lengths": lengths, **more},
        "steps": {"x": x[mask], "lengths": lengths, **more},
    }


def test_sequences_are_equal_however_their_lengths_are_given(npz):
    lengths = np.random.default_rng(0).integers(1, 7, 20)
    lengths[0] = 6
    base = npz(**padded(lengths)["mask"])
    assert base.spec.mask_dims == 1 and base.spec.shape == (6, 2) and base.left_out == ()
    splits = {name: base.split(name) for name in SPLIT_NAMES}
    assert sum(int(split.mask.sum()) for split in splits.values()) == lengths.sum()
    for form in ("lengths", "steps"):
        data = npz(**padded(lengths)[form])
        assert data.spec == base.spec and data.sizes == base.sizes
        for name, split in splits.items():
            assert torch.equal(data.split(name).x, split.x)
            assert torch.equal(data.split(name).mask, split.mask)


def test_steps_that_a_mask_hides_within_a_length_are_hidden(npz):
    mask = np.ones((20, 6))
    mask[:, 1] = 0
    arrays = padded([4] * 20, mask=mask)
    hidden = npz(**arrays["lengths"]).split("train").mask
    assert (hidden == torch.tensor([True, False, True, True, False, False])).all()
    mask = np.ones(80)
    mask[1::4] = 0
    assert torch.equal(
        npz(**padded([4] * 20, mask=mask)["steps"]).split("train").mask, hidden[:, :4]
    )


@pytest.mark.parametrize("form", ["mask", "lengths", "steps"])
def test_a_model_reads_sequences_of_a_file_as_training_does(npz, tmp_path, form):
    lengths = [2, 3]
    npz(**padded(lengths)[form])
    for data in (
        DataSpec((6, 2), mask_dims=1),
        DataSpec((6, 2), mask_dims=1, variable_length=True),
    ):
        batch = NpzFormat(data).read(tmp_path / "some.npz")
        steps = 3 if form == "steps" and data.variable_length else 6
        assert batch.x.shape == (2, steps, 2) and batch.x.isfinite().all()
        assert batch.mask.sum(1).tolist() == lengths and not batch.x[~batch.mask].any()
    npz(**padded([3, 3])[form])
    prefixes = NpzFormat(data).read_prefixes(tmp_path / "some.npz")
    assert prefixes.x.shape == (2, 3, 2) and (prefixes.mask is None or prefixes.mask.all())


def test_what_is_not_used_is_named(npz):
    mask = np.ones((20, 3))
    mask[[3, 17]] = 0
    labels = np.r_[np.zeros(19, int), 1]
    data = npz(x=RNG.normal(size=(20, 3)), mask=mask, condition=labels, y=labels, meta=["a"])
    assert data.left_out == (
        "2 arrays that are not read (meta, y)",
        "2 examples with no observed value (3, 17)",
    )
    assert data.sizes == {"train": 16, "validation": 2, "test": 2}
    train = split_indices(20, (0.8, 0.1, 0.1), 0, "")["train"]
    labels = 1 - np.eye(20, dtype=int)[np.flatnonzero(~np.isin(np.arange(20), train))[0]]
    data = npz(x=RNG.normal(size=(20, 3)), condition=labels)
    assert data.left_out == () and data.notes == ("1 class without a training example (0)",)
    parts = {"x.a": np.ones((20, 3)), "x.b": np.ones((20, 3)), "mask.a": mask}
    parts["present.b"] = np.arange(20) != 3
    assert npz(**parts).left_out == ("1 example with no observed value (3)",)


def test_numbers_are_equal_however_they_are_stored(npz, tmp_path):
    values = RNG.integers(-9, 9, (20, 3, 2)) / 4
    base = npz(x=values, condition=np.arange(20) % 3).split("train")
    for kind in ("f2", ">f8", "g"):
        x = np.asfortranarray(values.astype(kind))
        split = npz(x=x, condition=(np.arange(20) % 3).astype(">u8")).split("train")
        assert torch.equal(split.x, base.x) and torch.equal(split.condition, base.condition)
        read = read_npz(tmp_path / "some.npz")["x"]
        assert read.dtype.isnative and read.dtype.itemsize <= 8 and read.flags.c_contiguous


def write_member(path, name, data):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)


def header(shape, descr="'<f4'", more=b""):
    """A member of an npz file without its data."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".encode()
    return b"\x93NUMPY\x01\x00" + (len(text) + 1).to_bytes(2, "little") + text + b"\n" + more


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (b"\x80\x04}.", "'x' is no array of numbers"),  # a pickle
        (header("(20, 3)", "'|O'", b"\x80\x04}."), "'x' holds Python objects"),
        (header("(1000000000000, 3)"), "'x' declares the shape (1000000000000, 3)"),
        (header("(-20, -3)", more=bytes(240)), "'x' declares the shape (-20, -3)"),
        (header("(20, 3)", more=bytes(241)), "holds 241 bytes; the file is damaged"),
        (header("(20, 3)", "[('a', '<f4')]", bytes(240)), "'x' must be numbers"),
        (header("(20, 3)" + " " * 20_000, more=bytes(240)), "'x' is no array of numbers"),
    ],
)
def test_what_a_file_declares_is_checked_first(tmp_path, refuses, member, words):
    write_member(tmp_path / "some.npz", "x.npy", member)
    refuses(DataError, lambda: read_npz(tmp_path / "some.npz"), "some.npz", words)


def test_a_long_header_is_refused_before_it_is_read(tmp_path, refuses, monkeypatch):
    for version in npz_file._HEADERS:
        monkeypatch.setitem(npz_file._HEADERS, version, (2 * version[0], pytest.fail))
    for version, size in ((1, 2), (2, 4)):
        text = b"\x93NUMPY" + bytes((version, 0)) + (60_000).to_bytes(size, "little")
        write_member(tmp_path / "some.npz", "x.npy", text + b" " * 60_000)
        refuses(DataError, lambda: read_npz(tmp_path / "some.npz"), "'x' is no array of numbers")


def test_arrays_that_do_not_fit_in_memory_are_refused_before_they_are_read(
    tmp_path, refuses, monkeypatch
):
    monkeypatch.setattr(memory, "memory_size", lambda: 10_000)
    np.savez_compressed(tmp_path / "some.npz", x=np.zeros((20, 200), np.float32))
    monkeypatch.setattr(np.lib.format, "read_array", None)
    refuses(DataError, lambda: read_npz(tmp_path / "some.npz"), "some.npz", "'x' need", "memory")
    with pytest.raises(DataError, match="2 sequences that are padded to 999 steps need"):
        to_arrays({"x": np.zeros((1000, 3)), "lengths": np.array([1, 999])}, "some.npz")


def test_numbers_that_are_not_standardised_are_noted(npz):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 4, 2)) * [1, 3000]
    mask = np.ones((40, 4))
    (note,) = npz(x=x, mask=mask).notes
    assert note.startswith("numbers of x with a root mean square of 2,")
    mask[(abs(x) > 50).any(-1)] = 0  # what is hidden does not count
    assert not npz(x=x, mask=mask).notes and not npz(x=x / 100).notes
    pixels = rng.integers(0, 256, (40, 8), np.uint8)
    assert not npz(support="real", x=pixels).notes
    present = np.arange(40) == 3
    parts = {"x.a": np.full((40, 2), 99.0), "x.b": np.ones((40, 2)), "present.a": present}
    (note,) = npz(**parts).notes
    assert note.startswith("numbers of x.a with a root mean square of 99;")
