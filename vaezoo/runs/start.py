"""Starts and resumes runs: training, evaluation and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from vaezoo.components.callbacks import Callback
from vaezoo.runs.directory import RunDirectory
from vaezoo.runs.finding import find_run
from vaezoo.runs.init import load_init
from vaezoo.runs.log import PrintLine
from vaezoo.runs.process_classes import check_registered
from vaezoo.runs.processes import work_together
from vaezoo.runs.recorded_spec import (
    NO_CHANGES,
    load_recorded_spec,
    spec_changes,
)
from vaezoo.runs.resume_hint import name_resume_command
from vaezoo.runs.run import Run
from vaezoo.runs.setup import prepare_current_process
from vaezoo.runs.training import Training
from vaezoo.spec.dump import dump
from vaezoo.spec.load import load_spec, load_spec_for_data
from vaezoo.spec.spec import Spec
from vaezoo.utils.errors import UsageError
from vaezoo.utils.files import write_text
from vaezoo.utils.process_group import ProcessGroup


def run(
    spec: str | Path | Mapping[str, Any] | Spec,
    overrides: Sequence[str] = (),
    *,
    data: Any = None,
    out: str | Path = "runs",
    evaluation_split: str = "test",
    callbacks: Sequence[Callback] = (),
    print_line: PrintLine = lambda line: None,
) -> Run:
    """Trains and evaluates the model that a spec describes, and writes a report.

    Args:
        spec: the path of a spec file, a mapping, or a loaded Spec (then without ``overrides``).
        overrides: changes of the spec as ``key.path=value``, such as ``train.epochs=3``.
        data: the examples, in place of a data set that the spec names: a numpy array ``[n, ...]``
            or a torch tensor, a pair ``(x, y)`` of these, a ``vaezoo.Batch``, a data frame, or a
            map-style data set of torch with the items ``x`` or ``(x, y)``. The block ``data`` of
            the spec may then be left out, or be of the type ``memory``; ``vaezoo show dataset
            memory`` lists its options.
        out: the folder in which the run's directory ``<name>/<time>`` is created.
        evaluation_split: ``test``, or ``validation`` for a run that a setting is chosen by: it is
            evaluated on the validation split, in ``evaluation-validation.json``, and test examples
            are neither measured nor drawn.
        callbacks: receive every record, in addition to the callbacks of the spec, and are closed
            when training ends, successfully or not.
        print_line: is called with one line of text at each stage of the run.

    Returns:
        The finished run with its trained model.

    Raises:
        VaezooError: the spec, the data or the training is faulty; a subclass names the kind.

    Example:
        >>> import vaezoo
        >>> mlp = {"type": "mlp", "hidden": [16]}
        >>> run = vaezoo.run(
        ...     {
        ...         "spec": "vaezoo/v2",
        ...         "name": "tiny",
        ...         "data": {"type": "digits", "batch_size": 128},
        ...         "model": {
        ...             "latent_dim": 2, "encoder": mlp, "decoder": mlp, "likelihood": "bernoulli"
        ...         },
        ...         "train": {"steps": 5},
        ...         "evaluate": ["elbo"],
        ...     }
        ... )
        >>> run.model.sample(16).shape
        torch.Size([16, 1, 8, 8])
        >>> run.evaluation["metrics"]["elbo"]["examples"]
        270
        >>> (run.path / "report.html").is_file()
        True

        Data may be given in place of a data set that the spec names:

        >>> import numpy as np
        >>> images = np.random.default_rng(0).integers(0, 256, (500, 1, 8, 8))
        >>> labels = np.arange(500) % 10
        >>> run = vaezoo.run(
        ...     {
        ...         "spec": "vaezoo/v2",
        ...         "name": "tiny",
        ...         "model": {
        ...             "latent_dim": 2, "encoder": mlp, "decoder": mlp, "likelihood": "bernoulli"
        ...         },
        ...         "train": {"steps": 5},
        ...     },
        ...     data=(images, labels),
        ... )
        >>> len(run.data("train")), run.model.data.support, run.model.data.classes[:2]
        (400, 'unit', ('0', '1'))
    """
    if isinstance(spec, Spec) and overrides:
        raise UsageError(
            "overrides need a spec that is a path or a mapping: a loaded Spec cannot be changed"
        )
    if evaluation_split not in ("test", "validation"):
        raise UsageError(f"evaluation_split {evaluation_split!r}: must be test or validation")
    with work_together() as process_group:
        if not isinstance(spec, Spec):
            spec = (load_spec if data is None else load_spec_for_data)(spec, overrides)
        prepared = prepare_current_process(spec, data)  # finds faults before anything is written
        init = load_init(spec, prepared[2][0].model)  # so does this
        with ExitStack() as stack:
            training = Training(
                _create_directory(Path(out), spec, process_group, stack),
                spec,
                *prepared,
                process_group=process_group,
                evaluation_split=evaluation_split,
                callbacks=callbacks,
                print_line=print_line,
            )
            return training.run(init)


def resume(
    path: str | Path,
    overrides: Sequence[str] = (),
    *,
    data: Any = None,
    callbacks: Sequence[Callback] = (),
    print_line: PrintLine = lambda line: None,
) -> Run:
    """Resumes a run from its last checkpoint.

    On the CPU the result is bit-identical to that of a run that was not interrupted.

    Args:
        path: the run's directory; or ``latest``, ``NAME/latest``, or the beginning of the path or
            the time of one run below ``runs``.
        overrides: changes of the spec as ``key.path=value``, such as ``train.epochs=40``. The run
            records them. They may concern what no past training step depends on: the length of
            training, paths of the data, the device, and others that the error message lists.
        data: the data that the run is trained on, if ``vaezoo.run`` was given it as ``data=``.
        callbacks: receive every record, in addition to the callbacks of the spec, and are closed
            when training ends, successfully or not.
        print_line: is called with one line of text at each stage of the run.

    Raises:
        UsageError: there is no run at ``path``, another process is using it, its data was given
            in Python, and now is not, or training depends on what an override changes.
        PluginError: it uses classes that the process that trained it had registered.
        IntegrityError: every checkpoint is damaged, the data is not that of the run, or
            ``spec.yaml`` was changed.

    Example:
        >>> import vaezoo
        >>> mlp = {"type": "mlp", "hidden": [16]}
        >>> run = vaezoo.run(
        ...     {
        ...         "spec": "vaezoo/v2",
        ...         "name": "tiny",
        ...         "data": {"type": "digits", "batch_size": 128},
        ...         "model": {
        ...             "latent_dim": 2, "encoder": mlp, "decoder": mlp, "likelihood": "bernoulli"
        ...         },
        ...         "train": {"steps": 5},
        ...         "evaluate": ["elbo"],
        ...     }
        ... )
        >>> resumed = vaezoo.resume(run.path)
        >>> resumed.evaluation == run.evaluation
        True
    """
    with work_together() as process_group:
        directory = RunDirectory.open(find_run(path))
        check_registered(directory)
        spec = load_recorded_spec(directory, overrides)
        changes = spec_changes(directory, spec) if overrides else NO_CHANGES
        with name_resume_command(directory, spec):
            training = Training(
                directory,
                spec,
                *prepare_current_process(spec, data, directory.path),
                process_group=process_group,
                evaluation_split=directory.read_environment().get("evaluation_split", "test"),
                callbacks=callbacks,
                print_line=print_line,
            )
            return training.run(changes=changes)


def _create_directory(
    out: Path, spec: Spec, process_group: ProcessGroup, stack: ExitStack
) -> RunDirectory:
    """Creates the run's directory in the main process, and names it to the others.

    From then on, until ``stack`` ends, an interruption says how to resume the run.
    """
    path = ""
    if process_group.is_main:
        directory = RunDirectory.create(out, spec.name)
        stack.enter_context(name_resume_command(directory, spec))
        write_text(directory.spec, dump(spec.resolved()))
        path = str(directory.path)
    directory = RunDirectory(Path(process_group.broadcast_text(path)))
    if not process_group.is_main:
        stack.enter_context(name_resume_command(directory, spec))
    return directory
