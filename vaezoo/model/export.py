"""Exports encoder and decoder as programs that run without vaezoo: ONNX or torch.export.

Shapes: B examples, D latent dimensions.
"""

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
"""The largest absolute difference allowed between the outputs of the model and of its export."""
_SUFFIXES = {"onnx": ".onnx", "torch-export": ".pt2"}

Inputs = Callable[[int], tuple[Tensor, ...]]
"""Makes the inputs of a program for a batch of n examples."""
Runner = Callable[[tuple[Tensor, ...]], Tensor]
"""Runs an exported program on its inputs."""


class _Encoder(nn.Module):
    """Maps data, and a condition for a conditional model, to the mean of q(z|x), ``[B, D]``."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.model.posterior_mean(Batch(x, condition))


class _Decoder(nn.Module):
    """Maps latent vectors, and a condition for a conditional model, to the mean of p(x|z)."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        # z.shape[0], because len(z) would fix the batch size in the exported program
        context = self.model.context(condition, z.shape[0])
        code = self.model.latents.code(z, self.model.start_generation(z.shape[0], context))
        return self.model.likelihood_of(code, context, None).mean


def export(model: Model, file_format: str, out: Path) -> list[tuple[Path, float]]:
    """Writes ``encoder`` and ``decoder`` to a folder and compares their outputs with the model's.

    Both programs accept batches of any size. The decoder computes with typical extras.

    Args:
        model: on the CPU.
        file_format: ``onnx``, checked with onnxruntime; or ``torch-export``.
        out: the folder.

    Returns:
        Each file with its largest absolute difference from the model, on a batch of a size that
        was not used for tracing.

    Raises:
        UsageError: the model generates step by step, differentiates within a pass, or has data of
            several parts; its code is not determined by one vector, or its posterior mean by the
            data.
        UnavailableError: the extra ``vaezoo[export]`` is not installed.
        VaezooError: an output differs by more than ``TOLERANCE``.
    """
    if model.latents.stepwise:
        raise UsageError("models that generate sequences step by step cannot be exported")
    if model.data.parts:
        raise UsageError("models of data of several parts cannot be exported")
    if model.eager:
        raise UsageError("models that differentiate within a pass cannot be exported")
    model.eval()
    programs = (
        ("encoder", _Encoder(model), _encoder_inputs(model)),
        ("decoder", _Decoder(model), _decoder_inputs(model)),
    )
    written = []
    try:
        # the stack keeps both temporary files until both programs are checked
        with ExitStack() as stack, torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecation warnings inside the exporters
            for name, module, inputs in programs:
                if not torch.equal(module.eval()(*inputs(2)), module(*inputs(2))):
                    raise UsageError(
                        f"the {name} draws random numbers and cannot be exported; its latents "
                        "must define a posterior_mean that does not sample"
                    )
                path = out / f"{name}{_SUFFIXES[file_format]}"
                temporary = stack.enter_context(atomic_write(path))
                run = _WRITERS[file_format](module, inputs(2), temporary)
                difference = _difference(run, module, inputs(5))
                if not difference <= TOLERANCE:  # also true for NaN
                    raise VaezooError(
                        f"{path}: differs from the model by {difference:.1e}, "
                        f"more than {TOLERANCE:g}"
                    )
                written.append((path, difference))
    except NotImplementedError as error:
        raise UsageError(f"this model cannot be exported: {error}") from error
    return written


def _difference(run: Runner, module: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    return float((run(inputs) - module(*inputs)).abs().max())


def _example_conditions(model: Model, n: int) -> tuple[Tensor, ...]:
    """Conditions for n examples, or nothing for an unconditional model."""
    shape = model.data.condition_shape
    if model.conditioner is None or shape is None:
        return ()
    if shape == ():
        return (torch.arange(n) % len(model.data.classes or (0,)),)
    return (torch.zeros(n, *shape),)


def _encoder_inputs(model: Model) -> Inputs:
    def inputs(n: int) -> tuple[Tensor, ...]:
        with seeded(torch.device("cpu"), n, "export"):
            x = torch.rand(n, *model.data.shape).round()
            return (x, *_example_conditions(model, n))

    return inputs


def _decoder_inputs(model: Model) -> Inputs:
    def inputs(n: int) -> tuple[Tensor, ...]:
        x, *condition = _encoder_inputs(model)(n)
        return (model.posterior_mean(Batch(x, *condition)), *condition)

    return inputs


def _dynamic_shapes(inputs: tuple[Tensor, ...]) -> tuple[Any, ...]:
    batch = torch.export.Dim("batch", min=1)
    return tuple({0: batch} for _ in inputs)


def _write_onnx(module: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> Runner:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise UnavailableError(
            "needs onnx, onnxscript and onnxruntime; pip install 'vaezoo[export]'"
        ) from error
    program = torch.onnx.export(
        module, inputs, dynamic_shapes=_dynamic_shapes(inputs), dynamo=True, verbose=False
    )
    assert program is not None, "with dynamo=True the exporter returns a program"
    program.save(path, external_data=False)
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]

    def run(tensors: tuple[Tensor, ...]) -> Tensor:
        arrays = {name: value.numpy() for name, value in zip(names, tensors, strict=True)}
        return torch.from_numpy(session.run(None, arrays)[0])

    return run


def _write_torch(module: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> Runner:
    program = torch.export.export(module, inputs, dynamic_shapes=_dynamic_shapes(inputs))
    torch.export.save(program, path)
    loaded = torch.export.load(path).module()
    return lambda tensors: loaded(*tensors)


_WRITERS = {"onnx": _write_onnx, "torch-export": _write_torch}
