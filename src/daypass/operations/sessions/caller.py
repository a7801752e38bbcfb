"""Who signed this request, and with which session: neither operation needs a permission, and no policy can deny them. And
the account of an access key id, whatever the key's state.
"""

from __future__ import annotations

from daypass.domain.claims import Caller
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import SessionClaims
from daypass.operations.authenticate import authenticated_again
from daypass.operations.authorize import authorize
from daypass.operations.outcome import served
from daypass.operations.principals import find_current
from daypass.ports import Call, Env


async def get_caller_identity(env: Env, call: Call) -> Caller:
    """GetCallerIdentity (AWS STS API). Others take its presigned form as a proof, so a blocked key is refused (attack A618).

    Raises DaypassError(UNKNOWN_CREDENTIALS), as for an inactive key.
    """
    await authenticated_again(env, call.caller)
    await env.journal.commit(served(call))
    return call.caller


async def get_caller_session(env: Env, call: Call) -> SessionClaims:
    """daypass:GetCallerSession. Raises DaypassError: NOT_FOUND for a long-term key, which has no session."""
    claims = call.caller.session
    if claims is None:
        raise DaypassError(ErrorKind.NOT_FOUND, "The request was signed with a long-term key, not by a session.")
    await env.journal.commit(served(call, session_id=claims.session_id))
    return claims


async def get_access_key_info(env: Env, call: Call, key_id: str) -> str:
    """GetAccessKeyInfo (AWS STS API): the account of a key. Raises DaypassError: ACCESS_DENIED, UNKNOWN_CREDENTIALS.

    Access key ids of Daypass contain no account. Long-term keys are looked up; temporary keys are known only from the
    caller's own chain. Any other id gets AWS's answer for a key that does not exist.
    """
    decision = await authorize(env, call, "sts:GetAccessKeyInfo", "*")
    account = await _account(env, call, key_id)
    if account is None:
        raise DaypassError(
            ErrorKind.UNKNOWN_CREDENTIALS,
            "The X.509 certificate or AWS access key ID provided does not exist in our records.",
        )
    await env.journal.commit(served(call, decision=decision, detail={"access_key_id": key_id}))
    return account


async def _account(env: Env, call: Call, key_id: str) -> str | None:
    for hop in call.caller.hops:
        if hop.access_key_id == key_id:
            return hop.account
    if key_id.startswith("ASIA"):
        return None
    view = await find_current(env, lambda: env.directory.access_key(key_id))
    return view.key.account if view is not None else None
