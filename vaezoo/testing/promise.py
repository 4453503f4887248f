"""A promise: one thing that every component of a kind must keep, and how it is checked."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection
from dataclasses import KW_ONLY, dataclass

import torch

from vaezoo.testing.case import Case
from vaezoo.utils.errors import one_line, shorten
from vaezoo.utils.seeds import seeded

_IN_PLACE = "modified by an inplace operation"
_CHANGES = (
    "changes in place a tensor that its gradient needs, such as z or the code; work on a copy "
    "(avoid mul_(), relu_() and inplace=True)"
)
"""What autograd says of a tensor that was changed, and what it means."""

Check = Callable[[Case], None]
Applies = Callable[[Case], bool]


@dataclass(frozen=True)
class Rule:
    """What every component of some kinds promises.

    Attributes:
        title: the promise in a few words.
        kinds: the kinds that promise it.
        check: raises AssertionError where a component breaks it.
        applies: whether it makes sense for a component, which is not asked of others.
        needs_model: whether it is checked in a model.
    """

    title: str
    kinds: Collection[str]
    check: Check
    _: KW_ONLY
    applies: Applies = lambda case: True
    needs_model: bool = True


@dataclass(frozen=True)
class Promise:
    """One promise of one component, or of a plugin as a whole.

    ``str`` of it is the name of a test, such as ``encoder 'cosine': examples stay apart``.

    Attributes:
        subject: the component, or the plugin.
        title: the promise in a few words.
        run: checks it.
    """

    subject: str
    title: str
    run: Callable[[], None]

    def check(self) -> None:
        """Checks the promise.

        Raises:
            AssertionError: it is broken; one line that names the component and the mistake, and
                says what to do.
        """
        with warnings.catch_warnings(), seeded(torch.device("cpu"), "promise", str(self)):
            warnings.simplefilter("ignore")
            try:
                self.run()
            except AssertionError as error:
                message = one_line(error)
                known = (
                    message if message.startswith(self.subject) else f"{self.subject}: {message}"
                )
                raise AssertionError(known) from None
            except Exception as error:
                if _IN_PLACE in str(error):
                    raise AssertionError(f"{self.subject}: {_CHANGES}") from error
                reason = shorten(one_line(error), 400)
                raise AssertionError(
                    f"{self.subject} fails where it must keep the promise {self.title!r}: "
                    f"{type(error).__name__}: {reason}"
                ) from error

    def __str__(self) -> str:
        return f"{self.subject}: {self.title}"
