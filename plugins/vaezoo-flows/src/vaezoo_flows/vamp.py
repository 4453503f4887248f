"""The VampPrior: a mixture of the posteriors of pseudo-inputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, MixtureSameFamily

import vaezoo
from vaezoo.distributions import DiagonalNormal, NormalMixture

_LEARNABLE = ("binary", "unit", "real", "one-hot")
"""The supports of data whose values a network can take at any point between them."""
_MARGIN = 0.1
"""How far initial pseudo-inputs stay from 0 and 1, where a sigmoid has no inverse."""
_DROPOUT = (
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)


class VampPrior(vaezoo.Prior):
    """p(z) = 1/C sum over c of q(z | u_c), at pseudo-inputs u_c (Tomczak & Welling 2018, eq. 9).

    Pseudo-inputs have the shape of the data and pass the model's own encoder and posterior, so
    that the prior moves with them. Learned ones start at training examples; a sigmoid keeps those
    of binary data and of data from 0 to 1 in their range, a softmax those of one-hot data. With
    ``inputs: data`` they are training examples and stay so. Log-densities are exact, in nats.

    While they are encoded, layers with running statistics (batch norm) use these statistics and do
    not change them, and dropout layers drop nothing, in training, too. So p(z) is one density:
    the same in training and evaluation, not a random one of each step, and the statistics are
    those of data alone.

    Args:
        components: C, the number of pseudo-inputs.
        inputs: whether they are learned, or are examples of the training split (``data``).
        noise: the standard deviation of the noise that is added to the examples that learned
            pseudo-inputs start at, before the sigmoid.
    """

    supports = frozenset({"real", "sphere"})
    examples: Tensor
    shown: Tensor | None
    is_initialised: Tensor

    def __init__(
        self,
        wiring: vaezoo.PriorWiring,
        /,
        *,
        components: Annotated[int, Gt(0)] = 500,
        inputs: Literal["learned", "data"] = "learned",
        noise: Annotated[float, Gt(0)] = 0.1,
    ) -> None:
        super().__init__()
        data = wiring.data
        if "encoder" in wiring.into:
            raise ValueError("pseudo-inputs have no condition; remove encoder from its `into`")
        if data.parts:
            raise ValueError("pseudo-inputs are one tensor, and this data has several parts")
        if components > wiring.train_size:
            raise ValueError(
                f"{components} components need as many training examples, not {wiring.train_size}"
            )
        if inputs == "learned" and data.support not in _LEARNABLE:
            raise ValueError(
                f"pseudo-inputs of {data.support} data cannot be learned; use inputs: data"
            )
        self.name, self.support, self.noise = wiring.space.name, data.support, noise
        self.initial_examples = components
        values = torch.zeros(components, *data.shape)
        if inputs == "learned":
            self.pseudo_inputs = nn.Parameter(values + noise * torch.randn_like(values))
        else:
            self.register_buffer("examples", values)
        shown = torch.ones(components, *data.shape[: data.mask_dims], dtype=torch.bool)
        self.register_buffer("shown", shown if data.mask_dims else None)
        self.register_buffer("is_initialised", torch.zeros((), dtype=torch.bool))

    @property
    def inputs(self) -> Tensor:
        """The pseudo-inputs u, ``[C, *shape]``."""
        if not hasattr(self, "pseudo_inputs"):
            return self.examples
        if self.support == "one-hot":
            return self.pseudo_inputs.softmax(-1)
        return self.pseudo_inputs.sigmoid() if self.support != "real" else self.pseudo_inputs

    def initialise(self, model: vaezoo.GenerativeModel, batch: vaezoo.Batch) -> None:
        """Takes the first training examples as pseudo-inputs, or as the start of learned ones.

        Stages after the first one that trains it keep what it has. Where data are masked, it takes
        the masks of the examples, too.
        """
        if bool(self.is_initialised):
            return
        self.is_initialised.fill_(True)
        rows = torch.arange(self.initial_examples, device=batch.x.device) % len(batch.x)
        x = batch.x[rows]  # a batch that is given by hand may have fewer examples
        if self.shown is not None and batch.mask is not None:
            self.shown.zero_()
            shown = batch.mask[rows]
            self.shown[:, *(slice(size) for size in shown.shape[1:])] = shown
        if not hasattr(self, "pseudo_inputs"):
            self.examples[:, *(slice(size) for size in x.shape[1:])] = x
            return
        if self.support in ("binary", "unit"):
            x = x.clamp(_MARGIN, 1 - _MARGIN).logit()
        elif self.support == "one-hot":
            x = (x + _MARGIN).log()
        self.pseudo_inputs[:, *(slice(size) for size in x.shape[1:])] = x
        self.pseudo_inputs += self.noise * torch.randn_like(self.pseudo_inputs)

    def forward(self, context: Tensor | None, model: vaezoo.GenerativeModel) -> Distribution:
        """One mixture ``[]`` for all examples."""
        u = self.inputs
        with _as_in_evaluation(model.encoder, model.latents):
            q = model.posterior(vaezoo.Batch(u, mask=self.shown), self.name)  # batch shape [C]
        logits = u.new_zeros(len(u))
        if isinstance(q, DiagonalNormal) and len(q.event_shape) == 1:
            return NormalMixture(logits, q.loc, q.log_scale)
        return MixtureSameFamily(Categorical(logits=logits, validate_args=False), q)


@contextmanager
def _as_in_evaluation(*parts: nn.Module) -> Iterator[None]:
    """Within, layers with running statistics and dropout layers are in evaluation mode.

    Others stay as they are: recurrent layers have no backward pass in that mode on some devices.
    """
    layers = [
        layer
        for part in parts
        for layer in part.modules()
        if layer.training
        and (isinstance(layer, _DROPOUT) or getattr(layer, "running_mean", None) is not None)
    ]
    for layer in layers:
        layer.training = False
    try:
        yield
    finally:
        for layer in layers:
            layer.training = True
