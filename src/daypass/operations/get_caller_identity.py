"""sts:GetCallerIdentity: who signed this request. It takes no permission, and no policy can take it away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daypass.operations.outcome import served
from daypass.ports import Call, Env


async def get_caller_identity(
    env: Env,
    call: Call,
    params: Mapping[str, Any],  # noqa: ARG001 (an operation's signature; this one takes no parameters)
) -> Mapping[str, Any]:
    """GetCallerIdentity (AWS STS API). A revoked or expired session never gets here: authentication refuses it."""
    await env.journal.commit(served(call))
    return {"UserId": call.caller.user_id, "Account": call.caller.account, "Arn": call.caller.arn}
