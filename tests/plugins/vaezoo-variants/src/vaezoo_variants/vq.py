"""The VQ-VAE: a map of symbols, each of which stands for a vector of a codebook.

Shapes: B examples, F channels of features, D dimensions of a code, C codes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.distributions import Distribution

import vaezoo

EPSILON = 1e-5


class Nearest(Distribution):
    """A map of symbols with probability 1: those whose codes are nearest to given vectors.

    Args:
        symbols: ``[*, H, W]``.
        vectors, codes: the vectors, and the codes of their symbols, ``[*, H, W, D]``.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(self, symbols: Tensor, vectors: Tensor, codes: Tensor) -> None:
        self.symbols, self.vectors, self.codes = symbols, vectors, codes
        super().__init__(symbols.shape[:-2], symbols.shape[-2:], validate_args=False)

    @property
    def mode(self) -> Tensor:
        """The symbols, ``[*, H, W]``."""
        return self.symbols

    def sample(
        self,
        sample_shape: torch.Size = torch.Size(),
    ) -> Tensor:
        """The symbols, ``[*sample_shape, *, H, W]``."""
        return self.symbols.expand(*sample_shape, *self.symbols.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """0 for the symbols, minus infinity for any others, in nats, ``[*]``."""
        is_same = (value == self.symbols).flatten(-2).all(-1)
        return torch.where(is_same, 0.0, -torch.inf)


class Codebook(vaezoo.Posterior):
    """Codes that are moving averages of the vectors nearest to them.

    After each training step of all processes, the counts and the sums of these vectors enter the
    averages N and m; a code is m / N (van den Oord et al. 2017, appendix A.1). Codes that are
    rarely used restart at vectors of the step.

    Args:
        channels, dims, size: F, D and C.
        decay, restart: as for ``VectorQuantized``.
    """

    support = "symbols"

    def __init__(
        self, channels: int, dims: int, size: int, *, decay: float, restart: float
    ) -> None:
        super().__init__()
        self.size, self.decay, self.restart = size, decay, restart
        self.project = nn.Conv2d(channels, dims, 1)
        self.register_buffer("codes", torch.randn(size, dims))
        # sums in the first columns, counts in the last one
        self.register_buffer("averages", torch.zeros(size, dims + 1))
        self.register_buffer("totals", torch.zeros(size, dims + 1), persistent=False)
        self.register_buffer("candidates", torch.zeros(size, dims + 1), persistent=False)

    def forward(self, h: Tensor) -> Nearest:
        """From features ``[B, F, H, W]`` to certain symbols ``[B, H, W]``."""
        vectors = self.project(h.float()).movedim(1, -1)  # [B, H, W, D]
        rows, codes = vectors.detach().flatten(0, 2), self.get_buffer("codes")
        symbols = (codes.square().sum(1) - 2 * rows @ codes.T).argmin(1)  # [B * H * W]
        if self.training and torch.is_grad_enabled():
            self.count(rows, symbols)
        symbols = symbols.view(vectors.shape[:-1])
        return Nearest(symbols, vectors, F.embedding(symbols, codes))

    def count(self, rows: Tensor, symbols: Tensor) -> None:
        """Adds vectors ``[n, D]`` and their symbols ``[n]`` to the totals of this step."""
        rows = F.pad(rows, (0, 1), value=1.0)
        is_first = self.totals[:, -1].sum() == 0  # of the parts of a batch
        self.candidates.copy_(torch.where(is_first, self.some(rows), self.candidates))
        self.totals.add_(F.one_hot(symbols, self.size).to(rows).T @ rows)

    def some(self, rows: Tensor) -> Tensor:
        """The first C of some rows, ``[n, *]``, repeated if there are fewer."""
        return rows[torch.arange(self.size, device=rows.device) % len(rows)]

    def initialise(self, model: vaezoo.GenerativeModel, batch: vaezoo.Batch) -> None:
        """Takes random vectors of the batch as codes, unless there are averages already."""
        if not bool(self.averages.any()):
            vectors = self(model.start_inference(batch).features[-1]).vectors.flatten(0, 2)
            self.codes.copy_(self.some(vectors[torch.randperm(len(vectors))]))
            self.averages.copy_(F.pad(self.codes, (0, 1), value=1.0))

    def after_step(self, result: vaezoo.StepResult) -> None:
        """Updates the averages and the codes; all processes compute the same."""
        self.averages.lerp_(result.processes.sum(self.totals), 1 - self.decay)
        candidates = result.processes.broadcast(self.candidates)
        is_unused = self.averages[:, -1:] < self.restart
        self.averages.copy_(torch.where(is_unused, candidates, self.averages))
        sums, counts = self.averages.tensor_split((-1,), 1)
        total = counts.sum()
        self.codes.copy_(sums / ((counts + EPSILON) / (total + self.size * EPSILON) * total))
        self.totals.zero_()


class VectorQuantized(vaezoo.Latents):
    """A symbol for each position of the encoder's coarsest map (van den Oord et al. 2017).

    Decoders receive the code of each symbol, of ``latent_dim`` dimensions. Its gradient passes
    straight to the vector that the encoder computes; the codes have none. q(z|x) is certain, so
    that the rate is -log p(z).

    Args:
        codes: the number of symbols.
        decay: of the moving averages that the codes are, per training step.
        restart: a code restarts if it is used less often in a training step, on average.
    """

    def __init__(
        self,
        wiring: vaezoo.LatentsWiring,
        /,
        *,
        codes: Annotated[int, Gt(1)] = 64,
        decay: Annotated[float, Ge(0), Lt(1)] = 0.99,
        restart: Annotated[float, Ge(0)] = 0.1,
    ) -> None:
        super().__init__()
        if len(in_shape := wiring.feature_shapes[-1]) != 3:
            raise ValueError("needs an encoder whose last feature is a map; for conv: hidden: 0")
        space = replace(wiring.space, shape=in_shape[1:], support="symbols", size=codes)
        self.spaces, self.prior = (space,), wiring.prior(space)
        self.codebook = Codebook(
            in_shape[0], wiring.latent_dim, codes, decay=decay, restart=restart
        )

    def infer(self, inference: vaezoo.Inference) -> tuple[tuple[vaezoo.Site, ...], Tensor]:
        """One site with z ``[K, B, H, W]``, and codes ``[K, B, D, H, W]``."""
        q = self.codebook(inference.features[-1])
        z = inference.fixed.get("z")
        if z is None:
            z = q.sample(torch.Size((inference.k,)))
            code = q.vectors + (q.codes - q.vectors).detach()  # the gradient of the vectors
            code = code.movedim(-1, -3).expand(inference.k, -1, -1, -1, -1)
        else:
            code = self.embed(z)
        return (vaezoo.Site("z", z, q, inference.p(self.prior)),), code

    def embed(self, z: Tensor) -> Tensor:
        """From symbols ``[*, H, W]`` to their codes ``[*, D, H, W]``."""
        return F.embedding(z, self.codebook.get_buffer("codes")).movedim(-1, -3)

    def generate(self, generation: vaezoo.Generation) -> Tensor:
        """Codes ``[n, D, H, W]``."""
        return self.embed(generation.sample(self.prior))

    def code(self, z: Tensor, generation: vaezoo.Generation) -> Tensor:
        """The codes of symbols ``[n, H * W]``, given as numbers, ``[n, D, H, W]``."""
        return self.embed(z.long().unflatten(1, self.spaces[0].shape))


class Commitment(vaezoo.Regularizer):
    """The squared distance of the encoder's vectors to their codes, summed over a map.

    Args:
        weight: beta.
    """

    def __init__(
        self, wiring: vaezoo.TaskWiring, /, *, weight: float | vaezoo.Schedule = 0.25
    ) -> None:
        super().__init__(weight)
        if wiring.spaces[0].support != "symbols":
            raise ValueError("needs latents: vector-quantized")

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """The distance of each example, ``[B]``."""
        q = trace.sites[0].q
        return (q.vectors - q.codes).square().flatten(1).sum(1)
