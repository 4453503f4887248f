"""Whatever the text, a spec is read, or refused with a SpecError, within a second."""

import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vaezoo.spec.dump import dump
from vaezoo.spec.load import load_spec
from vaezoo.spec.spec import Spec
from vaezoo.spec.tree import SPEC_LIMITS, Node, parse
from vaezoo.utils.errors import PluginError, Problem, SpecError

VALID = """\
spec: vaezoo/v2
name: demo
vars: {d: 8}
data: {type: digits, batch_size: 64}
model:
  latent_dim: ${vars.d}
  encoder: {type: mlp, hidden: [32]}
  decoder: {type: conv, channels: [64, 32]}
  likelihood: bernoulli
objective: reconstruction
regularizers:
  - {type: kl, weight: {type: linear, start: 0.0, end: 1.0, steps: 2000}}
train: {epochs: 1, optimizer: {type: adam, lr: 1e-3}}
evaluate: [elbo, {type: nll, samples: 500}]
"""
LINES = VALID.splitlines()


def bounded(examples):
    """The same examples each time."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@pytest.fixture(autouse=True, scope="module")
def warm():
    """Imports and the first binding of each class are not what is timed."""
    load_spec(VALID, text=True)


def survives(text: str) -> None:
    """A text gives a Spec or a SpecError; problems have a position and a one-line message."""
    for read in (lambda: parse(text, "f"), lambda: load_spec(text, text=True)):
        try:
            result = read()
        except PluginError:
            assert "requires" in text
        except SpecError as error:
            assert error.problems
            for problem in error.problems:
                check(problem, text)
        else:
            assert isinstance(result, Node | Spec)


def check(problem: Problem, text: str) -> None:
    assert 1 <= problem.line <= len(text) + 2
    assert problem.column >= 1
    assert problem.message
    assert "\n" not in str(problem)
    assert len(problem.message) < 2000 + len(problem.path)
    for leak in ("Node(", "ComponentSpec(", "Mark(", "Input should", "pydantic", "Traceback"):
        assert leak not in problem.message or leak in text


words = st.sampled_from(
    [
        "spec",
        "name",
        "vaezoo/v2",
        "data",
        "model",
        "type",
        "mlp",
        "conv",
        "kl",
        "linear",
        "digits",
        "${vars.d}",
        "${vars.x",
        "${",
        "1e-3",
        "0x1F",
        "0o17",
        ".inf",
        ".nan",
        "~",
        "no",
        "null",
        "true",
        "-1",
        "3.5",
        "08",
        "<<",
        "=",
        "extends",
        "vars",
        "requires",
        "train",
        "epochs",
        "condition",
        "into",
        "regularizers",
        "weight",
        "evaluate",
        "99999999999999999999",
        "1e999",
        "-0",
        "é",
        "😀",
        ":",
        "vaezoo:",
        ":mlp",
        "a:b:c",
    ]
)
indicators = st.sampled_from(
    [": ", "- ", "? ", "\n", "\n  ", "\n\t", "[", "]", "{", "}", ", ", "&a ", "*a", "!a ",
     "!!int ", "| ",
     ">", "'", '"', "#", " #", "%", "@", "`", "---\n", "...\n", "\\", "\\U", "\\x", "\x00", "\x85",
     "\u2028", "\ufeff", "\r", "\r\n",
     "%YAML 1.1\n---\n", "%TAG ! tag:x,2000:\n---\n", "!<x>", "|9\n", ">-2\n", "\ud800",
     '"\\ud800"', '"\\UFFFFFFFF"']
)  # fmt: skip
soup = st.lists(words | indicators | st.text(max_size=3), max_size=40).map("".join)

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | words
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
)
keys = st.sampled_from(
    [
        "spec",
        "name",
        "seed",
        "requires",
        "data",
        "model",
        "objective",
        "regularizers",
        "train",
        "evaluate",
        "extends",
        "vars",
        "type",
        "latent_dim",
        "encoder",
        "posterior",
        "prior",
        "latents",
        "decoder",
        "likelihood",
        "condition",
        "into",
        "hidden",
        "weight",
        "epochs",
        "steps",
        "optimizer",
        "callbacks",
    ]
)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys | words, inner, max_size=5),
    max_leaves=25,
)
blocks = st.dictionaries(keys, trees, max_size=8)


@bounded(250)
@given(st.text(max_size=200))
@example("")
@example("\x00")
@example("\ud800")
@example('"\\UFFFFFFFF"')
@example('a: "\\ud800"')
@example("%YAML 1." + "1" * 5000 + "\n---\n")
@example("%YAML " + "1" * 5000 + ".1\n---\n")
@example("a: |" + "9" * 5000 + "\n b")
@example("a: " + "1" * 5000)
@example("a: 0x" + "f" * 5000)
@example("!%ff a")
@example("!%F a")
@example("!<%c3> a")
@example("a: !!python/name:os.system b")
def test_no_text_makes_it_crash(text):
    survives(text)


@bounded(300)
@given(soup)
def test_no_soup_of_yaml_makes_it_crash(text):
    survives(text)


@bounded(300)
@given(soup, st.integers(0, len(LINES)))
def test_no_soup_inside_a_spec_makes_it_crash(text, line):
    survives("\n".join([*LINES[:line], text, *LINES[line:]]))


@bounded(200)
@given(blocks)
def test_no_tree_makes_it_crash(tree):
    survives(dump({"spec": "vaezoo/v2", "name": "demo", "data": "digits", **tree}))


@bounded(300)
@given(
    st.sampled_from([
        ("vars", "d"), ("data", "type"), ("data", "batch_size"), ("model", "latent_dim"),
        ("model", "encoder"), ("model", "condition"), ("model", "prior"), ("objective",),
        ("regularizers",), ("regularizers", 0), ("regularizers", 0, "weight"), ("train",),
        ("train", "optimizer"), ("train", "callbacks"), ("evaluate",), ("evaluate", 1), ("name",),
        ("seed",), ("extends",),
    ]),
    trees,
)  # fmt: skip
def test_no_value_in_a_spec_makes_it_crash(place, value):
    complete = parse(VALID, "f").plain()
    part = complete
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value
    survives(dump(complete))


@bounded(250)
@given(
    st.lists(
        st.tuples(st.integers(0, len(VALID)), st.integers(0, 3), st.binary(max_size=3)),
        min_size=1,
        max_size=5,
    )
)
def test_no_edit_of_bytes_makes_it_crash(edits):
    data = VALID.encode()
    for at, removed, added in edits:
        data = data[:at] + added + data[at + removed :]
    survives(data.decode("utf-8", "surrogateescape"))
    survives(data.decode("utf-8", "replace"))


@bounded(60)
@given(
    st.sampled_from(
        ["[", "{a: ", "- ", "? ", "{? ", "[{", "a:\n ", "&a [", "'", '"', "!a ", "[a, ", "{a, "]
    ),
    st.integers(1, 4000),
    st.booleans(),
)
@example("[", 24, True)
@example("[", 25, True)
def test_no_depth_makes_it_crash(opening, count, closed):
    closing = {"[": "]", "{": "}"}
    text = opening * count
    survives(text + "".join(closing.get(char, "") for char in reversed(text)) if closed else text)


LONG = [
    "x",
    "1",
    "x ",
    "x: ",
    "[x,",
    "x,",
    "- a\n",
    "a: 1\n",
    "# c\n",
    "\\x41",
    "é",
    "😀",
    "''",
    "\t",
    "%FOO bar\n",
    "\n",
]
LONG += [
    "%TAG !a! b\n",
    "0.",
    "e",
    "${vars.d}",
    "a.",
    "{}",
    "[]",
    "\r",
    "'a' ",
    "? a\n",
    "!a ",
    "|\n a\n",
    "-\n",
]


@pytest.mark.parametrize(
    "before", ["", "a: ", "a: [", "{", "a: '", 'a: "', "a: |\n ", "name: ", "data: {type: "]
)
@pytest.mark.parametrize("unit", LONG)
def test_no_long_text_takes_longer_than_a_second(before, unit):
    text = before + unit * ((SPEC_LIMITS.bytes - len(before)) // len(unit.encode()))
    start = time.process_time()
    try:
        load_spec(text, text=True)
    except SpecError as error:
        assert str(error)
    assert time.process_time() - start < 1


@pytest.mark.parametrize("separator", ["\n", ", "])
def test_thousands_of_unknown_keys_are_refused_within_a_second(separator):
    text = separator.join(f"k{index}: {index}" for index in range(6000))
    start = time.process_time()
    with pytest.raises(SpecError):
        load_spec(text if separator == "\n" else f"{{{text}}}", text=True)
    assert time.process_time() - start < 1


@bounded(300)
@given(st.dictionaries(st.sampled_from(["a", "null", "no", "1"]), trees, min_size=1, max_size=3))
def test_whatever_is_written_is_read_back(tree):
    assert same(parse(dump(tree), "f").plain(), tree)


def same(a, b) -> bool:
    """Equal in value and type; nan is itself."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or (a != a and b != b))
