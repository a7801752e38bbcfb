"""Bearer tokens of SCIM, and the resources and group members that requests with them see."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from daypass.domain.claims import Caller
from daypass.domain.context import resource_context
from daypass.domain.directory import Group, Membership, ScimResource, ScimToken, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.jws import base64url, text_digest
from daypass.domain.scim import ScimError, user_name
from daypass.domain.ssf import CredentialChange
from daypass.operations.authenticate import caller_of_sign_in
from daypass.operations.authorize import authorize
from daypass.operations.iam import paging
from daypass.operations.iam.granting import SCIM_TOKEN
from daypass.operations.management import InAws, allow, read_recorded
from daypass.operations.outcome import OWNER, served
from daypass.operations.principals import find_current, groups_of
from daypass.operations.ssf.push import announce
from daypass.ports import Call, Env, Reader, Tx

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
    return replace(caller_of_sign_in(user, now, seen, _METHOD), scim_token=identity)


# --- Resources as they are shown, and the version of what is shown


_BYTES_OF_MEMBER: Final = 150
UNASSIGNED: Final = "activeUnassigned"
"""Stored when a directory removes `active`: it is not shown then, and the user stays as it is."""
attributes_of = msgspec.json.Decoder().decode
"""The stored attributes."""
_encoded = msgspec.json.Encoder(order="sorted").encode


class Resource(NamedTuple):
    """A resource with its current attributes; `document` has `members` (group) or `groups` (user)."""

    row: ScimResource
    document: dict[str, Any]


def resource_of(tx: Reader, row: ScimResource) -> Resource | None:
    """The resource as it is now; None when an administrator has deleted the user or group."""
    document = attributes_of(row.document)
    if row.resource_type == USER:
        user = tx.get(User, id=row.id)
        if user is None:
            return None
        named = [{"value": each.id, "display": each.name, "type": "direct"} for each in groups_of(tx, user.id)]
        if document.pop(UNASSIGNED, False):
            del document["active"]
        return Resource(row, {**document, "userName": shown_name(document["userName"], user), "groups": named})
    group = tx.get(Group, id=row.id)
    if group is None:
        return None
    return Resource(row, {**document, "members": members_of(tx, row)})


def bytes_of(resource: Resource) -> int:
    """About the size of what is shown."""
    return len(resource.row.document) + _BYTES_OF_MEMBER * len(resource.document.get("members", ()))


def etag(resource: Resource) -> str:
    """The weak entity tag: the digest of all that is shown, because IAM changes names and memberships, too."""
    digest = hashlib.sha256(_encoded((resource.row.version, resource.document))).digest()
    return f'W/"{base64url(digest[:16])}"'


# --- Members of the groups that a directory manages


USER: Final = "User"
MAX_MEMBER_CHANGES: Final = 200
"""Members that one request adds and removes: about a tenth of a second."""
_BATCH: Final = 1_000


def members_of(tx: Reader, row: ScimResource) -> list[Mapping[str, Any]]:
    """The members that the directory manages, as they are shown, by id."""
    found: list[Mapping[str, Any]] = []
    after = ""
    while True:
        batch = tx.find(Membership, account=row.account, group_id=row.id, order="user_id", after=after, limit=_BATCH)
        ids = [each.user_id for each in batch]
        managed = {each.id: each for each in tx.find_among(ScimResource, "id", ids, order="id")}
        users = tx.find_among(User, "id", ids, order="id")
        found += [_member(user, managed[user.id]) for user in users if user.id in managed]
        if len(batch) < _BATCH:
            return found
        after = batch[-1].user_id


def set_members(
    tx: Tx, row: ScimResource, known: Sequence[Mapping[str, Any]], wanted: Sequence[str], now: int
) -> list[Mapping[str, Any]]:
    """Makes `wanted` the members instead of the `known` ones, and returns them as they are shown.

    Raises ScimError: invalidValue for a member that the directory does not manage, tooMany (attack A352).
    """
    shown = {str(each["value"]): each for each in known}
    added = [identity for identity in wanted if identity not in shown]
    removed = shown.keys() - set(wanted)
    if len(added) + len(removed) > MAX_MEMBER_CHANGES:
        raise ScimError("tooMany", f"A request adds and removes at most {MAX_MEMBER_CHANGES} members: send several.")
    account, group = row.account, row.id
    for identity in added:
        user = tx.get(User, account=account, id=identity)
        managed = tx.get(ScimResource, account=account, resource_type=USER, id=identity)
        if user is None or managed is None:
            raise ScimError("invalidValue", f"A user with id {identity[:64]} does not exist.")
        if tx.count(Membership, account=account, user_id=identity) >= paging.GROUPS_PER_USER:
            raise DaypassError(ErrorKind.LIMIT_EXCEEDED, f"A user is in at most {paging.GROUPS_PER_USER} groups.")
        tx.insert(Membership(account, group, identity, now))
        shown[identity] = _member(user, managed)
    for identity in removed:
        membership = tx.get(Membership, group_id=group, user_id=identity)
        if membership is not None:
            tx.delete(membership)
        del shown[identity]
    return [shown[identity] for identity in sorted(shown)]


def _member(user: User, managed: ScimResource) -> dict[str, Any]:
    document = json.loads(managed.document)
    display = document.get("displayName") or shown_name(document["userName"], user)
    return {"value": user.id, "display": display, "type": USER}


def shown_name(given: str, user: User) -> str:
    """The userName of the directory; the name in IAM if an administrator has changed that."""
    return given if user_name(given) == user.name else user.name
