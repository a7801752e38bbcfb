"""The record's detail of an operation on the directory: its parameters without secrets, and identifiers of its result."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from daypass.domain.policy.lint.finding import Finding
from daypass.operations.crud.operation import REFUSED, Answer, Params, Resource

_SECRET_PARAMETERS: Final = frozenset(
    {"Password", "OldPassword", "NewPassword", "AuthenticationCode1", "AuthenticationCode2", "AddPrivateKey"}
)
_MAX_FINDINGS: Final = 20


def detail_of(params: Params, resource: Resource) -> dict[str, Any]:
    """The detail of an event."""
    shown = {name: "***" if name in _SECRET_PARAMETERS else recordable(value) for name, value in params.items()}
    return {"resource": resource.arn, "parameters": shown}


def recordable(value: Any) -> Any:
    """Parameters for the record. A blob, which JSON does not have, is replaced by its digest."""
    if isinstance(value, Mapping):
        return {key: recordable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [recordable(item) for item in value]
    return f"sha256:{hashlib.sha256(value).hexdigest()}" if isinstance(value, bytes) else value


def identifiers(answer: Answer, members: Collection[str]) -> dict[str, Any]:
    """The identifiers of a created entity, from the only entity in the answer. Only `members` are copied, never a secret."""
    detail: dict[str, Any] = {"refused": answer[REFUSED]} if REFUSED in answer else {}
    for member in answer.values():
        if isinstance(member, Mapping):
            detail.update({name: member[name] for name in members if name in member})
    return detail


def findings_shown(findings: Iterable[Finding]) -> list[str]:
    """Findings in short form, for the record and a response header. `daypass lint` shows all of them."""
    shown = [f"{finding.severity.value} {finding.id} {finding.line}:{finding.column}" for finding in findings]
    return shown[:_MAX_FINDINGS]
