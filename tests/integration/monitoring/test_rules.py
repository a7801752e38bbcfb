"""The rules, judged by promtool and amtool: each alert fires with one set of series and does not with another."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.integration.monitoring.alert_cases import CASES
from tests.packaging.machine import ROOT

from daypass.monitoring.alerts import ALERTS, PAGE
from daypass.monitoring.dashboards import monitoring_files
from daypass.monitoring.measures import MEASURES
from daypass.monitoring.rules import RULES_FILE, Places, rules, yaml

needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="apt-get install prometheus")
needs_amtool = pytest.mark.skipif(not shutil.which("amtool"), reason="apt-get install prometheus-alertmanager")


def judged(*command: str, fails: bool = False) -> str:
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert bool(found.returncode) is fails, found.stdout + found.stderr
    return found.stdout + found.stderr


@pytest.fixture
def written(tmp_path: Path) -> Path:
    for name, text in monitoring_files(Places()).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def in_region(series: str) -> str:
    return series.replace("{", '{region="eu",', 1) if "{" in series else f'{series}{{region="eu"}}'


def test_every_alert_has_a_case_and_every_measure_an_alert() -> None:
    names = {alert.name for alert in ALERTS}
    assert {case.alert for case in CASES} == names
    assert {name for measure in MEASURES for name in measure.alerts} <= names


def test_every_alert_has_a_runbook_in_one_form() -> None:
    text = (ROOT / "docs/how-to/runbooks.md").read_text()
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE))
    assert list(sections) == [alert.name for alert in ALERTS]
    parts = ["Symptom", "Impact", "Check", "Mitigate", "Verify", "Prevent"]
    for name, section in sections.items():
        continued = re.search(r"[Cc]ontinue with \[(\w+)\]", section)
        wanted = parts[:2] if continued and continued[1] in sections else parts
        assert re.findall(r"^- \*\*(\w+)\*\*:", section, re.MULTILINE) == wanted, name


@needs_promtool
@pytest.mark.parametrize("step", [pytest.param("1m", marks=pytest.mark.slow), "30m"])
def test_promtool_sees_each_alert_fire_with_its_series_and_not_without(tmp_path: Path, step: str) -> None:
    (tmp_path / RULES_FILE).write_text(yaml(rules(Places())))
    tests = []
    for case in CASES:
        if case.step != step:
            continue
        expr = f'count(ALERTS{{alertname="{case.alert}",alertstate="firing"}}) > bool 0'
        for series, fires in ((case.fires, True), (case.quiet, False)):
            if case.alert == "DaypassWatchdog" and not fires:
                continue  # it fires always
            samples = [{"labels": "{}", "value": 1}] if fires else []
            tests.append(
                {
                    "interval": step,
                    "name": f"{case.alert} {'fires' if fires else 'is quiet'}",
                    "input_series": [{"series": in_region(name), "values": values} for name, values in series.items()],
                    "promql_expr_test": [{"expr": expr, "eval_time": case.at, "exp_samples": samples}],
                }
            )
    file = tmp_path / "tests.json"
    order = [group["name"] for group in rules(Places())["groups"]]
    all_tests = {"rule_files": [RULES_FILE], "evaluation_interval": step, "group_eval_order": order, "tests": tests}
    file.write_text(json.dumps(all_tests))
    judged("promtool", "check", "rules", str(tmp_path / RULES_FILE))
    judged("promtool", "test", "rules", str(file))
    tests[0]["promql_expr_test"][0]["exp_samples"] = []  # type: ignore[index]
    file.write_text(json.dumps({**all_tests, "tests": tests[:1]}))
    judged("promtool", "test", "rules", str(file), fails=True)


@needs_promtool
def test_promtool_takes_the_configuration_with_other_places(tmp_path: Path) -> None:
    places = Places(targets=("a:1", "b:2"), region="eu-1", pace=0.02)
    for name, text in monitoring_files(places).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    judged("promtool", "check", "config", str(tmp_path / "prometheus.yml"))


@needs_amtool
@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ("severity=page service=daypass cause=outage", "page"),
        ("severity=page service=daypass cause=compromise escalate=true", "escalate,page"),
        ("severity=page service=daypass cause=availability synthetic=true", "page"),
        ("severity=ticket service=daypass cause=availability synthetic=true", "ticket"),
        ("severity=ticket service=daypass cause=bug", "ticket"),
        ("severity=none service=daypass cause=watchdog", "watchdog"),
    ],
)
def test_amtool_routes_alerts_by_severity(written: Path, labels: str, receivers: str) -> None:
    file = str(written / "alertmanager.yml")
    judged("amtool", "check-config", file)
    judged(
        "amtool", "config", "routes", "test", "--config.file", file, f"--verify.receivers={receivers}", *labels.split()
    )


def test_only_synthetic_failures_are_silent_in_the_maintenance_window() -> None:
    synthetic = {alert.name for alert in ALERTS if alert.synthetic}
    assert synthetic == {"DaypassCheckFailing", "DaypassChecksMissing"}
    assert not any(alert.synthetic for alert in ALERTS if alert.cause == "compromise")
    assert all(alert.severity == PAGE for alert in ALERTS if alert.escalates)
