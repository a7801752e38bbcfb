"""sts:GetSessionToken: temporary credentials for the user who asks, as that user. It takes no permission."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from daypass.domain.claims import Caller, PrincipalKind
from daypass.domain.session import SessionClaims, SessionKind
from daypass.operations.authorize import check_credentials
from daypass.operations.issue import SessionRequest, issue, new_hop, origin_of, start
from daypass.operations.mfa_code import check_mfa
from daypass.ports import Call, Env

_DEFAULT_SECONDS: Final = 43_200
_ROOT_SECONDS: Final = 3_600


async def get_session_token(env: Env, call: Call, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """GetSessionToken (AWS STS API). Only long-term keys may call it; policies do not control it, as AWS documents."""
    caller = call.caller
    check_credentials(caller, "sts:GetSessionToken")
    mfa_at = await check_mfa(env, call, params.get("SerialNumber", ""), params.get("TokenCode", ""))
    started = start(env)
    request = SessionRequest(caller.name, minimum_size=params.get("MinimumSessionTokenSize") or 0)
    own = new_hop(env, caller.account, caller.principal_id, caller.name, started)
    claims = SessionClaims(
        kind=SessionKind.USER,
        session_id=own.session_id,
        account=caller.account,
        principal_id=caller.principal_id,
        arn=caller.arn,
        name=caller.name,
        issued_at=started.now,
        expires_at=started.now + long_term_seconds(caller, params.get("DurationSeconds")) * 1000,
        seen=started.seen,
        hops=(*caller.hops, own),
        mfa_at=mfa_at,
        derivation_key=env.sealer.derivation_key(),
        auth_method=caller.auth_method,
    )
    issued = await issue(env, call.facts, origin_of(caller).actor, claims, request)
    return {"Credentials": issued.credentials(), **issued.sizes()}


def long_term_seconds(caller: Caller, requested: int | None) -> int:
    """The lifetime of a session that a long-term key makes of itself: twelve hours, for a root never more than one."""
    seconds = requested or _DEFAULT_SECONDS
    return min(seconds, _ROOT_SECONDS) if caller.kind is PrincipalKind.ROOT else seconds
