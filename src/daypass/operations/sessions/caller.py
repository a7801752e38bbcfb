"""Who signed this request, and with which session. Neither operation needs a permission, and no policy can deny them."""

from __future__ import annotations

from daypass.domain.claims import Caller
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import SessionClaims
from daypass.operations.outcome import served
from daypass.ports import Call, Env


async def get_caller_identity(env: Env, call: Call) -> Caller:
    """GetCallerIdentity (AWS STS API). Authentication already refused revoked and expired sessions."""
    await env.journal.commit(served(call))
    return call.caller


async def get_caller_session(env: Env, call: Call) -> SessionClaims:
    """daypass:GetCallerSession. Raises DaypassError: NOT_FOUND for a long-term key, which has no session."""
    claims = call.caller.session
    if claims is None:
        raise DaypassError(ErrorKind.NOT_FOUND, "The request was signed with a long-term key, not by a session.")
    await env.journal.commit(served(call, session_id=claims.session_id))
    return claims
