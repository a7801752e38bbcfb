"""Policy documents at the moment they are written and shown: parsed, measured, bound to those they name.

A trust document keeps its text. What its principals meant when it was written is bound to unique ids beside it, so that
a recreated namesake inherits nothing; where a bound principal is gone, its id is shown in its place, as AWS does.
Source: IAM User Guide, "AWS JSON policy elements: Principal"; "IAM and AWS STS quotas".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import TypeAlias

from daypass.domain.arn import assumed_role_arn, is_account_id, parse_arn
from daypass.domain.directory import Account, Role, User
from daypass.domain.policy.document import PolicyDocument, PolicyError, PolicyKind, parse
from daypass.domain.policy.lint.oidc import unpinned
from daypass.operations.iam import faults, quotas
from daypass.ports import Reader

Names: TypeAlias = dict[str, "User | Role | None"]
"""Entities by unique id, as far as one answer has looked them up."""

_UNCOUNTED = str.maketrans("", "", " \t\r\n")
_SESSION_PREFIX = "assumed-role/"


@lru_cache(maxsize=128)
def parsed(text: str, kind: PolicyKind) -> PolicyDocument:
    """The document. Raises DaypassError(MALFORMED_POLICY) with AWS's message."""
    try:
        return parse(text, kind)
    except PolicyError as error:
        raise faults.malformed_policy(error.message) from None


def size(text: str) -> int:
    """Characters as quotas count them: without white space."""
    return len(text.translate(_UNCOUNTED))


def managed(text: str) -> str:
    """A managed policy's text, checked."""
    parsed(text, PolicyKind.MANAGED)
    if size(text) > quotas.MANAGED_POLICY_SIZE:
        raise faults.over_quota("PolicySize", quotas.MANAGED_POLICY_SIZE)
    return text


def trust(tx: Reader, text: str) -> tuple[tuple[str, str], ...]:
    """The bindings of a trust document, checked: each principal ARN with the unique id behind it now.

    Raises MALFORMED_POLICY for a principal that does not exist in this installation, LIMIT_EXCEEDED for its size.
    """
    document = parsed(text, PolicyKind.TRUST)
    if size(text) > quotas.TRUST_POLICY_SIZE:
        raise faults.over_quota("ACLSizePerRole", quotas.TRUST_POLICY_SIZE)
    _refuse_strangers(document)
    bindings: dict[str, str] = {}
    for principal in document.principals():
        if principal.type != "AWS" or principal.value in bindings:
            continue
        unique_id = _bound_to(tx, principal.value)
        if unique_id is None:
            raise faults.malformed_policy(f'Invalid principal in policy: "AWS":"{principal.value}"')
        if unique_id:
            bindings[principal.value] = unique_id
    return tuple(bindings.items())


def _refuse_strangers(document: PolicyDocument) -> None:
    """Refuses, as AWS does, trust in an issuer that others share without a claim that names its own customer."""
    found = unpinned(document)
    if found is not None:
        principal, preset = found
        claim = "sub" if "sub" in preset.pins else min(preset.pins)
        raise faults.malformed_policy(
            f"The trust policy lets in every customer of the identity provider {principal.value}: it must evaluate "
            f"{preset.issuer}:{claim}, or another claim that names a customer, in a condition with a value that names yours."
        )


def _bound_to(tx: Reader, value: str) -> str | None:
    """The unique id behind an AWS principal; "" for one that needs none; None for one that does not exist."""
    if value == "*":
        return ""
    if is_account_id(value):
        return "" if tx.get(Account, id=value) is not None else None
    if not value.startswith("arn:"):
        return "" if _by_id(tx, value) is not None else None
    try:
        arn = parse_arn(value)
    except ValueError:
        return None
    if arn.partition != "aws" or arn.region or tx.get(Account, id=arn.account) is None:
        return None
    if arn.service == "iam":
        return "" if arn.resource == "root" else _entity_bound_to(tx, arn.account, arn.resource, value)
    if arn.service == "sts" and arn.resource.startswith(_SESSION_PREFIX):
        return _session_bound_to(tx, arn.account, arn.resource.split("/")[1], value)
    if arn.service == "sts" and arn.resource.startswith("federated-user/"):
        return f"{arn.account}:{arn.name}"
    return None


def _entity_bound_to(tx: Reader, account: str, resource: str, value: str) -> str | None:
    kind = {"user": User, "role": Role}.get(resource.partition("/")[0])
    if kind is None:
        return None
    found: User | Role | None = tx.get(kind, account=account, name=resource.rpartition("/")[2])
    return found.id if found is not None and found.arn == value else None


def _session_bound_to(tx: Reader, account: str, role_name: str, value: str) -> str | None:
    found = tx.get(Role, account=account, name=role_name)
    if found is None or value != assumed_role_arn(account, found.name, value.rpartition("/")[2]):
        return None
    return found.id


def _by_id(tx: Reader, unique_id: str) -> User | Role | None:
    if unique_id.startswith("AROA"):
        return tx.get(Role, id=unique_id)
    return tx.get(User, id=unique_id)


def echo(tx: Reader, role: Role, names: Names | None = None) -> str:
    """A role's trust document as it was written, with what its principals are called now.

    A renamed user shows under the new ARN; a principal that is gone shows as its unique id.
    """
    names = {} if names is None else names
    changed = {}
    for arn, unique_id in role.trust_bindings:
        now = _called_now(tx, arn, unique_id, names)
        if now != arn:
            changed[arn] = now
    return _with_principals(role.trust_document, changed) if changed else role.trust_document


def _called_now(tx: Reader, arn: str, unique_id: str, names: Names) -> str:
    if ":" in unique_id:  # a federated user is its name
        return arn
    if unique_id not in names:
        names[unique_id] = _by_id(tx, unique_id)
    entity = names[unique_id]
    session = arn.rpartition("/")[2] if f":{_SESSION_PREFIX}" in arn else ""
    if entity is None:
        return f"{unique_id}:{session}" if session else unique_id
    return assumed_role_arn(entity.account, entity.name, session) if session else entity.arn


def _with_principals(text: str, changed: dict[str, str]) -> str:
    """`text` with these principals spelled anew, and not a character else."""
    parts: list[str] = []
    done = 0
    for start, value in _principal_places(text):
        if value in changed:
            _, end = json.JSONDecoder().raw_decode(text, start)
            parts += [text[done:start], json.dumps(changed[value])]
            done = end
    return "".join((*parts, text[done:]))


def _principal_places(text: str) -> Iterator[tuple[int, str]]:
    """Where each AWS principal's string begins (its quote), in the order of the text."""
    lines = [0]
    for line in text.split("\n"):
        lines.append(lines[-1] + len(line) + 1)
    places = [
        (lines[principal.line - 1] + principal.column - 1, principal.value)
        for principal in parsed(text, PolicyKind.TRUST).principals()
        if principal.type == "AWS"
    ]
    return iter(sorted(places))
