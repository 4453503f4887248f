"""Planted mistakes are found by messages that name them; intact components are not accused."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

import vaezoo
from vaezoo import testing
from vaezoo.plugins import registration


def _load(name):
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"planted_{name}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


d = _load("defects")
s = _load("subtle_defects")

SEQUENCES = {
    "data": "sequences",
    "spec": {"model": {"encoder": "step-encoder", "decoder": "step-decoder"}},
}
INTACT = [
    d.Linear,
    d.Sized,
    d.PlainDecoder,
    d.PlainPosterior,
    d.PlainMixture,
    d.PlainPrior,
    d.Fitted,
    d.Vector,
    d.EachStep,
    d.Numbers,
    d.Bits,
    d.NegativeELBO,
    d.Importance,
    d.MeanOfBounds,
    d.Rate,
    d.Norm,
    d.OwnTerms,
    d.PlainCritic,
    d.Ramp,
    d.OneHotLabel,
    d.MeanRate,
    d.Points,
    d.Numpy,
    s.Coded,
    s.OwnMean,
    s.Shifted,
    s.DetachedWeights,
    s.Conditional,
    s.FittedScale,
    s.SavesShift,
    s.Moved,
    s.DropsInTraining,
    s.MeanOfSteps,
]
MIXES = "mixes the batch"
PLANTED = {
    # encoders and decoders
    d.SoftmaxOverBatch: MIXES,
    d.CentredOnBatch: MIXES,
    d.WholeBatchMean: MIXES,
    d.InPlace: "changes its input in place: 'x'",
    d.ForgetsMask: "forgets the mask: the feature 0",
    d.DoubleConstant: "the feature 0 is torch.float64, not fp32",
    d.LocalDevice: "makes tensors on torch's default device",
    d.HiddenWeights: r"weight 'scales\[0\]' is not registered",
    d.HiddenModules: r"module 'layers\[0\]' is not registered",
    d.Squeezes: r"squeeze\(\) without a dimension",
    d.CountsInEvaluation: "a pass in evaluation mode changes buffer 'seen'",
    d.NumpyNoise: "uses or seeds numpy's global generator",
    d.OwnGenerator: "ignores the seed: the feature 0 of two passes",
    d.Reseeds: "uses or seeds torch's global generator",
    d.CountsSteps: "attribute 'steps' changes in training and a resume loses",
    d.TemporaryBuffer: "attribute 'scale' changes in training and a resume loses",
    d.Unguarded: "the loss of a batch of zeros is not finite",
    d.DetachedCode: "detached from the code",
    # options
    d.Undocumented: "option 'width' is undocumented",
    d.Untyped: "option 'width' is untyped",
    d.WrongDefault: "default '8' of option 'width' has the wrong type",
    d.Positional: "option 'width' is not keyword-only",
    d.OtherName: "describes an option 'widht' that does not exist",
    d.Silent: "has no docstring",
    # posteriors, priors and latents
    d.Detached: "z is detached",
    d.HalfReparameterised: "z is partly detached",
    d.MeanDensity: "density and samples of the posterior of 'z' disagree",
    d.WrongScale: "density and samples of the posterior of 'z' disagree",
    d.SameSamples: "the posterior of 'z' gives 40 identical samples",
    d.ConstantSeed: "ignores the seed: the samples of 'z' are the same for two seeds",
    d.ReversedKL: "the KL of 'z' is .* nats, but",
    d.AveragedKL: "the KL of 'z' is .* nats, but",
    d.UniformWeights: "density and samples of the prior of 'z' disagree",
    d.FirstComponent: "density and samples of the prior of 'z' disagree",
    d.NoConstant: "density and samples of the prior of 'z' disagree",
    d.ForgetsFit: "what `fit` finds is lost",
    d.RandomAtZero: "the prior of 'z' is random at temperature 0",
    d.SeedsTorch: "generating uses or seeds torch's global generator",
    d.OneSample: "the prior of 'z' gives 40 identical samples",
    d.DetachedLatents: "z is detached",
    d.Repeated: "the K = 40 samples of 'z' are identical",
    d.TooWide: "the samples z of 'z' do not follow its posterior",
    d.OneGenerated: "generates identical samples",
    d.CountsPadding: "counts padding: the rate",
    # likelihoods
    d.NoNormaliser: r"density and samples of p\(x\|z\) disagree",
    d.NarrowSamples: r"density and samples of p\(x\|z\) disagree",
    d.OneSampleOnly: "sample_shape",
    d.AveragedBits: "is not normalised: the probabilities of all 16 examples sum to",
    d.GreySamples: "lie outside the support 'binary'",
    d.UnmaskedBits: r"forgets the mask: the log p\(x\|z\)",
    d.CompetingBits: MIXES,
    d.DetachedBits: "detached from the decoder's output",
    # objectives and regularizers
    d.PerDimension: "not in nats per example: .* by 0.25 nats",
    d.MeanOfPixels: "takes a mean where a sum belongs: .* numbers of x twice",
    d.ForTheBatch: MIXES,
    d.DividedByBatch: "not in nats per example: .* by 0.2 nats",
    d.WrongSign: "not in nats per example: .* by -1 nats",
    d.Broadcast: r"has the shape \(5, 5\)",
    d.SilentRate: "the loss includes the rate but does not say so",
    d.DetachedLoss: "the loss is detached: it depends on the samples z",
    d.OverTheBatch: MIXES,
    d.WorstSampleFirst: "weighs samples the wrong way round",
    d.NoLogK: "above the largest log importance weight",
    d.NegatedWeights: "is below the ELBO of the same samples",
    d.AveragedRate: "takes a mean where a sum belongs: .* latent dimensions twice",
    d.WeightedTwice: "multiplies the penalty by its weight",
    d.DetachedRate: "the penalty is detached",
    d.HalfDetached: "the penalty is detached: it depends on the encoder's features",
    d.ShareOfBatch: MIXES,
    d.NormOfPadding: "counts padding: the",
    d.MovingAverage: "attribute 'average' changes in training and a resume loses",
    d.OwnBatchOnly: "two processes compute something else than one|two processes drift apart",
    d.OneRankOnly: "the processes exchange different numbers of values",
    d.OwnsEncoder: "phase 'critic' owns encoder.net",
    d.KeepsModel: "keeps encoder.net.0.weight of the model",
    d.AttachedCritic: "the loss of phase 'critic' carries the graph of the model",
    d.MovesEncoder: "the step of critic changed model.encoder.net.0.weight",
    # schedules and conditioners
    d.CountsCalls: "depends on the calls before, not on the step alone",
    d.Overflows: "no finite number in fp32",
    d.Adapts: "attribute 'level' changes in training and a resume loses",
    d.OneForAll: r"unconditional_context\(3\) has the shape \(1, 3\)",
    d.RelativeLabel: MIXES,
    # metrics, data sets and formats
    d.MeanOfBatches: "depends on the batch size",
    d.FirstExamples: "depends on the order of the examples",
    d.Moves: "changes the model: encoder.net.0.weight",
    d.OtherDirection: "declares whether higher values of 'mean_rat' are better",
    d.NumpySubset: "uses or seeds numpy's global generator",
    d.NoNumber: "is nan, not a finite float",
    d.ChangingPoints: "is not the same twice: train.x",
    d.NotBinary: "lies outside of the support 'binary'",
    d.GlobalPoints: "uses or seeds numpy's global generator",
    d.OtherShape: r"have the shape \(4,\), but `spec` says \(2, 2\)",
    d.Rounds: "what is read differs from what was written",
    d.WritesInPlace: "writing changes 'x' of the examples",
    # latents in use
    s.GeneratesStandard: "generates from something else: the mean of the codes is",
    s.GeneratesWide: "generates from something else: the mean of the codes is",
    s.IgnoresSampler: "generates from something else: the mean of the codes is",
    s.GeneratesHot: "generates from something else: .* of them at T = 0.25",
    s.OtherCode: "`code` and `infer` disagree",
    s.InfersScaled: "`code` and `infer` disagree",
    s.ScaleAsMean: "posterior_mean is not the mean of z",
    s.ForgottenDeterminant: "log_q of 'z' is not the log-density of its samples",
    s.InvertedDeterminant: "log_q of 'z' is not the log-density of its samples",
    # the rate and the bound in losses
    s.MinusRate: "does not count once in the loss: .* wrong sign",
    s.RateTwice: "one nat more of log p.z. lowers it by 2 nats",
    s.RateOverSamples: "is summed over the K = 4 samples",
    s.NegativePenalty: "the penalty has the wrong sign",
    s.SummedPenalty: "does not average over samples: .* summed over samples",
    s.SamplesAsExamples: "does not average over samples: .*K and B confused",
    s.LargestWeight: "exceeds the log of the mean importance weight",
    s.SurrogateAsBound: "exceeds the log of the mean importance weight",
    s.AttachedWeights: "the importance weights are differentiated",
    s.HalvesZ: "changes the samples z in place",
    s.LessInTraining: "something else in training than in evaluation",
    # distributions
    s.WrongMean: "the mean of the posterior of 'z' is not that of its samples",
    s.InvertedTemperature: "the posterior of 'z' is no colder at temperature 0.25",
    s.IgnoresTemperature: "the prior of 'z' is no colder at temperature 0.25",
    s.MeanOfOthers: r"the mean of p\(x\|z\) is not that of its samples",
    s.LogitsAsMean: r"the mean of p\(x\|z\) lies outside of the range 0 to 1",
    # conditions and fits
    s.FailsWithContext: "fails where it gets a context",
    s.IgnoresContext: "ignores its context",
    s.ContextOfNeighbour: "mixes contexts",
    s.SamplesOfFirstContext: "sample each example from its own context",
    s.FitsNothing: "`fit` does not fit",
    s.VarianceAsScale: "`fit` does not fit",
    s.OneContext: "ignores the condition",
    # encoders and decoders
    s.KeepsShift: "attribute 'shift' that `initialise` sets is lost",
    s.NumpyWeights: "draws initial weights from numpy's global generator",
    s.RandomWeights: "draws initial weights from Python's module random",
    s.SetsBenchmark: "changes a setting of torch .*: cudnn.benchmark",
    s.OnTheCPU: "or on one that is written out",
    s.ToTheCPU: "or on one that is written out",
    s.DropsAlways: "is random in evaluation mode",
    s.MeanOfPadding: "counts padding: the feature 0",
    s.DoublesCode: "changes the samples z in place",
    s.ClipsCode: "changes the samples z in place",
    s.IgnoresLast: "ignores number 2 of the code's last dimension",
}


@pytest.fixture(autouse=True)
def _steps(monkeypatch):
    """An encoder and a decoder of sequences, as partners of latents at every step."""
    monkeypatch.setattr(registration, "_entries", {})
    vaezoo.register("encoder", "step-encoder", d.StepEncoder)
    vaezoo.register("decoder", "step-decoder", d.StepDecoder)


def check(cls):
    testing.check_component(cls, **(SEQUENCES if issubclass(cls, d.EachStep) else {}))


@pytest.mark.parametrize("cls", INTACT, ids=lambda cls: cls.__name__)
def test_an_intact_component_is_not_accused(cls):
    check(cls)


@pytest.mark.parametrize("cls", PLANTED, ids=lambda cls: cls.__name__)
def test_a_planted_mistake_is_named(cls):
    with pytest.raises(AssertionError) as caught:
        check(cls)
    lines = str(caught.value).splitlines()
    named = [line for line in lines if cls.__name__ in line]
    assert named == lines, "every line names the component"
    pattern = re.compile(PLANTED[cls])
    assert any(pattern.search(line) for line in lines), lines
