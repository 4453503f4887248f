"""Seeded blocks: the numbers of torch's own generator, which they leave alone, in any thread."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn
from torch.distributions import (
    Bernoulli,
    Beta,
    Binomial,
    Categorical,
    Cauchy,
    Dirichlet,
    Exponential,
    Gamma,
    Geometric,
    Laplace,
    MultivariateNormal,
    Normal,
    OneHotCategorical,
    Poisson,
    StudentT,
    VonMises,
)

from vaezoo.utils.seeds import derive_seed, random_state, restored_generators, seeded

CPU, HALF, ONES = torch.device("cpu"), torch.full((40,), 0.5), torch.ones(40)
DRAWS = {
    "normal": Normal(HALF, ONES).sample,
    "rsample": Normal(HALF, ONES).rsample,
    "laplace": Laplace(HALF, ONES).sample,
    "bernoulli": Bernoulli(HALF).sample,
    "categorical": Categorical(HALF).sample,
    "one-hot": OneHotCategorical(HALF).sample,
    "beta": Beta(HALF, ONES).sample,
    "binomial": Binomial(9, HALF).sample,
    "cauchy": Cauchy(HALF, ONES).sample,
    "dirichlet": Dirichlet(ONES).sample,
    "exponential": Exponential(ONES).sample,
    "gamma": Gamma(HALF, ONES).sample,
    "geometric": Geometric(HALF).sample,
    "multivariate": MultivariateNormal(torch.zeros(3), torch.eye(3)).sample,
    "poisson": Poisson(ONES).sample,
    "student": StudentT(ONES).sample,
    "von-mises": VonMises(HALF, ONES).sample,
    "rand": lambda: torch.rand(3, 5),
    "randn": lambda: torch.randn(3, 5, dtype=torch.float64),
    "randint": lambda: torch.randint(2, 9, (20,)),
    "randperm": lambda: torch.randperm(20),
    "rand_like": lambda: torch.rand_like(ONES),
    "randn_like": lambda: torch.randn_like(ONES),
    "randint_like": lambda: torch.randint_like(ONES, 9),
    "multinomial": lambda: torch.multinomial(ONES, 30),
    "gumbel": lambda: nn.functional.gumbel_softmax(ONES),
    "dropout": lambda: nn.functional.dropout(ONES),
    "alpha dropout": lambda: nn.functional.alpha_dropout(ONES),
    "rrelu": lambda: nn.functional.rrelu(-ONES, training=True),
    "lstm dropout": lambda: nn.LSTM(2, 3, 2, dropout=0.5)(torch.ones(4, 2))[0],
    "linear": lambda: nn.Linear(5, 4).weight,
    "conv": lambda: nn.Conv2d(2, 3, 3).weight,
    "orthogonal": lambda: nn.init.orthogonal_(torch.empty(4, 4)),
    "truncated": lambda: nn.init.trunc_normal_(torch.empty(9)),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_block_draws_the_numbers_of_the_global_generator_without_changing_it(draw):
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(derive_seed(3, "draw"))
        expected = [draw() for _ in range(3)]
    before = torch.get_rng_state()
    with seeded(CPU, 3, "draw"), torch.inference_mode():
        drawn = [draw() for _ in range(3)]
    assert torch.equal(before, torch.get_rng_state())
    assert all(map(torch.equal, expected, drawn))


def test_a_block_without_parts_continues_with_the_current_states():
    with seeded(CPU, 1):
        with seeded(CPU):
            first = torch.rand(3)
        assert torch.equal(first, torch.rand(3))
    with torch.random.fork_rng():
        with seeded(CPU):
            first = torch.rand(3)
        assert torch.equal(first, torch.rand(3))


def test_an_inner_block_leaves_the_outer_one_alone():
    with seeded(CPU, 1):
        expected = torch.rand(2), torch.rand(2)
    with seeded(CPU, 1):
        first, state = torch.rand(2), random_state()
        with seeded(CPU, 2):
            torch.rand(5)
        assert torch.equal(state, random_state())
        assert torch.equal(first, expected[0]) and torch.equal(torch.rand(2), expected[1])


@pytest.mark.timeout(60)
@torch.inference_mode()  # in which dropout takes no generator
def test_an_inner_block_draws_also_what_takes_no_generator():
    """Such draws hold a lock, which both blocks would wait for."""
    with seeded(CPU, "inner"):
        alone = DRAWS["dropout"]()
    with seeded(CPU, "outer"):
        before = random_state()
        with seeded(CPU, "inner"):
            assert torch.equal(DRAWS["dropout"](), alone)
        assert torch.equal(random_state(), before)


def test_an_own_generator_of_the_caller_is_used():
    with seeded(CPU, 1):
        drawn = torch.rand(3, generator=torch.Generator().manual_seed(5))
    assert torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(5)))


def test_blocks_in_threads_take_turns_and_change_nothing_of_each_other():
    """Two threads and the global generator draw in turn, one number each."""
    turns, drawn = threading.Barrier(3), {}

    def draw(seed):
        with seeded(CPU, seed):
            drawn[seed] = [(turns.wait(), float(torch.rand(())))[1] for _ in range(20)]

    def alone(seed):
        with seeded(CPU, seed):
            return [float(torch.rand(())) for _ in range(20)]

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in (1, 2)]
    with restored_generators(CPU):
        torch.manual_seed(7)
        for thread in threads:
            thread.start()
        own = [(turns.wait(), float(torch.rand(())))[1] for _ in range(20)]
        for thread in threads:
            thread.join()
        torch.manual_seed(7)
        assert own == [float(torch.rand(())) for _ in range(20)]
    assert drawn == {1: alone(1), 2: alone(2)}
