"""GetWebIdentityToken: a signed token that proves to another cloud or service who its holder is.

It is not a session here and opens nothing here: its issuer is the account's own, its type is not that of access tokens. It
cannot be revoked, so it is short, and each one is on the record with its end.
Sources: STS API, "GetWebIdentityToken"; IAM User Guide, "Understanding token claims" of outbound identity federation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from daypass.domain.claims import Caller, PrincipalKind
from daypass.domain.context import requested_tags
from daypass.domain.directory import OutboundFederation, ReplayEntry, Tags
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import EventType
from daypass.domain.policy.model import Decision, Value
from daypass.domain.session import SessionRefused, merge_tags
from daypass.domain.web_identity import SOURCE_IDENTITY
from daypass.operations.assume.request import commit_once
from daypass.operations.authorize import authorize
from daypass.operations.iam.account import issuer
from daypass.operations.management import allow_own
from daypass.operations.oauth.access_token import actors_of
from daypass.operations.oauth.targets import check_ceiling
from daypass.operations.outcome import OWNER, served
from daypass.operations.principals import refresh_if_changed
from daypass.ports import Call, Env

ACTION: Final = "sts:GetWebIdentityToken"
TAG_ACTION: Final = "sts:TagGetWebIdentityToken"
CLAIMS: Final = "https://sts.amazonaws.com/"
DEFAULT_SECONDS: Final = 300
MAX_SECONDS: Final = 3_600
_MAX_CLAIMS: Final = 8_192  # bytes
_TYPE: Final = "JWT"
_SPIFFE_PATH = re.compile(r"(?!\.\.?(/|$))[A-Za-z0-9._-]+(/(?!\.\.?(/|$))[A-Za-z0-9._-]+)*")


class WebIdentityRequest(Struct, frozen=True):
    """The requested token. `algorithm`: "" for the default. `seconds`: None for the default, or less if the session
    ends earlier. `spiffe`: its subject is the SPIFFE ID of the role (a JWT-SVID).
    """

    audiences: tuple[str, ...]
    algorithm: str = ""
    seconds: int | None = None
    tags: Tags = ()
    spiffe: bool = False


class WebIdentityToken(Struct, frozen=True):
    """A signed token. `expires_at` in ms."""

    text: str
    expires_at: int
    subject: str = ""

    def __repr__(self) -> str:
        return "WebIdentityToken()"


async def get_web_identity_token(
    env: Env, call: Call, request: WebIdentityRequest, replays: Sequence[ReplayEntry] = ()
) -> WebIdentityToken:
    """sts:GetWebIdentityToken, and sts:TagGetWebIdentityToken for tags. `replays`: see `commit_once`.

    Raises DaypassError: ACCESS_DENIED, OUTBOUND_FEDERATION_DISABLED, SESSION_DURATION_ESCALATION, INVALID_TARGET,
    INVALID_PARAMETER, JWT_PAYLOAD_SIZE, UNAVAILABLE.
    """
    caller = call.caller
    _check_tags(request.tags)
    algorithm, expires_at = _algorithm(env, request), _end(call, request)
    decision = await _authorized(env, call, request, algorithm, (expires_at - call.now) // 1000)
    federation = await _federation(env, caller.account)
    _check_bounds(env, call, request)
    subject = spiffe_id(env, caller) if request.spiffe else caller.principal_arn
    claims = {
        "iss": issuer(env.oauth.issuer, federation),
        "sub": subject,
        "aud": request.audiences[0] if len(request.audiences) == 1 else list(request.audiences),
        "jti": env.ids.request(),
        "iat": call.now // 1000,
        "exp": expires_at // 1000,
        **_about(caller, request.tags),
    }
    if len(json.dumps(claims)) > _MAX_CLAIMS:
        raise DaypassError(
            ErrorKind.JWT_PAYLOAD_SIZE, f"The claims of the token exceed {_MAX_CLAIMS} bytes. Request fewer tags."
        )
    text = env.oauth.signer.sign(claims, algorithm, _TYPE)
    detail = {
        "jti": claims["jti"],
        "issuer": claims["iss"],
        "subject": subject,
        "audience": request.audiences,
        "expires_at": expires_at,
        "algorithm": algorithm,
        "principals": [hop.principal_id for hop in caller.hops],
        "tags": dict(request.tags),
    }
    session_id = caller.session.session_id if caller.session is not None else ""
    event = served(call, kind=EventType.WEB_IDENTITY_ISSUED, session_id=session_id, decision=decision, detail=detail)
    await commit_once(env, event, replays)
    return WebIdentityToken(text, expires_at, subject)


def trust_domain(env: Env) -> str:
    """The SPIFFE trust domain of this installation: the host of its issuer. Raises UNSUPPORTED_OPERATION when OAuth is off."""
    if not env.oauth.enabled:
        raise DaypassError(ErrorKind.UNSUPPORTED_OPERATION, "OAuth is off: server.public_url is not set.")
    return urlsplit(env.oauth.issuer).hostname or ""


def spiffe_id(env: Env, caller: Caller) -> str:
    """The SPIFFE ID of a role. Raises DaypassError: INVALID_PARAMETER, UNSUPPORTED_OPERATION."""
    path = caller.principal_arn.partition(":role/")[2]
    if not _SPIFFE_PATH.fullmatch(path):
        message = "A JWT-SVID is for the session of a role whose path and name have letters, digits and . _ - alone."
        raise DaypassError(ErrorKind.INVALID_PARAMETER, message)
    return f"spiffe://{trust_domain(env)}/account/{caller.account}/role/{path}"


async def get_jwt_bundle(env: Env, call: Call) -> Mapping[str, str]:
    """daypass:GetJwtBundle: what verifies JWT-SVIDs of this installation. Raises DaypassError: ACCESS_DENIED, UNSUPPORTED_OPERATION."""
    decision = await allow_own(env, call, "GetJwtBundle", "jwt-bundle")
    bundle = {"trust_domain": trust_domain(env), "jwks": env.oauth.signer.jwks().decode()}
    await env.journal.commit(served(call, decision=decision))
    return bundle


def _check_tags(tags: Tags) -> None:
    try:
        merge_tags(tags, ())
    except SessionRefused as error:
        raise DaypassError(ErrorKind.INVALID_PARAMETER, str(error)) from None


async def _authorized(env: Env, call: Call, request: WebIdentityRequest, algorithm: str, seconds: int) -> Decision:
    if call.caller.kind is PrincipalKind.ROOT:
        raise DaypassError(ErrorKind.ACCESS_DENIED, "Cannot call GetWebIdentityToken with root credentials")
    keys: dict[str, Value] = {
        "sts:identitytokenaudience": request.audiences,
        "sts:signingalgorithm": algorithm,
        "sts:durationseconds": str(seconds),
        **requested_tags(request.tags),
    }
    decision = await authorize(env, call, ACTION, "*", context=keys)
    if request.tags:
        await authorize(env, call, TAG_ACTION, "*", context=keys)
    return decision


def _algorithm(env: Env, request: WebIdentityRequest) -> str:
    offered = env.oauth.web_identity_algorithms
    if request.algorithm and request.algorithm not in offered:
        raise DaypassError(
            ErrorKind.INVALID_PARAMETER,
            f"The signing algorithm must be one of: {', '.join(offered)}. The setting oauth.web_identity_algorithms adds others.",
        )
    return request.algorithm or offered[0]


def _end(call: Call, request: WebIdentityRequest) -> int:
    """When the token ends (ms): never after the session. Raises DaypassError(SESSION_DURATION_ESCALATION)."""
    session = call.caller.session
    wanted = call.now + 1000 * (request.seconds or DEFAULT_SECONDS)
    if session is None or wanted <= session.expires_at:
        return wanted
    if request.seconds is not None:
        raise DaypassError(
            ErrorKind.SESSION_DURATION_ESCALATION,
            "The requested token duration would extend the session beyond its original expiration time.",
        )
    return session.expires_at


async def _federation(env: Env, account: str) -> OutboundFederation:
    federation = await env.directory.entity(OutboundFederation, account)
    if (federation is None or not federation.enabled) and await refresh_if_changed(env):
        federation = await env.directory.entity(OutboundFederation, account)
    if federation is None or not federation.enabled:
        raise DaypassError(
            ErrorKind.OUTBOUND_FEDERATION_DISABLED, "Outbound web identity federation is not enabled for this account."
        )
    return federation


def _check_bounds(env: Env, call: Call, request: WebIdentityRequest) -> None:
    """A session for certain audiences gives tokens for these only, and a blocked principal gets none."""
    caller, session = call.caller, call.caller.session
    if session is not None:
        check_ceiling(session, request.audiences)
    block = env.directory.blocked(caller.hops, session.source_identity if session is not None else "", call.now)
    if block is not None:
        raise DaypassError(
            ErrorKind.ACCESS_DENIED,
            f"User: {caller.arn} is not authorized to perform: {ACTION}",
            private={OWNER: block.account, "reason": "blocked", "revocation": block.id},
        )


def _about(caller: Caller, tags: Tags) -> Mapping[str, Any]:
    """The claims about the caller: AWS's in their namespace, the source identity, and the chain as `act`."""
    session = caller.session
    own: dict[str, Any] = {"aws_account": caller.account, "principal_id": caller.principal_arn}
    if caller.tags:
        own["principal_tags"] = dict(caller.tags)
    if tags:
        own["request_tags"] = dict(tags)
    claims: dict[str, Any] = {CLAIMS: own}
    if session is not None:
        own["original_session_exp"] = datetime.fromtimestamp(session.expires_at // 1000, UTC).isoformat()
        if session.source_identity:
            claims[SOURCE_IDENTITY] = session.source_identity
        if chain := actors_of(session):
            claims["act"] = chain
    return claims
