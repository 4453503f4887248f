"""Plugins are found, guarded one by one, and never change what a spec means."""

import sys
import types

import pytest
from pydantic import BaseModel

from vaezoo.model.objectives import Schedule
from vaezoo.model.parts import Decoder
from vaezoo.plugins import builtin, discovery
from vaezoo.plugins.catalogue import BUILT_IN, Catalogue
from vaezoo.plugins.discovery import discover
from vaezoo.plugins.hooks import hookimpl
from vaezoo.plugins.kinds import KINDS, kind_class
from vaezoo.spec.load import load_spec
from vaezoo.spec.options import load_component
from vaezoo.utils.errors import PluginError, SpecError

SPEC = """\
spec: vaezoo/v1
name: demo
data: digits
model: {latent_dim: 2, encoder: mlp, decoder: mlp, likelihood: LIKELIHOOD}
"""


class Point:
    """An entry point that counts how often it is imported."""

    def __init__(self, name, module):
        self.name, self.module, self.loaded = name, module, 0

    def load(self):
        self.loaded += 1
        if isinstance(self.module, BaseException):
            raise self.module
        return self.module


def plugin(*registrations, **attributes):
    """A plugin module whose hook registers these."""
    module = types.ModuleType("some_plugin")

    @hookimpl
    def vaezoo_components(register):
        for registration in registrations:
            register(*registration)

    module.vaezoo_components = vaezoo_components
    for name, value in attributes.items():
        setattr(module, name, value)
    return module


@pytest.fixture
def installed(monkeypatch):
    """`installed(name=module)` pretends that modules are installed; returns entry points."""

    def install(**modules):
        points = {name.replace("_", "-"): module for name, module in modules.items()}
        points = {name: Point(name, module) for name, module in points.items()}
        monkeypatch.setattr(
            discovery,
            "_installed",
            lambda: [(name, "1.2", point) for name, point in points.items()],
        )
        discovery._discovered.cache_clear()
        return points

    monkeypatch.delenv("VAEZOO_DISABLE_PLUGINS", raising=False)
    install()
    yield install
    discovery._discovered.cache_clear()


def info(catalogue, name):
    (result,) = [info for info in catalogue.plugins if info.name == name]
    return result


BERNOULLI = "vaezoo.components.likelihoods:BernoulliLikelihood"
NORMAL = "vaezoo.components.likelihoods:NormalLikelihood"


# discovery


def test_every_kind_has_one_interface_in_the_same_order():
    assert len({kind_class(kind) for kind in KINDS}) == len(KINDS)


def test_the_built_ins_come_first_and_every_one_of_them_loads(installed):
    catalogue = discover()
    assert [result.name for result in catalogue.plugins] == [BUILT_IN]
    assert catalogue.plugins[0].status == "ok"
    entries = list(catalogue.all())
    assert {(entry.kind, entry.name) for entry in entries} == set(catalogue.entries)
    for entry in entries:
        cls, options = load_component(entry)
        assert issubclass(cls, kind_class(entry.kind))
        assert issubclass(options, BaseModel)


def test_a_plugin_in_order_is_ok_and_its_component_is_found(installed):
    installed(extra=plugin(("likelihood", "coin", BERNOULLI)))
    catalogue = discover()
    assert (info(catalogue, "extra").status, info(catalogue, "extra").version) == ("ok", "1.2")
    assert catalogue.find("likelihood", "coin").plugin == "extra"
    assert catalogue.find("likelihood", "extra:coin").target == BERNOULLI


def test_a_plugin_is_not_asked_to_import_its_components_when_it_is_found(installed):
    installed(extra=plugin(("likelihood", "coin", "no_such_module:Coin")))
    assert info(discover(), "extra").status == "ok"


@pytest.mark.parametrize("name", ["extra-coin", "coin-point"])
def test_a_disabled_plugin_is_never_imported(installed, monkeypatch, name):
    points = installed(extra_coin=plugin(("likelihood", "coin", BERNOULLI)))
    points["extra-coin"].name = "coin-point"
    catalogue = discover([name])
    assert points["extra-coin"].loaded == 0
    assert info(catalogue, "extra-coin").status == "disabled"
    with pytest.raises(PluginError, match="plugin 'extra-coin' is disabled: disabled by the user"):
        catalogue.find("likelihood", "coin")


def test_the_environment_disables_plugins(installed, monkeypatch):
    points = installed(a=plugin(), b=plugin(), c=plugin())
    monkeypatch.setenv("VAEZOO_DISABLE_PLUGINS", " a, ,c,")
    assert [result.status for result in discovery.catalogue().plugins] == [
        "ok",
        "disabled",
        "ok",
        "disabled",
    ]
    assert [point.loaded for point in points.values()] == [0, 1, 0]


def test_a_plugin_for_another_interface_is_incompatible(installed):
    installed(old=plugin(("likelihood", "coin", BERNOULLI), VAEZOO_API=99))
    catalogue = discover()
    assert info(catalogue, "old").status == "incompatible"
    assert info(catalogue, "old").reason == "needs plugin API 99, but this version of vaezoo has 1"
    assert ("likelihood", "coin") not in catalogue.entries


def test_a_plugin_that_states_this_interface_is_ok(installed):
    installed(new=plugin(VAEZOO_API=1))
    assert info(discover(), "new").status == "ok"


@hookimpl
def vaezoo_componentz(register):
    raise AssertionError("never called")


@hookimpl
def wrong_argument(registrar):
    raise AssertionError("never called")


@hookimpl
def raises(register):
    register("likelihood", "coin", BERNOULLI)
    raise RuntimeError("two\nlines")


@hookimpl
def leaves(register):
    sys.exit("bye")


def registries(*result):
    """A hook that registers registries of weights."""

    @hookimpl
    def hook(register):
        for prefix, target in result:
            register(prefix, target)

    return plugin(vaezoo_registries=hook)


COIN = ("likelihood", "coin", BERNOULLI)
BROKEN = {
    "a missing module": (ImportError("no module named 'x'"), ["ImportError: no module named 'x'"]),
    "a syntax error": (SyntaxError("bad"), ["SyntaxError: bad"]),
    "an exit while it is imported": (SystemExit("bye"), ["SystemExit: bye"]),
    "a misspelled hook": (
        plugin(vaezoo_componentz=vaezoo_componentz),
        ["unknown hook 'vaezoo_componentz'"],
    ),
    "a wrong argument": (
        plugin(vaezoo_components=wrong_argument),
        ["vaezoo_components", "registrar"],
    ),
    "a hook that raises": (plugin(vaezoo_components=raises), ["RuntimeError: two lines"]),
    "a hook that exits": (plugin(vaezoo_components=leaves), ["SystemExit: bye"]),
    "an unknown kind": (
        plugin(("likelyhood", "coin", BERNOULLI)),
        ["registers unknown kind 'likelyhood'; did you mean 'likelihood'?"],
    ),
    "a capital in a name": (
        plugin(("likelihood", "Coin", BERNOULLI)),
        ["registers likelihood 'Coin': a name is lower-case words joined by dashes"],
    ),
    "a colon in a name": (
        plugin(("likelihood", "a:coin", BERNOULLI)),
        ["registers likelihood 'a:coin': a name is lower-case words joined by dashes"],
    ),
    "a target without class": (
        plugin(("likelihood", "coin", "vaezoo.components")),
        ["registers likelihood 'coin' as 'vaezoo.components': a target is 'package.module:Class'"],
    ),
    "a target that is a class": (plugin(("likelihood", "coin", dict)), ["TypeError"]),
    "a prefix with a capital": (
        registries(("Lab", "lab:registry.yaml")),
        ["registers registry 'Lab': a prefix is"],
    ),
    "a registry without https": (
        registries(("lab", "http://host/x")),
        ["registers registry 'lab' as 'http://host/x'"],
    ),
    "a prefix twice": (
        registries(*[("lab", "lab:registry.yaml")] * 2),
        ["registers registry 'lab' twice"],
    ),
    "a name twice": (plugin(COIN, COIN), ["registers likelihood 'coin' twice"]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_reported_with_its_reason_and_the_rest_works(installed, case):
    module, reasons = BROKEN[case]
    installed(a_bad=module, b_good=plugin(("likelihood", "fine", BERNOULLI)))
    catalogue = discover()
    assert info(catalogue, "a-bad").status == "broken"
    for reason in reasons:
        assert reason in info(catalogue, "a-bad").reason
    assert "\n" not in info(catalogue, "a-bad").reason
    assert not info(catalogue, "a-bad").entries
    assert info(catalogue, "b-good").status == "ok", info(catalogue, "b-good").reason
    assert catalogue.find("likelihood", "fine").plugin == "b-good"
    assert ("likelihood", "coin") not in catalogue.entries


def test_a_plugin_may_bring_registries_alone(installed):
    installed(
        lab=registries(("lab", "lab:zoo/registry.yaml"), ("far", "https://host/registry.yaml"))
    )
    result = info(discover(), "lab")
    assert (result.status, result.entries) == ("ok", ())
    assert result.registries == (
        ("lab", "lab:zoo/registry.yaml"),
        ("far", "https://host/registry.yaml"),
    )


def test_a_plugin_with_two_faulty_hooks_does_not_spoil_the_next(installed):
    module = plugin(a_hook=vaezoo_componentz, vaezoo_components=wrong_argument)
    installed(a_bad=module, b_good=plugin())
    assert [result.status for result in discover().plugins] == ["ok", "broken", "ok"]


def test_a_module_that_two_packages_bring_counts_once(installed):
    module = plugin(("likelihood", "coin", BERNOULLI))
    installed(first=module, second=module)
    catalogue = discover()
    assert [result.status for result in catalogue.plugins] == ["ok", "ok", "broken"]
    assert catalogue.find("likelihood", "coin").plugin == "first"


def test_plugins_are_loaded_in_the_order_of_their_names(monkeypatch):
    class Dist:
        def __init__(self, name):
            self.name, self.version = name, "1"

    class Found:
        def __init__(self, dist, name):
            self.dist, self.name = Dist(dist) if dist else None, name

    scattered = [Found("b", "x"), Found("a", "z"), Found(None, "c"), Found("a", "y")]
    for order in (scattered, scattered[::-1]):
        monkeypatch.setattr(
            discovery.importlib.metadata, "entry_points", lambda group, order=order: order
        )
        assert [(name, point.name) for name, _, point in discovery._installed()] == [
            ("a", "y"),
            ("a", "z"),
            ("b", "x"),
            ("c", "c"),
        ]


def test_the_names_of_a_kind_are_sorted_and_entries_follow_the_data_flow(installed):
    installed(
        b=plugin(("likelihood", "zzz", BERNOULLI)), a=plugin(("likelihood", "aaa", BERNOULLI))
    )
    catalogue = discover()
    assert catalogue.names("likelihood") == sorted(catalogue.names("likelihood"))
    kinds = [entry.kind for entry in catalogue.all()]
    assert kinds == sorted(kinds, key=list(KINDS).index)
    assert [entry.name for entry in catalogue.all("likelihood")] == catalogue.names("likelihood")


# names


def test_two_plugins_with_one_name_must_be_told_apart(installed):
    installed(
        one=plugin(("likelihood", "coin", BERNOULLI)), two=plugin(("likelihood", "coin", NORMAL))
    )
    catalogue = discover()
    with pytest.raises(PluginError) as caught:
        catalogue.find("likelihood", "coin")
    assert (
        str(caught.value)
        == "2 plugins provide a likelihood named 'coin'; write 'one:coin' or 'two:coin'"
    )
    assert catalogue.find("likelihood", "one:coin").target == BERNOULLI
    assert catalogue.find("likelihood", "two:coin").target == NORMAL


def test_a_clash_that_a_spec_does_not_mention_is_no_fault(installed):
    installed(one=plugin(COIN), two=plugin(COIN))
    assert (
        load_spec(SPEC.replace("LIKELIHOOD", "bernoulli"), text=True).model.likelihood.plugin
        == BUILT_IN
    )


def test_a_clash_is_reported_where_the_spec_uses_the_name(installed):
    installed(one=plugin(COIN), two=plugin(COIN))
    with pytest.raises(SpecError) as caught:
        load_spec(SPEC.replace("LIKELIHOOD", "coin"), text=True)
    assert str(caught.value) == (
        "<text>:4:64: model.likelihood: 2 plugins provide a likelihood named 'coin'; write "
        "'one:coin' or 'two:coin'"
    )
    spec = load_spec(SPEC.replace("LIKELIHOOD", "two:coin"), text=True)
    assert spec.resolved()["model"]["likelihood"]["type"] == "two:coin"


def test_nothing_shadows_a_built_in(installed):
    installed(rogue=plugin(("likelihood", "bernoulli", NORMAL)))
    catalogue = discover()
    assert catalogue.find("likelihood", "bernoulli").target == BERNOULLI
    assert catalogue.find("likelihood", "vaezoo:bernoulli").target == BERNOULLI
    assert catalogue.find("likelihood", "rogue:bernoulli").target == NORMAL


def test_no_plugin_takes_the_place_of_the_built_ins(installed):
    installed(vaezoo=plugin(("likelihood", "bernoulli", NORMAL)))
    catalogue = discover()
    assert [result.status for result in catalogue.plugins] == ["ok", "broken"]
    assert catalogue.find("likelihood", "bernoulli").target == BERNOULLI


def test_a_name_of_one_kind_is_not_one_of_another(installed):
    with pytest.raises(PluginError, match="no prior named 'bernoulli'"):
        discover().find("prior", "bernoulli")


def test_a_kind_without_components_says_so(monkeypatch):
    with pytest.raises(PluginError) as caught:
        Catalogue().find("prior", "x")
    assert str(caught.value) == "no prior named 'x'; no installed plugin provides one"


def test_a_spec_that_needs_a_broken_plugin_names_it_with_the_reason(installed):
    installed(coins=ImportError("no numpy"))
    with pytest.raises(SpecError) as caught:
        load_spec(SPEC.replace("LIKELIHOOD", "bernouli"), text=True)
    assert str(caught.value) == (
        "<text>:4:64: model.likelihood: no likelihood named 'bernouli'; did you mean 'bernoulli'? "
        "(plugin 'coins' is broken: ImportError: no numpy)"
    )
    assert (
        load_spec(SPEC.replace("LIKELIHOOD", "bernoulli"), text=True).model.likelihood.name
        == "bernoulli"
    )


# targets


class Keywords(Schedule):
    def __init__(self, **options):
        super().__init__()

    def forward(self, step):
        return 0.0


class Bare(Schedule):
    def __init__(self, *, steps=3):
        super().__init__()

    def forward(self, step):
        return 0.0


class Unreadable(Schedule):
    def __init__(self, *, steps: "NoSuchName" = 3) -> None:  # noqa: F821
        super().__init__()

    def forward(self, step):
        return 0.0


class Unfinished(Schedule):
    def __init__(self, *, steps: int = 3) -> None:
        super().__init__()


class WithoutConstructor(Schedule):
    """Always 1."""

    def forward(self, step):
        return 1.0


class Positional(Schedule):
    def __init__(self, steps: int = 3) -> None:
        super().__init__()

    def forward(self, step):
        return 0.0


TARGETS = {
    "an option that is not keyword-only": (
        "targets:Positional",
        "Positional: option 'steps' is positional; put it after *",
    ),
    "a module that is not there": (
        "no_such_module:Coin",
        "cannot import no_such_module:Coin: ModuleNotFoundError",
    ),
    "a class that is not there": (
        "targets:Nothing",
        "cannot import targets:Nothing: AttributeError",
    ),
    "a class of another kind": (BERNOULLI, f"{BERNOULLI} is not a subclass of vaezoo.Schedule"),
    "no class": ("targets:constant", "targets:constant is not a subclass of vaezoo.Schedule"),
    "an abstract class": ("targets:Unfinished", "targets:Unfinished does not define forward"),
    "a constructor with keywords": (
        "targets:Keywords",
        "Keywords takes **options; name its options instead",
    ),
    "an option without annotation": ("targets:Bare", "Bare: option 'steps' has no annotation"),
    "an unreadable annotation": (
        "targets:Unreadable",
        "Unreadable: its constructor's annotations cannot be read: name 'NoSuchName' is not "
        "defined",
    ),
}


@pytest.fixture
def targets(monkeypatch):
    module = types.ModuleType("targets")
    for cls in (Keywords, Bare, Unreadable, Unfinished, WithoutConstructor, Positional):
        setattr(module, cls.__name__, cls)
    module.constant = 3
    monkeypatch.setitem(sys.modules, "targets", module)


@pytest.mark.parametrize("case", TARGETS)
def test_a_bad_target_is_an_error_that_names_plugin_and_kind_when_it_is_used(
    installed, targets, case
):
    target, reason = TARGETS[case]
    installed(timing=plugin(("schedule", "odd", target)))
    with pytest.raises(PluginError) as caught:
        load_component(discover().find("schedule", "odd"))
    assert str(caught.value).startswith(f"schedule 'odd' of plugin 'timing': {reason}")
    text = SPEC.replace("LIKELIHOOD", "bernoulli")
    assert load_spec(text, text=True).name == "demo"  # only a spec that names it is affected
    with pytest.raises(SpecError) as in_spec:
        load_spec(text + "regularizers: [{type: kl, weight: odd}]\n", text=True)
    assert str(in_spec.value) == f"<text>:5:35: regularizers.0.weight: {caught.value}"


def test_a_component_without_a_constructor_has_no_options(installed, targets):
    installed(timing=plugin(("schedule", "one", "targets:WithoutConstructor")))
    text = SPEC.replace("LIKELIHOOD", "bernoulli") + "regularizers: [{type: kl, weight: one}]\n"
    weight = load_spec(text, text=True).regularizers[0].options["weight"]
    assert weight.build()(0) == 1.0
    with pytest.raises(SpecError, match=r"weight\.a: unknown key; there are no options here"):
        load_spec(text.replace("one", "{type: one, a: 1}"), text=True)


def test_the_built_ins_are_registered_through_the_same_hook():
    calls = []
    builtin.vaezoo_components(lambda *call: calls.append(call))
    assert {(kind, name) for kind, name, _ in calls} == {
        (entry.kind, entry.name) for entry in discover(disabled_all()).all()
    }


def disabled_all():
    return [name for name, _, _ in discovery._installed()]


class TwoShapes(Decoder):
    def __init__(self, in_shape, out_shape, /) -> None:
        super().__init__()

    def forward(self, code):
        return code


class NoWiring(Decoder):
    def forward(self, code):
        return code


@pytest.mark.parametrize(
    ("cls", "names"), [(TwoShapes, "in_shape, out_shape"), (NoWiring, "none")]
)
def test_a_constructor_that_does_not_take_one_wiring_object_is_named(
    installed, targets, cls, names, monkeypatch
):
    monkeypatch.setattr(sys.modules["targets"], cls.__name__, cls, raising=False)
    installed(shapes=plugin(("decoder", "odd", f"targets:{cls.__name__}")))
    reason = rf"the constructor takes one positional argument, its wiring, .* it has {names}"
    with pytest.raises(PluginError, match=reason):
        load_component(discover().find("decoder", "odd"))
