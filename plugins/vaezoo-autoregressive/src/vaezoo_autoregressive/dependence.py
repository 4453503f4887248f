"""Networks that turn the numbers before each number into a change of its logit.

Shapes: ``*`` the leading dimensions, N their product, D numbers, H hidden units, S shared units of
each number.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_CHUNK = 2**21
"""How many shared units are computed at once: as many as fit into the cache of a processor."""


class Shared(nn.Module):
    """What numbers add to the logits of others, by their distance alone.

    A masked convolution with one hidden layer, conditional on a map of the same size (van den
    Oord et al. 2016, PixelCNN): each number has S hidden units, whose weights are the same for
    all numbers. They see the numbers before it, and the whole map. It starts by adding nothing.

    Args:
        size: D.
        units: S.
    """

    def __init__(self, size: int, units: int) -> None:
        super().__init__()
        self.reach = max(1, size - 1)  # the largest distance
        # the last weight is that of the number before, as in a convolution
        self.before = nn.Parameter(torch.randn(units, self.reach) / size**0.5)
        self.around = nn.Parameter(torch.randn(units, 2 * size - 1) / size)
        self.bias = nn.Parameter(torch.zeros(units, size))
        self.last = nn.Parameter(torch.zeros(units))

    def forward(self, x: Tensor, features: Tensor, context: Tensor) -> Tensor:
        """Adds to logits, ``[*, D]``.

        Args:
            x: the numbers, ``[*, D]``.
            features: the map, ``[*, D]``.
            context: what the units of all numbers get, ``[*, S]``.
        """
        shape = torch.broadcast_shapes(x.shape, features.shape)
        rows = (  # [N, D] or [N, S] each
            each.expand(*shape[:-1], -1).reshape(-1, each.shape[-1])
            for each in (x, features, context)
        )
        count = max(1, _CHUNK // self.bias.numel())
        chunks = zip(*(each.split(count) for each in rows), strict=True)
        return torch.cat([self._rows(*chunk) for chunk in chunks]).reshape(shape)

    def _rows(self, x: Tensor, features: Tensor, context: Tensor) -> Tensor:
        """The same for rows ``[N, D]``, ``[N, D]`` and ``[N, S]``."""
        before = F.pad(x[:, :-1], (self.reach, 0))  # [N, reach + D - 1]
        sums = F.conv1d(before[:, None], self.before[:, None])  # [N, S, D]
        sums = sums + F.conv1d(
            features[:, None], self.around[:, None], padding=features.shape[1] - 1
        )
        units = F.relu(sums + self.bias + context[..., None])
        return torch.einsum("nsd,s->nd", units, self.last)

    def at(self, place: int, before: Tensor, features: Tensor, context: Tensor) -> Tensor:
        """Adds to the logit of one number, ``[*]``, from those before it, ``[*, place]``."""
        size = features.shape[-1]
        around = self.around[:, size - 1 - place : 2 * size - 1 - place]  # [S, D]
        sums = before @ self.before[:, self.reach - place :].T + features @ around.T  # [*, S]
        return F.relu(sums + self.bias[:, place] + context) @ self.last


class Dependence(nn.Module):
    """What the numbers before add to the logit of each: a network of one masked hidden layer.

    A hidden unit sees the first m numbers, and only the numbers after these see it (MADE, Germain
    et al. 2015, eqs. 12 and 13). It starts by adding nothing.

    Args:
        size: D.
        hidden: H.
        shared: S, the number of shared units of each number.
    """

    sees: Tensor
    is_seen: Tensor

    def __init__(self, size: int, hidden: int, shared: int = 0) -> None:
        super().__init__()
        self.context = nn.Linear(size, hidden + shared)
        self.widths = (hidden, shared)
        self.shared = Shared(size, shared) if shared else None
        self.first, self.last = nn.Linear(size, hidden, bias=False), nn.Linear(hidden, size)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        place, degree = torch.arange(size), 1 + torch.arange(hidden) % max(1, size - 1)
        self.register_buffer("sees", place < degree[:, None], persistent=False)  # [H, D]
        self.register_buffer("is_seen", degree <= place[:, None], persistent=False)  # [D, H]

    @property
    def inward(self) -> Tensor:
        """The weights from numbers to hidden units, ``[H, D]``."""
        return self.first.weight * self.sees

    @property
    def outward(self) -> Tensor:
        """The weights from hidden units to logits, ``[D, H]``."""
        return self.last.weight * self.is_seen

    def contexts(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """What hidden and shared units get beside numbers, ``[*, H]`` and ``[*, S]``."""
        hidden, shared = self.context(features).split(self.widths, -1)
        return hidden, shared

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """Adds to logits, ``[*, D]``.

        Args:
            x: the numbers, ``[*, D]``; may lack leading dimensions of ``features``.
            features: what the decoder says beside the logits, ``[*, D]``.
        """
        own, common = self.contexts(features)
        hidden = F.relu(F.linear(x, self.inward) + own)  # [*, H]
        added = F.linear(hidden, self.outward, self.last.bias)
        return added if self.shared is None else added + self.shared(x, features, common)
