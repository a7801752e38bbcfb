"""Guardrails: policies that bound every principal of an account, its root included. The operator sets them.

An account reads its own and cannot change them, or they would bound nobody. The operator cannot set one on its own
account by which the caller could not take it away again.
"""

from __future__ import annotations

import re
from dataclasses import replace

from daypass.domain.context import merged, principal_facts, request_context, resource_context
from daypass.domain.directory import Account, Guardrail
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.policy.document import PolicyDocument, PolicyError, PolicyKind, parse
from daypass.domain.policy.evaluate import evaluate
from daypass.domain.policy.lint.run import lint
from daypass.domain.policy.model import AccessQuery, Layers, NamedPolicy
from daypass.operations.authorize import layers_for
from daypass.operations.management import allow, allow_operator, arn_of
from daypass.operations.outcome import served
from daypass.ports import Call, Env, Reader, Tx

MAX_SIZE = 5_120  # characters; AWS's quota for service control policies
MAX_FOR_ACCOUNT = 5
_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]{1,128}")


async def put_guardrail(env: Env, call: Call, account: str, name: str, document: str) -> Guardrail:
    """daypass:PutGuardrail. Makes it, or gives it a new text.

    Raises DaypassError: ACCESS_DENIED, VALIDATION, MALFORMED_POLICY, NOT_FOUND (no such account), LIMIT_EXCEEDED.
    """
    owner = account or call.caller.account
    decision = await allow_operator(env, call, "PutGuardrail", "guardrail", name, owner)
    _check_name(name)
    parsed = _parsed(document)
    if owner == call.caller.account:
        await _check_way_back(env, call, NamedPolicy(name, parsed))

    findings = lint(parsed)
    warned = {"lint": [f"{found.severity.value} {found.id} {found.line}:{found.column}" for found in findings]}

    def change(tx: Tx) -> tuple[Guardrail, Event]:
        if tx.get(Account, id=owner) is None:
            raise DaypassError(ErrorKind.NOT_FOUND, f"There is no account {owner}.")
        old = tx.get(Guardrail, account=owner, name=name)
        if old is not None:
            guardrail = replace(old, document=document)
            tx.replace(guardrail)
        else:
            if tx.count(Guardrail, account=owner) >= MAX_FOR_ACCOUNT:
                raise DaypassError(ErrorKind.LIMIT_EXCEEDED, f"An account has at most {MAX_FOR_ACCOUNT} guardrails.")
            guardrail = Guardrail(owner, name, document, call.now)
            tx.insert(guardrail)
        detail = {"guardrail": name, "document": document, "made": old is None, **(warned if findings else {})}
        return guardrail, served(
            call, kind=EventType.DIRECTORY_CHANGED, account=owner, decision=decision, detail=detail
        )

    return await env.journal.write(change)


async def get_guardrail(env: Env, call: Call, account: str, name: str) -> Guardrail:
    """daypass:GetGuardrail. Raises DaypassError: ACCESS_DENIED, NOT_FOUND."""
    owner = account or call.caller.account
    decision = await allow(env, call, "GetGuardrail", "guardrail", name, owner)
    found = await env.directory.read(lambda tx: _existing(tx, owner, name))
    await env.journal.commit(served(call, account=owner, decision=decision, detail={"guardrail": name}))
    return found


async def list_guardrails(env: Env, call: Call, account: str) -> list[Guardrail]:
    """daypass:ListGuardrails, all of an account by name."""
    owner = account or call.caller.account
    decision = await allow(env, call, "ListGuardrails", "guardrail", "*", owner)
    found = await env.directory.read(lambda tx: tx.find(Guardrail, account=owner, order="name"))
    await env.journal.commit(served(call, account=owner, decision=decision))
    return found


async def delete_guardrail(env: Env, call: Call, account: str, name: str) -> None:
    """daypass:DeleteGuardrail. Raises DaypassError: ACCESS_DENIED, NOT_FOUND."""
    owner = account or call.caller.account
    decision = await allow_operator(env, call, "DeleteGuardrail", "guardrail", name, owner)

    def change(tx: Tx) -> tuple[None, Event]:
        tx.delete(_existing(tx, owner, name))
        detail = {"guardrail": name, "deleted": True}
        return None, served(call, kind=EventType.DIRECTORY_CHANGED, account=owner, decision=decision, detail=detail)

    await env.journal.write(change)


def _existing(tx: Reader, account: str, name: str) -> Guardrail:
    found = tx.get(Guardrail, account=account, name=name)
    if found is None:
        raise DaypassError(ErrorKind.NOT_FOUND, f"The guardrail with name {name} cannot be found.")
    return found


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


async def _check_way_back(env: Env, call: Call, guardrail: NamedPolicy) -> None:
    """Refuses a guardrail under which the caller could not delete it."""
    caller = call.caller
    policies = await layers_for(env, caller)
    others = tuple(policy for level in policies.guardrails for policy in level if policy.name != guardrail.name)
    resource = arn_of(caller.account, "guardrail", guardrail.name)
    keys = merged(request_context(caller, call.facts, call.now), resource_context(caller.account))
    layers = Layers(
        same_account=True,
        identity=policies.identity,
        boundary=policies.boundary,
        session=policies.session,
        guardrails=((*others, guardrail),),
    )
    query = AccessQuery(principal_facts(caller), "daypass:DeleteGuardrail", resource, keys)
    if not evaluate(query, layers).allowed:
        raise DaypassError(
            ErrorKind.VALIDATION,
            "Under this guardrail you could not delete it again: daypass:DeleteGuardrail must stay allowed.",
        )
