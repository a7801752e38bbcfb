"""sts:GetAccessKeyInfo: which account an access key id belongs to, whatever its state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.authorize import authorize, feed_moved
from daypass.operations.outcome import served
from daypass.ports import Call, Env


async def get_access_key_info(env: Env, call: Call, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """GetAccessKeyInfo (AWS STS API).

    Ours carry no account inside: long-term keys are looked up, and of temporary ones those of the caller's own chain are
    known. Any other id is answered as AWS answers a key that does not exist.
    """
    key_id = params["AccessKeyId"]
    decision = await authorize(env, call, "sts:GetAccessKeyInfo", "*")
    account = await _account(env, call, key_id)
    if account is None:
        raise DaypassError(
            ErrorKind.UNKNOWN_CREDENTIALS,
            "The X.509 certificate or AWS access key ID provided does not exist in our records.",
        )
    await env.journal.commit(served(call, decision=decision, detail={"access_key_id": key_id}))
    return {"Account": account}


async def _account(env: Env, call: Call, key_id: str) -> str | None:
    for hop in call.caller.hops:
        if hop.access_key_id == key_id:
            return hop.account
    if key_id.startswith("ASIA"):
        return None
    view = await env.directory.access_key(key_id)
    if view is None and await feed_moved(env):
        view = await env.directory.access_key(key_id)
    return view.key.account if view is not None else None
