"""Whether persons are eligible: for each stage when they vote, and again whenever a grant is used (attacks A85, A120)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from daypass.domain.access.limits import LimitExceeded, check_mfa
from daypass.domain.access.person import identifier, same_person
from daypass.domain.access.quorum import StageKey, counted, tally
from daypass.domain.access.request import EndReason
from daypass.domain.access.rule import CompiledRule, People, Stage
from daypass.domain.access.terms import Version, binding_of
from daypass.domain.directory import AccessRequest, AccessVote, ApprovalRule, Grant, Revocation, Role, User
from daypass.domain.policy.model import Context
from daypass.domain.session import Hop
from daypass.operations.grants.facts import (
    Target,
    compiled,
    hop_of,
    is_disabled,
    is_stopped,
    is_superseded,
    names_of,
    person_of_user,
    persons_of,
    version_of,
    with_links,
)
from daypass.operations.grants.permission import may_approve, may_assume
from daypass.operations.grants.snapshot import once
from daypass.operations.grants.standing import stands
from daypass.operations.principals import find_by_arn
from daypass.ports import Env, Reader


class Ballot(Struct, frozen=True, omit_defaults=True):
    """What a vote says besides yes or no.

    Attributes:
        reason: of the approver.
        principal_ids: of all hops of the approver, to check the eligibility again later.
        absent: the ARN for which the approver voted as a delegate, or "".
        seconds: the approver's shorter duration; 0: as requested.
        policy: the approver's narrower scope-down policy, or "".
        step_up: how the approver confirmed the vote with MFA: "passkey", "code", or "" for not at all.
        chat: the user of a chat service who voted there, or "".
        hops: see `facts.Person`; () in votes of the previous release.
    """

    reason: str = ""
    principal_ids: tuple[str, ...] = ()
    absent: str = ""
    seconds: int = 0
    policy: str = ""
    step_up: str = ""
    chat: str = ""
    hops: tuple[Hop, ...] = ()


read_ballot: Callable[[str], Ballot] = msgspec.json.Decoder(Ballot).decode


def write_ballot(ballot: Ballot) -> str:
    """The text that a vote stores."""
    return msgspec.json.encode(ballot).decode()


def binding(terms_digest: str, targets: Sequence[Target]) -> str:
    """What votes on these terms are bound to now."""
    return binding_of(terms_digest, (target.version for target in targets))


def thresholds(rules: Iterable[CompiledRule]) -> dict[StageKey, int]:
    """The stages of all rules, with the number of approvals that each takes. Nobody has a vote in that of a rule without
    stages, so votes under other rules do not grant its role (attack A211).
    """
    return {
        (rule.name, stage.name): stage.threshold for rule in rules for stage in rule.rule.stages or (_NO_APPROVERS,)
    }


_NO_APPROVERS: Final = Stage(People(()), "no approvers")
_EVER: Final = 2**63  # ms; no session began later


class StageMatch(Struct, frozen=True):
    """The stages in which a person may vote, and why further stages are closed to the person now (`unmet`).

    `absent`: the ARN for which the person votes as a delegate, with the identifiers of that person; "" and (): in the own
    name.
    """

    stages: tuple[StageKey, ...]
    absent: str = ""
    identifiers: tuple[str, ...] = ()
    unmet: str = ""


class _Acting(NamedTuple):
    """Those in whose name somebody may vote: the ARN of an absent approver, or "" for the own name."""

    arn: str
    names: tuple[str, ...]
    identifiers: tuple[str, ...] = ()


def stages_for(  # noqa: PLR0913  # the facts of one vote
    tx: Reader,
    request: AccessRequest,
    rules: Sequence[CompiledRule],
    names: Sequence[str],
    now: int,
    *,
    context: Context | None = None,
    mfa_at: int = 0,
    stepped_up: bool = False,
    absent: str | None = None,
) -> StageMatch:
    """The stages in which a person with these names may vote on a request: in the own name, otherwise as a delegate.

    `context` None: neither conditions nor MFA are tested. `stepped_up`: the vote itself was confirmed with MFA. `absent`:
    only in the place of this ARN; "": only in the own name.
    """
    found: dict[_Acting, list[StageKey]] = {}
    unmet = ""
    for rule in rules:
        everyone = (_Acting("", tuple(names)), *_absent(tx, request, rule, names, now))
        acting = [each for each in everyone if absent in (None, each.arn)]
        escalation = rule.escalation if _is_escalated(request, rule, now) else None
        for stage, people in zip(rule.rule.stages, rule.stages, strict=True):
            voters = [
                each
                for each in acting
                if people.include(each.names, context)
                or (not each.arn and escalation is not None and escalation.include(names, context))
            ]
            if not voters:
                continue
            try:
                if context is not None:
                    check_mfa(mfa_at, stage.mfa_seconds, now)
            except LimitExceeded as error:
                unmet = str(error)
                continue
            if context is not None and stage.step_up and not stepped_up:
                unmet = "This stage takes MFA for the vote itself: confirm it with a passkey or a code."
                continue
            for each in voters:
                found.setdefault(each, []).append((rule.name, stage.name))
    if not found:
        return StageMatch((), unmet=unmet)
    voter = min(found, key=lambda each: bool(each.arn))  # the own name first, then in the order of the rule
    return StageMatch(tuple(dict.fromkeys(found[voter])), voter.arn, voter.identifiers, unmet)


def _is_escalated(request: AccessRequest, rule: CompiledRule, now: int) -> bool:
    """Whether the rule's own time has passed: a request for several roles is escalated as soon as that of one has (A211)."""
    escalation = rule.rule.escalation
    waits = escalation is None or now < request.created_at + escalation.after_seconds * 1000
    return bool(request.escalated_at) and not waits


def _absent(
    tx: Reader, request: AccessRequest, rule: CompiledRule, names: Sequence[str], now: int
) -> Iterator[_Acting]:
    """The absent approvers for whom a person with these names votes now, with their groups as they are now.

    Nobody votes for a person of the request, nor for one who was disabled, blocked or deleted (attacks A270, A271, A214).
    """
    for arn in rule.delegated(names, now):
        user = find_by_arn(tx, User, arn)
        if user is None and ":user/" in arn:
            continue
        # without a user: a group, a role or a subject of a provider
        person = person_of_user(tx, user) if user is not None else None
        absent = _Acting(arn, person.names, person.identifiers) if person else _Acting(arn, (arn,), (identifier(arn),))
        whose = (user.id if user is not None else arn,)
        if (
            is_disabled(tx, whose)
            or is_stopped(tx, [hop_of(tx, whose[0], _EVER)], now)
            or same_person(request.persons, absent.identifiers)
        ):
            continue
        yield absent


class Void(Exception):
    """A grant is void. `reason` is stored with it; the message is for the person."""

    def __init__(self, reason: EndReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def check_grant(env: Env, tx: Reader, grant: Grant, request: AccessRequest, principal_ids: Sequence[str]) -> None:
    """Raises Void unless everything that the approval was based on still holds.

    `principal_ids`: of the person, as in the request that uses the grant. The versions of role and rule must be those
    that were approved, and no more specific rule may apply; the person must still be a requester of the rule, and the
    approvers must still be eligible.
    """
    if _is_revoked(tx, grant):
        raise Void(EndReason.REVOKED, "The grant was revoked.")
    role = tx.get(Role, id=grant.role_id)
    if role is None or role.account != grant.account or version_of(tx, role, env.builtin) != grant.role_digest:
        raise Void(EndReason.CHANGED, "The role or its policies have changed since the approval.")
    stored = tx.get(ApprovalRule, account=grant.account, name=grant.rule)
    rule = compiled(stored) if stored is not None else None
    if rule is None or rule.digest != grant.rule_digest:
        raise Void(EndReason.CHANGED, "The approval rule has changed since the approval.")
    if is_disabled(tx, (grant.principal_id,)):
        raise Void(EndReason.INELIGIBLE, "The person has been disabled.")
    people = rule.break_glass if grant.break_glass and rule.break_glass is not None else rule.requesters
    names = _names(tx, principal_ids)
    if not people.include(names, None):
        raise Void(EndReason.INELIGIBLE, "The approval rule no longer allows you to request this role.")
    if is_superseded(tx, role, rule, names):
        raise Void(EndReason.CHANGED, "A more specific approval rule applies to you since the approval.")
    if grant.approvers:
        _check_approvers(env, tx, request, grant, rule)
    for each in (grant.extension_id or "").split():
        if (extension := tx.get(AccessRequest, id=each)) is not None:
            _check_approvers(env, tx, extension, grant, rule)


def _is_revoked(tx: Reader, grant: Grant) -> bool:
    """Whether the grant was revoked without the database (attack A268), or all sessions of its account were since it was
    made: when the database is restored, too, which may lack the end of the grant and its uses (attack A324).
    """
    if tx.find(Revocation, account=grant.account, subject="grant", value=grant.id):
        return True
    of_account = tx.find(Revocation, account=grant.account, subject="account", value=grant.account)
    return any(each.issued_before > grant.created_at for each in of_account)


def _names(tx: Reader, ids: Sequence[str]) -> tuple[str, ...]:
    return once(tx, ("names", *ids), lambda: names_of(tx, ids))


def _may_approve(env: Env, tx: Reader, hops: Sequence[Hop], role_arn: str) -> bool:
    chain = (f"{hop.principal_id}/{hop.name}" for hop in hops)
    return once(
        tx,
        ("may approve", role_arn, *chain),
        lambda: may_approve(env, tx, hops, role_arn) and may_assume(env, tx, hops),
    )


def _check_approvers(env: Env, tx: Reader, request: AccessRequest, grant: Grant, rule: CompiledRule) -> None:
    """Whether the votes would still complete every stage of this rule, with the approvers who are eligible and have the
    permission to approve now.
    """
    bound_to = binding_of(request.digest, _versions(tx, grant.request_id))
    own = persons_of(tx, request)
    request = replace(request, persons=own)
    eligible: list[AccessVote] = []
    for vote in tx.find(AccessVote, request_id=request.id, order="approver_id"):
        ballot = read_ballot(vote.document)
        persons = with_links(tx, vote.persons, ballot.principal_ids)
        # What ends the session of a vote ends the vote, too, even if its person gets sessions again (attack A268).
        hops = ballot.hops or [hop_of(tx, each, vote.at, vote.access_key_id) for each in ballot.principal_ids]
        if not vote.approve or not stands(tx, hops, persons, env.clock.now(), ballot.chat):
            continue
        if not _may_approve(env, tx, hops, grant.role_arn):
            continue
        names = _names(tx, ballot.principal_ids)
        # A delegation counts if it was in force when the delegate voted, and for the absent person of that vote alone.
        match = stages_for(tx, request, [rule], names, vote.at, absent=ballot.absent)
        voted = {tuple(stage) for stage in vote.stages}
        stages = tuple(stage for stage in match.stages if stage in voted)
        both = tuple({*persons, *match.identifiers})  # those of the absent person as they are now (attack A282)
        eligible.append(replace(vote, stages=stages, persons=both))
    if not tally(thresholds([rule]), counted(eligible, bound_to, own)).complete:
        raise Void(EndReason.INELIGIBLE, "An approver is no longer eligible to approve.")


def approved_binding(tx: Reader, request: AccessRequest) -> str:
    """What the approvals of an approved request were bound to: its terms, and the versions that its grants store."""
    return binding_of(request.digest, _versions(tx, request.id))


def _versions(tx: Reader, request_id: str) -> list[Version]:
    """The versions that the grants of a request store."""
    grants = tx.find(Grant, request_id=request_id)
    return [Version(grant.role_id, grant.role_digest, grant.rule, grant.rule_digest) for grant in grants]
