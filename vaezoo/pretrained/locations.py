"""Where registries are: vaezoo's own, those of plugins, and those that users name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from vaezoo.plugins import discovery
from vaezoo.pretrained.names import parse_hub_url, resolve_inside, split_url
from vaezoo.utils.errors import PluginError, UsageError
from vaezoo.utils.packaged import ROOT
from vaezoo.utils.paths import exists, expand_user, is_folder

REGISTRIES_VARIABLE = "VAEZOO_REGISTRIES"
"""The environment variable with additional registries, separated by commas."""
REGISTRY_FILE = "registry.yaml"
WEIGHTS_PACKAGE = "vaezoo-weights"
"""The package with the files that vaezoo's own registry lists."""
URL = re.compile(r"(https|hf)://")
"""How the URL of a registry or of a file begins."""
_PREFIX = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def own_registry_path() -> Path:
    """The path of the registry that comes with vaezoo."""
    return ROOT / REGISTRY_FILE


def folder_of_files(registry: str) -> Path:
    """The folder that relative paths in a registry file on this machine refer to.

    It is that of the file, but for vaezoo's own registry, whose weights are a package of their
    own: in a checkout they lie beside it.
    """
    if registry != str(own_registry_path()) or (ROOT / "weights").is_dir():
        return Path(registry).parent
    package = find_spec(WEIGHTS_PACKAGE.replace("-", "_"))
    folders = [] if package is None else list(package.submodule_search_locations or ())
    return Path(folders[0] if folders else registry)


def default_prefix(path: Path) -> str:
    """The prefix of a registry file if none is specified; empty for vaezoo's own registry."""
    is_own = path.resolve() == own_registry_path().resolve()
    return "" if is_own else _prefix_of(path.absolute().parent.name)


@dataclass(frozen=True)
class RegistryLocation:
    """A registry's prefix and its path, URL, or ``package:path`` in the package of a plugin."""

    prefix: str
    location: str
    plugin: str = ""

    def resolve(self) -> str:
        """The path or URL.

        A plugin's package is searched only here, so that a missing one affects no other registry.
        """
        return _plugin_registry(self.plugin, self.location) if self.plugin else self.location


def registry_locations(extra: Iterable[str]) -> list[RegistryLocation]:
    """The places of vaezoo's own registry, of plugins, of the environment and of ``extra``."""
    locations = [RegistryLocation("", str(own_registry_path()))]
    for info in discovery.catalogue().plugins:
        locations += [
            RegistryLocation(prefix, target, info.name) for prefix, target in info.registries
        ]
    texts = [*os.environ.get(REGISTRIES_VARIABLE, "").split(","), *extra]
    return locations + [_parse_location(text.strip()) for text in texts if text.strip()]


def text_of(registry: str | Path) -> str:
    """The text of a registry that users pass to a function; a path is never ``prefix=path``."""
    if isinstance(registry, Path) and not str(registry).startswith("~"):
        return str(registry.absolute())
    return str(registry)


def _parse_location(text: str) -> RegistryLocation:
    """Parses ``[prefix=]path-or-url``."""
    prefix, equals, location = text.partition("=")
    if not (equals and _PREFIX.fullmatch(prefix)):
        if equals and not URL.match(text) and not exists(expand_user(text)):
            raise UsageError(
                f"registry {text}: a prefix is lower-case words and numbers joined by hyphens"
            )
        prefix, location = "", text
    if "://" in location and not URL.match(location):
        raise UsageError(f"registry {location}: only https:// and hf:// URLs are supported")
    if hub_url := parse_hub_url(location):
        folder = hub_url[0].partition("/")[2]
    elif URL.match(location):
        parts = split_url(location)
        folder = PurePosixPath(parts.path if parts else "").parent.name
    else:
        path = expand_user(location)
        location = str(path / REGISTRY_FILE if is_folder(path) else path)
        folder = Path(location).absolute().parent.name
    return RegistryLocation(prefix or _prefix_of(folder), location)


def _prefix_of(folder: str) -> str:
    """The prefix of a registry in a folder of this name."""
    return re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-") or "registry"


def _plugin_registry(plugin: str, target: str) -> str:
    """The path or URL of a plugin's registry, which is given as a URL or as ``package:path``."""
    if URL.match(target):
        return target
    package, _, path = target.partition(":")
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):  # a parent is not a package, or the name is empty
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise PluginError(
            f"plugin {plugin!r} provides the registry {target!r}, "
            f"but there is no package {package!r}"
        )
    return str(resolve_inside(Path(next(iter(spec.submodule_search_locations))), path))
