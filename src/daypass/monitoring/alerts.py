"""Recording rules and alerts, as data.

A page is for an outage, a widespread failure or a suspected compromise; a ticket can wait for the working day. Each alert
has a cause, by which it is grouped and deduplicated, and a section in the runbooks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

PAGE: Final = "page"
TICKET: Final = "ticket"
NONE: Final = "none"
"""The severity of the alert that fires always."""

OBJECTIVE: Final = 0.999
"""The target of M1. The rest is the error budget of 30 days."""

_MONTH_HOURS: Final = 720
WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
_ASSUME: Final = "daypass_assume_total"
_OF_SERVICE: Final = 'cause=~"unavailable|issuer"'
"""Causes that spend the error budget: a caller cannot produce them."""

_FAILED: Final = 'outcome!="issued",cause!~"request|throttled"'


FAULTS: Final = frozenset(
    {"InternalFailure", "ServiceUnavailable", "SlowDown", "server_error", "temporarily_unavailable"}
)
"""Codes of answers that are the fault of the server, not of the request."""


class Alert(NamedTuple):
    """One alerting rule."""

    name: str
    severity: str
    cause: str  # what is wrong, for grouping; "" where the expression has it as a label
    expr: str
    hold: int  # how long the expression must be true, in seconds
    summary: str  # one sentence, which may use the labels of the alert
    synthetic: bool = False  # only synthetic checks suffer, so that a maintenance window may silence it
    escalates: bool = False  # it goes to the second person at once


def expected(part: str, window: str, by: str = "region", function: str = "rate") -> str:
    """The refusals that synthetic checks want; they do not count as failures. `part`: labels of the checks."""
    return f'sum by ({by}) ({function}(daypass_checks_total{{outcome="passed",{part}}}[{window}]))'


def less(number: str, other: str) -> str:
    """`number` without `other`, which need not exist; never below 0."""
    return f"clamp_min({number} - ({other} or 0 * {number}), 0)"


def ratio(part: str, window: str, wanted: str = "") -> str:
    """The share of attempts with these labels in a window; 0 where there is none. `wanted`: labels of checks to subtract."""
    every = f"sum by (region) (rate({_ASSUME}[{window}]))"
    found = f"(sum by (region) (rate({_ASSUME}{{{part}}}[{window}])) or 0 * {every})"
    return f"{less(found, expected(wanted, window)) if wanted else found} / {every}"


def _at_least(number: int, part: str, window: str, wanted: str = "") -> str:
    found = f"sum by (region) (increase({_ASSUME}{{{part}}}[{window}]))"
    return f"{less(found, expected(wanted, window, function='increase')) if wanted else found} > {number}"


class Limit(NamedTuple):
    """The limit of a gauge, so that a server can also tell by itself whether an alert is due. `least`: it is the least value,
    and 0 means that there is none. `ends`: the value is a time (seconds since the epoch), the limit the seconds until then.
    """

    gauge: str
    limit: float
    least: bool = False
    ends: bool = False

    @property
    def expr(self) -> str:
        """The condition of the alert."""
        if not self.least:
            return f"max by (region) (abs({self.gauge})) > {self.limit:g}"
        left = " - time()" if self.ends else ""
        return f'min by (region) ({self.gauge}{{job="daypass"}} > 0){left} < {self.limit:g}'

    def exceeded(self, value: float, now: float) -> bool:
        """Whether the condition holds for a value. `now`: seconds since the epoch."""
        return 0 < value < self.limit + now * self.ends if self.least else abs(value) > self.limit


LIMITS: Final[Mapping[str, Limit]] = {
    "DaypassDatabaseUnavailable": Limit("daypass_degraded", 0),
    "DaypassDirectoryStale": Limit("daypass_directory_staleness_seconds", 60),
    "DaypassSpoolRejected": Limit("daypass_spool_rejected", 0),
    "DaypassDiskFull": Limit("daypass_disk_free_ratio", 0.05, least=True),
    "DaypassClockWrong": Limit("daypass_clock_offset_seconds", 1),
    "DaypassIssuerFailing": Limit("daypass_issuers_failing", 0),
    "DaypassCertificateExpires": Limit("daypass_certificate_expires_seconds", 14 * 86_400, least=True, ends=True),
}
"""By the name of the alert."""

AUTH_CAUSES: Final = ("expired", "credentials", "proof", "issuer")
REMEDIATED_SECONDS: Final = 1_800
"""The target of M10."""

AUTH_SHARE: Final = 0.05
AUTH_NUMBER: Final = 5
"""Authentication fails while more than this share and number of the requests of five minutes are refused for one cause."""

_AUTHENTICATION: Final = f'cause=~"{"|".join(AUTH_CAUSES)}"'
WANTED_TOKENS: Final = 'check=~"(expired token|foreign key) is refused"'
_WANTED_DENIALS: Final = 'expects="refusal",cause="trust_policy"'
_WANTED: Final = 'check=~"(expired token|foreign key|other role|wrong external id) is refused"'
"""Checks whose refusal is an attempt to get a session."""

_AUTH_CHECKS: Final = f'expects="refusal",{_AUTHENTICATION}'
_AUTH_REFUSED: Final = less(
    f"sum by (region, cause) (rate(daypass_refused_total{{{_AUTHENTICATION}}}[5m]))",
    expected(_AUTH_CHECKS, "5m", "region, cause"),
)
_AUTH_RATIO: Final = f"{_AUTH_REFUSED} / on (region) group_left () sum by (region) (rate(daypass_requests_total[5m]))"
EXPIRED: Final = 'expects="refusal",cause="expired"'
_CHAINED: Final = 'proof="session"'
_CHAIN_FAILED: Final = _CHAINED + ',outcome!="issued"'
_DENIED: Final = 'cause="trust_policy"'
_CHECKS: Final = 'daypass_checks_total{expects="success"}'

RECORDING: Final[Mapping[str, str]] = {
    **{f"daypass:error_ratio:rate{window}": ratio(_OF_SERVICE, window) for window in WINDOWS},
    "daypass:failure_ratio:rate5m": ratio(_FAILED, "5m", _WANTED),
    "daypass:success_ratio:rate5m": (
        f'sum by (region) (rate({_ASSUME}{{outcome="issued"}}[5m])) / '
        + less(
            f'sum by (region) (rate({_ASSUME}{{outcome!="denied",cause!~"request|throttled"}}[5m]))',
            expected(WANTED_TOKENS, "5m"),
        )
    ),
    "daypass:issuance_seconds:p95": "histogram_quantile(0.95, sum by (region, le) (rate(daypass_issuance_seconds_bucket[5m])))",
    "daypass:trust_denial_ratio:rate1h": ratio(_DENIED, "1h", _WANTED_DENIALS),
    "daypass:chained_failure_ratio:rate1h": (
        f"(sum by (region) (rate({_ASSUME}{{{_CHAIN_FAILED}}}[1h])) or "
        f"0 * sum by (region) (rate({_ASSUME}{{{_CHAINED}}}[1h]))) / sum by (region) (rate({_ASSUME}{{{_CHAINED}}}[1h]))"
    ),
    "daypass:check_ratio:rate5m": (
        'sum by (region) (rate(daypass_checks_total{expects="success",outcome="passed"}[5m])) / '
        f"sum by (region) (rate({_CHECKS}[5m]))"
    ),
    "daypass:record_ratio": (
        "sum by (region) (daypass_record_found_total) / (sum by (region) (daypass_record_expected_total) > 0)"
    ),
    "daypass:expired:increase1h": less(
        'sum by (region) (increase(daypass_refused_total{cause="expired"}[1h]))',
        expected(EXPIRED, "1h", function="increase"),
    ),
    "daypass:auth_failures:increase5m": f"300 * {_AUTH_REFUSED}",
    "daypass:auth_failure_ratio:rate5m": _AUTH_RATIO,
    "daypass:auth_failures:open_seconds": (
        'max by (region, cause) (time() - ALERTS_FOR_STATE{alertname="DaypassAuthFailures"})'
    ),
}
"""Name and expression of each recording rule."""


def _burn(name: str, severity: str, factor: float, long: str, short: str, *, escalates: bool = False) -> Alert:
    """Fires while both windows burn the budget `factor` times as fast as it may burn in 30 days.

    Source: The Site Reliability Workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts".
    """
    limit = round(factor * (1 - OBJECTIVE), 6)
    expr = (
        f"daypass:error_ratio:rate{long} > {limit:g} and on (region) daypass:error_ratio:rate{short} > {limit:g} "
        f"and on (region) {_at_least(5, _OF_SERVICE, long)}"
    )
    summary = f"The error budget of 30 days burns {factor:g} times too fast (over {long})."
    return Alert(name, severity, "budget", expr, 60, summary, escalates=escalates)


ALERTS: Final = (
    Alert(
        "DaypassDown",
        PAGE,
        "outage",
        'sum by (region) (up{job="daypass"}) == 0 or absent(up{job="daypass"})',
        60,
        "No server of region {{ $labels.region }} answers Prometheus.",
    ),
    Alert(
        "DaypassInstanceDown",
        TICKET,
        "outage",
        'up{job="daypass"} == 0',
        300,
        "The server {{ $labels.instance }} does not answer Prometheus.",
    ),
    # A quarter of the budget of a month in one hour.
    _burn("DaypassBudgetEscalation", PAGE, 0.25 * _MONTH_HOURS, "1h", "5m", escalates=True),
    _burn("DaypassBudgetFastBurn", PAGE, 14.4, "1h", "5m"),
    _burn("DaypassBudgetBurn", PAGE, 6, "6h", "30m"),
    _burn("DaypassBudgetSlowBurn", TICKET, 1, "3d", "6h"),
    Alert(
        "DaypassWidespreadFailures",
        PAGE,
        "failures",
        f"daypass:failure_ratio:rate5m > 0.2 and on (region) {_at_least(20, _FAILED, '5m', _WANTED)}",
        120,
        "{{ $value | humanizePercentage }} of the attempts to get a session fail in region {{ $labels.region }}.",
    ),
    Alert(
        "DaypassIssuanceSlow",
        PAGE,
        "latency",
        "daypass:issuance_seconds:p95 > 0.2",
        600,
        "The p95 latency of sessions is {{ $value | humanizeDuration }} (M2: 200 ms).",
    ),
    Alert(
        "DaypassExpiredTokens",
        TICKET,
        "expired",
        "daypass:expired:increase1h > 1.5",
        0,
        "Requests failed because their token had expired (M3: none).",
    ),
    Alert(
        "DaypassTrustDenials",
        TICKET,
        "trust_policy",
        f"daypass:trust_denial_ratio:rate1h > 0.01 and on (region) {_at_least(5, _DENIED, '1h', _WANTED_DENIALS)}",
        300,
        "Trust policies deny {{ $value | humanizePercentage }} of the attempts (M4: 1 %).",
    ),
    Alert(
        "DaypassCheckFailing",
        PAGE,
        "availability",
        'sum by (region, check) (increase(daypass_checks_total{expects="success",outcome="failed"}[5m])) > 1',
        60,
        "The synthetic check '{{ $labels.check }}' fails (M5).",
        synthetic=True,
    ),
    Alert(
        "DaypassChecksMissing",
        TICKET,
        "availability",
        f"sum(increase({_CHECKS}[15m])) == 0 or absent({_CHECKS})",
        900,
        "No synthetic check runs, so that availability is not known.",
        synthetic=True,
    ),
    Alert(
        "DaypassForbiddenAccepted",
        PAGE,
        "compromise",
        'sum by (region, check) (increase(daypass_checks_total{outcome="accepted"}[10m])) > 0',
        0,
        "The check '{{ $labels.check }}' was served although it must be refused.",
        escalates=True,
    ),
    Alert(
        "DaypassAnomaly",
        PAGE,
        "anomaly",
        'sum by (region) (increase(daypass_anomalies_total{severity="high"}[15m])) > 0',
        0,
        "A session deviates strongly from what is usual for its principal (M7).",
    ),
    Alert(
        "DaypassUnusualSessions",
        TICKET,
        "anomaly",
        'sum by (region) (increase(daypass_anomalies_total{severity!="high"}[1h])) > 0',
        0,
        "Sessions deviate from what is usual for their principals.",
    ),
    Alert(
        "DaypassChainedFailures",
        TICKET,
        "chain",
        f"daypass:chained_failure_ratio:rate1h > 0.001 and on (region) {_at_least(2, _CHAIN_FAILED, '1h')}",
        300,
        "{{ $value | humanizePercentage }} of the chained attempts fail (M8: 0.1 %).",
    ),
    Alert(
        "DaypassRecordIncomplete",
        PAGE,
        "compromise",
        "sum by (region) (daypass_record_expected_total - daypass_record_found_total) > 0",
        60,
        "The database lacks {{ $value }} records of the audit record (M9).",
        escalates=True,
    ),
    Alert(
        "DaypassAuthFailures",
        TICKET,
        "",
        f"daypass:auth_failure_ratio:rate5m > {AUTH_SHARE} and on (region, cause) daypass:auth_failures:increase5m > {AUTH_NUMBER}",
        60,
        "{{ $value | humanizePercentage }} of the requests fail: {{ $labels.cause }}.",
    ),
    Alert(
        "DaypassAuthFailuresUnremediated",
        PAGE,
        "",
        f"daypass:auth_failures:open_seconds > {REMEDIATED_SECONDS}",
        0,
        "Authentication has been failing for {{ $value | humanizeDuration }} (M10: 30 min): {{ $labels.cause }}.",
        escalates=True,
    ),
    Alert(
        "DaypassDatabaseUnavailable",
        PAGE,
        "database",
        LIMITS["DaypassDatabaseUnavailable"].expr,
        60,
        "The database is unavailable; sessions are issued from memory into the local spool.",
    ),
    Alert(
        "DaypassDirectoryStale",
        TICKET,
        "database",
        LIMITS["DaypassDirectoryStale"].expr,
        60,
        "The directory in memory is {{ $value | humanizeDuration }} old.",
    ),
    Alert(
        "DaypassSpoolRejected",
        PAGE,
        "record",
        LIMITS["DaypassSpoolRejected"].expr,
        0,
        "A spool was altered or does not fit the record, and was set aside.",
    ),
    Alert(
        "DaypassDiskFull",
        PAGE,
        "disk",
        LIMITS["DaypassDiskFull"].expr,
        60,
        "Only {{ $value | humanizePercentage }} of the data disk is free.",
    ),
    Alert(
        "DaypassClockWrong",
        PAGE,
        "clock",
        LIMITS["DaypassClockWrong"].expr,
        60,
        "The system clock is off by {{ $value | humanizeDuration }}.",
    ),
    Alert(
        "DaypassIssuerFailing",
        TICKET,
        "issuer",
        LIMITS["DaypassIssuerFailing"].expr,
        300,
        "The keys of {{ $value }} identity providers cannot be fetched.",
    ),
    Alert(
        "DaypassCertificateExpires",
        TICKET,
        "certificate",
        LIMITS["DaypassCertificateExpires"].expr,
        60,
        "The TLS certificate ends in {{ $value | humanizeDuration }}.",
    ),
    Alert(
        "DaypassInternalErrors",
        TICKET,
        "bug",
        "sum by (region) (increase(daypass_errors_total[15m])) > 0",
        0,
        "Requests ended in a constant 500: each is a bug.",
    ),
    Alert(
        "DaypassEmergencyAccess",
        TICKET,
        "emergency",
        'sum by (region) (increase(daypass_access_requests_total{event="emergency"}[15m])) > 0',
        0,
        "A person took emergency access, without an approver.",
    ),
    Alert(
        "DaypassWatchdog",
        NONE,
        "watchdog",
        "vector(1)",
        0,
        "Fires always. Whoever receives it raises the alarm when it stops: then alerts do not arrive.",
    ),
)
