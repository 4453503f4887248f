"""VAE-GAN: a distortion in the features of a discriminator, which also judges the decoder.

Shapes: K samples of the posterior, B examples, F numbers of the features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Self

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt
from torch import Tensor, nn

import vaezoo

Count = Annotated[int, Gt(0)]


class Discriminator(nn.Module):
    """An encoder of data, and a linear layer from its last feature to a logit.

    Args:
        wiring: describes the data.
        network: builds the encoder.
        layer: which of the encoder's features are returned, counted from the finest.
    """

    def __init__(
        self, wiring: vaezoo.Wiring, network: vaezoo.Factory[vaezoo.Encoder], layer: int
    ) -> None:
        super().__init__()
        data = wiring.data
        self.dims, self.layer = len(data.shape), layer
        own = vaezoo.EncoderWiring(data=data, train_size=wiring.train_size, in_shape=data.shape)
        self.network = network(own).eval()
        with torch.no_grad():
            features = self.network(torch.zeros(2, *data.shape))
        if not -len(features) <= layer < len(features):
            raise ValueError(f"layer {layer}: the discriminator has {len(features)} features")
        self.head = nn.Linear(features[-1][0].numel(), 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """From data ``[*, *shape]`` to features ``[*, F]`` and logits ``[*]``."""
        lead = x.shape[: -self.dims]
        features = self.network(x.reshape(-1, *x.shape[-self.dims :]))
        logits = self.head(features[-1].flatten(1))
        return features[self.layer].reshape(*lead, -1), logits.reshape(lead)  # [*, F] and [*]


class VAEGAN(vaezoo.Objective):
    """The distortion in the features of a discriminator, and its judgement of the decoder.

    Larsen et al. 2016, algorithm 1, with ``kl`` as the regularizer. The distortion is that of
    N(Dis(x~), I) without its constant, 1/2 |Dis(x) - Dis(x~)|^2 in nats, where x~ is the mean of
    p(x|z); it trains encoder and decoder. The adversarial loss -log D, of x~ and of the mean x_p
    at samples of the prior, trains the decoder alone: codes are detached and decoded again. Its
    weight is 1 / gamma of the paper, whose loss log(1 - D) has less gradient where D is right.

    The discriminator minimises -log D(x) - log(1 - D(x~)) - log(1 - D(x_p)) in a phase of its
    own, and is in evaluation mode elsewhere. It is passed no conditions.

    Args:
        discriminator: an encoder, such as ``conv``, that computes its features.
        layer: which of these features the distortion is computed in; -1 is the coarsest.
        adversarial: the weight of the adversarial loss.
        optimization: of the discriminator; that of the stage by default.
        moves: the number of its optimizer steps in a training step, on one batch.
        every: it is trained in each ``every``-th training step.
        start: the first training step in which it is trained.
    """

    def __init__(
        self,
        wiring: vaezoo.TaskWiring,
        /,
        *,
        discriminator: vaezoo.Factory[vaezoo.Encoder],
        layer: int = -1,
        adversarial: float | vaezoo.Schedule = 0.1,
        optimization: vaezoo.Optimization | None = None,
        moves: Count = 1,
        every: Count = 1,
        start: Annotated[int, Ge(0)] = 0,
    ) -> None:
        super().__init__()
        if wiring.data.mask_dims:
            raise ValueError("the discriminator judges whole examples, without masks")
        self.discriminator = Discriminator(wiring, discriminator, layer).eval()
        self.adversarial, self.optimization = adversarial, optimization
        self.moves, self.every, self.start = moves, every, start

    def train(self, mode: bool = True) -> Self:
        """Sets the mode, except that the discriminator is in training mode in its phase only."""
        super().train(mode)
        self.discriminator.eval()
        return self

    def weights(self) -> Mapping[str, float | Tensor]:
        """The weight of the adversarial loss."""
        weight = self.adversarial
        return {"adversarial": weight.value if isinstance(weight, vaezoo.Schedule) else weight}

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """The distortion in features, plus the weighted adversarial loss, in nats ``[B]``."""
        weight = self.weights()["adversarial"]
        return self.feature_distortion(trace) + weight * self.adversarial_loss(trace)

    def feature_distortion(self, trace: vaezoo.Trace) -> Tensor:
        """Half the squared distance of the features of x and x~, ``[B]``."""
        with torch.no_grad():
            target, _ = self.discriminator(trace.batch.x)  # [B, F]
        features, _ = self.discriminator(trace.px.mean)  # [K, B, F]
        return trace.mean(0.5 * (features - target).square().sum(-1))

    def adversarial_loss(self, trace: vaezoo.Trace) -> Tensor:
        """-log D of x~ and of x_p, ``[B]``."""
        _, logits = self.discriminator(generate(trace))  # [K + 1, B]
        return _sum_of_fakes(trace, F.softplus(-logits))

    def phases(self) -> Sequence[vaezoo.Phase]:
        """One phase, which trains the discriminator."""
        phase = vaezoo.Phase(
            "discriminator",
            self.discriminator,
            self._phase_loss,
            optimization=self.optimization,
            moves=self.moves,
            every=self.every,
            start=self.start,
        )
        return (phase,)

    def _phase_loss(
        self, model: vaezoo.GenerativeModel, batch: vaezoo.Batch
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The discriminator's loss, and its probabilities that data is real, ``[B]`` each."""
        with model.detached():
            trace = model.infer(model.start_inference(batch))
            fakes = generate(trace)
        self.discriminator.train()
        try:
            _, logits = self.discriminator(torch.cat([batch.x[None], fakes]))  # [1 + K + 1, B]
        finally:
            self.discriminator.eval()
        loss = F.softplus(-logits[0]) + _sum_of_fakes(trace, F.softplus(logits[1:]))
        probability = logits.sigmoid()
        return loss, {
            "real": probability[0],
            "reconstruction": trace.mean(probability[1:-1]),
            "prior": probability[-1],
        }


def generate(trace: vaezoo.Trace) -> Tensor:
    """x~ and, last, x_p, decoded from codes without gradients: ``[K + 1, B, *shape]``."""
    model, context = trace.model, None if trace.context is None else trace.context.detach()
    prior = model.latents.generate(model.start_generation(len(trace.batch), context))  # [B, ...]
    codes = torch.cat([trace.code, prior[None]]).detach()
    return model.likelihood_of(codes, context, trace.batch.extras).mean


def _sum_of_fakes(trace: vaezoo.Trace, losses: Tensor) -> Tensor:
    """The losses ``[K + 1, B]`` of x~, averaged over samples, plus that of x_p: ``[B]``."""
    return trace.mean(losses[:-1]) + losses[-1]
