"""The measures M1 to M10: target, query, panel and alerts. The reference page and the dashboards are made from them."""

from __future__ import annotations

from typing import Final, NamedTuple

from daypass.monitoring.alerts import EXPIRED, WANTED_TOKENS, expected, less

EXECUTIVE: Final = "Executive"
ON_CALL: Final = "On call"
DEBUG: Final = "Debug"


class Measure(NamedTuple):
    """One measure."""

    id: str
    title: str
    target: str
    metric: str  # what it is counted by
    query: str  # PromQL of its value in each region
    # dashboard, unit: the dashboard that shows it, and Grafana's name of its unit.
    dashboard: str
    unit: str
    alerts: tuple[str, ...]  # the first one tells that the target is missed
    # link: the records behind it. shows: the figure of the console.
    link: str
    shows: str


def _share(part: str, every: str, window: str) -> str:
    return f"sum by (region) (increase({part}[{window}])) / sum by (region) (increase({every}[{window}]))"


MEASURES: Final = (
    Measure(
        "M1",
        "Success of assuming roles",
        "99.9 %",
        "daypass_assume_total",
        'sum by (region) (increase(daypass_assume_total{outcome="issued"}[30d])) / '
        + less(
            'sum by (region) (increase(daypass_assume_total{outcome!="denied",cause!~"request|throttled"}[30d]))',
            expected(WANTED_TOKENS, "30d", function="increase"),
        ),
        EXECUTIVE,
        "percentunit",
        (
            "DaypassBudgetFastBurn",
            "DaypassBudgetBurn",
            "DaypassBudgetSlowBurn",
            "DaypassBudgetEscalation",
            "DaypassWidespreadFailures",
        ),
        "/console/records?decision=refused",
        "success",
    ),
    Measure(
        "M2",
        "p95 latency of issuing",
        "under 200 ms",
        "daypass_issuance_seconds",
        "daypass:issuance_seconds:p95",
        ON_CALL,
        "s",
        ("DaypassIssuanceSlow",),
        "/console/records?type=session.issued",
        "issuing_p95",
    ),
    Measure(
        "M3",
        "Failures by expired tokens, a week",
        "0",
        "daypass_refused_total",
        less(
            'sum by (region) (increase(daypass_refused_total{cause="expired"}[7d]))',
            expected(EXPIRED, "7d", function="increase"),
        ),
        EXECUTIVE,
        "short",
        ("DaypassExpiredTokens",),
        "/console/records?decision=refused&cause=expired",
        "expired",
    ),
    Measure(
        "M4",
        "Denials by trust policies",
        "under 1 %",
        "daypass_assume_total",
        "daypass:trust_denial_ratio:rate1h",
        DEBUG,
        "percentunit",
        ("DaypassTrustDenials",),
        "/console/records?decision=refused&cause=trust_policy",
        "trust_denials",
    ),
    Measure(
        "M5",
        "Availability by synthetic checks",
        "99.95 %",
        "daypass_checks_total",
        _share(
            'daypass_checks_total{expects="success",outcome="passed"}', 'daypass_checks_total{expects="success"}', "30d"
        ),
        EXECUTIVE,
        "percentunit",
        ("DaypassCheckFailing", "DaypassChecksMissing", "DaypassForbiddenAccepted", "DaypassDown"),
        "/console/records?decision=refused",
        "check_share",
    ),
    Measure(
        "M6",
        "Open elevated access",
        "tracked; role, requester and duration are in the console",
        "daypass_grants_open, daypass_session_seconds",
        "max by (region) (daypass_grants_open)",
        EXECUTIVE,
        "short",
        ("DaypassEmergencyAccess",),
        "/console/records?type=access.approved",
        "open_grants",
    ),
    Measure(
        "M7",
        "Unexpected privileged actions, a quarter",
        "0",
        "daypass_anomalies_total",
        'sum by (region) (increase(daypass_anomalies_total{severity="high"}[90d]))',
        EXECUTIVE,
        "short",
        ("DaypassAnomaly", "DaypassUnusualSessions"),
        "/console/records?type=anomaly.detected",
        "anomalies",
    ),
    Measure(
        "M8",
        "Failed chained attempts",
        "under 0.1 %",
        "daypass_assume_total",
        "daypass:chained_failure_ratio:rate1h",
        ON_CALL,
        "percentunit",
        ("DaypassChainedFailures",),
        "/console/records?decision=refused&operation=sts:AssumeRole",
        "chained_failures",
    ),
    Measure(
        "M9",
        "Completeness of the record",
        "100 %",
        "daypass_record_expected_total, daypass_record_found_total",
        "daypass:record_ratio",
        EXECUTIVE,
        "percentunit",
        ("DaypassRecordIncomplete", "DaypassSpoolRejected"),
        "/console/records?type=records.restored",
        "record_share",
    ),
    Measure(
        "M10",
        "Time to remediate authentication failures",
        "under 30 min",
        "daypass_refused_total",
        "max by (region) (max_over_time(daypass:auth_failures:open_seconds[30d]))",
        EXECUTIVE,
        "s",
        ("DaypassAuthFailuresUnremediated", "DaypassAuthFailures"),
        "/console/records?decision=refused&cause=credentials",
        "auth_failing",
    ),
)
