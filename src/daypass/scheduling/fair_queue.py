"""A queue in which accounts take turns, so that one account's entries cannot delay those of another."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final, Generic, TypeVar

from daypass.domain.errors import DaypassError, ErrorKind

E = TypeVar("E")

_ACCOUNTS: Final = 10_000  # with entries in the queue; more than that is an overload, not unfairness
_THROTTLED: Final = "Rate exceeded"


class FairQueue(Generic[E]):
    """Entries by account, in the order of the accounts' turns. It is not safe to share between threads.

    Args:
        most_of_account: entries of one account; the next one is refused with THROTTLED.
    """

    __slots__ = ("_most", "_queues", "_size")

    def __init__(self, most_of_account: int) -> None:
        self._most = most_of_account
        self._queues: OrderedDict[str, deque[E]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, account: str, entry: E, *, ahead: bool = False) -> None:
        """`ahead`: before the account's other entries. Raises DaypassError(THROTTLED) when the account, or the queue as a whole, has too many entries."""
        queue = self._queues.get(account)
        if queue is None:
            if len(self._queues) >= _ACCOUNTS:
                raise _throttled("too many accounts have work in the queue")
            queue = self._queues[account] = deque()
        if len(queue) >= self._most:
            raise _throttled("too much work of the account")
        (queue.appendleft if ahead else queue.append)(entry)
        self._size += 1

    def take(self) -> E:
        """The next entry of the account whose turn it is. Its next turn comes after those of all others.

        Raises KeyError when the queue is empty.
        """
        account, queue = self._queues.popitem(last=False)
        entry = queue.popleft()
        if queue:
            self._queues[account] = queue
        self._size -= 1
        return entry

    def clear(self) -> list[E]:
        """Removes and returns all entries."""
        entries = [entry for queue in self._queues.values() for entry in queue]
        self._queues.clear()
        self._size = 0
        return entries


def _throttled(reason: str) -> DaypassError:
    return DaypassError(ErrorKind.THROTTLED, _THROTTLED, private={"reason": reason})
