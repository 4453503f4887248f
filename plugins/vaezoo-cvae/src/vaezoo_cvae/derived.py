"""The base class of data sets that are made of another one's examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import vaezoo


class DerivedDataset(vaezoo.Dataset):
    """A data set with the splits of another one, its source."""

    source: vaezoo.Dataset

    @property
    def sizes(self) -> Mapping[str, int]:
        """Those of the source."""
        return self.source.sizes

    @property
    def left_out(self) -> Sequence[str]:
        """What the source leaves out."""
        return self.source.left_out

    @property
    def notes(self) -> Sequence[str]:
        """What to check in the source."""
        return self.source.notes
