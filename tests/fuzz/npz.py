"""Npz files: types, shapes, masks, lengths, extras, parts, and the zip around them."""

from __future__ import annotations

import io
import pickle
import struct
import warnings
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.fuzz.guard import Fault
from tests.fuzz.harness import (
    Claim,
    Example,
    Folder,
    Format,
    Source,
    becomes,
    bounded,
    refused,
    same,
)
from tests.fuzz.npz_arrays import (
    ROWS,
    Trap,
    add_part,
    array_examples,
    make_array,
    make_parts,
    make_sequences,
    member_of,
    pack,
    sequence_examples,
    trim,
    unpack,
)
from tests.fuzz.reading import Reading


class Npz(Format):
    name = "npz"

    def make(self, rng: np.random.Generator) -> Source:
        options: dict[str, Any] = {"fractions": [0.5, 0.25, 0.25]}
        kind = str(rng.choice(["array", "array", "parts", "padded", "lengths"]))
        if kind in ("padded", "lengths"):
            source = Source("sequences", options, "some.npz")
            options["standardise"] = bool(rng.integers(2))
            source.content = make_sequences(rng, kind)
        else:
            source = Source("npz", options, "some.npz")
            source.content = make_parts(rng) if kind == "parts" else make_array(rng, options)
        source.files["some.npz"] = pack(source.content)
        return source

    def expected(self, source: Source) -> list[Example]:
        read = sequence_examples if source.type == "sequences" else array_examples
        return read(source.content, source.options)

    def examples(self, reading: Reading, split: str) -> list[Example]:
        batch, found = reading.splits[split], []
        for row in range(len(batch)):
            example: Example = {}
            for part, x in batch.x.items() if reading.spec.parts else [("", batch.x)]:
                mask = batch.mask if not reading.spec.parts else (batch.mask or {}).get(part)
                present = None if batch.present is None else batch.present.get(part)
                shown = None if mask is None else mask[row].numpy()
                is_there = present is None or bool(present[row])
                add_part(example, part, x[row].numpy(), shown, is_there)
            if batch.condition is not None:
                example["condition"] = batch.condition[row].numpy()
            for name, values in batch.extras.items():
                example[f"extras.{name}"] = values[row].numpy()
            if reading.spec.variable_length:
                trim(example)
            found.append(example)
        return found

    def scaled(self, reading: Reading, wanted: Example) -> Example:
        if not reading.spec.fields:
            return wanted
        with np.errstate(all="ignore"):
            x = (wanted["x"] - offsets(reading)) / scales(reading)
        return {**wanted, "x": np.where(wanted["mask"][:, None], x, 0.0)}

    def compare(self, reading: Reading, wanted: Example, got: Example, tolerance: float) -> bool:
        tolerance = max(tolerance, 2e-4 * bool(reading.spec.fields))
        return super().compare(reading, self.scaled(reading, wanted), got, tolerance)

    def check(self, reading: Reading, train: list[Example]) -> None:
        if reading.spec.fields:
            check_scaling(reading, np.concatenate([row["x"][row["mask"]] for row in train]))

    def reference(self, source: Source) -> Claim:
        data = source.files["some.npz"]
        assert isinstance(data, bytes)
        try:
            source.content = unpack(data)
            examples = self.expected(source)
        except Exception:
            return refused()
        return becomes(examples, refusal="may", tells=None)

    # the same in another form

    def mutate_stores_otherwise(self, source: Source, rng: np.random.Generator) -> Claim:
        """Other byte orders, widths, orders of memory and kinds of zip hold the same."""
        arrays = {}
        for name, array in source.content.items():
            if array.dtype.kind == "f":
                array = array.astype(rng.choice(["<f2", ">f4", "f8", "g"]))
            elif array.dtype.kind in "iu":
                array = array.astype(rng.choice(["<i2", ">i4", "i8", "u8"]))
            arrays[name] = np.asfortranarray(array) if rng.integers(2) else array
        names = rng.permutation(list(arrays))
        compression = int(rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]))
        data = pack({name: arrays[name] for name in names}, compression)
        source.files["some.npz"] = rng.bytes(int(rng.choice([0, 7]))) + data
        return same()

    def mutate_stores_masks_otherwise(self, source: Source, rng: np.random.Generator) -> Claim:
        dtype = rng.choice(["i1", "f4", "u8", "?"])
        arrays = {
            name: array.astype(dtype) * (3 if dtype in ("i1", "f4") else 1)
            if name.startswith(("mask", "present"))
            else array
            for name, array in source.content.items()
        }
        source.files["some.npz"] = pack(arrays)
        return same()

    def mutate_adds_other_arrays(self, source: Source, rng: np.random.Generator) -> Claim:
        name = str(rng.choice(["y", "labels", "X", "meta", "xx", "lenghts"]))
        values = [np.arange(3), np.array([{}], object), np.array("text"), np.zeros(0)]
        source.files["some.npz"] = pack({**source.content, name: values[rng.integers(4)]})
        return same(tells=(name,))

    def mutate_hides_values(self, source: Source, rng: np.random.Generator) -> Claim:
        """Under the mask may be anything."""
        masks = [name for name in source.content if name.startswith(("mask", "present"))]
        if not masks:
            return self.mutate_stores_masks_otherwise(source, rng)
        mask = source.content[masks[0]]
        x = source.content[masks[0].replace("mask", "x").replace("present", "x")]
        if x.dtype.kind == "f":
            x[mask == 0] = rng.choice([np.nan, np.inf, -1e30, 7.0])
        source.files["some.npz"] = pack(source.content)
        return same()

    # other examples

    def mutate_permutes_rows(self, source: Source, rng: np.random.Generator) -> Claim:
        if "lengths" in source.content:
            return self.mutate_changes_a_value(source, rng)
        order = rng.permutation(ROWS)
        arrays = {name: array[order] for name, array in source.content.items()}
        source.files["some.npz"] = pack(arrays)
        return becomes(self.expected(source))

    def mutate_changes_a_value(self, source: Source, rng: np.random.Generator) -> Claim:
        """Only this value differs, and what is standardised with it."""
        x = _some_x(source, rng)
        place = tuple(rng.integers(0, x.shape))
        x[place] = 1 - x[place] if x.max() <= 1 and x.dtype.kind != "f" else x.max() - x[place]
        source.files["some.npz"] = pack(source.content)
        return becomes(self.expected(source))

    def mutate_repeats_rows(self, source: Source, rng: np.random.Generator) -> Claim:
        if "lengths" in source.content:
            return self.mutate_changes_a_value(source, rng)
        index = np.r_[np.arange(ROWS), rng.integers(0, ROWS, 3)]
        source.content = {name: array[index] for name, array in source.content.items()}
        source.files["some.npz"] = pack(source.content)
        return becomes(self.expected(source))

    def mutate_makes_constant(self, source: Source, rng: np.random.Generator) -> Claim:
        """A constant column is not divided by the noise of its mean."""
        x = _some_x(source, rng)
        x[..., 0] = 1 if x.dtype.kind != "f" else rng.choice([0.1, 1000.1, 0.0])
        source.files["some.npz"] = pack(source.content)
        return becomes(self.expected(source))

    def mutate_pads_with_lengths(self, source: Source, rng: np.random.Generator) -> Claim:
        """Padded sequences with lengths are those without their padding."""
        if source.type != "sequences" or "lengths" in source.content:
            return self.mutate_repeats_rows(source, rng)
        source.content.pop("mask", None)
        x = source.content["x"]
        lengths = rng.integers(1, x.shape[1] + 1, len(x))
        lengths[0] = x.shape[1]
        for row, length in zip(x, lengths, strict=True):
            row[length:] = np.nan if x.dtype.kind == "f" else 7
        source.content["lengths"] = lengths
        source.files["some.npz"] = pack(source.content)
        return becomes(self.expected(source), refusal="may")

    # not valid

    def mutate_puts_what_is_not_finite(self, source: Source, rng: np.random.Generator) -> Claim:
        names = [name for name, array in source.content.items() if array.dtype.kind == "f"]
        names = [name for name in names if not name.startswith(("mask", "present"))]
        if not names:
            return self.mutate_changes_shapes(source, rng)
        name = names[rng.integers(len(names))]
        array = source.content[name].astype(np.float64)
        place = tuple(rng.integers(0, array.shape))
        for hidden in ("mask", name.replace("x", "mask", 1), name.replace("x", "present", 1)):
            if hidden in source.content and name.startswith("x"):
                source.content[hidden][:] = 1
        array[place] = rng.choice([np.nan, np.inf, -np.inf, 1e300, -4e38])
        source.files["some.npz"] = pack({**source.content, name: array})
        return refused()

    def mutate_changes_shapes(self, source: Source, rng: np.random.Generator) -> Claim:
        name = str(rng.choice([name for name in source.content if "extras" not in name]))
        array = source.content[name]
        changes = [array[:-1], array[:0], np.array(array.ravel()[0])]
        if len(source.content) == 1:
            changes = changes[1:]
        if name == "x" and "mask" not in source.content:
            changes += [array[:, :0]]
        source.files["some.npz"] = pack(
            {**source.content, name: changes[rng.integers(len(changes))]}
        )
        return refused()

    def mutate_changes_types(self, source: Source, rng: np.random.Generator) -> Claim:
        name = str(rng.choice(list(source.content)))
        shape = source.content[name].shape
        arrays = [np.full(shape, "1"), np.zeros(shape, "c8"), np.zeros(shape, "M8[s]"),
                  np.zeros(shape, "V3"),
                  np.zeros(shape, [("a", "f4")]), np.full(shape, b"1")]  # fmt: skip
        source.files["some.npz"] = pack(
            {**source.content, name: arrays[rng.integers(len(arrays))]}
        )
        return refused()

    def mutate_holds_objects(self, source: Source, rng: np.random.Generator) -> Claim:
        """Objects are never built: this one would create a folder."""
        name = str(rng.choice(list(source.content)))
        stream = io.BytesIO()
        header = {"descr": "|O", "fortran_order": False, "shape": source.content[name].shape}
        np.lib.format.write_array_header_1_0(stream, header)
        member = stream.getvalue() + pickle.dumps(Trap())
        source.files["some.npz"] = pack({**source.content, name: member})
        return refused()

    def mutate_breaks_labels(self, source: Source, rng: np.random.Generator) -> Claim:
        condition = np.arange(ROWS) % 3
        condition[int(rng.integers(ROWS))] = rng.choice([-2, 5, 10**6, 2**62, -(2**63)])
        source.files["some.npz"] = pack({**source.content, "condition": condition})
        return refused()

    def mutate_breaks_lengths(self, source: Source, rng: np.random.Generator) -> Claim:
        if "lengths" not in source.content:
            return self.mutate_breaks_labels(source, rng)
        lengths = source.content["lengths"].copy()
        change = int(rng.integers(6))
        if change == 0:
            lengths[0] += 1
        elif change == 1:
            lengths[0], lengths[1] = -1, lengths[1] + lengths[0] + 1
        elif change == 2:
            lengths = lengths + 0.5
        elif change == 3:
            lengths = lengths[:, None]
        elif change == 4:
            lengths = lengths.astype("i8")
            lengths[:2] += np.array([2**62, -(2**62)])
        else:
            lengths = np.r_[lengths, 0]
        source.files["some.npz"] = pack({**source.content, "lengths": lengths})
        if change < 5:
            return refused()
        return bounded() if "condition" not in source.content else refused()

    def mutate_renames_x(self, source: Source, rng: np.random.Generator) -> Claim:
        arrays = {
            name
            if not name.startswith("x")
            else f"{rng.choice(['X', 'images', '_'])}{name[1:]}": array
            for name, array in source.content.items()
        }
        source.files["some.npz"] = pack(arrays)
        return refused()

    def mutate_lies_in_a_header(self, source: Source, rng: np.random.Generator) -> Claim:
        """What a header declares is checked before anything is allocated or built for it."""
        name = str(
            rng.choice([name for name in source.content if name.startswith(("x", "m", "c"))])
        )
        array, shape = source.content[name], source.content[name].shape
        descr = np.lib.format.dtype_to_descr(array.dtype)
        more = (*shape[:-1], shape[-1] + 1)
        texts = [
            f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {(10**12, *shape[1:])}}}",
            f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {(10**30, *shape[1:])}}}",
            f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {(-1, *shape[1:])}}}",
            f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {more}}}",
            "{'descr': __import__('os').mkdir('trap'), 'fortran_order': False, 'shape': (3,)}",
            f"{{'descr': {descr!r}, 'fortran_order': 7, 'shape': {shape}}}",
            f"{{'descr': 'f9', 'fortran_order': False, 'shape': {shape}}}",
            "{" * 3000,
            "(" * 90,
            "\0",
        ]
        text = texts[rng.integers(len(texts))].encode() + b"\n"
        size = struct.pack("<H", len(text)) if rng.integers(9) else b"\xff\xff"
        member = b"\x93NUMPY\x01\x00" + size + text + array.tobytes()
        source.files["some.npz"] = pack({**source.content, name: member})
        return refused()

    def mutate_gives_no_npz_file(self, source: Source, rng: np.random.Generator) -> Claim:
        stream = io.BytesIO()
        np.save(stream, np.zeros((12, 3)))
        empty = io.BytesIO()
        zipfile.ZipFile(empty, "w").close()
        data = [stream.getvalue(), b"", b"x,y\n1,2\n", pickle.dumps(Trap()), empty.getvalue(),
                b"PK\x03\x04" + rng.bytes(40), b"PK\x05\x06" + bytes(18), Folder()]  # fmt: skip
        source.files["some.npz"] = data[rng.integers(len(data))]  # type: ignore[assignment]
        return refused()

    # the zip

    def mutate_names_members_oddly(self, source: Source, rng: np.random.Generator) -> Claim:
        name = str(
            rng.choice(
                ["../x.npy", "/x.npy", "x.npy/", "a\nb.npy", "\x1b[31m.npy", "é.npy", ".npy"]
            )
        )
        source.files["some.npz"] = pack(
            {**source.content, name: b"" if name.endswith("/") else b"??"}
        )
        return same(tells=None, refusal="may" if name == "x.npy/" else "never")

    def mutate_repeats_a_member(self, source: Source, rng: np.random.Generator) -> Claim:
        """Of two arrays of one name the last one counts, as for numpy."""
        stream = io.BytesIO(source.files["some.npz"])  # type: ignore[arg-type]
        name = next(iter(source.content))
        array = source.content[name].copy()
        array.flat[0] = 1 - min(int(array.flat[0]), 1) if array.dtype.kind != "f" else 0.5
        original = self.expected(source)
        with zipfile.ZipFile(stream, "a") as archive, warnings.catch_warnings(action="ignore"):
            archive.writestr(f"{name}.npy", member_of(array))
        source.content[name] = array
        source.files["some.npz"] = stream.getvalue()
        return becomes(self.expected(source), original, refusal="may", tells=None)

    def mutate_leaves_out_an_ending(self, source: Source, rng: np.random.Generator) -> Claim:
        """A member without .npy is no array for numpy."""
        stream = io.BytesIO()
        name = str(rng.choice(list(source.content)))
        with zipfile.ZipFile(stream, "w") as archive:
            for key, array in source.content.items():
                archive.writestr(key if key == name else f"{key}.npy", member_of(array))
        source.files["some.npz"] = stream.getvalue()
        return bounded()

    def mutate_breaks_the_directory(self, source: Source, rng: np.random.Generator) -> Claim:
        """Fields of a local or central header: flags, method, checksum, sizes, offsets."""
        data = bytearray(source.files["some.npz"])  # type: ignore[arg-type]
        is_central = bool(rng.integers(2))
        start = data.find(b"PK\x01\x02" if is_central else b"PK\x03\x04")
        size = 46 if is_central else 30
        place = start + int(rng.integers(4, size))
        data[place] = (data[place] + int(rng.choice([1, 99, 255]))) % 256
        source.files["some.npz"] = bytes(data)
        return self.reference(source)


def offsets(reading: Reading) -> np.ndarray:
    return np.array([field.offset for field in reading.spec.fields])


def scales(reading: Reading) -> np.ndarray:
    return np.array([field.scale for field in reading.spec.fields])


def check_scaling(reading: Reading, train: np.ndarray, fields: Sequence[Any] = ()) -> None:
    """Checks offsets and scales of columns against training values ``[n, D]``; NaN are missing.

    Raises:
        Fault: they are not the mean and the deviation, or the scale of a constant column is not 1.
    """
    for field, values in zip(fields or reading.spec.fields, train.T, strict=True):
        values = values[~np.isnan(values)]
        with np.errstate(all="ignore"):
            mean, deviation, size = values.mean(), values.std(), np.abs(values).max()
        wanted = 1.0 if values.max() == values.min() else float(deviation)
        if wanted <= 1e-6 * size or not np.isfinite(wanted + mean):
            continue  # what is left of the digits is not known
        if abs(field.offset - mean) > 1e-5 * wanted + 1e-9 * size:
            raise Fault(f"column {field.name!r}: offset {field.offset}, the mean is {mean}")
        if abs(field.scale - wanted) > 1e-4 * wanted:
            raise Fault(f"column {field.name!r}: scale {field.scale}, not {wanted}")


def _some_x(source: Source, rng: np.random.Generator) -> np.ndarray:
    names = [name for name in source.content if name == "x" or name.startswith("x.")]
    array: np.ndarray = source.content[names[rng.integers(len(names))]]
    return array
