"""vaezoo: a plugin-based model zoo for variational autoencoders.

``vaezoo.api.users`` lists what users call, ``vaezoo.api.authors`` what plugins subclass and build
on. Both are imported when one of their names is first used, so that ``import vaezoo`` does not
import torch; nothing else is imported either, so that the command handles Ctrl-C from the start.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from vaezoo.api.authors import *
    from vaezoo.api.users import *
    from vaezoo.plugins.hooks import hookimpl as hookimpl

_LEVELS = ("vaezoo.api.authors", "vaezoo.api.users")


def _public_names(level: str) -> list[str]:
    """The names of one level, sorted."""
    import importlib

    return sorted(
        name for name in vars(importlib.import_module(level)) if not name.startswith("_")
    )


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return ["hookimpl", *(public for level in _LEVELS for public in _public_names(level))]
    if name == "hookimpl":
        from vaezoo.plugins.hooks import hookimpl

        return hookimpl
    if not name.startswith("_"):
        import importlib

        for level in _LEVELS:
            module = importlib.import_module(level)
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module 'vaezoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__getattr__("__all__"), *globals()]
