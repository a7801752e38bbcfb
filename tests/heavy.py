"""`ports.HeavyWork` without processes, for tests of what runs there."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, TypeVar

from daypass.domain.errors import DaypassError

T = TypeVar("T")


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
        function, arguments = pickle.loads(pickle.dumps((work, args)))
        self.computing = True
        try:
            result: T = pickle.loads(pickle.dumps(function(*arguments)))
        except DaypassError as error:
            refusal: DaypassError = pickle.loads(pickle.dumps(error))
            raise refusal from None
        finally:
            self.computing = False
        return result

    def prepare(self) -> None:
        """Nothing to start."""

    async def read(self, account: str, work: Callable[..., T], *args: Any, quick: bool = False) -> T:
        """There is no database."""
        raise NotImplementedError(account, work, args, quick)
