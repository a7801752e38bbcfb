"""Delivers in the background: security events at once after a revocation, and what is due every second; and notifications.

Each stream is pushed by a separate task, so that a slow receiver delays neither other streams nor the queueing. An
account has only some of the tasks.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from daypass.operations.notifications.notify import MAX_ACCOUNTS, deliver_due, waiting_accounts
from daypass.operations.ssf.push import due_streams, push_stream
from daypass.operations.ssf.queue import queue_revocations
from daypass.ports import Env
from daypass.server.background import AccountTasks, Failures

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
