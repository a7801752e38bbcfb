"""Who is on call by the schedule of an approval rule, so that people can see it before they depend on it.

It must never show why a schedule cannot be read: that is for the record of the account.
"""

from __future__ import annotations

from daypass.domain.directory import ApprovalRule
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.grants.targets import compiled
from daypass.operations.management import allow
from daypass.operations.outcome import served
from daypass.ports import Call, Env, OutboundFailed, Reader


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
