"""torchvision behind a guard, and its data sets by name."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import cached_property
from types import ModuleType
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Gt
from torch import Tensor

from vaezoo.data.images import Binarize, bernoulli_draw, image_spec, image_split
from vaezoo.errors import DataError, UnavailableError, did_you_mean
from vaezoo.interfaces import Dataset, DataSpec, Split

_declared: list[torch.library.Library] = []


def torchvision() -> ModuleType:
    """The package, whose import everything in vaezoo goes through.

    Where its compiled operators do not fit this torch (a CPU build beside a CUDA wheel), ``import torchvision`` fails
    while it registers shapes for ``nms`` and ``qnms``. Data sets and transforms need neither operator, so their
    schemas are declared and the import is tried once more.

    Raises:
        UnavailableError: torchvision is not installed or cannot be imported at all.
    """
    try:
        import torchvision
    except ImportError as error:
        raise UnavailableError(f"needs torchvision: {error}; pip install torchvision") from error
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        if not _declared:
            library = torch.library.Library("torchvision", "FRAGMENT")
            library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            library.define(
                "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            )
            _declared.append(library)  # the schemas last only as long as the library object
        import torchvision
    return torchvision


class TorchvisionDataset(Dataset):
    """An image data set of torchvision by its class name, such as ``FashionMNIST`` or ``CIFAR10``.

    Validation is the last tenth of the training data. Sets that torchvision holds as one array stay in memory;
    others are read image by image.

    Args:
        name: the class in ``torchvision.datasets``.
        root: the folder that holds the data, or receives it.
        download: fetch the data where it is not in ``root``.
        binarize: ``none``, ``threshold``, ``static`` or ``dynamic``; for sets in memory.
        size: height and width that images read one by one are resized to.
    """

    def __init__(
        self,
        *,
        name: str,
        root: str = "data",
        download: bool = False,
        binarize: Binarize = "none",
        size: Annotated[int, Gt(0)] | None = None,
    ) -> None:
        self.name, self.root, self.download, self.binarize, self.size = name, root, download, binarize, size

    @cached_property
    def spec(self) -> DataSpec:
        """From the first image."""
        train = self._open("train")
        array = _array(train)
        shape = tuple(array.shape[1:]) if array is not None else tuple(_Lazy(train, range(1), self.size)[0][0].shape)
        classes = tuple(map(str, getattr(train, "classes", ()))) or (
            tuple(map(str, range(int(_labels(train).max()) + 1))) if array is not None else ()
        )
        return image_spec(shape, self.binarize, classes)

    def split(self, name: str) -> Split:
        """One of the three splits."""
        source = self._open("test" if name == "test" else "train")
        total = len(source)
        held_out = total // 10
        part = {"train": range(total - held_out), "validation": range(total - held_out, total), "test": range(total)}[name]
        array = _array(source)
        if array is not None:
            x, y = array[part.start : part.stop], _labels(source)[part.start : part.stop]
            return image_split(x, y, self.binarize, train=name == "train", seed=int(name == "test"), skip=part.start)
        if self.binarize in ("static",):
            raise DataError(f"{self.name}: binarize: static needs a data set in memory")
        transform = bernoulli_draw if self.binarize == "dynamic" else _transform(self.binarize)
        return Split(_Lazy(source, part, self.size), transform=transform)

    def _open(self, part: str) -> Any:
        datasets = torchvision().datasets
        cls = getattr(datasets, self.name, None)
        if not (isinstance(cls, type) and issubclass(cls, datasets.VisionDataset)):
            raise DataError(f"torchvision has no data set {self.name!r}{did_you_mean(self.name, datasets.__all__)}")
        accepted = inspect.signature(cls).parameters
        options: dict[str, Any] = {"root": self.root, "download": self.download}
        options |= {"train": part == "train", "split": part}
        try:
            return cls(**{key: value for key, value in options.items() if key in accepted})
        except OSError as error:
            raise UnavailableError(f"{self.name}: cannot be fetched into {self.root!r}: {error}") from error
        except (RuntimeError, ValueError, TypeError) as error:
            hint = "" if self.download else "; set download: true, or root to a folder that has it"
            raise UnavailableError(f"{self.name}: {' '.join(str(error).split())}{hint}") from error


def _transform(binarize: Binarize) -> Callable[[Tensor], Tensor] | None:
    return image_split(np.zeros((0, 1), np.uint8), None, binarize, train=True, seed=0).transform


def _array(source: Any) -> np.ndarray | None:
    """All images as uint8 ``[n, C, H, W]``, where torchvision keeps them as one array."""
    data = getattr(source, "data", None)
    if not isinstance(data, np.ndarray | Tensor) or not hasattr(source, "targets"):
        return None
    array = np.asarray(data)
    if array.dtype != np.uint8:
        return None
    if array.ndim == 3:
        return array[:, None]
    return array.transpose(0, 3, 1, 2) if array.shape[-1] in (1, 3) else array


def _labels(source: Any) -> np.ndarray:
    return np.asarray(source.targets)


class _Lazy(torch.utils.data.Dataset[Any]):
    """Images read one by one as uint8 ``[C, H, W]``."""

    def __init__(self, source: Any, part: range, size: int | None) -> None:
        self.source, self.part, self.size = source, part, size

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, index: int) -> tuple[Tensor, int | None]:
        image, label = self.source[self.part[index]][:2]
        if self.size is not None:
            image = image.resize((self.size, self.size))
        pixels = np.array(image)
        pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        return torch.from_numpy(np.ascontiguousarray(pixels)), label if isinstance(label, int) else None
