"""Users and groups as a directory writes them: checked, reduced to the attributes that Daypass stores.

Names become names of IAM, which have ASCII letters, digits and `+=,.@_-` alone. The name of a user in IAM is derived from any
other userName, always the same: two userNames that differ in case or in the form of a character have one.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

USER_SCHEMA: Final = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP_SCHEMA: Final = "urn:ietf:params:scim:schemas:core:2.0:Group"
MAX_MEMBERS: Final = 10_000
_USER: Final = re.compile(r"[A-Za-z0-9+=,.@_-]{1,64}")
_GROUP: Final = re.compile(r"[A-Za-z0-9+=,.@_-]{1,128}")
_MAX_TEXT: Final = 256
_MAX_EMAILS: Final = 10
_NAME_PARTS: Final = ("formatted", "familyName", "givenName")


def user_of(document: Mapping[str, Any], *, active: bool = True) -> dict[str, Any]:
    """The stored attributes of a user. `active`: where it is absent or null. Raises ScimError: invalidValue."""
    given = _by_name(document)
    name = _text(given, "userName", required=True)
    fields: dict[str, Any] = {"userName": name, "active": _flag(given.get("active"), "active", default=active)}
    for each in ("externalId", "displayName"):
        if text := _text(given, each):
            fields[each] = text
    parts = given.get("name")
    parts = {} if parts is None else parts
    if not isinstance(parts, Mapping):
        raise ScimError("invalidValue", "name is an object.")
    inner = {part: text for part in _NAME_PARTS if (text := _text(_by_name(parts), part))}
    if inner:
        fields["name"] = inner
    if emails := _emails(given.get("emails")):
        fields["emails"] = emails
    return fields


def user_name(given: str) -> str:
    """The name in IAM of a user with this userName: the same, or else its ASCII part and a digest of the whole."""
    same = unicodedata.normalize("NFKC", given).strip()
    if _USER.fullmatch(same):
        return same
    plain = same.casefold()
    ascii_part = re.sub(r"[^a-z0-9+=,.@_-]", "", unicodedata.normalize("NFKD", plain))[:40]
    return f"{ascii_part or 'user'}-{hashlib.sha256(plain.encode()).hexdigest()[:20]}"


def group_of(document: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The stored attributes of a group, and the ids of its members. Raises ScimError: invalidValue."""
    given = _by_name(document)
    fields = {"displayName": _text(given, "displayName", required=True)}
    group_name(fields["displayName"])
    if external := _text(given, "externalId"):
        fields["externalId"] = external
    members = given.get("members") or []
    if not isinstance(members, list) or len(members) > MAX_MEMBERS:
        raise ScimError("invalidValue", f"members is a list of at most {MAX_MEMBERS}.")
    ids = [each.get("value") if isinstance(each, Mapping) else None for each in members]
    if not all(isinstance(each, str) and each for each in ids):
        raise ScimError("invalidValue", "A member has the id of a user as its value.")
    return fields, list(dict.fromkeys(str(each) for each in ids))


def group_name(display_name: str) -> str:
    """The name of the group in IAM: spaces become hyphens. Raises ScimError: invalidValue."""
    name = display_name.strip().replace(" ", "-")
    if not _GROUP.fullmatch(name):
        raise ScimError("invalidValue", "displayName has 1 to 128 ASCII letters, digits, spaces and +=,.@_-")
    return name


def _by_name(value: Mapping[str, Any]) -> dict[str, Any]:
    """Members under their canonical names; attribute names have no case (RFC 7643, 2.1)."""
    known = ("userName", "externalId", "displayName", "active", "name", "emails", "members", *_NAME_PARTS)
    canonical = {name.lower(): name for name in known}
    return {canonical.get(key.lower(), key): each for key, each in value.items()}


def _text(value: Mapping[str, Any], name: str, *, required: bool = False) -> str:
    text = value.get(name)
    if text is None and not required:
        return ""
    if not isinstance(text, str) or len(text) > _MAX_TEXT or not text.isprintable() or (required and not text.strip()):
        raise ScimError("invalidValue", f"{name} is a text of at most {_MAX_TEXT} printable characters.")
    return text


def _flag(value: Any, name: str, *, default: bool = False) -> bool:
    """A boolean, also as the text that Entra ID sends."""
    if value is None:
        return default
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise ScimError("invalidValue", f"{name} is true or false.")
    return value


def _emails(value: Any) -> list[dict[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > _MAX_EMAILS:
        raise ScimError("invalidValue", f"emails is a list of at most {_MAX_EMAILS}.")
    found = []
    for each in value:
        if not isinstance(each, Mapping):
            raise ScimError("invalidValue", "An e-mail is an object.")
        email: dict[str, Any] = {"value": _text(each, "value", required=True)}
        if kind := _text(each, "type"):
            email["type"] = kind
        if "primary" in each:
            email["primary"] = _flag(each["primary"], "primary")
        found.append(email)
    return found


# --- What a SCIM request can be refused for


class ScimError(Exception):
    """A refusal. `kind`: the scimType of RFC 7644, 3.12; the message is for the client."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
