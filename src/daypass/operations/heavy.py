"""Decides where work runs, so that it delays no other request: simulations, explanations, lint, password hashes, reports.

All work that a tenant can make expensive goes through this module. Callers say what the work is and how much text it
parses. Such work waits, for seconds under load: who has lost the credentials meanwhile gets nothing (attack A617).
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from typing import Any, Final, TypeVar

from daypass.domain.policy.compiled import PolicyDocument
from daypass.operations.authenticate import authenticated_again
from daypass.operations.principals import compiled
from daypass.ports import Call, Env

T = TypeVar("T")


SMALL: Final = 1_000
"""Characters of a caller's text that are parsed in the server's process: about a millisecond. A longer text is heavy work,
because threads that compute take the interpreter lock from the journal's writer at each of its statements (attack A312).
"""

QUICK: Final = 12_288
"""Characters of a caller's text whose parsing is quick work: at most some tenths of a second. All accounts share one
process for quick work, and a policy of 128 KB takes seconds (attack A113).
"""


async def read(
    env: Env, call: Call, work: Callable[..., T], *args: Any, size: int | None = None, urgent: bool = False
) -> T:
    """`work(scene, *args)` for the caller's account; `work` is a function of a module. See `ports.HeavyWork`.

    `size`: characters of the caller's text that it parses; small work runs on a read thread. None: it is expensive
    whatever it is given. `urgent`: see `Directory.read`.
    """
    account = call.caller.account
    if size is not None and size <= SMALL:
        return await env.directory.read(lambda tx: work(env.scene(tx), *args), account=account, urgent=urgent)
    found = await env.heavy.read(account, work, *args, quick=size is not None and size <= QUICK)
    await authenticated_again(env, call.caller)
    return found


async def compute(env: Env, account: str, work: Callable[..., T], *args: Any, size: int | None = None) -> T:
    """`work(*args)` for an account, without a database. `size`: as for `read`; small work runs on the event loop."""
    if size is not None and size <= SMALL:
        return work(*args)
    return await env.heavy.compute(account, work, *args, quick=size is not None and size <= QUICK)


async def compute_for(env: Env, call: Call, work: Callable[..., T], *args: Any, size: int | None = None) -> T:
    """`compute` for the caller."""
    found = await compute(env, call.caller.account, work, *args, size=size)
    await authenticated_again(env, call.caller)
    return found


async def parse(env: Env, call: Call, work: Callable[[str], T], text: str) -> T:
    """`work(text)` for the caller. `work` is a function of a module."""
    return await compute_for(env, call, work, text, size=len(text))


def _portable(document: PolicyDocument) -> tuple[Any, ...]:
    """A document is passed as its text and compiled by the receiver. One that was altered after compiling must not be passed."""
    return compiled, (document.text, document.kind)


copyreg.pickle(PolicyDocument, _portable)
