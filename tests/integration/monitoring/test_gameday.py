"""Game days: the runbooks have the commands that scenarios run, and one scenario is played by the real command."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from click.testing import CliRunner
from tests.integration.monitoring.test_live import absent
from tests.packaging.machine import ROOT

from daypass.cli.app import cli
from daypass.gameday.scenarios import SCENARIOS, Scenario
from daypass.monitoring.alerts import ALERTS

RUNBOOKS = (ROOT / "docs/how-to/runbooks.md").read_text()


def section(alert: str) -> str:
    found = re.search(rf"^## {alert}\n(.*?)(?=^## |\Z)", RUNBOOKS, re.DOTALL | re.MULTILINE)
    assert found is not None, alert
    return found[1]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)
def test_steps_of_a_scenario_are_in_the_runbooks_of_its_alerts(scenario: Scenario, tmp_path: Path) -> None:
    assert set(scenario.alerts) <= {alert.name for alert in ALERTS}
    text = "".join(map(section, scenario.alerts))
    deployment = MagicMock(directory=tmp_path, data=tmp_path)
    deployment.trust.return_value = "{}"
    deployment.user.access_key_id = "AKIA"
    deployment.server.pid = 0  # this process: its limits are only read
    with ExitStack() as closing:
        steps = [shown for shown, _ in scenario.repairs(deployment, closing)]
    for shown in steps:
        if shown.startswith("daypass "):
            words = [word for word in shown.split()[:3] if re.fullmatch(r"[a-z-]+", word) and not word.startswith("--")]
            assert " ".join(words) in text, shown


def test_unknown_scenario_is_refused_with_the_names_of_all() -> None:
    ran = CliRunner().invoke(cli, ["gameday", "run", "earthquake"])
    assert ran.exit_code == 2
    assert all(each.name in ran.output for each in SCENARIOS)


@pytest.mark.slow
@pytest.mark.skipif(bool(absent()), reason=absent())
def test_trust_policy_is_found_by_an_alert_and_repaired_by_its_runbook(tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    ran = CliRunner().invoke(cli, ["gameday", "run", "trust-policy", "--report", str(report), "--output", "json"])
    assert ran.exit_code == 0, ran.output
    facts = json.loads(ran.stdout)
    assert 0 < facts["detected"] < facts["recovered"] < 240
    assert "| `daypass role trust work FILE --yes`" in report.read_text().replace("Runbook: ", "| ").replace(
        "| | ", "| "
    )
