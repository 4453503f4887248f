"""Registers classes of this process, so that specs can name them."""

from __future__ import annotations

from vaezoo.plugins import discovery, registration
from vaezoo.plugins.catalogue import BUILT_IN, NAME
from vaezoo.plugins.kinds import KINDS
from vaezoo.plugins.registration import THIS_PROCESS, RegisteredEntry, class_name
from vaezoo.spec.options import load_component
from vaezoo.utils.errors import PluginError, did_you_mean


def register(kind: str, name: str, cls: type) -> None:
    """Registers a class of this process, so that specs can name it without a plugin.

    A second call with the same kind and name replaces the class, as when a notebook cell runs
    again. Runs record the classes that they use; whoever opens or resumes one registers them
    first. A class that others are to use belongs in a plugin.

    Args:
        kind: one of the kinds that ``vaezoo list`` shows, such as ``regularizer``.
        name: the name that specs use; lower-case words joined by dashes.
        cls: a subclass of the class of its kind, such as ``vaezoo.Regularizer``.

    Raises:
        PluginError: there is no such kind, the name is not valid or is that of an installed
            component, or the class is not one that a plugin could register.

    Example:
        >>> import numpy as np, vaezoo
        >>> class Sparse(vaezoo.Regularizer):
        ...     def __init__(self, wiring: vaezoo.TaskWiring, /, *, weight: float = 1.0):
        ...         super().__init__(weight)
        ...     def forward(self, trace):
        ...         return trace.sites[0].z.abs().sum(-1).mean(0)  # [K, B, D] to [B]
        >>> vaezoo.register("regularizer", "sparse", Sparse)
        >>> x = np.random.default_rng(0).random((1000, 20))
        >>> model = {"latent_dim": 2, "encoder": "mlp", "decoder": "mlp", "likelihood": "normal"}
        >>> spec = {"spec": "vaezoo/v2", "name": "mine", "model": model, "train": {"epochs": 1}}
        >>> run = vaezoo.run({**spec, "regularizers": ["kl", "sparse"]}, data=x)
        >>> vaezoo.open_run(run.path, data=x).model.sample(3).shape
        torch.Size([3, 20])
    """
    if kind not in KINDS:
        raise PluginError(f"no kind {kind!r}{did_you_mean(str(kind), KINDS)}")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise PluginError(f"{kind} {name!r}: a name is lower-case words joined by dashes")
    if not isinstance(cls, type):
        raise PluginError(f"{kind} {name!r}: {cls!r} is not a class")
    taken = discovery.installed_plugins().entries.get((kind, name))
    if taken:
        plugin = taken[0].plugin
        owner = "built in" if plugin == BUILT_IN else f"provided by {plugin!r}"
        raise PluginError(f"{kind} {name!r} is {owner}; register {cls.__name__} by another name")
    entry = RegisteredEntry(
        kind=kind, name=name, target=class_name(cls), plugin=THIS_PROCESS, cls=cls
    )
    load_component(entry)
    registration.add(entry)
