"""The three dashboards as Grafana's files. Region, instance and account are variables; each panel leads to the record.

Source: the types of `@grafana/schema` (Dashboard, Panel, DataLink); a test compiles the dashboards against them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from daypass.monitoring.help import COPY, copy_of_runbooks
from daypass.monitoring.panels import PANELS, Panel
from daypass.monitoring.rules import RULES_FILE, Places, routing, rules, scraping, yaml

_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH: Final = 24
_SCHEMA: Final = 39
_BY_ACCOUNT: Final = re.compile("daypass_(assume|refused|access_requests|anomalies|session_seconds)_")
_NAME: Final = re.compile(r"\b(daypass[_:][a-z0-9_:]+)(\{)?")
_CHECKS_WANT: Final = re.compile(
    r"sum by \([a-z, ]+\) \(\w+\(daypass_checks_total\{region=~\"\$region\",outcome=\"passed\",.*?\[\w+\]\)\)"
)


def narrowed(query: str) -> str:
    """A query of the region, instance and account that are chosen. Recorded series and checks have a region alone. What the
    checks want refused is in one account, so it is not subtracted while some accounts are left out.
    """

    def selector(found: re.Match[str]) -> str:
        labels = ['region=~"$region"']
        if ":" not in found[1] and not found[1].startswith("daypass_checks"):
            labels.append('instance=~"$instance"')
        if _BY_ACCOUNT.match(found[1]):
            labels.append('account=~"$account"')
        return f"{found[1]}{{{','.join(labels)}{',' if found[2] else '}'}"

    narrow = _NAME.sub(selector, query)
    return _CHECKS_WANT.sub(r'(\g<0> unless on () count(daypass_assume_total{account!~"$account"}))', narrow)


def dashboards() -> dict[str, dict[str, Any]]:
    """The dashboards by the names of their files."""
    return {f"daypass-{name.lower().replace(' ', '-')}.json": _dashboard(name, PANELS[name]) for name in PANELS}


def _dashboard(name: str, panels: Sequence[Panel]) -> dict[str, Any]:
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
        "templating": {
            "list": [_data_source(), _variable("region"), _variable("instance"), _variable("account"), _console()]
        },
        "panels": _placed(panels, f"${{console}}/console/dashboard?view={name.lower().replace(' ', '-')}"),
    }


def _placed(panels: Sequence[Panel], console: str) -> list[dict[str, Any]]:
    """Places panels from left to right, then below. `console`: the same dashboard there."""
    placed, x, y, height = [], 0, 0, 0
    for number, panel in enumerate(panels, 1):
        if x + panel.width > _WIDTH:
            x, y, height = 0, y + height, 0
        made = _panel(number, panel, {"x": x, "y": y, "w": panel.width, "h": panel.height})
        if not panel.queries:
            text = f"[{panel.title}]({console}#panel-{panel.shows})"
            made |= {"type": "text", "options": {"mode": "markdown", "content": text}}
        placed.append(made)
        x, height = x + panel.width, max(height, panel.height)
    return placed


def _panel(number: int, panel: Panel, place: Mapping[str, int]) -> dict[str, Any]:
    link = {"title": "Records", "url": f"${{console}}{panel.link}", "targetBlank": True}
    by = f"{'&' if '?' in panel.link else '?'}{panel.by}=${{__field.labels.{panel.by}}}" if panel.by else ""
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
        "links": [{**each, "type": "link", "icon": "external link", "tooltip": "", "tags": [], "asDropdown": False,
                   "includeVars": False, "keepTime": False} for each in (link, *_runbook(panel))],
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "links": [{**link, "url": f"{link['url']}{by}"}], **({"min": 0} if panel.kind == "bargauge" else {})},
            "overrides": [],
        },
        "options": _OPTIONS.get(panel.kind, {}),
        "targets": [
            {
                "refId": chr(ord("A") + place_of),
                "datasource": _SOURCE,
                "expr": narrowed(query),
                "legendFormat": legend,
                "format": "heatmap" if heat or buckets else "table" if table else "time_series",
                "instant": table or panel.kind in ("bargauge", "stat"),
                "range": not (table or panel.kind in ("bargauge", "stat")),
                "exemplar": panel.kind in ("heatmap", "timeseries") and not buckets,
            }
            for place_of, (query, legend) in enumerate(panel.queries)
        ],
    }  # fmt: skip


def _runbook(panel: Panel) -> list[dict[str, Any]]:
    url = f"${{console}}/help/runbooks/{panel.alert}"
    return [{"title": "Runbook", "url": url, "targetBlank": True}] if panel.alert else []


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
    series = 'daypass_assume_total{region=~"$region"}' if label == "account" else 'up{job="daypass"}'
    if label == "instance":
        series = 'up{job="daypass",region=~"$region"}'
    query = f"label_values({series}, {label})"
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
