"""sts:DecodeAuthorizationMessage: why a request was denied, for those whom the deciding account lets know."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.authorize import authorize
from daypass.operations.outcome import served, unpack
from daypass.ports import Call, Env


async def decode_authorization_message(env: Env, call: Call, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """DecodeAuthorizationMessage (AWS STS API).

    A message of another account is as invalid as one that was made up: the caller learns nothing from it.
    """
    decision = await authorize(env, call, "sts:DecodeAuthorizationMessage", "*")
    account, payload = await env.sealer.open_message(params["EncodedMessage"])
    try:
        explanation = unpack(payload)
    except ValueError:
        raise _invalid("not packed here") from None
    if account != call.caller.account:
        raise _invalid("belongs to another account")
    await env.journal.commit(served(call, decision=decision))
    return {"DecodedMessage": json.dumps(_decoded(explanation), separators=(",", ":"), ensure_ascii=True)}


def _decoded(explanation: Mapping[str, Any]) -> dict[str, Any]:
    """The members that AWS's decoded message has, and beside them the whole explanation.

    Condition keys are those that the statements in question looked at, with the values of the request.
    """
    statements = [found for layer in explanation.get("layers", ()) for found in layer["statements"]]
    looked_at = {
        condition["key"]: condition["found"]
        for statement in statements
        for condition in statement["conditions"]
        if condition["found"] is not None
    }
    return {
        "allowed": bool(explanation.get("allowed")),
        "explicitDeny": bool(explanation.get("explicit")),
        "matchedStatements": _items(
            {"statementId": found["sid"], "effect": found["effect"].upper(), "policy": found["policy"]}
            for found in explanation.get("determining", ())
        ),
        "failures": _items(()),
        "context": {
            "principal": {"arn": explanation.get("principal", "")},
            "action": explanation.get("action", ""),
            "resource": explanation.get("resource", ""),
            "conditions": _items(
                {"key": key, "values": _items({"value": value} for value in _values(found))}
                for key, found in sorted(looked_at.items())
            ),
        },
        "explanation": explanation,
    }


def _items(values: Iterable[Any]) -> dict[str, list[Any]]:
    return {"items": list(values)}


def _values(found: str | list[str]) -> list[str]:
    return [found] if isinstance(found, str) else found


def _invalid(reason: str) -> DaypassError:
    return DaypassError(
        ErrorKind.INVALID_AUTHORIZATION_MESSAGE,
        "Encoded authorization message is not valid.",
        private={"reason": reason},
    )
