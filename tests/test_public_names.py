"""Public names: each stands once, there are not too many, and what users call has an example that
runs."""

from __future__ import annotations

import ast
import doctest
import inspect
from pathlib import Path

import pytest

import vaezoo
from vaezoo.api import authors, users


def listed(module):
    """The names that a module of the API imports, in the order of its lines."""
    tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    return [
        alias.asname
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]


def examples():
    """What users call, with the public methods and properties of the classes among it."""
    for name in listed(users):
        public = getattr(users, name)
        yield name, public
        if inspect.isclass(public) and not issubclass(public, BaseException):
            for member, value in vars(public).items():
                if not member.startswith("_") and isinstance(value, property) | inspect.isroutine(
                    value
                ):
                    yield f"{name}.{member}", value


EXAMPLES = dict(examples())


def test_every_public_name_stands_once():
    names = ["hookimpl", *listed(authors), *listed(users)]
    assert len(names) == len(set(names))
    assert sorted(vaezoo.__all__) == sorted(names)
    assert all(getattr(vaezoo, name) is not None for name in names)


def test_authors_build_on_at_most_83_names():
    """45, the records of passes, the wiring of each kind, ``Optimization``, ``StepResult``, what
    files of text, arrays, tables and sequences need, names of examples, data of Python,
    ground-truth factors and paths of files, ``BeforeV2``, ``BatchShare``, what metrics check their
    values with and have drawn, features, seeded draws, and how pictures are rendered."""
    assert len(listed(authors)) + 1 <= 83  # hookimpl is the one that needs no import


def parsed(name):
    """The example in the docstring of a public name."""
    public = EXAMPLES[name]
    public = public.fget if isinstance(public, property) else public
    module = inspect.getmodule(inspect.unwrap(public))
    return doctest.DocTestParser().get_doctest(
        inspect.getdoc(public) or "", vars(module).copy(), name, module.__file__, 0
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_users_call_has_an_example_that_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    test = parsed(name)
    if not test.examples and "." in name:  # the example of the class may show a member, too
        owner, member = name.split(".")
        displayed = "".join(example.source for example in parsed(owner).examples)
        assert f".{member}" in displayed, f"{name} is in no example"
        return
    assert test.examples, f"{name} has no example in its docstring"
    report = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    runner.run(test, out=report.append)
    assert not report, "".join(report)
