"""Holds a stored request to rules under which it was not made, before it is granted under them."""

from __future__ import annotations

from collections.abc import Sequence

from daypass.domain.access import limits
from daypass.domain.access import terms as t
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.broker.automatic import local_time
from daypass.operations.grants.facts import Target


def check_rules(terms: t.Terms, targets: Sequence[Target], now: int) -> None:
    """Raises DaypassError unless the stored request satisfies each rule under which it was not made: that of a
    substituted role (attack A251), and one that has changed since (attack A211).
    """
    for target in targets:
        rule = target.rule.rule
        if target.rule.digest in terms.rule_digests:
            continue
        asks = rule.ticket is not None and rule.ticket.webhook
        if target.rule.requesters.conditional or rule.requester_mfa_seconds is not None or asks:
            raise DaypassError(
                ErrorKind.ACCESS_DENIED,
                f"The approval rule {target.rule.name}, under which the request was not made, tests conditions, MFA or "
                f"the ticket when {target.role.arn} is requested. It has to be requested again.",
                private={"reason": "conditions of the rule", "rule": target.rule.name},
            )
        try:
            limits.check_terms(terms, rule)
            limits.check_windows(rule.windows, local_time(now))
        except limits.LimitExceeded as error:
            raise DaypassError(ErrorKind.VALIDATION, str(error)) from None
