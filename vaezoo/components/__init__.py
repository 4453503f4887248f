"""The built-in components, registered through the very hook that plugins use."""

from __future__ import annotations

from vaezoo.hookspecs import Register, hookimpl

_BUILT_IN = {
    "dataset": {
        "digits": "vaezoo.data.digits:Digits",
        "torchvision": "vaezoo.data.vision:TorchvisionDataset",
        "image-folder": "vaezoo.data.folder:ImageFolder",
        "npz": "vaezoo.data.npz:Npz",
        "csv": "vaezoo.data.table:Csv",
    },
    "encoder": {
        "mlp": "vaezoo.components.encoders:MLPEncoder",
        "conv": "vaezoo.components.encoders:ConvEncoder",
        "patch": "vaezoo.components.patches:PatchEncoder",
    },
    "posterior": {"diagonal-normal": "vaezoo.components.latents:DiagonalNormal"},
    "prior": {
        "standard-normal": "vaezoo.components.latents:StandardNormal",
        "mixture": "vaezoo.components.latents:Mixture",
    },
    "latents": {"single": "vaezoo.components.latents:Single"},
    "decoder": {
        "mlp": "vaezoo.components.decoders:MLPDecoder",
        "conv": "vaezoo.components.decoders:ConvDecoder",
        "patch": "vaezoo.components.patches:PatchDecoder",
    },
    "likelihood": {
        "bernoulli": "vaezoo.components.likelihoods:BernoulliLikelihood",
        "continuous-bernoulli": "vaezoo.components.likelihoods:ContinuousBernoulliLikelihood",
        "normal": "vaezoo.components.likelihoods:NormalLikelihood",
        "mixture-normal": "vaezoo.components.likelihoods:MixtureNormalLikelihood",
        "laplace": "vaezoo.components.likelihoods:LaplaceLikelihood",
        "categorical": "vaezoo.components.likelihoods:CategoricalLikelihood",
        "discretized-logistic": "vaezoo.components.likelihoods:DiscretizedLogisticLikelihood",
    },
    "objective": {
        "reconstruction": "vaezoo.components.objectives:Reconstruction",
        "iwae": "vaezoo.components.objectives:IWAE",
    },
    "regularizer": {"kl": "vaezoo.components.regularizers:KL"},
    "schedule": {
        "constant": "vaezoo.components.schedules:Constant",
        "linear": "vaezoo.components.schedules:Linear",
        "cyclical": "vaezoo.components.schedules:Cyclical",
    },
    "metric": {
        "elbo": "vaezoo.evaluation.bounds:ELBO",
        "rate": "vaezoo.evaluation.bounds:Rate",
        "distortion": "vaezoo.evaluation.bounds:Distortion",
        "nll": "vaezoo.evaluation.bounds:NLL",
        "active-units": "vaezoo.evaluation.latents:ActiveUnits",
        "mutual-information": "vaezoo.evaluation.latents:MutualInformation",
        "aggregate-posterior-gap": "vaezoo.evaluation.latents:AggregatePosteriorGap",
        "classification": "vaezoo.evaluation.classification:Classification",
        "anomaly": "vaezoo.evaluation.anomaly:Anomaly",
    },
    "callback": {"tensorboard": "vaezoo.callbacks:TensorBoard", "csv": "vaezoo.callbacks:CsvLog"},
    "format": {"npz": "vaezoo.formats:Npz", "csv": "vaezoo.formats:Csv", "png": "vaezoo.formats:Png"},
}


@hookimpl
def vaezoo_components(register: Register) -> None:
    """Registers everything that vaezoo itself brings."""
    for kind, targets in _BUILT_IN.items():
        for name, target in targets.items():
            register(kind, name, target)
