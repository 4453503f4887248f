"""Renders figures whose texts are names of users' files and columns."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

from vaezoo.utils.errors import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure_png(figure: Figure, **options: Any) -> bytes:
    """Renders a figure of matplotlib as a PNG, with its texts as they are.

    A ``$`` begins no mathematics, what cannot be printed is escaped, and a letter that the font
    lacks is an empty box.

    Args:
        figure: the figure; its texts are changed.
        options: of ``Figure.savefig``.
    """
    from matplotlib import rc_context
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)
        text.set_text("\n".join(map(printable, text.get_text().split("\n"))))
    buffer = io.BytesIO()
    with warnings.catch_warnings(), rc_context({"text.parse_math": False}):  # of ticks, made now
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format="png", **options)
    return buffer.getvalue()
