"""The DecodedMessage of DecodeAuthorizationMessage, from the explanation of a decision."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any


def decoded_message(explanation: Mapping[str, Any]) -> str:
    """The JSON text that AWS documents, with the whole explanation beside its members."""
    return json.dumps(_members(explanation), separators=(",", ":"), ensure_ascii=True)


def _members(explanation: Mapping[str, Any]) -> dict[str, Any]:
    """The members that AWS's decoded message has, and beside them the whole explanation.

    Condition keys are those that the relevant statements evaluated, with the values of the request.
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
