"""`ports.HeavyWork` without processes, for tests of what runs there.

A worker process takes half a second of computing to start, and a server of a test lives for less. `IN_PROCESS` is the
section `heavy` of settings for such a server: the work is done by its threads. It goes through pickle, as for a process
(`pickle_work`, for all tests). Tests that are about the processes leave that section out.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, Final, TypeVar

import pytest

from daypass.domain.errors import DaypassError
from daypass.server import from_settings
from daypass.server.heavy import HeavyOnThreads

T = TypeVar("T")

IN_PROCESS: Final[dict[str, Any]] = {"processes": 0}


class PickledHeavyWork:
    """Computes at once, but passes function, arguments, result and error through pickle, as a worker process does.

    `asked`: the account and the name of the function of each call. `computing`: whether one is running.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.computing = False

    async def compute(self, account: str, work: Callable[..., T], *args: Any, quick: bool = False) -> T:
        """See `ports.HeavyWork`."""
        self.asked.append((account, work.__qualname__))
        function, arguments = _pickled((work, args))
        self.computing = True
        try:
            return _pickled(function(*arguments))
        except DaypassError as error:
            raise _pickled(error) from None
        finally:
            self.computing = False

    async def read(self, account: str, work: Callable[..., T], *args: Any, quick: bool = False) -> T:
        """There is no database."""
        raise NotImplementedError(account, work, args, quick)


class _PickledOnThreads(HeavyOnThreads):
    async def read(self, account: str, work: Callable[..., T], *args: Any, quick: bool = False) -> T:
        function, arguments = _pickled((work, args))
        try:
            return _pickled(await super().read(account, function, *arguments, quick=quick))
        except DaypassError as error:
            raise _pickled(error) from None

    async def compute(self, account: str, work: Callable[..., T], *args: Any, quick: bool = False) -> T:
        function, arguments = _pickled((work, args))
        try:
            return _pickled(await super().compute(account, function, *arguments, quick=quick))
        except DaypassError as error:
            raise _pickled(error) from None


def pickle_work(patch: pytest.MonkeyPatch) -> None:
    """Work that threads do goes through pickle."""
    patch.setattr(from_settings, "HeavyOnThreads", _PickledOnThreads)


def _pickled(value: T) -> T:
    copy: T = pickle.loads(pickle.dumps(value))
    return copy
