"""The three Grafana dashboards: executive, on call, debug. Region and instance are variables; each panel leads to the record.

Source: the types of `@grafana/schema` (Dashboard, Panel, DataLink); a test compiles the dashboards against them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from daypass.monitoring.help import COPY, copy_of_runbooks
from daypass.monitoring.measures import DEBUG, EXECUTIVE, MEASURES, ON_CALL, Measure
from daypass.monitoring.rules import RULES_FILE, Places, routing, rules, scraping, yaml

_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH: Final = 24
_SCHEMA: Final = 39
_I: Final = 'region=~"$region",instance=~"$instance"'
_R: Final = 'region=~"$region"'
_RECORDS: Final = "/console/records"


class Panel(NamedTuple):
    """One panel. `kind`: of Grafana. `queries`: PromQL with its legend. `link`: the page of the console behind it."""

    title: str
    kind: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    link: str = _RECORDS
    width: int = 12
    height: int = 8
    note: str = ""


def _rate(metric: str, by: str, part: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{_I}{',' if part else ''}{part}}}[$__rate_interval]))"


_HEAT: Final = f"sum by (le) (increase(daypass_request_seconds_bucket{{{_I}}}[$__rate_interval]))"
_LIFETIMES: Final = f"sum by (le) (increase(daypass_session_seconds_bucket{{{_I}}}[$__range]))"
_ISSUED: Final = 'outcome="issued"'
_REFUSALS: Final = f"{_RECORDS}?decision=refused"
_GRANTS: Final = "/console/dashboard?view=executive"
_HEALTH: Final = "/console/dashboard?view=on-call"


def _budget_left(window: str) -> str:
    """The error budget of 30 days that is left, 1 to 0, and below."""
    bad = f'sum by (region) (increase(daypass_assume_total{{{_R},cause=~"unavailable|issuer"}}[{window}]))'
    every = f"sum by (region) (increase(daypass_assume_total{{{_R}}}[{window}]))"
    return f"1 - ({bad} or 0 * {every}) / (0.001 * {every})"


PANELS: Final[Mapping[str, tuple[Panel, ...]]] = {
    EXECUTIVE: (
        Panel(
            "Error budget left (30 days)",
            "timeseries",
            ((_budget_left("30d"), "{{region}}"),),
            "percentunit",
            _REFUSALS,
            note="1 minus what was spent. Only causes of the service spend it: unavailable, issuer.",
        ),
        Panel(
            "Sessions issued and refused",
            "timeseries",
            ((_rate("daypass_assume_total", "outcome"), "{{outcome}}"),),
            "reqps",
        ),
        Panel(
            "Elevated sessions",
            "timeseries",
            (
                (f"max by (region) (daypass_grants_open{{{_I}}})", "grants open, {{region}}"),
                (
                    f'sum(increase(daypass_assume_total{{{_I},role_class="elevated",outcome="issued"}}[1h])) or vector(0)',
                    "sessions an hour",
                ),
            ),
            link=_GRANTS,
        ),
        Panel(
            "Access requests",
            "timeseries",
            (
                (
                    f"sum by (event) (increase(daypass_access_requests_total{{{_I}}}[1h])) or vector(0)",
                    "{{event}}",
                ),
            ),
            link="/console/reviews",
            note="Emergency access is without an approver; each has a review.",
        ),
    ),
    ON_CALL: (
        Panel("Latency of all requests", "heatmap", ((_HEAT, "{{le}}"),), "s", _HEALTH, 24, 9),
        Panel(
            "Error budget burn",
            "timeseries",
            tuple((f"daypass:error_ratio:rate{w}{{{_R}}} / 0.001", f"{w} {{{{region}}}}") for w in ("5m", "1h", "6h")),
            link=_REFUSALS,
            note="1 spends the budget of 30 days in 30 days. Above 180, a quarter of it is gone in an hour.",
        ),
        Panel(
            "Refusals by cause",
            "bargauge",
            ((f"sort_desc(sum by (cause) (increase(daypass_refused_total{{{_I}}}[1h])))", "{{cause}}"),),
            link=_REFUSALS,
        ),
        Panel(
            "Synthetic checks that fail",
            "table",
            (
                (
                    ("sum by (check, expects, outcome) (increase(daypass_checks_total"
                    f'{{{_R},outcome!="passed"}}[15m]))'),
                    "{{check}}",
                ),
            ),
            link=_HEALTH,
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
                (f"sum(daypass_degraded{{{_I}}})", "processes without the database"),
                (f"sum(daypass_spool_events{{{_I}}})", "events in the spool"),
                (f"max(daypass_directory_staleness_seconds{{{_I}}})", "age of the directory (s)"),
            ),
            link="/console/settings",
        ),
        Panel(
            "Requests by code",
            "timeseries",
            ((_rate("daypass_requests_total", "code", 'code!="OK"'), "{{code}}"),),
            "reqps",
            _REFUSALS,
        ),
    ),
    DEBUG: (
        Panel("Latency of issuing", "heatmap", (
            (f"sum by (le) (increase(daypass_issuance_seconds_bucket{{{_I}}}[$__rate_interval]))", "{{le}}"),
        ), "s", _RECORDS, 24),
        Panel(
            "Causes by operation",
            "bargauge",
            (
                (
                    ("topk(12, sum by (operation, cause) (increase(daypass_assume_total"
                    f'{{{_I},cause!="none"}}[$__range])) > 0)'),
                    "{{operation}}: {{cause}}",
                ),
            ),
            link=_REFUSALS,
        ),
        Panel("Lifetimes of sessions", "bargauge", ((_LIFETIMES, "{{le}} s"),), link="/console/sessions"),
        Panel(
            "Attempts by proof",
            "timeseries",
            ((_rate("daypass_assume_total", "proof"), "{{proof}}"),),
            "reqps",
        ),
        Panel(
            "p95 age of verified tokens",
            "timeseries",
            (
                (
                    ("histogram_quantile(0.95, sum by (provider, le) (rate(daypass_token_skew_seconds_bucket"
                    f"{{{_I}}}[1h]))) or vector(0)"),
                    "{{provider}}",
                ),
            ),
            "s",
            "/console/providers",
        ),
        Panel(
            "Group commit",
            "timeseries",
            (
                (
                    f"histogram_quantile(0.95, sum by (le) (rate(daypass_journal_commit_seconds_bucket{{{_I}}}[5m])))",
                    "p95 commit",
                ),
                (f"max(daypass_journal_waiting{{{_I}}})", "events waiting"),
            ),
            "s",
        ),
        Panel(
            "Denials by layer",
            "timeseries",
            (
                (
                    _rate("daypass_refused_total", "cause", 'cause=~"trust_policy|caller_policy|blocked|revoked"'),
                    "{{cause}}",
                ),
            ),
            "reqps",
            _REFUSALS,
            note="The record of a denial has the policy, the statement and the condition.",
        ),
    ),
}  # fmt: skip


def dashboards() -> dict[str, dict[str, Any]]:
    """The dashboards by the names of their files."""
    return {f"daypass-{name.lower().replace(' ', '-')}.json": _dashboard(name, PANELS[name]) for name in PANELS}


def _dashboard(name: str, panels: Sequence[Panel]) -> dict[str, Any]:
    shown = [_measure(each) for each in MEASURES if each.dashboard == name]
    return {
        "uid": f"daypass-{name.lower().replace(' ', '-')}",
        "title": f"Daypass: {name.lower()}",
        "tags": ["daypass"],
        "schemaVersion": _SCHEMA,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "utc",
        "links": [_others()],
        "templating": {"list": [_data_source(), _variable("region"), _variable("instance"), _console()]},
        "panels": _placed([*shown, *panels]),
    }


def _measure(measure: Measure) -> Panel:
    query = measure.query.replace("daypass_grants_open", f"daypass_grants_open{{{_R}}}")
    title = f"{measure.id}: {measure.title}"
    return Panel(title, "stat", ((query, "{{region}}"),), measure.unit, _HEALTH, 6, 4, f"Target: {measure.target}.")


def _placed(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """Places panels from left to right, then below."""
    placed, x, y, height = [], 0, 0, 0
    for number, panel in enumerate(panels, 1):
        if x + panel.width > _WIDTH:
            x, y, height = 0, y + height, 0
        placed.append(_panel(number, panel, {"x": x, "y": y, "w": panel.width, "h": panel.height}))
        x, height = x + panel.width, max(height, panel.height)
    return placed


def _panel(number: int, panel: Panel, place: Mapping[str, int]) -> dict[str, Any]:
    link = {"title": "Records", "url": f"${{console}}{panel.link}", "targetBlank": True}
    heat = panel.kind == "heatmap"
    buckets = panel.title == "Lifetimes of sessions"
    table = panel.kind == "table"
    return {
        "id": number,
        "title": panel.title,
        "type": panel.kind,
        "description": panel.note,
        "datasource": _SOURCE,
        "gridPos": dict(place),
        "links": [{**link, "type": "link", "icon": "external link", "tooltip": "", "tags": [], "asDropdown": False,
                   "includeVars": False, "keepTime": False}],
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "links": [link], **({"min": 0} if panel.kind == "bargauge" else {})},
            "overrides": [],
        },
        "options": _OPTIONS.get(panel.kind, {}),
        "targets": [
            {
                "refId": chr(ord("A") + place_of),
                "datasource": _SOURCE,
                "expr": query,
                "legendFormat": legend,
                "format": "heatmap" if heat or buckets else "table" if table else "time_series",
                "instant": table or panel.kind in ("bargauge", "stat"),
                "range": not (table or panel.kind in ("bargauge", "stat")),
                "exemplar": panel.kind in ("heatmap", "timeseries") and not buckets,
            }
            for place_of, (query, legend) in enumerate(panel.queries)
        ],
    }  # fmt: skip


_LAST: Final = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "stat": {"reduceOptions": _LAST, "colorMode": "value", "graphMode": "none", "textMode": "auto"},
    "bargauge": {"reduceOptions": _LAST, "orientation": "horizontal", "displayMode": "gradient", "showUnfilled": True},
    "heatmap": {"calculate": False, "yAxis": {"unit": "s"}, "color": {"mode": "scheme", "scheme": "Oranges"}},
    "timeseries": {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}},
}


def _data_source() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0}


def _variable(label: str) -> dict[str, Any]:
    region = ',region=~"$region"' if label == "instance" else ""
    query = f'label_values(up{{job="daypass"{region}}}, {label})'
    return {
        "name": label,
        "label": label.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": label},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "sort": 1,
    }


def _console() -> dict[str, Any]:
    """The address of the console, for the links."""
    address = "https://daypass.example.com"
    current = {"text": address, "value": address}
    return {"name": "console", "label": "Console", "type": "textbox", "query": address, "current": current, "hide": 0}


def _others() -> dict[str, Any]:
    return {
        "title": "Daypass",
        "type": "dashboards",
        "tags": ["daypass"],
        "asDropdown": False,
        "icon": "external link",
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "tooltip": "",
        "url": "",
    }


# --- All files for a monitoring system, by name


HEAD = "# Generated by `daypass monitoring`; change its options rather than this file.\n"


def monitoring_files(places: Places) -> dict[str, str]:
    """The text of each file, by its path below the directory for them."""
    return {
        "prometheus.yml": HEAD + yaml(scraping(places)),
        RULES_FILE: HEAD + yaml(rules(places)),
        "alertmanager.yml": HEAD + yaml(routing(places)),
        COPY: copy_of_runbooks(),
        **{f"grafana/{name}": json.dumps(board, indent=1) + "\n" for name, board in dashboards().items()},
    }
