"""Resuming with another spec or other data: changed on purpose, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

import vaezoo
from vaezoo.cli.main import cli
from vaezoo.runs.directory import RunDirectory
from vaezoo.utils.errors import DataError, IntegrityError, Interrupted, SpecError, UsageError
from vaezoo.utils.files import read_json, write_json


@pytest.fixture
def stopped(interrupted, stop_at):
    return interrupted(callbacks=[stop_at(24)])


def edit(path, before, after):
    text = (path / "spec.yaml").read_text()
    assert before in text
    (path / "spec.yaml").write_text(text.replace(before, after, 1))


def test_a_resumed_run_may_go_on_for_longer(train, stopped, no_report, left_by, same):
    complete = train(train={"epochs": 4})
    result = CliRunner().invoke(
        cli, ["resume", str(stopped), "-s", "train.epochs=4", "-s", "evaluate=[rate]"]
    )
    assert result.exception is None and "rate" in result.output
    same(left_by(complete.path)[1], left_by(stopped)[1])
    environment = read_json(stopped / "environment.json")
    changed = environment["resumed"][0]["changed"]
    assert changed["train.epochs"] == {"from": 3, "to": 4}
    assert environment["spec"] == (stopped / "spec.yaml").read_text()
    assert vaezoo.open_run(stopped, device="cpu").spec.train.epochs == 4


def test_a_finished_run_may_go_on_for_longer(train, again, left_by, same):
    complete, path = train(train={"epochs": 4}).path, train(train={"epochs": 3}).path
    again(path, ["train.epochs=4"])
    same(left_by(complete)[1], left_by(path)[1])


@pytest.mark.parametrize("change", ["train.epochs=1", "train.steps=23", "train.steps=1"])
def test_a_length_below_what_is_trained_is_refused(change, train, stopped, again):
    for path in (stopped, train(train={"epochs": 3}).path):
        before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
        with pytest.raises(UsageError, match=r"the run has trained \d+ steps, and the new length"):
            again(path, [change])
        left = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
        assert left == before


def test_steps_replace_epochs(stopped, again):
    assert again(stopped, ["train.steps=33"]).records[-1]["step"] == 33
    assert again(stopped).records[-1]["step"] == 33


@pytest.mark.parametrize(
    ("before", "after", "difference"),
    [
        ("epochs: 3", "epochs: 4", "train.epochs is 4, and was 3"),
        ("latent_dim: 2", "latent_dim: 3", "model.latent_dim is 3, and was 2"),
        ("seed: 0", "seed: 1", "seed is 1, and was 0"),
        ("lr: 0.001", "lr: 0.002", "train.optimizer.lr is 0.002, and was 0.001"),
        ("device: cpu", "", "train.device is left out, and was cpu"),
        ("name: tiny", "name: tiny\n  - x", None),
        ("spec: vaezoo/v2", "1: null\nspec: vaezoo/v2", None),
        ("spec: vaezoo/v2", "mine: null\nspec: vaezoo/v2", None),
        ("spec: vaezoo/v2", "stages: null\nspec: vaezoo/v2", None),
    ],
)
def test_an_edited_spec_is_refused_with_the_difference(before, after, difference, train, again):
    path = train(train={"epochs": 3, "optimizer": {"type": "adam", "lr": 1e-3}}).path
    if before == "device: cpu":
        before = next(
            each
            for each in ("device: cpu, ", ", device: cpu", "  device: cpu\n")
            if each in (path / "spec.yaml").read_text()
        )
    edit(path, before, after)
    for call in (again, vaezoo.open_run):
        with pytest.raises(IntegrityError) as caught:
            call(path)
        message = str(caught.value)
        assert "\n" not in message and str(path / "spec.yaml") in message
        if difference:
            may_change = before == "epochs: 3" or "device" in before
            advice = f"vaezoo resume {path} -s" if may_change else "start a new run"
            assert difference in message and advice in message
            assert "=left out" not in message
    assert "spec: vaezoo/v2" in read_json(path / "environment.json")["spec"]


def test_comments_and_empty_values_in_a_spec_are_no_change(stopped, again):
    file = stopped / "spec.yaml"
    content = yaml.safe_load(file.read_text())
    content["train"]["ema"] = None  # which is what it is without the key
    file.write_text(f"# mine\n{yaml.safe_dump(content)}")
    again(stopped)


@pytest.mark.parametrize("text", ["[1,2]", "][", "{}", "", "3", "\0"])
def test_a_damaged_record_of_the_spec_is_named(text, stopped, again):
    file = stopped / "environment.json"
    write_json(file, {**read_json(file), "spec": text})
    with pytest.raises(IntegrityError) as caught:
        again(stopped)
    message = str(caught.value)
    assert message.startswith(f"{file}: the spec in it was changed") and "\n" not in message


@pytest.mark.parametrize(
    "override",
    ["model.latent_dim=3", "seed=1", "data.batch_size=64", "train.select=last", "train.ema=0.9",
     "train.optimizer.lr=0.1", "name=other", "data.fractions=[0.5, 0.25, 0.25]"],
)  # fmt: skip
def test_what_training_depended_on_cannot_be_changed(override, stopped, again):
    before = {file: file.read_bytes() for file in stopped.rglob("*") if file.is_file()}
    with pytest.raises((UsageError, SpecError)) as caught:
        again(stopped, [override])
    assert override.partition("=")[0] in str(caught.value) and "\n" not in str(caught.value)
    assert {file: file.read_bytes() for file in stopped.rglob("*") if file.is_file()} == before


def test_a_scheduler_that_was_planned_for_the_length_refuses_another(interrupted, again, stop_at):
    path = interrupted(train={"scheduler": "cosine-annealing"}, callbacks=[stop_at(24)])
    with pytest.raises(IntegrityError, match="CosineAnnealingLR was planned for 30 steps"):
        again(path, ["train.epochs=4"])
    assert again(path).spec.train.epochs == 3  # nothing was written
    other = {"scheduler": {"type": "cosine-annealing", "T_max": 100}}
    again(interrupted(train=other, callbacks=[stop_at(24)]), ["train.epochs=4"])


def test_a_change_that_a_kill_broke_off_is_repeated(stopped, again, monkeypatch):
    def kill(path, text):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr("vaezoo.runs.recorded_spec.write_text", kill)
        again(stopped, ["train.epochs=4"])
    with pytest.raises(IntegrityError, match=r"train\.epochs is 3, and was 4"):
        again(stopped)
    assert again(stopped, ["train.epochs=4"]).records[-1]["step"] == 40


def test_stages_that_are_over_cannot_be_changed(interrupted, again, stop_at):
    stages = [{"name": "first", "epochs": 1}, {"name": "second", "epochs": 2}]
    path = interrupted(stages=stages, callbacks=[stop_at(22)])
    with pytest.raises(UsageError, match=r"stages\.0\.epochs: changes a stage that is over"):
        again(path, ["stages.0.epochs=2"])
    assert again(path, ["stages.1.epochs=3"]).records[-1]["step"] == 40


@pytest.fixture
def arrays(tmp_path):
    """Writes npz files of examples: ``arrays("a.npz", seed)``."""

    def write(name, seed, **options):
        x = np.random.default_rng(seed).random((200, 6), np.float32)
        np.savez(tmp_path / name, x=x, **options)
        return {"type": "npz", "path": str(tmp_path / name), "batch_size": 32}

    return write


def test_other_data_is_refused_and_moved_data_is_not(
    arrays, train, interrupted, again, stop_at, left_by, same, tmp_path
):
    block = {"data": arrays("a.npz", 0), "train": {"epochs": 2}}
    complete = train(**block)
    path = interrupted(**block, callbacks=[stop_at(8)])
    arrays("a.npz", 1)
    with pytest.raises(
        IntegrityError, match=r"its train split was 160 examples with sha256 \w+, and now is 160"
    ):
        again(path)
    arrays("b.npz", 0)
    (tmp_path / "a.npz").unlink()
    again(path, [f"data.path={tmp_path / 'b.npz'}"])
    same(left_by(complete.path)[1], left_by(path)[1])
    assert again(path).spec.data.options["path"] == str(tmp_path / "b.npz")


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (np.zeros((200, 5), np.float32), r"the shape of its examples is (5,), and that of the"),
        (np.arange(1200).reshape(200, 6) % 2, "the support of its examples is binary, and that"),
    ],
    ids=["shape", "support"],
)
def test_a_model_is_not_evaluated_on_examples_of_another_kind(arrays, train, tmp_path, x, says):
    path = train(data=arrays("a.npz", 0), train={"epochs": 1}).path
    before = (path / "evaluation.json").read_bytes()
    np.savez(tmp_path / "a.npz", x=x)
    for command in ("evaluate", "score"):
        result = CliRunner().invoke(cli, [command, str(path)])
        assert isinstance(result.exception, DataError), result.output
        assert f"data set 'npz': {says}" in str(result.exception)
        assert (path / "evaluation.json").read_bytes() == before


def test_other_validation_examples_are_refused_too(arrays, interrupted, again, stop_at, tmp_path):
    path = interrupted(data=arrays("a.npz", 0), train={"epochs": 2}, callbacks=[stop_at(8)])
    x = np.load(tmp_path / "a.npz")["x"]
    first = vaezoo.load_spec(path / "spec.yaml").data.build().split("validation").x[0].numpy()
    x[(x == first).all(1), 0] += 0.001
    np.savez(tmp_path / "a.npz", x=x)
    with pytest.raises(IntegrityError, match="its validation split was 20 examples"):
        again(path)


def test_data_that_is_read_when_needed_is_recognised_by_some_of_its_items(
    interrupted, again, stop_at, tmp_path
):
    from PIL import Image

    images = tmp_path / "images"
    images.mkdir()
    for number in range(60):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(images / f"{number:03}.png")
    data = {"type": "image-folder", "path": str(images), "channels": 1, "size": 8}
    path = interrupted(data={**data, "batch_size": 8}, train={"epochs": 2}, callbacks=[stop_at(4)])
    recorded = read_json(path / "environment.json")["splits"]["train"]
    for number in range(60):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(images / f"{number:03}.png")
    with pytest.raises(IntegrityError, match="train split was"):
        again(path)
    assert recorded["examples"] > 40


def test_runs_of_earlier_versions_are_resumed_and_record_their_spec_and_data(stopped, again):
    from vaezoo.utils.files import write_json

    environment = read_json(stopped / "environment.json")
    for key in ("spec", "splits"):
        del environment[key]
    write_json(stopped / "environment.json", environment)
    edit(stopped, "epochs: 3", "epochs: 4")
    assert again(stopped).records[-1]["step"] == 40
    environment = RunDirectory(stopped).read_environment()
    assert {"spec", "splits"} <= environment.keys()
    edit(stopped, "epochs: 4", "epochs: 3")
    with pytest.raises(IntegrityError, match=r"train\.epochs is 3, and was 4"):
        again(stopped)
