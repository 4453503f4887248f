"""Examples as pictures."""

from __future__ import annotations

from pathlib import Path

from vaezoo.data.batch import Batch
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.format import Format


class Png(Format):
    """A picture: a sheet of images, or piano-rolls, lines or text for sequences."""

    def __init__(self, data: DataSpec, /) -> None:
        super().__init__(data)
        from vaezoo.runs.report.pictures import is_image

        if not (is_image(data) or data.is_sequence):
            raise ValueError(f"examples of shape {data.shape} are no images; use .npz or .csv")

    def write(self, path: Path, examples: Batch, columns: int) -> None:
        """Draws ``x`` ``[n, *shape]``; sequences with their class, if they have one."""
        from vaezoo.runs.report import pictures, sequences

        if pictures.is_image(self.data):
            path.write_bytes(pictures.grid(examples.x, columns, pictures.zoom_for(examples.x, columns)))
        else:
            path.write_bytes(sequences.picture(self.data, examples))
