"""What is valid, what it means, and that it can be written down and read again."""

import math
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from vaezoo.plugins import discovery
from vaezoo.spec.dump import dump
from vaezoo.spec.load import load_spec
from vaezoo.spec.schema import json_schema
from vaezoo.spec.tree import parse, resolve_scalar
from vaezoo.utils.errors import PluginError, SpecError, UsageError

ROOT = Path(__file__).parents[2]
SHIPPED = sorted([*ROOT.glob("examples/*.yaml"), *ROOT.glob("plugins/*/examples/*.yaml")])

VALID = """\
spec: vaezoo/v2
name: demo
data: {type: digits, batch_size: 64}
model:
  latent_dim: 8
  encoder: {type: mlp, hidden: [32]}
  decoder: {type: mlp, hidden: [32]}
  likelihood: bernoulli
train: {epochs: 1}
"""


def read(text=VALID, *overrides):
    return load_spec(text, overrides, text=True)


# scalars

SCALARS = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None, "nULL": "nULL",
    "true": True, "True": True, "TRUE": True, "false": False, "tRUE": "tRUE",
    "yes": "yes", "no": "no", "on": "on", "off": "off", "y": "y", "N": "N",
    "0": 0, "-1": -1, "+12": 12, "08": 8, "0o17": 15, "0x1F": 31, "0b11": "0b11", "1_000": "1_000",
    "9223372036854775807": 2**63 - 1, "-0x1": "-0x1", "0o8": "0o8",
    "1e-3": 1e-3, "1E3": 1000.0, "1.": 1.0, ".5": 0.5, "-.5e+1": -5.0, "1.5": 1.5, ".": ".",
    "1e": "1e", "e3": "e3",
    ".inf": math.inf, "-.inf": -math.inf, "+.INF": math.inf, "inf": "inf", "nan": "nan",
    "Infinity": "Infinity",
    "2026-01-01": "2026-01-01", "12:30": "12:30", "1.2.3": "1.2.3", "=": "=", "<<": "<<",
}  # fmt: skip


@pytest.mark.parametrize("text", SCALARS)
def test_plain_scalars_follow_the_core_schema_of_yaml_1_2(text):
    result = resolve_scalar(text)
    assert result == SCALARS[text]
    assert type(result) is type(SCALARS[text])
    if text:
        assert parse(f"a: {text}", "f").plain() == {"a": SCALARS[text]}


def test_nan_is_a_float():
    assert math.isnan(parse("a: .nan", "f").plain()["a"])


@pytest.mark.parametrize("style", ["'{}'", '"{}"', "|-\n  {}", ">-\n  {}"])
def test_quoted_and_block_scalars_are_text(style):
    for text in ("1", "true", "null", "1e-3", "no"):
        assert parse("a: " + style.format(text), "f").plain() == {"a": text}


def test_a_quoted_key_is_text():
    assert parse("'1': a\n\"null\": b", "f").plain() == {"1": "a", "null": "b"}


def test_nodes_know_where_they_begin():
    tree = parse("a: 1\nb:\n  - x\n  - {c: y}\n", "f")
    mark = tree.find(("b", 1, "c")).mark
    assert (mark.file, mark.line, mark.column) == ("f", 4, 9)
    assert tree.locate(("b", 1, "c")).column == 6
    assert tree.locate(("b", 7, "c")).line == 2
    assert tree.locate(("z",)) == tree.mark


def test_a_byte_order_mark_is_skipped(tmp_path):
    (tmp_path / "spec.yaml").write_bytes(VALID.encode("utf-8-sig"))
    assert load_spec(tmp_path / "spec.yaml").name == "demo"


# defaults


def test_the_least_spec_gets_its_defaults():
    spec = read(
        "spec: vaezoo/v2\nname: a\ndata: digits\n"
        "model: {latent_dim: 1, encoder: mlp, decoder: mlp, likelihood: bernoulli}\n"
    )
    assert (spec.seed, spec.requires) == (0, ())
    assert (spec.train.epochs, spec.train.steps, spec.train.device) == (20, None, "auto")
    assert (spec.train.optimizer.type, spec.train.optimizer.model_extra) == ("adam", {"lr": 1e-3})
    assert (spec.model.posterior.name, spec.model.prior.name, spec.model.latents.name) == (
        "diagonal-normal",
        "standard-normal",
        "single",
    )
    assert spec.model.condition is None
    assert spec.objective.name == "reconstruction"
    assert [component.name for component in spec.regularizers] == ["kl"]
    assert spec.regularizers[0].options == {"weight": 1.0}
    assert [component.name for component in spec.evaluate] == ["elbo"]
    assert spec.data.loader.batch_size == 128
    assert spec.into == {"encoder", "decoder"}


def test_an_objective_that_counts_the_rate_has_no_regularizer_by_default():
    assert read(VALID + "objective: iwae\n").regularizers == ()


@pytest.mark.parametrize("written", ["[]", "[kl]", "[{type: kl, weight: 0.5}]", "[kl, kl]"])
def test_regularizers_that_are_written_are_the_ones(written):
    assert len(read(VALID + f"regularizers: {written}\n").regularizers) == len(
        yaml.safe_load(written)
    )


def test_regularizers_of_nothing_are_the_default():
    assert [component.name for component in read(VALID + "regularizers:\n").regularizers] == ["kl"]


def test_a_bare_name_is_a_block_with_that_type():
    bare = read(VALID.replace("{type: mlp, hidden: [32]}", "mlp"))
    assert (
        bare.resolved()
        == read(VALID.replace("{type: mlp, hidden: [32]}", "{type: mlp}")).resolved()
    )


def test_a_nested_component_is_checked_and_built():
    spec = read(VALID + "regularizers: [{type: kl, weight: {type: linear, steps: 10}}]\n")
    weight = spec.regularizers[0].options["weight"]
    assert (weight.kind, weight.name, weight.path) == (
        "schedule",
        "linear",
        "regularizers.0.weight",
    )
    assert weight.build()(5) == 0.5


def test_steps_may_stand_in_for_epochs():
    assert read(VALID.replace("epochs", "steps")).train.steps == 1


def test_a_problem_found_later_is_shown_in_the_file():
    error = read().problem("model.encoder.hidden", "too wide")
    assert str(error) == "<text>:6:24: model.encoder.hidden: too wide"


@pytest.mark.parametrize("seed", ["0", "9223372036854775807", "0x10"])
def test_seeds_are_any_63_bits(seed):
    assert read(VALID + f"seed: {seed}\n").seed == int(seed, 0)


# extends


@pytest.fixture
def base(tmp_path):
    (tmp_path / "base.yaml").write_text(VALID + "evaluate: [elbo, rate]\n")

    def extend(text):
        (tmp_path / "spec.yaml").write_text("extends: ./base.yaml\n" + text)
        return load_spec(tmp_path / "spec.yaml")

    return extend


def test_an_extended_spec_is_the_base_where_nothing_is_said(base):
    assert base("").resolved() == read(VALID + "evaluate: [elbo, rate]\n").resolved()


def test_mappings_merge(base):
    spec = base("name: other\nmodel: {latent_dim: 3}\ndata: {binarize: threshold}\n")
    assert (spec.name, spec.model.latent_dim) == ("other", 3)
    assert spec.model.encoder.options["hidden"] == [32]
    assert (spec.data.options["binarize"], spec.data.loader.batch_size) == ("threshold", 64)


def test_lists_replace(base):
    assert [component.name for component in base("evaluate: [nll]\n").evaluate] == ["nll"]
    assert base("model: {encoder: {hidden: [1, 2]}}\n").model.encoder.options["hidden"] == [1, 2]


def test_the_same_type_merges_and_another_type_replaces_the_block(base):
    assert base("model: {encoder: {type: mlp, gated: true}}\n").model.encoder.options[
        "hidden"
    ] == [32]
    conv = base("model: {encoder: {type: conv, kernel: 3}}\n").model.encoder
    assert (conv.name, list(conv.options["channels"])) == ("conv", [32, 64])
    assert "hidden" not in conv.options or conv.options["hidden"] == 0
    assert base("model: {encoder: conv}\n").model.encoder.name == "conv"


def test_bases_have_bases_and_are_found_beside_the_file_that_names_them(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "root.yaml").write_text(VALID)
    (tmp_path / "parts" / "middle.yaml").write_text("extends: root.yaml\nseed: 4\nname: middle\n")
    (tmp_path / "spec.yaml").write_text("extends: parts/middle.yaml\nname: top\n")
    spec = load_spec(tmp_path / "spec.yaml")
    assert (spec.name, spec.seed, spec.model.latent_dim) == ("top", 4, 8)


def test_variables_of_the_base_can_be_given_by_the_spec(tmp_path):
    (tmp_path / "base.yaml").write_text(
        VALID.replace("dim: 8", "dim: ${vars.d}") + "vars: {d: 1}\n"
    )
    (tmp_path / "spec.yaml").write_text("extends: base.yaml\nvars: {d: 5}\n")
    assert load_spec(tmp_path / "spec.yaml").model.latent_dim == 5


# vars and overrides


def test_a_variable_stands_for_a_value_of_any_sort():
    text = VALID.replace("[32]", "'${vars.widths}'").replace("dim: 8", "dim: ${vars.d}")
    spec = read(
        text.replace("{epochs: 1}", "${vars.train}")
        + "vars: {widths: [3, 4], d: 2, train: {steps: 9}}\n"
    )
    assert (spec.model.latent_dim, spec.train.steps) == (2, 9)
    assert spec.model.encoder.options["hidden"] == spec.model.decoder.options["hidden"] == [3, 4]
    assert "vars" not in spec.resolved()


def test_a_variable_in_quotes_and_a_component_name_work():
    spec = read(
        VALID.replace("likelihood: bernoulli", "likelihood: '${vars.l}'") + "vars: {l: normal}\n"
    )
    assert spec.model.likelihood.name == "normal"


OVERRIDES = {
    "train.epochs=3": lambda spec: spec.train.epochs == 3,
    "train.optimizer.lr=1e-3": lambda spec: spec.train.optimizer.model_extra.get("lr") == 1e-3,
    "name=no": lambda spec: spec.name == "no",
    "name='1e-3'": lambda spec: spec.name == "1e-3",
    "name=a-b": lambda spec: spec.name == "a-b",
    "model.encoder.hidden.0=7": lambda spec: spec.model.encoder.options["hidden"] == [7],
    "model.encoder.hidden=[7, 8]": lambda spec: spec.model.encoder.options["hidden"] == [7, 8],
    "model.encoder=conv": lambda spec: spec.model.encoder.name == "conv",
    "model.encoder={type: conv, kernel: 3}": lambda spec: (
        spec.model.encoder.options.get("kernel") == 3
    ),
    "model.encoder.gated=true": lambda spec: spec.model.encoder.options["gated"] is True,
    "seed=5": lambda spec: spec.seed == 5,
    "evaluate=[]": lambda spec: spec.evaluate == (),
    "regularizers=[]": lambda spec: spec.regularizers == (),
}


@pytest.mark.parametrize("override", OVERRIDES)
def test_an_override_changes_one_place(override):
    text = VALID.replace("{epochs: 1}", "{epochs: 1, optimizer: {type: adam}}")
    assert OVERRIDES[override](read(text, override))
    assert not OVERRIDES[override](read(text))


def test_an_override_grows_a_bare_name_into_a_block():
    text = VALID + "regularizers: [kl]\nobjective: reconstruction\n"
    assert read(text, "regularizers.0.weight=0.5").regularizers[0].options == {"weight": 0.5}
    assert read(text, "objective.samples=3").objective.options == {"samples": 3}
    spec = read(
        text, "regularizers.0.weight={type: linear, steps: 4}", "regularizers.0.weight.end=2"
    )
    weight = {"start": 0.0, "end": 2, "steps": 4, "delay": 0}
    assert spec.regularizers[0].options["weight"].options == weight


LEAST = VALID.replace("train: {epochs: 1}\n", "")
STAGES = "regularizers: [{type: kl, weight: 9}]\nstages: [{name: a}, {name: b, objective: iwae}]\n"
LEFT_OUT = {
    "train.optimizer.lr=0.5": {"optimizer": {"type": "adam", "lr": 0.5}, "epochs": 20},
    "train.optimizer={weight_decay: 0.5}": {
        "optimizer": {"type": "adam", "lr": 0.001, "weight_decay": 0.5}
    },
    "train.clip=2": {"epochs": 20, "clip": 2},
    "train.steps=4": {"steps": 4, "epochs": None},
    "objective.samples=3": {"type": "reconstruction", "samples": 3},
    "objective={samples: 3}": {"type": "reconstruction", "samples": 3},
    "regularizers.0.weight=3": [{"type": "kl", "weight": 3.0}],
    "evaluate.0.samples=3": [{"type": "elbo", "samples": 3}],
    "data.fractions.0=0.5": {"fractions": [0.5, 0.15, 0.15]},
    "model.latents.maps=true": {"latents": {"type": "single", "maps": True}},
}


@pytest.mark.parametrize("override", LEFT_OUT)
def test_an_override_changes_the_default_of_a_block_that_is_left_out(override):
    block = read(LEAST, override).resolved()[override.replace("=", ".").split(".")[0]]
    expected = LEFT_OUT[override]
    if isinstance(expected, list):
        assert block == expected
    else:
        assert {key: block.get(key) for key in expected} == expected


def test_an_override_changes_the_options_of_a_bare_name_and_of_an_empty_block():
    text = VALID.replace("{type: mlp, hidden: [32]}", "mlp") + "regularizers:\n"
    spec = read(text, "model.encoder.hidden.1=7", "regularizers.0.weight=4")
    assert spec.model.encoder.options["hidden"] == [400, 7]
    assert spec.regularizers[0].options == {"weight": 4}


def test_an_override_of_a_stage_changes_what_it_has_of_the_spec():
    text = LEAST + STAGES + "train: {epochs: 2, optimizer: {type: sgd, lr: 1}}\n"
    (first, second) = read(
        text, "stages.0.optimizer.lr=0.5", "stages.0.objective.samples=3", "stages.1.steps=8"
    ).stages
    assert first.train.optimizer.model_dump() == {"type": "sgd", "lr": 0.5}
    assert first.objective.options == {"samples": 3}
    assert first.regularizers[0].options == {"weight": 9}
    assert (second.train.steps, second.train.epochs, first.train.epochs) == (8, None, 2)
    (first, _) = read(text, "stages.0.regularizers.0.weight=4").stages
    assert first.regularizers[0].options == {"weight": 4}


def test_overrides_change_defaults_of_the_spec_with_its_base_and_its_variables(tmp_path):
    (tmp_path / "base.yaml").write_text(LEAST)
    (tmp_path / "spec.yaml").write_text(
        "extends: base.yaml\nobjective: '${vars.o}'\ntrain: '${vars.t}'\n"
        "vars: {o: reconstruction, t: {epochs: 2}, n: 5}\n"
    )
    overrides = ["objective.samples=${vars.n}", "train.optimizer.lr=2", "vars.t.epochs=7"]
    spec = load_spec(tmp_path / "spec.yaml", overrides)
    assert spec.objective.options == {"samples": 5}
    assert (spec.train.epochs, spec.train.optimizer.model_extra) == (7, {"lr": 2})


@pytest.mark.parametrize("first", ["train.steps=4", "train={steps: 4}", "train.epochs=null"])
def test_steps_replace_epochs_and_the_later_override_wins(first):
    assert read(VALID, first, "train.steps=4").train.steps == 4
    spec = read(VALID, first, "train.epochs=3")
    assert (spec.train.steps, spec.train.epochs) == (None, 3)


def test_later_overrides_win_and_may_set_variables():
    text = VALID.replace("dim: 8", "dim: ${vars.d}") + "vars: {d: 1}\n"
    assert read(text, "vars.d=2", "vars.d=3").model.latent_dim == 3


def test_an_override_of_only_the_type_keeps_no_stray_option_unnoticed():
    with pytest.raises(
        SpecError, match=r"6:32: model\.encoder\.hidden: must be an integer, not a list$"
    ):
        read(VALID, "model.encoder.type=conv")


def test_an_override_without_a_value_is_a_usage_error():
    with pytest.raises(
        UsageError, match=r"^-s train\.epochs: write key\.path=value, such as -s train\.epochs=3$"
    ):
        read(VALID, "train.epochs")


# requires


def test_what_is_required_and_installed_is_no_fault():
    spec = read(VALID + "requires: ['torch>=2', pytest]\n")
    assert spec.requires == ("torch>=2", "pytest")


@pytest.mark.parametrize("rest", ["", "zzz: 1\n"])
def test_a_missing_package_comes_before_every_other_fault(rest):
    with pytest.raises(PluginError) as caught:
        read(rest + VALID + "requires:\n  - torch\n  - vaezoo-nowhere>=0.1\n")
    line = 12 + bool(rest)
    assert str(caught.value) == (
        f"<text>:{line}: needs vaezoo-nowhere>=0.1; pip install 'vaezoo-nowhere>=0.1'"
    )


def test_a_package_that_is_too_old_is_a_plugin_error(monkeypatch):
    monkeypatch.setattr("vaezoo.spec.load.metadata.version", lambda name: "2.4.0")
    with pytest.raises(PluginError) as caught:
        read(VALID + "requires: ['torch>=999']\n")
    assert str(caught.value) == (
        "<text>:10: needs torch>=999, but 2.4.0 is installed; pip install --upgrade 'torch>=999'"
    )


def test_a_release_candidate_satisfies(monkeypatch):
    monkeypatch.setattr("vaezoo.spec.load.metadata.version", lambda name: "2.0rc1")
    assert read(VALID + "requires: ['torch>=1']\n").requires == ("torch>=1",)


# writing and reading again

SPECS = {
    "plain": VALID,
    "iwae": VALID + "objective: {type: iwae, samples: 3, gradient: dreg}\n",
    "schedule": VALID
    + "regularizers: [{type: kl, weight: {type: cyclical, steps: 9, start: 1e-9}}]\n",
    "conv": VALID.replace("mlp, hidden: [32]", "conv"),
    "steps": VALID.replace(
        "{epochs: 1}", "{steps: 5, warmup: 2, scheduler: {type: StepLR, step_size: 3}, ema: 0.9}"
    ),
    "callbacks": VALID.replace(
        "{epochs: 1}", "{epochs: 1, callbacks: [csv, tensorboard], device: cpu, clip: 5}"
    ),
    "words that look like values": VALID.replace("demo", "'08'").replace(
        "{type: digits, batch_size: 64}", "{type: npz, path: 'null', workers: 1}"
    ),
    "requires": VALID + "requires: ['torch>=2', pytest]\nseed: 9223372036854775807\n",
    "metrics": VALID + "evaluate: [elbo, {type: nll, samples: 7}, active-units]\n",
    "nothing to do": VALID + "evaluate: []\nregularizers: []\n",
}


@pytest.mark.parametrize("case", SPECS)
def test_a_resolved_spec_reads_back_as_itself(case):
    resolved = read(SPECS[case]).resolved()
    text = dump(resolved)
    again = read(text).resolved()
    assert again == resolved
    assert dump(again) == text
    assert load_spec(resolved).resolved() == resolved


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_spec_reads_back_as_itself(path):
    resolved = load_spec(path).resolved()
    assert read(dump(resolved)).resolved() == resolved


WORDS = [
    "no",
    "1e-3",
    "08",
    "null",
    "~",
    "",
    "true",
    "0o17",
    ".inf",
    ".nan",
    "1_000",
    "yes",
    "2026-01-01",
    "12:30",
]
WORDS += [
    "- a",
    "a: b",
    "# c",
    "'",
    '"',
    "a\nb",
    " a ",
    "a\tb",
    "é",
    "😀",
    "\x85",
    "\u2028",
    "\ufeffa",
    "${vars.x}",
    "\\",
]
WORDS += [
    "&a",
    "*a",
    "!a",
    "%",
    "@",
    "`",
    "?",
    "-",
    ":",
    "[",
    "{",
    ",",
    "|",
    ">",
    "=",
    "<<",
    "---",
    "...",
    "x" * 300,
]


@pytest.mark.parametrize("word", WORDS)
def test_text_is_written_so_that_it_is_read_as_text(word):
    data = {"a": word, "b": [word, {"c": word}]}
    assert parse(dump(data), "f").plain() == data


def test_numbers_are_written_so_that_they_are_read_as_the_same_numbers():
    data = {
        "a": [
            0,
            -1,
            2**63 - 1,
            1e-3,
            1e-300,
            1e22,
            0.1,
            3.0,
            -0.0,
            math.inf,
            -math.inf,
            True,
            False,
            None,
        ]
    }
    result = parse(dump(data), "f").plain()
    assert result == data
    assert [type(item) for item in result["a"]] == [type(item) for item in data["a"]]
    assert math.isnan(parse(dump({"a": math.nan}), "f").plain()["a"])


def test_tuples_and_repeated_objects_are_written_out():
    shared = [1, 2]
    assert parse(dump({"a": shared, "b": shared, "c": (1, 2)}), "f").plain() == {
        "a": [1, 2],
        "b": [1, 2],
        "c": [1, 2],
    }


def test_a_mapping_is_a_spec_too():
    assert load_spec(yaml.safe_load(VALID)).resolved() == read().resolved()


# the JSON Schema


@pytest.fixture(scope="module")
def schema():
    return json_schema(discovery.catalogue())


@pytest.fixture(scope="module")
def validator(schema):
    return Draft202012Validator(schema)


def test_the_json_schema_is_one(schema):
    Draft202012Validator.check_schema(schema)


def test_there_are_shipped_specs_to_check():
    assert SHIPPED


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_json_schema_accepts_the_shipped_specs(validator, path):
    validator.validate(parse(path.read_text(), str(path)).plain())


@pytest.mark.parametrize("case", SPECS)
def test_the_json_schema_accepts_valid_specs_and_their_resolved_form(validator, case):
    validator.validate(parse(SPECS[case], "f").plain())
    validator.validate(read(SPECS[case]).resolved())


def test_the_json_schema_accepts_extends_and_vars(validator):
    validator.validate(
        {"extends": "./base.yaml", "model": {"latent_dim": "${vars.d}"}, "vars": {"d": 3}}
    )


REJECTED = {
    "an unknown key": ("name: demo", "name: demo\nzzz: 1"),
    "a number in quotes": ("dim: 8", "dim: '8'"),
    "a number out of bounds": ("dim: 8", "dim: 0"),
    "a misspelled component": ("bernoulli", "bernouli"),
    "a misspelled option": ("hidden", "hiden"),
    "a component that needs options": ("{type: digits, batch_size: 64}", "npz"),
    "a bad name": ("demo", "-demo"),
    "a missing part": ("data: {type: digits, batch_size: 64}\n", ""),
    "another version": ("vaezoo/v2", "vaezoo/v3"),
    "no list": ("train: {epochs: 1}", "regularizers: kl"),
    "a wrong choice": ("epochs: 1", "precision: fp64"),
    "a misspelled loader option": ("batch_size", "batchsize"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_the_json_schema_rejects_what_load_rejects(validator, case):
    old, new = REJECTED[case]
    assert old in VALID
    text = VALID.replace(old, new, 1)
    assert not validator.is_valid(parse(text, "f").plain())
    with pytest.raises(SpecError):
        read(text)
