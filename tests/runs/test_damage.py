"""Files of a run that were damaged or changed: it is noticed, or makes no difference."""

from __future__ import annotations

import json
import random
import shutil
import warnings

import pytest
import torch
from safetensors.torch import save_file

import vaezoo
from tests.fuzz.run_files import READ_BACK, Trained, flip, is_equal, read_everything
from vaezoo.runs.directory import RunDirectory
from vaezoo.utils.digests import CHANGED, check_png
from vaezoo.utils.errors import IntegrityError, VaezooError
from vaezoo.utils.files import read_json, read_tensors, write_tensors

FLIPS = 30
BLOCK = {"checkpoint_every": 0, "callbacks": ["csv"]}


@pytest.fixture
def finished(train):
    vaezoo.register("regularizer", "trained", Trained)
    return train(regularizers=["kl", "trained"], train=BLOCK).path


@pytest.mark.parametrize("name", READ_BACK)
def test_a_flipped_bit_is_noticed_or_makes_no_difference_in(name, finished, tmp_path):
    whole, generator, noticed = read_everything(finished), random.Random(name), 0
    for case in range(FLIPS):
        path = tmp_path / f"copy-{case}"
        shutil.copytree(finished, path)
        flip(path / name, generator)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                found = read_everything(path)
            except VaezooError as error:
                assert error.exit_code == 4 and str(error).count("\n") == 0
                assert name.rpartition("/")[2] in str(error)
                noticed += 1
                continue
        if any(name.rpartition("/")[2] in str(each.message) for each in caught):
            noticed += 1
        else:
            assert is_equal(found, whole), f"flip {case} changed what is read, without a word"
    assert noticed == FLIPS


def test_a_run_resumed_from_a_flipped_checkpoint_leaves_the_same_bits(
    train, interrupted, again, stop_at, tmp_path
):
    complete = train(train=BLOCK)
    stopped = interrupted(train=BLOCK, callbacks=[stop_at(24)])
    generator = random.Random(0)
    for case in range(FLIPS):
        path = tmp_path / f"copy-{case}"
        shutil.copytree(stopped, path)
        newest = RunDirectory(path).checkpoint_files()[-1]
        flip(newest, generator)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            again(path)
        assert [newest.name in str(each.message) for each in caught] in ([], [True])
        assert (path / "model.safetensors").read_bytes() == (
            complete.path / "model.safetensors"
        ).read_bytes()
        assert (path / "validation.csv").read_text() == (
            complete.path / "validation.csv"
        ).read_text()


def test_equal_runs_write_equal_bytes(train):
    first, second = (train(train=BLOCK).path for _ in range(2))
    values = "evaluation-examples.safetensors"
    for name in ("model.safetensors", "evaluation.json", values, "spec.yaml", "validation.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    ours, others = (RunDirectory(path).checkpoint_files() for path in (first, second))
    assert [path.read_bytes() for path in ours] == [path.read_bytes() for path in others]


def test_weights_that_were_replaced_by_others_are_noticed(finished):
    """Also by those of another tool, which copies the metadata of the file."""
    tensors, metadata = read_tensors(finished / "model.safetensors")
    name = next(iter(tensors))
    save_file({**tensors, name: tensors[name] + 1}, finished / "model.safetensors", metadata)
    with pytest.raises(IntegrityError, match=rf"model\.safetensors: {CHANGED}"):
        vaezoo.open_run(finished)


def test_runs_of_earlier_versions_without_digests_are_opened(finished):
    whole = read_everything(finished)
    for name in READ_BACK[1:]:  # the spec itself is as it was
        path = finished / name
        if path.suffix == ".safetensors":
            tensors, metadata = read_tensors(path)
            del metadata["vaezoo.sha256"]
            save_file(tensors, path, metadata)
        elif path.suffix == ".json":
            content = read_json(path)
            for key in ("spec", "digests"):
                content.pop(key, None)
            path.write_text(json.dumps(content, indent=2) + "\n")
        else:
            records = [json.loads(line) for line in path.read_text().splitlines()]
            for record in records:
                del record["digest"]
            path.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert is_equal(read_everything(finished), whole)


def test_a_file_whose_digest_was_lost_with_something_else_is_damaged(finished):
    """Such damage must not make it a file of an earlier version."""
    for name in READ_BACK[1:]:
        path = finished / name
        whole, key = path.read_bytes(), b"vaezoo.sha256"
        if path.suffix == ".json":
            text = whole.replace(b'"digest":', b'"diges!":').replace(b'"seed": 0', b'"seed": 1')
        elif path.suffix == ".safetensors":
            text = whole.replace(key, b"v!ezoo.sha256")[:-1] + bytes([whole[-1] ^ 1])
        else:  # lines are told apart by those that have one
            continue
        path.write_bytes(text)
        with pytest.raises((IntegrityError, UserWarning), match="it has no digest"):
            read_everything(finished)
        path.write_bytes(whole)


def test_a_damaged_evaluation_says_how_to_measure_again(finished):
    evaluation = finished / "evaluation.json"
    text = evaluation.read_text()
    others = [text.replace('"examples": 270', '"examples": 271'), "[1]", '{"metrics": 1}', "{", ""]
    for other in others:
        evaluation.write_text(other)
        with pytest.raises(IntegrityError) as caught:
            print(vaezoo.open_run(finished, device="cpu").evaluation)
        assert f"vaezoo evaluate {finished} test measures again" in str(caught.value)


def test_every_bit_of_a_picture_is_checked(tmp_path):
    from vaezoo.runs.report.pictures import grid

    png = grid(torch.zeros(1, 1, 2, 2), 1)
    check_png(tmp_path / "a.png", png)
    for bit in range(8 * len(png)):
        flipped = bytearray(png)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(IntegrityError, match=r"a\.png: was changed"):
            check_png(tmp_path / "a.png", bytes(flipped))
    for other in (png[:-1], png + b"\0", b""):
        with pytest.raises(IntegrityError):
            check_png(tmp_path / "a.png", other)


def test_every_bit_of_a_file_of_tensors_is_checked(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"a": torch.arange(3), "b": torch.zeros(2)}, {"text": "é", "b": "2"})
    whole, written = read_tensors(path), path.read_bytes()
    for bit in range(8 * len(written)):
        flipped = bytearray(written)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            tensors, metadata = read_tensors(path)
        except IntegrityError:
            continue
        assert "vaezoo.sha256" not in metadata and is_equal(tensors, whole[0])
        assert all(metadata[name] == whole[1][name] for name in ("text", "b"))


def test_other_tools_read_what_is_written(tmp_path):
    from safetensors.torch import load_file

    tensors = {"a": torch.arange(3), "b": torch.zeros(2, 0), "c": torch.tensor(1.5).half()}
    write_tensors(tmp_path / "a.safetensors", tensors)
    assert is_equal(load_file(tmp_path / "a.safetensors"), tensors)
