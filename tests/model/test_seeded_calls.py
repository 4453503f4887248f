"""Calls with a seed give the same result from several threads, and leave global states alone."""

from __future__ import annotations

import threading

import pytest
import torch

from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec


def compose(seed):
    mlp = {"type": "mlp", "hidden": [8]}
    spec = {
        "spec": "vaezoo/v2",
        "name": "tiny",
        "seed": seed,
        "data": "digits",
        "model": {"latent_dim": 2, "encoder": mlp, "decoder": mlp, "likelihood": "bernoulli"},
    }
    return prepare_training(load_spec(spec), torch.device("cpu"))[2][0].model


CALLS = {
    "sample": lambda model, seed: model.sample(40, seed=seed, mean=False),
    "initial weights": lambda model, seed: compose(seed).sample(9, seed=0),
}


@pytest.fixture(scope="module")
def model():
    return compose(0)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_seeded_call_is_repeatable_while_other_threads_draw(call, model):
    """Two threads make seeded calls, while this one draws without a seed all the time."""
    expected = {seed: call(model, seed) for seed in (1, 2)}
    results, turns = {1: [], 2: []}, threading.Barrier(2)

    def repeat(seed):
        turns.wait()
        for _ in range(8):
            results[seed].append(call(model, seed))

    threads = [threading.Thread(target=repeat, args=(seed,)) for seed in results]
    with torch.random.fork_rng():
        torch.manual_seed(5)
        state = torch.get_rng_state()
        for thread in threads:
            thread.start()
        count = 0
        while any(thread.is_alive() for thread in threads):
            torch.rand(1)
            count += 1
        for thread in threads:
            thread.join()
        after = torch.get_rng_state()
        torch.set_rng_state(state)
        for _ in range(count):
            torch.rand(1)
        assert torch.equal(after, torch.get_rng_state()), "a seeded call changed the global state"
    for seed, repeated in results.items():
        for result in repeated:  # up to rounding, which the matrix products of threads differ in
            torch.testing.assert_close(result, expected[seed], rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", ["a", 1.5, torch.tensor([1, 2])])
def test_a_seed_is_an_integer(seed, model):
    with pytest.raises(TypeError):
        model.sample(2, seed=seed)
