"""Prometheus's and Alertmanager's files, made from the tables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from daypass.monitoring.alerts import ALERTS, NONE, PAGE, RECORDING, Alert

RULES_FILE: Final = "daypass.rules.yml"
RUNBOOKS: Final = "https://daypass.example.com/help/runbooks/"
"""The address at which a server shows runbooks."""

_PLAIN: Final = re.compile(r"[A-Za-z_/][\w./-]*")
_RESERVED: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off"})


class Places(NamedTuple):
    """Addresses of the operator."""

    # runbooks: what precedes the name of the alert in the address of its runbook. page, ticket, escalate, watchdog:
    # webhooks that take alerts.
    runbooks: str = RUNBOOKS
    targets: tuple[str, ...] = ("127.0.0.1:8700",)
    probes: tuple[str, ...] = ("127.0.0.1:9870",)
    region: str = "main"
    alertmanager: str = "127.0.0.1:9093"
    page: str = "http://127.0.0.1:9099/page"
    ticket: str = "http://127.0.0.1:9099/ticket"
    escalate: str = "http://127.0.0.1:9099/escalate"
    watchdog: str = "http://127.0.0.1:9099/watchdog"
    # Weekday, from and to (UTC) of the maintenance window.
    maintenance: tuple[str, str, str] = ("sunday", "02:00", "04:00")
    pace: float = 1.0  # factor for all times that alerts wait; game days use a small one


def rules(places: Places) -> dict[str, Any]:
    """The recording and alerting rules."""
    recorded = [{"record": name, "expr": expr} for name, expr in RECORDING.items()]
    return {
        "groups": [
            {"name": "daypass-measures", "rules": recorded},
            {"name": "daypass-alerts", "rules": [_rule(alert, places) for alert in ALERTS]},
        ]
    }


def _rule(alert: Alert, places: Places) -> dict[str, Any]:
    labels = {"severity": alert.severity, "service": "daypass"}
    if alert.cause:
        labels["cause"] = alert.cause
    if alert.synthetic:
        labels["synthetic"] = "true"
    if alert.escalates:
        labels["escalate"] = "true"
    annotations = {"summary": alert.summary, "runbook_url": f"{places.runbooks}{alert.name}"}
    hold = {"for": _seconds(alert.hold * places.pace)} if alert.hold else {}
    return {"alert": alert.name, "expr": alert.expr, **hold, "labels": labels, "annotations": annotations}


def scraping(places: Places) -> dict[str, Any]:
    """Prometheus's configuration. Each server is scraped at its health port, or at its main port without one."""
    labels = {"region": places.region}
    return {
        "global": {"scrape_interval": _seconds(15 * places.pace), "evaluation_interval": _seconds(15 * places.pace)},
        "rule_files": [RULES_FILE],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [places.alertmanager]}]}]},
        "scrape_configs": [
            {"job_name": "daypass", "static_configs": [{"targets": [*places.targets], "labels": labels}]},
            # The labels of the probe say from which region it looks.
            {
                "job_name": "daypass-probe",
                "honor_labels": True,
                "static_configs": [{"targets": [*places.probes], "labels": labels}],
            },
        ],
    }


_INHIBITIONS: Final[tuple[dict[str, Any], ...]] = (
    {  # an outage explains everything else that is wrong, except a compromise
        "source_matchers": ['alertname="DaypassDown"'],
        "target_matchers": ['service="daypass"', 'alertname!="DaypassDown"', 'cause!~"compromise|watchdog"'],
        "equal": ["region"],
    },
    {
        "source_matchers": [f'severity="{PAGE}"'],
        "target_matchers": ['severity="ticket"'],
        "equal": ["service", "cause", "region"],
    },
    {
        "source_matchers": ['alertname="DaypassBudgetEscalation"'],
        "target_matchers": ['alertname=~"DaypassBudgetFastBurn|DaypassBudgetBurn"'],
        "equal": ["region"],
    },
)


def routing(places: Places) -> dict[str, Any]:
    """Alertmanager's configuration: grouping, deduplication, inhibition, the maintenance window, the watchdog."""
    day, begins, ends = places.maintenance
    window = {"weekdays": [day], "times": [{"start_time": begins, "end_time": ends}]}
    quick = places.pace < 1
    return {
        "route": {
            "receiver": "ticket",
            "group_by": ["service", "cause", "region"],  # one notification for each cause in each region
            "group_wait": _seconds(30 * places.pace),
            "group_interval": _seconds(300 * places.pace),
            "repeat_interval": "4h",
            "routes": [
                {
                    "matchers": [f'severity="{NONE}"'],
                    "receiver": "watchdog",
                    "group_wait": "0s",
                    "group_interval": "5s" if quick else "1m",
                    "repeat_interval": "5s" if quick else "1m",
                },
                {"matchers": ['escalate="true"'], "receiver": "escalate", "group_wait": "0s", "continue": True},
                {
                    "matchers": ['synthetic="true"'],
                    "mute_time_intervals": ["maintenance"],
                    "routes": [{"matchers": [f'severity="{PAGE}"'], "receiver": "page"}],
                },
                {"matchers": [f'severity="{PAGE}"'], "receiver": "page"},
            ],
        },
        "inhibit_rules": [*_INHIBITIONS],
        "time_intervals": [{"name": "maintenance", "time_intervals": [window]}],
        "receivers": [
            {"name": name, "webhook_configs": [{"url": getattr(places, name)}]}
            for name in ("page", "ticket", "escalate", "watchdog")
        ],
    }


def _seconds(number: float) -> str:
    return f"{max(1, round(number))}s"


# --- YAML


def yaml(value: Mapping[str, Any]) -> str:
    """Plain values as YAML (1.2, of which JSON's strings are a part)."""
    return "\n".join(_lines(value)) + "\n"


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if isinstance(inner, Mapping | list) and inner and not _short(inner):
                yield f"{name}:"
                yield from ("  " + line for line in _lines(inner))
            else:
                yield f"{name}: {_scalar(inner)}"
    else:
        for each in value:
            first, *more = _lines(each) if isinstance(each, Mapping) else [_scalar(each)]
            yield f"- {first}"
            yield from ("  " + line for line in more)


def _short(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value) and len(str(value)) < 90


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _RESERVED:
        return value
    return json.dumps(value, ensure_ascii=False)
