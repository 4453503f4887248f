"""Image folders: files of many kinds and modes, names, layouts, and other things in folders."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

from tests.fuzz.harness import (
    Claim,
    Example,
    Folder,
    Format,
    Link,
    Pipe,
    Source,
    becomes,
    bounded,
    refused,
    same,
)
from tests.fuzz.pictures import (
    LOSSLESS,
    ORIENTATION,
    ROTATIONS,
    SETTINGS,
    UNDONE,
    Picture,
    bomb,
    chunk,
    decode,
    encode,
    expect,
    png_of,
    save,
)
from tests.fuzz.reading import Reading


class Images(Format):
    name = "images"

    def make(self, rng: np.random.Generator) -> Source:
        layout = rng.choice(["flat", "classes", "splits"])
        size = int(rng.choice([0, 0, 3]))
        options = {"channels": int(rng.choice([1, 3])), "size": size}
        options |= {"memory": int(rng.choice([2048, 0]))}
        options |= {"fractions": [0.5, 0.25, 0.25]} if layout != "splits" else {}
        splits = ("train", "validation", "test") if layout == "splits" else ("",)
        labels = ("",) if layout == "flat" else ("cat", "dog")
        source = Source("image-folder", options, "pictures", content=[])
        grey = bool(rng.integers(2))
        for split in splits:
            for label in labels:
                for number in range(8 // len(splits) // len(labels) + 1):
                    shape = (1, 1, 3) if size else (6, 6, 3)
                    pixels = rng.integers(0, 256, shape, np.uint8)
                    if size:  # one colour, whatever the size of the file
                        pixels = np.tile(pixels, (*rng.integers(2, 9, 2), 1))
                    if grey:
                        pixels = np.repeat(pixels[..., :1], 3, -1)
                    parts = (source.path, split, label, f"p{number}.png")
                    file = "/".join(part for part in parts if part)
                    source.content.append(Picture(file, pixels, label, split))
                    source.files[file] = encode(pixels, "png")
        return source

    def expected(self, source: Source) -> list[Example]:
        return [expect(source, picture) for picture in source.content]

    def examples(self, reading: Reading, split: str) -> list[Example]:
        batch, classes = reading.splits[split], reading.spec.classes
        labels = [""] * len(batch)
        if batch.condition is not None:
            labels = [classes[i] for i in batch.condition]
        x = (batch.x * 255).numpy()
        return [{"x": row, "label": label} for row, label in zip(x, labels, strict=True)]

    def compare(self, reading: Reading, wanted: Example, got: Example, tolerance: float) -> bool:
        """Colours become grey to half a level, and nothing else is rounded."""
        limit = max(tolerance, 0.51 if reading.spec.shape[0] == 1 else 1e-3)
        return (
            wanted["label"] == got["label"]
            and wanted["x"].shape == got["x"].shape
            and bool((np.abs(wanted["x"] - got["x"]) <= limit).all())
        )

    def reference(self, source: Source) -> Claim:
        examples, shapes, is_known = [], set(), True
        for picture in source.content:
            try:
                pixels, is_plain = decode(source.files[picture.file])
            except Exception:
                return refused(*_names(picture.file))
            picture.pixels = pixels
            shapes.add(None if source.options["size"] else pixels.shape)
            is_uniform = bool((np.ptp(pixels, (0, 1)) < 2).all())  # scaling keeps the colour
            is_known &= is_plain and (is_uniform or not source.options["size"])
            if is_known:
                examples.append(expect(source, picture))
        if len(shapes) > 1:
            return refused(*(picture.file.rpartition("/")[2] for picture in source.content))
        if not is_known:
            return bounded(names=_all_names(source))
        return becomes(
            examples, refusal="may", names=_all_names(source), tolerance=1.01, tells=None
        )

    # files beside the pictures

    def mutate_adds_other_files(self, source: Source, rng: np.random.Generator) -> Claim:
        place = _some_folder(source, rng)
        names = ["notes.txt", "labels.csv", "p0.png.bak", "README", "a.npz"]
        name = str(rng.choice(names))
        source.files[f"{place}/{name}"] = rng.bytes(10)
        return same(tells=(name,))

    def mutate_adds_hidden_files(self, source: Source, rng: np.random.Generator) -> Claim:
        place = _some_folder(source, rng)
        name = rng.choice(
            [".DS_Store", "._p0.png", ".p9.png", ".git/HEAD", ".ipynb_checkpoints/a.png"]
        )
        source.files[f"{place}/{name}"] = rng.bytes(20)
        return same(tells=None)

    def mutate_adds_what_cannot_be_read(self, source: Source, rng: np.random.Generator) -> Claim:
        place, name = _some_folder(source, rng), _hostile_name(rng)
        picture = encode(source.content[0].pixels, "png")
        text = b"<html>" * 9
        data = [b"", b"\x89PNG\r\n\x1a\n", rng.bytes(50), text, picture[:40], bomb(rng)]
        source.files[f"{place}/{name}.png"] = data[rng.integers(len(data))]
        return refused(*_names(f"{name}.png"), "pictures")

    def mutate_adds_a_pipe(self, source: Source, rng: np.random.Generator) -> Claim:
        source.files[f"{_some_folder(source, rng)}/pipe.png"] = Pipe()
        return same(tells=None, refusal="may", names=("pipe.png",))

    def mutate_adds_a_link_to_nothing(self, source: Source, rng: np.random.Generator) -> Claim:
        source.files[f"{_some_folder(source, rng)}/link.png"] = Link(
            str(rng.choice(["nothing", "link.png"]))
        )
        return same(tells=("link.png",), refusal="may", names=("link.png",))

    def mutate_adds_a_folder_named_like_a_picture(self, source: Source, rng: Any) -> Claim:
        place = source.content[0].file.rpartition("/")[0]
        if source.content[0].label:
            source.files[f"{place}/folder.png"] = Folder()
            return same(tells=None)
        source.files[f"{place}/folder.png"] = Folder()
        return bounded(names=("folder.png", "pictures"))

    def mutate_nests_a_picture(self, source: Source, rng: np.random.Generator) -> Claim:
        """A folder below a class is a part of it, or is told to be left out."""
        picture = _pick(source, rng)
        folder, _, name = picture.file.rpartition("/")
        if not picture.label:
            return self.mutate_adds_other_files(source, rng)
        source.files[f"{folder}/more/{name}"] = encode(255 - picture.pixels, "png")
        return same(tells=("more",), refusal="may", names=("more",))

    def mutate_adds_a_picture_beside_classes(
        self, source: Source, rng: np.random.Generator
    ) -> Claim:
        picture = _pick(source, rng)
        if not picture.label:
            return self.mutate_adds_other_files(source, rng)
        folder = picture.file.rpartition("/")[0].rpartition("/")[0]
        source.files[f"{folder}/beside.png"] = encode(picture.pixels, "png")
        return same(tells=("beside.png",), refusal="may", names=("beside.png",))

    # names and layouts

    def mutate_renames(self, source: Source, rng: np.random.Generator) -> Claim:
        """Names with any characters, and endings in capitals, change the order alone."""
        for picture in source.content:
            if rng.integers(2):
                suffix = str(rng.choice([".png", ".PNG", ".Png"]))
                folder = picture.file.rpartition("/")[0]
                _move(source, picture, f"{folder}/{_hostile_name(rng)}{suffix}")
        return becomes(self.expected(source))

    def mutate_writes_splits_otherwise(self, source: Source, rng: np.random.Generator) -> Claim:
        """Train, TRAIN and train_set are train, val is validation."""
        if not source.content[0].split:
            return self.mutate_renames(source, rng)
        change = str(rng.choice(["capital", "upper", "val", "set"]))
        for name in list(source.files):
            parts = name.split("/")
            parts[1] = {
                "capital": parts[1].capitalize(),
                "upper": parts[1].upper(),
                "val": {"validation": "val"}.get(parts[1], parts[1]),
                "set": f"{parts[1]}_set",
            }[change]
            source.files["/".join(parts)] = source.files.pop(name)
        return same()

    def mutate_removes_a_split(self, source: Source, rng: np.random.Generator) -> Claim:
        """Validation and test are cut out of train if they are missing; train never is."""
        if not source.content[0].split:
            return self.mutate_renames(source, rng)
        name = str(rng.choice(["train", "validation", "test"]))
        source.files = {k: v for k, v in source.files.items() if k.split("/")[1] != name}
        source.content = [picture for picture in source.content if picture.split != name]
        if name == "train":
            return refused("pictures")
        return becomes(self.expected(source), refusal="may", names=("pictures",))

    def mutate_removes_a_class_of_a_split(self, source: Source, rng: np.random.Generator) -> Claim:
        picture = _pick(source, rng)
        folder = picture.file.rpartition("/")[0]
        if not picture.split:
            source.files[f"pictures/{_hostile_name(rng)}/a.txt"] = b""
            return refused() if picture.label else bounded()
        source.files = {k: v for k, v in source.files.items() if not k.startswith(folder)}
        return refused("pictures")

    def mutate_empties_a_class(self, source: Source, rng: np.random.Generator) -> Claim:
        picture = _pick(source, rng)
        if not picture.label:
            return self.mutate_renames(source, rng)
        folder = picture.file.rpartition("/")[0]
        source.files = {k: v for k, v in source.files.items() if not k.startswith(folder)}
        source.files[folder] = Folder()
        return refused(picture.label)

    def mutate_names_a_class_oddly(self, source: Source, rng: np.random.Generator) -> Claim:
        if not source.content[0].label:
            return self.mutate_renames(source, rng)
        label = _hostile_name(rng)
        for picture in source.content:
            if picture.label == "cat":
                picture.label = label
                _move(
                    source,
                    picture,
                    "/".join(label if p == "cat" else p for p in picture.file.split("/")),
                )
        return becomes(self.expected(source), refusal="may", names=("pictures",))

    def mutate_gives_a_file(self, source: Source, rng: np.random.Generator) -> Claim:
        if rng.integers(2):
            source.path = source.content[0].file
            return refused()
        source.files = {"pictures": Folder()}
        return refused()

    # the pictures themselves

    def mutate_changes_a_pixel(self, source: Source, rng: np.random.Generator) -> Claim:
        picture = _pick(source, rng)
        place = (slice(None),) if source.options["size"] else tuple(rng.integers(0, 6, 2))
        picture.pixels[place] += np.uint8(100)
        source.files[picture.file] = encode(picture.pixels, "png")
        return becomes(self.expected(source))

    def mutate_copies_or_removes_one(self, source: Source, rng: np.random.Generator) -> Claim:
        picture = source.content[-1]
        if rng.integers(2):
            copied = Picture(
                picture.file[:-4] + "9.png", picture.pixels, picture.label, picture.split
            )
            source.content.append(copied)
            source.files[copied.file] = encode(copied.pixels, "png")
        else:
            source.content.remove(picture)
            del source.files[picture.file]
        return becomes(self.expected(source))

    def mutate_stores_otherwise(self, source: Source, rng: np.random.Generator) -> Claim:
        """Another lossless format, a palette, opaque alpha, or grey shows the same picture."""
        for picture in source.content:
            kind = str(rng.choice(LOSSLESS))
            modes = ["RGB"]
            modes += ["RGBA"] if kind in ("png", "tif", "webp") else []
            modes += ["P"] if kind in ("png", "tif", "gif", "bmp") else []
            if (picture.pixels == picture.pixels[..., :1]).all():
                modes += ["L"] if kind in ("png", "tif", "gif", "bmp", "ppm") else []
                modes += ["LA"] if kind in ("png", "tif") else []
            mode = "P" if kind == "gif" else str(rng.choice(modes))
            del source.files[picture.file]
            if rng.integers(4):  # else the ending lies
                picture.file = picture.file[:-3] + kind
            source.files[picture.file] = encode(picture.pixels, kind, mode)
        return becomes(self.expected(source))

    def mutate_stores_as_jpeg(self, source: Source, rng: np.random.Generator) -> Claim:
        """JPEG loses something; CMYK, grey and progressive files are ordinary ones."""
        picture = _pick(source, rng)
        mode = str(rng.choice(["RGB", "L", "CMYK"]))
        data = encode(picture.pixels, "jpeg", mode, quality=90, progressive=bool(rng.integers(2)))
        _replace(source, picture, "jpg", data)
        picture.pixels, _ = decode(data)
        return becomes(self.expected(source), tolerance=2.01)

    def mutate_rotates_by_exif(self, source: Source, rng: np.random.Generator) -> Claim:
        """The picture is the one that is seen."""
        picture, orientation = _pick(source, rng), int(rng.integers(1, 9))
        stored, exif = ROTATIONS[orientation](picture.pixels), Image.Exif()
        exif[ORIENTATION] = orientation
        kind = str(rng.choice(["png", "webp", "jpeg", "tif"]))
        data = encode(np.ascontiguousarray(stored), kind, exif=exif)
        if kind == "jpeg":
            picture.pixels = UNDONE[orientation](decode(data, rotate=False)[0])
        _replace(source, picture, kind, data)
        return becomes(self.expected(source), tolerance=1.01)

    def mutate_damages_exif(self, source: Source, rng: np.random.Generator) -> Claim:
        picture = _pick(source, rng)
        exif = [b"", b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\xff", b"Exif\0\0" + rng.bytes(30)]
        data = encode(picture.pixels, "png", exif=exif[rng.integers(len(exif))])
        source.files[picture.file] = data
        return becomes(self.expected(source), refusal="may", names=_all_names(source))

    def mutate_adds_metadata(self, source: Source, rng: np.random.Generator) -> Claim:
        picture = _pick(source, rng)
        chunks = [(b"gAMA", struct.pack(">I", 45455)), (b"tEXt", b"Comment\0\xff\x00"),
                  (b"iCCP", b"x\0\0" + zlib.compress(b"no profile")), (b"pHYs", bytes(9)),
                  (b"zTXt", b"a\0\0" + zlib.compress(bytes(2_000_000)))]  # fmt: skip
        name, data = chunks[rng.integers(len(chunks))]
        png = encode(picture.pixels, "png")
        source.files[picture.file] = png[:33] + chunk(name, data) + png[33:]
        claim = {"refusal": "may", "names": _all_names(source)} if name == b"zTXt" else {}
        return same(**claim)

    def mutate_stores_16_bits(self, source: Source, rng: np.random.Generator) -> Claim:
        """The same picture to 1/255, or a refusal."""
        picture = _pick(source, rng)
        kind = str(rng.choice(["grey", "colour", "tif"]))
        deep = picture.pixels.astype(np.uint16) * 257
        deep = np.clip(deep.astype(int) + rng.integers(-60, 61, deep.shape), 0, 65535).astype(
            np.uint16
        )
        if kind == "colour":
            data = png_of(deep, depth=16)
        else:
            grey = deep[..., 0]
            picture.pixels = np.repeat(picture.pixels[..., :1], 3, -1)
            data = (
                png_of(grey, depth=16) if kind == "grey" else save(Image.fromarray(grey), "tiff")
            )
        _replace(source, picture, "tif" if kind == "tif" else "png", data)
        return becomes(self.expected(source), refusal="may", names=_names(picture.file),
                       tolerance=1.51)  # fmt: skip

    def mutate_stores_wide_numbers(self, source: Source, rng: np.random.Generator) -> Claim:
        """32-bit integers and floats have no range that is known: clipping them is wrong."""
        picture = _pick(source, rng)
        dtype = np.int32 if rng.integers(2) else np.float32
        values = picture.pixels[..., 0].astype(dtype) * int(rng.choice([1, 40, 10**6]))
        if dtype is np.float32 and rng.integers(2):
            values = values.astype(np.float32) / 255 * 10
            values[0, 0] = rng.choice([np.nan, np.inf, -1.0])
        picture.pixels = np.repeat(picture.pixels[..., :1], 3, -1)
        _replace(source, picture, "tif", save(Image.fromarray(values), "tiff"))
        if (
            values.max() <= 255
            and np.isfinite(values).all()
            and (values == values.astype(int)).all()
        ):
            return becomes(self.expected(source), refusal="may", names=_names(picture.file))
        return refused(*_names(picture.file), "pictures")

    def mutate_stores_few_bits(self, source: Source, rng: np.random.Generator) -> Claim:
        picture = _pick(source, rng)
        bits = int(rng.choice([1, 2, 4]))
        levels = picture.pixels[..., 0] >> (8 - bits)
        pixels = (levels.astype(int) * 255 // (2**bits - 1)).astype(np.uint8)
        picture.pixels = np.repeat(pixels[..., None], 3, -1)
        _replace(source, picture, "png", png_of(levels, depth=bits))
        return becomes(self.expected(source), tolerance=1.01)

    def mutate_makes_transparent(self, source: Source, rng: np.random.Generator) -> Claim:
        """What transparent pixels hide has no influence; behind them is black or white."""
        picture = _pick(source, rng)
        alpha = rng.choice(np.array([0, 255], np.uint8), picture.pixels.shape[:2])
        if source.options["size"]:
            alpha[:] = alpha[0, 0]
        is_hidden = alpha == 0
        stored = picture.pixels.copy()
        stored[is_hidden] = rng.integers(0, 256, 3)
        kind = str(rng.choice(["png", "webp", "tif"]))
        if rng.integers(3) == 0:  # one transparent colour, or entry of the palette
            kind, hidden = "png", stored[0, 0].copy()
            is_hidden = (stored == hidden).all(-1)
            data = encode(stored, "png", "RGB", transparency=tuple(map(int, hidden)))
        else:
            image = Image.fromarray(np.dstack([stored, alpha]), "RGBA")
            data = save(image, kind, **SETTINGS.get(kind, {}))
        answers = []
        for ground in (0, 255):
            picture.pixels = np.where(is_hidden[..., None], ground, stored).astype(np.uint8)
            answers.append(self.expected(source))
        _replace(source, picture, kind, data)
        return becomes(*answers, refusal="may", names=_names(picture.file), tells=None,
                       tolerance=1.01)  # fmt: skip

    def mutate_adds_pages(self, source: Source, rng: np.random.Generator) -> Claim:
        """A file of several pictures is refused, or it is said that one of them is used."""
        picture = _pick(source, rng)
        kind = str(rng.choice(["gif", "tif", "png", "webp"]))
        frames = [Image.fromarray(255 - picture.pixels), Image.fromarray(picture.pixels)]
        settings = {**SETTINGS.get(kind, {}), "save_all": True, "append_images": frames[:-1]}
        if kind == "gif":
            frames = [frame.quantize(256, dither=Image.Dither.NONE) for frame in frames]
            settings |= {"append_images": frames[:-1]}
        data = save(frames[-1], kind, **settings)
        _replace(source, picture, kind, data)
        name = picture.file.rpartition("/")[2]
        return becomes(self.expected(source), refusal="may", names=(name,), tells=(name,))

    def mutate_changes_a_size(self, source: Source, rng: np.random.Generator) -> Claim:
        picture = _pick(source, rng)
        picture.pixels = np.repeat(picture.pixels, int(rng.integers(2, 4)), int(rng.integers(2)))
        source.files[picture.file] = encode(picture.pixels, "png")
        if source.options["size"]:
            return same()
        return refused(*(picture.file.rpartition("/")[2] for picture in source.content))

    def mutate_lies_about_the_size(self, source: Source, rng: np.random.Generator) -> Claim:
        picture = _pick(source, rng)
        source.files[picture.file] = bomb(rng)
        return refused(*_names(picture.file), "pictures")


def _pick(source: Source, rng: np.random.Generator) -> Picture:
    picture: Picture = source.content[rng.integers(len(source.content))]
    return picture


def _move(source: Source, picture: Picture, file: str) -> None:
    if file not in source.files:
        source.files[file] = source.files.pop(picture.file)
        picture.file = file


def _replace(source: Source, picture: Picture, suffix: str, data: bytes) -> None:
    del source.files[picture.file]
    picture.file = f"{picture.file.rpartition('.')[0]}.{suffix}"
    source.files[picture.file] = data


def _some_folder(source: Source, rng: np.random.Generator) -> str:
    return _pick(source, rng).file.rpartition("/")[0]


def _names(file: str) -> tuple[str, ...]:
    """What a message must hold of a file: its name, unless that cannot be printed."""
    name = file.rpartition("/")[2]
    return (name,) if name.isprintable() else ("pictures",)


def _all_names(source: Source) -> tuple[str, ...]:
    return tuple(name for picture in source.content for name in _names(picture.file))


def _hostile_name(rng: np.random.Generator) -> str:
    names = ["ä ö", "日本", "a\nb", "\x1b[31mred", "%s %d", "$HOME", "a'b\"c", "-rf", "x" * 200,
             "\udcff\udcfe", "a\u2028b", "<b>", "{0}", " ", "con.", "#1", "\u202eab"]  # fmt: skip
    return f"{names[rng.integers(len(names))]}{rng.integers(1000)}"
