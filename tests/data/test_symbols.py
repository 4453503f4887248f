"""What sequences of symbols say."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from vaezoo.data.symbols import END, UNKNOWN, decode_symbols

LETTERS = (END, UNKNOWN, "a", "b")


def print_line(indices, symbols):
    return decode_symbols(F.one_hot(torch.tensor(indices), len(symbols)), symbols)


def test_text_ends_with_its_end():
    assert print_line([2, 3, 0, 2], LETTERS) == "ab"
    assert print_line([2, 3], LETTERS) == "ab"
    assert print_line([0, 2], LETTERS) == ""


def test_an_unknown_symbol_is_shown_as_one():
    assert print_line([2, 1], LETTERS) == "a\N{REPLACEMENT CHARACTER}"


def test_bytes_are_put_together():
    symbols = (END, UNKNOWN, "\\xc3", "\\xa9", "\\x41")
    assert print_line([4, 2, 3, 0], symbols) == "Aé"
    assert print_line([2, 4], symbols) == "\N{REPLACEMENT CHARACTER}A"
