"""Who may vote on a request, and whether a vote still counts: when the request is decided, and when its grant is first used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from msgspec import Struct

from daypass.domain.access.quorum import Count, StageKey, count
from daypass.domain.access.rule import CompiledRule, LimitExceeded, People, Stage, check_mfa
from daypass.domain.access.terms import waiting_since
from daypass.domain.directory import AccessRequest, AccessVote
from daypass.domain.policy.model import Context
from daypass.operations.grants.permission import may_approve
from daypass.operations.grants.persons import names_of, persons_of, why_gone, with_links
from daypass.operations.grants.targets import RequestedRole, binding, once
from daypass.ports import Env, Reader, Scene

_MANY: Final = 1_000
_NO_APPROVERS: Final = Stage(People(()), "no approvers")
Governed: TypeAlias = Sequence[tuple[CompiledRule, str]]
"""Rules, each with the ARN of the role that is requested under it."""


def thresholds(rules: Iterable[CompiledRule]) -> dict[StageKey, int]:
    """The stages of all rules, with the number of approvals that each takes. Nobody has a vote in that of a rule without
    stages, so votes under other rules do not grant its role (attack A211).
    """
    return {
        (rule.name, stage.name): stage.threshold for rule in rules for stage in rule.rule.stages or (_NO_APPROVERS,)
    }


class StageMatch(Struct, frozen=True):
    """The stages in which a person may vote, and why further stages are closed to the person now (`unmet`)."""

    stages: tuple[StageKey, ...]
    unmet: str = ""


def stages_for(
    request: AccessRequest,
    rules: Iterable[CompiledRule],
    names: Sequence[str],
    at: int,
    *,
    context: Context | None = None,
    mfa_at: int = 0,
    stepped_up: bool = False,
) -> StageMatch:
    """The stages in which a person with these names may vote on a request at a time (ms).

    `context` None: neither conditions nor MFA are tested. `stepped_up`: the vote itself was confirmed with MFA.
    """
    found: list[StageKey] = []
    unmet = ""
    for rule in rules:
        escalation = rule.escalation if _is_escalated(request, rule, at) else None
        for stage, people in zip(rule.rule.stages, rule.stages, strict=True):
            escalated = escalation is not None and escalation.include(names, context)
            if not (escalated or people.include(names, context)):
                continue
            try:
                if context is not None:
                    check_mfa(mfa_at, stage.mfa_seconds, at)
            except LimitExceeded as error:
                unmet = str(error)
                continue
            if context is not None and stage.step_up and not stepped_up:
                unmet = "This stage takes MFA for the vote itself: confirm it with a passkey or a code."
                continue
            found.append((rule.name, stage.name))
    return StageMatch(tuple(dict.fromkeys(found)), unmet)


def _is_escalated(request: AccessRequest, rule: CompiledRule, at: int) -> bool:
    """Whether the rule's own time has passed: a request for several roles is escalated as soon as that of one has (A211)."""
    escalation = rule.rule.escalation
    if escalation is None or not request.escalated_at:
        return False
    return at >= waiting_since(request) + escalation.after_seconds * 1000


def votes_on(tx: Reader, request_id: str) -> list[AccessVote]:
    return tx.find(AccessVote, request_id=request_id, order="approver_id", limit=_MANY)


def count_votes(
    env: Env | Scene, tx: Reader, request: AccessRequest, targets: Sequence[RequestedRole], now: int
) -> Count:
    """The votes on a pending request as they count now (ms)."""
    roles = [(target.rule, target.role.arn) for target in targets]
    votes = [
        replace(vote, persons=with_links(tx, vote.persons, vote.principal_ids)) for vote in votes_on(tx, request.id)
    ]
    return count(
        votes,
        thresholds(rule for rule, _ in roles),
        binding(request.digest, targets),
        persons_of(tx, request),
        now,
        lambda vote: why_lost(env, tx, request, vote, roles, now),
    )


def why_lost(env: Env | Scene, tx: Reader, request: AccessRequest, vote: AccessVote, roles: Governed, now: int) -> str:
    """Why the approver of a vote does not count any more at `now` (ms); "": the approver does."""
    if gone := why_gone(tx, vote.principal_ids, vote.persons, vote.at, now):
        return f"the approver {gone}"
    rules, names = [rule for rule, _ in roles], names_of(tx, vote.principal_ids)
    named = {*stages_for(request, rules, names, vote.at).stages} & {(rule, stage) for rule, stage in vote.stages}
    if not named:
        return "the rule no longer names the approver"
    governed = {rule for rule, _ in named}
    for rule, arn in roles:
        key = ("may approve", arn, *vote.principal_ids)
        if rule.name in governed and not once(
            tx,
            key,
            lambda arn=arn: may_approve(env, tx, vote.principal_ids, arn),  # type: ignore[misc]  # the default binds the role of this turn
        ):
            return "the approver is no longer permitted to approve"
    return ""
