"""Runs slow work where it delays no other request: simulations, explanations, lint, password hashes, reports.

All work that a tenant can make expensive goes through this module.
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from typing import Any, Final, TypeVar

from daypass.domain.policy.compiled import PolicyDocument
from daypass.operations.stored_policies import compiled
from daypass.ports import Call, Env

T = TypeVar("T")


LARGE_TEXT: Final = 1_000
"""Characters of a policy document that is parsed and linted on a read thread; a longer one is heavy work, because threads
that compute take the interpreter lock from the journal's writer at each of its statements (attack A312).
"""

INLINE_TEXT: Final = 1_000
"""Characters of a caller's text that are parsed on the event loop: about a millisecond."""


QUICK_TEXT: Final = 12_288
"""Characters of a caller's text whose parsing is quick work: at most some tenths of a second. All accounts share one
process for quick work, and a policy of 128 KB takes seconds (attack A113).
"""


async def read(env: Env, call: Call, work: Callable[..., T], *args: Any, quick: bool = False) -> T:
    """`work(scene, *args)` for the caller's account; `work` is a function of a module. See `ports.HeavyWork`."""
    return await env.heavy.read(call.caller.account, work, *args, quick=quick)


async def compute(env: Env, account: str, work: Callable[..., T], *args: Any, quick: bool = False) -> T:
    """`work(*args)` for an account. See `ports.HeavyWork`."""
    return await env.heavy.compute(account, work, *args, quick=quick)


async def parse(env: Env, account: str, work: Callable[[str], T], text: str) -> T:
    """`work(text)`, on the event loop for a short text and as heavy work for a long one. `work` is a function of a module."""
    if len(text) <= INLINE_TEXT:
        return work(text)
    return await compute(env, account, work, text, quick=len(text) <= QUICK_TEXT)


def _portable(document: PolicyDocument) -> tuple[Any, ...]:
    """A document is passed as its text and compiled by the receiver. One that was altered after compiling must not be passed."""
    return compiled, (document.text, document.kind)


copyreg.pickle(PolicyDocument, _portable)
