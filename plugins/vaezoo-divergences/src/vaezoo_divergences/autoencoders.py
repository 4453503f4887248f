"""RAE: a deterministic autoencoder with a regularized decoder (Ghosh et al. 2020).

The paper's loss is the distortion + beta ``code-norm`` + lambda ``decoder-norm`` (RAE-L2) or
lambda ``decoder-gradient`` (RAE-GP), or a ``spectral`` decoder (RAE-SN). The density of codes is
fitted afterwards, by a sampler such as ``gaussian-mixture``.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

import vaezoo
from vaezoo.distributions import differentiable_mean
from vaezoo.nn import masked

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)


class CodeNorm(vaezoo.Regularizer):
    """Half the squared norm of z, which is -log N(z; 0, I) in nats without its constant.

    Args:
        weight: beta.
    """

    def __init__(
        self, wiring: vaezoo.TaskWiring, /, *, weight: float | vaezoo.Schedule = 1.0
    ) -> None:
        super().__init__(weight)

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """Summed over latent variables and existing steps, averaged over samples, ``[B]``."""
        norms = []
        for site in trace.sites:
            z = masked(site.z, None if site.mask is None else site.mask[None])  # [K, B, ...]
            norms.append(0.5 * z.square().flatten(2).sum(-1))
        return trace.mean(torch.stack(norms).sum(0))


class DecoderNorm(vaezoo.Regularizer):
    """The squared norm of all weights of the decoder, the same for every example.

    Args:
        weight: lambda.
    """

    def __init__(
        self, wiring: vaezoo.TaskWiring, /, *, weight: float | vaezoo.Schedule = 1e-3
    ) -> None:
        super().__init__(weight)

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """Expanded to ``[B]``."""
        weights = trace.model.decoder.parameters()
        return sum(weight.square().sum() for weight in weights).expand(len(trace.batch))


class DecoderGradient(vaezoo.Regularizer):
    """The squared norm of the Jacobian of the mean of p(x|z), at codes without gradients.

    Of data of several parts it is that of all means together, without hidden values and missing
    parts. It decodes again, does not train the encoder, and is estimated without bias from one
    random projection v of the output: E |v^T J|^2 = |J|^2 for independent signs v.

    Args:
        weight: lambda.
    """

    eager = True

    def __init__(
        self, wiring: vaezoo.TaskWiring, /, *, weight: float | vaezoo.Schedule = 1e-2
    ) -> None:
        super().__init__(weight)

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """Averaged over samples, ``[B]``.

        Raises:
            ValueError: the mean of p(x|z), or of a part of it, has no gradient.
        """
        batch = trace.batch
        with torch.enable_grad():
            code = trace.code.detach().requires_grad_()  # [K, B, ...]
            px = trace.model.likelihood_of(code, trace.context, batch.extras)
            mean = differentiable_mean(px)
            if isinstance(mean, Mapping):
                parts = [
                    _projected(value, batch.part(name).mask, batch.has(name))
                    for name, value in mean.items()
                ]
                projection = torch.stack(parts).sum()
            else:
                projection = _projected(mean, batch.mask, None)
            (gradient,) = torch.autograd.grad(projection, code, create_graph=True)
        return trace.mean(gradient.square().flatten(2).sum(-1))


def _projected(mean: Tensor, mask: Tensor | None, present: Tensor | None) -> Tensor:
    """v · mean for random signs v, of what is observed; mean is ``[K, B, *event]``."""
    signs = torch.randint_like(mean, 2) * 2 - 1
    for observed in (mask, present):  # [B, ...]
        if observed is not None:
            signs = masked(signs, observed.expand(len(signs), *observed.shape))
    return (signs * mean).sum()


class SpectralDecoder(vaezoo.Decoder):
    """A decoder whose layers have a spectral norm of 1 (Miyato et al. 2018), for RAE-SN.

    The weight of each linear and convolutional layer is divided by its largest singular value,
    which one power iteration in each training pass follows.

    Args:
        decoder: the decoder.
    """

    def __init__(
        self, wiring: vaezoo.DecoderWiring, /, *, decoder: vaezoo.Factory[vaezoo.Decoder]
    ) -> None:
        super().__init__()
        self.decoder = decoder(wiring)
        layers = [module for module in self.decoder.modules() if isinstance(module, _LAYERS)]
        if not layers:
            raise ValueError("the decoder has no linear or convolutional layer")
        for layer in layers:
            nn.utils.parametrizations.spectral_norm(layer)

    def forward(self, z: Tensor) -> Tensor:
        """What the decoder returns of codes ``[N, *in_shape]``."""
        output: Tensor = self.decoder(z)
        return output
