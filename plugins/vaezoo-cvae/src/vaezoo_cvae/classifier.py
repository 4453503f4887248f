"""An independent classifier of digits, trained on real images only.

Its weights are the entry ``features/mnist@1`` of vaezoo's registry. To train it again, about ten
minutes on one core:

    python -m vaezoo_cvae.classifier --out mnist-classifier.safetensors
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import vaezoo

PUBLISHED = "features/mnist@1"
"""The weights that are used where no file is named."""
SPEC = {
    "spec": "vaezoo/v1",
    "name": "classifier",
    "data": {"type": "mnist"},
    "model": {"latent_dim": 1, "encoder": "mlp", "decoder": "mlp", "likelihood": "bernoulli"},
    "train": {"epochs": 1},
}


class Classifier(vaezoo.Features):
    """The penultimate layer of a classifier of digits, for grey or binary images of 28x28.

    Two convolutions and two dense layers (after LeCun et al. 1998).
    """

    def __init__(self) -> None:
        super().__init__()
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

    def forward(self, x: Tensor) -> Tensor:
        """From images ``[B, 1, 28, 28]`` in [0, 1] to the penultimate layer ``[B, 64]``."""
        return self.body(x)

    def logits(self, x: Tensor) -> Tensor:
        """From images ``[B, 1, 28, 28]`` in [0, 1] to logits ``[B, 10]``."""
        return self.head(self(x))


def load(path: Path | None = None) -> Classifier:
    """Loads the published classifier, or one that this module's command wrote.

    Raises:
        vaezoo.IntegrityError: the file is missing, or does not hold a classifier.
        vaezoo.RegistryError: the published weights are damaged.
    """
    if path is None:
        published = vaezoo.load_features(PUBLISHED)
        assert isinstance(published, Classifier), "the entry names this component"
        return published
    model = Classifier()
    try:
        model.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise vaezoo.IntegrityError(
            f"{path}: not the weights of a classifier: {reason}"
        ) from error
    return model.eval()


def accuracy(model: Classifier, x: Tensor, labels: Tensor) -> float:
    """The share of images ``[n, 1, 28, 28]``, uint8, that are classified correctly."""
    with torch.inference_mode():
        blocks = [model.logits(block.float() / 255) for block in x.split(1000)]
        predicted = torch.cat(blocks).argmax(1)
    return float((predicted == labels).double().mean())


def train(epochs: int, seed: int = 0) -> tuple[Classifier, float]:
    """Trains on real training and validation images, randomly shifted by up to two pixels.

    Returns:
        The classifier, and its accuracy on the 10,000 real test images.
    """
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
            loss = F.cross_entropy(model.logits(batch), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
        print(f"epoch {epoch + 1} of {epochs}: last loss {float(loss):.4f}", flush=True)
    test = dataset.split("test")
    model.eval()
    return model, accuracy(model, test.x, test.condition)


def main() -> None:
    """Trains the classifier and writes it with its measured test accuracy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    model, test_accuracy = train(options.epochs)
    about = {"data": "mnist", "test_accuracy": test_accuracy, "epochs": options.epochs}
    save_file(model.state_dict(), options.out, {"about": json.dumps(about, allow_nan=False)})
    print(f"test accuracy {test_accuracy:.4f}; wrote {options.out}")


if __name__ == "__main__":
    main()
