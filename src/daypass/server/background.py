"""Work in the background: tasks of accounts, bounded in number, and the delivery of events and notifications."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import uvloop

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.observability import logs
from daypass.operations.notifications import MAX_ACCOUNTS, deliver_due, waiting_accounts
from daypass.operations.ssf.push import due_streams, push_stream, queue_revocations
from daypass.ports import Env
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


# --- Security events


AT_ONCE: Final = 16
"""Streams that a process pushes at once."""
AT_ONCE_OF_ACCOUNT: Final = 4
_SECONDS: Final = 1.0


def new_pushes() -> AccountTasks:
    """The streams that this process pushes, each in a task."""
    return AccountTasks("security_events", AT_ONCE, AT_ONCE_OF_ACCOUNT)


async def follow(env: Env) -> None:
    """Works until it is cancelled or the server stops. Failures are retried a second later. Without a public URL
    streams do not exist, so do not start it.
    """
    queued, failures, pushes = -1, Failures("security_events"), new_pushes()
    try:
        while not env.revocations.closed:
            version = env.revocations.version
            try:
                if version != queued:
                    await queue_revocations(env)
                    queued = version
                await start_due(env, pushes)
                failures.ended()
            except Exception as error:  # noqa: BLE001  # the loop must continue; what is queued is in the database
                failures.report(error)
            await env.revocations.changed(version, _SECONDS)
    finally:
        await pushes.stop()


async def start_due(env: Env, pushes: AccountTasks) -> None:
    """Starts to push streams that are due, as far as there is room. Raises DaypassError(UNAVAILABLE)."""
    for stream in await due_streams(env):
        pushes.start(stream.id, stream.account, partial(push_stream, env, stream))


# --- Notifications. Each account has its own task, so that its slow receivers delay neither others nor the sweeps


ACCOUNTS_AT_ONCE: Final = 32
"""Accounts to whose receivers a process delivers at once."""


async def follow_notifications(env: Env, seconds: float) -> None:
    """Looks every `seconds` for what is due, until it is cancelled. Failures are retried."""
    tasks, failures, last = AccountTasks("notifications", ACCOUNTS_AT_ONCE, 1), Failures("notifications"), ""
    try:
        while True:
            await asyncio.sleep(seconds)
            try:
                last = await _start(env, tasks, last)
                failures.ended()
            except Exception as error:  # noqa: BLE001  # the loop must continue
                failures.report(error)
    finally:
        await tasks.stop()


async def _start(env: Env, tasks: AccountTasks, last: str) -> str:
    """Starts tasks for accounts after `last`, and returns the account after which the next look begins."""
    accounts = await waiting_accounts(env, last)
    for account in accounts:
        if tasks.full:
            return last
        tasks.start(account, account, partial(deliver_due, env, account))
        last = account
    return last if len(accounts) == MAX_ACCOUNTS else ""
