"""The formats that are fuzzed, by name."""

from __future__ import annotations

from tests.fuzz.harness import Format
from tests.fuzz.images import Images
from tests.fuzz.midi import Midi
from tests.fuzz.npz import Npz
from tests.fuzz.tables import Tables
from tests.fuzz.text import Text

FORMATS: dict[str, Format] = {
    form.name: form for form in (Images(), Npz(), Tables(), Midi(), Text())
}
