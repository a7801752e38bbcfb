"""Questions of the AuthZEN Authorization API in the terms of the policy language: ARN, action and context keys.

Properties that a request gives of its subject, action and environment have context keys of their own
(`daypass:SubjectProperty/…`), so that they never pass for verified facts. This module never decides.
Source: OpenID AuthZEN Authorization API 1.0, 5 (information model).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from daypass.domain.arn import parse_arn, read_arn
from daypass.domain.policy.model import Value
from daypass.domain.policy.pattern import fold

SUBJECT_PROPERTY: Final = "daypass:subjectproperty/"
ACTION_PROPERTY: Final = "daypass:actionproperty/"
REQUEST_CONTEXT: Final = "daypass:requestcontext/"
_RESOURCE_PROPERTY: Final = "aws:resourcetag/"

MAX_KEYS: Final = 200
"""Maximum number of context keys in one question."""

MAX_VALUES: Final = 1_000
"""Members and list items of properties, or of the context, of one question; nested ones and nulls too (attack A227)."""

_MAX_TEXT: Final = 2048
_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,256}")
_KEY = re.compile(r"[!-~]{1,256}")
_OF_REQUEST: Final = frozenset(
    f"aws:{name}"
    for name in [
        "referer",
        "requestedregion",
        "securetransport",
        "sourceaccount",
        "sourcearn",
        "sourceip",
        "sourcevpc",
        "sourcevpce",
        "tagkeys",
        "useragent",
        "vpcsourceip",
    ]
)
_RESERVED: Final = frozenset({"aws", "daypass", "saml"})
SERVED: Final = frozenset({"daypass", "iam", "rolesanywhere", "secretsmanager", "sts"})


class Entity(Struct, frozen=True):
    """A subject or resource. The values of `properties` are JSON."""

    type: str
    id: str = ""
    properties: Mapping[str, Any] = {}


class Evaluation(Struct, frozen=True):
    """May the subject perform the action on the resource? `context` and the properties are what the request says."""

    subject: Entity
    action: str
    resource: Entity
    action_properties: Mapping[str, Any] = {}
    context: Mapping[str, Any] = {}


def resource_arn(resource: Entity, account: str) -> str:
    """The ARN of a resource: its id if that is one, otherwise `arn:aws:TYPE::ACCOUNT:ID`.

    "*" is the resource of actions without one, for the services of this server alone: for an application it is an id
    like others, which callers may choose to avoid a Deny on the application's ARNs. Raises ValueError with the reason.
    """
    text = resource.id
    if text == "*" and resource.type in SERVED:
        return text
    if not 0 < len(text) <= _MAX_TEXT:
        raise ValueError(f"resource.id must have 1 to {_MAX_TEXT} characters")
    if text.startswith("arn:"):
        if read_arn(text) is None:
            raise ValueError("resource.id begins with arn: but is not an ARN")
        return text
    return f"arn:aws:{checked_type(resource.type)}::{account}:{text}"


def checked_type(text: str) -> str:
    """A resource type that can be the service in an ARN. Raises ValueError."""
    if not _TYPE.fullmatch(text):
        raise ValueError("resource.type must have 1 to 63 letters, digits, _ or -, or resource.id must be an ARN")
    return text


def resource_entity(arn: str, account: str) -> Entity:
    """The reverse of `resource_arn`: a resource of the account without a region is shown by its type and id."""
    parsed = parse_arn(arn)
    if parsed.partition == "aws" and not parsed.region and parsed.account == account:
        return Entity(parsed.service, parsed.resource)
    return Entity(parsed.service, arn)


def service_of(resource: Entity) -> str:
    """The service prefix of actions on a resource."""
    if resource.id.startswith("arn:"):
        return resource.id.split(":", 3)[2]
    return resource.type


def action_of(name: str, resource: Entity) -> str:
    """The action of a policy: `name`, with the resource's service as its prefix if it has none. Raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError("action.name must have 1 to 256 letters, digits or _ . : / -")
    service, colon, operation = name.partition(":")
    if not colon:
        return f"{checked_type(service_of(resource))}:{name}"
    if not service or not operation or ":" in operation:
        raise ValueError("action.name must be NAME or SERVICE:NAME")
    return name


class KeyReader:
    """Reads the context keys of questions. The defaults of a request, which questions share, are read once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], dict[str, Value] | str] = {}

    def keys_of(self, question: Evaluation) -> dict[str, Value]:
        """The keys, folded. Raises ValueError, for example for one that only this server may set."""
        keys: dict[str, Value] = {}
        for prefix, members in (
            (SUBJECT_PROPERTY, question.subject.properties),
            (ACTION_PROPERTY, question.action_properties),
            (_RESOURCE_PROPERTY, question.resource.properties),
            (REQUEST_CONTEXT, question.context),
        ):
            if members:
                keys.update(self._read(prefix, members))
        if len(keys) > MAX_KEYS:
            raise ValueError(f"a question has at most {MAX_KEYS} properties and context values")
        return keys

    def _read(self, prefix: str, members: Mapping[str, Any]) -> dict[str, Value]:
        """An object that is known is one of a question that still exists, so its id is its own."""
        found = self._known.get((prefix, id(members)))
        if found is None:
            try:
                found = _keys_of(prefix, members)
            except ValueError as error:
                found = str(error)
            self._known[prefix, id(members)] = found
        if isinstance(found, str):
            raise ValueError(found)  # noqa: TRY004  # the text of an error
        return found


def _keys_of(prefix: str, members: Mapping[str, Any]) -> dict[str, Value]:
    _check_size(members)
    flattened = _flattened(members)
    if prefix == REQUEST_CONTEXT:
        return {_context_key(name): value for name, value in flattened}
    return {prefix + fold(name): value for name, value in flattened}


def _check_size(members: Mapping[str, Any]) -> None:
    """Raises ValueError for too many values, having looked at no more of them."""
    left, waiting = MAX_VALUES, list[Any]([members])
    while waiting:
        found = waiting.pop()
        left -= len(found)
        if left < 0:
            raise ValueError(f"properties and context have at most {MAX_VALUES} values")
        inner = found.values() if isinstance(found, Mapping) else found
        waiting += [each for each in inner if isinstance(each, (Mapping, list))]


def _context_key(name: str) -> str:
    """`NAME` is a key of the family `daypass:RequestContext/`; `PREFIX:NAME` is itself, if a request may set it."""
    key = fold(name)
    prefix, colon, _ = key.partition(":")
    if not colon:
        return REQUEST_CONTEXT + key
    if prefix in _RESERVED and key not in _OF_REQUEST and not key.startswith("aws:requesttag/"):
        raise ValueError(f"context must not have {name[:128]}: only the server sets it")
    return key


def _flattened(members: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Value]]:
    """Names and values. A nested object's members have names with a slash; null is absent. Raises ValueError."""
    for name, value in members.items():
        if not _KEY.fullmatch(name):
            raise ValueError("names of properties must have 1 to 256 printable ASCII characters without spaces")
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{path}{name}/")
        elif isinstance(value, list):
            yield path + name, tuple(_text(one) for one in value if one is not None)
        elif value is not None:
            yield path + name, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, Decimal)):
        return str(value)
    raise ValueError("a property is a string, a number, a boolean, a list of these, or an object of these")
