"""Whether persons are eligible for each stage: when they vote, and whenever their votes are counted (attacks A85, A120)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from daypass.domain.access.limits import LimitExceeded, check_mfa
from daypass.domain.access.quorum import StageKey
from daypass.domain.access.rule import CompiledRule, People, Stage
from daypass.domain.access.terms import binding_of, waiting_since
from daypass.domain.directory import AccessRequest
from daypass.domain.policy.model import Context
from daypass.domain.session import Hop
from daypass.operations.grants.facts import (
    Target,
)


class Ballot(Struct, frozen=True, omit_defaults=True):
    """What a vote says besides yes or no.

    Attributes:
        reason: of the approver.
        principal_ids: of all hops of the approver, to check the eligibility again later.
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


class StageMatch(Struct, frozen=True):
    """The stages in which a person may vote, and why further stages are closed to the person now (`unmet`)."""

    stages: tuple[StageKey, ...]
    unmet: str = ""


def stages_for(  # the facts of one vote
    request: AccessRequest,
    rules: Sequence[CompiledRule],
    names: Sequence[str],
    now: int,
    *,
    context: Context | None = None,
    mfa_at: int = 0,
    stepped_up: bool = False,
) -> StageMatch:
    """The stages in which a person with these names may vote on a request.

    `context` None: neither conditions nor MFA are tested. `stepped_up`: the vote itself was confirmed with MFA.
    """
    found: list[StageKey] = []
    unmet = ""
    for rule in rules:
        escalation = rule.escalation if _is_escalated(request, rule, now) else None
        for stage, people in zip(rule.rule.stages, rule.stages, strict=True):
            escalated = escalation is not None and escalation.include(names, context)
            if not (escalated or people.include(names, context)):
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
            found.append((rule.name, stage.name))
    return StageMatch(tuple(dict.fromkeys(found)), unmet)


def _is_escalated(request: AccessRequest, rule: CompiledRule, now: int) -> bool:
    """Whether the rule's own time has passed: a request for several roles is escalated as soon as that of one has (A211)."""
    escalation = rule.rule.escalation
    if escalation is None or not request.escalated_at:
        return False
    return now >= waiting_since(request) + escalation.after_seconds * 1000
