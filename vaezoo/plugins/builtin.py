"""Registers the built-in components, through the same hook that plugins use."""

from __future__ import annotations

from vaezoo.plugins.hooks import Register, hookimpl

_BUILT_IN = {
    "dataset": {
        "digits": "vaezoo.data.datasets.digits:Digits",
        "torchvision": "vaezoo.data.datasets.torchvision:TorchvisionDataset",
        "image-folder": "vaezoo.data.datasets.image_folder:ImageFolder",
        "npz": "vaezoo.data.datasets.npz:NpzDataset",
        "memory": "vaezoo.data.datasets.memory:MemoryDataset",
    },
    "encoder": {
        "mlp": "vaezoo.components.encoders:MLPEncoder",
        "conv": "vaezoo.components.encoders:ConvEncoder",
        "patch": "vaezoo.components.patches:PatchEncoder",
        "joint": "vaezoo.components.joint:JointEncoder",
    },
    "posterior": {"diagonal-normal": "vaezoo.components.posteriors:DiagonalNormalPosterior"},
    "prior": {
        "standard-normal": "vaezoo.components.priors:StandardNormal",
        "mixture": "vaezoo.components.priors:Mixture",
        "gaussian-mixture": "vaezoo.components.priors:GaussianMixture",
    },
    "latents": {"single": "vaezoo.components.latents:Single"},
    "decoder": {
        "mlp": "vaezoo.components.decoders:MLPDecoder",
        "conv": "vaezoo.components.decoders:ConvDecoder",
        "patch": "vaezoo.components.patches:PatchDecoder",
        "joint": "vaezoo.components.joint:JointDecoder",
    },
    "likelihood": {
        "bernoulli": "vaezoo.components.likelihoods:BernoulliLikelihood",
        "continuous-bernoulli": "vaezoo.components.likelihoods:ContinuousBernoulliLikelihood",
        "normal": "vaezoo.components.likelihoods:NormalLikelihood",
        "mixture-normal": "vaezoo.components.likelihoods:MixtureNormalLikelihood",
        "laplace": "vaezoo.components.likelihoods:LaplaceLikelihood",
        "categorical": "vaezoo.components.likelihoods:CategoricalLikelihood",
        "discretized-logistic": "vaezoo.components.likelihoods:DiscretizedLogisticLikelihood",
        "joint": "vaezoo.components.joint:JointLikelihood",
    },
    "objective": {
        "reconstruction": "vaezoo.components.objectives:Reconstruction",
        "prior-nll": "vaezoo.components.objectives:PriorNLL",
        "iwae": "vaezoo.components.objectives:IWAE",
    },
    "regularizer": {"kl": "vaezoo.components.regularizers:KL"},
    "schedule": {
        "constant": "vaezoo.components.schedules:Constant",
        "linear": "vaezoo.components.schedules:Linear",
        "exponential": "vaezoo.components.schedules:Exponential",
        "cyclical": "vaezoo.components.schedules:Cyclical",
    },
    "metric": {
        "elbo": "vaezoo.evaluation.bounds:ELBO",
        "rate": "vaezoo.evaluation.bounds:Rate",
        "distortion": "vaezoo.evaluation.bounds:Distortion",
        "nll": "vaezoo.evaluation.bounds:NLL",
        "nll-check": "vaezoo.evaluation.nll_check:NLLCheck",
        "ais": "vaezoo.evaluation.annealing:AIS",
        "active-units": "vaezoo.evaluation.latent_space:ActiveUnits",
        "mutual-information": "vaezoo.evaluation.latent_space:MutualInformation",
        "aggregate-posterior-gap": "vaezoo.evaluation.latent_space:AggregatePosteriorGap",
        "classification": "vaezoo.evaluation.classification:Classification",
        "anomaly": "vaezoo.evaluation.anomaly:Anomaly",
    },
    "callback": {
        "tensorboard": "vaezoo.components.callbacks:TensorBoard",
        "csv": "vaezoo.components.callbacks:CsvLog",
    },
    "format": {
        "npz": "vaezoo.data.formats.npz:NpzFormat",
        "csv": "vaezoo.data.formats.csv:CsvFormat",
        "png": "vaezoo.runs.report.png:PngFormat",
    },
}


@hookimpl
def vaezoo_components(register: Register) -> None:
    """Registers the components of vaezoo itself."""
    for kind, targets in _BUILT_IN.items():
        for name, target in targets.items():
            register(kind, name, target)
