"""Resources as they are shown, and the version of what is shown."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from daypass.domain.directory import Group, Membership, ScimResource, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.jws import base64url
from daypass.domain.scim.resource import ScimError, user_name
from daypass.operations.iam import paging
from daypass.operations.principals import groups_of
from daypass.ports import Reader, Tx

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
