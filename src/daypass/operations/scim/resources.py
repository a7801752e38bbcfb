"""Resources as they are shown, and the version of what is shown."""

from __future__ import annotations

import hashlib
from typing import Any, Final, NamedTuple

import msgspec

from daypass.domain.directory import Group, ScimResource, User
from daypass.domain.jws import base64url
from daypass.operations.principals import groups_of
from daypass.operations.scim.members import USER, members_of, shown_name
from daypass.ports import Reader

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
