"""Frozen buffers: what a pass moves is put back, what it does not move is not copied."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils._python_dispatch import TorchDispatchMode

from vaezoo.nn.buffers import FrozenBuffers

RULE = r"update buffers only if self\.training and torch\.is_grad_enabled\(\)"


class Codebook(nn.Module):
    """Follows the rule: it moves its codes in training steps only."""

    def __init__(self):
        super().__init__()
        self.register_buffer("codes", torch.randn(512, 8))

    def forward(self, x):
        if self.training and torch.is_grad_enabled():
            self.codes.mul_(0.9)
        return x + self.codes[:1]


class DataWriter(nn.Module):
    """Writes through ``.data``, which autograd does not count."""

    def __init__(self):
        super().__init__()
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x):
        self.steps.data += 1
        return x + self.steps


class Switched(nn.Module):
    """Moves its buffer only when it is told to."""

    moves = False

    def __init__(self):
        super().__init__()
        self.register_buffer("level", torch.zeros(()))

    def forward(self, x):
        return x + (self.level.add_(1) if self.moves else self.level)


class Assigner(nn.Module):
    """Puts another tensor in place of its buffer, and one where it had none."""

    def __init__(self):
        super().__init__()
        self.register_buffer("level", torch.zeros(()))
        self.register_buffer("first", None)

    def forward(self, x):
        self.level = self.level + 1
        self.first = x[0]
        return x


class Tempered(nn.Module):
    """A 0-dim buffer, which autograd saves for the gradient of a product with it."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8))
        self.register_buffer("value", torch.tensor(0.7))

    def forward(self, x):
        return self.weight * x * self.value


class Rewriter(nn.Module):
    """Writes the value that is there already."""

    def __init__(self):
        super().__init__()
        self.register_buffer("level", torch.ones(()))

    def forward(self, x):
        return x * self.level.clamp_(0, 1)


MOVERS = {
    "batch norm": lambda: nn.BatchNorm1d(8),
    "cumulative batch norm": lambda: nn.BatchNorm1d(8, momentum=None),
    "instance norm": lambda: nn.Sequential(
        nn.Unflatten(1, (2, 4)), nn.InstanceNorm1d(2, track_running_stats=True)
    ),
    "spectral norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8)),
    "old spectral norm": lambda: nn.utils.spectral_norm(nn.Linear(8, 8)),
    "data": DataWriter,
    "assignment": Assigner,
    "equal value": Rewriter,
}
MODES = {"no_grad": torch.no_grad, "inference_mode": torch.inference_mode}


class Copies(TorchDispatchMode):
    """Counts operators that copy, and the bytes of their results."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in (torch.ops.aten.clone, torch.ops.aten.copy_):
            self.bytes += result.nbytes
        return result


@torch.no_grad()
def detached(frozen, module, x=None):
    """One pass with frozen buffers."""
    with frozen(module):
        return module(torch.randn(4, 8) if x is None else x)


def snapshot(module):
    """Each buffer itself, the number of writes to it, and its value."""
    return {name: (b, b._version, b.clone()) for name, b in module.named_buffers()}


def assert_frozen(module, before):
    """Nothing was written, and nothing is another object."""
    now = dict(module.named_buffers())
    assert now.keys() == before.keys()
    for name, (buffer, version, value) in before.items():
        assert now[name] is buffer and buffer._version == version, name
        assert torch.equal(buffer, value), name


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.spectral_norm` is deprecated")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", MOVERS)
def test_no_pass_moves_a_buffer(name, mode, training):
    module, frozen = MOVERS[name]().train(training), FrozenBuffers()
    before = snapshot(module)
    for _ in range(3):
        with MODES[mode](), frozen(module):
            module(torch.randn(4, 8) + 3)
        assert_frozen(module, before)


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.spectral_norm` is deprecated")
@pytest.mark.parametrize("name", MOVERS)
def test_a_pass_computes_what_it_computes_without_protection(name):
    module, frozen = MOVERS[name](), FrozenBuffers()
    x = torch.randn(4, 8) + 3
    for training in (True, False):
        free = copy.deepcopy(module).train(training)
        expected = free(x).detach()
        for _ in range(3):
            assert torch.equal(detached(frozen, module.train(training), x), expected)


def test_layers_that_the_first_pass_did_not_reach_are_protected_too():
    norm, frozen = nn.BatchNorm1d(8), FrozenBuffers()
    before = snapshot(norm)
    with torch.no_grad(), frozen(norm):
        pass
    detached(frozen, norm)
    assert_frozen(norm, before)


def test_every_mode_finds_out_for_itself_what_moves():
    module, frozen = nn.Sequential(nn.BatchNorm1d(8), Codebook()), FrozenBuffers()
    before = snapshot(module)
    for training in (False, True, False):
        module.train(training)
        module[0].train(not training)
        detached(frozen, module)
        assert_frozen(module, before)


def test_a_codebook_that_follows_the_rule_is_copied_once_in_each_mode():
    book, frozen = Codebook(), FrozenBuffers()
    for training in (True, False):
        book.train(training)
        with Copies() as first:
            detached(frozen, book)
        with Copies() as later:
            detached(frozen, book)
            detached(frozen, book)
        assert first.bytes == book.codes.nbytes and later.bytes == 0


def test_the_statistics_of_a_norm_are_all_that_is_copied():
    module, frozen = nn.Sequential(nn.BatchNorm1d(8), Codebook()), FrozenBuffers()
    detached(frozen, module)
    with Copies() as copies:
        detached(frozen, module)
    assert copies.bytes == sum(buffer.nbytes for buffer in module[0].buffers())


@pytest.mark.parametrize("earlier_passes", [0, 1])
def test_a_live_graph_survives_a_pass_within_the_loss(earlier_passes):
    module, frozen = nn.Sequential(Tempered(), Codebook(), nn.BatchNorm1d(8)), FrozenBuffers()
    for _ in range(earlier_passes):
        detached(frozen, module)
    x = torch.randn(4, 8)
    alone = copy.deepcopy(module)
    alone(x).pow(3).sum().backward()
    loss = module(x).pow(3).sum()
    detached(frozen, module)
    loss.backward()
    assert torch.equal(module[0].weight.grad, alone[0].weight.grad)


def test_a_shared_module_or_buffer_has_one_copy():
    module, frozen = nn.Module(), FrozenBuffers()
    module.first, module.again = Switched(), Switched()
    module.second = module.first
    module.again.register_buffer("level", module.first.level)
    module.first.moves = True
    before = snapshot(module)
    for _ in range(2):
        with torch.no_grad(), frozen(module):
            module.first(torch.zeros(()))
            assert module.second.level == module.again.level == 1
        assert_frozen(module, before)
        assert module.again.level is module.first.level


def test_a_buffer_that_moves_unexpectedly_is_refused_by_name():
    module, frozen = nn.Sequential(Codebook(), Switched()), FrozenBuffers()
    detached(frozen, module)
    module[1].moves = True
    for _ in range(2):
        with pytest.raises(RuntimeError, match=rf"changed 1\.level; {RULE}"):
            detached(frozen, module)


def test_a_write_by_another_reference_is_refused_at_once():
    module, frozen = Switched(), FrozenBuffers()
    alias = module.level
    with (
        pytest.raises(RuntimeError, match=rf"changed level; {RULE}"),
        torch.no_grad(),
        frozen(module),
    ):
        alias.add_(1)


def test_a_pass_that_fails_restores_everything_and_teaches_nothing():
    module, frozen = nn.Sequential(nn.BatchNorm1d(8), Switched()), FrozenBuffers()
    before = snapshot(module)
    for moves in (False, True):
        module[1].moves = moves
        with pytest.raises(KeyError), torch.no_grad(), frozen(module):
            module(torch.randn(4, 8))
            raise KeyError
        assert_frozen(module, before)
    detached(frozen, module)
    assert_frozen(module, before)


@pytest.mark.parametrize("mover", ["outer", "inner"])
def test_passes_within_passes_restore_everything(mover):
    module, frozen = nn.Sequential(nn.BatchNorm1d(8), DataWriter(), Switched()), FrozenBuffers()
    before = snapshot(module)
    for _ in range(2):
        with torch.no_grad(), frozen(module):
            module[2].moves = mover == "outer"
            module(torch.randn(4, 8))
            within = snapshot(module)
            module[2].moves = mover == "inner"
            detached(frozen, module)
            assert_frozen(module, within)
        assert_frozen(module, before)


@pytest.mark.parametrize("earlier_passes", [0, 1])
def test_a_deep_copy_protects_its_own_buffers(earlier_passes):
    module = nn.Sequential(nn.BatchNorm1d(8), Codebook())
    module.frozen = FrozenBuffers()
    for _ in range(earlier_passes):
        detached(module.frozen, module)
    average = AveragedModel(module).module
    before, before_average = snapshot(module), snapshot(average)
    for _ in range(2):
        detached(average.frozen, average)
        assert_frozen(average, before_average)
        assert_frozen(module, before)
    with Copies() as copies:
        detached(average.frozen, average)
    assert copies.bytes == sum(buffer.nbytes for buffer in average[0].buffers())


def test_loaded_and_moved_buffers_are_the_ones_that_are_kept():
    module, frozen = nn.Sequential(nn.BatchNorm1d(8), Codebook()), FrozenBuffers()
    detached(frozen, module)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    module.load_state_dict(state, assign=True)
    for changed in (module, module.double()):
        before = snapshot(changed)
        detached(frozen, changed, torch.randn(4, 8).to(changed[1].codes))
        assert_frozen(changed, before)


def test_modules_added_after_the_first_pass_are_protected():
    module, frozen = nn.Sequential(nn.Linear(8, 8)), FrozenBuffers()
    detached(frozen, module)
    nn.utils.parametrizations.spectral_norm(module[0])
    module.append(DataWriter())
    before = snapshot(module)
    for _ in range(2):
        detached(frozen, module)
        assert_frozen(module, before)


def test_sparse_buffers_are_accepted():
    module, frozen = nn.Module(), FrozenBuffers()
    module.register_buffer("edges", torch.eye(3).to_sparse())
    for _ in range(2):
        with torch.no_grad(), frozen(module):
            module.edges.sum()


def test_buffers_made_in_inference_mode_are_kept():
    with torch.inference_mode():
        module, frozen = (
            nn.Sequential(nn.BatchNorm1d(8), DataWriter(), Codebook()),
            FrozenBuffers(),
        )
    values = copy.deepcopy(module.state_dict())
    for _ in range(2):
        detached(frozen, module)
        assert all(torch.equal(value, values[name]) for name, value in module.state_dict().items())
