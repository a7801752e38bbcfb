"""The dashboards before a real Prometheus that scrapes a server under load, and before Grafana's own types."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.node import find_node, why_not
from tests.packaging.machine import ROOT

from daypass.gameday.deployment import Deployment, Missing, program
from daypass.monitoring.dashboards import dashboards, narrowed
from daypass.monitoring.measures import MEASURES

VARIABLES = {"$region": ".*", "$instance": ".*", "$account": "game-day", "$__rate_interval": "30s", "$__range": "10m"}


def absent() -> str:
    try:
        program("prometheus"), program("alertmanager", "prometheus-alertmanager")
    except Missing as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Deployment(tmp_path_factory.mktemp("live") / "deployment") as started:
        yield started


def filled(query: str, **chosen: str) -> str:
    for name, value in {**VARIABLES, **{f"${name}": value for name, value in chosen.items()}}.items():
        query = query.replace(name, value)
    return query


@pytest.mark.slow
@pytest.mark.skipif(bool(absent()), reason=absent())
def test_every_query_of_the_dashboards_returns_data_under_load(deployment: Deployment) -> None:
    queries = {measure.id: measure.query for measure in MEASURES}
    for board in dashboards().values():
        for panel in board["panels"]:
            for target in panel["targets"]:
                queries[f"{board['title']}, {panel['title']}, {target['refId']}"] = filled(target["expr"])
    deployment.load.skew = 1e6  # failures of authentication, which M10 measures
    ends = time.monotonic() + 120
    wanted = {"DaypassAuthFailures", "DaypassWatchdog"}
    empty = [*queries]
    while (empty or not wanted <= {each.alert for each in deployment.received}) and time.monotonic() < ends:
        empty = [name for name, query in queries.items() if not deployment.query(query)]
        if any(each.alert == "DaypassAuthFailures" for each in deployment.received):
            deployment.load.skew = 0.0
    assert not empty
    assert {each.alert for each in deployment.received} >= wanted
    complete = deployment.query("daypass:record_ratio")
    assert [float(each["value"][1]) for each in complete] == [1.0]


@pytest.mark.slow
@pytest.mark.skipif(bool(absent()), reason=absent())
def test_account_of_the_dashboards_narrows_their_figures(deployment: Deployment) -> None:
    sessions = narrowed('sum(daypass_assume_total{outcome="issued"})')

    def issued(account: str) -> float:
        return sum(float(each["value"][1]) for each in deployment.query(filled(sessions, account=account)))

    until(lambda: issued("game-day") > 0)
    assert issued("other") == 0
    assert issued("game-day|other") == issued(".*") > 0
    labels = {each["metric"]["account"] for each in deployment.query("count by (account) (daypass_refused_total)")}
    assert labels == {"game-day", "other"}


@pytest.mark.slow
@pytest.mark.skipif(bool(absent()), reason=absent())
def test_alertmanager_that_hangs_stops_the_watchdog_and_nothing_else(tmp_path: Path) -> None:
    with Deployment(tmp_path / "deployment") as deployment:
        until(lambda: deployment.watched)
        alertmanager = deployment.programs["alertmanager"]
        alertmanager.send_signal(signal.SIGSTOP)  # it accepts connections and does not answer
        try:
            before, checked, served = len(deployment.received), deployment.last_checks, deployment.load.served
            until(lambda: undelivered(deployment) > 0)
            deployment.load.skew = 1e6
            until(lambda: bool(deployment.query('ALERTS{alertname="DaypassAuthFailures",alertstate="firing"}')))
            assert deployment.received[before:] == [], "whoever waits for the watchdog notices"
            assert deployment.last_checks is not checked, "the probe goes on"
            assert deployment.load.served > served
            assert deployment.cli("doctor").returncode in (0, 1)
        finally:
            alertmanager.send_signal(signal.SIGCONT)
        until(
            lambda: {each.alert for each in deployment.received[before:]} >= {"DaypassAuthFailures", "DaypassWatchdog"}
        )
        deployment.load.skew = 0.0


def undelivered(deployment: Deployment) -> float:
    """The notifications that Prometheus could not deliver."""
    with urllib.request.urlopen(f"{deployment.prometheus_url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("prometheus_notifications_errors_total{"))


def until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + 120  # only a failure waits so long
    while not holds():
        assert time.monotonic() < ends, "not in time"
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.skipif(bool(why_not()), reason=why_not())
@pytest.mark.parametrize("spoilt", [False, True])
def test_dashboards_compile_as_what_grafana_publishes(tmp_path: Path, *, spoilt: bool) -> None:
    modules = ROOT / "tests/js/node_modules"
    boards = [json.dumps(board) for board in dashboards().values()]
    if spoilt:
        boards[0] = boards[0].replace('"gridPos"', '"gridpos"', 1)
    lines = [f"export const board{number}: Dashboard = {text};" for number, text in enumerate(boards)]
    (tmp_path / "boards.ts").write_text("import type { Dashboard } from '@grafana/schema';\n" + "\n".join(lines))
    (tmp_path / "node_modules").symlink_to(modules)
    options = ("--noEmit", "--strict", "--skipLibCheck", "--moduleResolution", "bundler", "--module", "esnext")
    command = [find_node(), str(modules / "typescript/bin/tsc"), *options, "boards.ts"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert bool(found.returncode) is spoilt, found.stdout
    assert ("gridpos" in found.stdout) is spoilt
