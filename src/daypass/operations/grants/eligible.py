"""Whether persons are eligible for each stage: when they vote, and whenever their votes are counted (attacks A85, A120)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from daypass.domain.access.limits import LimitExceeded, check_mfa
from daypass.domain.access.person import identifier, same_person
from daypass.domain.access.quorum import StageKey
from daypass.domain.access.rule import CompiledRule, People, Stage
from daypass.domain.access.terms import binding_of, waiting_since
from daypass.domain.directory import AccessRequest, User
from daypass.domain.policy.model import Context
from daypass.domain.session import Hop
from daypass.operations.grants.facts import (
    Target,
    hop_of,
    is_disabled,
    is_stopped,
    person_of_user,
)
from daypass.operations.principals import find_by_arn
from daypass.ports import Reader


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
        passkey: the id of the passkey that confirmed the vote, or "".
        device: the serial number of the MFA device whose code did, and when it was enabled (ms).
        hops: see `facts.Person`.
    """

    reason: str = ""
    principal_ids: tuple[str, ...] = ()
    absent: str = ""
    seconds: int = 0
    policy: str = ""
    step_up: str = ""
    chat: str = ""
    hops: tuple[Hop, ...] = ()
    passkey: str = ""
    device: tuple[str, int] = ("", 0)


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
    if escalation is None or not request.escalated_at:
        return False
    return now >= waiting_since(request) + escalation.after_seconds * 1000


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
