"""What to tell where training has led to NaN or infinity, and what usually helps."""

from __future__ import annotations

from collections.abc import Sequence

from vaezoo.spec.stage import Stage
from vaezoo.training.phase_optimizer import PhaseOptimizer

BEFORE_TRAINING = "no weight has changed yet: look for extreme values in the data"
"""What helps where the first loss of a run is not finite."""


def describe_divergence(
    what: str,
    optimizers: Sequence[PhaseOptimizer],
    stage: Stage,
    *,
    precision: str,
    epoch: int,
    step: int,
    term: str = "",
) -> str:
    """A value that is not finite, with the conditions of training and what usually helps.

    Args:
        what: what is not finite, and where.
        optimizers: that of each phase, in their order; the model's is the first.
        stage: the stage in which it occurred.
        precision: of the networks.
        epoch: counted from 1.
        step: of the run, counted from 1.
        term: the name in records of a term of the step, which for other phases than the model's
            begins with the name of the phase; empty if the value is none, such as a weight.
    """
    model_optimizer, *others = optimizers
    optimizer = next((o for o in others if term.startswith(f"{o.name}/")), model_optimizer)
    # only the first loss of all is computed before any weight has changed
    is_before = step == 1 and term and optimizer is model_optimizer and optimizer.phase.moves == 1
    rate = float(optimizer.optimizer.param_groups[0]["lr"])
    mixed = "fp32" if precision == "fp32" else f"mixed precision {precision}"
    conditions = f"{what} (epoch {epoch}, learning rate {rate:.3g}, {mixed})"
    remedies = []
    if not is_before:
        own = optimizer.phase.optimization is not None
        remedies.append(
            f"a smaller learning rate of phase {optimizer.name!r}"
            if own
            else f"a smaller {stage.path_of('optimizer.lr')}"
        )
        if optimizer.clip is None and not own:
            remedies.append(f"{stage.path_of('clip')}: 1")
    if precision != "fp32":
        remedies.append("train.precision: fp32")
    if not remedies:
        return f"{conditions}; {BEFORE_TRAINING}"
    return f"{conditions}; what usually helps: {' or '.join(remedies)}"
