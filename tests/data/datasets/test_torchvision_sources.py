"""Nothing that lies in the folder of a data set of torchvision can run code."""

# pathlib calls the very functions that are replaced here
# ruff: noqa: PTH100, PTH103, PTH110, PTH112, PTH118, PTH120, PTH208

from __future__ import annotations

import ast
import contextlib
import inspect
import os
import pickle
import pickletools
import re
import shutil
import struct
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image

from vaezoo.data.datasets import torchvision_sources as sources
from vaezoo.data.datasets.cifar import read_batch
from vaezoo.data.datasets.torchvision import TorchvisionDataset, import_torchvision
from vaezoo.data.loader import Loader
from vaezoo.data.splits import SPLIT_NAMES
from vaezoo.utils.errors import DataError, VaezooError

REFUSED = ["ImageNet", "LSUN", "LSUNClass", "PhotoTour"]
ADMITTED = [name for names in sources.ADMITTED.values() for name in names.split()]
ARGUMENTS = {
    "CocoCaptions": {"annFile": "captions.json"},
    "CocoDetection": {"annFile": "instances.json"},
    "DatasetFolder": {"extensions": [".png"]},
    "EMNIST": {"split": "letters"},
    "Flickr30k": {"ann_file": "flickr30k.token"},
    "Flickr8k": {"ann_file": "flickr8k.html"},
    "FallingThingsStereo": {"variant": "single"},
    "ImageNet": {"split": "train"},
    "LSUN": {"classes": ["church_outdoor_train"]},
    "PhotoTour": {"name": "liberty"},
    "VOCSegmentation": {"image_set": "train"},
}


LAYOUTS = {
    "Caltech101": [
        "caltech101/101_ObjectCategories/BACKGROUND_Google/image_0001.jpg",
        "caltech101/101_ObjectCategories/ant/image_0001.jpg",
    ],
    "Caltech256": ["caltech256/256_ObjectCategories/001.ant/001_0001.jpg"],
    "Cityscapes": ["leftImg8bit/train/bern/bern_000_leftImg8bit.png", "gtFine/train/bern/a.png"],
    "CLEVRClassification": [
        "clevr/CLEVR_v1.0/images/train/0.png",
        "clevr/CLEVR_v1.0/scenes/CLEVR_train_scenes.json",
    ],
    "CREStereo": [
        f"CREStereo/{name}/0_{side}"
        for name in ("tree", "shapenet", "reflective", "hole")
        for side in ("left.jpg", "right.jpg", "left.disp.png", "right.disp.png")
    ],
    "FallingThingsStereo": [
        f"FallingThings/{split}/a/{extra}0.{side}"
        for split, extra in (("single", "b/"), ("mixed", ""))
        for side in ("left.jpg", "right.jpg", "left.depth.png", "right.depth.png")
    ],
    "FlyingThings3D": [
        f"FlyingThings3D/{name}/TRAIN/A/0{end}"
        for name, end in (
            ("frames_cleanpass", "/left/0.png"),
            ("frames_cleanpass", "/left/1.png"),
            ("optical_flow", "/into_future/left/0.pfm"),
            ("optical_flow", "/into_future/left/1.pfm"),
        )
    ],
    "HD1K": [
        f"hd1k/{name}"
        for i in range(36)
        for name in (
            f"hd1k_flow_gt/flow_occ/{i:06d}_0.png",
            f"hd1k_flow_gt/flow_occ/{i:06d}_1.png",
            f"hd1k_input/image_2/{i:06d}_0.png",
            f"hd1k_input/image_2/{i:06d}_1.png",
        )
    ],
    "Imagenette": ["imagenette2/train/n01440764/0.jpeg", "imagenette2/val/n01440764/0.jpeg"],
    "INaturalist": ["2021_train/00000_Animalia_a_b_c_d_e_f/0.jpg"],
    "Kitti2012Stereo": [
        f"Kitti2012/training/{name}"
        for name in ("colored_0/0_10.png", "colored_1/0_10.png", "disp_noc/0.png")
    ],
    "KittiFlow": [
        f"KittiFlow/{split}/{name}"
        for split in ("training", "testing")
        for name in ("image_2/0_10.png", "image_2/0_11.png", "flow_occ/0_10.png")
    ],
    "Middlebury2014Stereo": [
        f"Middlebury2014/train/Adirondack-perfect/{name}"
        for name in ("im0.png", "im1.png", "disp0.pfm", "disp1.pfm")
    ],
    "Omniglot": ["omniglot-py/images_background/Greek/character01/0_0.png"],
    "SceneFlowStereo": [
        f"SceneFlow/FlyingThings3D/{folder}/TRAIN/a/b/{side}"
        for folder, end in (("frames_cleanpass", "png"), ("disparity", "pfm"))
        for side in (f"left/0.{end}", f"right/0.{end}")
    ],
    "Sintel": [
        "Sintel/training/clean/a/0.png",
        "Sintel/training/clean/a/1.png",
        "Sintel/training/flow/a/0.flo",
    ],
}
"""Files with names that the folder cannot guess."""
IS_FILE = re.compile(r"[^/]\.[^/.]+$|-ubyte$|-int$|_batch|python/(train|test|meta)$")
EVENTS = ("open", "os.listdir", "os.scandir")
FILLING = ("a/0.png", "a/0.jpg", "b/1.png", "0.png", "1.jpg", "2.txt", "3.csv")


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


class HostileFolder:
    """A folder in which every file that is looked for appears, with the same content.

    What has an ending is a file, and so is what is opened; everything else is a folder. A folder
    that is listed has some folders and files of its own.
    """

    current = None
    is_busy = False

    def __init__(self, root, content, patch):
        self.root, self.content, self.opened = str(root), content, set()
        for name in ("stat", "lstat"):
            patch.setattr(os, name, partial(self._stat, getattr(os, name)))
        patch.setattr("torchvision.datasets.utils.check_md5", lambda *args, **kwargs: True)

    def add(self, path):
        """Puts a file there."""
        self._appear(os.path.join(self.root, path), is_file=True)

    def _stat(self, stat, path, *args, **kwargs):
        if self._is_inside(path) and not HostileFolder.is_busy:
            try:
                return stat(path, *args, **kwargs)
            except OSError:
                self._appear(os.path.abspath(path), is_file=bool(IS_FILE.search(str(path))))
        return stat(path, *args, **kwargs)

    def notice(self, event, path):
        """Called before anything is opened or listed."""
        if not self._is_inside(path):
            return
        path = os.path.abspath(path)
        if event == "open":
            self._appear(path, is_file=True)
            self.opened.add(path)
        elif event in ("os.listdir", "os.scandir"):
            self._appear(path, is_file=False)
            if not os.listdir(path):
                for name in FILLING:
                    self._appear(os.path.join(path, name), is_file=True)

    def _is_inside(self, path):
        is_path = isinstance(path, str | os.PathLike)
        return is_path and f"{os.path.abspath(path)}/".startswith(f"{self.root}/")

    def _appear(self, path, *, is_file):
        before, HostileFolder.is_busy = HostileFolder.is_busy, True
        try:
            if is_file and os.path.isdir(path):
                shutil.rmtree(path)
            os.makedirs(os.path.dirname(path) if is_file else path, exist_ok=True)
            if is_file and not os.path.exists(path):
                with open(path, "wb") as file:
                    file.write(self.content)
        except OSError:
            pass
        finally:
            HostileFolder.is_busy = before


def _audit(event, arguments):
    folder = HostileFolder.current
    if (
        folder is None
        or HostileFolder.is_busy
        or event not in ("open", "os.listdir", "os.scandir")
    ):
        return
    HostileFolder.is_busy = True
    try:
        folder.notice(event, arguments[0])
    finally:
        HostileFolder.is_busy = False


sys.addaudithook(_audit)  # stays, and does nothing without a folder


@pytest.fixture
def read_everything(tmp_path, monkeypatch):
    """Reads a data set whose every file has the same content; returns the folder."""

    def read(name, content):
        root = tmp_path / "root"
        root.mkdir(exist_ok=True)
        import_torchvision()
        arguments = dict(ARGUMENTS.get(name, {}))
        for key in arguments.keys() & {"annFile", "ann_file"}:
            arguments[key] = str(root / arguments[key])
        monkeypatch.chdir(root)
        data = TorchvisionDataset(name=name, root=str(root), arguments=arguments)
        with monkeypatch.context() as patch:
            folder = HostileFolder(root, content, patch)
            for path in LAYOUTS.get(name, []):
                folder.add(path)
            patch.setattr(HostileFolder, "current", folder)
            for split in SPLIT_NAMES:
                with contextlib.suppress(VaezooError):
                    next(Loader(data.split(split), torch.device("cpu"), 1).ordered())
        return folder

    return read


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", [*ADMITTED, *REFUSED])
def test_a_pickle_in_the_place_of_any_file_never_runs(
    name, tmp_path, read_everything, monkeypatch
):
    marker, unpickled = tmp_path / "marker", []
    for module, function in ((pickle, "load"), (pickle, "loads"), (torch, "load")):
        original = getattr(module, function)
        monkeypatch.setattr(
            module,
            function,
            lambda *args, original=original, **kwargs: (
                unpickled.append(args) or original(*args, **kwargs)
            ),
        )
    folder = read_everything(name, pickle.dumps(Payload(marker)))
    assert not marker.exists() and not unpickled
    needs_package = name.startswith("Coco") or name == "PCAM"
    assert folder.opened or name in ("FakeData", *REFUSED) or needs_package


def test_the_hostile_folder_would_be_noticed(tmp_path, read_everything, monkeypatch):
    """The folder makes torchvision's own reading run the payload."""
    monkeypatch.setattr(
        "vaezoo.data.datasets.torchvision.open_source",
        lambda datasets, name, options: getattr(datasets, name)(**options),
    )
    read_everything("CIFAR10", pickle.dumps(Payload(tmp_path / "marker")))
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("name", ADMITTED)
def test_no_module_of_an_admitted_data_set_reads_a_pickle(name):
    """For versions of torchvision to come: a data set that changes has to be looked at again."""
    datasets = import_torchvision().datasets
    cls = sources.find_class(datasets, name)
    for base in cls.__mro__:
        if not base.__module__.startswith("torchvision"):
            continue
        found = {
            word
            for node in ast.walk(ast.parse(inspect.getsource(inspect.getmodule(base))))
            for word in [getattr(node, "attr", getattr(node, "id", None))]
            if word in {"pickle", "dill", "joblib", "eval", "exec", "unsafe_load"}
            or (isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.load")
        }
        allowed = {"pickle"} if "cifar" in base.__module__ else set()
        allowed = {"load"} if base.__module__.endswith(".mnist") else allowed
        assert found <= allowed


@pytest.mark.parametrize("name", REFUSED)
def test_a_set_that_reads_a_pickle_of_anybody_is_refused(name, refuses, tmp_path):
    data = TorchvisionDataset(name=name, root=str(tmp_path))
    refuses(DataError, lambda: data.split("train"), name, "may run any program", "use ")


@pytest.mark.parametrize("name", ["UCF101", "Kinetics", "MovingMNIST"])
def test_a_set_that_nobody_looked_at_is_refused(name, refuses, tmp_path):
    data = TorchvisionDataset(name=name, root=str(tmp_path))
    refuses(DataError, lambda: data.split("train"), name, "not among", "use image-folder")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", ["CelebA", "Kitti", "GTSRB"])
def test_postscript_that_is_called_png_starts_no_interpreter(
    name, tmp_path, read_everything, monkeypatch
):
    started = []
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", "gs")
    monkeypatch.setattr("subprocess.check_call", lambda *args, **kwargs: started.append(args))

    class Source(list):
        def __getitem__(self, index):
            image = Image.open(super().__getitem__(index))
            return (image if name == "CelebA" else image.convert("RGB")), 0

    file = tmp_path / "a.png"
    file.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    monkeypatch.setattr(
        "vaezoo.data.datasets.torchvision.open_source", lambda *args: Source([file])
    )
    data = TorchvisionDataset(name=name, root=str(tmp_path))
    with pytest.raises(DataError, match="cannot be read"):
        _ = data.spec
    assert not started and EpsImagePlugin.gs_binary == "gs"


def python2_batch(pixels, labels, name="labels"):
    """A batch as Python 2 wrote those of CIFAR: protocol 2, the pixels as a string."""

    def short(text):
        return b"U" + bytes([len(text)]) + text.encode()

    raw = pixels.tobytes()
    rows, columns = pixels.shape
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nq\x06K\x00\x85U\x01b\x87Rq\x07"
        b"(K\x01M" + struct.pack("<H", rows) + b"M" + struct.pack("<H", columns) + b"\x86"
        b"cnumpy\ndtype\nq\x08U\x02u1K\x00K\x01\x87Rq\x09(K\x03U\x01|NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<I", len(raw)) + raw + b"tb"
    )
    numbers = b"".join(b"K" + bytes([label]) for label in labels)
    return (
        b"\x80\x02}q\x01("
        + (short("batch_label") + b"q\x02" + short("training batch 1 of 5") + b"q\x03")
        + (short(name) + b"q\x04](" + numbers + b"e")
        + (short("data") + array + short("filenames") + b"](" + short("a.png") + b"eu.")
    )


def test_batches_are_read_as_python_2_wrote_them(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3072), dtype=np.uint8)
    file = tmp_path / "data_batch_1"
    file.write_bytes(python2_batch(pixels, [3, 1, 4, 1]))
    expected = pickle.loads(file.read_bytes(), encoding="latin1")
    batch = read_batch(file)
    assert np.array_equal(batch.pop("data"), pixels)
    assert np.array_equal(expected.pop("data"), pixels)
    assert (
        batch
        == expected
        == {
            "batch_label": "training batch 1 of 5",
            "labels": [3, 1, 4, 1],
            "filenames": ["a.png"],
        }
    )


@pytest.mark.parametrize("protocol", range(5))
def test_names_of_classes_are_read_in_every_protocol(protocol, tmp_path):
    meta = {"num_cases_per_batch": 10000, "label_names": ["cat", "dog"], "none": None, "t": (1,)}
    file = tmp_path / "batches.meta"
    file.write_bytes(pickle.dumps(meta, protocol=protocol))
    assert read_batch(file) == meta
    file.write_bytes(
        b"(dp1\nS'num_cases_per_batch'\np2\nI10000\nsS'label_names'\np3\n(lp4\nS'cat'\np5\naS'dog'"
        b"\np6\nas."
    )
    assert read_batch(file) == {"num_cases_per_batch": 10000, "label_names": ["cat", "dog"]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a pickle",
        b"\x80\x02]q\x01.",
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x02}(U\x01acos\nsystem\nU\x04true\x85Ru.",
        b"\x80\x02}(U\x01a(S'true'\nios\nsystem\nu.",
        b"\x80\x02}(U\x01acos\nsystem\n)\x81u.",
        b"\x80\x02}(U\x01aU\x01bQu.",
        b"\x80\x02}(U\x01a\x82\x01u.",
        b"\x80\x02}(K\x01K\x02u.",
        b"\x80\x02}(U\x01au.",
        b"\x80\x02}(U\x01ah\x07u.",
        b"\x80\x02}u.",
        b"\x80\x02.",
        b"\x80\x02}(U\x01acnumpy\ndtype\nU\x02O8\x85Ru.",
        b"\x80\x02}(U\x01acbuiltins\neval\nU\x011\x85Rb.",
        pickle.dumps({"data": np.zeros((2, 3))}, protocol=4),
        pickle.dumps({"data": np.array([{}])}, protocol=4),
        python2_batch(np.zeros((4, 3072), np.uint8), [1]).replace(b"M\x04\x00", b"M\x05\x00"),
        python2_batch(np.zeros((4, 3072), np.uint8), [1])[:-20],
    ],
)
def test_anything_but_plain_data_is_refused(content, tmp_path, refuses):
    (tmp_path / "data_batch_1").write_bytes(content)
    refuses(ValueError, lambda: read_batch(tmp_path / "data_batch_1"), "not a batch of CIFAR")


def test_every_operation_of_the_format_calls_nothing(tmp_path):
    """Each operation after a callable and its arguments: none calls it."""
    marker = tmp_path / "marker"
    argument = f"S'{marker}'\n".encode()
    for operation in pickletools.opcodes:
        code = operation.code.encode("latin-1")
        for tail in (code + b".", code + b"pathlib\nPath.touch\n.", b"t" + code + b"."):
            file = tmp_path / "batch"
            file.write_bytes(b"cpathlib\nPath.touch\n(cpathlib\nPath\n(" + argument + b"t" + tail)
            try:
                assert not any(isinstance(item, Path) for item in read_batch(file).values())
            except ValueError as error:
                assert "not a batch of CIFAR" in str(error)
    assert not marker.exists()
