"""The file format ``png``: writes examples as a picture."""

from __future__ import annotations

from pathlib import Path

from vaezoo.data.batch import Batch
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.format import Format


class PngFormat(Format):
    """A picture: images in rows, or sequences as piano-rolls, lines or text.

    For data of several parts it shows the images, one part below the other.
    """

    reads = False

    holds_parts = True

    def __init__(self, data: DataSpec, /) -> None:
        super().__init__(data)
        from vaezoo.runs.report.pictures import is_image

        self.images = [name for name, part in data.parts.items() if is_image(part)]
        if not (self.images or is_image(data) or data.is_sequence):
            described = f"shape {data.shape}"
            if data.parts:
                described = f"the parts {', '.join(data.parts)}"
            raise ValueError(f"examples of {described} are not images; use .npz or .csv")

    def write(self, path: Path, examples: Batch, columns: int) -> None:
        """Draws ``x`` ``[n, *shape]``; sequences with the name of their class, if they have it."""
        from vaezoo.runs.report import pictures, sequences

        if self.data.is_sequence:
            path.write_bytes(sequences.picture(self.data, examples))
            return
        parts = [examples.x[name] for name in self.images] if self.images else [examples.x]
        sheets = [pictures.grid(x, columns, pictures.zoom_for(x, columns)) for x in parts]
        path.write_bytes(sheets[0] if len(sheets) == 1 else pictures.stack(sheets))
