"""Encoder and decoder for runtimes that know nothing of vaezoo."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.data.batch import Batch
from vaezoo.model.model import Model
from vaezoo.utils.errors import UnavailableError, UsageError, VaezooError
from vaezoo.utils.files import atomic_write
from vaezoo.utils.seeds import seeded

TOLERANCE = 1e-4
_ENDINGS = {"onnx": ".onnx", "torch-export": ".pt2"}


class _Encoder(nn.Module):
    """From data, and a condition where there is one, to the mean of q(z|x), ``[B, D]``."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        context = self.model.context(condition, x.shape[0])  # len() of either would fix the size of a batch
        features = self.model.features(Batch(x, condition), context)
        return self.model.latents.posterior_mean(features, self.model.prior_context(context), None)


class _Decoder(nn.Module):
    """From latent vectors, and a condition where there is one, to the mean of p(x|z)."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        context = self.model.context(condition, z.shape[0])
        code = self.model.latents.code(z, self.model.prior_context(context))
        return self.model.likelihood_of(code, context).mean


def export(model: Model, form: str, out: Path) -> list[tuple[Path, float]]:
    """Writes ``encoder`` and ``decoder`` to a folder, each taking batches of any size, and runs what it wrote.

    Args:
        model: on the CPU.
        form: ``onnx``, run again by onnxruntime; or ``torch-export``.
        out: the folder.

    Returns:
        Each file with its largest difference from the model itself, on a batch of another size.

    Raises:
        UsageError: the model makes sequences step by step, or its code is not one vector.
        UnavailableError: the extra ``vaezoo[export]`` is missing.
        VaezooError: what was written does not compute the same to 1e-4.
    """
    if model.latents.stepwise:
        raise UsageError("only models of whole examples are exported, not those that generate step by step")
    model.eval()
    parts = (("encoder", _Encoder(model), _data(model)), ("decoder", _Decoder(model), _codes(model)))
    written = []
    try:
        with ExitStack() as whole, torch.no_grad(), warnings.catch_warnings():  # both files or none
            warnings.simplefilter("ignore")  # the exporters' own deprecations
            for name, module, inputs in parts:
                path = out / f"{name}{_ENDINGS[form]}"
                temporary = whole.enter_context(atomic_write(path))
                difference = _difference(_WRITERS[form](module.eval(), inputs(2), temporary), module, inputs(5))
                if not difference <= TOLERANCE:  # NaN, too
                    raise VaezooError(f"{path}: differs from the model by {difference:.1e}, more than {TOLERANCE:g}")
                written.append((path, difference))
    except NotImplementedError as error:
        raise UsageError(f"this model cannot be exported: {error}") from error
    return written


Inputs = Callable[[int], tuple[Tensor, ...]]
Runner = Callable[[tuple[Tensor, ...]], Tensor]


def _difference(run: Runner, module: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    return float((run(inputs) - module(*inputs)).abs().max())


def _conditions(model: Model, n: int) -> tuple[Tensor, ...]:
    """Some conditions, where the model takes any."""
    shape = model.data.condition_shape
    if model.conditioner is None or shape is None:
        return ()
    if shape == ():
        return (torch.arange(n) % len(model.data.classes or (0,)),)
    return (torch.zeros(n, *shape),)


def _data(model: Model) -> Inputs:
    def inputs(n: int) -> tuple[Tensor, ...]:
        with seeded(torch.device("cpu"), n, "export"):
            return (torch.rand(n, *model.data.shape).round(), *_conditions(model, n))

    return inputs


def _codes(model: Model) -> Inputs:
    def inputs(n: int) -> tuple[Tensor, ...]:
        x, *condition = _data(model)(n)
        return (model.posterior_mean(Batch(x, *condition)), *condition)

    return inputs


def _dynamic(inputs: tuple[Tensor, ...]) -> tuple[Any, ...]:
    batch = torch.export.Dim("batch", min=1)
    return tuple({0: batch} for _ in inputs)


def _write_onnx(module: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> Runner:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise UnavailableError("needs onnx, onnxscript and onnxruntime; pip install 'vaezoo[export]'") from error
    program = torch.onnx.export(module, inputs, dynamic_shapes=_dynamic(inputs), dynamo=True, verbose=False)
    assert program is not None, "the exporter returns what it made"
    program.save(path, external_data=False)
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    return lambda given: torch.from_numpy(
        session.run(None, {name: value.numpy() for name, value in zip(names, given, strict=True)})[0]
    )


def _write_torch(module: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> Runner:
    program = torch.export.export(module, inputs, dynamic_shapes=_dynamic(inputs))
    torch.export.save(program, path)
    again = torch.export.load(path).module()
    return lambda given: again(*given)


_WRITERS = {"onnx": _write_onnx, "torch-export": _write_torch}
