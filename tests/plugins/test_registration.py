"""Classes that a process registers: specs find them, and runs record them."""

from __future__ import annotations

import json
import sys
import textwrap
import types

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner

import vaezoo
from tests.commands import run_forked
from vaezoo.cli.main import cli
from vaezoo.plugins import discovery, registration
from vaezoo.plugins.hooks import hookimpl
from vaezoo.runs.process_classes import check_importable
from vaezoo.runs.publishing import PublicationInfo, publish
from vaezoo.utils.errors import PluginError, SpecError, UsageError
from vaezoo.utils.files import read_json
from vaezoo.utils.process_group import ProcessGroup

INFO = PublicationInfo(title="a", weights_licence="a", data_licence="a", citation="a")
QUIET = {"quiet": True, "verbose": False}


class Still(vaezoo.Schedule):
    """Always the same.

    Args:
        value: the number.
    """

    def __init__(self, *, value: float = 1.0) -> None:
        super().__init__()
        self.number = value

    def forward(self, step):
        return self.number


class Sparse(vaezoo.Regularizer):
    """The absolute values of the latents."""

    def __init__(
        self, wiring: vaezoo.TaskWiring, /, *, weight: float | vaezoo.Schedule = 1.0
    ) -> None:
        super().__init__(weight)

    def forward(self, trace):
        return trace.sites[0].z.abs().sum(-1).mean(0)  # [B]


class Lines(vaezoo.Dataset):
    """Points on lines.

    Args:
        count: the number of points of each split.
    """

    def __init__(self, *, count: int = 50) -> None:
        self.count = count

    @property
    def spec(self):
        return vaezoo.DataSpec((2,))

    def split(self, name):
        return vaezoo.Split(torch.linspace(-1, 1, 2 * self.count).reshape(-1, 2))


NESTED = [{"type": "kl", "weight": "still"}, {"type": "sparse", "weight": 0.1}]


@pytest.fixture
def registered():
    """``Still`` and ``Sparse``, registered."""
    vaezoo.register("schedule", "still", Still)
    vaezoo.register("regularizer", "sparse", Sparse)


@pytest.fixture
def provided(monkeypatch):
    """``provided(kind, name, target)``: pretends that a plugin of release 1.2 is installed."""

    def install(kind, name, target):
        module = types.ModuleType("some_plugin")

        @hookimpl
        def vaezoo_components(register):
            register(kind, name, target)

        module.vaezoo_components = vaezoo_components
        point = types.SimpleNamespace(name="sparse", load=lambda: module)
        monkeypatch.setattr(discovery, "_installed", lambda: [("vaezoo-sparse", "1.2", point)])
        discovery._discovered.cache_clear()

    yield install
    discovery._discovered.cache_clear()


# names


def test_a_spec_finds_a_registered_class_by_its_bare_name(spec, registered):
    loaded = vaezoo.load_spec(spec(regularizers=NESTED))
    weight = loaded.regularizers[0].options["weight"]
    assert (weight.cls, loaded.regularizers[1].cls) == (Still, Sparse)
    blocks = loaded.resolved()["regularizers"]
    assert blocks[0]["weight"] == {"type": "still", "value": 1.0}
    assert [block["type"] for block in blocks] == ["kl", "sparse"]
    assert vaezoo.load_spec(loaded.resolved()).resolved() == loaded.resolved()


def test_the_catalogue_has_registered_classes_beside_the_installed_ones(registered):
    known = discovery.catalogue()
    assert "sparse" in known.names("regularizer") and "kl" in known.names("regularizer")
    assert str(known.find("regularizer", "sparse")) == "regularizer 'sparse' of this process"
    installed = discovery.installed_plugins()
    assert "sparse" not in installed.names("regularizer")
    assert [info.name for info in known.plugins] == [info.name for info in installed.plugins]
    result = CliRunner().invoke(cli, ["show", "schedule", "still"], obj=QUIET)
    assert "plugin this process" in result.output and "the number." in result.output


def test_a_second_registration_replaces_the_first_with_its_options(spec, registered):
    class Other(Sparse):
        def __init__(self, wiring: vaezoo.TaskWiring, /, *, weight: float = 1.0, power: int = 2):
            super().__init__(weight)

    old = {"regularizers": [{"type": "sparse", "weight": 0.1}]}
    new = {"regularizers": [{"type": "sparse", "weight": 0.1, "power": 3}]}
    assert vaezoo.load_spec(spec(**old)).regularizers[0].cls is Sparse
    with pytest.raises(SpecError, match=r"regularizers\.0\.power: unknown key"):
        vaezoo.load_spec(spec(**new))
    Other.__qualname__, Other.__module__ = Sparse.__qualname__, Sparse.__module__
    vaezoo.register("regularizer", "sparse", Other)
    assert vaezoo.load_spec(spec(**new)).regularizers[0].cls is Other
    vaezoo.register("regularizer", "sparse", Sparse)
    assert vaezoo.load_spec(spec(**old)).regularizers[0].cls is Sparse
    with pytest.raises(SpecError, match=r"regularizers\.0\.power: unknown key"):
        vaezoo.load_spec(spec(**new))


def test_a_name_belongs_to_its_kind(registered):
    with pytest.raises(PluginError, match="no schedule named 'sparse'"):
        discovery.catalogue().find("schedule", "sparse")


def test_a_name_of_a_plugin_is_refused(provided):
    provided("regularizer", "sparse", "some_plugin:Sparse")
    with pytest.raises(PluginError) as raised:
        vaezoo.register("regularizer", "sparse", Sparse)
    assert str(raised.value) == (
        "regularizer 'sparse' is provided by 'vaezoo-sparse'; register Sparse by another name"
    )
    vaezoo.register("regularizer", "sparser", Sparse)


class Positional(vaezoo.Schedule):
    def __init__(self, value: float = 1.0) -> None:
        super().__init__()

    def forward(self, step):
        return 1.0


class Bare(vaezoo.Schedule):
    def __init__(self, *, value=1.0):
        super().__init__()

    def forward(self, step):
        return 1.0


class Unfinished(vaezoo.Schedule):
    pass


class WithoutWiring(vaezoo.Regularizer):
    def __init__(self, *, weight: float = 1.0) -> None:
        super().__init__(weight)

    def forward(self, trace):
        return trace.rate


REFUSED = {
    "an unknown kind": (
        ("regularizr", "sparse", Sparse),
        "no kind 'regularizr'; did you mean 'regularizer'?",
    ),
    "a capital": (
        ("regularizer", "Sparse", Sparse),
        "regularizer 'Sparse': a name is lower-case words joined by dashes",
    ),
    "a colon": (("regularizer", "a:sparse", Sparse), "a name is lower-case words joined by"),
    "no name": (("regularizer", Sparse, "sparse"), "a name is lower-case words joined by dashes"),
    "an object": (("schedule", "still", Still()), "schedule 'still': Still() is not a class"),
    "another kind": (
        ("regularizer", "still", Still),
        "Still is not a subclass of vaezoo.Regularizer",
    ),
    "an abstract class": (
        ("schedule", "still", Unfinished),
        "schedule 'still' of this process: ",
        "Unfinished does not define forward",
    ),
    "a positional option": (
        ("schedule", "still", Positional),
        "option 'value' is positional; put it after *",
    ),
    "an option without annotation": (("schedule", "still", Bare), "'value' has no annotation"),
    "no wiring": (
        ("regularizer", "sparse", WithoutWiring),
        "the constructor takes one positional argument, its wiring",
    ),
    "a built-in name": (
        ("regularizer", "kl", Sparse),
        "regularizer 'kl' is built in; register Sparse by another name",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_plugin_could_register_is_refused_in_one_line(case):
    arguments, *messages = REFUSED[case]
    before = dict(registration._entries)
    with pytest.raises(PluginError) as raised:
        vaezoo.register(*arguments)
    text = str(raised.value)
    assert all(message in text for message in messages) and "\n" not in text
    assert registration._entries == before


def test_a_refused_class_leaves_the_one_before(spec, registered):
    with pytest.raises(PluginError):
        vaezoo.register("schedule", "still", Bare)
    assert discovery.catalogue().find("schedule", "still").load() is Still


# runs


def test_a_run_records_the_classes_it_uses_and_only_those(train, registered):
    vaezoo.register("dataset", "lines", Lines)
    stages = [{"name": "only", "epochs": 1, "objective": "reconstruction", "regularizers": NESTED}]
    run = train(
        data={"type": "lines", "count": 20, "batch_size": 8},
        model={"likelihood": "normal"},
        stages=stages,
        train={"epochs": None},
    )
    assert run.model.data.shape == (2,) and len(run.data()) == 20
    module = __name__
    assert read_json(run.directory.environment)["registered"] == [
        {"kind": "dataset", "name": "lines", "class": f"{module}:Lines"},
        {"kind": "regularizer", "name": "sparse", "class": f"{module}:Sparse"},
        {"kind": "schedule", "name": "still", "class": f"{module}:Still"},
    ]
    plain = train(train={"epochs": 1})
    assert "registered" not in read_json(plain.directory.environment)


def test_a_run_with_an_own_class_is_resumed_exactly(registered, resumes_exactly):
    resumes_exactly(12, train={"epochs": 2}, regularizers=NESTED)


def test_a_run_with_an_own_class_is_opened(registered, train):
    run = train(train={"epochs": 1}, regularizers=NESTED)
    assert {"sparse", "kl"} <= run.records[0].keys()
    opened = vaezoo.open_run(run.path, device="cpu")
    assert [type(each).__name__ for each in opened.regularizers] == ["KL", "Sparse"]
    assert opened.evaluate(metrics=["rate"])["metrics"]["rate"]["examples"] == 270


@pytest.fixture
def forgotten(train, registered):
    """A run whose classes this process no longer has."""
    path = train(train={"epochs": 1}, regularizers=NESTED).path
    registration._entries.clear()
    return path


def test_a_run_without_its_classes_is_refused_with_the_lines_to_write(forgotten):
    module = __name__
    expected = (
        f"{forgotten}: uses regularizer 'sparse' ({module}:Sparse), schedule 'still' "
        f"({module}:Still) of the process that trained it; in Python, first: "
        "vaezoo.register('regularizer', 'sparse', Sparse); "
        "vaezoo.register('schedule', 'still', Still)"
    )
    for door in (vaezoo.open_run, vaezoo.resume):
        with pytest.raises(PluginError) as raised:
            door(forgotten)
        assert str(raised.value) == expected
    for command in ("sample", "resume", "evaluate"):
        raised = CliRunner().invoke(cli, [command, str(forgotten)], obj=QUIET).exception
        assert str(raised) == expected
    for line in expected.partition("first: ")[2].split("; "):
        eval(line, {"vaezoo": vaezoo, "Sparse": Sparse, "Still": Still})
    vaezoo.open_run(forgotten)


def test_a_run_with_classes_of_a_process_is_not_published(forgotten, tmp_path):
    arguments = ["publish", str(forgotten), "--name", "vae/a@1", "--to", str(tmp_path / "zoo")]
    raised = CliRunner().invoke(cli, arguments, obj=QUIET).exception
    assert isinstance(raised, UsageError)
    assert str(raised) == (
        f"{forgotten}: regularizer 'sparse' is {__name__}:Sparse of the process that trained it, "
        "which others do not have; put it into a plugin"
    )
    vaezoo.register("regularizer", "sparse", Sparse)
    vaezoo.register("schedule", "still", Still)
    with pytest.raises(UsageError, match="put it into a plugin"):
        publish(vaezoo.open_run(forgotten, device="cpu"), "vae/a@1", tmp_path / "zoo", INFO)
    assert not (tmp_path / "zoo").exists()


def test_a_run_whose_class_was_put_into_a_plugin_opens_and_is_published(
    train, registered, provided, tmp_path, monkeypatch
):
    regularizers = [{"type": "sparse", "weight": 0.1}]
    path = train(train={"epochs": 1}, regularizers=regularizers).path
    registration._entries.clear()
    module = types.ModuleType("sparse_plugin")
    module.Sparse = Sparse
    monkeypatch.setitem(sys.modules, "sparse_plugin", module)
    provided("regularizer", "sparse", "sparse_plugin:Sparse")
    run = vaezoo.open_run(path, device="cpu")
    assert run.spec.regularizers[0].plugin == "vaezoo-sparse"
    monkeypatch.setattr("vaezoo.runs.entry_fields.metadata.version", lambda name: "1.2")
    entry = publish(run, "vae/a@1", tmp_path / "zoo", INFO)
    assert "vaezoo-sparse>=1.2" in entry.weights.requires


def test_several_processes_need_classes_of_modules(spec, registered, monkeypatch):
    loaded = vaezoo.load_spec(spec(regularizers=NESTED))
    check_importable(loaded, ProcessGroup(0, 2))
    monkeypatch.setattr(Still, "__module__", "__main__")
    check_importable(loaded, ProcessGroup())
    with pytest.raises(UsageError, match="schedule 'still' is __main__:Still; for several"):
        check_importable(loaded, ProcessGroup(0, 2))


SCRIPT = """
    import sys

    import vaezoo
    import vaezoo.runs.report.page

    vaezoo.runs.report.page.write_report = lambda data: None

    class Still(vaezoo.Schedule):
        def forward(self, step):
            return 1.0

    if sys.argv[1] == "train":
        vaezoo.register("schedule", "still", Still)
        print(vaezoo.run("spec.yaml").path)
    try:
        vaezoo.open_run(sys.argv[2]) if sys.argv[1] == "open" else None
    except vaezoo.VaezooError as error:
        print(type(error).__name__, error)
"""


def test_another_process_must_register_the_class_again(spec, tmp_path):
    x = np.random.default_rng(0).random((100, 4))
    np.savez(tmp_path / "x.npz", x=x)
    regularizers = [{"type": "kl", "weight": "still"}]
    short = {"steps": 1, "epochs": None}
    text = spec(data={"type": "npz", "path": "x.npz"}, regularizers=regularizers, train=short)
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(text))

    def call(*words, **options):
        done = run_forked(*words, cwd=tmp_path, **options)
        return done.stdout.strip(), done.stderr.strip(), done.returncode

    code = textwrap.dedent(SCRIPT)
    path, errors, status = call("train", code=code)
    assert status == 0, errors
    recorded = json.loads((tmp_path / path / "environment.json").read_text())["registered"]
    assert recorded == [{"kind": "schedule", "name": "still", "class": "__main__:Still"}]
    message = (
        f"{path}: uses schedule 'still' (__main__:Still) of the process that trained it; in "
        "Python, first: vaezoo.register('schedule', 'still', Still)"
    )
    assert call("open", path, code=code) == (f"PluginError {message}", "", 0)
    assert call("resume", path) == ("", f"error: {message}", 6)
