"""The base class of data sets, and one split of a data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.fingerprint import Fingerprint
from vaezoo.data.format import FileSteps, Format
from vaezoo.data.mapping import first_tensor, map_tensors
from vaezoo.data.proposal import Proposal
from vaezoo.data.split_files import Unreadable
from vaezoo.data.splits import SPLIT_NAMES


class Dataset(ABC):
    """Examples in the splits train, validation and test. Wiring: none."""

    unreadable: Unreadable = "error"
    """What becomes of files that cannot be read, also of those in folders of users."""

    @property
    @abstractmethod
    def spec(self) -> DataSpec:
        """Describes one example, after ``Split.transform``."""

    @abstractmethod
    def split(self, name: str) -> Split:
        """Returns the split ``train``, ``validation`` or ``test``.

        Raises:
            vaezoo.DataError: the file is missing or malformed; names the file and the row.
            vaezoo.UnavailableError: the data cannot be downloaded.
        """

    @property
    def sizes(self) -> Mapping[str, int]:
        """The number of examples of each split; unless overridden, the splits are built."""
        return {name: len(self.split(name)) for name in SPLIT_NAMES}

    @property
    def left_out(self) -> Sequence[str]:
        """What of the source is not used, for users: a phrase with a count for each reason.

        Such as ``3 files with other endings (notes.txt, ...)``. Empty unless overridden.
        """
        return ()

    @property
    def notes(self) -> Sequence[str]:
        """What of the source users should check, as it may be meant otherwise than it is used.

        Such as ``1 class without a training example (cat)``. Empty unless overridden.
        """
        return ()

    @classmethod
    def propose(cls, path: Path) -> Proposal:
        """Looks at files of a user, and proposes a spec for them: ``vaezoo new spec --from``.

        Args:
            path: a file or a folder.

        Raises:
            NotImplementedError: the data set does not propose specs.
            vaezoo.DataError: the files cannot be read as such data.
        """
        raise NotImplementedError("proposes no specs")

    def file_format(self, data: DataSpec, path: Path) -> Format | None:
        """How a file that a user gives to the trained model is read as the source was.

        With the options of this data set, such as the size of images or the window of sequences.
        The source itself must not be read: it may be elsewhere.

        Args:
            data: describes the data, as it was stored with the model.
            path: the file.

        Returns:
            The format that reads it; None, unless overridden, for the one of the file's ending.
        """
        return None

    @property
    def table(self) -> Sequence[Sequence[str]]:
        """What the data set found in the source, as the headings and rows of a table of text.

        The dry run prints it, so that users see it before training. Empty unless overridden.
        """
        return ()


class InMemoryDataset(Dataset):
    """A data set that takes its examples from Python: ``vaezoo.run(spec, data=...)``.

    Attributes:
        kind: what was given, such as ``data frame``; empty before.
    """

    kind: str = ""

    @property
    def needs_data(self) -> bool:
        """Whether it has no examples unless Python gives them; always, unless overridden."""
        return True

    @abstractmethod
    def set_data(self, data: Any) -> None:
        """Takes the data, sets ``kind``; called once, before anything is read.

        Raises:
            vaezoo.UsageError: it is nothing that the data set can be made of.
            vaezoo.DataError: a part of it cannot be converted.
        """

    @property
    @abstractmethod
    def fingerprint(self) -> Fingerprint:
        """By which a run recognises the data that was given."""


@dataclass(frozen=True)
class Split:
    """The n examples of one split of a data set.

    Attributes:
        x: all examples in the form in which they are stored, ``[n, ...]``, usually uint8 images;
            for data of several parts, a mapping of such tensors by the name of the part; or, for
            data that does not fit in memory, a map-style data set. Its items are
            ``(x, condition)``, where condition is None if the data has no conditions; or each is a
            ``Batch`` that holds one example, without the first dimension.
        condition: the conditions in memory, ``[n, ...]``, or None.
        mask: True where ``x`` is observed, bool ``[n, *shape[:mask_dims]]``, or None; for data of
            several parts, a mapping with the masks of those that have one.
        transform: converts a batch of stored ``x`` to model input; called once per batch, on the
            training device. None if ``x`` is stored as model input.
        extras: what comes with the examples by name, ``[n, ...]``, as ``DataSpec.extras`` says.
        present: True where an example has a part, bool ``[n]`` by the name of the part; None, or
            without the name, if all have it.
        names: what names each example, such as its file or the identifiers of a table, by the name
            of a column.
        steps: for each source file of sequences, in the order of the examples, the steps that the
            split has of it; empty if steps have no names.
        factors: the ground-truth factors of each example, as indices of their values, int64
            ``[n, factors]``; None if they are not known.
        batch_transform: called last, with the whole batch, to change ``x``, condition and mask
            together, for example to compute the condition from ``x``. What it leaves out of
            ``index``, ``extras`` and ``present`` is kept.
        epoch_order: returns the indices of the examples of an epoch in their order, given the
            epoch's number, a seed and the batch size. None visits each example once, shuffled.
    """

    x: Tensor | Mapping[str, Tensor] | torch.utils.data.Dataset[Any]
    condition: Tensor | None = None
    mask: Any = None
    transform: Callable[[Any], Any] | None = None
    _: KW_ONLY
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    present: Mapping[str, Tensor] | None = None
    factors: Tensor | None = None
    names: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    steps: Sequence[FileSteps] = ()
    batch_transform: Callable[[Batch], Batch] | None = None
    epoch_order: Callable[[int, int, int], Tensor] | None = None

    def __len__(self) -> int:
        x = first_tensor(self.x) if isinstance(self.x, Mapping) else self.x
        return len(x)  # type: ignore[arg-type]

    def select(self, index: Tensor) -> Split:
        """The examples at ``index`` ``[m]``, in that order, with all that belongs to them.

        ``epoch_order`` and ``steps`` of the split are not kept.
        """

        def take(value: Any) -> Any:
            return map_tensors(lambda tensor: tensor[index.to(tensor.device)], value)

        if isinstance(self.x, Tensor | Mapping):
            x = take(self.x)
        else:
            x = torch.utils.data.Subset(self.x, index.tolist())
        return replace(
            self,
            x=x,
            condition=take(self.condition),
            mask=take(self.mask),
            extras=take(self.extras),
            present=take(self.present),
            factors=take(self.factors),
            names={name: [each[i] for i in index.tolist()] for name, each in self.names.items()},
            steps=(),
            epoch_order=None,
        )
