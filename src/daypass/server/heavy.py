"""`ports.HeavyWork`: worker processes behind a pool that is fair by account, or none.

A thread of the pool waits for each process, so the event loop and the directory's readers never do the work. Work that
does not finish in time, or whose caller no longer waits, is killed with its process.
"""

from __future__ import annotations

import asyncio
import pickle
import sys
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import FeedPosition
from daypass.observability import logs
from daypass.ports import Reader, Scene
from daypass.scheduling.process import Abandoned, WorkerDied, WorkerProcess, ready
from daypass.scheduling.threads import FairThreads, Job, abandonable
from daypass.server.worker import DONE, REFUSED, Answer, Setup, Task
from daypass.stores.directory import Directory

T = TypeVar("T")

_COMMAND: Final = (sys.executable, "-m", "daypass.server.worker")
_WAIT_SECONDS: Final = 120.0  # as long as a process may take to start on a busy machine
_PREPARE_SECONDS: Final = 2.0  # a server that has just started has more urgent work
_BUSY: Final = "The request could not be processed in time. Try again later."


class HeavyOnThreads:
    """`heavy.processes = 0`: heavy work that reads runs on the directory's readers. The rest has two threads, one of them
    for quick work, because it must not need the database: client secrets are checked during an outage, too.
    """

    def __init__(self, directory: Directory, scene: Callable[[Reader], Scene]) -> None:
        self._directory = directory
        self._threads = FairThreads(2, "daypass-heavy", reserved=1)
        self._scene = scene

    async def read(self, account: str, work: Callable[..., T], *args: Any, quick: bool = False) -> T:  # noqa: ARG002  # all are the same here
        """See `ports.HeavyWork`."""
        return await self._directory.read(lambda tx: work(self._scene(tx), *args), account=account)

    async def compute(self, account: str, work: Callable[..., T], *args: Any, quick: bool = False) -> T:
        """See `ports.HeavyWork`."""
        return await self._threads.run(account, lambda _: work(*args), urgent=quick)

    @property
    def waiting(self) -> int:
        """Number of pieces of work in the queues, those that read not included."""
        return self._threads.waiting

    def prepare(self) -> None:
        """Nothing to start."""

    async def close(self) -> None:
        """Drops waiting work and returns when the threads have ended."""
        await asyncio.to_thread(self._threads.close)


class HeavyProcesses:
    """The worker processes. They start at `prepare`, or when first needed.

    Args:
        processes: how many, and one more for quick work.
        seen: the position up to which a standby must have everything.
        seconds: time limit of one piece of work from when a process has it. After that it is refused with UNAVAILABLE. Waiting
        for a process has a separate limit, besides that of the request: on a busy machine a start takes long.
        most_of_account: maximum number of waiting jobs of one account.
    """

    def __init__(
        self,
        processes: int,
        setup: Setup,
        *,
        seen: Callable[[], FeedPosition] = lambda: FeedPosition("", 0),
        seconds: float = 20.0,
        most_of_account: int = 100,
    ) -> None:
        self._setup = pickle.dumps(setup)
        self._seen = seen
        self._long = FairThreads(processes, "daypass-heavy", most_of_account=most_of_account)
        self._quick = FairThreads(1, "daypass-quick", most_of_account=most_of_account)
        self._seconds = seconds
        self._own = threading.local()
        self._workers: list[WorkerProcess] = []
        self._preparing: asyncio.Future[None] | None = None
        self.done = 0
        """Number of finished pieces of work."""

    @property
    def waiting(self) -> int:
        """Number of pieces of work in the queues."""
        return self._long.waiting + self._quick.waiting

    @property
    def pids(self) -> tuple[int, ...]:
        """Number of running processes."""
        return tuple(each.pid for each in self._workers if each.pid)

    async def read(self, account: str, work: Callable[..., T], *args: Any, quick: bool = False) -> T:
        """See `ports.HeavyWork`."""
        result: T = await self._run(account, Task(work, args, True, self._seen()), self._quick if quick else self._long)
        return result

    async def compute(self, account: str, work: Callable[..., T], *args: Any, quick: bool = False) -> T:
        """See `ports.HeavyWork`."""
        result: T = await self._run(account, Task(work, args, reads=False), self._quick if quick else self._long)
        return result

    def prepare(self) -> None:
        """Starts a process of each kind soon, and returns at once. Most first work then need not wait for that."""
        self._preparing = asyncio.ensure_future(self._prepared())

    async def _prepared(self) -> None:
        await asyncio.sleep(_PREPARE_SECONDS)
        for threads in (self._long, self._quick):  # one after the other: together they would delay the first password
            try:
                await self._run("", Task(ready, (), reads=False), threads)
            except DaypassError as error:
                logs.get().warning("heavy.not_prepared", error=str(error))

    async def close(self) -> None:
        """Kills the workers and cancels waiting work."""
        if self._preparing is not None:
            self._preparing.cancel()
        for each in self._workers:
            each.kill()
        for threads in (self._long, self._quick):
            await asyncio.to_thread(threads.close)
        if self._preparing is not None:
            await asyncio.wait([self._preparing])
        for each in self._workers:
            each.close()

    async def _run(self, account: str, task: Task, threads: FairThreads) -> Any:
        request = pickle.dumps(task, pickle.HIGHEST_PROTOCOL)
        loop, limit = asyncio.get_running_loop(), asyncio.timeout(_WAIT_SECONDS)

        def begun() -> None:
            if not (running.done() or limit.expired()):
                limit.reschedule(loop.time() + self._seconds)

        def ask(job: Job) -> Answer:
            return self._ask(request, job, lambda: loop.call_soon_threadsafe(begun))

        running = asyncio.ensure_future(threads.run(account, ask))
        try:
            with abandonable(running.cancel):
                async with limit:
                    outcome, value = await running
        except TimeoutError:
            raise DaypassError(ErrorKind.UNAVAILABLE, _BUSY, private={"reason": "heavy work took too long"}) from None
        except asyncio.CancelledError:
            task_itself = asyncio.current_task()
            if task_itself is None or task_itself.cancelling():
                raise
            private = {"reason": "the client has disconnected"}
            raise DaypassError(ErrorKind.UNAVAILABLE, _BUSY, private=private) from None
        self.done += 1
        if outcome == DONE:
            return value
        if outcome == REFUSED:
            raise value
        logs.get().error("heavy.failed", work=task.work.__qualname__, traceback=value)
        raise RuntimeError(f"heavy work failed: {task.work.__qualname__}")

    def _ask(self, request: bytes, job: Job, begun: Callable[[], object]) -> Answer:
        own: WorkerProcess | None = getattr(self._own, "worker", None)
        if own is None:
            own = self._own.worker = WorkerProcess(_COMMAND, self._setup)
            self._workers.append(own)
        try:
            own.start()
            begun()
            answer: Answer = pickle.loads(own.ask(request, lambda: job.abandoned))  # noqa: S301  # our own process
        except (Abandoned, WorkerDied) as error:
            reason = "the worker was stopped" if isinstance(error, Abandoned) else "the worker died"
            raise DaypassError(ErrorKind.UNAVAILABLE, _BUSY, private={"reason": reason}) from None
        return answer
