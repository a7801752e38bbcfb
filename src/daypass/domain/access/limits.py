"""Checks a request against the limits of its rules: reason, ticket, duration, time windows, MFA."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from daypass.domain.access.rule import DAYS, ReasonRule, Rule, TicketRule, Window
from daypass.domain.access.terms import MAX_REASON, MAX_TICKET, Terms
from daypass.domain.policy.pattern import Patterns
from daypass.domain.visible import BLANK

LocalTime = Callable[[str], datetime]
"""The time now in a time zone by its name. Raises ValueError for an unknown zone."""


class LimitExceeded(Exception):
    """The request is outside the limits of a rule. The message is for the requester."""


def check_reason(text: str, rule: ReasonRule) -> None:
    """A reason says something: enough letters, printable, matching one of the patterns."""
    if len(text) > MAX_REASON or not text.isprintable():
        raise LimitExceeded(f"A reason is at most {MAX_REASON} printable characters.")
    if not is_meaningful(text, rule.letters):
        raise LimitExceeded(f"The reason must have at least {rule.letters} letters or digits, and say something.")
    if rule.patterns and not Patterns(rule.patterns, folded=True).matches(text, {}):
        raise LimitExceeded(f"The reason must match one of: {', '.join(rule.patterns)}")


def is_meaningful(text: str, least: int) -> bool:
    """Whether a text has at least `least` letters or digits, which are not one or two repeated."""
    letters = [char for char in text.casefold() if char.isalnum() and char not in BLANK]
    return len(letters) >= least and len(set(letters)) >= min(3, least)


def check_ticket(text: str, rule: TicketRule | None, *, emergency: bool = False) -> None:
    """The form of the ticket; whether it is open is for the webhook. An emergency needs none: nobody can open one while
    the ticket system is down.
    """
    if len(text) > MAX_TICKET or not text.isprintable():
        raise LimitExceeded(f"A ticket is at most {MAX_TICKET} printable characters.")
    if rule is None:
        return
    if not text:
        if rule.required and not emergency:
            raise LimitExceeded("A ticket is required.")
        return
    if rule.patterns and not Patterns(rule.patterns).matches(text, {}):
        raise LimitExceeded(f"The ticket must match one of: {', '.join(rule.patterns)}")


def duration(requested: int | None, rules: Iterable[Rule]) -> int:
    """The duration in seconds, within the limits of all rules. Raises LimitExceeded when more is requested."""
    rules = list(rules)
    cap = min(rule.max_seconds for rule in rules)
    if requested is None:
        return min(cap, *(rule.default_seconds or rule.max_seconds for rule in rules))
    if requested > cap:
        raise LimitExceeded(f"The duration is at most {cap} seconds.")
    return requested


def uses(requested: int | None, rules: Iterable[Rule]) -> int:
    """The number of sessions: as requested, or as many as all rules allow; 0: any number."""
    return min((rule.max_uses for rule in rules if rule.max_uses), default=0) if requested is None else requested


def check_request(terms: Terms, rule: Rule, mfa_at: int, now: int, local: LocalTime) -> None:
    """The limits of a rule on a request that somebody makes or accepts at `now` (ms). Raises LimitExceeded.

    `mfa_at`: ms, of the person who gets the access. An emergency has no limits but those of `rule.break_glass`.
    """
    check_reason(terms.reason, rule.reason)
    check_ticket(terms.ticket, rule.ticket, emergency=terms.break_glass)
    if rule.max_uses and not 1 <= terms.max_uses <= rule.max_uses:
        raise LimitExceeded(f"A grant gives 1 to {rule.max_uses} sessions.")
    if terms.requester != terms.beneficiary and not rule.on_behalf:
        raise LimitExceeded("The approval rule does not allow requests for another person.")
    if not terms.break_glass:
        duration(terms.seconds, [rule])
        check_windows(rule.windows, local)
        check_mfa(mfa_at, rule.requester_mfa_seconds, now)


def check_windows(windows: Sequence[Window], local: LocalTime) -> None:
    """Raises LimitExceeded outside all windows. No windows: any time."""
    if windows and not in_windows(windows, local):
        shown = "; ".join(f"{','.join(w.days)} {w.begin}-{w.until} {w.zone}" for w in windows)
        raise LimitExceeded(f"Access is possible only at these times: {shown}")


def in_windows(windows: Sequence[Window], local: LocalTime) -> bool:
    """Whether it is now in one of the windows. A window with an unknown time zone contains no time."""
    for window in windows:
        try:
            now = local(window.zone)
        except ValueError:
            continue
        if DAYS[now.weekday()] in window.days and window.begin <= f"{now.hour:02}:{now.minute:02}" < window.until:
            return True
    return False


def check_mfa(mfa_at: int, seconds: int | None, now: int) -> None:
    """Raises LimitExceeded unless MFA was used at most `seconds` before `now` (ms). None: not required."""
    if seconds is None:
        return
    if not mfa_at or now - mfa_at > seconds * 1000:
        raise LimitExceeded(f"MFA at most {seconds} seconds ago is required.")
