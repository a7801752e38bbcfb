"""sts:DecodeAuthorizationMessage: why a request was denied, for callers whom the deciding account permits to know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.authorize import authorize
from daypass.operations.outcome import served, unpack
from daypass.ports import Call, Env


async def decode_authorization_message(env: Env, call: Call, unverified_message: str) -> Mapping[str, Any]:
    """DecodeAuthorizationMessage (AWS STS API): the explanation in an encoded authorization message.

    A message of another account is refused like an invalid one: the caller learns nothing from the refusal.
    """
    decision = await authorize(env, call, "sts:DecodeAuthorizationMessage", "*")
    account, payload = await env.sealer.open_message(unverified_message)
    try:
        explanation = unpack(payload)
    except ValueError:
        raise _invalid("not packed here") from None
    if account != call.caller.account:
        raise _invalid("belongs to another account")
    await env.journal.commit(served(call, decision=decision))
    return explanation


def _invalid(reason: str) -> DaypassError:
    return DaypassError(
        ErrorKind.INVALID_AUTHORIZATION_MESSAGE,
        "Encoded authorization message is not valid.",
        private={"reason": reason},
    )
