"""Classes by Bayes' rule and anomaly scores, against models whose answer is known."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from tests.conftest import data_wiring, single_latents
from vaezoo.components.likelihoods import NormalLikelihood
from vaezoo.data.dataset import Split
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.loader import Loader
from vaezoo.distributions import DiagonalNormal
from vaezoo.evaluation.anomaly import Anomaly, detection_metrics, scores
from vaezoo.evaluation.classification import Classification, calibration_error, class_posterior
from vaezoo.evaluation.evaluate import metric_rows
from vaezoo.model.fusion import ContextFusion
from vaezoo.model.model import Model
from vaezoo.model.parts import Conditioner, Decoder, Encoder, Posterior
from vaezoo.runs.example_files import read_examples
from vaezoo.utils.errors import DataError

MEANS = torch.tensor([[0.0, 0.0, 0.0], [1.5, 0.0, 1.0], [0.0, -2.0, 0.5]])
LOADING = torch.tensor([[1.0], [0.5], [-0.3]])
SIGMA = 0.6


class OneHot(Conditioner):
    def forward(self, condition):
        return nn.functional.one_hot(condition, 3).float()


class Pass(Encoder):
    def forward(self, x, mask=None):
        return (x,)


class Exact(Posterior):
    """The exact posterior of z given x and the class, as both stand in the features."""

    def forward(self, h):
        x, label = h[:, :3], h[:, 3:]
        precision = 1 + (LOADING**2).sum() / SIGMA**2
        mean = (x - label @ MEANS) @ LOADING / SIGMA**2 / precision
        return DiagonalNormal(mean, torch.full_like(mean, -0.5 * math.log(precision)))


class Shifted(Decoder):
    def forward(self, code):
        return code[:, :1] @ LOADING.T + code[:, 1:] @ MEANS


@pytest.fixture
def mixture():
    """Three linear-Gaussian classes of frequencies 1/2, 1/3, 1/6: p(y|x) has a closed form."""
    data = DataSpec((3,), "real", classes=("a", "b", "c"), condition_shape=())
    model = Model(
        data,
        latent_dim=1,
        encoder=Pass(),
        latents=single_latents(data, (6,), 1, Exact()),
        decoder=Shifted(),
        likelihood=NormalLikelihood(data_wiring(data), scale=SIGMA),
        code_shape=(1,),
        conditioner=OneHot(),
        into_encoder=ContextFusion((3,), (3,), "concat"),
        into_decoder=ContextFusion((1,), (3,), "concat"),
    )
    model.count_classes(torch.tensor([0] * 3 + [1] * 2 + [2]))
    model.register_buffer("here", torch.zeros(()))
    model.register_parameter("_anchor", nn.Parameter(torch.zeros(())))
    return model.eval()


def draw(n):
    labels = torch.multinomial(torch.tensor([3.0, 2.0, 1.0]), n, replacement=True)
    z, noise = torch.randn(n, 1), SIGMA * torch.randn(n, 3)
    return MEANS[labels] + z @ LOADING.T + noise, labels


def exact_posterior(x):
    covariance = LOADING @ LOADING.T + SIGMA**2 * torch.eye(3)
    log_joint = torch.stack([MultivariateNormal(m, covariance).log_prob(x) for m in MEANS], 1)
    return torch.log_softmax(log_joint + torch.tensor([3.0, 2.0, 1.0]).log(), 1)


def test_bayes_rule_gives_the_exact_class_posterior(mixture):
    x, labels = draw(64)
    data = Loader(Split(x, labels), torch.device("cpu"), 64)
    with mixture.inference():
        result = class_posterior(
            mixture, data.first(64), 3
        )  # an exact proposal: any number of samples will do
    torch.testing.assert_close(result, exact_posterior(x), atol=1e-4, rtol=1e-4)


def test_the_metric_reports_accuracy_and_calibration_of_the_exact_posterior(mixture):
    x, labels = draw(4000)
    with mixture.inference():
        result = Classification(samples=2)(
            mixture, Loader(Split(x, labels), torch.device("cpu"), 500)
        )
    expected = (exact_posterior(x).argmax(1) == labels).double().mean()
    assert result["accuracy"].value == pytest.approx(float(expected), abs=1e-3)
    assert result["label_nll"].value == pytest.approx(
        -float(exact_posterior(x)[range(4000), labels].mean()), abs=1e-3
    )
    assert result["calibration_error"].value < 0.03, "an exact posterior is calibrated"


def test_overconfidence_is_a_calibration_error():
    confidence, correct = torch.full((1000,), 0.99), torch.arange(1000) < 700
    assert calibration_error(confidence, correct) == pytest.approx(0.29, abs=1e-4)
    assert calibration_error(torch.full((1000,), 0.7), correct) == pytest.approx(0.0, abs=1e-4)


def test_a_model_without_labels_classifies_nothing(exact):
    with pytest.raises(NotImplementedError, match="conditional on a label"):
        class_posterior(exact.model, next(exact.model.batches(exact.data(4))), 2)


@pytest.mark.parametrize("method", ["elbo", "nll"])
def test_scores_of_an_exact_model_are_minus_log_p(exact, method):
    x = exact.data(16)
    data = Loader(Split(x), torch.device("cpu"), 16)
    torch.testing.assert_close(
        scores(exact.model.eval(), data, method, 400).float(),
        -exact.log_p(x),
        atol=0.15,
        rtol=0.02,
    )


def test_mahalanobis_is_the_distance_of_posterior_means(exact):
    reference, x = exact.data(500, seed=2), exact.data(8)
    model = exact.model.eval()
    loaders = [Loader(Split(part), torch.device("cpu"), 100) for part in (x, reference)]
    result = scores(model, loaders[0], "mahalanobis", reference=loaders[1])
    means, others = model.encode(x).double().numpy(), model.encode(reference).double().numpy()
    shift = means - others.mean(0)
    expected = np.einsum("ni,ij,nj->n", shift, np.linalg.inv(np.cov(others.T)), shift)
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-5)
    with pytest.raises(NotImplementedError, match="needs the training split"):
        scores(model, loaders[0], "mahalanobis")


def test_the_area_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    score, anomalous = rng.normal(size=300), rng.random(300) < 0.3
    score[anomalous] += 1
    pairs = score[anomalous][:, None] > score[~anomalous][None]
    result = detection_metrics(score, anomalous)
    assert result["anomaly_auroc"].value == pytest.approx(pairs.mean())
    assert 0 < result["anomaly_auroc"].error < 0.06
    assert result["anomaly_average_precision"].details["floor"] == pytest.approx(anomalous.mean())


def test_the_metric_tells_the_left_out_class_apart(mixture):
    x, labels = draw(500)
    x[labels == 2] += 8
    data = Loader(Split(x, labels), torch.device("cpu"), 500)
    with mixture.inference():
        result = Anomaly(anomalous=["c"], samples=3)(mixture, data)
        assert result["anomaly_auroc"].value > 0.95
        assert result["anomaly_auroc"].details["anomalies"] == int((labels == 2).sum())
        with pytest.raises(NotImplementedError, match="no class 'd'"):
            Anomaly(anomalous=["d"])(mixture, data)


@pytest.mark.parametrize(
    ("training", "count", "says"),
    [
        ([0, 1, 1], 0, ""),
        ([0, 2, 1, 2], 2, "2 of 4 training examples are anomalies"),
        (
            [2, -1, 0],
            1,
            "1 of 3 .*; 1 training examples have no label and may be anomalies",
        ),
        (None, None, "whether the training split has anomalies is not known"),
    ],
)
def test_anomalies_in_the_training_split_are_counted(training, count, says, mixture):
    """Which is legitimate, but must be told."""
    x, labels = draw(60)
    labels[:2] = torch.tensor([2, 0])
    data, metric = Loader(Split(x, labels), torch.device("cpu"), 60), Anomaly(anomalous=["c"])
    if training is not None:
        split = Split(x[: len(training)], torch.tensor(training))
        metric.training = lambda: Loader(split, torch.device("cpu"), 2)
    with mixture.inference():
        results = metric(mixture, data)
    for result in results.values():
        assert result.details.get("anomalies_in_training") == count
        assert re.fullmatch(says, result.note), result.note


def test_a_run_tells_anomalies_in_its_training_split(train):
    anomaly = {"type": "anomaly", "anomalous": ["3"], "samples": 1}
    run = train(train={"epochs": 1}, evaluate=[anomaly])
    row = run.evaluation["metrics"]["anomaly_auroc"]
    count = int((run.data("train").condition == 3).sum())
    assert row["anomalies_in_training"] == count > 0
    assert metric_rows(run.evaluation)[0][3].endswith(f"; {row['note']}")


def test_scores_of_one_kind_of_example_detect_nothing():
    for anomalous in (np.ones(3, bool), np.zeros(3, bool)):
        with pytest.raises(NotImplementedError, match="needs anomalies and other examples"):
            detection_metrics(np.arange(3.0), anomalous)


def saved(path, condition=None):
    """A file of two examples, with their conditions if there are any."""
    np.savez(
        path,
        x=np.zeros((2, 3), np.float32),
        **({} if condition is None else {"condition": np.array(condition)}),
    )
    return path


def test_a_file_without_the_conditions_that_a_model_needs_is_refused(mixture, tmp_path):
    with pytest.raises(
        DataError, match=r"x.npz: this model is conditional: give a condition, as the array"
    ):
        read_examples(mixture, saved(tmp_path / "x.npz"))


def test_what_a_mask_hides_in_a_file_may_be_anything(exact, tmp_path):
    exact.model.data = replace(exact.model.data, mask_dims=1)
    mask = np.ones((2, 6), bool)
    mask[1, 4] = False
    np.savez(tmp_path / "x.npz", x=np.where(mask, 0.5, np.nan).astype(np.float32), mask=mask)
    batch = read_examples(exact.model, tmp_path / "x.npz").first(2)
    assert bool(batch.x.isfinite().all()) and batch.mask.tolist() == mask.tolist()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int64, np.uint64, np.float32])
def test_labels_of_a_file_may_be_numbers_of_any_kind(mixture, tmp_path, kind):
    result = (
        read_examples(mixture, saved(tmp_path / "x.npz", np.array([2, 0], kind)))
        .first(2)
        .condition
    )
    assert result.tolist() == [2, 0] and result.dtype == torch.int64
    with pytest.raises(DataError, match="'condition' row 1 is 3, not one of the 3 classes"):
        read_examples(mixture, saved(tmp_path / "x.npz", np.array([2, 3], kind)))


def test_conditions_that_the_data_never_had_are_left_alone(exact, tmp_path):
    path = tmp_path / "x.npz"
    np.savez(
        path, x=np.zeros((2, *exact.model.data.shape), np.float32), condition=np.array([5, 7])
    )
    assert read_examples(exact.model, path).condition is None


def test_vectors_of_numbers_are_conditions_too(mixture, tmp_path):
    mixture.data = replace(mixture.data, classes=(), condition_shape=(1,))
    for inputs in ([0.5, 2.0], [[0.5], [2.0]]):
        assert read_examples(mixture, saved(tmp_path / "x.npz", inputs)).condition.tolist() == [
            [0.5],
            [2.0],
        ]
    with pytest.raises(DataError, match="'condition' row 1 holds NaN"):
        read_examples(mixture, saved(tmp_path / "x.npz", [0.5, float("nan")]))
