"""An autoregressive prior over maps of symbols: a small PixelCNN."""

from __future__ import annotations

from typing import Annotated, Any

import torch
import torch.nn.functional as F
from annotated_types import Gt
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution

import vaezoo

Count = Annotated[int, Gt(0)]


class MaskedConv(nn.Conv2d):
    """A convolution over positions that come earlier in reading order.

    Args:
        width, out: the numbers of channels.
        reach: how far it looks, in rows and columns.
        includes_own: whether it also sees its own position.
    """

    def __init__(self, width: int, out: int, reach: int, *, includes_own: bool) -> None:
        size = 2 * reach + 1
        super().__init__(width, out, size, padding=reach)
        index = torch.arange(size * size).view(size, size)
        visible = index < size * size // 2 + includes_own
        self.register_buffer("visible", visible, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """From ``[N, width, H, W]`` to ``[N, out, H, W]``."""
        return F.conv2d(x, self.weight * self.visible, self.bias, padding=self.padding)


class Autoregressive(vaezoo.Prior):
    """p(z) is a product over positions, of each symbol given those before it in reading order.

    The conditional distributions are computed by masked convolutions (van den Oord et al. 2016).

    Args:
        hidden: the number of channels.
        layers: the number of residual layers after the first convolution.
        reach: how many rows and columns away each convolution looks. If the map has more than
            ``reach + 1`` columns, some symbols further to the right remain unseen.
    """

    supports = frozenset({"symbols"})
    conditional = True

    def __init__(
        self,
        wiring: vaezoo.PriorWiring,
        /,
        *,
        hidden: Count = 64,
        layers: Count = 2,
        reach: Count = 3,
    ) -> None:
        super().__init__()
        self.space = wiring.space
        self.symbols = nn.Embedding(wiring.space.size, hidden)
        self.first = MaskedConv(hidden, hidden, reach, includes_own=False)
        self.layers = nn.ModuleList(
            MaskedConv(hidden, hidden, reach, includes_own=True) for _ in range(layers)
        )
        self.out = nn.Conv2d(hidden, wiring.space.size, 1)
        self.context = nn.Linear(wiring.context_dim, hidden) if wiring.context_dim else None

    def forward(self, context: Tensor | None, model: vaezoo.GenerativeModel) -> Distribution:
        """One distribution ``[]`` over maps, or one for each context ``[B, E]``."""
        shift = None if context is None else self.context(context.float())
        return SymbolBySymbol(self, shift)

    def logits(self, z: Tensor, shift: Tensor | None) -> Tensor:
        """The logits of each symbol given those before it.

        Args:
            z: maps ``[N, H, W]``.
            shift: what the contexts add to the first channels, ``[N, hidden]``, or None.

        Returns:
            ``[N, H, W, C]``.
        """
        h = self.first(self.symbols(z).movedim(-1, 1))  # [N, hidden, H, W]
        if shift is not None:
            h = h + shift[..., None, None]
        for layer in self.layers:
            h = h + layer(F.relu(h))
        return self.out(F.relu(h)).movedim(1, -1)


class SymbolBySymbol(Distribution):
    """The distribution of an ``Autoregressive`` prior.

    Args:
        prior: the networks.
        shift: of each context, ``[B, hidden]``, or None.
        temperature: divides the logits of each symbol given those before it.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(
        self, prior: Autoregressive, shift: Tensor | None, temperature: float = 1.0
    ) -> None:
        self.prior, self.shift, self.temperature = prior, shift, temperature
        batch_shape = torch.Size() if shift is None else shift.shape[:-1]
        super().__init__(batch_shape, torch.Size(prior.space.shape), validate_args=False)

    def tempered(self, temperature: float) -> SymbolBySymbol:
        """Samples each symbol, given those before it, at a temperature."""
        return SymbolBySymbol(self.prior, self.shift, self.temperature * temperature)

    def symbols(self, z: Tensor) -> Categorical:
        """The distributions of the symbols of maps ``[*, H, W]``, each given those before it."""
        shift = self.shift
        if shift is not None:
            shift = shift.expand(*z.shape[:-2], -1).flatten(0, -2)  # [N, hidden]
        logits = self.prior.logits(z.reshape(-1, *z.shape[-2:]), shift) / self.temperature
        return Categorical(logits=logits.view(*z.shape, -1), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-probability of maps ``[*, H, W]``, in nats, ``[*]``."""
        return self.symbols(value).log_prob(value).flatten(-2).sum(-1)

    @torch.no_grad()
    def sample(
        self,
        sample_shape: torch.Size = torch.Size(),
    ) -> Tensor:
        """Draws symbol after symbol, ``[*sample_shape, *, H, W]``."""
        device = self.prior.symbols.weight.device
        shape = (*sample_shape, *self.batch_shape, *self.event_shape)
        z = torch.zeros(shape, dtype=torch.long, device=device)
        for row in range(shape[-2]):
            for column in range(shape[-1]):
                z[..., row, column] = self.symbols(z).sample()[..., row, column]
        return z
