"""The kinds of documents that are fuzzed."""

from __future__ import annotations

from tests.fuzz.documents import Kind
from tests.fuzz.headers import Headers
from tests.fuzz.metrics_files import MetricsFiles
from tests.fuzz.registry_files import RegistryFiles
from tests.fuzz.specs import Specs

_ALL: tuple[Kind, ...] = (Specs(), RegistryFiles(), Headers(), MetricsFiles())
KINDS = {kind.name: kind for kind in _ALL}
