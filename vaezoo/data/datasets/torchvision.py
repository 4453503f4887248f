"""Imports torchvision safely, and provides its image data sets by name.

This is the only module of vaezoo that imports torchvision.
Shapes: n images of C channels, H rows and W columns.
"""

from __future__ import annotations

import inspect
import sys
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Gt
from PIL import Image
from torch import Tensor

from vaezoo.data.dataset import Dataset, Split
from vaezoo.data.datasets.torchvision_sources import find_class, open_source, without_ghostscript
from vaezoo.data.dataspec import DataSpec, Shape
from vaezoo.data.format import Format
from vaezoo.data.image_files import ImageReader, read_rgb
from vaezoo.data.image_format import ImageFormat, is_image_file
from vaezoo.data.images import Binarize, image_spec, image_split, lazy_split
from vaezoo.data.splits import SPLIT_NAMES, split_indices
from vaezoo.utils.errors import DataError, UnavailableError, one_line
from vaezoo.utils.paths import DataPath

_GREY_MODES = frozenset({"1", "L", "LA", "I", "F", "I;16", "I;16B"})
"""The modes of Pillow for grey images."""
_declared: list[torch.library.Library] = []
"""The library that declares torchvision's operators, once ``_declare_operators`` was called."""


def import_torchvision() -> ModuleType:
    """Imports torchvision and returns the package.

    If torchvision's compiled operators do not fit this build of torch (for example a CPU build of
    torchvision with a CUDA build of torch), ``import torchvision`` fails when it registers shapes
    for ``nms`` and ``qnms``. Data sets and transforms need neither operator, so their schemas are
    declared and the import is tried again.

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
        reason = one_line(error)
        raise UnavailableError(f"needs torchvision: {reason}; pip install torchvision") from error
    return torchvision


def _declare_operators() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    if not _declared:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            schema = f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            library.define(schema)
        _declared.append(library)  # the schemas exist only as long as the library object


class TorchvisionDataset(Dataset):
    """An image data set of torchvision by its class name, such as ``FashionMNIST`` or ``CIFAR10``.

    If torchvision stores the images as one array, they stay in memory; otherwise each is read when
    it is needed. Only data sets that are known to read nothing which could run code are opened;
    LSUN, ImageNet and PhotoTour read pickles. Validation is a tenth of the training data: the last
    images of an array, a seeded choice otherwise. If the data set has no test split, validation
    and test are a seeded tenth each.

    Args:
        name: the class in ``torchvision.datasets``; LSUN, ImageNet and PhotoTour read pickles,
            which may run any program, and are refused.
        root: the folder that contains the data, or to which it is downloaded.
        download: download the data if it is not in ``root``.
        binarize: ``none`` for values from 0 to 1, or how to make them 0 or 1: ``threshold`` at one
            half; ``static``, sampled once; ``dynamic``, sampled anew each time in training.
        size: height and width to resize to, one image at a time; by default the size is kept.
        arguments: further arguments of the class, such as ``split: letters`` for EMNIST.
    """

    def __init__(
        self,
        *,
        name: str,
        root: DataPath = "data",
        download: bool = False,
        binarize: Binarize = "none",
        size: Annotated[int, Gt(0)] | None = None,
        arguments: dict | None = None,
    ) -> None:
        self.name, self.root, self.download = name, root, download
        self.binarize, self.size = binarize, size or 0
        self.arguments = arguments or {}
        self._totals: dict[str, int] = {}

    @property
    def spec(self) -> DataSpec:
        """Described by the first image."""
        shape, classes = self._shape_and_classes
        return image_spec(shape, self.binarize, classes)

    @cached_property
    def _shape_and_classes(self) -> tuple[Shape, tuple[str, ...]]:
        """The shape of an image ``(C, H, W)``, and the names of the classes."""
        source = self._load_source("train")
        array = self._image_array(source)
        if array is not None:
            first = array[0]
        else:
            first, _ = _read_item(
                0,
                source=source,
                description=self.name,
                channels=0,
                size=self.size,
                shape=None,
                has_labels=False,
            )
        labels = _label_array(source)
        indices = range(int(labels.max()) + 1) if labels is not None else ()
        return first.shape, tuple(map(str, getattr(source, "classes", None) or indices))

    def split(self, name: str) -> Split:
        """Returns one of the three splits."""
        source, is_train = self._load_source(name), name == "train"
        array, labels = self._image_array(source), _label_array(source)
        shape, classes = self._shape_and_classes
        index = self._split_index(name, len(source), array is not None)
        if array is not None:
            seed = int(name == "test") if self._has_test_split else SPLIT_NAMES.index(name)
            x, y = array[index], labels[index] if labels is not None and classes else None
            return image_split(x, y, self.binarize, train=is_train, seed=seed, skip=int(index[0]))
        read = partial(
            _read_item,
            source=source,
            description=f"{self.name} {name}",
            channels=shape[0],
            size=self.size,
            shape=shape,
            has_labels=bool(classes),
        )
        seed = SPLIT_NAMES.index(name)
        return lazy_split(index.tolist(), read, self.binarize, train=is_train, seed=seed)

    def file_format(self, data: DataSpec, path: Path) -> Format | None:
        """Images in the size of this data set."""
        if not is_image_file(path):
            return None
        reader = ImageReader(data.shape[0], self.size)
        return ImageFormat(data, reader=reader, binarize=self.binarize)

    @property
    def sizes(self) -> dict[str, int]:
        """The number of images of each split."""
        return {
            name: len(self._split_index(name, self._total(name), is_in_memory=True))
            for name in SPLIT_NAMES
        }

    def _total(self, name: str) -> int:
        """The number of images of the torchvision data set that contains a split."""
        source_split = self._source_split(name)
        if source_split not in self._totals:
            self._load_source(name)
        return self._totals[source_split]

    def _split_index(self, name: str, total: int, is_in_memory: bool) -> np.ndarray:
        """The indices of a split's examples in the torchvision data set that contains it."""
        if not self._has_test_split:
            return split_indices(total, (0.8, 0.1, 0.1), 0, self.name)[name]
        if name == "test":
            return np.arange(total)
        order = np.arange(total) if is_in_memory else np.random.default_rng(0).permutation(total)
        train_size = total - max(1, total // 10)
        return np.sort(order[:train_size] if name == "train" else order[train_size:])

    def _image_array(self, source: Any) -> np.ndarray | None:
        """All images as uint8 ``[n, C, H, W]``.

        None if torchvision does not store them as one array, or if they must be resized.
        """
        data = getattr(source, "data", None)
        if self.size or not isinstance(data, np.ndarray | Tensor):
            return None
        array = np.asarray(data)
        if array.dtype != np.uint8 or array.ndim not in (3, 4):
            return None
        if array.ndim == 3:
            return array[:, None]
        if array.shape[-1] in (1, 3):
            return array.transpose(0, 3, 1, 2)  # [n, C, H, W]
        return array

    @cached_property
    def _class(self) -> Any:
        """The class in ``torchvision.datasets``."""
        return find_class(import_torchvision().datasets, self.name)

    @property
    def _has_test_split(self) -> bool:
        """Whether the class selects its test split by an argument that the spec does not set."""
        return bool((_parameters(self._class) & {"train", "split"}) - self.arguments.keys())

    def _source_split(self, name: str) -> str:
        """The split of the torchvision data set that contains a split."""
        return "test" if name == "test" and self._has_test_split else "train"

    def _load_source(self, name: str) -> Any:
        """The torchvision data set that contains a split; validation is a part of ``train``."""
        source_split = self._source_split(name)
        options: dict[str, Any] = {"root": self.root, "download": self.download}
        options |= {"train": source_split == "train", "split": source_split, "loader": read_rgb}
        accepted = _parameters(self._class)
        options = {key: value for key, value in options.items() if key in accepted}
        try:
            datasets = import_torchvision().datasets
            source = open_source(datasets, self.name, options | self.arguments)
        except (TypeError, ValueError) as error:
            reason = one_line(error)
            raise UnavailableError(
                f"{self.name}: {reason}; set `arguments` to what the class needs"
            ) from error
        except Exception as error:  # each data set raises its own types
            reason = one_line(error)
            hint = "; set download: true, or root to a folder that has it"
            raise UnavailableError(
                f"{self.name}: not in {self.root!r}: {reason}{'' if self.download else hint}"
            ) from error
        self._totals[source_split] = len(source)
        return source


def _parameters(cls: type) -> set[str]:
    """The parameters of a class's constructor, with those that it passes on to its bases."""
    names: set[str] = set()
    for base in filter(lambda base: "__init__" in vars(base), cls.__mro__):
        parameters = inspect.signature(base.__init__).parameters  # type: ignore[misc]
        names |= parameters.keys()
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values()):
            break
    return names


def _label_array(source: Any) -> np.ndarray | None:
    """The integer label of every example, ``[n]``; None if torchvision does not store them."""
    labels = np.asarray(getattr(source, "targets", getattr(source, "labels", None)))
    return labels if labels.ndim == 1 and labels.dtype.kind in "iu" else None


def _read_item(
    index: int,
    *,
    source: Any,
    description: str,
    channels: int,
    size: int,
    shape: Shape | None,
    has_labels: bool,
) -> tuple[np.ndarray, int | None]:
    """Reads one example: uint8 ``[C, H, W]`` and its label, or None without labels.

    Args:
        index: of the example in ``source``.
        source: the torchvision data set.
        description: names the data set and split in error messages.
        channels: 1 for grey, 3 for colour, 0 for the mode of the image.
        size: height and width to resize to; 0 keeps the size of the image.
        shape: the expected shape; None accepts any.
        has_labels: whether items have an integer label.
    """
    try:
        with without_ghostscript():
            image, label = source[index][:2]
            if isinstance(image, Image.Image):
                image.load()  # some data sets leave that to the first who needs the pixels
    except Exception as error:  # the decoders raise many types on damaged files
        reason = one_line(error)
        raise DataError(f"{description}: row {index} cannot be read: {reason}") from error
    if not isinstance(image, Image.Image):
        raise DataError(f"{description}: row {index} is not an image")
    channels = channels or (1 if image.mode in _GREY_MODES else 3)
    like = None if shape is None else (shape, "the first image")
    pixels = ImageReader(channels, size).to_pixels(image, f"{description}: row {index}", like)
    return pixels, int(label) if has_labels else None
