"""The user-facing model: encode, decode, sample, reconstruct and score data.

Shapes: B examples, D latent dimensions, ``*shape`` the shape of one example, T steps of a
sequence, C conditions, R traversed dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial, wraps
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.model.estimators import importance_sampling
from vaezoo.model.latent_variable_model import LatentVariableModel
from vaezoo.model.step_generator import generate_data
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
    """A generative model p(x|z) p(z) with its posterior q(z|x).

    ``encode``, ``decode``, ``sample``, ``reconstruct``, ``translate``, ``traverse``,
    ``interpolate`` and ``log_likelihood`` run without gradients and split large inputs into
    batches.

    Example:
        >>> import vaezoo
        >>> model = vaezoo.load("cvae-mnist")
        >>> model.latent_dim, model.data.shape
        (16, (1, 28, 28))
        >>> nines = model.sample(4, condition=9, seed=0)
        >>> z = model.encode(nines, condition=[9] * 4)
        >>> threes = model.decode(z, condition=3)  # the same handwriting, another digit
        >>> tuple(nines.shape), tuple(z.shape), tuple(threes.shape)
        ((4, 1, 28, 28), (4, 16), (4, 1, 28, 28))
    """

    def prepare(self, x: Tensor | np.ndarray) -> Tensor:
        """Converts examples to the model's input: float, on the model's device.

        Integers are pixel values and divided by 255, unless the data is real, or binary or one-hot
        and contains only 0 and 1.

        Args:
            x: ``[B, *shape]``; sequences of variable length may have any number of steps.

        Returns:
            ``[B, *shape]``.

        Raises:
            ValueError: the shape of one example is not the model's.

        Example:
            >>> import numpy as np, vaezoo
            >>> model = vaezoo.load("vae-mnist-conv")
            >>> x = model.prepare(np.full((2, 1, 28, 28), 255, dtype=np.uint8))
            >>> tuple(x.shape), x.dtype, float(x.max())
            ((2, 1, 28, 28), torch.float32, 1.0)
        """
        tensor = torch.as_tensor(x, device=self.device)
        is_integer = not tensor.is_floating_point() and self.data.support != "real"
        if is_integer and not (self.data.support != "unit" and bool((tensor <= 1).all())):
            tensor = tensor / 255
        tensor = tensor.float()
        shape, expected = tuple(tensor.shape[1:]), self.data.shape
        if self.data.variable_length:  # any number of steps
            shape, expected = shape[1:], expected[1:]
        if shape != expected:
            raise ValueError(
                f"expected examples of shape {self.data.shape}, got {tuple(tensor.shape[1:])}"
            )
        return tensor

    def batches(
        self,
        x: Tensor | np.ndarray,
        condition: Tensor | None = None,
        mask: Tensor | None = None,
        size: int | None = None,
    ) -> Iterator[Batch]:
        """Splits examples into batches with their conditions and masks.

        Args:
            x: ``[B, *shape]``, in any form that ``prepare`` accepts.
            condition, mask: as in ``Batch``.
            size: the number of examples in a batch; None chooses it by the memory it takes.

        Example:
            >>> import vaezoo
            >>> model = vaezoo.load("vae-mnist-conv")
            >>> [len(batch) for batch in model.batches(model.sample(5, seed=0), size=2)]
            [2, 2, 1]
        """
        examples = Batch(
            self.prepare(x),
            None if condition is None else torch.as_tensor(condition, device=self.device),
            None if mask is None else torch.as_tensor(mask, device=self.device),
        )
        size = size or self.batch_size()
        for start in range(0, len(examples), size):
            yield examples.part(start, min(start + size, len(examples)))

    @_inference
    def encode(
        self,
        x: Tensor | np.ndarray,
        condition: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """The means of q(z|x), ``[B, D]``; latent maps are flattened.

        Args:
            x: ``[B, *shape]`` in the model's input range, or uint8 images.
            condition, mask: as in ``Batch``.

        Example:
            >>> import vaezoo
            >>> model = vaezoo.load("vae-mnist-conv")
            >>> tuple(model.encode(model.sample(4, seed=0)).shape)
            (4, 32)
        """
        batches = self.batches(x, condition, mask)
        return torch.cat([self.posterior_mean(batch) for batch in batches])

    def posterior_mean(self, batch: Batch) -> Tensor:
        """The means of q(z|x) for one batch, ``[B, D]``.

        Those of several latent variables are flattened and concatenated, in the order of
        ``spaces``.

        Unlike ``encode`` it keeps gradients.

        Example:
            >>> import torch, vaezoo
            >>> model = vaezoo.load("vae-mnist-conv")
            >>> tuple(model.posterior_mean(vaezoo.Batch(torch.zeros(4, 1, 28, 28))).shape)
            (4, 32)
        """
        return self.latents.posterior_mean(self.start_inference(batch))

    @_inference
    def decode(
        self,
        z: Tensor,
        condition: Tensor | int | str | None = None,
        *,
        mean: bool = True,
        steps: int | None = None,
    ) -> Tensor:
        """The data that latent vectors decode to.

        Args:
            z: ``[B, D]``.
            condition: ``[B, ...]`` for a conditional model; or one for all examples, such as ``9``
                or ``color=red,digit=7``.
            mean: whether to return the mean of p(x|z), and for sequences the likeliest value of
                each step; otherwise a sample of p(x|z).
            steps: the number of steps of sequences; None takes the longest in the data.

        Returns:
            ``[B, *shape]`` in the model's data range.

        Example:
            >>> import torch, vaezoo
            >>> model = vaezoo.load("vae-mnist-conv")
            >>> tuple(model.decode(torch.zeros(4, 32)).shape)
            (4, 1, 28, 28)
        """
        z = torch.as_tensor(z, device=self.device, dtype=torch.float32)
        context = self.context(condition, len(z))
        size, decoded = self.batch_size(), []
        for start in range(0, len(z), size):
            part = None if context is None else context[start : start + size]
            chunk = z[start : start + size]
            data = generate_data(
                partial(self.latents.code, chunk),
                self.start_generation(len(chunk), part),
                mean=mean,
                steps=steps,
                temperature=0.0 if mean else 1.0,
            )
            decoded.append(data)
        return self._restore_observed(torch.cat(decoded), condition)

    def _restore_observed(self, x: Tensor, condition: Tensor | int | str | None) -> Tensor:
        """For inpainting: ``x`` with the observed pixels set to their values in the condition."""
        if not self.data.inpainting or not isinstance(condition, Tensor):
            return x
        observed = condition.to(x)
        return torch.where(observed[:, -1:] > 0, observed[:, :-1], x)

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
        prior_temperature: float = 1.0,
        sampler: str | None = None,
    ) -> Tensor:
        """New data: z from the prior, then p(x|z).

        Args:
            n: the number of examples.
            condition: ``[n, ...]`` for a conditional model; or one for all examples, such as ``9``
                or ``color=red,digit=7``.
            mean: whether to return the mean of p(x|z) instead of a sample of it. The steps of a
                sequence are always sampled.
            seed: makes the result repeatable and leaves torch's global generator unchanged.
            steps: the number of steps of sequences; None takes the longest in the data.
            prefix: the first steps of each sequence ``[n, T, ...]``, which the model continues.
            temperature: of p(x|z); 0 takes the likeliest value.
            prior_temperature: of p(z); below 1 the latent variables are closer to the most
                probable ones, so that samples are more typical and vary less.
            sampler: the name of a sampler of the spec, which replaces p(z).

        Returns:
            ``[n, *shape]`` in the model's data range. Sequences include their prefix, and
            inpainted images the pixels of their condition.

        Raises:
            ValueError: ``steps`` or ``prefix`` is given to a model that does not generate step by
                step, the number of prefixes is not n, or there is no such sampler.
            NotImplementedError: a temperature is not defined for p(z) or p(x|z).

        Example:
            >>> import vaezoo
            >>> model = vaezoo.load("cvae-mnist")
            >>> tuple(model.sample(4, condition=7, seed=0).shape)
            (4, 1, 28, 28)
        """
        if sampler is not None:
            self.check_sampler(sampler)
        context, size = self.context(condition, n), self.batch_size()
        prefixes = None if prefix is None else self.prepare(prefix)
        if prefixes is not None and len(prefixes) != n:
            raise ValueError(f"{len(prefixes)} prefixes for {n} samples; give one for each")
        with (
            seeded(self.device, seed, "sample") if seed is not None else nullcontext(),
            nullcontext() if sampler is None else self.use_prior(sampler),
        ):
            parts = []
            for start in range(0, n, size):
                part = None if context is None else context[start : start + size]
                begin = None if prefixes is None else prefixes[start : start + size]
                x = generate_data(
                    self.latents.generate,
                    self.start_generation(min(size, n - start), part, prior_temperature),
                    mean=mean,
                    steps=steps,
                    temperature=temperature,
                    prefix=begin,
                )
                parts.append(x if begin is None else torch.cat([begin, x], 1))
        return self._restore_observed(torch.cat(parts), condition)

    @_inference
    def reconstruct(
        self,
        x: Tensor | np.ndarray,
        condition: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """The mean of p(x|z) at a sample z of q(z|x), ``[B, *shape]``.

        Args:
            x: ``[B, *shape]``.
            condition, mask: as in ``Batch``.

        Example:
            >>> import vaezoo
            >>> model = vaezoo.load("vae-mnist-conv")
            >>> tuple(model.reconstruct(model.sample(4, seed=0)).shape)
            (4, 1, 28, 28)
        """
        parts = []
        for batch in self.batches(x, condition, mask):
            trace = self.infer(self.start_inference(batch))
            mean = self.likelihood_of(trace.code[0], trace.context).mean
            parts.append(self._restore_observed(mean, batch.condition))
        return torch.cat(parts)

    @_inference
    def translate(self, batch: Batch, conditions: Tensor) -> Tensor:
        """Decodes the posterior mean of each example under each condition (style transfer).

        Args:
            batch: the examples with their own conditions.
            conditions: ``[C, ...]``.

        Returns:
            ``[B, 1 + C, *shape]``, the original first.

        Example:
            >>> import torch, vaezoo
            >>> model = vaezoo.load("cvae-mnist")
            >>> nines = vaezoo.Batch(model.sample(4, condition=9, seed=0), torch.full((4,), 9))
            >>> tuple(model.translate(nines, torch.tensor([0, 1, 2])).shape)
            (4, 4, 1, 28, 28)
        """
        z = self.encode(batch.x, batch.condition, batch.mask)
        count = len(conditions)
        repeated = conditions.repeat(len(z), *(1,) * (conditions.dim() - 1))  # [B * C, ...]
        steps = batch.x.shape[1] if self.latents.stepwise else None
        decoded = self.decode(z.repeat_interleave(count, 0), repeated, steps=steps)
        decoded = decoded.unflatten(0, (len(z), count))  # [B, C, *shape]
        return torch.cat([batch.x[:, None], decoded], 1)

    @_inference
    def traverse(
        self, batch: Batch, dimensions: Tensor, steps: int = 11, span: float = 3.0
    ) -> Tensor:
        """Varies one latent dimension at a time, with the others at the posterior mean.

        Args:
            batch: one example.
            dimensions: the indices of the R dimensions to vary, ``[R]``.
            steps: the number of values of each, from ``-span`` to ``span``.
            span: in standard deviations of N(0, 1).

        Returns:
            ``[R, steps, *shape]``.

        Raises:
            NotImplementedError: a latent variable is not real, so that varying one dimension
                would leave its space.

        Example:
            >>> import torch, vaezoo
            >>> model = vaezoo.load("vae-mnist-conv")
            >>> one = vaezoo.Batch(model.sample(1, seed=0))
            >>> tuple(model.traverse(one, torch.tensor([0, 5]), steps=7).shape)
            (2, 7, 1, 28, 28)
        """
        supports = [space.support for space in self.spaces for _ in range(space.dimensions)]
        if varied := {supports[i] for i in dimensions.tolist()} - {"real"}:
            raise NotImplementedError(
                f"varying one dimension would leave the support {min(varied)!r} of its latent "
                "variable; use interpolate"
            )
        z = self.encode(batch.x, batch.condition, batch.mask)
        grid = z.repeat(len(dimensions), steps, 1)  # [R, steps, D]
        values = torch.linspace(-span, span, steps, device=z.device)
        grid[torch.arange(len(dimensions)), :, dimensions] = values
        condition = batch.condition
        if condition is not None:
            condition = condition.repeat_interleave(len(dimensions) * steps, 0)
        decoded = self.decode(grid.flatten(0, 1), condition)  # [R * steps, *shape]
        return decoded.unflatten(0, (len(dimensions), steps))  # [R, steps, *shape]

    @_inference
    def interpolate(
        self,
        first: Tensor,
        second: Tensor,
        steps: int = 8,
        condition: Tensor | None = None,
        *,
        masks: tuple[Tensor | None, Tensor | None] = (None, None),
    ) -> Tensor:
        """Decodes points between the posterior means of two examples.

        The latents define the path: a straight line, or a great circle on a sphere.

        Args:
            first, second: ``[B, *shape]``.
            steps: the number of points on the path, both ends included.
            condition: ``[B, ...]`` for a conditional model.
            masks: the masks of ``first`` and ``second``, as in ``Batch``.

        Returns:
            ``[B, steps, *shape]``.

        Example:
            >>> import vaezoo
            >>> model = vaezoo.load("vae-mnist-conv")
            >>> x = model.sample(4, seed=0)
            >>> tuple(model.interpolate(x[:2], x[2:], steps=5).shape)
            (2, 5, 1, 28, 28)
        """
        start = self.encode(first, condition, masks[0])  # [B, D]
        end = self.encode(second, condition, masks[1])
        share = torch.linspace(0, 1, steps, device=self.device)
        z = self.latents.interpolate(start, end, share)  # [B, steps, D]
        if condition is not None:
            condition = torch.as_tensor(condition).repeat_interleave(steps, 0)
        decoded = self.decode(z.flatten(0, 1), condition)  # [B * steps, *shape]
        return decoded.unflatten(0, (len(z), steps))  # [B, steps, *shape]

    @_inference
    def log_likelihood(
        self,
        x: Tensor | np.ndarray,
        samples: int = 500,
        condition: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Estimates log p(x) of each example in nats by importance sampling, ``[B]``.

        The estimate is a lower bound in expectation (Burda et al. 2016).

        Args:
            x: ``[B, *shape]``.
            samples: the number of importance samples; more samples give a tighter bound.
            condition, mask: as in ``Batch``.

        Example:
            >>> import vaezoo
            >>> model = vaezoo.load("vae-mnist-conv")
            >>> tuple(model.log_likelihood(model.sample(4, seed=0), samples=10).shape)
            (4,)
        """
        batches = self.batches(x, condition, mask, self.importance_batch_size)
        return torch.cat([importance_sampling(self, batch, samples)[0] for batch in batches])
