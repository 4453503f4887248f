"""Files of sequences, music and text as people have them: what they mean, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from vaezoo_vrae.formats import SourceLines
from vaezoo_vrae.midi import Midi
from vaezoo_vrae.midi_files import read_song, write_roll
from vaezoo_vrae.polyphonic import Polyphonic
from vaezoo_vrae.ragged import RaggedSequences, ragged_split
from vaezoo_vrae.sequence_files import read_csv
from vaezoo_vrae.sequences import Sequences
from vaezoo_vrae.series import with_gaps
from vaezoo_vrae.text import Text

import vaezoo

SPLITS = ("train", "validation", "test")


def refusal(call):
    """The message of the DataError that a function raises, without the folder of the file."""
    with pytest.raises(vaezoo.DataError) as caught:
        call()
    assert str(caught.value).isprintable()
    return re.sub(r"/\S*/", "", str(caught.value))


@pytest.fixture
def npz(tmp_path):
    """Sequences from arrays."""

    def make(*, standardise=True, window=0, **arrays):
        np.savez(tmp_path / "x.npz", **arrays)
        return Sequences(path=str(tmp_path / "x.npz"), standardise=standardise, window=window)

    return make


def padded(lengths):
    """Sequences around 5 with NaN behind their ends, and their mask."""
    x = np.random.default_rng(0).normal(5, 1, (len(lengths), 9, 2)).astype(np.float32)
    mask = np.arange(9) < np.array(lengths)[:, None]
    return np.where(mask[..., None], x, np.nan), mask


def test_the_same_sequences_may_be_padded_or_not(npz):
    lengths = np.random.default_rng(0).integers(1, 9, 30)
    x, mask = padded(lengths)
    base = npz(x=x[mask], lengths=lengths)
    assert base.spec.shape[0] == lengths.max()
    assert base.spec.fields[0].offset == pytest.approx(5, abs=0.3)
    for arrays in (
        {"x": x, "mask": mask},
        {"x": np.asfortranarray(x), "lengths": lengths},
        {"x": x, "mask": mask * 9, "lengths": lengths},
    ):
        data = npz(**arrays)
        assert data.spec == base.spec and data.sizes == base.sizes and data.left_out == ()
        for name in SPLITS:
            split, expected = data.split(name), base.split(name)
            assert torch.equal(split.x, expected.x) and torch.equal(split.mask, expected.mask)
            order = expected.epoch_order(0, 1, 4)
            assert torch.equal(split.epoch_order(0, 1, 4), order)


@pytest.mark.parametrize("window", [0, 3])
def test_steps_in_between_may_be_hidden(npz, window):
    x, mask = padded([9] * 10)
    mask[:, 2:4] = mask[:, 6:] = mask[3] = False
    x[~mask] = np.inf
    data = npz(x=x, mask=mask, window=window, standardise=False)
    train = data.split("train")
    assert train.x.isfinite().all() and not train.x[~train.mask].any()
    assert data.left_out[0] == "1 sequence with no step (3)"
    assert data.spec.shape[0] == (window or 6)
    shown = sum(int(data.split(name).mask.sum()) for name in SPLITS)
    assert shown == mask.sum() and sum(data.sizes.values()) == (18 if window else 9)
    scaled, values = npz(x=x, mask=mask).spec.fields[0], x[mask]
    assert scaled.offset == pytest.approx(values[:, 0].mean(), abs=0.2)
    hidden = [[True, True, False], [False, True, True]]
    assert window == 0 or train.mask.tolist()[:2] == hidden


def test_windows_without_an_observed_step_are_left_out(npz):
    x, mask = padded([9] * 10)
    mask[:, 3:6] = False
    data = npz(x=x, mask=mask, window=3)
    assert sum(data.sizes.values()) == 20
    assert data.left_out == ("10 pieces with no observed step (train, train, ...)",)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.zeros(5)}, "x.npz: needs a numeric array x"),
        ({"x": np.zeros((5, 2))}, "x.npz: needs a numeric array x"),
        ({"x": np.zeros((0, 3, 2)), "condition": np.zeros(0, int)}, "contains no sequences"),
        ({"x": np.zeros((4, 3, 0))}, "contains no sequences"),
        ({"x.a": np.zeros((4, 3, 2))}, "has several parts"),
        ({"x": np.zeros((5, 2)), "lengths": np.array([2, 2])}, "do not add up to the 5 steps"),
        ({"x": np.zeros((5, 2)), "lengths": np.array([6, -1])}, "'lengths' row 1 is -1"),
        ({"x": np.zeros((4, 3, 2)), "lengths": np.array([3, 3, 4, 1])}, "'lengths' row 2 is 4"),
        ({"x": np.zeros((4, 3, 2)), "lengths": np.zeros(4, int)}, "no sequence has an observed"),
        ({"x": np.zeros((4, 3, 2)), "mask": np.zeros((4, 3))}, "no sequence has an observed"),
        ({"x": np.zeros((4, 3, 2)), "mask": np.ones((4, 3, 2))}, "must hide whole steps"),
        ({"x": np.zeros((4, 3, 2)), "mask": np.ones((4, 2))}, "'mask' (4, 2) does not cover"),
        ({"x": np.zeros((4, 3, 2)), "mask": np.full((4, 3), -1)}, "'mask' row 0 holds -1"),
        ({"x": np.full((4, 3, 2), np.nan)}, "sequence 0 contains NaN or infinity in step 0"),
        ({"x": np.full((4, 3, 2), 1e300)}, "sequence 0 contains NaN or infinity in step 0"),
        ({"x": np.zeros((4, 3, 2)), "condition": np.array([0, 1])}, "a label for each of the 4"),
        (
            {"x": np.zeros((4, 3, 2)), "condition": np.arange(4) * 10**9},
            "no row of 'condition' is 1",
        ),
    ],
)
def test_bad_arrays_are_named(npz, arrays, words):
    assert words in refusal(lambda: npz(**arrays).split("train"))


def test_what_is_not_read_is_named(npz):
    x = np.random.default_rng(0).normal(size=(20, 3, 2))
    labels = np.zeros(20, int)
    labels[vaezoo.split_indices(20, (0.8, 0.1, 0.1), 0, "")["test"]] = 1
    data = npz(x=x, condition=labels, labels=labels, **{"extras.w": x})
    assert data.left_out == ("2 arrays that are not read (extras.w, labels)",)
    assert data.notes == ("1 class without a training example (1)",)


def test_a_column_that_is_constant_is_not_scaled(npz):
    x = np.random.default_rng(0).normal(size=(20, 3, 2)).astype(np.float32)
    x[..., 1] = 0.1
    assert npz(x=x).spec.fields[1].scale == 1


@pytest.mark.parametrize("kind", ["npz", "csv"])
def test_a_column_that_varies_little_about_a_large_mean_is_scaled(npz, tmp_path, kind):
    x = 1.7e9 + np.arange(1000.0).reshape(20, 50, 1)  # times in seconds have no place in float32
    if kind == "npz":
        data = npz(x=x)
    else:
        for i, sequence in enumerate(x):
            np.savetxt(tmp_path / f"{i}.csv", sequence, fmt="%.1f", header="t", comments="")
        data = Sequences(path=str(tmp_path))
    train = data.split("train")
    assert train.x.dtype == torch.float32 and train.x.abs().max() < 2
    assert train.x.std() == pytest.approx(1, abs=0.01)
    steps = train.transform(train.x).diff(dim=1) * data.spec.fields[0].scale
    torch.testing.assert_close(steps, torch.ones_like(steps), rtol=1e-3, atol=0)


def test_half_precision_is_read_without_a_warning(npz):
    x = np.linspace(-9, 9, 120, dtype=np.float16).reshape(20, 3, 2)
    assert npz(x=x).spec.shape == (3, 2)


def test_binary_sequences_are_stored_as_bytes(npz):
    data = npz(x=np.random.default_rng(0).integers(0, 2, (20, 3, 2)).astype(np.float64))
    split = data.split("train")
    assert (data.spec.support, split.x.dtype) == ("binary", torch.uint8)
    assert split.transform(split.x).dtype == torch.float32


def test_sequences_that_do_not_fit_in_memory_are_refused():
    few = RaggedSequences([np.zeros((1, 1))] * 2)
    message = refusal(lambda: ragged_split(few, 2**50, None))
    assert message.startswith("2 sequences, padded to the 1,125,899,906,842,624 steps")
    assert "GiB of memory; remove the longest" in message


@pytest.mark.parametrize(
    ("content", "result"),
    [
        ("\ufeff1,2\r\n3,4\r\n", [[1, 2], [3, 4]]),  # as spreadsheets write it
        ("a,b\n1,2\n\n", [[1, 2]]),
        (",0,1\n0,1,2\n", [[0, 1, 2]]),  # an index
        ("time,0\n1,2\n", [[1, 2]]),
        ("1;2\n3;4\n", [[1, 2], [3, 4]]),
        ("a\tb\n1\t2\n", [[1, 2]]),
        ("1,b\n1,2\n", "x.csv:1: column 2: 'b' is not a number"),
        ("1|b\n1_000|2\n", "x.csv:1: column 2: 'b' is not a number"),
        ("a|b\n1_000|2\n", "x.csv:2: column 1: '1_000' has separators of thousands; write"),
        ("nan,1\n1,2\n", "x.csv:1: column 1: 'nan' is not a finite number"),
        ("NA,b\n1,2\n", "x.csv:1: column 1: 'NA' is not a finite number"),
        (",1\n1,2\n", "x.csv:1: column 1: '' is not a finite number"),
        ("1,2\n\n3,inf\n", "x.csv:3: column 2: 'inf' is not a finite number"),
        ("1,2\n3,4e38\n", "x.csv:2: column 2: '4e38' is not a finite number"),
        ("1,5;2\n", "x.csv:1: column 2: '5;2' is not a number"),
        ("a;b\n1,5;2\n", "x.csv:2: column 1: '1,5' has a decimal comma; write it as 1234.5"),
        ("a,b\n1,2\n3\n", "x.csv:3: has 1 cells, expected 2"),
        ("a,b\n", "x.csv: contains no rows of numbers"),
        ("", "x.csv: contains no rows of numbers"),
        ('1,2\n"3,4\n5,6\n', "x.csv:2: cannot be read as csv: a quote is not closed"),
        ("1,2\n3,\0\n", "x.csv:2: has a NUL byte"),
    ],
)
def test_a_csv_file_is_rows_of_numbers_below_a_header(tmp_path, content, result):
    path = tmp_path / "x.csv"
    path.write_bytes(content.encode())
    if isinstance(result, list):
        assert read_csv(path).tolist() == result
    else:
        assert result in refusal(lambda: read_csv(path))


def test_text_in_another_encoding_is_named_by_its_line(tmp_path):
    for name in ("x.csv", "x.txt"):
        path = tmp_path / name
        path.write_bytes("text\nné\n".encode("latin1"))
        assert f"{name}:2: byte 0xe9 is not" in refusal(
            lambda path=path: Text(path=str(path)).spec
        )
        path.write_bytes("text\nn\n".encode("utf-16"))
        assert f"{name}: is UTF-16 text" in refusal(lambda path=path: Text(path=str(path)).spec)


@pytest.fixture
def folder(tmp_path):
    """Writes files of three steps."""

    def make(*names):
        for number, name in enumerate(names):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(f"a\n{number}.5\n2\n3\n")
        return tmp_path

    return make


def test_folders_of_splits_keep_their_files_and_classes(folder):
    names = [f"Train/{label}/{i}.csv" for label in ("calm", "wild") for i in range(4)]
    root = folder(*names, "test/wild/a.CSV", "test/b.csv", "train.txt", "Train/calm/notes.md")
    data = Sequences(path=str(root), standardise=False)
    assert data.spec.classes == ("calm", "wild")
    assert data.sizes == {"train": 7, "validation": 1, "test": 1}
    test = data.split("test")
    assert test.condition.tolist() == [1] and test.x[0, 0] == 8.5
    assert data.left_out == (
        "1 file with another ending (Train/calm/notes.md)",
        "1 file beside the splits (train.txt)",
        "1 file in no folder of a class (test/b.csv)",
    )
    folder("test/odd/c.csv")
    assert "odd: " in refusal(lambda: Sequences(path=str(root)).spec)


def test_files_that_cannot_be_read_may_be_skipped(folder):
    root = folder(*(f"{i}.tsv" for i in range(11)))
    (root / "3.tsv").write_text("1\n2,3\n")
    assert "3.tsv:2: " in refusal(lambda: Sequences(path=str(root)).spec)
    data = Sequences(path=str(root), unreadable="skip")
    assert sum(data.sizes.values()) == 10
    assert data.left_out == (
        "1 file that cannot be read (3.tsv), the first: 3.tsv:2: column 1: '2,3' has a decimal "
        "comma; write it as 1234.5",
    )
    (root / "2.tsv").write_text("1\t2\n")
    message = refusal(lambda: Sequences(path=str(root), unreadable="skip").spec)
    assert message == "2.tsv: has 2 columns, but 0.tsv has 1"
    for path in root.iterdir():
        path.write_text("x")
    message = refusal(lambda: Sequences(path=str(root), unreadable="skip").spec)
    assert "no file can be read; the first: " in message


def midi(*events, ticks=2, kind=0):
    """A MIDI file with the bytes of a track."""
    track = b"".join(map(bytes, events)) + b"\0\xff\x2f\0"
    head = b"MThd\0\0\0\6" + b"".join(n.to_bytes(2, "big") for n in (kind, 1, ticks % 2**16))
    return head + b"MTrk" + len(track).to_bytes(4, "big") + track


def on(delta, key, channel=0):
    return (delta, 0x90 | channel, key, 64)


def off(delta, key, channel=0):
    return (delta, 0x80 | channel, key, 64)


FAR = (0xFF, 0xFF, 0xFF, 0x7F)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (midi(on(0, 60), (*FAR, *off(0, 60)[1:]), ticks=1), "more than 100,000 steps; raise max_"),
        (midi(on(0, 60), (b"\xff" * 5000 + b"\0\x80\x3c\0")), "has thousands of digits"),
        (midi(on(0, 60), off(1, 60), ticks=0), "has no unit of time"),
        (midi(on(0, 60), off(1, 60), ticks=-6000), "SMPTE"),
        (midi(on(0, 60), off(1, 60), kind=2), "independent patterns"),
        (midi(on(0, 60)), "contains no note within the 88 keys"),
        (midi((0, 60, 64)), "running status"),
        (midi((0, 0xF0, *FAR)), "exceeds maximum length"),
        (midi(on(0, 60))[:-2], "it ends too early"),
        (midi((0, 0x90, 0xFF, 64)), "data byte must be"),
        (b"RIFF", "not a readable MIDI file: it ends too early"),
    ],
)
def test_a_midi_file_that_cannot_be_a_piano_roll_is_refused(tmp_path, content, words):
    path = tmp_path / "a.mid"
    path.write_bytes(content)
    message = refusal(lambda: read_song(path, 4))
    assert message.startswith("a.mid: ") and words in message


def test_notes_that_overlap_or_have_no_length_sound(tmp_path):
    path = tmp_path / "a.mid"
    path.write_bytes(midi(on(0, 21), on(2, 21), off(1, 21), on(1, 22), off(0, 22), off(0, 21)))
    song = read_song(path, 1)
    assert song.roll[:, :2].tolist() == [[1, 0], [1, 0], [0, 1]] and not song.omitted
    assert "100,000" not in refusal(lambda: read_song(path, 1, max_steps=1))
    assert len(read_song(path, 1, max_steps=3).roll) == 3


def test_what_of_music_is_not_used_is_named(tmp_path):
    for i in range(8):
        write_roll(np.eye(4, 88) > 0, tmp_path / f"{i}.MID")
    note = (on(0, 60), off(4, 60))
    (tmp_path / "a.midi").write_bytes(midi(*note, on(0, 20), off(1, 20), on(0, 61)))
    (tmp_path / "b.mid").write_bytes(midi(*note, on(0, 36, channel=9)))
    (tmp_path / "c.mid").write_bytes(b"RIFF")
    (tmp_path / "d.xml").touch()
    assert "c.mid: not a readable" in refusal(lambda: Midi(path=str(tmp_path)).spec)
    data = Midi(path=str(tmp_path), unreadable="skip")
    assert sum(data.sizes.values()) == 10
    assert data.left_out == (
        "1 file with another ending (d.xml)",
        "1 file that cannot be read (c.mid), the first: c.mid: not a readable MIDI file: it ends "
        "too early",
        "1 file with drums (b.mid)",
        "1 file with notes outside of the 88 keys (a.midi)",
        "1 file with notes that never end (a.midi)",
    )


@pytest.fixture
def text(tmp_path):
    """Text from a file."""

    def make(content, name="x.csv", **options):
        (tmp_path / name).write_text(content, "utf-8")
        return Text(path=str(tmp_path / name), **options)

    return make


BODY = "".join(f"a{'bc'[i % 2]},{i % 2}\n" for i in range(20))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("text,label\na,x\nb,c,x\n", "x.csv:3: has 3 cells, expected 2; put text"),
        ("text,label\na\n", "x.csv:2: has 1 cells, expected 2"),
        ("words,label\na,x\n", "needs one column 'text', and at most one 'label'; its columns"),
        ("text,text\na,x\n", "needs one column 'text'"),
        ("", "its columns: none"),
        ('text\n"a\nb\nc\n', "x.csv:2: cannot be read as csv: a quote is not closed"),
        (
            f'text\na\n"{"a" * 140_000}"\n',
            "x.csv:3: cannot be read as csv: field larger than field limit",
        ),
    ],
)
def test_a_table_of_text_that_is_not_clear_is_refused(text, content, words):
    assert words in refusal(lambda: text(content).spec)


def test_tables_of_text_have_many_spellings(text):
    base = text(f"text,label\n{BODY}")
    assert base.left_out == () and base.spec.classes == ("0", "1")
    for name, content in {
        "x.CSV": f"\ufefftext , label\r\n{BODY}",
        "x.tsv": "text\tlabel\ta, b\n" + BODY.replace(",", "\t").replace("\n", "\t7\n"),
        "y.csv": f"text;label\n{BODY}".replace(",", ";"),
    }.items():
        data = text(content, name)
        assert data.spec == base.spec
        assert torch.equal(data.split("train").x, base.split("train").x)


def test_what_of_a_text_is_not_used_is_named(text):
    body = BODY.replace("ab,0", ",0", 1).replace("ac,1", "a" * 30 + ",1", 2)
    data = text(f"id,text,label\n{re.sub('^', '7,', body.strip(), flags=re.M)}", max_length=9)
    assert sum(data.sizes.values()) == 17
    assert data.left_out == (
        "1 column that is not read (id)",
        "1 empty line (2)",
        "2 lines longer than 9 symbols (3, 5)",
    )
    letters = "".join(f"{chr(97 + i)}\n" for i in range(20))
    data = text(letters, "x.txt")
    missing = sorted({*letters.split()} - {*data.spec.symbols})
    reason = "4 symbols that training does not have, read as <unk>"
    assert data.left_out == ()
    assert data.notes == (f"{reason} ({missing[0]}, {missing[1]}, ...)",)
    rows = "".join(f"a,{i}\n" for i in range(20))
    assert text(f"text,label\n{rows}").notes[0].startswith("4 classes without training exam")


def test_damaged_files_of_music_are_named(tmp_path):
    path = tmp_path / "music.npz"
    good = {"train": (4, [4]), "valid": (3, [1, 2]), "test": (2, [2])}
    arrays = {f"jsb_{name}": np.zeros((steps, 11), np.uint8) for name, (steps, _) in good.items()}
    arrays |= {f"jsb_{name}_len": np.array(lengths) for name, (_, lengths) in good.items()}
    np.savez(path, **arrays)
    assert Polyphonic(path=str(path)).sizes == {"train": 1, "validation": 2, "test": 1}
    for name, array, words in (
        ("jsb_train", np.zeros((4, 11), int), "jsb_train must be bytes of shape [steps, 11]"),
        ("jsb_train", np.zeros((4, 2), np.uint8), "jsb_train must be bytes"),
        ("jsb_test_len", np.array([2.0]), "jsb_test_len must be lengths"),
        ("jsb_test_len", np.array([3, -1]), "jsb_test_len must be lengths"),
        ("jsb_test_len", np.array(2), "jsb_test_len must be lengths"),
        ("jsb_valid_len", np.array([2**62, 2**62, 2**62, 2**62]), "does not add up to the 3"),
        ("jsb_valid", np.array(None), "'jsb_valid' holds Python objects"),
    ):
        np.savez(path, **arrays | {name: array})
        assert words in refusal(lambda: Polyphonic(path=str(path)).spec)


def test_missing_steps_of_a_series_are_hidden():
    nan = np.nan
    series = [np.array([[1, nan, 3, nan]]).T, np.array([[1, 2]]).T, np.array([[nan]])]
    data = with_gaps([values.astype(np.float32) for values in series], "x")
    assert [values[:, 0].tolist() for values in data.sequences] == [[1, 0, 3], [1, 2], []]
    assert [steps.tolist() for steps in data.observed] == [[True, False, True], [True] * 2, []]
    for values in ([[1, 2], [nan, 3]], [[1, 2], [np.inf, np.inf]]):
        assert refusal(lambda values=values: with_gaps([np.array(values)], "x")).startswith(
            "x series 0: step 1"
        )


def test_labels_of_lines_are_those_of_training(tmp_path):
    data = vaezoo.DataSpec(
        (4, 4),
        "one-hot",
        2,
        variable_length=True,
        mask_dims=1,
        classes=("up", "down"),
        condition_shape=(),
        fields=(
            vaezoo.Field(
                "symbol", "categorical", (0, 4), categories=(vaezoo.END, vaezoo.UNKNOWN, "a", "b")
            ),
        ),
    )
    file = tmp_path / "x.csv"
    file.write_text("label,text\ndown,ab\nup,\nup,z\n")
    batch = SourceLines(data).read(file)
    assert batch.condition.tolist() == [1, 0]
    assert batch.x.argmax(2).tolist() == [[2, 3, 0], [1, 0, 0]]
    file.write_text("label,text\nleft,ab\n")
    with pytest.raises(vaezoo.DataError, match=r"x\.csv:2: no class 'left'"):
        SourceLines(data).read(file)
