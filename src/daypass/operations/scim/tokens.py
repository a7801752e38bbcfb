"""Bearer tokens of SCIM: made for a user, who is the principal of every SCIM request with the token."""

from __future__ import annotations

import re
from typing import Final

from daypass.domain.claims import Caller
from daypass.domain.context import resource_context
from daypass.domain.directory import ScimToken, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.jws import text_digest
from daypass.domain.ssf import CredentialChange
from daypass.operations.authenticate import caller_of_sign_in
from daypass.operations.authorize import authorize, find_current
from daypass.operations.iam.credential_changes import SCIM_TOKEN
from daypass.operations.management import InAws, allow, read_recorded
from daypass.operations.outcome import OWNER, served
from daypass.operations.ssf.queue import announce
from daypass.ports import Call, Env, Tx

PREFIX: Final = "dpscim_"
MAX_TOKENS: Final = 10
MAX_DAYS: Final = 366
_NAME: Final = re.compile(r"[A-Za-z0-9_+=,.@-]{1,64}")
_DAY_MS: Final = 86_400_000
_METHOD: Final = "scim"
_UNKNOWN: Final = "The bearer token is not valid."


async def create_token(env: Env, call: Call, name: str, user_name: str, days: int) -> tuple[ScimToken, str]:
    """daypass:CreateScimToken on `scim-token/NAME`, with what the token does in IAM on all users and groups, and with
    iam:CreateAccessKey on the user, because the token is a long-term credential of that user (attack A200). Returns the
    token's row, and the token, which is shown once.

    Raises DaypassError: ACCESS_DENIED, ALREADY_EXISTS, LIMIT_EXCEEDED, NOT_FOUND, VALIDATION.
    """
    account = call.caller.account
    if not _NAME.fullmatch(name):
        raise DaypassError(ErrorKind.VALIDATION, "A token's name is 1 to 64 letters, digits and +=,.@_-")
    if not 1 <= days <= MAX_DAYS:
        raise DaypassError(ErrorKind.VALIDATION, f"A token lasts 1 to {MAX_DAYS} days.")
    every = f"arn:aws:iam::{account}:*"
    decision = await allow(env, call, "CreateScimToken", "scim-token", name, in_aws=InAws(every))
    user = await _authorized_user(env, call, user_name)
    secret = PREFIX + env.ids.seed().hex()

    def change(tx: Tx) -> tuple[ScimToken, Event]:
        if tx.get(User, id=user.id) is None:
            raise _no_such_user(user_name)
        if tx.count(ScimToken, account=account) >= MAX_TOKENS:
            raise DaypassError(ErrorKind.LIMIT_EXCEEDED, f"An account has at most {MAX_TOKENS} SCIM tokens.")
        if tx.get(ScimToken, account=account, name=name) is not None:
            raise DaypassError(ErrorKind.ALREADY_EXISTS, f"A SCIM token with name {name} exists.")
        token = ScimToken(text_digest(secret), account, user.id, name, call.now, call.now + days * _DAY_MS)
        tx.insert(token)
        _announce(env, tx, call, token, "create")
        detail = {"scim_token": name, "user": user.arn, "expires_at": token.expires_at}
        return token, served(call, kind=EventType.DIRECTORY_CHANGED, decision=decision, detail=detail)

    return await env.journal.write(change, account=account), secret


async def _authorized_user(env: Env, call: Call, name: str) -> User:
    """The user for whom the caller may make a credential. Raises DaypassError: ACCESS_DENIED, NOT_FOUND."""
    account = call.caller.account
    user = await env.directory.read(lambda tx: tx.get(User, account=account, name=name), account=account)
    arn = user.arn if user is not None else f"arn:aws:iam::{account}:user/{name}"
    keys = resource_context(account, user.tags) if user is not None else None
    await authorize(env, call, "iam:CreateAccessKey", arn, context=keys)
    if user is None:
        raise _no_such_user(name)
    return user


def _no_such_user(name: str) -> DaypassError:
    return DaypassError(ErrorKind.NOT_FOUND, f"The user with name {name} cannot be found.")


async def list_tokens(env: Env, call: Call) -> list[ScimToken]:
    """daypass:ListScimTokens: those of the caller's account, by name."""
    return await read_recorded(
        env,
        call,
        "ListScimTokens",
        "scim-token",
        "*",
        "",
        lambda tx, own: tx.find(ScimToken, account=own, order="name"),
    )


async def delete_token(env: Env, call: Call, name: str) -> None:
    """daypass:DeleteScimToken on `scim-token/NAME`. Raises DaypassError: ACCESS_DENIED, NOT_FOUND."""
    decision = await allow(env, call, "DeleteScimToken", "scim-token", name)
    account = call.caller.account

    def change(tx: Tx) -> tuple[None, Event]:
        token = tx.get(ScimToken, account=account, name=name)
        if token is None:
            raise DaypassError(ErrorKind.NOT_FOUND, f"The SCIM token with name {name} cannot be found.")
        tx.delete(token)
        _announce(env, tx, call, token, "delete")
        detail = {"scim_token": name, "deleted": True}
        return None, served(call, kind=EventType.DIRECTORY_CHANGED, decision=decision, detail=detail)

    await env.journal.write(change, account=account)


def _announce(env: Env, tx: Tx, call: Call, token: ScimToken, change: str) -> None:
    made = CredentialChange(token.account, token.user_id, SCIM_TOKEN, change, token.name)
    announce(env, tx, (made,), call.now, actor_id=call.caller.principal_id)


async def caller_of_token(env: Env, unverified_token: str, now: int) -> Caller:
    """The user of a token. Raises DaypassError: UNKNOWN_CREDENTIALS, EXPIRED_CREDENTIALS, UNAVAILABLE."""
    seen = env.directory.seen()
    identity = text_digest(unverified_token)
    made_here = unverified_token.startswith(PREFIX)
    token = await find_current(env, lambda: env.directory.entity(ScimToken, identity)) if made_here else None
    if token is None:
        raise DaypassError(ErrorKind.UNKNOWN_CREDENTIALS, _UNKNOWN, private={"reason": "no such SCIM token"})
    if now >= token.expires_at:
        private = {OWNER: token.account, "reason": "expired", "scim_token": token.name}
        raise DaypassError(ErrorKind.EXPIRED_CREDENTIALS, _UNKNOWN, private=private)
    view = await env.directory.user(token.user_id)
    user = view.entity if view is not None else None
    if not isinstance(user, User):
        private = {OWNER: token.account, "reason": "the user of the token is gone", "scim_token": token.name}
        raise DaypassError(ErrorKind.UNKNOWN_CREDENTIALS, _UNKNOWN, private=private)
    return caller_of_sign_in(user, now, seen, _METHOD)
