"""The panels of the three dashboards: executive, on call, debug. Grafana's files and the pages of the console are made from them.

Queries name metrics without region, instance and account: `dashboards.narrowed` adds these. The console shows figures of the
record, and those that a server has by itself. A panel without queries names callers, which are never labels: in Grafana it
is a link to the console's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from daypass.monitoring.alerts import FAULTS
from daypass.monitoring.measures import DEBUG, EXECUTIVE, MEASURES, ON_CALL, Measure

_RECORDS: Final = "/console/records"
_REFUSALS: Final = f"{_RECORDS}?decision=refused"
_ISSUED: Final = f"{_RECORDS}?type=session.issued"


class Panel(NamedTuple):
    """One panel."""

    title: str
    kind: str  # of Grafana's, or "people", "grants", "refusals"
    shows: str  # the figure of the console, or of a time series `SOURCE:NAME,NAME`
    queries: tuple[tuple[str, str], ...] = ()  # PromQL with its legend
    unit: str = "short"
    # link: the page of the console behind it. by: a label and a parameter of that page, so that a bar leads to its
    # records.
    link: str = _RECORDS
    by: str = ""
    width: int = 12
    height: int = 8
    note: str = ""
    alert: str = ""  # its runbook is the panel's


def _rate(metric: str, by: str, part: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{f'{{{part}}}' if part else ''}[$__rate_interval]))"


def _total(selector: str, by: str = "", most: int = 0) -> str:
    """The increase in the chosen period. `most`: of the largest ones by a label."""
    found = f"sum{f' by ({by})' if by else ''} (increase({selector}[$__range]))"
    return f"topk({most}, {found}) > 0" if most else f"{found} or vector(0)"


def _quantile(share: float, metric: str, by: str = "le", window: str = "5m") -> str:
    return f"histogram_quantile({share}, sum by ({by}) (rate({metric}_bucket[{window}]))) or vector(0)"


def _heat(title: str, metric: str, shows: str, link: str) -> Panel:
    query = f"sum by (le) (increase({metric}_bucket[$__rate_interval]))"
    return Panel(title, "heatmap", shows, ((query, "{{le}}"),), "s", link, width=24, height=9)


def _budget_left(window: str) -> str:
    """The error budget of 30 days that is left, 1 to 0, and below."""
    bad = f'sum by (region) (increase(daypass_assume_total{{cause=~"unavailable|issuer"}}[{window}]))'
    every = f"sum by (region) (increase(daypass_assume_total[{window}]))"
    return f"1 - ({bad} or 0 * {every}) / (0.001 * {every})"


def _stat(measure: Measure) -> Panel:
    title, query, target = f"{measure.id}: {measure.title}", measure.query, f"Target: {measure.target}."
    queries = ((query, "{{region}}"),)
    return Panel(title, "stat", measure.shows, queries, measure.unit, measure.link, "", 6, 4, target, measure.alerts[0])


def _count(title: str, shows: str, query: str, link: str, unit: str = "short") -> Panel:
    return Panel(title, "stat", shows, ((query, ""),), unit, link, width=6, height=4)


_FAULTS: Final = f'daypass_requests_total{{code=~"{"|".join(sorted(FAULTS))}"}}'
_UNAVAILABLE: Final = f"{_REFUSALS}&cause=unavailable"
_READS: Final = f"{_RECORDS}?reads=yes"
_COUNTS: Final = (
    _count("Sessions issued", "issued", _total('daypass_assume_total{outcome="issued"}'), _ISSUED),
    _count("Refusals", "refused", _total("daypass_refused_total"), _REFUSALS),
)

_EXECUTIVE: Final = (
    Panel(
        "Error budget left (30 days)",
        "timeseries",
        "budget",
        ((_budget_left("30d"), "{{region}}"),),
        "percentunit",
        _UNAVAILABLE,
        note="1 minus what was spent. Only causes of the service spend it: unavailable, issuer.",
    ),
    Panel(
        "Sessions issued and refused",
        "timeseries",
        "record:issued,refused",
        ((_rate("daypass_assume_total", "outcome"), "{{outcome}}"),),
        "reqps",
        _ISSUED,
    ),
    Panel("Who assumed what", "people", "people", link=_ISSUED),
    Panel(
        "Elevated sessions",
        "timeseries",
        "record:elevated",
        (
            ("max by (region) (daypass_grants_open)", "grants open, {{region}}"),
            (
                'sum(increase(daypass_assume_total{role_class="elevated",outcome="issued"}[1h])) or vector(0)',
                "sessions an hour",
            ),
        ),
        link=f"{_RECORDS}?type=access.approved",
    ),
    Panel("Elevated access now", "grants", "grants", link=f"{_RECORDS}?type=access.approved"),
    Panel(
        "Access requests",
        "timeseries",
        "record:requested,approved,high_risk",
        (("sum by (event) (increase(daypass_access_requests_total[1h])) or vector(0)", "{{event}}"),),
        link="/console/reviews",
        note="Emergency access is without an approver; each has a review.",
    ),
)

_ON_CALL: Final = (
    _count("p99 latency", "p99", _quantile(0.99, "daypass_request_seconds"), _READS, "s"),
    _count("Faults of the server", "faults", _total(_FAULTS), _UNAVAILABLE),
    Panel(
        "Alerts that fire",
        "table",
        "alerts",
        (('sum by (alertname, severity, cause, region) (ALERTS{alertstate="firing"})', "{{alertname}}"),),
        link=_REFUSALS,
        note="In the console, those that this server can tell by itself.",
    ),
    Panel(
        "Synthetic checks",
        "table",
        "checks",
        (('sum by (check, expects, outcome) (increase(daypass_checks_total{outcome!="passed"}[15m]))', "{{check}}"),),
        link=_REFUSALS,
        alert="DaypassCheckFailing",
    ),
    _heat("Latency of all requests", "daypass_request_seconds", "heat", _READS),
    Panel(
        "Latency in ms",
        "timeseries",
        "measured:p50,p99",
        tuple((f"1000 * ({_quantile(share, 'daypass_request_seconds')})", f"{share:.0%}") for share in (0.5, 0.99)),
        "ms",
        _READS,
    ),
    Panel(
        "Error budget burn",
        "timeseries",
        "measured:burn",
        tuple((f"daypass:error_ratio:rate{w} / 0.001", f"{w} {{{{region}}}}") for w in ("5m", "1h", "6h")),
        link=_UNAVAILABLE,
        note="1 spends the budget of 30 days in 30 days. Above 180, a quarter of it is gone in an hour.",
        alert="DaypassBudgetEscalation",
    ),
    Panel(
        "Requests, refusals and faults",
        "timeseries",
        "measured:requests,refused,faults",
        tuple(
            (f"sum(rate({selector}[$__rate_interval])) or vector(0)", legend)
            for selector, legend in (
                ("daypass_requests_total", "requests"),
                ('daypass_requests_total{code!="OK"}', "refused"),
                (_FAULTS, "faults"),
            )
        ),
        "reqps",
        _REFUSALS,
    ),
    Panel(
        "Refusals by code",
        "bargauge",
        "codes",
        ((_total('daypass_requests_total{code!="OK"}', "code", 10), "{{code}}"),),
        link=_REFUSALS,
    ),
    Panel(
        "Refusals by cause",
        "bargauge",
        "causes",
        (("sort_desc(sum by (cause) (increase(daypass_refused_total[1h])))", "{{cause}}"),),
        link=_REFUSALS,
        by="cause",
    ),
    Panel("Affected callers", "bargauge", "callers", link=_REFUSALS),
    Panel(
        "Operations by time used",
        "table",
        "slowest",
        ((_total("daypass_request_seconds_sum", "operation", 10), "{{operation}}"),),
        "s",
        _READS,
        note="In the console, p99 latency and the number of requests.",
    ),
    Panel(
        "Database and record",
        "timeseries",
        "measured:degraded,spool,staleness",
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
        "failures",
        (
            (
                'topk(12, sum by (operation, cause) (increase(daypass_assume_total{cause!="none"}[$__range])) > 0)',
                "{{operation}}: {{cause}}",
            ),
        ),
        link=_REFUSALS,
        by="operation",
    ),
    Panel(
        "Operations",
        "bargauge",
        "operations",
        ((_total("daypass_requests_total", "operation", 10), "{{operation}}"),),
        link=_READS,
        by="operation",
    ),
    Panel(
        "Lifetimes of sessions",
        "bargauge",
        "durations",
        (("sum by (le) (increase(daypass_session_seconds_bucket[$__range]))", "{{le}} s"),),
        link=_ISSUED,
    ),
    Panel(
        "Attempts by proof",
        "timeseries",
        "record:key,session,token,saml,certificate",
        ((_rate("daypass_assume_total", "proof"), "{{proof}}"),),
        "reqps",
        f"{_RECORDS}?operation=sts:AssumeRole",
    ),
    Panel(
        "p95 age of verified tokens (s)",
        "timeseries",
        "measured:token_age",
        ((_quantile(0.95, "daypass_token_skew_seconds", "provider, le", "1h"), "{{provider}}"),),
        "s",
        f"{_RECORDS}?operation=sts:AssumeRoleWithWebIdentity",
    ),
    Panel(
        "Group commit: p95 in ms, and events that wait",
        "timeseries",
        "measured:commit,waiting",
        (
            (f"1000 * ({_quantile(0.95, 'daypass_journal_commit_seconds')})", "p95 commit (ms)"),
            ("max(daypass_journal_waiting)", "events waiting"),
        ),
        link=_READS,
    ),
    Panel(
        "Denials by layer",
        "timeseries",
        "record:trust_policy,caller_policy,blocked,revoked",
        ((_rate("daypass_refused_total", "cause", 'cause=~"trust_policy|caller_policy|blocked|revoked"'), "{{cause}}"),),
        "reqps",
        _REFUSALS,
        by="cause",
        note="The record of a denial has the policy, the statement and the condition.",
    ),
    Panel("The newest refusals", "refusals", "recent", link=_REFUSALS),
)  # fmt: skip

PANELS: Final[Mapping[str, tuple[Panel, ...]]] = {
    name: (*(_stat(each) for each in MEASURES if each.dashboard == name), *_COUNTS, *panels)
    for name, panels in ((EXECUTIVE, _EXECUTIVE), (ON_CALL, _ON_CALL), (DEBUG, _DEBUG))
}
