"""The requested session of a request: `authorization_details` of Daypass's type (RFC 9396), and `role` as a shorthand.

Unknown members are refused, because a misspelt restriction must not be ignored.
Sources: RFC 9396, 2 and 5; STS API, "AssumeRole", for the form of each value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from daypass.domain.delegation import Party, may_act
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import MAX_TAGS
from daypass.domain.strict_json import read_json
from daypass.domain.web_identity import tag_problem
from daypass.operations.assume.request import SessionRequest

TYPE: Final = "urn:daypass:session"
"""The type of our authorization details."""

_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]{2,64}")
_EXTERNAL_ID = re.compile(r"[A-Za-z0-9_+=,.@:/-]{2,1224}")
_ARN = re.compile(r"[!-~]{20,2048}")
_WORDS: Final = {
    _NAME: "a string of 2 to 64 characters: letters, digits and _+=,.@-",
    _EXTERNAL_ID: "a string of 2 to 1224 characters: letters, digits and _+=,.@:/-",
    _ARN: "an ARN of 20 to 2048 ASCII characters without spaces and line breaks",
}
_MAX_POLICY: Final = 2048
_SECONDS: Final = range(900, 43_201)


class Details(NamedTuple):
    """A role ("": the subject's own session), and the session parameters."""

    role: str
    session: SessionRequest
    external_id: str = ""
    may_act: Party | None = None


def read_details(role: str, unverified_text: str, issuer: str = "") -> Details:
    """The details of a request. `issuer`: this server, where `may_act` can be asked for.

    Raises DaypassError(INVALID_AUTHORIZATION_DETAILS).
    """
    if role and unverified_text:
        raise _invalid("role and authorization_details exclude each other")
    if not unverified_text:
        return Details(_text("role", role, _ARN) if role else "", SessionRequest(""))
    try:
        listed = read_json(unverified_text)
    except ValueError as error:
        raise _invalid(str(error)) from None
    if not isinstance(listed, list) or len(listed) != 1 or not isinstance(listed[0], dict):
        raise _invalid("it is a list of one object")
    members = dict(listed[0])
    if members.pop("type", None) != TYPE:
        raise _invalid(f"the only type is {TYPE}")
    unknown = sorted(members.keys() - _MEMBERS.keys() - {"may_act"})
    if unknown:
        raise _invalid(f"unknown member {unknown[0][:64]!r}")
    party = _party(members, issuer) if "may_act" in members else None
    members.pop("may_act", None)
    read = {name: _MEMBERS[name](name, value) for name, value in members.items()}
    session = SessionRequest(
        name=read.get("role_session_name", ""),
        duration=read.get("duration_seconds"),
        policy=read.get("policy", ""),
        policy_arns=read.get("policy_arns", ()),
        tags=read.get("tags", ()),
        transitive_keys=read.get("transitive_tag_keys", ()),
        source_identity=read.get("source_identity", ""),
    )
    return Details(read.get("role", ""), session, read.get("external_id", ""), party)


def _party(members: Mapping[str, Any], issuer: str) -> Party | None:
    if not issuer:  # the page that asks a person for consent does not show it
        raise _invalid("may_act can only be asked for where a token is exchanged")
    try:
        return may_act(members, issuer)
    except ValueError as error:
        raise _invalid(str(error)) from None


# --- One member ------------------------------------------------------------------------------------------------------


def _text(name: str, value: Any, form: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise _invalid(f"{name} must be {_WORDS[form]}")
    return value


def _of_form(form: re.Pattern[str]) -> Callable[[str, Any], str]:
    return lambda name, value: _text(name, value, form)


def _source_identity(name: str, value: Any) -> str:
    text = _text(name, value, _NAME)
    if text.lower().startswith("aws:"):
        raise _invalid(f"{name} may not begin with aws:")
    return text


def _duration(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value not in _SECONDS:
        raise _invalid(f"{name} must be a whole number from {_SECONDS.start} to {_SECONDS.stop - 1}")
    return value


def _policy(name: str, value: Any) -> str:
    """A policy as text or as an object."""
    if isinstance(value, dict):
        try:
            value = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        except TypeError:  # a fraction
            raise _invalid(f"{name} has a number that no policy has") from None
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_POLICY:
        raise _invalid(f"{name} must be a policy of 1 to {_MAX_POLICY} characters")
    return value


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_TAGS or not all(isinstance(item, str) for item in value):
        raise _invalid(f"{name} must be a list of at most {MAX_TAGS} strings")
    return tuple(value)


def _arns(name: str, value: Any) -> tuple[str, ...]:
    return tuple(_text(name, arn, _ARN) for arn in _texts(name, value))


def _tags(name: str, value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict) or len(value) > MAX_TAGS:
        raise _invalid(f"{name} must be an object of at most {MAX_TAGS} members")
    for key, text in value.items():
        problem = tag_problem(key, text) if isinstance(text, str) else "a value is a string"
        if problem:
            raise _invalid(f"{name}: {problem}")
    return tuple(value.items())


_MEMBERS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "role": _of_form(_ARN),
    "role_session_name": _of_form(_NAME),
    "duration_seconds": _duration,
    "policy": _policy,
    "policy_arns": _arns,
    "tags": _tags,
    "transitive_tag_keys": _texts,
    "source_identity": _source_identity,
    "external_id": _of_form(_EXTERNAL_ID),
}


def _invalid(why: str) -> DaypassError:
    return DaypassError(ErrorKind.INVALID_AUTHORIZATION_DETAILS, f"The authorization details cannot be used: {why}.")
