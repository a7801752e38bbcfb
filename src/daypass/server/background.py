"""Work for accounts in the background: a bounded number of tasks, of which an account has only some. A failure ends its
task and nothing else.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.observability import logs
from daypass.server.listener import Listener, OnRefusal, not_reported


class Failures:
    """Reports failures as log events `NAME.broken` and `NAME.failed`. An outage is reported once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._failing = False

    def report(self, error: Exception) -> None:
        if not isinstance(error, DaypassError):
            logs.get().error(f"{self._name}.broken", exc_info=error)
        elif not self._failing:
            logs.get().warning(f"{self._name}.failed", **error.private)
            self._failing = True

    def ended(self) -> None:
        self._failing = False


class AccountTasks:
    """Tasks of this process, each with a key.

    Args:
        name: of the work, for its failures.
        at_once, of_account: the most tasks that run, of all accounts and of one.
    """

    def __init__(self, name: str, at_once: int, of_account: int) -> None:
        self._failures = Failures(name)
        self._at_once, self._most_of_account = at_once, of_account
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._of_account: Counter[str] = Counter()

    @property
    def full(self) -> bool:
        """Whether no further task starts now."""
        return len(self._tasks) >= self._at_once

    def start(self, key: str, account: str, work: Callable[[], Awaitable[object]]) -> None:
        """Starts a task. It does nothing if a task with this key is running, or if as many tasks run as may."""
        if not self.full and key not in self._tasks and self._of_account[account] < self._most_of_account:
            self._of_account[account] += 1
            self._tasks[key] = asyncio.create_task(self._run(key, account, work))

    async def _run(self, key: str, account: str, work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
            self._failures.ended()
        except Exception as error:  # noqa: BLE001  # what has to be done is in the database, and is found again
            self._failures.report(error)
        finally:
            del self._tasks[key]
            self._of_account[account] -= 1
            if not self._of_account[account]:
                del self._of_account[account]

    async def stop(self) -> None:
        """Cancels the tasks. Deliveries that were not written down are sent again."""
        tasks = [*self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# --- Loop


class Loop(uvloop.Loop):
    """uvloop with a different way to accept connections."""

    def __init__(self) -> None:
        super().__init__()
        self._listeners: list[Listener] = []
        self.on_refusal: OnRefusal = not_reported
        """Called for connections that end before they are connections of HTTP."""

    def use_certificate(self, context: ssl.SSLContext) -> None:
        """Makes new TLS connections use this context. Existing connections keep theirs."""
        for listener in self._listeners:
            listener.use_certificate(context)

    def _report(self, address: str, kind: ErrorKind, reason: str) -> None:
        self.on_refusal(address, kind, reason)  # set after the listeners are made

    async def create_server(  # type: ignore[override]  # passed on
        self, protocol_factory: Callable[[], Any], *args: Any, **options: Any
    ) -> asyncio.AbstractServer:
        """As in uvloop."""
        if isinstance(options.get("sock"), socket.socket) and not args:
            listener = Listener(
                self,
                options["sock"],
                protocol_factory,
                options.get("backlog", 100),
                options.get("ssl") or None,
                self._report,
            )
            self._listeners.append(listener)
            return listener
        server: asyncio.AbstractServer = await super().create_server(protocol_factory, *args, **options)
        return server
