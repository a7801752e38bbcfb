"""OAuth's errors, and the requested session of a request (`authorization_details`, RFC 9396).

Sources: RFC 6749, 5.2; RFC 8693, 2.2.2; RFC 7523, 3.1; RFC 8707, 2; RFC 9396, 5.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, assert_never

from daypass.domain.errors import DaypassError, ErrorKind, Family
from daypass.domain.jws import Party, may_act
from daypass.domain.session import MAX_TAGS
from daypass.domain.strict_json import read_json
from daypass.domain.web_identity import tag_problem
from daypass.operations.assume.request import SessionRequest
from daypass.wire.access_token import DPOP_ERRORS, challenge
from daypass.wire.front import ErrorFormat, RecordedRefusal
from daypass.wire.http import FixedHeaders, Header, Request, Response
from daypass.wire.json_errors import INTERNAL, INTERNAL_CODE

JSON: Final = b"application/json"
NO_STORE: Final = FixedHeaders(
    (b"cache-control", b"no-store"), (b"pragma", b"no-cache"), (b"x-content-type-options", b"nosniff")
)
INVALID_REQUEST: Final = "invalid_request"
INVALID_CLIENT: Final = "invalid_client"
INVALID_GRANT: Final = "invalid_grant"
_SERVER_ERROR: Final = "server_error"
_OTHER = re.compile(r"[^\x20-\x21\x23-\x5B\x5D-\x7E]")  # what RFC 6749, 5.2 does not allow in error_description

_EXCEPTIONS: Final[Mapping[ErrorKind, tuple[str, int]]] = {
    ErrorKind.UNSUPPORTED_GRANT_TYPE: ("unsupported_grant_type", 400),
    ErrorKind.AUTHORIZATION_PENDING: ("authorization_pending", 400),
    ErrorKind.POLLING_TOO_FAST: ("slow_down", 400),
    ErrorKind.EXPIRED_DEVICE_CODE: ("expired_token", 400),
    ErrorKind.CONSENT_DENIED: ("access_denied", 400),
    ErrorKind.UNSUPPORTED_RESPONSE_TYPE: ("unsupported_response_type", 400),
    ErrorKind.REQUEST_OBJECT: ("request_not_supported", 400),
    ErrorKind.UNSUPPORTED_TOKEN_TYPE: ("unsupported_token_type", 400),
    ErrorKind.INVALID_CLIENT: (INVALID_CLIENT, 401),
    ErrorKind.INVALID_GRANT: (INVALID_GRANT, 400),
    ErrorKind.UNAUTHORIZED_CLIENT: ("unauthorized_client", 400),
    **{kind: (code, 400) for kind, code in DPOP_ERRORS.items()},
    ErrorKind.INVALID_TARGET: ("invalid_target", 400),
    ErrorKind.OUTBOUND_FEDERATION_DISABLED: ("invalid_target", 400),
    ErrorKind.INVALID_SCOPE: ("invalid_scope", 400),
    ErrorKind.INVALID_CLIENT_METADATA: ("invalid_client_metadata", 400),
    ErrorKind.INVALID_REDIRECT_URI: ("invalid_redirect_uri", 400),
    ErrorKind.INVALID_AUTHORIZATION_DETAILS: ("invalid_authorization_details", 400),
    ErrorKind.MALFORMED_POLICY: ("invalid_authorization_details", 400),
    ErrorKind.REQUEST_TOO_LARGE: (INVALID_REQUEST, 413),
    ErrorKind.HEADERS_TOO_LARGE: (INVALID_REQUEST, 431),
}


def oauth_error(
    kind: ErrorKind, unacceptable: str = INVALID_REQUEST, unproven: str = INVALID_CLIENT
) -> tuple[str, int]:
    """Code and HTTP status.

    `unacceptable`: the code for a proof that is not accepted, or that policies do not admit; `unproven`: for a caller that
    did not authenticate. The endpoint and the grant set them.
    """
    return _EXCEPTIONS.get(kind) or _of_family(kind.family, unacceptable, unproven)


def _of_family(family: Family, unacceptable: str, unproven: str) -> tuple[str, int]:
    match family:
        case Family.REQUEST | Family.CONTENT | Family.CONFLICT:
            return INVALID_REQUEST, 400
        case Family.ABSENT:
            return INVALID_REQUEST, 404
        case Family.CREDENTIALS:
            return unproven, 401
        case Family.PROOF | Family.DENIED | Family.UPSTREAM:
            return unacceptable, 400
        case Family.THROTTLED:
            return "temporarily_unavailable", 429
        case Family.UNAVAILABLE:
            return "temporarily_unavailable", 503
        case _:
            assert_never(family)


class OAuthErrors:
    """`front.ErrorFormat`. `unacceptable`, `unproven`: see oauth_error.

    `resource`: the request is one for a protected resource whose metadata has this address. A proof that is not accepted is a
    401 there (RFC 6750, 3; RFC 9449, 7.1).
    """

    def __init__(self, unacceptable: str = INVALID_REQUEST, unproven: str = INVALID_CLIENT, resource: str = "") -> None:
        self._codes = unacceptable, unproven
        self._resource = resource

    def refused(self, request: Request, refusal: RecordedRefusal) -> Response:
        """See `front.ErrorFormat`. The body has no error code where the challenge has none (RFC 6750, 3.1)."""
        kind = refusal.error.kind
        code, status = oauth_error(kind, *self._codes)
        if self._resource and kind in DPOP_ERRORS:
            status = 401
        headers = (*NO_STORE, self._challenge(request, kind)) if status == 401 else NO_STORE
        shown = "" if self._resource and kind is ErrorKind.MISSING_CREDENTIALS else code
        body = error_json(shown, refusal.error.public, request.request_id, refusal.encoded)
        return Response(status, body, JSON, headers, refusal.operation, code)

    def _challenge(self, request: Request, kind: ErrorKind) -> Header:
        if self._resource:
            return challenge(request, kind, self._resource)
        return b"www-authenticate", b'Basic realm="daypass"'

    def broken(self, request: Request) -> Response:
        body = error_json(_SERVER_ERROR, INTERNAL, request.request_id)
        return Response(500, body, JSON, NO_STORE, code=INTERNAL_CODE)


def error_json(code: str, description: str, request_id: str, encoded: str = "") -> bytes:
    """The error's body. `code`: "" for none. `encoded`: the encoded authorization message, if there is one."""
    error = {"error": code, "error_description": _OTHER.sub("?", description), "request_id": request_id}
    if not code:
        del error["error"]
    if encoded:
        error["encoded_authorization_message"] = encoded
    return json.dumps(error).encode("ascii")


ERRORS: Final[ErrorFormat] = OAuthErrors()


# --- Details


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
