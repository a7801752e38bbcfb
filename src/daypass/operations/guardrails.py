"""Guardrails: policies that limit every principal of an account, including its root. The operator sets them.

An account can read its guardrails but not change them. The operator cannot set a guardrail on its own account that
would prevent the caller from deleting it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, TypeAlias

from msgspec.structs import replace as struct_replace

from daypass.domain.arn import role_arn
from daypass.domain.context import merged, principal_facts, request_context, resource_context
from daypass.domain.directory import Account, Guardrail, Role
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.policy.document import PolicyDocument, PolicyError, PolicyKind, parse
from daypass.domain.policy.evaluate import evaluate
from daypass.domain.policy.layers import NamedPolicy
from daypass.domain.policy.lint.finding import LintFinding
from daypass.domain.policy.lint.run import lint
from daypass.domain.policy.model import AccessQuery
from daypass.operations import heavy
from daypass.operations.authorize import layers_for
from daypass.operations.crud import Collection
from daypass.operations.iam import faults
from daypass.operations.management import ALSO, InAws, allow, allow_operator, arn_in_aws, arn_of
from daypass.operations.outcome import served
from daypass.ports import Call, Env, Tx

MAX_SIZE = 5_120  # characters; AWS's quota for service control policies
MAX_FOR_ACCOUNT = 5
_REMEDY = (
    'What no statement of it allows is refused: beside a Deny, put {"Effect": "Allow", "Action": "*", "Resource": "*"}.'
)
_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]{1,128}")
GUARDRAILS = Collection(Guardrail, "Guardrail", "guardrail", "guardrail", MAX_FOR_ACCOUNT)


async def put_guardrail(env: Env, call: Call, account: str, name: str, document: str) -> Guardrail:
    """daypass:PutGuardrail, with organizations:UpdatePolicy and AttachPolicy on the account. Creates or replaces a guardrail.

    Raises DaypassError: ACCESS_DENIED, VALIDATION, MALFORMED_POLICY, NOT_FOUND (no such account), LIMIT_EXCEEDED.
    """
    owner = account or call.caller.account
    decision = await allow_operator(env, call, "PutGuardrail", "guardrail", name, owner)
    _check_name(name)
    findings = await heavy.parse(env, call, _findings, document)
    if owner == call.caller.account:
        parsed = await env.directory.read(
            lambda _: _parsed(document), account=owner
        )  # on a read thread: it may be long
        await _check_not_locked_out(env, call, NamedPolicy(name, parsed))
    warned = {
        "lint": [f"{finding.severity.value} {finding.id} {finding.line}:{finding.column}" for finding in findings]
    }

    def change(tx: Tx) -> tuple[Guardrail, Event]:
        if tx.get(Account, id=owner) is None:
            raise DaypassError(ErrorKind.NOT_FOUND, f"The account {owner} does not exist.")
        old = tx.get(Guardrail, account=owner, name=name)
        guardrail = Guardrail(owner, name, document, call.now) if old is None else replace(old, document=document)
        GUARDRAILS.put(tx, old, guardrail)
        detail = {"document": document, "made": old is None, **(warned if findings else {})}
        return guardrail, GUARDRAILS.changed(call, guardrail, decision, **detail)

    return await env.journal.write(change, account=call.caller.account, urgent=True)


async def delete_guardrail(env: Env, call: Call, account: str, name: str) -> None:
    """daypass:DeleteGuardrail, with organizations:DetachPolicy and DeletePolicy. Raises DaypassError: ACCESS_DENIED, NOT_FOUND."""
    decision = await allow_operator(env, call, "DeleteGuardrail", "guardrail", name, account)
    await GUARDRAILS.delete(env, call, name, account, decision)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise DaypassError(ErrorKind.VALIDATION, "A guardrail's name is 1 to 128 letters, digits and +=,.@_-")


def _parsed(document: str) -> PolicyDocument:
    if len(document) > MAX_SIZE:
        raise DaypassError(ErrorKind.LIMIT_EXCEEDED, f"A guardrail has at most {MAX_SIZE} characters.")
    try:
        return parse(document, PolicyKind.GUARDRAIL)
    except PolicyError as error:
        where = {"line": error.line, "column": error.column}
        raise DaypassError(ErrorKind.MALFORMED_POLICY, error.message, private=where) from None


def _findings(document: str) -> tuple[LintFinding, ...]:
    return tuple(lint(_parsed(document)))


async def _check_not_locked_out(env: Env, call: Call, guardrail: NamedPolicy) -> None:
    """Refuses a guardrail that would prevent the caller from deleting it."""
    caller = call.caller
    policies = await layers_for(env, caller)
    others = tuple(policy for level in policies.guardrails for policy in level if policy.name != guardrail.name)
    keys = merged(request_context(caller, call.facts, call.now), resource_context(caller.account))
    layers = struct_replace(policies, guardrails=((*others, guardrail),)).layers(same_account=True)
    theirs = arn_in_aws(caller.account, "guardrail", guardrail.name, caller.account)
    needed = {
        "daypass:DeleteGuardrail": arn_of(caller.account, "guardrail", guardrail.name),
        **dict.fromkeys(ALSO["DeleteGuardrail"], theirs),
    }
    for action, resource in needed.items():
        if not evaluate(AccessQuery(principal_facts(caller), action, resource, keys), layers).allowed:
            message = f"Under this guardrail you could not delete it again: {action} must stay allowed. {_REMEDY}"
            raise DaypassError(ErrorKind.VALIDATION, message)


# --- Daypass's own settings of a role: the longest session when it is chained from another session


MIN_CHAINED_SECONDS: Final = 900
MAX_CHAINED_SECONDS: Final = 43_200


async def get_role_settings(env: Env, call: Call, name: str, account: str = "") -> Role:
    """daypass:GetRoleSettings. Raises DaypassError: ACCESS_DENIED, NOT_FOUND."""
    owner = account or call.caller.account
    role = await _find_role(env, call, owner, name)
    known = role.name if role is not None else name
    tags = role.tags if role is not None else ()
    decision = await allow(env, call, "GetRoleSettings", "role", known, owner, in_aws=InAws(tags=tags), requested=name)
    if role is None:
        raise faults.no_such("role", name)
    await env.journal.commit(served(call, account=owner, decision=decision, detail={"role": role.arn}))
    return role


async def put_role_settings(env: Env, call: Call, name: str, chained_max_seconds: int, account: str = "") -> Role:
    """daypass:PutRoleSettings, with iam:UpdateRole. AWS limits every chained session to an hour; here that is the default.

    Raises DaypassError: ACCESS_DENIED, NOT_FOUND, VALIDATION.
    """
    owner = account or call.caller.account
    stored = await _find_role(env, call, owner, name)
    known, arn = (stored.name, stored.arn) if stored is not None else (name, role_arn(owner, "/", name))
    in_aws = InAws(arn, tags=stored.tags if stored is not None else ())
    decision = await allow(env, call, "PutRoleSettings", "role", known, owner, in_aws=in_aws, requested=name)
    if not MIN_CHAINED_SECONDS <= chained_max_seconds <= MAX_CHAINED_SECONDS:
        raise DaypassError(
            ErrorKind.VALIDATION, f"chained_max_seconds is {MIN_CHAINED_SECONDS} to {MAX_CHAINED_SECONDS} seconds."
        )

    def change(tx: Tx) -> tuple[Role, Event]:
        current = tx.get(Role, account=owner, name=name)
        if current is None:
            raise faults.no_such("role", name)
        role = replace(current, chained_max_seconds=chained_max_seconds)
        tx.replace(role)
        detail = {"role": role.arn, "chained_max_seconds": chained_max_seconds}
        return role, served(call, kind=EventType.DIRECTORY_CHANGED, account=owner, decision=decision, detail=detail)

    return await env.journal.write(change, account=call.caller.account)


async def _find_role(env: Env, call: Call, account: str, name: str) -> Role | None:
    """The role as it is stored: policies see its name and path, however the request spells them (attack A196)."""
    return await env.directory.read(lambda tx: tx.get(Role, account=account, name=name), account=call.caller.account)


# --- daypass:ReadSettings: the settings of this process, for the operator of the installation


ShownSettings: TypeAlias = Mapping[str, Mapping[str, str]]
"""Section to name to text. The composition root replaces secrets before it passes them."""


async def read_settings(env: Env, call: Call, settings: ShownSettings) -> ShownSettings:
    """Raises DaypassError(ACCESS_DENIED): for other accounts than the operator's, whatever their policies say."""
    decision = await allow_operator(env, call, "ReadSettings", "settings", "*")
    await env.journal.commit(served(call, decision=decision))
    return settings
