"""Members of the groups that a directory manages. All writers of the installation wait for the transaction that changes them,
so one request changes only some.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from daypass.domain.directory import Membership, ScimResource, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.scim.resource import ScimError, user_name
from daypass.operations.iam import paging
from daypass.ports import Reader, Tx

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
