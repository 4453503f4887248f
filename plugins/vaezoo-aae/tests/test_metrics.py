"""Errors of heads and clusters, at heads whose answers are chosen."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import OneHotCategorical
from vaezoo_aae.heads import Simplex
from vaezoo_aae.metrics import ClusteringError, HeadError

import vaezoo
from vaezoo.evaluation.evaluate import evaluate
from vaezoo.runs.loaders import build_loader
from vaezoo.spec.load import load_spec

from .conftest import phase_optimizers, spec, wiring


class RecordedTerms:
    """A model whose q(y|x) for each example is told: ``x`` are its logits."""

    def __init__(self, classes=10):
        self.data = wiring(classes=classes).data

    def batch_size(self):
        return 7  # more than one batch

    def infer_detached(self, batch):
        q = Simplex(batch.x)
        p = OneHotCategorical(logits=torch.zeros(batch.x.shape[-1]))
        site = vaezoo.Site("category", q.rsample((1,)), q, p)
        return vaezoo.Trace(self, batch, (site,), site.z, None)


def measure(metric, logits, label, classes=10):
    data = vaezoo.Loader(vaezoo.Split(logits, label), torch.device("cpu"), 4)
    (result,) = metric(RecordedTerms(classes), data).values()
    return result


def sure(cluster, categories=10, by=5.0):
    return by * torch.nn.functional.one_hot(torch.as_tensor(cluster), categories).float()


def test_a_perfect_head_makes_no_error():
    label = torch.randint(10, (50,))
    result = measure(HeadError(), sure(label), label)
    assert (result.value, result.error, result.examples, result.unit) == (
        0.0,
        0.0,
        50,
        "share of examples",
    )
    assert measure(ClusteringError(), sure(label), label).value == 0


@pytest.mark.parametrize("metric", [HeadError(), ClusteringError()])
def test_a_head_that_is_nan_has_no_most_probable_category(metric):
    logits, label = sure(torch.arange(10)), torch.arange(10)
    logits[8] = torch.nan
    with pytest.raises(vaezoo.VaezooError, match="of example 8 is nan"):
        measure(metric, logits, label)


def test_the_share_of_errors_and_its_uncertainty():
    label = torch.arange(10).repeat(4)
    guess = label.clone()
    guess[:6] = (guess[:6] + 1) % 10
    result = measure(HeadError(), sure(guess), label)
    assert result.value == pytest.approx(6 / 40)
    wrong = torch.tensor([1.0] * 6 + [0.0] * 34, dtype=torch.float64)
    assert result.error == pytest.approx((wrong.std() / math.sqrt(40)).item())


def test_a_random_head_errs_as_chance_does():
    label = torch.randint(10, (5000,))
    result = measure(HeadError(), torch.randn(5000, 10), label)
    assert result.value == pytest.approx(0.9, abs=4 * result.error) and result.error < 0.005
    clusters = measure(ClusteringError(), torch.randn(5000, 10), label)
    assert clusters.value == pytest.approx(0.9, abs=0.03)


def test_permuted_clusters_make_no_clustering_error():
    label = torch.arange(10).repeat(5)
    permuted = (3 * label + 1) % 10
    assert measure(HeadError(), sure(permuted), label).value > 0.8
    result = measure(ClusteringError(), sure(permuted), label)
    assert result.value == 0 and result.details == {"majority_vote": 0.0, "clusters": 10.0}


def test_more_clusters_than_labels_and_empty_ones():
    label = torch.tensor([0, 0, 1, 1])
    result = measure(ClusteringError(), sure([5, 6, 7, 7], categories=16), label, classes=2)
    assert result.value == 0 and result.details["clusters"] == 3


def test_a_cluster_takes_the_label_of_its_surest_example():
    """Cluster 0 holds labels 1, 1, 1, 0 and is surest of the last: three of four are wrong, but
    one by majority."""
    logits = torch.tensor([[1.0, 0], [1, 0], [1, 0], [3, 0], [0, 2], [0, 1]])
    result = measure(ClusteringError(), logits, torch.tensor([1, 1, 1, 0, 1, 1]), classes=2)
    assert result.value == pytest.approx(3 / 6)
    assert result.details["majority_vote"] == pytest.approx(1 / 6)


def test_the_surest_may_sit_in_another_cluster():
    """No example of label 1 is surer of category 1 than the last, whose own category is 0."""
    logits = torch.tensor([[0.0, 0.1], [0.0, 0.2], [2.0, 1.9]])
    label = torch.tensor([1, 1, 0])
    result = measure(ClusteringError(), logits, label, classes=2)
    assert (
        result.value == 0
    )  # q(1|x) is highest at the second example: it is normalised over categories


def test_examples_that_are_all_but_sure_still_differ():
    """At float32 both probabilities round to 1; the second is surer."""
    logits = torch.tensor([[30.0, 0], [35, 0], [0, 1]])
    result = measure(ClusteringError(), logits, torch.tensor([0, 1, 1]), classes=2)
    assert result.value == pytest.approx(1 / 3)


def test_unknown_labels_are_left_out():
    label = torch.tensor([0, 1, -1, -1, 2])
    result = measure(HeadError(), sure([0, 0, 5, 6, 2]), label)
    assert (result.value, result.examples) == (pytest.approx(1 / 3), 3)
    assert result.details == {"unlabelled": 2}
    clusters = measure(
        ClusteringError(),
        sure([0, 0, 0, 6, 2], by=torch.tensor([[4.0], [1], [9], [1], [1]])),
        label,
    )
    assert (clusters.value, clusters.examples) == (pytest.approx(1 / 3), 3)
    with pytest.raises(NotImplementedError, match="no label of this split is known"):
        measure(HeadError(), sure([0, 1]), torch.tensor([-1, -1]))


def test_what_cannot_be_measured_is_said_to_be_undefined():
    task, _, _ = phase_optimizers(spec())
    loaded = load_spec({**spec(), "evaluate": ["head-error", "clustering-error"]})
    test = build_loader(loaded, loaded.data.build(), "test", torch.device("cpu"))
    result = evaluate(task.model, loaded.evaluate, test, "test", seed=0)
    assert not result["metrics"] and all(
        "no categorical head" in why for why in result["undefined"].values()
    )
    with pytest.raises(
        NotImplementedError, match="16 categories are not the 10 classes; use clustering-error"
    ):
        measure(HeadError(), torch.randn(4, 16), torch.arange(4))
    with pytest.raises(NotImplementedError, match="needs a label"):
        measure(HeadError(), torch.randn(4, 10), None)


def test_a_model_is_measured_without_a_change_to_it():
    """The encoder's batch norm is in evaluation mode: one by one or all together, the answer is
    the same."""
    model = {
        "latents": {"type": "category-and-style"},
        "encoder": {"type": "mlp", "hidden": [16], "norm": "batch"},
    }
    inputs = spec(regularizers=[{"type": "adversarial", "hidden": [8]}], **model)
    inputs["evaluate"] = ["head-error", "clustering-error"]
    loaded = load_spec(inputs)
    task, _, _ = phase_optimizers(inputs)
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    test = build_loader(loaded, loaded.data.build(), "test", torch.device("cpu"))
    first, second = (evaluate(task.model, loaded.evaluate, test, "test", seed=0) for _ in range(2))
    assert first == second and set(first["metrics"]) == {"head_error", "clustering_error"}
    assert first["metrics"]["head_error"]["examples"] == len(test)
    assert all(torch.equal(before[name], value) for name, value in task.model.state_dict().items())
