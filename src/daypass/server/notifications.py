"""Delivers notifications in the background. Each account has a task of its own, so that its slow receivers delay neither
other accounts nor the sweeps.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from daypass.operations.notifications.notify import MAX_ACCOUNTS, deliver_due, waiting_accounts
from daypass.ports import Env
from daypass.server.background import AccountTasks, Failures

AT_ONCE: Final = 32
"""Accounts to whose receivers a process delivers at once."""


async def follow(env: Env, seconds: float) -> None:
    """Looks every `seconds` for what is due, until it is cancelled. What fails is tried again."""
    tasks, failures, last = AccountTasks("notifications", AT_ONCE, 1), Failures("notifications"), ""
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
