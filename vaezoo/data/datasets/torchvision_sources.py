"""Which data sets of torchvision are read, and how they are opened without unpickling anything.

A data set reads what lies in its folder, which anybody may have put there. torchvision unpickles
some of it, and a pickle may call any program; vaezoo therefore opens the data sets below only.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import EpsImagePlugin

from vaezoo.data.datasets.cifar import read_batch
from vaezoo.utils.errors import DataError, did_you_mean

_CIFAR = "pickles, which vaezoo reads as plain data (``cifar.py``)"
_IDX = "arrays in IDX files; the pickles that torchvision 0.8 kept beside them are left out"
ADMITTED = {
    "nothing": "FakeData",
    _IDX: "EMNIST FashionMNIST KMNIST MNIST QMNIST",
    _CIFAR: "CIFAR10 CIFAR100",
    "arrays of MATLAB, without code": "SVHN",
    "arrays of HDF5, without code": "PCAM",
    "raw bytes": "STL10",
    "text": "FER2013 SEMEION USPS",
    "image files, found by their names": (
        "Caltech101 Caltech256 Cityscapes Country211 DatasetFolder EuroSAT ImageFolder Imagenette "
        "INaturalist Omniglot RenderedSST2 SUN397"
    ),
    "image files, listed in text, csv, json or XML": (
        "CelebA CLEVRClassification CocoCaptions CocoDetection DTD FGVCAircraft Flickr30k "
        "Flickr8k Food101 GTSRB Kitti LFWPairs LFWPeople OxfordIIITPet Places365 SBU "
        "VOCDetection VOCSegmentation WIDERFace"
    ),
    "image files, listed in arrays of MATLAB": "Flowers102 SBDataset StanfordCars",
    "pairs of image files with raw numbers": (
        "CarlaStereo CREStereo ETH3DStereo FallingThingsStereo FlyingChairs FlyingThings3D HD1K "
        "InStereo2k Kitti2012Stereo Kitti2015Stereo KittiFlow Middlebury2014Stereo "
        "SceneFlowStereo Sintel SintelStereo"
    ),
}
"""What the data sets of torchvision that are admitted read; none of it can name code."""
_NAMES = {name: what for what, names in ADMITTED.items() for name in names.split()}
_IMAGE_FOLDER = "save the images as files and use image-folder"
_REFUSED = {
    "LSUN": f"a pickle in the working directory; {_IMAGE_FOLDER}",
    "LSUNClass": f"a pickle in the working directory; {_IMAGE_FOLDER}",
    "PhotoTour": f"a pickle, its .pt file; {_IMAGE_FOLDER}",
    "ImageNet": "a pickle, meta.bin; use name: ImageFolder with root: the folder train",
}
"""What these read that may run any program, and what to do."""
_ghostscript_lock = threading.Lock()


def find_class(datasets: ModuleType, name: str) -> Any:
    """A class of torchvision that reads nothing which could run code.

    Args:
        datasets: ``torchvision.datasets``.
        name: of the class.

    Raises:
        DataError: there is none, or it is not admitted.
    """
    if name in _REFUSED:
        raise DataError(f"torchvision's {name} reads what may run any program: {_REFUSED[name]}")
    cls = getattr(datasets, name, None)
    if not (isinstance(cls, type) and issubclass(cls, datasets.VisionDataset)):
        hint = did_you_mean(name, [each for each in _NAMES if hasattr(datasets, each)])
        raise DataError(f"torchvision has no data set {name!r}{hint}")
    if name not in _NAMES:
        raise DataError(
            f"torchvision's {name} is not among the data sets of images whose reading is known to "
            f"run no code; {_IMAGE_FOLDER}"
        )
    return cls


def open_source(datasets: ModuleType, name: str, options: dict[str, Any]) -> Any:
    """An object of a class that ``find_class`` admits.

    Args:
        datasets: ``torchvision.datasets``.
        name: of the class.
        options: the arguments of its constructor.
    """
    cls = find_class(datasets, name)
    if _NAMES[name] == _CIFAR:
        return _open_cifar(datasets, cls, **options)
    if _NAMES[name] != _IDX:
        return cls(**options)
    # torchvision's folder has the name of the class
    safe = type(cls.__name__, (cls,), {"_check_legacy_exist": lambda self: False})
    source = safe(**options)
    source.__class__ = cls  # which worker processes can import
    return source


def _open_cifar(
    datasets: ModuleType, cls: Any, *, root: str, train: bool, download: bool = False
) -> Any:
    """What the constructor of torchvision's CIFAR makes, without unpickling."""
    source = cls.__new__(cls)
    datasets.VisionDataset.__init__(source, root)
    source.train = train
    if download:
        source.download()
    folder = Path(source.root, cls.base_folder)
    names = cls.meta["filename"]
    if not (
        source._check_integrity()
        and datasets.utils.check_integrity(str(folder / names), cls.meta["md5"])
    ):
        raise RuntimeError("not found, or damaged")
    batches = [
        read_batch(folder / file) for file, _ in (cls.train_list if train else cls.test_list)
    ]
    pixels = np.concatenate([batch["data"] for batch in batches])
    source.data = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # [n, H, W, C]
    key = "labels" if "labels" in batches[0] else "fine_labels"
    source.targets = [label for batch in batches for label in batch[key]]
    source.classes = read_batch(folder / names)[cls.meta["key"]]
    return source


@contextlib.contextmanager
def without_ghostscript() -> Iterator[None]:
    """Has Pillow refuse PostScript, for which it would start an interpreter of programs.

    Data sets of torchvision that take no loader open any format, whatever a file is called.
    """
    with _ghostscript_lock:
        before = EpsImagePlugin.gs_binary
        EpsImagePlugin.gs_binary = False
        try:
            yield
        finally:
            EpsImagePlugin.gs_binary = before
