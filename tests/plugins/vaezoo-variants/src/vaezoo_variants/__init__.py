"""Variants of the VAE from the literature, each made of one or two components.

They show what the interfaces of components can express. Each module is one variant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import vaezoo

if TYPE_CHECKING:
    from vaezoo import Register


@vaezoo.hookimpl
def vaezoo_components(register: Register) -> None:
    """Registers the components of this plugin."""
    register("prior", "diffusion", "vaezoo_variants.diffusion:DiffusionPrior")
    register("latents", "ladder", "vaezoo_variants.ladder:Ladder")
    register("latents", "class-and-style", "vaezoo_variants.m2:ClassAndStyle")
    register("latents", "symbol-map", "vaezoo_variants.symbols:SymbolMap")
    register("objective", "m2", "vaezoo_variants.m2:M2")
    register("prior", "uniform-symbols", "vaezoo_variants.symbols:UniformSymbols")
    register("latents", "gumbel-softmax", "vaezoo_variants.gumbel:GumbelSoftmax")
    register("prior", "uniform-classes", "vaezoo_variants.gumbel:UniformClasses")
    register("latents", "vector-quantized", "vaezoo_variants.vq:VectorQuantized")
    register("regularizer", "commitment", "vaezoo_variants.vq:Commitment")
    register("prior", "autoregressive", "vaezoo_variants.autoregressive:Autoregressive")
    register("encoder", "parallel", "vaezoo_variants.nested:Parallel")
    register("encoder", "ensemble", "vaezoo_variants.nested:Ensemble")
    register("objective", "vae-gan", "vaezoo_variants.vae_gan:VAEGAN")
    register("likelihood", "negative-binomial", "vaezoo_variants.counts:NegativeBinomialCounts")
    register("likelihood", "poisson", "vaezoo_variants.counts:PoissonCounts")
    register("encoder", "log1p", "vaezoo_variants.counts:Log1p")
    register("likelihood", "columns", "vaezoo_variants.columns:Columns")
    register("dataset", "rows", "vaezoo_variants.rows:Rows")
    register("latents", "product-of-experts", "vaezoo_variants.experts:ProductOfExperts")
    register("objective", "subset-elbo", "vaezoo_variants.experts:SubsetELBO")
