"""Padding has no influence: neither on losses nor on gradients nor on posteriors."""

from __future__ import annotations

import pytest
import torch
from vaezoo_vrae.ragged import order_by_length

import vaezoo

CHAIN = {"type": "chain", "units": 8, "hidden": 8}
LATENTS = {
    "vrnn": CHAIN,
    "levels": CHAIN | {"levels": 2, "clocks": [3, 1], "sequence_dim": 4, "skip": True},
    "vrae": {"type": "recurrent", "units": 8},
}


def padded(batch, steps):
    """The batch with arbitrary steps at the end that the mask hides."""
    junk = torch.ones(len(batch), steps, batch.x.shape[2], dtype=batch.x.dtype)
    hidden = torch.zeros(len(batch), steps, dtype=torch.bool)
    return vaezoo.Batch(
        torch.cat([batch.x, junk], 1), batch.condition, torch.cat([batch.mask, hidden], 1)
    )


def gradients(task, batch, monkeypatch):
    """Losses and gradients with noise that does not depend on how many steps a batch has."""
    generator = torch.Generator().manual_seed(0)
    samples = []

    def noise(like):
        while len(samples) <= noise.calls:
            samples.append(torch.randn(like.shape, generator=generator, dtype=like.dtype))
        noise.calls += 1
        return samples[noise.calls - 1]

    noise.calls = 0
    monkeypatch.setattr(torch, "randn_like", noise)
    task.zero_grad()
    loss, _ = task(batch)
    loss.sum().backward()
    return loss.detach(), {name: p.grad.clone() for name, p in task.named_parameters()}


@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
@pytest.mark.parametrize("latents", LATENTS.values(), ids=LATENTS)
@pytest.mark.parametrize("steps", [1, 100])
def test_padding_changes_neither_losses_nor_gradients(
    spec, composed, monkeypatch, latents, direction, steps
):
    encoder = {"type": "recurrent", "hidden": [8], "units": 8, "direction": direction}
    task, batch = composed(spec(latents=latents, encoder=encoder))
    assert not batch.mask.all(), "the batch holds sequences of one length only"
    loss, gradient = gradients(task, batch, monkeypatch)
    loss_padded, gradient_padded = gradients(task, padded(batch, steps), monkeypatch)
    torch.testing.assert_close(loss, loss_padded, rtol=1e-5, atol=1e-4)
    for name, value in gradient.items():
        near = 1e-5 * max(
            1.0, float(value.abs().max())
        )  # sums of other lengths are added in another order
        torch.testing.assert_close(value, gradient_padded[name], rtol=1e-4, atol=near, msg=name)


def test_every_composition_reaches_every_weight(spec, composed, monkeypatch):
    for latents in LATENTS.values():
        task, batch = composed(spec(latents=latents))
        _, gradient = gradients(task, batch, monkeypatch)
        assert all(bool(value.abs().sum() > 0) for value in gradient.values())


def test_batches_hold_sequences_of_like_length_and_every_sequence_once():
    counts = torch.randint(1, 200, (503,))
    order = order_by_length(counts, 3, 16)
    assert order.sort().values.tolist() == list(range(503))
    spread = counts[order[:496]].view(-1, 16).float().std(1).mean()
    assert spread < 0.3 * counts.float().std()
    assert not torch.equal(order, order_by_length(counts, 4, 16))
    batch_means = counts[order[:496]].view(-1, 16).float().mean(1)
    assert not torch.equal(batch_means, batch_means.sort().values)
