"""The panels of the three dashboards: executive, on call, debug. Grafana's files and the pages of the console are made from them.

Queries name metrics without region, instance and account: `dashboards.narrowed` adds these. The console shows the figures
that a server has by itself, so a panel without `shows` is Grafana's alone, and one without queries is the console's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from daypass.monitoring.measures import DEBUG, EXECUTIVE, MEASURES, ON_CALL, Measure

_RECORDS: Final = "/console/records"
_REFUSALS: Final = f"{_RECORDS}?decision=refused"
_HEALTH: Final = "/console/dashboard?view=on-call"
_ISSUED: Final = f"{_RECORDS}?type=session.issued"


class Panel(NamedTuple):
    """One panel.

    Attributes:
        kind: of Grafana's, or "people", "grants", "refusals".
        queries: PromQL with its legend.
        link: the page of the console behind it. by: a label and a parameter of that page, so that a bar leads to its records.
        shows: the figure of the console, or of a time series `SOURCE:NAME,NAME`. alert: its runbook is the panel's.
    """

    title: str
    kind: str
    queries: tuple[tuple[str, str], ...] = ()
    unit: str = "short"
    link: str = _RECORDS
    by: str = ""
    shows: str = ""
    width: int = 12
    height: int = 8
    note: str = ""
    alert: str = ""


def _rate(metric: str, by: str, part: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{f'{{{part}}}' if part else ''}[$__rate_interval]))"


def _heat(title: str, metric: str, shows: str, link: str) -> Panel:
    query = f"sum by (le) (increase({metric}_bucket[$__rate_interval]))"
    return Panel(title, "heatmap", ((query, "{{le}}"),), "s", link, shows=shows, width=24, height=9)


def _budget_left(window: str) -> str:
    """The error budget of 30 days that is left, 1 to 0, and below."""
    bad = f'sum by (region) (increase(daypass_assume_total{{cause=~"unavailable|issuer"}}[{window}]))'
    every = f"sum by (region) (increase(daypass_assume_total[{window}]))"
    return f"1 - ({bad} or 0 * {every}) / (0.001 * {every})"


def _stat(measure: Measure) -> Panel:
    title = f"{measure.id}: {measure.title}"
    return Panel(
        title, "stat", ((measure.query, "{{region}}"),), measure.unit, measure.link, "", measure.shows, 6, 4,
        f"Target: {measure.target}.", measure.alerts[0],
    )  # fmt: skip


_COUNTS: Final = (
    Panel("Sessions issued", "stat", link=_ISSUED, shows="issued"),
    Panel("Refusals", "stat", link=_REFUSALS, shows="refused"),
)

_EXECUTIVE: Final = (
    Panel(
        "Error budget left (30 days)",
        "timeseries",
        ((_budget_left("30d"), "{{region}}"),),
        "percentunit",
        f"{_REFUSALS}&cause=unavailable",
        shows="budget",
        note="1 minus what was spent. Only causes of the service spend it: unavailable, issuer.",
    ),
    Panel(
        "Sessions issued and refused",
        "timeseries",
        ((_rate("daypass_assume_total", "outcome"), "{{outcome}}"),),
        "reqps",
        _ISSUED,
        shows="record:issued,refused",
    ),
    Panel("Who assumed what", "people", link=_ISSUED, shows="people"),
    Panel(
        "Elevated sessions",
        "timeseries",
        (
            ("max by (region) (daypass_grants_open)", "grants open, {{region}}"),
            (
                'sum(increase(daypass_assume_total{role_class="elevated",outcome="issued"}[1h])) or vector(0)',
                "sessions an hour",
            ),
        ),
        link=f"{_RECORDS}?type=access.approved",
    ),
    Panel("Elevated access now", "grants", link=f"{_RECORDS}?type=access.approved", shows="grants"),
    Panel(
        "Access requests",
        "timeseries",
        (("sum by (event) (increase(daypass_access_requests_total[1h])) or vector(0)", "{{event}}"),),
        link="/console/reviews",
        shows="record:requested,approved,high_risk",
        note="Emergency access is without an approver; each has a review.",
    ),
)

_ON_CALL: Final = (
    Panel("p99 latency", "stat", link=f"{_RECORDS}?reads=yes", shows="p99"),
    Panel("Faults of the server", "stat", link=f"{_REFUSALS}&cause=unavailable", shows="faults"),
    _heat("Latency of all requests", "daypass_request_seconds", "heat", f"{_RECORDS}?reads=yes"),
    Panel("Latency in ms", "timeseries", link=f"{_RECORDS}?reads=yes", shows="measured:p50,p99"),
    Panel(
        "Error budget burn",
        "timeseries",
        tuple((f"daypass:error_ratio:rate{w} / 0.001", f"{w} {{{{region}}}}") for w in ("5m", "1h", "6h")),
        link=f"{_REFUSALS}&cause=unavailable",
        shows="measured:burn",
        note="1 spends the budget of 30 days in 30 days. Above 180, a quarter of it is gone in an hour.",
        alert="DaypassBudgetEscalation",
    ),
    Panel(
        "Requests by code",
        "timeseries",
        ((_rate("daypass_requests_total", "code", 'code!="OK"'), "{{code}}"),),
        "reqps",
        _REFUSALS,
    ),
    Panel("Requests and faults", "timeseries", link=_REFUSALS, shows="measured:requests,faults"),
    Panel(
        "Refusals by cause",
        "bargauge",
        (("sort_desc(sum by (cause) (increase(daypass_refused_total[1h])))", "{{cause}}"),),
        link=_REFUSALS,
        by="cause",
        shows="causes",
    ),
    Panel("Affected callers", "bargauge", link=_REFUSALS, shows="callers"),
    Panel("Operations by time used", "table", link=f"{_RECORDS}?reads=yes", shows="slowest"),
    Panel(
        "Synthetic checks",
        "table",
        (
            (
                'sum by (check, expects, outcome) (increase(daypass_checks_total{outcome!="passed"}[15m]))',
                "{{check}}",
            ),
        ),
        link=_REFUSALS,
        shows="checks",
        alert="DaypassCheckFailing",
    ),
    Panel(
        "Alerts that fire",
        "table",
        (('sum by (alertname, severity, cause, region) (ALERTS{alertstate="firing"})', "{{alertname}}"),),
        link=_HEALTH,
    ),
    Panel(
        "Database and record",
        "timeseries",
        (
            ("sum(daypass_degraded)", "processes without the database"),
            ("sum(daypass_spool_events)", "events in the spool"),
            ("max(daypass_directory_staleness_seconds)", "age of the directory (s)"),
        ),
        link=f"{_RECORDS}?type=spool.drained",
    ),
)

_DEBUG: Final = (
    _heat("Latency of issuing", "daypass_issuance_seconds", "issuing_heat", _ISSUED),
    Panel(
        "Causes by operation",
        "bargauge",
        (
            (
                'topk(12, sum by (operation, cause) (increase(daypass_assume_total{cause!="none"}[$__range])) > 0)',
                "{{operation}}: {{cause}}",
            ),
        ),
        link=_REFUSALS,
        by="operation",
        shows="failures",
    ),
    Panel("Operations", "bargauge", link=f"{_RECORDS}?reads=yes", shows="operations"),
    Panel(
        "Lifetimes of sessions",
        "bargauge",
        (("sum by (le) (increase(daypass_session_seconds_bucket[$__range]))", "{{le}} s"),),
        link=_ISSUED,
        shows="durations",
    ),
    Panel(
        "Attempts by proof",
        "timeseries",
        ((_rate("daypass_assume_total", "proof"), "{{proof}}"),),
        "reqps",
        f"{_RECORDS}?operation=sts:AssumeRole",
        shows="record:key,session,token,saml,certificate",
    ),
    Panel(
        "p95 age of verified tokens",
        "timeseries",
        (
            (
                "histogram_quantile(0.95, sum by (provider, le) (rate(daypass_token_skew_seconds_bucket[1h]))) or vector(0)",
                "{{provider}}",
            ),
        ),
        "s",
        f"{_RECORDS}?operation=sts:AssumeRoleWithWebIdentity",
    ),
    Panel(
        "Group commit",
        "timeseries",
        (
            ("histogram_quantile(0.95, sum by (le) (rate(daypass_journal_commit_seconds_bucket[5m])))", "p95 commit"),
            ("max(daypass_journal_waiting)", "events waiting"),
        ),
        "s",
        f"{_RECORDS}?reads=yes",
    ),
    Panel(
        "Denials by layer",
        "timeseries",
        ((_rate("daypass_refused_total", "cause", 'cause=~"trust_policy|caller_policy|blocked|revoked"'), "{{cause}}"),),
        "reqps",
        _REFUSALS,
        by="cause",
        shows="record:trust_policy,caller_policy,blocked,revoked",
        note="The record of a denial has the policy, the statement and the condition.",
    ),
    Panel("The newest refusals", "refusals", link=_REFUSALS, shows="recent"),
)  # fmt: skip

PANELS: Final[Mapping[str, tuple[Panel, ...]]] = {
    name: (*(_stat(each) for each in MEASURES if each.dashboard == name), *_COUNTS, *panels)
    for name, panels in ((EXECUTIVE, _EXECUTIVE), (ON_CALL, _ON_CALL), (DEBUG, _DEBUG))
}
