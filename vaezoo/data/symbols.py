"""What sequences of symbols say."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

END, UNKNOWN = "<eos>", "<unk>"


def decode_symbols(x: Tensor, symbols: Sequence[str]) -> str:
    """The text of one sequence ``[T, C]`` of one-hot vectors, or of probabilities, up to ``<eos>``.

    Args:
        x: the likeliest symbol of each step counts.
        symbols: what each of the C places stands for; bytes are written ``\\x0a``.
    """
    said = [symbols[i] for i in torch.as_tensor(x).argmax(-1).tolist()]
    said = said[: said.index(END)] if END in said else said
    known = [symbol for symbol in said if symbol != UNKNOWN]
    if known and all(len(symbol) == 4 and symbol.startswith("\\x") for symbol in known):
        unknown = "\N{REPLACEMENT CHARACTER}".encode()
        spelt = (unknown if symbol == UNKNOWN else bytes.fromhex(symbol[2:]) for symbol in said)
        return b"".join(spelt).decode("utf-8", "replace")
    return "".join("\N{REPLACEMENT CHARACTER}" if symbol == UNKNOWN else symbol for symbol in said)
