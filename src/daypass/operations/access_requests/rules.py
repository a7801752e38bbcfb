"""Approval rules: stored as they were written, checked completely. A change voids the approvals made under the old rule.

Also who is on call by the schedule of a rule, so that people can see it before they depend on it.
"""

from __future__ import annotations

from typing import Final

from daypass.domain.access.rule import (
    MAX_RULE,
    CompiledRule,
    RuleError,
    check_wildcards,
    read_rule,
)
from daypass.domain.directory import ApprovalRule
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event
from daypass.operations import heavy
from daypass.operations.crud import Collection
from daypass.operations.grants.targets import check_surroundings, compiled
from daypass.operations.management import allow
from daypass.operations.outcome import served
from daypass.ports import Call, Env, OutboundFailed, Reader, Tx

MAX_RULES: Final = 200
RULES: Final = Collection(ApprovalRule, "ApprovalRule", "approval-rule", "approval rule", MAX_RULES)
"""Grants that were approved under a deleted rule end."""


async def put_rule(env: Env, call: Call, account: str, name: str, document: str) -> ApprovalRule:
    """daypass:PutApprovalRule on `approval-rule/NAME`, with iam:UpdateAssumeRolePolicy on the account's roles.

    A rule decides which persons get the roles that need approval. Raises DaypassError: ACCESS_DENIED, VALIDATION,
    LIMIT_EXCEEDED.
    """
    owner = account or call.caller.account
    decision = await allow(env, call, "PutApprovalRule", "approval-rule", name, owner)
    rule = await heavy.parse(env, call, _read, f"{owner}\n{name}\n{document}")
    written = read_rule(owner, name, document).rule
    check_surroundings(env, written, call.now)

    def change(tx: Tx) -> tuple[ApprovalRule, Event]:
        old = tx.get(ApprovalRule, account=owner, name=name)
        made = ApprovalRule(owner, name, document, rule, old.created_at if old else call.now, call.now, call.caller.arn)
        RULES.put(tx, old, made)
        return made, RULES.changed(call, made, decision, digest=rule, document=document, made=old is None)

    return await env.journal.write(change, account=call.caller.account)


async def people_on_call(env: Env, call: Call, account: str, name: str) -> list[str]:
    """daypass:GetOnCall on `approval-rule/NAME`: the names and addresses that the rule's schedule gives for now, sorted.

    Raises DaypassError: ACCESS_DENIED; NOT_FOUND without the rule or without a schedule in it; VALIDATION when the
    schedule cannot be read.
    """
    owner = account or call.caller.account
    decision = await allow(env, call, "GetOnCall", "approval-rule", name, owner)

    def query(tx: Reader) -> ApprovalRule | None:
        return tx.get(ApprovalRule, account=owner, name=name)

    found = await env.directory.read(query, account=call.caller.account)
    if found is None:
        raise DaypassError(ErrorKind.NOT_FOUND, f"The approval rule with name {name} cannot be found.")
    rule = compiled(found)
    if rule is None or (schedule := rule.rule.on_call) is None:
        raise DaypassError(ErrorKind.NOT_FOUND, f"The approval rule {name} has no schedule of who is on call.")
    try:
        people = await env.schedules.on_call(schedule.kind, schedule.calendar, call.now, owner=owner)
    except OutboundFailed as error:
        raise DaypassError(
            ErrorKind.VALIDATION,
            "The schedule cannot be read, so nobody is on call by it. The record says why.",
            private={"reason": "schedule", "fault": str(error)},
        ) from None
    detail = {"rule": name, "found": len(people)}
    await env.journal.commit(served(call, account=owner, decision=decision, detail=detail))
    return sorted(people)


def _read(text: str) -> str:
    """The digest of a valid rule. `text`: account, name and document, one after the other on lines."""
    account, name, document = text.split("\n", 2)
    if len(document) > MAX_RULE:
        raise DaypassError(ErrorKind.LIMIT_EXCEEDED, f"A rule has at most {MAX_RULE} characters.")
    try:
        rule: CompiledRule = read_rule(account, name, document)
        check_wildcards(rule.rule)
    except RuleError as error:
        raise DaypassError(ErrorKind.VALIDATION, str(error)) from None
    return rule.digest
