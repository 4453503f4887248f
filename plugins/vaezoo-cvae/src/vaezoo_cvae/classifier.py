"""An independent classifier of digits, trained on real images only. The package has its weights.

To train it again, about ten minutes on one core:

    python -m vaezoo_cvae.classifier --out mnist-classifier.safetensors
"""

from __future__ import annotations

import argparse
import hashlib
import json
from importlib import resources
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

import vaezoo

SHIPPED = "mnist-classifier.safetensors"
SHA256 = "0c8592d6cd04f39a0c18c529d2953520c9786aa8e7bf8a664fb1d21a31247824"
SPEC = {
    "spec": "vaezoo/v1",
    "name": "classifier",
    "data": {"type": "mnist"},
    "model": {"latent_dim": 1, "encoder": "mlp", "decoder": "mlp", "likelihood": "bernoulli"},
    "train": {"epochs": 1},
}


class Classifier(nn.Module):
    """Two convolutions and two dense layers (after LeCun et al. 1998), for grey images of 28x28.

    Attributes:
        test_accuracy: the accuracy on the 10,000 real test images, measured after training.
    """

    def __init__(self) -> None:
        super().__init__()
        self.test_accuracy = 0.0
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(32 * 49, 64),
            nn.ReLU(),
        )
        self.head = nn.Linear(64, 10)

    def features(self, x: Tensor) -> Tensor:
        """From images ``[B, 1, 28, 28]`` in [0, 1] to the penultimate layer ``[B, 64]``."""
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        """From images ``[B, 1, 28, 28]`` in [0, 1] to logits ``[B, 10]``."""
        return self.head(self.features(x))


def load(path: Path | None = None) -> Classifier:
    """Loads the classifier of the package, or one that this module's command wrote.

    Raises:
        vaezoo.IntegrityError: the file is missing or damaged, or does not hold a classifier.
    """
    model = Classifier()
    with resources.as_file(resources.files("vaezoo_cvae").joinpath(SHIPPED)) as shipped:
        source = path or shipped
        if path is None and _sha256(shipped) != SHA256:
            raise vaezoo.IntegrityError(f"{shipped}: damaged; install vaezoo-cvae again")
        try:
            with safe_open(source, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                model.load_state_dict(tensors)
                model.test_accuracy = float(json.loads(file.metadata()["about"])["test_accuracy"])
        except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise vaezoo.IntegrityError(
                f"{source}: not the weights of a classifier: {reason}"
            ) from error
    return model.eval()


def _sha256(path: Path) -> str | None:
    """The sha256 of a file; None if it does not exist."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def accuracy(model: Classifier, x: Tensor, labels: Tensor) -> float:
    """The share of images ``[n, 1, 28, 28]``, uint8, that are classified correctly."""
    with torch.inference_mode():
        predicted = torch.cat([model(block.float() / 255).argmax(1) for block in x.split(1000)])
    return float((predicted == labels).double().mean())


def train(epochs: int, seed: int = 0) -> Classifier:
    """Trains on real training and validation images, randomly shifted by up to two pixels."""
    torch.manual_seed(seed)
    dataset = vaezoo.load_spec(SPEC).data.build()
    splits = [dataset.split(name) for name in ("train", "validation")]
    x = torch.cat([split.x for split in splits])
    labels = torch.cat([split.condition for split in splits])
    model = Classifier().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-4)
    total_steps = epochs * (len(x) // 128)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps)
    for epoch in range(epochs):
        order = torch.randperm(len(x))
        for index in order.split(128)[: len(x) // 128]:
            rows, columns = torch.randint(-2, 3, (2,)).tolist()
            # Rolling shifts the digit, as the border of an image is empty.
            batch = x[index].roll((rows, columns), (2, 3)).float() / 255
            loss = F.cross_entropy(model(batch), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
        print(f"epoch {epoch + 1} of {epochs}: last loss {float(loss):.4f}", flush=True)
    test = dataset.split("test")
    model.eval()
    model.test_accuracy = accuracy(model, test.x, test.condition)
    return model


def main() -> None:
    """Trains the classifier and writes it with its measured test accuracy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    model = train(options.epochs)
    about = {"data": "mnist", "test_accuracy": model.test_accuracy, "epochs": options.epochs}
    save_file(model.state_dict(), options.out, {"about": json.dumps(about, allow_nan=False)})
    print(f"test accuracy {model.test_accuracy:.4f}; wrote {options.out}")


if __name__ == "__main__":
    main()
