"""torchvision behind a guard, and its data sets by name."""

from __future__ import annotations

import inspect
import sys
from functools import cached_property, partial
from types import ModuleType
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Gt
from PIL import Image
from torch import Tensor

from vaezoo.data.dataset import Dataset, Split
from vaezoo.data.dataspec import DataSpec, Shape
from vaezoo.data.images import Binarize, image_spec, image_split, lazy_split, to_pixels
from vaezoo.data.splits import NAMES, split_indices
from vaezoo.utils.errors import DataError, UnavailableError, did_you_mean

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
        try:
            import torchvision
        except RuntimeError:
            _declare_operators()
            import torchvision
    except (ImportError, RuntimeError) as error:
        raise UnavailableError(f"needs torchvision: {_line(error)}; pip install torchvision") from error
    return torchvision


def _declare_operators() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    if not _declared:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            schema = f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            library.define(schema)
        _declared.append(library)  # the schemas last only as long as the library object


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


class TorchvisionDataset(Dataset):
    """An image data set of torchvision by its class name, such as ``FashionMNIST`` or ``CIFAR10``.

    Sets that torchvision holds as one array stay in memory; others are read image by image. Validation is a tenth of
    the training data: the last of an array, a seeded choice otherwise. Where a set has no test part of its own, a
    seeded tenth is validation and another one test.

    Args:
        name: the class in ``torchvision.datasets``.
        root: the folder that holds the data, or receives it.
        download: fetch the data where it is not in ``root``.
        binarize: ``none``, ``threshold``, ``static`` or ``dynamic``.
        size: height and width to resize to, one image at a time; by default images stay as they are.
        arguments: further arguments of the class, such as ``split: letters`` for EMNIST.
    """

    def __init__(
        self,
        *,
        name: str,
        root: str = "data",
        download: bool = False,
        binarize: Binarize = "none",
        size: Annotated[int, Gt(0)] | None = None,
        arguments: dict | None = None,
    ) -> None:
        self.name, self.root, self.download, self.binarize, self.size = name, root, download, binarize, size or 0
        self.arguments = arguments or {}

    @property
    def spec(self) -> DataSpec:
        """From the first image."""
        shape, classes = self._form
        return image_spec(shape, self.binarize, classes)

    @cached_property
    def _form(self) -> tuple[Shape, tuple[str, ...]]:
        """The shape of an image and the names of the classes."""
        source = self._open("train")
        array = self._array(source)
        first = array[0] if array is not None else _read(0, source, self.name, 0, self.size, None, False)[0]
        labels = _labels(source)
        names = range(int(labels.max()) + 1) if labels is not None else ()
        return first.shape, tuple(map(str, getattr(source, "classes", None) or names))

    def split(self, name: str) -> Split:
        """One of the three splits."""
        source, train = self._open(name), name == "train"
        array, labels, (shape, classes) = self._array(source), _labels(source), self._form
        part = self._part(name, len(source), array is not None)
        if array is not None:
            seed = int(name == "test") if self._has_test else NAMES.index(name)
            x, y = array[part], labels[part] if labels is not None and classes else None
            return image_split(x, y, self.binarize, train=train, seed=seed, skip=int(part[0]))
        read = partial(
            _read,
            source=source,
            where=f"{self.name} {name}",
            channels=shape[0],
            size=self.size,
            shape=shape,
            labelled=bool(classes),
        )
        return lazy_split(part.tolist(), read, self.binarize, train=train, seed=NAMES.index(name))

    def _part(self, name: str, total: int, in_memory: bool) -> np.ndarray:
        """Which examples of the source a split consists of."""
        if not self._has_test:
            return split_indices(total, (0.8, 0.1, 0.1), 0, self.name)[name]
        if name == "test":
            return np.arange(total)
        order = np.arange(total) if in_memory else np.random.default_rng(0).permutation(total)
        cut = total - max(1, total // 10)
        return np.sort(order[:cut] if name == "train" else order[cut:])

    def _array(self, source: Any) -> np.ndarray | None:
        """All images as uint8 ``[n, C, H, W]``, where torchvision keeps them as one array and the size is right."""
        data = getattr(source, "data", None)
        if self.size or not isinstance(data, np.ndarray | Tensor):
            return None
        array = np.asarray(data)
        if array.dtype != np.uint8 or array.ndim not in (3, 4):
            return None
        if array.ndim == 3:
            return array[:, None]
        return array.transpose(0, 3, 1, 2) if array.shape[-1] in (1, 3) else array

    @cached_property
    def _class(self) -> Any:
        datasets = torchvision().datasets
        cls = getattr(datasets, self.name, None)
        if not (isinstance(cls, type) and issubclass(cls, datasets.VisionDataset)):
            raise DataError(f"torchvision has no data set {self.name!r}{did_you_mean(self.name, datasets.__all__)}")
        return cls

    @property
    def _has_test(self) -> bool:
        return bool((_accepted(self._class) & {"train", "split"}) - self.arguments.keys())

    def _open(self, name: str) -> Any:
        part = "test" if name == "test" else "train"
        options: dict[str, Any] = {"root": self.root, "download": self.download}
        options |= {"train": part == "train", "split": part}
        accepted = _accepted(self._class)
        try:
            return self._class(**{key: options[key] for key in options if key in accepted} | self.arguments)
        except (TypeError, ValueError) as error:
            raise UnavailableError(f"{self.name}: {_line(error)}; set `arguments` to what the class needs") from error
        except Exception as error:  # each data set fails in its own way
            hint = "" if self.download else "; set download: true, or root to a folder that has it"
            raise UnavailableError(f"{self.name}: not in {self.root!r}: {_line(error)}{hint}") from error


def _accepted(cls: type) -> set[str]:
    """The parameters of a class, and those that it passes on to its base."""
    names: set[str] = set()
    for base in filter(lambda base: "__init__" in vars(base), cls.__mro__):
        parameters = inspect.signature(base.__init__).parameters  # type: ignore[misc]
        names |= parameters.keys()
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values()):
            break
    return names


def _labels(source: Any) -> np.ndarray | None:
    """The label of every example, where torchvision keeps them."""
    labels = np.asarray(getattr(source, "targets", getattr(source, "labels", None)))
    return labels if labels.ndim == 1 and labels.dtype.kind in "iu" else None


def _read(
    index: int, source: Any, where: str, channels: int, size: int, shape: Shape | None, labelled: bool
) -> tuple[np.ndarray, int | None]:
    """One example; with ``channels`` 0 it is grey or in colour as the image is."""
    try:
        image, label = source[index][:2]
    except Exception as error:  # each format raises its own kinds on damaged files
        raise DataError(f"{where}: row {index} cannot be read: {_line(error)}") from error
    if not isinstance(image, Image.Image):
        raise DataError(f"{where}: row {index} is not an image")
    channels = channels or (1 if image.mode in ("1", "L", "LA") else 3)
    return to_pixels(image, channels, size, shape, f"{where}: row {index}"), int(label) if labelled else None
