"""`POST /sessions`: CreateSession over the wire. The caller has no credentials: the proof is in the request or the connection.

Source: IAM Roles Anywhere User Guide, "CreateSession API".
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

from daypass import sigv4
from daypass.domain.claims import nobody
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.rolesanywhere.create_session import SIGNING_NAME, TlsCertificate, create_session, prove
from daypass.operations.rolesanywhere.driver import recordable
from daypass.ports import Call, Env
from daypass.sigv4.x509 import UnverifiedX509, chain_of, parse_x509, unique_fields
from daypass.wire.client_certificate import MalformedCertificateHeader, Shown, shown
from daypass.wire.http import Request, Response
from daypass.wire.rolesanywhere.dispatch import facts_of, refuse
from daypass.wire.rolesanywhere.errors import json_response
from daypass.wire.rolesanywhere.model import query_of
from daypass.wire.rolesanywhere.shapes import Shapes, from_text, iso, strict_json, typed

_OPERATION: Final = f"{SIGNING_NAME}:CreateSession"
_ARN: Final = {"type": "string", "min": 1, "max": 1011}
_SHAPES: Final[Shapes] = {
    "CreateSessionRequest": {
        "type": "structure",
        "required": ["profileArn", "roleArn", "trustAnchorArn"],
        "members": {
            "cert": {"shape": "Certificate"},
            "durationSeconds": {"shape": "Seconds"},
            "instanceProperties": {"shape": "Properties"},
            "profileArn": {"shape": "Arn"},
            "roleArn": {"shape": "Arn"},
            "roleSessionName": {"shape": "SessionName"},
            "trustAnchorArn": {"shape": "Arn"},
        },
    },
    "Arn": _ARN,
    "Certificate": {"type": "blob", "max": 16_384},
    "Seconds": {"type": "integer", "min": 900, "max": 43_200},
    "SessionName": {"type": "string", "min": 2, "max": 64, "pattern": r"[\w+=,.@-]*"},
    "Properties": {"type": "map", "max": 50, "key": {"shape": "Property"}, "value": {"shape": "Property"}},
    "Property": {"type": "string", "min": 1, "max": 200},
}
_MEMBERS: Final = _SHAPES["CreateSessionRequest"]["members"]


class SessionsEndpoint:
    """Call it with a request. `header`: the one by which trusted proxies tell their client's certificate, "" for none."""

    def __init__(self, env: Env, header: str = "") -> None:
        self._env = env
        self._header = header.lower()

    async def __call__(self, request: Request) -> Response:
        """The answer. Anything but a DaypassError goes up to the error boundary."""
        env = self._env
        facts, params = facts_of(request, _OPERATION), {}
        seen = Shown()
        try:
            seen = self._seen(request)
            proven = _proven(request, seen)
            if isinstance(proven, UnverifiedX509):
                facts = facts_of(request, _OPERATION, proven.claimed.region)
            now = env.clock.now()
            remarks = {"dropped_headers": list(seen.dropped)} if seen.dropped else {}
            held = prove(env, proven, now, remarks)
            params = _parameters(request)
            answer = await create_session(env, Call(nobody(env.directory.seen()), facts, now), held, params)
            return json_response(201, _rendered(answer), _OPERATION)
        except DaypassError as error:
            detail: dict[str, Any] = {"parameters": recordable(params)}
            if seen.dropped:
                detail["dropped_headers"] = list(seen.dropped)
            return await refuse(env, facts, None, error, detail)

    def _seen(self, request: Request) -> Shown:
        try:
            return shown(request, self._header)
        except MalformedCertificateHeader as error:
            message = "The client certificate header of the proxy cannot be read."
            raise DaypassError(ErrorKind.MALFORMED_REQUEST, message, private={"reason": str(error)}) from None


def _proven(request: Request, seen: Shown) -> UnverifiedX509 | TlsCertificate:
    """The signature over the request, if there is one, or else what the TLS endpoint saw.

    Raises DaypassError: MISSING_CREDENTIALS when there is neither, INCOMPLETE_SIGNATURE, SIGNATURE_MISMATCH.
    """
    try:
        fields = unique_fields(request.headers)
        if seen.certificate and b"authorization" not in fields:
            brought = tuple(base64.b64encode(der).decode("ascii") for der in seen.chain)
            return TlsCertificate(seen.certificate, (*brought, *chain_of(fields)), seen.source)
        return parse_x509(request.method, request.raw_path, request.raw_query, request.headers, request.body)
    except sigv4.SigV4Error as error:
        raise DaypassError(ErrorKind(error.kind), error.message) from None


def _parameters(request: Request) -> dict[str, Any]:
    """Members of the body and of the query string together; one that is in both must not differ."""
    content = strict_json(request.body)
    if not isinstance(content, dict | None):
        raise DaypassError(ErrorKind.MALFORMED_REQUEST, "The request body is not a JSON object.")
    given: dict[str, Any] = {name: value for name, value in (content or {}).items() if name in _MEMBERS}
    for name, texts in query_of(request.raw_query).items():
        if name not in _MEMBERS:
            continue
        value = from_text(_SHAPES, _MEMBERS[name]["shape"], texts[0])
        if len(texts) > 1 or given.setdefault(name, value) != value:
            raise DaypassError(ErrorKind.MALFORMED_REQUEST, f"{name} must be there once.")
    made: dict[str, Any] = typed(_SHAPES, "CreateSessionRequest", given)
    return made


def _rendered(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Times as text; all else is JSON already."""
    sets = [
        {**given, "credentials": {**given["credentials"], "expiration": iso(given["credentials"]["expiration"])}}
        for given in answer["credentialSet"]
    ]
    return {**answer, "credentialSet": sets}
