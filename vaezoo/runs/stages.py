"""Trains the stages of a run one after the other, and then fits its samplers."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vaezoo.data.loader import Loader
from vaezoo.evaluation.validation import validate
from vaezoo.model.latent_variable_model import NO_PRIOR
from vaezoo.model.model import Model
from vaezoo.model.parts import Prior
from vaezoo.model.task import Task
from vaezoo.runs.log import FileRunLog, NullRunLog, PrintLine
from vaezoo.spec.spec import Spec
from vaezoo.training.state import TrainerState
from vaezoo.training.trainer import Trainer
from vaezoo.utils.errors import TrainingError, UsageError, one_line
from vaezoo.utils.process_group import ProcessGroup
from vaezoo.utils.seeds import seeded


def train_stages(
    spec: Spec,
    tasks: Sequence[Task],
    state: TrainerState | None,
    *,
    train: Loader,
    validation: Loader,
    run_log: FileRunLog | NullRunLog,
    process_group: ProcessGroup,
    print_line: PrintLine,
) -> int:
    """Trains the stages from a checkpoint, or from the start.

    Afterwards the model has the weights that the last stage selects.

    Args:
        spec: the spec of the run.
        tasks: the task of each stage.
        state: the last checkpoint, or None.
        train, validation: the splits.
        run_log: writes records and checkpoints.
        process_group: the processes that train together.
        print_line: is called with one line of text at the beginning of each stage.

    Returns:
        The training step of the weights, counted over all stages.

    Raises:
        UsageError: the checkpoint is of a later step than the last one of the stage.
    """
    model = tasks[0].model
    first, before = (0, 0) if state is None else (state["stage"], state["steps_before"])
    selected = 0
    for stage in spec.stages[first:]:
        later = spec.stages[stage.index + 1 :]
        trainer = Trainer(
            tasks[stage.index],
            train.with_seed(stage.seed),
            stage,
            validate=lambda task: validate(task, validation),
            run_log=run_log,
            process_group=process_group,
            steps_before=before,
            steps_after=sum(other.count_steps(train.steps_per_epoch) for other in later),
        )
        if state is not None and stage.index == state["stage"]:
            trainer.restore(state)
            if trainer.step > trainer.total_steps:
                raise UsageError(
                    f"the run has trained {trainer.step} steps, and the new length is only "
                    f"{trainer.total_steps}; give a greater one, or start a new run"
                )
        if stage.index == first:  # nothing is written before the checkpoint is found to fit
            run_log.start(before + trainer.step)
        name = f"stage {stage.name!r}, " if stage.name else ""
        step, end = before + trainer.step, before + trainer.total_steps
        print_line(f"{name}step {step} of {end} on {train.device}")
        trainer.fit()
        best = not later or later[0].begin_from == "best"
        trainer.load_weights(best=best)
        selected = before + (trainer.selection.best["step"] if best else trainer.step)
        before += trainer.step
    model.precision = "fp32"
    return selected


def fit_samplers(spec: Spec, model: Model, train: Loader, process_group: ProcessGroup) -> None:
    """Fits the samplers that no stage has trained to the latent variables of the training split.

    Raises:
        TrainingError: one cannot be fitted to them.
    """
    names = [
        name
        for name in spec.samplers
        if not any(stage.trains_sampler(name) for stage in spec.stages)
    ]
    if not names:
        return
    if process_group.is_main:
        with seeded(model.device, spec.seed, "samplers"):
            codes, contexts = _training_codes(model, train)
            for name in names:
                sampler = model.samplers[name]
                assert isinstance(sampler, Prior)
                try:
                    with torch.no_grad():
                        sampler.fit(codes, contexts if sampler.conditional else None)
                except (ValueError, RuntimeError) as error:
                    raise TrainingError(f"sampler {name!r}: {one_line(error)}") from error
    process_group.broadcast_module(model.samplers)


def _training_codes(model: Model, train: Loader) -> tuple[torch.Tensor, torch.Tensor | None]:
    """One posterior sample for each training example, with the context of its prior.

    Returns:
        ``[n, *space.shape]``, and ``[n, E]`` or None. Of a variable at every step, n counts the
        steps that exist.
    """
    codes, contexts = [], []
    model.eval()
    with model.inference(), model.use_prior(NO_PRIOR):
        for batch in train.ordered(model.batch_size()):
            inference = model.start_inference(batch)
            (site,) = model.infer(inference).sites
            z, context = site.z[0], inference.prior_context  # [B, ...] or [B, T, ...], [B, E]
            if site.mask is not None:
                if context is not None:
                    context = context[:, None].expand(-1, z.shape[1], -1)[site.mask]
                z = z[site.mask]
            codes.append(z)
            if context is not None:
                contexts.append(context)
    return torch.cat(codes), torch.cat(contexts) if contexts else None
