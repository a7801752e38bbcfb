"""A pool of threads that is fair between accounts, with threads reserved for urgent work.

Each account has its own queue, and the queues take turns. Urgent work (revocations, blocks, changes of keys) has queues
of its own that come first, and threads that no other work may occupy.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Final, Generic, TypeVar

from daypass.domain.errors import DaypassError, ErrorKind

T = TypeVar("T")

_UNAVAILABLE = "The service is unavailable. Please try again shortly."


class Job:
    """One piece of work. `abandoned`: no caller waits for the result any more."""

    __slots__ = ("abandoned", "future", "work")

    def __init__(self, work: Callable[[Job], Any]) -> None:
        self.work = work
        self.future: Future[Any] = Future()
        self.abandoned = False


class FairThreads:
    """The pool. Threads start when they are first needed.

    Args:
        threads: how many, those in reserve included.
        reserved: threads that only urgent work may use; less than `threads`.
        most_of_account: jobs of one account that may wait; the next one is refused with THROTTLED.
    """

    def __init__(self, threads: int, name: str, *, reserved: int = 0, most_of_account: int = 100) -> None:
        self._limit = threads
        self._usual_limit = threads - reserved
        self._name = name
        self._ready = threading.Condition()
        self._urgent: FairQueue[Job] = FairQueue(most_of_account)
        self._usual: FairQueue[Job] = FairQueue(most_of_account)
        self._usual_running = 0
        self._idle = 0
        self._threads: list[threading.Thread] = []
        self._closed = False

    @property
    def waiting(self) -> int:
        """Jobs in the queues."""
        with self._ready:
            return len(self._urgent) + len(self._usual)

    async def run(self, account: str, work: Callable[[Job], T], *, urgent: bool = False) -> T:
        """Runs `work` on a thread of the pool, with its job, and returns its result.

        When the caller is cancelled, waiting work is dropped, and `Job.abandoned` is set for running work. Raises
        DaypassError: THROTTLED when the account has too much in the queue, UNAVAILABLE when the pool is closed.
        """
        job = Job(work)
        self._put(account, job, urgent=urgent)
        try:
            result: T = await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            job.abandoned = True
            raise
        return result

    def stop(self) -> None:
        """Drops waiting work. Running work continues to its end."""
        with self._ready:
            self._closed = True
            dropped = self._urgent.clear() + self._usual.clear()
            self._ready.notify_all()
        for job in dropped:
            job.future.cancel()

    def close(self) -> None:
        """Drops waiting work and returns when the threads have ended."""
        self.stop()
        for thread in self._threads:
            thread.join()

    def _put(self, account: str, job: Job, *, urgent: bool) -> None:
        with self._ready:
            if self._closed:
                raise DaypassError(ErrorKind.UNAVAILABLE, _UNAVAILABLE)
            (self._urgent if urgent else self._usual).put(account, job)
            # Each waiting job needs its own thread; an idle thread that was notified before has not woken yet.
            if len(self._urgent) + len(self._usual) > self._idle and len(self._threads) < self._limit:
                self._start_thread()
            self._ready.notify()

    def _start_thread(self) -> None:
        """When the system has no room for one, those that run do the work. Raises DaypassError(UNAVAILABLE): there is none."""
        thread = threading.Thread(target=self._serve, name=f"{self._name}_{len(self._threads)}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if self._threads:
                return
            for job in self._urgent.clear() + self._usual.clear():
                job.future.cancel()
            private = {"reason": f"{error}: too little memory, or too many threads"}
            raise DaypassError(ErrorKind.UNAVAILABLE, _UNAVAILABLE, private=private) from None
        self._threads.append(thread)

    def _serve(self) -> None:
        while True:
            with self._ready:
                taken = self._next()
                while taken is None and not self._closed:
                    self._idle += 1
                    self._ready.wait()
                    self._idle -= 1
                    taken = self._next()
                if taken is None:
                    return
            job, usual = taken
            try:
                _do(job)
            finally:
                if usual:
                    with self._ready:
                        self._usual_running -= 1
                        self._ready.notify()

    def _next(self) -> tuple[Job, bool] | None:
        """The next job and whether it is a usual one, not an urgent one; None when there is none for this thread."""
        if self._urgent:
            return self._urgent.take(), False
        if not self._usual or self._usual_running >= self._usual_limit:
            return None
        self._usual_running += 1
        return self._usual.take(), True


def _do(job: Job) -> None:
    future = job.future
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = job.work(job)
    except BaseException as error:  # noqa: BLE001  # the waiting caller gets it
        future.set_exception(error)
    else:
        future.set_result(result)


# --- A queue in which accounts take turns, so that one account's entries cannot delay those of another


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


# --- Abandons work whose client has disconnected, where nothing is lost by that


_WAITING: Final[dict[asyncio.Task[Any], Callable[[], object]]] = {}
"""The functions that abandon the work that tasks wait for. An entry exists as long as the wait."""


@contextmanager
def abandonable(give_up: Callable[[], object]) -> Iterator[None]:
    """While the current task is in this block, `abandon` calls `give_up`."""
    task = asyncio.current_task()
    assert task is not None
    _WAITING[task] = give_up
    try:
        yield
    finally:
        del _WAITING[task]


def abandon(task: asyncio.Task[Any]) -> None:
    """Called when no client waits for this task any more."""
    give_up = _WAITING.get(task)
    if give_up is not None:
        give_up()
