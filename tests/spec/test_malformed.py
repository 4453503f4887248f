"""Every kind of mistake in a spec gets its own words, at its own place in the file."""

from pathlib import Path

import pytest

from vaezoo.plugins import discovery
from vaezoo.spec.load import load_spec
from vaezoo.utils.errors import SpecError, UsageError

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
TOP = (
    "data, evaluate, init, model, name, objective, regularizers, requires, samplers, seed, spec, "
    "stages, train"
)
MODEL = "condition, decoder, encoder, latent_dim, latents, likelihood, posterior, prior"
COMPONENT = "a component (its name, or a mapping with `type`)"
ACTIVATIONS = "'relu', 'leaky-relu', 'elu', 'gelu', 'silu', 'tanh' or 'softplus'"


@pytest.fixture(autouse=True)
def built_ins_only(monkeypatch, tmp_path):
    """Other installed plugins must not change a message; relative paths keep it short."""
    monkeypatch.setattr(discovery, "_installed", lambda: [])
    discovery._discovered.cache_clear()
    monkeypatch.chdir(tmp_path)
    yield
    discovery._discovered.cache_clear()


def complaint(text: str | bytes, overrides: tuple[str, ...] = ()) -> str:
    """What is said of a spec.yaml with this text; `spec.yaml:` is left out of each line."""
    Path("spec.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(SpecError) as caught:
        load_spec(Path("spec.yaml"), overrides)
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    return "\n".join(line.removeprefix("spec.yaml:") for line in str(caught.value).splitlines())


def test_the_spec_that_the_tables_break_is_valid():
    Path("spec.yaml").write_text(VALID)
    assert load_spec(Path("spec.yaml")).name == "demo"


def test_a_problem_names_file_line_column_path_and_message():
    Path("spec.yaml").write_text(VALID.replace("batch_size: 64", "batch_size: 0"))
    with pytest.raises(SpecError) as caught:
        load_spec(Path("spec.yaml"))
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.column) == ("spec.yaml", 3, 34)
    assert (problem.path, problem.message) == ("data.batch_size", "must be > 0, not 0")
    assert str(caught.value) == "spec.yaml:3:34: data.batch_size: must be > 0, not 0"
    assert caught.value.exit_code == 3


WHOLE = {
    "empty file": ("", "1:1: empty; it must begin with 'spec: vaezoo/v2'"),
    "only a comment": ("# nothing\n", "1:1: empty; it must begin with 'spec: vaezoo/v2'"),
    "a scalar": ("vaezoo\n", "1:1: must be a mapping that begins with 'spec: vaezoo/v2'"),
    "a list": (
        "\n- spec: vaezoo/v2\n",
        "2:1: must be a mapping that begins with 'spec: vaezoo/v2'",
    ),
    "an empty document": (
        "---\n...\n",
        "2:1: must be a mapping that begins with 'spec: vaezoo/v2'",
    ),
    "too large": ("# " + "x" * 65536, "1:1: larger than 64 KiB; shorten the spec"),
    "too many values": (
        "[" + "x," * 5000 + "]",
        "1:8000: more than 4000 keys and values; shorten the spec",
    ),
    "too deep": ("a: " + "[" * 30 + "]" * 30, "1:28: nested deeper than 24 levels; use fewer"),
    "not UTF-8": (
        b"spec: vaezoo/v2\nname: \xff\n",
        "2:7: byte 0xff is not UTF-8 text; save the file as UTF-8",
    ),
    "Latin-1 after UTF-8": (
        "# ü\nname: é".encode() + b"\xe9",
        "2:8: byte 0xe9 is not UTF-8 text; save the file as UTF-8",
    ),
    "UTF-16": (
        "spec: x".encode("utf-16-le"),
        "1:2: not valid YAML: character U+0000 is not allowed; remove it",
    ),
    "a control character": (
        "a: 1\nb: \x01",
        "2:4: not valid YAML: character U+0001 is not allowed; remove it",
    ),
    "two documents": ("a: 1\n--- \nb: 2\n", "2:1: more than one document; keep one spec per file"),
    "an unknown directive version": (
        "%YAML 2.0\n---\na: 1\n",
        "1:1: not valid YAML: found incompatible YAML document (version 1.* is required)",
    ),
    "only the first line": (
        "spec: vaezoo/v2\n",
        "1:1: data: is required\n1:1: model: is required\n1:1: name: is required",
    ),
}
# from the line `train: {epochs: 1}` to this, and what is said of it
LAST_LINE = {
    "a tab for indentation": (
        "train:\n\tepochs: 1",
        "10:1: not valid YAML: found character '\\t' that cannot start any token; indent with "
        "spaces, not with tabs",
    ),
    "an unclosed list": (
        "evaluate: [elbo",
        "9:11: not valid YAML: expected ',' or ']', but got '<stream end>'; close the bracket",
    ),
    "an unclosed mapping": (
        "train: {epochs: 1",
        "9:8: not valid YAML: expected ',' or '}', but got '<stream end>'; close the bracket",
    ),
    "an unclosed quote": (
        "device: 'cpu",
        "9:9: not valid YAML: found unexpected end of stream; close the quote",
    ),
    "an unknown escape": (
        'device: "\\q"',
        "9:11: not valid YAML: found unknown escape character 'q'; use single quotes, in which a "
        "backslash is plain text",
    ),
    "an escape beyond Unicode": (
        'device: "\\UFFFFFFFF"',
        "9:12: not valid YAML: this number is out of range",
    ),
    "half a surrogate pair": (
        'device: "\\ud800"',
        "9:9: half of a surrogate pair is not a character; write the character itself",
    ),
    "a value that begins with @": (
        "device: @cpu",
        "9:9: not valid YAML: found character '@' that cannot start any token; "
        "put a value that begins with it in quotes",
    ),
    "two mappings in one line": (
        "train: epochs: 1",
        "9:14: not valid YAML: mapping values are not allowed here; "
        "put text that contains ': ' in quotes, and a nested key on its own line",
    ),
    "an indented neighbour": (
        " train: {epochs: 1}",
        "9:2: not valid YAML: expected <block end>, but found '<block mapping start>'; align it "
        "with the lines above",
    ),
    "a key without a value": (
        "train",
        "10:1: not valid YAML: could not find expected ':'; each line is 'key: value'",
    ),
    "a top-level key twice": (
        "name: again",
        "9:1: key 'name' occurs twice (first in line 2); remove one",
    ),
    "a nested key twice": (
        "train: {epochs: 1, epochs: 2}",
        "9:20: key 'epochs' occurs twice (first in line 9); remove one",
    ),
    "an anchor": (
        "train: &t {epochs: 1}",
        "9:8: anchor &t is not allowed; write the value out, or use vars",
    ),
    "an anchor on a key": (
        "&t train: {}",
        "9:1: anchor &t is not allowed; write the value out, or use vars",
    ),
    "an alias": ("train: *t", "9:8: alias *t is not allowed; write the value out, or use vars"),
    "a core tag": ("seed: !!int 3", "9:7: tag !!int is not allowed; remove it"),
    "a Python tag": (
        "seed: !!python/object/apply:os.system [ls]",
        "9:7: tag !!python/object/apply:os.system is not allowed; remove it",
    ),
    "a number as key": ("1: 2", "9:1: a key must be text, not 1; put it in quotes"),
    "null as key": ("null: 2", "9:1: a key must be text, not null; put it in quotes"),
    "no key": ("? ", "9:2: a key must be text, not nothing; put it in quotes"),
    "an empty key": ("'': 2", "9:1: a key must be a plain word, not ''"),
    "a key of two lines": ('"a\\nb": 2', "9:1: a key must be a plain word, not 'a\\nb'"),
    "a list as key": ("[a]: 2", "9:1: a key must be a plain word, not a list or a mapping"),
    "a mapping as key": (
        "? {a: b}\n: 2",
        "9:3: a key must be a plain word, not a list or a mapping",
    ),
    "a merge key": ("<<: {a: 2}", f"9:1: <<: unknown key; known: {TOP}"),
    "an unknown top-level key": (
        "trian: {epochs: 1}",
        "9:1: trian: unknown key; did you mean 'train'?",
    ),
    "a key like none": ("zzz: 1", f"9:1: zzz: unknown key; known: {TOP}"),
    "a negative seed": ("seed: -1", "9:7: seed: must be >= 0, not -1"),
    "a seed of 65 bits": (
        "seed: 18446744073709551616",
        "9:7: 18446744073709551616 is not a 64-bit integer, at most 9223372036854775807",
    ),
    "a seed in quotes": ("seed: '3'", "9:7: seed: must be an integer, not '3'"),
    "train without a value": ("train:", "9:7: train: must be a mapping, not nothing"),
    "train as a list": ("train:\n  - epochs", "10:3: train: must be a mapping, not a list"),
    "neither epochs nor steps": ("train: {}", "9:1: train: give `epochs` or `steps`"),
    "both epochs and steps": (
        "train: {epochs: 1, steps: 1}",
        "9:1: train: give `epochs` or `steps`, not both",
    ),
    "no epochs at all": ("train: {epochs: 0}", "9:17: train.epochs: must be > 0, not 0"),
    "an unknown key of train": (
        "train: {epoch: 1}",
        "9:9: train.epoch: unknown key; did you mean 'epochs'?",
    ),
    "an unknown precision": (
        "train: {epochs: 1, precision: fp64}",
        "9:31: train.precision: must be 'auto', 'fp32', 'bf16' or 'fp16', not 'fp64'; did you "
        "mean 'fp16'?",
    ),
    "an unknown device": (
        "train: {epochs: 1, device: gpu}",
        "9:28: train.device: must be auto, cpu, mps, cuda or cuda:N, not 'gpu'",
    ),
    "a device with a foreign digit": (
        "train: {epochs: 1, device: 'cuda:٣'}",
        "9:28: train.device: must be auto, cpu, mps, cuda or cuda:N, not 'cuda:٣'",
    ),
    "a union with a choice": (
        "train: {epochs: 1, compile: maybe}",
        "9:29: train.compile: must be true or false or 'auto', not 'maybe'",
    ),
    "a float at its bound": (
        "train: {epochs: 1, ema: 1.0}",
        "9:25: train.ema: must be < 1.0, not 1.0",
    ),
    "not a number": (
        "train: {epochs: 1, checkpoint_every: .nan}",
        "9:38: train.checkpoint_every: must be a finite number, not nan",
    ),
    "an optimizer without type": (
        "train: {epochs: 1, optimizer: {lr: 1e-3}}",
        "9:20: train.optimizer.type: is required",
    ),
    "an optimizer type that is a number": (
        "train: {epochs: 1, optimizer: {type: 3}}",
        "9:38: train.optimizer.type: must be text, not 3",
    ),
    "one callback outside a list": (
        "train: {epochs: 1, callbacks: csv}",
        "9:31: train.callbacks: must be a list, not 'csv'",
    ),
    "an unknown callback": (
        "train: {epochs: 1, callbacks: [cvs]}",
        "9:32: train.callbacks.0: no callback named 'cvs'; did you mean 'csv'?",
    ),
    "an option where there are none": (
        "train: {epochs: 1, callbacks: [{type: csv, a: 1}]}",
        "9:44: train.callbacks.0.a: unknown key; there are no options here",
    ),
    "one regularizer outside a list": (
        "regularizers: kl",
        "9:15: regularizers: must be a list, not 'kl'",
    ),
    "a mapping for the list of regularizers": (
        "regularizers: {type: kl}",
        "9:15: regularizers: must be a list, not a mapping",
    ),
    "a regularizer that is nothing": (
        "regularizers: [null]",
        f"9:16: regularizers.0: must be {COMPONENT}, not nothing",
    ),
    "a list in the list": (
        "regularizers: [[kl]]",
        f"9:16: regularizers.0: must be {COMPONENT}, not a list",
    ),
    "a weight in quotes": (
        "regularizers: [{type: kl, weight: '1e-3'}]",
        f"9:35: regularizers.0.weight: must be a number or {COMPONENT}, not '1e-3'",
    ),
    "a weight that is true": (
        "regularizers: [{type: kl, weight: true}]",
        f"9:35: regularizers.0.weight: must be a number or {COMPONENT}, not true",
    ),
    "a misspelled schedule": (
        "regularizers: [{type: kl, weight: {type: liner, steps: 2}}]",
        "9:42: regularizers.0.weight: no schedule named 'liner'; did you mean 'linear'?",
    ),
    "a schedule without what it needs": (
        "regularizers: [{type: kl, weight: linear}]",
        "9:35: regularizers.0.weight.steps: is required",
    ),
    "two faults in a schedule": (
        "regularizers:\n  - type: kl\n    weight:\n      type: linear\n      steps: 0\n      "
        "stat: 1",
        "13:14: regularizers.0.weight.steps: must be > 0, not 0\n"
        "14:7: regularizers.0.weight.stat: unknown key; did you mean 'start'?",
    ),
    "kl beside iwae": (
        "objective: iwae\nregularizers: [kl]",
        "10:16: regularizers.0: objective 'iwae' already includes the rate; remove regularizer "
        "'kl'",
    ),
    "kl with a weight beside iwae": (
        "objective: {type: iwae, samples: 4}\nregularizers:\n  - {type: kl, weight: 0.5}",
        "11:12: regularizers.0: objective 'iwae' already includes the rate; remove regularizer "
        "'kl'",
    ),
    "a misspelled objective": (
        "objective: iwe",
        "9:12: objective: no objective named 'iwe'; did you mean 'iwae'?",
    ),
    "an objective that is nothing": (
        "objective: null",
        f"9:12: objective: must be {COMPONENT}, not nothing",
    ),
    "a misspelled choice": (
        "objective: {type: iwae, gradient: drg}",
        "9:35: objective.gradient: must be 'standard', 'dreg' or 'stl', not 'drg'; did you mean "
        "'dreg'?",
    ),
    "a misspelled metric": (
        "evaluate: [elbow]",
        "9:12: evaluate.0: no metric named 'elbow'; did you mean 'elbo'?",
    ),
    "half a sample": (
        "evaluate:\n- elbo\n- {type: nll, samples: 0.5}",
        "11:24: evaluate.1.samples: must be an integer, not 0.5",
    ),
    "requires outside a list": ("requires: torch", "9:11: requires: must be a list, not 'torch'"),
    "a requirement that is none": (
        "requires: ['torch>>1']",
        "9:12: requires.0: 'torch>>1' is not a package and its versions, such as "
        "'vaezoo-mnist>=0.1'",
    ),
    "a requirement from an address": (
        "requires: ['evil @ https://example.org/evil.whl']",
        "9:12: requires.0: 'evil @ https://example.org/evil.whl' is not a package and its "
        "versions, "
        "such as 'vaezoo-mnist>=0.1'",
    ),
    "a requirement that is a number": ("requires: [3]", "9:12: requires.0: must be text, not 3"),
    "a requirement that is a list": (
        "requires: [[torch]]",
        "9:12: requires.0: must be text, not a list",
    ),
    "extends a number": (
        "extends: 3",
        "9:10: extends: must be a path, such as ./base.yaml, not 3",
    ),
    "extends a missing file": (
        "extends: ./base.yaml",
        "9:10: extends: no file './base.yaml' relative to spec.yaml",
    ),
    "extends itself": (
        "extends: spec.yaml",
        "9:10: extends: files extend each other in a circle: spec.yaml -> spec.yaml; remove one "
        "extends",
    ),
    "extends an absolute path": (
        "extends: /etc/hosts",
        "9:10: extends: '/etc/hosts' is absolute; write it relative to this file",
    ),
    "extends a file outside": (
        "extends: ../base.yaml",
        "9:10: extends: '../base.yaml' is outside the folder of the spec; copy it into that "
        "folder",
    ),
    "extends a zero byte": (
        'extends: "a\\0b"',
        "9:10: extends: 'a\\x00b' is not a path: embedded null byte",
    ),
    "vars that are no mapping": (
        "vars: [1]",
        "9:7: vars: must be a mapping of names to values, not a list",
    ),
    "an unknown variable": (
        "vars: {epochs: 3}\ntrain: {epochs: '${vars.epoch}'}",
        "10:17: train.epochs: no variable 'epoch'; did you mean 'epochs'?",
    ),
    "a variable without vars": (
        "seed: ${vars.seed}",
        "9:7: seed: no variable 'seed'; define it under vars, such as vars: {seed: 1}",
    ),
    "part of a value": (
        "vars: {n: 3}\ntrain: {device: 'cuda:${vars.n}'}",
        "10:17: train.device: 'cuda:${vars.n}' is not a variable; the whole value must be "
        "${vars.name}",
    ),
    "a variable of the environment": (
        "train: {device: '${HOME}'}",
        "9:17: train.device: '${HOME}' is not a variable; the whole value must be ${vars.name}",
    ),
    "a variable in a variable": (
        "vars: {a: '${vars.b}', b: 1}\nseed: ${vars.a}",
        "9:11: vars.a: a variable cannot refer to another; write the value out",
    ),
    "a wrong value in a variable": (
        "vars:\n  t: {epochs: 0}\ntrain: ${vars.t}",
        "10:15: train.epochs: must be > 0, not 0",
    ),
}

# a text of the valid spec, what it is replaced by, and what is said of it
EDITS = {
    "another version": (
        "vaezoo/v2",
        "vaezoo/v3",
        "1:7: spec: must be 'vaezoo/v1' or 'vaezoo/v2', not 'vaezoo/v3'; "
        "did you mean 'vaezoo/v2'?",
    ),
    "no version": ("spec: vaezoo/v2\n", "", "1:1: spec: is required"),
    "no data": ("data: {type: digits, batch_size: 64}\n", "", "1:1: data: is required"),
    "no likelihood": ("  likelihood: bernoulli\n", "", "4:1: model.likelihood: is required"),
    "a misspelled name": (
        "name:",
        "nam:",
        "1:1: name: is required\n2:1: nam: unknown key; did you mean 'name'?",
    ),
    "a bad name": (
        "demo",
        "-my model",
        "2:7: name: must be at most 100 letters, digits, '.', '_' or '-', the first a letter or "
        "digit, not '-my model'",
    ),
    "a name that leaves the folder": (
        "demo",
        "../demo",
        "2:7: name: must be at most 100 letters, digits, '.', '_' or '-', the first a letter or "
        "digit, not '../demo'",
    ),
    "a name that is a number": ("demo", "1e-3", "2:7: name: must be text, not 0.001"),
    "an integer in quotes": (
        "dim: 8",
        'dim: "16"',
        "5:15: model.latent_dim: must be an integer, not '16'",
    ),
    "a fraction": ("dim: 8", "dim: 3.5", "5:15: model.latent_dim: must be an integer, not 3.5"),
    "a whole float": ("dim: 8", "dim: 8.0", "5:15: model.latent_dim: must be an integer, not 8.0"),
    "an exponent": (
        "dim: 8",
        "dim: 1e-3",
        "5:15: model.latent_dim: must be an integer, not 0.001",
    ),
    "true for a number": (
        "dim: 8",
        "dim: true",
        "5:15: model.latent_dim: must be an integer, not true",
    ),
    "no for a number": (
        "dim: 8",
        "dim: no",
        "5:15: model.latent_dim: must be an integer, not 'no'",
    ),
    "a negative dimension": ("dim: 8", "dim: -1", "5:15: model.latent_dim: must be > 0, not -1"),
    "too many dimensions": (
        "dim: 8",
        "dim: 2000000",
        "5:15: model.latent_dim: must be <= 1000000, not 2000000",
    ),
    "absurdly many dimensions": (
        "dim: 8",
        "dim: 99999999999999999999",
        "5:15: 99999999999999999999 is not a 64-bit integer, at most 9223372036854775807",
    ),
    "an underscore in a number": (
        "dim: 8",
        "dim: 1_000",
        "5:15: model.latent_dim: must be an integer, not '1_000'",
    ),
    "no number": ("dim: 8", "dim:", "5:14: model.latent_dim: must be an integer, not nothing"),
    "a list for a number": (
        "dim: 8",
        "dim: [8]",
        "5:15: model.latent_dim: must be an integer, not a list",
    ),
    "a mapping for a number": (
        "dim: 8",
        "dim: {a: 8}",
        "5:15: model.latent_dim: must be an integer, not a mapping",
    ),
    "a number for text": (
        "type: mlp, hidden: [32]}\n  d",
        "type: mlp, norm: 3}\n  d",
        "6:30: model.encoder.norm: must be 'none', 'batch' or 'layer', not 3",
    ),
    "a list for a component": (
        "{type: mlp, hidden: [32]}",
        "[mlp]",
        f"6:12: model.encoder: must be {COMPONENT}, not a list",
    ),
    "a number for a component": (
        "bernoulli",
        "3",
        f"8:15: model.likelihood: must be {COMPONENT}, not 3",
    ),
    "nothing for a component": (
        "likelihood: bernoulli",
        "likelihood:",
        f"8:14: model.likelihood: must be {COMPONENT}, not nothing",
    ),
    "an unknown key of the model": (
        "likelihood:",
        "likelyhood:",
        "4:1: model.likelihood: is required\n8:3: model.likelyhood: unknown key; did you mean "
        "'likelihood'?",
    ),
    "a key like none of the model's": (
        "  latent_dim: 8\n",
        "  latent_dim: 8\n  zzz: 8\n",
        f"6:3: model.zzz: unknown key; known: {MODEL}",
    ),
    "a misspelled encoder": (
        "{type: mlp, hidden: [32]}",
        "mpl",
        "6:12: model.encoder: no encoder named 'mpl'; did you mean 'mlp'?",
    ),
    "a misspelled type": (
        "type: mlp",
        "type: mpl",
        "6:19: model.encoder: no encoder named 'mpl'; did you mean 'mlp'?",
    ),
    "a misspelled likelihood": (
        "bernoulli",
        "bernouli",
        "8:15: model.likelihood: no likelihood named 'bernouli'; did you mean 'bernoulli'?",
    ),
    "another plugin's likelihood": (
        "bernoulli",
        "other:bernoulli",
        "8:15: model.likelihood: no likelihood named 'other:bernoulli'; did you mean 'bernoulli'?",
    ),
    "an import path": (
        "bernoulli",
        "os:system",
        "8:15: model.likelihood: no likelihood named 'os:system'; known: {likelihood}",
    ),
    "a block without type": (
        "{type: mlp, hidden: [32]}",
        "{hidden: [32]}",
        "6:12: model.encoder: needs a `type` that names the encoder; known: {encoder}",
    ),
    "a type that is a number": (
        "type: mlp",
        "type: 3",
        "6:19: model.encoder: needs a `type` that names the encoder, not 3; known: {encoder}",
    ),
    "a misspelled option": (
        "hidden: [32]",
        "hiden: [32]",
        "6:24: model.encoder.hiden: unknown key; did you mean 'hidden'?",
    ),
    "a misspelled activation": (
        "hidden: [32]",
        "activation: rellu",
        f"6:36: model.encoder.activation: must be {ACTIVATIONS}, not 'rellu'; did you mean "
        f"'relu'?",
    ),
    "an activation like none": (
        "hidden: [32]",
        "activation: no",
        f"6:36: model.encoder.activation: must be {ACTIVATIONS}, not 'no'",
    ),
    "a choice of numbers in quotes": (
        "mlp, hidden: [32]",
        "conv, kernel: '4'",
        "6:33: model.encoder.kernel: must be 3 or 4, not '4'",
    ),
    "no for false": (
        "hidden: [32]",
        "gated: no",
        "6:31: model.encoder.gated: must be true or false, not 'no'",
    ),
    "1 for true": (
        "hidden: [32]",
        "gated: 1",
        "6:31: model.encoder.gated: must be true or false, not 1",
    ),
    "a number for a list": (
        "hidden: [32]",
        "hidden: 32",
        "6:32: model.encoder.hidden: must be a list, not 32",
    ),
    "text for a list": (
        "hidden: [32]",
        "hidden: abc",
        "6:32: model.encoder.hidden: must be a list, not 'abc'",
    ),
    "a mapping for a list": (
        "hidden: [32]",
        "hidden: {a: 32}",
        "6:32: model.encoder.hidden: must be a list, not a mapping",
    ),
    "an empty list": (
        "hidden: [32]",
        "hidden: []",
        "6:32: model.encoder.hidden: must be a list of 1 or more, not an empty list",
    ),
    "two faults in a list": (
        "hidden: [32]",
        "hidden: [32, a, 0]",
        "6:37: model.encoder.hidden.1: must be an integer, not 'a'\n6:40: model.encoder.hidden.2: "
        "must be > 0, not 0",
    ),
    "a share of 1": (
        "hidden: [32]",
        "dropout: 1.0",
        "6:33: model.encoder.dropout: must be < 1.0, not 1.0",
    ),
    "a list of the wrong length": (
        "batch_size: 64",
        "fractions: [0.5, 0.5]",
        "3:33: data.fractions: must be a list of 3 or more, not a list",
    ),
    "a misspelled data set": (
        "{type: digits, batch_size: 64}",
        "digts",
        "3:7: data: no dataset named 'digts'; did you mean 'digits'?",
    ),
    "a data set without its file": (
        "{type: digits, batch_size: 64}",
        "npz",
        "3:7: data.path: is required",
    ),
    "a misspelled loader option": (
        "batch_size",
        "batchsize",
        "3:22: data.batchsize: unknown key; did you mean 'batch_size'?",
    ),
    "a wrong loader option": (
        "batch_size: 64",
        "workers: -1",
        "3:31: data.workers: must be >= 0, not -1",
    ),
    "a very long value": (
        "dim: 8",
        "dim: " + "x" * 100,
        "5:15: model.latent_dim: must be an integer, not '" + "x" * 56 + "...",
    ),
}

INTO = {
    "text": (
        "encoder",
        "9:21: model.condition.into: must be a list such as [encoder, decoder], not 'encoder'",
    ),
    "nothing": (
        "",
        "9:20: model.condition.into: must be a list such as [encoder, decoder], not nothing",
    ),
    "an empty list": (
        "[]",
        "9:21: model.condition.into: must be a list such as [encoder, decoder], not an empty list",
    ),
    "a misspelled part": (
        "[encodr]",
        "9:22: model.condition.into.0: no part named 'encodr'; did you mean 'encoder'?",
    ),
    "a part like none": (
        "[encoder, zzz]",
        "9:31: model.condition.into.1: no part named 'zzz'; known: decoder, encoder, prior",
    ),
    "a part twice": (
        "[encoder, prior, encoder]",
        "9:38: model.condition.into.2: names encoder a second time; remove it",
    ),
    "a list": (
        "[[encoder]]",
        "9:22: model.condition.into.0: no part named a list; known: decoder, encoder, prior",
    ),
}

OVERRIDES = {
    "a wrong value": ("train.epochs=x", "1:1: train.epochs: must be an integer, not 'x'"),
    "an empty value": ("train.epochs=", "1:1: train.epochs: must be an integer, not ''"),
    "a misspelled key": ("trin.epochs=3", "1:1: trin: unknown key; did you mean 'train'?"),
    "an index past the end": (
        "model.encoder.hidden.1=4",
        "1:1: model.encoder.hidden.1: no item '1'; the list has length 1 and indices start at 0",
    ),
    "a key in a list": (
        "model.encoder.hidden.x=4",
        "1:1: model.encoder.hidden.x: no item 'x'; the list has length 1 and indices start at 0",
    ),
    "a wrong item": (
        "model.encoder.hidden.0=0",
        "1:1: model.encoder.hidden.0: must be > 0, not 0",
    ),
    "a key below a number": (
        "train.epochs.x=3",
        "1:1: train.epochs: must be an integer, not a mapping",
    ),
    "an unknown option": (
        "model.encoder.hiden=[3]",
        "1:1: model.encoder.hiden: unknown key; did you mean 'hidden'?",
    ),
    "a key of another block": (
        "epochs=3",
        "1:1: epochs: unknown key; did you mean 'train.epochs'?",
    ),
    "a learning rate without its optimizer": (
        "train.lr=3",
        "1:1: train.lr: unknown key; did you mean 'train.optimizer.lr'?",
    ),
    "an unknown option of a default": (
        "objective.sampels=3",
        "1:1: objective.sampels: unknown key; did you mean 'samples'?",
    ),
    "a name in place of an index": (
        "regularizers.kl.weight=3",
        "1:1: regularizers.kl.weight: no item 'kl'; the list has length 1 and indices start at 0; "
        "'kl' is item 0",
    ),
    "an item of an empty default": (
        "stages.0.epochs=3",
        "1:1: stages.0.epochs: no item '0'; the list has length 0 and indices start at 0",
    ),
    "a block without a default": (
        "train.scheduler.gamma=3",
        "1:1: train.scheduler.type: is required",
    ),
    "a key below a number of a default": (
        "data.split_seed.x.y=3",
        "1:1: data.split_seed: must be an integer, not a mapping",
    ),
    "broken YAML": (
        "train.epochs=[1",
        "1:1: not valid YAML: expected ',' or ']', but got '<stream end>'; close the bracket",
    ),
    "a tag": ("train.epochs=!!int 3", "1:1: tag !!int is not allowed; remove it"),
}


@pytest.mark.parametrize("case", WHOLE)
def test_a_file_that_is_no_spec_is_refused(case):
    text, expected = WHOLE[case]
    assert complaint(text) == expected


@pytest.mark.parametrize("case", LAST_LINE)
def test_a_bad_line_is_refused(case):
    line, expected = LAST_LINE[case]
    assert complaint(VALID.replace("train: {epochs: 1}", line)) == expected


@pytest.mark.parametrize("case", EDITS)
def test_a_bad_edit_is_refused(case):
    old, new, expected = EDITS[case]
    assert old in VALID
    for kind in ("encoder", "likelihood"):
        expected = expected.replace(f"{{{kind}}}", ", ".join(discovery.catalogue().names(kind)))
    assert complaint(VALID.replace(old, new, 1)) == expected


@pytest.mark.parametrize("case", INTO)
def test_a_bad_into_is_refused(case):
    into, expected = INTO[case]
    text = VALID.replace("bernoulli\n", "bernoulli\n  condition: {into: " + into + "}\n")
    output = complaint(text).splitlines()
    assert output[0].startswith("9:14: model.condition: needs a `type` that names the conditioner")
    assert output[1:] == [expected]


@pytest.mark.parametrize("case", OVERRIDES)
def test_a_bad_override_is_refused_at_the_override(case):
    override, expected = OVERRIDES[case]
    assert complaint(VALID, (override,)) == f"-s {override}:{expected}"


@pytest.mark.parametrize(
    "override", ["train.epochs", "=3", "", ".=3", "train..epochs=3", "a." * 40 + "a=1"]
)
def test_an_override_of_another_form_is_a_usage_error(override):
    with pytest.raises(UsageError, match=r"^-s "):
        load_spec(VALID, [override], text=True)


@pytest.mark.parametrize(
    "override",
    [
        f"data.batch_size={'x' * 50_000}",
        f"model.encoder.hidden={[{}] * 2000}",
        f"train.{'x' * 50_000}",
        f"{'x' * 50_000}=[",
        f"samplers.{'x' * 30_000}={dict.fromkeys('abcdefgh', 1)}".replace("'", ""),
    ],
    ids=["value", "list", "no value", "no YAML", "keys"],
)
def test_a_message_repeats_no_long_override(override):
    with pytest.raises((SpecError, UsageError), match=r"^-s ") as caught:
        load_spec(VALID, [override], text=True)
    lines = str(caught.value).splitlines()
    assert lines and max(map(len, lines)) < 1000


def test_a_message_repeats_no_long_key():
    options = ", ".join(f"k{index}: 1" for index in range(500))
    text = f"{VALID}samplers:\n  ? {'x' * 50}{'y' * 20_000}\n  : {{type: mixture, {options}}}\n"
    lines = complaint(text).splitlines()
    assert len(lines) > 500 and sum(map(len, lines)) < 1_000_000


@pytest.mark.parametrize("betas", ["{}", "{a: 1}", "[]", "[0.9]", "[x, y]", "[1e400, 1]", "3"])
def test_options_into_which_an_optimizer_looks_in_vain_are_refused(betas):
    override = f"train.optimizer={{type: adam, betas: {betas}}}"
    assert "train.optimizer: adam: " in complaint(VALID, (override,))


def test_a_base_whose_name_is_too_long_is_refused(tmp_path):
    (tmp_path / "spec.yaml").write_text(f"extends: {'x' * 300}\n")
    with pytest.raises(SpecError, match="1:10: extends: no file"):
        load_spec(tmp_path / "spec.yaml")


def test_all_faults_are_reported_at_once_in_file_order():
    text = """\
spec: vaezoo/v2
name: "no good"
sed: 3
data: {type: digits, batch_size: 0}
model:
  latent_dim: 1e-3
  encoder: {type: conv, kernel: 5, chanels: [8]}
  decoder: mpl
  likelihood: normal
regularizers:
  - {type: kl, weight: {type: linear, steps: -1}}
train: {epochs: many}
evaluate: [elbo, nil]
"""
    assert complaint(text).splitlines() == [
        "2:7: name: must be at most 100 letters, digits, '.', '_' or '-', the first a letter or "
        "digit, not 'no good'",
        "3:1: sed: unknown key; did you mean 'seed'?",
        "4:34: data.batch_size: must be > 0, not 0",
        "6:15: model.latent_dim: must be an integer, not 0.001",
        "7:33: model.encoder.kernel: must be 3 or 4, not 5",
        "7:36: model.encoder.chanels: unknown key; did you mean 'channels'?",
        "8:12: model.decoder: no decoder named 'mpl'; did you mean 'mlp'?",
        "11:46: regularizers.0.weight.steps: must be > 0, not -1",
        "12:17: train.epochs: must be an integer, not 'many'",
        "13:18: evaluate.1: no metric named 'nil'; did you mean 'nll'?",
    ]


def test_all_bad_requirements_are_reported_at_once():
    output = complaint(VALID + "requires: ['a b', torch, '>=1']\n")
    assert [line.split(": ")[:2] for line in output.splitlines()] == [
        ["10:12", "requires.0"],
        ["10:26", "requires.2"],
    ]


def test_a_fault_in_the_base_is_reported_in_the_base():
    Path("base.yaml").write_text(VALID.replace("dim: 8", "dim: x"))
    assert (
        complaint("extends: ./base.yaml\n")
        == "base.yaml:5:15: model.latent_dim: must be an integer, not 'x'"
    )


def test_a_base_that_is_no_mapping_is_refused_in_the_base():
    Path("base.yaml").write_text("- a\n")
    assert complaint("extends: base.yaml\n") == (
        "base.yaml:1:1: must be a mapping that begins with 'spec: vaezoo/v2'"
    )


def test_a_circle_of_files_names_them_all():
    Path("sub").mkdir()
    Path("sub/b.yaml").write_text("extends: ../c.yaml\n")
    Path("c.yaml").write_text("name: c\nextends: spec.yaml\n")
    output = complaint("extends: sub/b.yaml\n")
    assert output.endswith(
        "c.yaml:2:10: extends: files extend each other in a circle: spec.yaml -> b.yaml -> c.yaml "
        "-> spec.yaml; remove one extends"
    )


def test_too_long_a_chain_of_files_is_refused():
    for index in range(12):
        Path(f"b{index}.yaml").write_text(f"extends: b{index + 1}.yaml\n")
    output = complaint("extends: b0.yaml\n")
    assert output.endswith("b7.yaml:1:10: extends: more than 8 files deep; merge some of them")


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "outside.yaml").write_text(VALID)
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    (tmp_path / "inner" / "spec.yaml").write_text("extends: link.yaml\n")
    with pytest.raises(
        SpecError,
        match=r"'link\.yaml' is outside the folder of the spec; copy it into that folder",
    ):
        load_spec(Path("inner/spec.yaml"))


def test_text_cannot_extend_a_file():
    with pytest.raises(SpecError) as caught:
        load_spec("extends: base.yaml\n", text=True)
    assert (
        str(caught.value)
        == "<text>:1:10: extends: a spec that is not in a file cannot extend another"
    )


@pytest.mark.parametrize(
    ("path", "reason"), [("none.yaml", "No such file or directory"), (".", "Is a directory")]
)
def test_a_file_that_cannot_be_read_is_a_spec_error(path, reason):
    with pytest.raises(SpecError) as caught:
        load_spec(Path(path))
    assert str(caught.value) == f"{path}:1:1: cannot be read: {reason}"
