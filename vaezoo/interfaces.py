"""The kinds of component: each an abstract class with one required method and its stated contract.

A component's constructor is its schema. Positional-only parameters are wiring, given by the composer and
listed under each kind below; keyword-only parameters are its YAML options, checked against their annotations.
Shapes: K samples, B examples, N = any number of leading elements, D latent dimensions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vaezoo.facts import DataSpec, Estimate, Shape, Split
from vaezoo.hookspecs import KIND_NAMES
from vaezoo.trace import Batch, Loop, Phase, Site, Terms, Trace

if TYPE_CHECKING:
    from vaezoo.data.loader import Loader
    from vaezoo.model import Model


class Dataset(ABC):
    """Named splits of examples. Wiring: none."""

    @property
    @abstractmethod
    def spec(self) -> DataSpec:
        """What one example looks like after ``Split.transform``."""

    @abstractmethod
    def split(self, name: str) -> Split:
        """The split ``train``, ``validation`` or ``test``.

        Raises:
            vaezoo.errors.DataError: the file is missing or malformed; names the file and row.
            vaezoo.errors.UnavailableError: the data cannot be fetched.
        """


class Encoder(nn.Module, ABC):
    """Data to features. Wiring: ``in_shape``, the shape of one input."""

    flat: ClassVar[bool] = False
    """Whether it takes its input as one vector; a context is then put beside the vector, once, not in every pixel."""

    @abstractmethod
    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """From ``[B, *in_shape]`` to features ``[B, ...]``, fine to coarse. Masked inputs must not matter."""


class Posterior(nn.Module, ABC):
    """Features to q(z|x). Wiring: ``in_features``, ``latent_dim``."""

    @abstractmethod
    def forward(self, h: Tensor) -> Distribution:
        """From ``[N, in_features]`` to a distribution with batch shape ``[N]`` and event shape ``[latent_dim]``."""


class Prior(nn.Module, ABC):
    """p(z), or p(z|context). Wiring: ``latent_dim``, ``context_dim`` (0: unconditional)."""

    conditional: ClassVar[bool] = False
    """Whether it can use a context; the composer refuses ``into: [prior]`` where it cannot."""

    @abstractmethod
    def forward(self, h: Tensor | None) -> Distribution:
        """From a context ``[B, context_dim]``, or None, to a distribution with event shape ``[latent_dim]``."""


class Likelihood(nn.Module, ABC):
    """Decoder output to p(x|z). Wiring: ``data``, a DataSpec.

    Requirements: ``__init__`` calls ``super().__init__(data)``, which refuses data outside ``supports``. The
    distribution's event must be the dimensions that no mask covers (``event_dims`` of them).
    """

    multiplicity: int = 1
    """How many numbers the decoder must give for each scalar of data, stacked along the first dimension."""

    supports: ClassVar[frozenset[str]] = frozenset({"binary", "unit", "real"})

    def __init__(self, data: DataSpec, /) -> None:
        super().__init__()
        if data.support not in self.supports:
            wanted = " or ".join(sorted(self.supports))
            raise ValueError(f"needs {wanted} data, but this data set is {data.support}")
        self.data = data
        self.event_dims = len(data.shape) - data.mask_dims

    @property
    def _steps(self) -> bool:
        """Whether an example is a sequence of vectors, not an image with a mask."""
        return self.data.mask_dims > 0 and len(self.data.shape) < 3

    @property
    def parameter_shape(self) -> Shape:
        """The shape of the decoder's output for one example."""
        if self._steps:  # the scalars of a sequence step lie in the last dimension
            return (*self.data.shape[:-1], self.multiplicity * self.data.shape[-1])
        return (self.multiplicity * self.data.shape[0], *self.data.shape[1:])

    def split_parameters(self, h: Tensor) -> Tensor:
        """From ``[*, *parameter_shape]`` to ``[multiplicity, *, *data.shape]``."""
        dim = -1 if self._steps else -len(self.data.shape)
        return torch.stack(h.chunk(self.multiplicity, dim))

    @abstractmethod
    def forward(self, h: Tensor) -> Distribution:
        """From ``[*, *parameter_shape]`` to a distribution over ``x``."""


class Latents(nn.Module, ABC):
    """Where latent variables sit. Wiring: ``feature_shapes`` of one example, fine to coarse; ``latent_dim``;
    ``posterior`` and ``prior``, factories that take the wiring of their kinds; ``context_dim``."""

    conditional: ClassVar[bool] = False
    """Whether they use a context beside giving it to the prior."""

    stepwise: ClassVar[bool] = False
    """Whether codes are sequences, so that ``generate`` and ``code`` need a loop."""

    @abstractmethod
    def infer(
        self, features: tuple[Tensor, ...], context: Tensor | None, mask: Tensor | None, k: int
    ) -> tuple[tuple[Site, ...], Tensor]:
        """Draws K samples of q(z|x): the sites, and the code for the decoder, ``[K, B, ...]``.

        Features may come in a lower precision; bring those that are used to fp32.
        """

    def posterior_mean(self, features: tuple[Tensor, ...], context: Tensor | None, mask: Tensor | None) -> Tensor:
        """The means of q(z|x), ``[B, D]``; several sites stand side by side, each given a sample of those above."""
        sites, _ = self.infer(features, context, mask, 1)
        return torch.cat([site.q.mean.expand(site.z.shape[1:]).flatten(1) for site in sites], -1)

    @abstractmethod
    def generate(self, n: int, context: Tensor | None, loop: Loop | None = None) -> Tensor:
        """Draws n codes from the prior, ``[n, ...]``; sequences of ``loop.steps`` where it is ``stepwise``."""

    def code(self, z: Tensor, context: Tensor | None = None, loop: Loop | None = None) -> Tensor:
        """The code for chosen latent vectors ``z`` ``[n, D]``; raises where one vector does not decide it."""
        raise NotImplementedError(f"{type(self).__name__} has no code for a single latent vector")


class Decoder(nn.Module, ABC):
    """Code to likelihood parameters. Wiring: ``in_shape`` of one code, ``out_shape`` of one output."""

    @abstractmethod
    def forward(self, code: Tensor) -> Tensor:
        """From ``[N, *in_shape]`` to ``[N, *out_shape]``."""


class Conditioner(nn.Module, ABC):
    """A raw condition (label, attributes, image) to a context. Wiring: ``data``, a DataSpec."""

    @abstractmethod
    def forward(self, condition: Tensor) -> Tensor:
        """From conditions ``[B, ...]`` to contexts: vectors ``[B, E]`` or feature maps ``[B, E, H, W]``."""

    def absent(self, n: int) -> Tensor:
        """The contexts of n examples without a condition, for a model that was trained to do without.

        Raises:
            ValueError: it was not.
        """
        raise ValueError("this model is conditional: give a condition")


class Objective(nn.Module, ABC):
    """A trace to a loss. Wiring: none."""

    num_samples: int = 1
    """How many posterior samples K the trace must hold."""

    alone: bool = False
    """Whether it rescales the gradients of latents, and a regularizer's with them: then none may stand beside it."""

    listens: ClassVar[bool] = False
    """Whether ``observe`` does anything."""

    counts_rate: ClassVar[bool] = False
    """Whether the rate is already in the loss; the composer then refuses a regularizer that ``adds_rate``."""

    @abstractmethod
    def forward(self, trace: Trace) -> Tensor:
        """The loss of each example, ``[B]``, in nats."""

    def bound(self, trace: Trace) -> Tensor:
        """The bound on log p(x) that it optimises, ``[B]``: the ELBO, unless it knows a tighter one."""
        return -(trace.mean_distortion + trace.mean_rate)

    def observe(self, terms: Terms) -> None:
        """Hears the scalar terms of each step, still on the device; for objectives that tune themselves."""
        return

    def weights(self) -> Mapping[str, float | Tensor]:
        """The weights inside it that move, by name, for the log."""
        return {}


class Regularizer(nn.Module, ABC):
    """A trace to a penalty; may own a second player. Wiring: ``facts``, a Facts.

    Requirements: ``__init__`` calls ``super().__init__(weight)``.
    """

    adds_rate: ClassVar[bool] = False
    """Whether the penalty contains the rate."""

    judges: ClassVar[bool] = False
    """Whether it can ``score`` latents."""

    def __init__(self, weight: float | Schedule) -> None:
        super().__init__()
        self.weight = weight

    def weight_at(self, step: int) -> float | Tensor:
        """The weight at an optimizer step, counted from 0; asked for once before each."""
        return self.weight(step) if isinstance(self.weight, Schedule) else self.weight

    @abstractmethod
    def forward(self, trace: Trace) -> Tensor:
        """The unweighted penalty of each example, ``[B]``, in nats."""

    def score(self, trace: Trace) -> Tensor:
        """How unlike draws of the prior the latents of each example look to its player, ``[B]``, if it judges."""
        raise NotImplementedError(f"{type(self).__name__} judges no latents")

    def phases(self, model: Model) -> Sequence[Phase]:
        """Moves beside the model's own, such as a critic's.

        A critic's loss must not train the model: take its latents from ``model.observe``, which infers without
        gradients, skips the decoder and leaves buffers as they were.
        """
        return ()


class Schedule(nn.Module, ABC):
    """A weight over time. Wiring: none. State that must survive a resume belongs in buffers."""

    listens: ClassVar[bool] = False
    """Whether ``observe`` does anything."""

    @abstractmethod
    def forward(self, step: int) -> float | Tensor:
        """The weight at an optimizer step, counted from 0."""

    def observe(self, terms: Terms) -> None:
        """Hears the scalar terms of each step, still on the device; for schedules that tune themselves."""
        return


class Metric(ABC):
    """Measures a model on data. Wiring: none."""

    @abstractmethod
    def __call__(self, model: Model, data: Loader) -> Mapping[str, Estimate]:
        """Named numbers with their uncertainty. Runs without gradients, the model in evaluation mode, and every
        random draw seeded, so that two calls agree."""


class Callback(ABC):
    """Tells the world about a run. Wiring: ``directory``, the run's own. It runs on the main process only."""

    def start(self, step: int) -> None:
        """Training begins after this step: what was told of later ones will be told again."""
        return

    @abstractmethod
    def log(self, record: Mapping[str, Any]) -> None:
        """Hears each record of ``metrics.jsonl``."""

    def close(self) -> None:
        """The run has ended, well or badly."""
        return


class Format(ABC):
    """Files of examples; a format's name is the ending of its files. Wiring: ``data``, a DataSpec.

    Examples are in the units of the source: what the data set took away is added again. A constructor raises
    ValueError for data that such files cannot hold.
    """

    single: ClassVar[bool] = False
    """Whether a file holds one example, so that several are written to as many files."""

    def __init__(self, data: DataSpec, /) -> None:
        self.data = data

    @abstractmethod
    def write(self, path: Path, examples: Batch, columns: int) -> None:
        """Writes examples, sequences without the steps that their mask hides, on a sheet with so many in a row."""

    def read(self, path: Path) -> Batch:
        """Reads examples.

        Raises:
            NotImplementedError: the format is for writing only.
            vaezoo.errors.DataError: the file is malformed; names the file and row.
        """
        raise NotImplementedError("is for writing only")

    def read_beginnings(self, path: Path) -> Batch:
        """Reads the beginnings of examples, of which a model makes more; raises as ``read``."""
        return self.read(path)


KINDS: Mapping[str, type] = dict(
    zip(
        KIND_NAMES,
        (
            Dataset,
            Encoder,
            Posterior,
            Prior,
            Latents,
            Decoder,
            Likelihood,
            Conditioner,
            Objective,
            Regularizer,
            Schedule,
            Metric,
            Callback,
            Format,
        ),
        strict=True,
    )
)
"""The abstract class of each kind."""
