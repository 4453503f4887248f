"""The file format ``png``: writes examples as a picture."""

from __future__ import annotations

from pathlib import Path

from vaezoo.data.batch import Batch
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.format import Format


class PngFormat(Format):
    """A picture: images in rows, or sequences as piano-rolls, lines or text."""

    def __init__(self, data: DataSpec, /) -> None:
        super().__init__(data)
        from vaezoo.runs.report.pictures import is_image

        if not (is_image(data) or data.is_sequence):
            raise ValueError(f"examples of shape {data.shape} are not images; use .npz or .csv")

    def write(self, path: Path, examples: Batch, columns: int) -> None:
        """Draws ``x`` ``[n, *shape]``; sequences with the name of their class, if they have it."""
        from vaezoo.runs.report import pictures, sequences

        if pictures.is_image(self.data):
            zoom = pictures.zoom_for(examples.x, columns)
            path.write_bytes(pictures.grid(examples.x, columns, zoom))
        else:
            path.write_bytes(sequences.picture(self.data, examples))
