"""Priors p(z) that do not depend on a context."""

from __future__ import annotations

import warnings
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.distributions import (
    Categorical,
    Distribution,
    MixtureSameFamily,
    MultivariateNormal,
)

from vaezoo import distributions
from vaezoo.model.defaults import BeforeV2
from vaezoo.model.parts import Prior
from vaezoo.model.protocol import GenerativeModel
from vaezoo.model.wiring import PriorWiring


class StandardNormal(Prior):
    """N(0, I)."""

    zero: Tensor

    def __init__(self, wiring: PriorWiring, /) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(wiring.space.shape), persistent=False)

    def forward(self, context: Tensor | None, model: GenerativeModel) -> Distribution:
        """The same N(0, I) for every context, with batch shape ``[]``."""
        return distributions.UnitNormal(self.zero)


class Mixture(Prior):
    """A mixture of diagonal normals with learned weights, means and scales.

    Its KL has no closed form and is estimated from samples.

    Args:
        components: the number of normals.
        spread: the standard deviation of the initial means.
        minimum, maximum: the limits of log sigma, as in the posterior ``diagonal-normal``, so that
            no normal collapses onto one code; null, as in v1 specs, sets no limit.
    """

    def __init__(
        self,
        wiring: PriorWiring,
        /,
        *,
        components: Annotated[int, Gt(0)] = 10,
        spread: Annotated[float, Gt(0)] = 1.0,
        minimum: Annotated[float | None, BeforeV2(None)] = -5.0,
        maximum: Annotated[float | None, BeforeV2(None)] = 20.0,
    ) -> None:
        super().__init__()
        latent_dim = _vector_size(wiring)
        self.limit = distributions.LogScaleLimits(minimum, maximum)
        self.logits = nn.Parameter(torch.zeros(components))
        self.mean = nn.Parameter(spread * torch.randn(components, latent_dim))
        self.log_scale = nn.Parameter(torch.zeros(components, latent_dim))

    def forward(self, context: Tensor | None, model: GenerativeModel) -> Distribution:
        """The same mixture for every context, with batch shape ``[]``."""
        log_scale = self.limit(self.log_scale)
        return distributions.NormalMixture(self.logits, self.mean, log_scale)


class GaussianMixture(Prior):
    """A mixture of normals that is fitted to codes after training, for use as a sampler.

    Ex-post density estimation (Ghosh et al. 2020, "From Variational to Deterministic
    Autoencoders"), by the EM algorithm of scikit-learn. Before it is fitted it is N(0, I).
    Log-densities are exact and in nats.

    Args:
        components: the number of normals.
        covariance: whether the dimensions of a normal are correlated (``full``) or not
            (``diagonal``), which takes fewer codes to fit.
        seed: of the first assignment of codes to normals; with equal codes it gives equal bits.
        max_iterations: the largest number of EM iterations. A warning says if it was too small.
        regularization: added to each variance, so that no normal collapses onto one code.
    """

    logits: Tensor
    mean: Tensor
    log_scale: Tensor
    scale_tril: Tensor

    def __init__(
        self,
        wiring: PriorWiring,
        /,
        *,
        components: Annotated[int, Gt(0)] = 10,
        covariance: Literal["full", "diagonal"] = "full",
        seed: Annotated[int, Ge(0), Lt(2**32)] = 0,
        max_iterations: Annotated[int, Gt(0)] = 200,
        regularization: Annotated[float, Ge(0)] = 1e-6,
    ) -> None:
        super().__init__()
        latent_dim = _vector_size(wiring)
        if components > wiring.train_size:
            raise ValueError(
                f"{components} components need as many training examples, not {wiring.train_size}"
            )
        self.components, self.covariance, self.seed = components, covariance, seed
        self.max_iterations, self.regularization = max_iterations, regularization
        self.register_buffer("logits", torch.zeros(components))
        self.register_buffer("mean", torch.zeros(components, latent_dim))
        if covariance == "full":
            identity = torch.eye(latent_dim).repeat(components, 1, 1)  # [C, D, D]
            self.register_buffer("scale_tril", identity)
        else:
            self.register_buffer("log_scale", torch.zeros(components, latent_dim))

    def fit(self, codes: Tensor, context: Tensor | None) -> None:
        """Fits the mixture by maximum likelihood.

        Args:
            codes: ``[n, D]``, on any device.
            context: not used.

        Raises:
            ValueError: the codes are fewer than the components or not finite, or a covariance is
                singular.
        """
        if len(codes) < max(self.components, 2):
            raise ValueError(
                f"{self.components} components need at least {max(self.components, 2)} codes, "
                f"not {len(codes)}; lower components"
            )
        if not bool(codes.isfinite().all()):
            raise ValueError("the codes are not finite, so no mixture can be fitted to them")
        mixture = self._fit_mixture(codes.detach().cpu().double().numpy())
        self.logits.copy_(torch.from_numpy(mixture.weights_).log())
        self.mean.copy_(torch.from_numpy(mixture.means_))
        covariances = torch.from_numpy(mixture.covariances_)  # [C, D, D] or [C, D]
        if self.covariance == "full":
            self.scale_tril.copy_(torch.linalg.cholesky(covariances))
        else:
            self.log_scale.copy_(0.5 * covariances.log())

    def _fit_mixture(self, codes: Any) -> Any:
        """scikit-learn's mixture, fitted to an fp64 array ``[n, D]``."""
        from sklearn import mixture as sklearn_mixture
        from sklearn.exceptions import ConvergenceWarning

        mixture = sklearn_mixture.GaussianMixture(
            self.components,
            covariance_type="full" if self.covariance == "full" else "diag",
            max_iter=self.max_iterations,
            reg_covar=self.regularization,
            random_state=self.seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            try:
                mixture.fit(codes)
            except ValueError as error:
                raise ValueError(
                    "a covariance is singular; raise regularization or lower components"
                ) from error
        if not mixture.converged_:
            warnings.warn(
                f"the mixture did not converge in {self.max_iterations} iterations; "
                "raise max_iterations",
                stacklevel=3,
            )
        return mixture

    def forward(self, context: Tensor | None, model: GenerativeModel) -> Distribution:
        """The same mixture for every context, with batch shape ``[]``."""
        normals: Distribution
        if self.covariance == "full":
            normals = MultivariateNormal(
                self.mean, scale_tril=self.scale_tril, validate_args=False
            )
        else:
            normals = distributions.DiagonalNormal(self.mean, self.log_scale)
        weights = Categorical(logits=self.logits, validate_args=False)
        return MixtureSameFamily(weights, normals, validate_args=False)


def _vector_size(wiring: PriorWiring) -> int:
    """D of latent vectors ``[D]``."""
    if len(wiring.space.shape) != 1:
        raise ValueError(f"needs latent vectors, not maps of shape {wiring.space.shape}")
    return wiring.space.shape[0]
