"""Who may manage what: authorizing the calls of the management API, within an account and across accounts.

A resource is `arn:aws:daypass::ACCOUNT:KIND/NAME` of the account that owns it. Its own principals need their own policies
to allow the action. Of other accounts only the operator's principals may act, as if each resource had a policy that
delegates to the operator account: there is one evaluator here too, and no other way past it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from daypass.domain.arn import root_arn
from daypass.domain.claims import Caller
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.document import PolicyKind, compile_stored
from daypass.domain.policy.model import Decision, NamedPolicy
from daypass.operations.authorize import authorize
from daypass.ports import Call, Env, Records, Viewer

EVERY_ACCOUNT = "*"
"""In place of an account id: all of them. For the operator alone."""


class Scope(NamedTuple):
    """What a reader was allowed to look at. `account` is "" when that is every account."""

    viewer: Viewer
    account: str
    decision: Decision


def arn_of(account: str, kind: str, name: str) -> str:
    """The ARN of something that is managed."""
    return f"arn:aws:daypass::{account}:{kind}/{name}"


async def allow(env: Env, call: Call, action: str, kind: str, name: str, account: str = "") -> Decision:
    """The decision that lets the caller do `daypass:ACTION` on what `account` (default: the caller's) owns.

    Raises DaypassError(ACCESS_DENIED); between accounts it reads the same whether the thing or the account exists.
    Who is not the operator's gets no further than this with another account, whatever any policy would say.
    """
    own = call.caller.account
    owner = account or own
    resource = arn_of(owner, kind, name)
    delegated = None
    if owner != own:
        if not await is_operator(env, call.caller):
            raise _not_the_operator(call, action, resource, "it belongs to another account")
        delegated = _delegation(own)
    return await authorize(env, call, f"daypass:{action}", resource, resource_policy=delegated)


async def allow_operator(env: Env, call: Call, action: str, kind: str, name: str, account: str = "") -> Decision:
    """As `allow`, for what only the operator's principals may ever do, even to their own account."""
    if not await is_operator(env, call.caller):
        resource = arn_of(account or call.caller.account, kind, name)
        raise _not_the_operator(call, action, resource, "it is for the operator account alone")
    return await allow(env, call, action, kind, name, account)


async def allow_reading(env: Env, call: Call, action: str, kind: str, account: str) -> Scope:
    """What the caller may read of `account`: "" is its own, EVERY_ACCOUNT all of them."""
    decision = await allow(env, call, action, kind, "*", account)
    own = call.caller.account
    if account in ("", own):
        return Scope(Viewer(own), own, decision)
    # The view follows from the fact, never from the decision alone.
    viewer = Viewer(own, operator=await is_operator(env, call.caller))
    return Scope(viewer, "" if account == EVERY_ACCOUNT else account, decision)


async def is_operator(env: Env, caller: Caller) -> bool:
    """Whether the caller belongs to the account that operates the installation."""
    view = await env.directory.account(caller.account)
    return view is not None and view.account.operator


def records_of(env: Env) -> Records:
    """The reader of the record. Raises DaypassError(UNAVAILABLE) where there is none."""
    if env.records is None:
        raise DaypassError(ErrorKind.UNAVAILABLE, "The record cannot be read here.")
    return env.records


def _not_the_operator(call: Call, action: str, resource: str, because: str) -> DaypassError:
    return DaypassError(
        ErrorKind.ACCESS_DENIED,
        f"User: {call.caller.arn} is not authorized to perform: daypass:{action} on resource: {resource} because {because}",
        private={"resource": resource, "reason": "not the operator account"},
    )


@lru_cache(maxsize=8)
def _delegation(operator: str) -> NamedPolicy:
    text = (
        f'{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"AWS":"{root_arn(operator)}"}},'
        '"Action":"daypass:*","Resource":"*"}]}'
    )
    return NamedPolicy("operator", compile_stored(text, PolicyKind.RESOURCE))
