"""Runs in two processes that torchrun started: one model, one directory, and one message."""

from __future__ import annotations

import json

from vaezoo.runs.directory import RunDirectory
from vaezoo.utils.files import read_tensors

FAULTY = """
    import os, signal, sys, time
    from pathlib import Path

    import vaezoo.runs.report.page
    import vaezoo.runs.run
    from vaezoo.cli.main import main
    from vaezoo.model.task import Task

    rank, place = int(os.environ["RANK"]), sys.argv[1]
    Path(f"pid-{rank}").write_text(str(os.getpid()))

    def set_step(task, step, original=Task.set_step):
        if place == "training" and rank == 0 and step == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        if place == "one step" and rank == 1 and step == 13:
            raise ValueError("as planned")
        original(task, step)

    def evaluate(*arguments, **options):
        os.kill(int(Path("pid-1").read_text()), signal.SIGKILL)
        time.sleep(600)

    vaezoo.runs.report.page.write_report = lambda data: None
    Task.set_step = set_step
    if place == "evaluation":
        vaezoo.runs.run.evaluate = evaluate
    main(sys.argv[2:])
"""
COMMAND = """
    import os, sys
    from pathlib import Path

    from vaezoo.cli.main import main

    try:
        main(sys.argv[1:])
    finally:
        Path(f"opened-{os.environ['RANK']}").write_text(str("vaezoo.runs.opening" in sys.modules))
"""
SCRIPT = """
    import json, os
    from pathlib import Path

    import vaezoo
    import vaezoo.runs.report.page

    vaezoo.runs.report.page.write_report = lambda data: None
    rank, found = os.environ["RANK"], []
    for epochs in (1, 2):
        run = vaezoo.run("spec.yaml", [f"train.epochs={epochs}"], print_line=print)
        found.append([str(run.path), run.evaluation, len(run.records)])
    try:
        vaezoo.run("spec.yaml", ["data.path=missing.npz"])
    except vaezoo.DataError as error:
        found.append(str(error))
    Path(f"found-{rank}.json").write_text(json.dumps(found))
"""


def errors(finished):
    """The lines of the errors of a command."""
    return [line for line in finished.stderr.splitlines() if line.startswith("error:")]


def results(path):
    """The weights of a finished run, and its evaluation as text."""
    return read_tensors(path / "model.safetensors")[0], (path / "evaluation.json").read_text()


def test_processes_train_one_model_and_go_on_exactly_after_kills(torchrun, script, tmp_path, same):
    faulty = script(FAULTY)
    done = torchrun(faulty, "nowhere", "run", "spec.yaml", "--out", "whole")
    assert done.returncode == 0, done.stderr
    (whole,) = tmp_path.glob("whole/tiny/*")
    assert done.stdout.count("elbo") == 1 and done.stdout.count("report.html") == 1
    assert done.stderr.count("step 0 of 16") == 1 and done.stderr.count("drawing the report") == 1
    steps = [record["step"] for record in RunDirectory(whole).records()]
    assert steps == [4, 8, 8, 12, 16, 16]

    killed = torchrun(faulty, "training", "run", "spec.yaml", "--out", "parts")
    (path,) = tmp_path.glob("parts/tiny/*")
    relative = path.relative_to(tmp_path)

    def message(rank, step):
        checkpoint = f"{relative}/checkpoint/step-{step:09d}.safetensors"
        return (
            f"error: process {rank} of 2 ended unexpectedly; last good checkpoint: {checkpoint}; "
            f"vaezoo resume {relative}"
        )

    assert errors(killed) == [message(0, 12)]

    killed = torchrun(faulty, "evaluation", "resume", str(relative))
    assert errors(killed) == [message(1, 16)]
    assert not (path / "evaluation.json").exists()

    resumed = torchrun(faulty, "nowhere", "-q", "resume", str(path), "-s", "train.keep=1")
    assert resumed.returncode == 0, resumed.stderr
    assert "keep: 1" in (path / "spec.yaml").read_text()
    (weights, evaluation), (expected, expected_evaluation) = results(path), results(whole)
    same(weights, expected)
    assert evaluation == expected_evaluation
    picture = torchrun(script(COMMAND), "sample", str(path), "--out", "samples.png")
    assert picture.returncode == 0 and picture.stderr.count("wrote samples.png") == 1
    opened = [(tmp_path / f"opened-{rank}").read_text() for rank in (0, 1)]
    assert opened == ["True", "False"] and (tmp_path / "samples.png").is_file()


def test_an_error_of_one_process_ends_both_with_its_message(torchrun, script):
    failed = torchrun(script(FAULTY), "one step", "run", "spec.yaml")
    (line,) = errors(failed)
    assert line.startswith("error: process 1: ValueError: as planned")


def test_an_error_of_all_processes_is_printed_once(torchrun):
    failed = torchrun("-m", "vaezoo", "run", "spec.yaml", "-s", "model.latent_dimm=3")
    (line,) = errors(failed)
    assert "model.latent_dimm: unknown key" in line
    assert failed.stderr.count("exitcode  : 3") == 2


def test_every_process_of_a_script_has_the_results(torchrun, script, tmp_path):
    done = torchrun(script(SCRIPT))
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"found-{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert first[0][1]["metrics"]["elbo"]["examples"] == 120
    assert [records for _, _, records in first[:2]] == [3, 6]
    assert "missing.npz" in first[2]
    assert done.stdout.count("step 0 of") == done.stdout.count("drawing the report") == 2
