"""`daypass gameday`: breaks a separate deployment, and measures detection and repair."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from daypass.cli import exits, output
from daypass.cli.options import Group, Result, Table, output_option


@click.group(cls=Group)
def gameday() -> None:
    """Game days: break a separate deployment, and measure detection and repair.

    Your installation is not touched. Needs Prometheus and Alertmanager on this machine, and the server's packages.
    """


@gameday.command("ls")
@output_option
def scenarios() -> Result:
    """List the scenarios."""
    from daypass.gameday.scenarios import SCENARIOS

    rows = [(each.name, each.summary, each.alerts[0]) for each in SCENARIOS]
    return Result(
        [{"name": name, "summary": summary, "alert": alert} for name, summary, alert in rows],
        Table(("SCENARIO", "WHAT BREAKS", "ALERT"), rows),
    )


@gameday.command("run")
@click.argument("scenario")
@click.option(
    "--report", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write the report there."
)
@output_option
def run_scenario(scenario: str, report: Path | None) -> Result:
    """Run SCENARIO: break, detection by an alert, the steps of the runbook, recovery. The exit status is 1 if one is missing."""
    from daypass.gameday.deployment import Missing
    from daypass.gameday.run import run
    from daypass.gameday.scenarios import SCENARIOS

    found = next((each for each in SCENARIOS if each.name == scenario), None)
    if found is None:
        raise click.UsageError(f"The scenarios are: {', '.join(each.name for each in SCENARIOS)}.")
    with tempfile.TemporaryDirectory(prefix="daypass-gameday-") as directory:
        try:
            outcome = run(found, Path(directory), output.message)
        except Missing as error:
            raise click.ClickException(str(error)) from None
    if report is not None:
        report.write_text(outcome.report, "utf-8")
    timeline = [entry._asdict() for entry in outcome.timeline]
    facts = {"scenario": scenario, "detected": outcome.detected, "recovered": outcome.recovered, "timeline": timeline}
    status = exits.OK if outcome.passed else exits.FINDING
    return Result(facts, *outcome.report.splitlines(), status=status)
