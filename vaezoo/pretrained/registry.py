"""A registry: what its file lists, the names of its entries, and where their files are."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from vaezoo.pretrained import hub_files
from vaezoo.pretrained.entry import FeaturesEntry, WeightsEntry
from vaezoo.pretrained.index import Index, Summary, listed_blobs, summarize
from vaezoo.pretrained.locations import URL
from vaezoo.pretrained.names import resolve_inside


@dataclass(frozen=True)
class Registry:
    """The content of one registry file and of its index.

    Attributes:
        prefix: the part of its entries' names before the colon; empty for vaezoo's own registry.
        origin: the path or URL of the file.
        root: the folder that relative sources refer to; None if the registry was read from a URL.
        entries: the weights that the file itself lists.
        index: those in files of their own.
        features: the feature extractors.
    """

    prefix: str
    origin: str
    root: Path | None
    entries: tuple[WeightsEntry, ...] = ()
    index: Index = dataclasses.field(default_factory=Index)
    features: tuple[FeaturesEntry, ...] = ()

    @property
    def lacks_package(self) -> bool:
        """Whether the package with the files of vaezoo's own registry is not installed."""
        return self.root is not None and self.root == Path(self.origin)

    @property
    def ids(self) -> list[str]:
        """The ids of all models."""
        return [*(entry.id for entry in self.entries), *self.index]

    @property
    def features_ids(self) -> list[str]:
        """The ids of all feature extractors."""
        return [entry.id for entry in self.features]

    @property
    def _own_entries(self) -> list[WeightsEntry | FeaturesEntry]:
        """What the file itself lists."""
        return [*self.entries, *self.features]

    def summary(self, entry_id: str) -> Summary:
        """What a list shows of an entry.

        Raises:
            RegistryError: its row of the index is not valid.
        """
        for entry in self._own_entries:
            if entry.id == entry_id:
                return summarize(entry)
        return self.index.row(entry_id)

    def blobs(self) -> set[str]:
        """The hashes of all files that the registry lists.

        Raises:
            RegistryError: a row of the index is not valid.
        """
        hashes = {each for entry in self._own_entries for each in listed_blobs(entry)}
        for row in map(self.index.row, self.index):
            hashes |= {row.sha256, *row.blobs}
        return hashes

    def full_name(self, weights: WeightsEntry | FeaturesEntry) -> str:
        """The id of an entry with the prefix of the registry."""
        return self.qualify(weights.id)

    def qualify(self, name: str) -> str:
        """An id or a short name with the prefix of the registry."""
        return f"{self.prefix}:{name}" if self.prefix else name

    def locate(self, source: str) -> Path | str:
        """The path or the URL of a file from its ``sources`` field.

        Raises:
            RegistryError: a relative path leads out of the registry's folder.
        """
        if URL.match(source):
            return source
        if self.root is not None:
            return resolve_inside(self.root, source)
        if self.origin.startswith(hub_files.SCHEME):
            return f"{self.origin.rpartition('/')[0]}/{source}"
        base = urlsplit(self.origin)
        folder = base.path.rpartition("/")[0]
        # the query stays: it is what lets a user read files of this host, such as a token
        return urlunsplit((base.scheme, base.netloc, f"{folder}/{quote(source)}", base.query, ""))


@dataclass(frozen=True)
class RegistryEntry:
    """One set of weights together with the registry that lists it."""

    registry: Registry
    weights: WeightsEntry

    @property
    def name(self) -> str:
        """The id with the prefix of the registry."""
        return self.registry.full_name(self.weights)


@dataclass(frozen=True)
class RegistryFeatures:
    """A feature extractor together with the registry that lists it."""

    registry: Registry
    weights: FeaturesEntry

    @property
    def name(self) -> str:
        """The id with the prefix of the registry."""
        return self.registry.full_name(self.weights)
