"""Decodes one-hot sequences of symbols to text."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

END, UNKNOWN = "<eos>", "<unk>"
"""The symbols for the end of a sequence and for a symbol that is not in the vocabulary."""


def decode_symbols(x: Tensor, symbols: Sequence[str]) -> str:
    """Decodes one sequence to text, up to ``<eos>``.

    Args:
        x: one-hot vectors or probabilities, ``[T, C]``; the most probable symbol of each step is
            decoded.
        symbols: the symbol of each of the C indices; a byte is written as ``\\x0a``.

    Returns:
        The text. If all symbols are bytes, they are decoded as UTF-8. An unknown symbol becomes
        the replacement character U+FFFD.
    """
    sequence = [symbols[i] for i in torch.as_tensor(x).argmax(-1).tolist()]
    sequence = sequence[: sequence.index(END)] if END in sequence else sequence
    known = [symbol for symbol in sequence if symbol != UNKNOWN]
    if known and all(len(symbol) == 4 and symbol.startswith("\\x") for symbol in known):
        unknown = "\N{REPLACEMENT CHARACTER}".encode()
        encoded = (
            unknown if symbol == UNKNOWN else bytes.fromhex(symbol[2:]) for symbol in sequence
        )
        return b"".join(encoded).decode("utf-8", "replace")
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if symbol == UNKNOWN else symbol for symbol in sequence
    )
