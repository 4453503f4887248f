"""Where data files are looked for."""

from __future__ import annotations

import os
from pathlib import Path

from vaezoo.utils.errors import DataError


def cache_home() -> Path:
    """Where vaezoo keeps what it fetched or built: ``VAEZOO_HOME``, or ``~/.cache/vaezoo``."""
    return Path(os.environ.get("VAEZOO_HOME") or "~/.cache/vaezoo").expanduser()


def find_data(path: str) -> Path:
    """A file or folder: absolute, in the working directory, or in ``VAEZOO_DATA``.

    Raises:
        DataError: it is in none of these places.
    """
    places = [Path(path).expanduser()]
    if not places[0].is_absolute() and (root := os.environ.get("VAEZOO_DATA")):
        places.append(Path(root) / path)
    for place in places:
        if place.exists():
            return place
    raise DataError(f"no {' and no '.join(str(place) for place in places)}; give another path or set VAEZOO_DATA")
