"""The user-facing model: encode, decode, sample, reconstruct and score data.

Shapes: B examples, D latent dimensions, ``*shape`` the shape of one example, T steps of a
sequence, C conditions, R traversed dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from functools import partial, wraps
from operator import index
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.data.mapping import (
    concatenate,
    map_tensors,
    repeat_rows,
    select_rows,
    unflatten_rows,
)
from vaezoo.model.completion import Completion, complete
from vaezoo.model.estimators import importance_sampling
from vaezoo.model.inputs import Examples, check_examples, to_batch, to_extras, to_input
from vaezoo.model.latent_variable_model import LatentVariableModel
from vaezoo.model.passes import Generation
from vaezoo.model.step_generator import generate_data
from vaezoo.utils.errors import DataError, UsageError
from vaezoo.utils.finite import first_fault
from vaezoo.utils.seeds import seeded

P = ParamSpec("P")
R = TypeVar("R")


def _inference(method: Callable[Concatenate[Model, P], R]) -> Callable[Concatenate[Model, P], R]:
    """Runs a method of a model inside ``Model.inference``."""

    @wraps(method)
    def wrapped(self: Model, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.inference():
            try:
                return method(self, *args, **kwargs)
            except KeyError as error:  # of a likelihood
                name = error.args[0] if error.args else None
                if name not in tuple(self.data.extras):
                    raise
                raise ValueError(
                    f"the examples need the extra {name!r}: pass a vaezoo.Batch with extras"
                ) from None

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

    def prepare(self, x: Examples) -> Any:
        """Converts examples to the model's input: float, on the model's device.

        Integers are pixels and divided by 255 where the data set has pixels (``data.pixels``);
        booleans and all other numbers stay as they are. What else is in the batch has no
        influence.

        Args:
            x: ``[B, *shape]``; sequences of variable length may have any number of steps. For
                data of several parts, a mapping with the data of each part.

        Returns:
            ``[B, *shape]``, or a mapping.

        Raises:
            ValueError: the shape of one example is not the model's, or an integer is out of the
                range of the data.

        Example:
            >>> import numpy as np, vaezoo
            >>> model = vaezoo.load("vae-mnist-conv")
            >>> x = model.prepare(np.full((2, 1, 28, 28), 255, dtype=np.uint8))
            >>> tuple(x.shape), x.dtype, float(x.max())
            ((2, 1, 28, 28), torch.float32, 1.0)
        """
        return to_input(self.data, x, self.device)

    def batches(
        self,
        x: Examples | Batch,
        condition: Tensor | None = None,
        mask: Any = None,
        size: int | None = None,
    ) -> Iterator[Batch]:
        """Splits examples into batches with all that belongs to them.

        Args:
            x: ``[B, *shape]``, in any form that ``prepare`` accepts; or a ``Batch``, whose extras
                and missing parts count, too.
            condition, mask: as in ``Batch``.
            size: the number of examples in a batch; None chooses it by the memory it takes.

        Raises:
            UsageError: there are no examples.
            DataError: an example has NaN, infinity or a value outside of the support of its
                likelihood where no mask hides it.

        Example:
            >>> import vaezoo
            >>> model = vaezoo.load("vae-mnist-conv")
            >>> [len(batch) for batch in model.batches(model.sample(5, seed=0), size=2)]
            [2, 2, 1]
        """
        examples = to_batch(self.data, x, condition, mask, self.device)
        check_examples(examples, self.likelihood.by_part)
        size = size or self.batch_size()
        for start in range(0, len(examples), size):
            yield examples.select(slice(start, start + size))

    @_inference
    def encode(
        self,
        x: Examples | Batch,
        condition: Tensor | None = None,
        mask: Any = None,
    ) -> Tensor:
        """The means of q(z|x), ``[B, D]``; latent maps are flattened.

        Args:
            x: ``[B, *shape]``, in any form that ``prepare`` accepts; or a ``Batch``, such as
                ``batch.only("image")`` to encode one part of several.
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
        extras: Mapping[str, Tensor] | None = None,
    ) -> Any:
        """The data that latent vectors decode to.

        Args:
            z: ``[B, D]``.
            condition: ``[B, ...]`` for a conditional model; or one for all examples, such as ``9``
                or ``color=red,digit=7``.
            mean: whether to return the mean of p(x|z), and for sequences the likeliest value of
                each step; otherwise a sample of p(x|z).
            steps: the number of steps of sequences; None takes the longest in the data.
            extras: those of the data by name, ``[B, ...]``; None takes typical ones.

        Returns:
            ``[B, *shape]`` in the model's data range; for data of several parts, a mapping.

        Raises:
            UsageError: there are no codes.
            DataError: a code is NaN or infinite; names the first.

        Example:
            >>> import torch, vaezoo
            >>> model = vaezoo.load("vae-mnist-conv")
            >>> tuple(model.decode(torch.zeros(4, 32)).shape)
            (4, 1, 28, 28)
        """
        z = torch.as_tensor(z, device=self.device, dtype=torch.float32)
        if not len(z):
            raise UsageError("expected at least one code, got none")
        if fault := first_fault(z, "z of example"):
            raise DataError(fault)
        context, extras = self.context(condition, len(z)), self.extras_for(len(z), extras)
        decoded = [
            generate_data(
                partial(self.latents.code, z[rows]),
                generation,
                mean=mean,
                steps=steps,
                temperature=0.0 if mean else 1.0,
            )
            for rows, generation in self._generations(len(z), context, extras)
        ]
        return self._complete(concatenate(decoded), condition)

    def _generations(
        self,
        n: int,
        context: Tensor | None,
        extras: Mapping[str, Tensor],
        prior_temperature: float = 1.0,
    ) -> Iterator[tuple[slice, Generation]]:
        """The generation of n codes in batches, each with the rows that it makes."""
        size = self.batch_size()
        for start in range(0, n, size):
            rows = slice(start, min(start + size, n))
            generation = self.start_generation(
                rows.stop - start,
                select_rows(context, rows),
                prior_temperature,
                extras=select_rows(extras, rows),
            )
            yield rows, generation

    def _complete(self, x: Any, condition: Tensor | int | str | None) -> Any:
        """``x`` with what the condition shows of it, such as the pixels around a gap."""
        if self.conditioner is None or condition is None or isinstance(condition, int | str):
            return x
        return self.conditioner.complete(x, torch.as_tensor(condition, device=self.device))

    def extras_for(self, n: int, extras: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """The extras ``[n, ...]`` with which n examples are generated.

        Args:
            n: the number of examples.
            extras: those that are known, ``[n, ...]`` by name, or one number for all; the
                likelihood has typical ones for the others that it needs.

        Raises:
            ValueError: the data has no such extra, or its shape is another one.

        Example:
            >>> import vaezoo
            >>> vaezoo.load("vae-mnist-conv").extras_for(3)  # its data has no extras
            {}
        """
        expanded = {
            name: np.full(n, value) if isinstance(value, int | float) else value
            for name, value in (extras or {}).items()
        }
        known = to_extras(self.data, expanded, n, self.device)
        return {**self.likelihood.typical_extras(n), **known}

    @_inference
    def sample(
        self,
        n: int,
        condition: Tensor | int | str | None = None,
        *,
        mean: bool | None = None,
        seed: int | None = None,
        steps: int | None = None,
        prefix: Tensor | np.ndarray | None = None,
        temperature: float = 1.0,
        prior_temperature: float = 1.0,
        sampler: str | None = None,
        extras: Mapping[str, Tensor] | None = None,
    ) -> Any:
        """New data: z from the prior, then p(x|z).

        Args:
            n: the number of examples.
            condition: ``[n, ...]`` for a conditional model; or one for all examples, such as ``9``
                or ``color=red,digit=7``.
            mean: whether to return the mean of p(x|z) instead of a sample of it; by default so,
                unless the likelihood draws samples (``Likelihood.draws_samples``), as that of
                tables does. The steps of a sequence are always sampled.
            seed: makes the result repeatable, whatever other threads draw, and leaves torch's
                global generator unchanged.
            steps: the number of steps of sequences; None takes the longest in the data.
            prefix: the first steps of each sequence ``[n, T, ...]``, which the model continues.
            temperature: of p(x|z); 0 takes the likeliest value.
            prior_temperature: of p(z); below 1 the latent variables are closer to the most
                probable ones, so that samples are more typical and vary less.
            sampler: the name of a sampler of the spec, which replaces p(z).
            extras: those of the data by name, ``[n, ...]`` or one number for all; None takes
                typical ones.

        Returns:
            ``[n, *shape]`` in the model's data range; for data of several parts, a mapping.
            Sequences include their prefix, and inpainted images the pixels of their condition.

        Raises:
            UsageError: n is less than 1.
            ValueError: ``steps`` or ``prefix`` is given to a model that does not generate step by
                step, the number of prefixes is not n, or there is no such sampler.
            NotImplementedError: a temperature is not defined for p(z) or p(x|z).

        Example:
            >>> import vaezoo
            >>> model = vaezoo.load("cvae-mnist")
            >>> tuple(model.sample(4, condition=7, seed=0).shape)
            (4, 1, 28, 28)
        """
        if n < 1:
            raise UsageError(f"expected at least one example, got {n}")
        if mean is None:
            mean = not self.likelihood.draws_samples
        if sampler is not None:
            self.check_sampler(sampler)
        context, extras = self.context(condition, n), self.extras_for(n, extras)
        prefixes = None if prefix is None else self.prepare(prefix)
        if prefixes is not None and len(prefixes) != n:
            raise ValueError(f"{len(prefixes)} prefixes for {n} samples; give one for each")
        with (
            seeded(self.device, index(seed), "sample") if seed is not None else nullcontext(),
            nullcontext() if sampler is None else self.use_prior(sampler),
        ):
            parts = []
            for rows, generation in self._generations(n, context, extras, prior_temperature):
                begin = select_rows(prefixes, rows)
                x = generate_data(
                    self.latents.generate,
                    generation,
                    mean=mean,
                    steps=steps,
                    temperature=temperature,
                    prefix=begin,
                )
                parts.append(x if begin is None else torch.cat([begin, x], 1))
        return self._complete(concatenate(parts), condition)

    @_inference
    def reconstruct(
        self,
        x: Examples | Batch,
        condition: Tensor | None = None,
        mask: Any = None,
    ) -> Any:
        """The mean of p(x|z) at a sample z of q(z|x), ``[B, *shape]``.

        For data of several parts it is a mapping with the mean of each, also of those that are
        missing in ``x``.

        Args:
            x: ``[B, *shape]``, or a ``Batch``.
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
            mean = self.likelihood_of(trace.code[0], trace.context, batch.extras).mean
            parts.append(self._complete(mean, batch.condition))
        return concatenate(parts)

    @_inference
    def translate(self, batch: Batch, conditions: Tensor) -> Any:
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
        batch = to_batch(self.data, batch, None, None, self.device)
        z, count = self.encode(batch), len(conditions)
        repeated = conditions.repeat(len(z), *(1,) * (conditions.dim() - 1))  # [B * C, ...]
        steps = batch.x.shape[1] if self.latents.stepwise else None
        decoded = self.decode(
            z.repeat_interleave(count, 0),
            repeated,
            steps=steps,
            extras=repeat_rows(batch.extras, count),
        )
        originals = map_tensors(lambda x: x[:, None], batch.x)
        return concatenate([originals, unflatten_rows(decoded, len(z), count)], 1)

    @_inference
    def traverse(
        self, batch: Batch, dimensions: Tensor, steps: int = 11, span: float = 3.0
    ) -> Any:
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
        batch = to_batch(self.data, batch, None, None, self.device)
        z = self.encode(batch)
        grid = z.repeat(len(dimensions), steps, 1)  # [R, steps, D]
        values = torch.linspace(-span, span, steps, device=z.device)
        grid[torch.arange(len(dimensions)), :, dimensions] = values
        count = len(dimensions) * steps
        condition, extras = repeat_rows(batch.condition, count), repeat_rows(batch.extras, count)
        decoded = self.decode(grid.flatten(0, 1), condition, extras=extras)
        return unflatten_rows(decoded, len(dimensions), steps)

    @_inference
    def interpolate(
        self,
        first: Examples | Batch,
        second: Examples | Batch,
        steps: int = 8,
        condition: Tensor | None = None,
    ) -> Any:
        """Decodes points between the posterior means of two examples.

        The latents define the path: a straight line, or a great circle on a sphere.

        Args:
            first, second: ``[B, *shape]``, or batches, to which masks and extras belong. Points
                are decoded with the condition and the extras of ``first``.
            steps: the number of points on the path, both ends included.
            condition: ``[B, ...]`` for a conditional model, unless these are batches.

        Returns:
            ``[B, steps, *shape]``; for data of several parts, a mapping.

        Example:
            >>> import vaezoo
            >>> model = vaezoo.load("vae-mnist-conv")
            >>> x = model.sample(4, seed=0)
            >>> tuple(model.interpolate(x[:2], x[2:], steps=5).shape)
            (2, 5, 1, 28, 28)
        """
        first = to_batch(self.data, first, condition, None, self.device)
        start = self.encode(first)  # [B, D]
        end = self.encode(second, None if isinstance(second, Batch) else condition)
        share = torch.linspace(0, 1, steps, device=self.device)
        z = self.latents.interpolate(start, end, share)  # [B, steps, D]
        condition, extras = repeat_rows(first.condition, steps), repeat_rows(first.extras, steps)
        decoded = self.decode(z.flatten(0, 1), condition, extras=extras)  # [B * steps, *shape]
        return unflatten_rows(decoded, len(z), steps)

    @_inference
    def impute(
        self,
        x: Examples | Batch,
        mask: Any = None,
        condition: Tensor | None = None,
        *,
        draws: int = 1,
        samples: int = 100,
        from_prior: bool = False,
        seed: int | None = None,
    ) -> Completion:
        """Draws what a mask hides of examples from p(x | what it does not hide).

        By sampling-importance-resampling (Rubin 1987): ``samples`` proposals for each example are
        weighted by how well they explain what is observed, and drawn by their weights.

        Args:
            x: ``[B, *shape]``, or a ``Batch``; what the mask hides may be anything.
            mask: True where ``x`` is observed, ``[B, *shape[:mask_dims]]``.
            condition: as in ``Batch``.
            draws: the number of draws for each example.
            samples: the number of proposals; more are closer to p(x | observed).
            from_prior: whether z is proposed by p(z), and not by q(z | observed): where so little
                is observed that the encoder has not learned to encode it.
            seed: makes the result repeatable, whatever other threads draw, and leaves torch's
                global generator unchanged.

        Returns:
            The draws ``x`` ``[draws, B, *shape]``, and ``effective_sample_size`` ``[B]``: how many
            of the proposals count. Close to 1, the draws are hardly chosen.

        Raises:
            UsageError: there are no examples, draws or samples, or the data has no mask.
            NotImplementedError: a density is missing, or only a bound is known.

        Example:
            >>> import torch, vaezoo
            >>> model = vaezoo.load("vrnn-jsb")
            >>> model.data.mask_dims
            1
        """
        if not self.data.mask_dims:
            raise UsageError("the data of this model has no mask, so nothing can be hidden")
        if draws < 1 or samples < 1:
            raise UsageError(f"draws and samples must be at least 1, not {draws} and {samples}")
        size = max(1, self.batch_size(samples))
        with seeded(self.device, index(seed), "impute") if seed is not None else nullcontext():
            parts = [
                complete(self, batch, draws, samples, from_prior=from_prior)
                for batch in self.batches(x, condition, mask, size)
            ]
        return Completion(
            torch.cat([part.x for part in parts], 1),
            torch.cat([part.effective_sample_size for part in parts]),
        )

    @_inference
    def log_likelihood(
        self,
        x: Examples | Batch,
        samples: int = 500,
        condition: Tensor | None = None,
        mask: Any = None,
    ) -> Tensor:
        """Estimates log p(x) of each example in nats by importance sampling, ``[B]``.

        The estimate is a lower bound in expectation (Burda et al. 2016).

        Args:
            x: ``[B, *shape]``, or a ``Batch``.
            samples: the number of importance samples; more samples give a tighter bound.
            condition, mask: as in ``Batch``.

        Raises:
            UsageError: there are no examples or no samples.
            DataError: as for ``batches``.

        Example:
            >>> import vaezoo
            >>> model = vaezoo.load("vae-mnist-conv")
            >>> tuple(model.log_likelihood(model.sample(4, seed=0), samples=10).shape)
            (4,)
        """
        if samples < 1:
            raise UsageError(f"samples must be at least 1, not {samples}")
        batches = self.batches(x, condition, mask, self.importance_batch_size)
        return torch.cat([importance_sampling(self, batch, samples)[0] for batch in batches])
