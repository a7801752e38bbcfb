"""Approval without a person: an emergency, or an automatic rule of every role whose conditions hold."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from daypass.domain.access import limits
from daypass.domain.access import terms as t
from daypass.domain.access.rule import Automatic, Rule, compiled_condition, condition_holds
from daypass.operations.broker.approve import Approval
from daypass.operations.grants.facts import Circumstances, Target


def automatic_approval(
    terms: t.Terms, targets: Sequence[Target], asked: Circumstances, mfa_at: int, now: int
) -> Approval | None:
    """The approval without a person, if the request is an emergency or an automatic rule of every role applies.

    Its conditions describe now, so persons decide on access that starts later (attack A212).
    """
    on_call = frozenset(target.role.arn for target in targets if target.rule.rule.on_call in asked.on_call)
    if terms.break_glass:
        return Approval(on_call=on_call)
    if terms.starts_at > now:
        return None
    found = [_applicable(target.rule.rule, asked, mfa_at, now) for target in targets]
    if not all(found):
        return None
    seconds = [each.seconds for each in found if each is not None and each.seconds]
    return Approval(seconds=min(seconds, default=0), on_call=on_call)


def needs_mfa(terms: t.Terms, targets: Sequence[Target], asked: Circumstances, mfa_at: int, now: int) -> bool:
    """Whether nothing but MFA of this moment is missing for an approval without a person."""
    with_mfa = automatic_approval(terms, targets, asked, now, now)
    return with_mfa is not None and automatic_approval(terms, targets, asked, mfa_at, now) is None


def _applicable(rule: Rule, asked: Circumstances, mfa_at: int, now: int) -> Automatic | None:
    context = asked.under(rule)
    for automatic in rule.automatic:
        try:
            limits.check_mfa(mfa_at, automatic.mfa_seconds, now)
            limits.check_windows(automatic.windows, local_time(now))
        except limits.LimitExceeded:
            continue
        if condition_holds(compiled_condition(automatic.condition), context):
            return automatic
    return None


def local_time(now: int) -> limits.LocalTime:
    """`now` (ms) in a time zone by its name."""
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=now)

    def local(zone: str) -> datetime:
        try:
            return at.astimezone(ZoneInfo(zone))
        except (ZoneInfoNotFoundError, OSError):
            raise ValueError(zone) from None

    return local
