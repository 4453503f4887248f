"""Good specs of tiny models, with tiny data, that fuzzers change."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

HEAD = {"spec": "vaezoo/v2", "name": "fuzz"}
MLP = {"type": "mlp", "hidden": [4]}
STEPS = {"steps": 2, "device": "cpu"}


def write_data(folder: Path) -> None:
    """Writes the files that the bases read."""
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    x = (rng.random((24, 1, 8, 8)) < 0.5).astype(np.float32)
    np.savez(buffer, x=x, condition=np.arange(24) % 3)
    (folder / "images.npz").write_bytes(buffer.getvalue())
    rows = [f"{i / 7:.3f},{'rgb'[i % 3]},{i % 2}" for i in range(24)]
    (folder / "table.csv").write_text("\n".join(["size,colour,flag", *rows, ""]))
    (folder / "lines.txt").write_text("".join(f"{i}ab{'c' * (i % 3)}\n" for i in range(24)))


def _npz(folder: Path, **other: Any) -> dict[str, Any]:
    return {"type": "npz", "path": str(folder / "images.npz"), "batch_size": 8, **other}


def bases(folder: Path) -> list[dict[str, Any]]:
    """The specs as trees."""
    model = {"latent_dim": 2, "encoder": MLP, "decoder": MLP, "likelihood": "bernoulli"}
    table = {"type": "table", "path": str(folder / "table.csv"), "batch_size": 8}
    text = {"type": "text", "path": str(folder / "lines.txt"), "batch_size": 8}
    return [
        {
            **HEAD,
            "seed": 3,
            "requires": ["vaezoo>=0.1", "vaezoo-beta"],
            "vars": {"d": 2, "h": [4]},
            "data": _npz(folder, split_seed=1, fractions=[0.5, 0.25, 0.25]),
            "model": {
                "latent_dim": "${vars.d}",
                "encoder": {"type": "mlp", "hidden": "${vars.h}", "activation": "relu"},
                "prior": {"type": "mixture", "components": 3},
                "decoder": MLP,
                "likelihood": "continuous-bernoulli",
            },
            "objective": {"type": "reconstruction", "samples": 2},
            "regularizers": [
                {"type": "kl", "weight": {"type": "linear", "start": 0.0, "end": 1.0, "steps": 9}},
                {"type": "vaezoo-beta:dip", "lambda_d": 1.0},
            ],
            "train": {
                **STEPS,
                "optimizer": {"type": "adam", "lr": 0.001, "betas": [0.9, 0.99]},
                "scheduler": {"type": "cosine-annealing", "eta_min": 0.0001},
                "warmup": 1,
                "clip": 1.0,
                "ema": 0.9,
                "accumulate": 1,
                "callbacks": ["csv"],
            },
            "evaluate": ["elbo", {"type": "nll", "samples": 5, "limit": 4}],
        },
        {
            **HEAD,
            "data": _npz(folder, class_sampling="balanced", hide_labels=0.5, omit=["2"]),
            "model": {
                **model,
                "prior": "conditional-normal",
                "condition": {"type": "label", "into": ["encoder", "prior"], "fuse": "film",
                              "dropout": 0.1},
            },
            "train": STEPS,
        },
        {
            **HEAD,
            "data": _npz(folder),
            "model": {
                **model,
                "encoder": {"type": "conv", "channels": [4, 4]},
                "decoder": {"type": "conv", "channels": [4, 4]},
                "likelihood": {"type": "discretized-logistic"},
            },
            "objective": {"type": "iwae", "samples": 3, "gradient": "dreg"},
            "train": {**STEPS, "early_stopping": 2, "select": "last", "precision": "fp32"},
        },
        {
            **HEAD,
            "data": _npz(folder),
            "model": model,
            "samplers": {
                "m": {"type": "mixture", "components": 3},
                "g": {"type": "gaussian-mixture", "components": 2},
            },
            "train": STEPS,
            "stages": [
                {"name": "one", "steps": 2, "regularizers": ["kl"]},
                {"name": "two", "from": "last", "sampler": "m", "objective": "prior-nll",
                 "epochs": 1, "optimizer": {"type": "sgd", "lr": 0.01}},
            ],
        },
        {
            **HEAD,
            "data": table,
            "model": {**model, "encoder": "table", "likelihood": "table"},
            "regularizers": [{"type": "adversarial", "weight": 0.1}],
            "train": STEPS,
        },
        {
            **HEAD,
            "data": {**text, "max_length": 8, "unit": "characters"},
            "model": {
                "latent_dim": 2,
                "encoder": {"type": "recurrent", "units": 4},
                "latents": {"type": "recurrent", "units": 4},
                "decoder": {"type": "steps", "hidden": [4]},
                "likelihood": "categorical",
            },
            "objective": "reconstruction",
            "regularizers": [{"type": "free-bits", "nats": 0.1}],
            "train": STEPS,
        },
    ]  # fmt: skip
