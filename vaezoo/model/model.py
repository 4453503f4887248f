"""A generative model in the hands of its users."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial, wraps
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.distributions import draw
from vaezoo.model.estimators import importance
from vaezoo.model.generation import Generation
from vaezoo.model.latent_variable_model import LatentVariableModel
from vaezoo.model.step_generator import StepGenerator
from vaezoo.utils.seeds import seeded

P = ParamSpec("P")
R = TypeVar("R")


def _inference(method: Callable[Concatenate[Model, P], R]) -> Callable[Concatenate[Model, P], R]:
    """Runs a method of a model inside ``Model.inference``."""

    @wraps(method)
    def wrapped(self: Model, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.inference():
            return method(self, *args, **kwargs)

    return wrapped


class Model(LatentVariableModel):
    """A composition with everything that its users do: sample, encode, decode, reconstruct, compare."""

    def prepare(self, x: Tensor | np.ndarray) -> Tensor:
        """Input as the model takes it: float, on its device.

        Integers are grey values and divided by 255, unless they are 0 and 1 of binary or one-hot data, or of real data.

        Raises:
            ValueError: one example has another shape than the model's.
        """
        tensor = torch.as_tensor(x, device=self.device)
        levels = not tensor.is_floating_point() and self.data.support != "real"
        if levels and not (self.data.support != "unit" and bool((tensor <= 1).all())):
            tensor = tensor / 255
        tensor = tensor.float()
        given, expected = tuple(tensor.shape[1:]), self.data.shape
        if self.data.variable_length:  # any number of them
            given, expected = given[1:], expected[1:]
        if given != expected:
            raise ValueError(f"expected examples of shape {self.data.shape}, got {tuple(tensor.shape[1:])}")
        return tensor

    def batches(
        self,
        x: Tensor | np.ndarray,
        condition: Tensor | None = None,
        mask: Tensor | None = None,
        size: int | None = None,
    ) -> Iterator[Batch]:
        """``x`` in batches of ``size``, or as large as memory should hold, with their conditions and masks."""
        whole = Batch(
            self.prepare(x),
            None if condition is None else torch.as_tensor(condition, device=self.device),
            None if mask is None else torch.as_tensor(mask, device=self.device),
        )
        size = size or self.batch_size()
        for start in range(0, len(whole), size):
            yield whole.part(start, min(start + size, len(whole)))

    @_inference
    def encode(self, x: Tensor | np.ndarray, condition: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """The means of q(z|x), ``[B, D]``.

        Args:
            x: ``[B, *shape]`` in the model's input range, or uint8 images.
            condition, mask: as in ``Batch``.
        """
        return torch.cat([self.posterior_mean(batch) for batch in self.batches(x, condition, mask)])

    def posterior_mean(self, batch: Batch) -> Tensor:
        """The means of q(z|x) for one batch, ``[B, D]``; several sites stand side by side."""
        context = self.context(batch.condition, len(batch))
        return self.latents.posterior_mean(self.features(batch, context), self.prior_context(context), batch.mask)

    @_inference
    def decode(
        self, z: Tensor, condition: Tensor | int | str | None = None, *, mean: bool = True, steps: int | None = None
    ) -> Tensor:
        """Data for latent vectors.

        Args:
            z: ``[B, D]``.
            condition: ``[B, ...]`` for a conditional model; or one for all: ``9``, ``color=red,digit=7``.
            mean: the mean of p(x|z), and the likeliest value of each step of a sequence; else a draw from it.
            steps: how many, for a model of sequences; as many as the longest in the data has where it is None.

        Returns:
            ``[B, *shape]`` in the model's data range.
        """
        z = torch.as_tensor(z, device=self.device, dtype=torch.float32)
        context = self.context(condition, len(z))
        size, decoded = self.batch_size(), []
        for start in range(0, len(z), size):
            part = None if context is None else context[start : start + size]
            make = partial(self.latents.code, z[start : start + size], self.prior_context(part))
            decoded.append(self._made(make, part, mean, steps, 0.0 if mean else 1.0))
        return self._completed(torch.cat(decoded), condition)

    def _completed(self, made: Tensor, condition: Tensor | int | str | None) -> Tensor:
        """With what the condition gives in its place, where it is a part of the data."""
        if not self.data.inpainting or not isinstance(condition, Tensor):
            return made
        given = condition.to(made)
        return torch.where(given[:, -1:] > 0, given[:, :-1], made)

    def _made(
        self,
        make: Callable[[Generation | None], Tensor],
        context: Tensor | None,
        mean: bool,
        steps: int | None,
        temperature: float,
        prefix: Tensor | None = None,
    ) -> Tensor:
        """Data for the codes that latents make, step by step where they do."""
        if not self.latents.stepwise:
            if steps is not None or prefix is not None:
                raise ValueError("this model makes whole examples: it takes neither steps nor a prefix")
            px = self.likelihood_of(make(None), context)
            return px.mean if mean and temperature in (0, 1) else draw(px, temperature)
        if steps is not None and steps < 1:
            raise ValueError(f"steps must be at least 1, not {steps}")
        feedback = StepGenerator(self, context, temperature)
        heard = None if prefix is None else tuple(f.float() for f in self.features(Batch(prefix), context))
        return feedback.result(make(Generation(self.data.shape[0] if steps is None else steps, feedback, heard)))

    @_inference
    def sample(
        self,
        n: int,
        condition: Tensor | int | str | None = None,
        *,
        mean: bool = True,
        seed: int | None = None,
        steps: int | None = None,
        prefix: Tensor | np.ndarray | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """New data: z from the prior, then p(x|z).

        Args:
            n: how many.
            condition: ``[n, ...]`` for a conditional model; or one for all: ``9``, ``color=red,digit=7``.
            mean: show the mean of p(x|z); else draw from it too. The steps of a sequence are always drawn.
            seed: makes the call repeatable and leaves torch's own generator as it was.
            steps: how many, for a model of sequences; as many as the longest in the data has where it is None.
            prefix: the first steps of each sequence, ``[n, T, D]``, to be gone on from.
            temperature: of p(x|z); 0 takes the likeliest value.

        Returns:
            ``[n, *shape]`` in the model's data range; sequences with their prefix, and images with the part of them
            that the condition gives.

        Raises:
            ValueError: the model is none of sequences and ``steps`` or ``prefix`` is given, or prefixes are not n.
        """
        context, size = self.context(condition, n), self.batch_size()
        given = None if prefix is None else self.prepare(prefix)
        if given is not None and len(given) != n:
            raise ValueError(f"{len(given)} prefixes for {n} samples; give one for each")
        with seeded(self.device, seed, "sample") if seed is not None else nullcontext():
            parts = []
            for start in range(0, n, size):
                part = None if context is None else context[start : start + size]
                make = partial(self.latents.generate, min(size, n - start), self.prior_context(part))
                heard = None if given is None else given[start : start + size]
                drawn = self._made(make, part, mean, steps, temperature, heard)
                parts.append(drawn if heard is None else torch.cat([heard, drawn], 1))
        return self._completed(torch.cat(parts), condition)

    @_inference
    def reconstruct(
        self, x: Tensor | np.ndarray, condition: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """The mean of p(x|z) at a sample z of q(z|x), ``[B, *shape]``."""
        parts = []
        for batch in self.batches(x, condition, mask):
            context = self.context(batch.condition, len(batch))
            _, code = self.infer(self.features(batch, context), context, batch.mask, 1)
            parts.append(self._completed(self.likelihood_of(code[0], context).mean, batch.condition))
        return torch.cat(parts)

    @_inference
    def translate(self, batch: Batch, conditions: Tensor) -> Tensor:
        """Each example, and what the mean of its posterior decodes to under each condition (style transfer).

        Args:
            batch: the examples with their own conditions.
            conditions: ``[C, ...]``.

        Returns:
            ``[B, 1 + C, *shape]``, the original first.
        """
        z = self.encode(batch.x, batch.condition, batch.mask)
        count = len(conditions)
        asked = conditions.repeat(len(z), *(1,) * (conditions.dim() - 1))
        steps = batch.x.shape[1] if self.latents.stepwise else None
        decoded = self.decode(z.repeat_interleave(count, 0), asked, steps=steps).unflatten(0, (len(z), count))
        return torch.cat([batch.x[:, None], decoded], 1)

    @_inference
    def traverse(self, batch: Batch, dimensions: Tensor, steps: int = 11, span: float = 3.0) -> Tensor:
        """What an example becomes as one latent dimension after another moves, the others at the posterior mean.

        Args:
            batch: one example.
            dimensions: which, ``[R]``.
            steps: values of each, from ``-span`` to ``span``.
            span: standard deviations of N(0, 1).

        Returns:
            ``[R, steps, *shape]``.
        """
        z = self.encode(batch.x, batch.condition, batch.mask)
        moved = z.repeat(len(dimensions), steps, 1)  # [R, steps, D]
        moved[torch.arange(len(dimensions)), :, dimensions] = torch.linspace(-span, span, steps, device=z.device)
        condition = None if batch.condition is None else batch.condition.repeat_interleave(moved[..., 0].numel(), 0)
        return self.decode(moved.flatten(0, 1), condition).unflatten(0, (len(dimensions), steps))

    @_inference
    def interpolate(
        self,
        first: Tensor,
        second: Tensor,
        steps: int = 8,
        condition: Tensor | None = None,
        masks: tuple[Tensor | None, Tensor | None] = (None, None),
    ) -> Tensor:
        """Data between two examples, along a straight line between their posterior means.

        Args:
            first, second: ``[B, *shape]``.
            steps: points on the line, both ends included.
            condition: ``[B, ...]`` for a conditional model.
            masks: of the two, as in ``Batch``.

        Returns:
            ``[B, steps, *shape]``.
        """
        ends = self.encode(first, condition, masks[0]), self.encode(second, condition, masks[1])
        share = torch.linspace(0, 1, steps, device=self.device)[None, :, None]
        z = ends[0][:, None] * (1 - share) + ends[1][:, None] * share  # [B, steps, D]
        repeated = None if condition is None else torch.as_tensor(condition).repeat_interleave(steps, 0)
        return self.decode(z.flatten(0, 1), repeated).unflatten(0, (len(z), steps))

    @_inference
    def log_likelihood(
        self,
        x: Tensor | np.ndarray,
        samples: int = 500,
        condition: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """log p(x) of each example in nats by importance sampling, ``[B]``: a lower bound in expectation.

        Args:
            x: ``[B, *shape]``.
            samples: how many importance samples; more are tighter.
            condition, mask: as in ``Batch``.
        """
        batches = self.batches(x, condition, mask, self.importance_batch_size)
        return torch.cat([importance(self, batch, samples)[0] for batch in batches])
