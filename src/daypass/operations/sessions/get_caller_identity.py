"""sts:GetCallerIdentity: the principal that signed this request. It needs no permission, and no policy can deny it."""

from __future__ import annotations

from daypass.domain.claims import Caller
from daypass.operations.outcome import served
from daypass.ports import Call, Env


async def get_caller_identity(env: Env, call: Call) -> Caller:
    """GetCallerIdentity (AWS STS API). Authentication already refused revoked and expired sessions."""
    await env.journal.commit(served(call))
    return call.caller
