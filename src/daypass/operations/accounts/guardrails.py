"""Guardrails: policies that limit every principal of an account, including its root. The operator sets them.

An account can read its guardrails but not change them. The operator cannot set a guardrail on its own account that
would prevent the caller from deleting it.
"""

from __future__ import annotations

import re
from dataclasses import replace

from msgspec.structs import replace as struct_replace

from daypass.domain.context import merged, principal_facts, request_context, resource_context
from daypass.domain.directory import Account, Guardrail
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event
from daypass.domain.policy.document import PolicyDocument, PolicyError, PolicyKind, parse
from daypass.domain.policy.evaluate import evaluate
from daypass.domain.policy.layers import NamedPolicy
from daypass.domain.policy.lint.finding import Finding
from daypass.domain.policy.lint.run import lint
from daypass.domain.policy.model import AccessQuery
from daypass.operations import heavy
from daypass.operations.authorize import layers_for
from daypass.operations.crud.collection import Collection
from daypass.operations.management import ALSO, allow_operator, arn_in_aws, arn_of
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
    findings = await heavy.parse(env, call.caller.account, _findings, document)
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


def _findings(document: str) -> tuple[Finding, ...]:
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
