"""`daypass monitoring`: rules, alert routes and dashboards. `daypass gameday`: breaks a separate deployment, and measures
detection and repair.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import click

from daypass.cli import exits, output
from daypass.cli.options import CommandGroup, CommandResult, Table, confirmed, output_option


@click.group(cls=CommandGroup)
def gameday() -> None:
    """Game days: break a separate deployment, and measure detection and repair.

    Your installation is not touched. Needs Prometheus and Alertmanager on this machine, and the server's packages.
    """


@gameday.command("ls")
@output_option
def scenarios() -> CommandResult:
    """List the scenarios."""
    from daypass.gameday.scenarios import SCENARIOS

    rows = [(each.name, each.summary, each.alerts[0]) for each in SCENARIOS]
    return CommandResult(
        [{"name": name, "summary": summary, "alert": alert} for name, summary, alert in rows],
        Table(("SCENARIO", "WHAT BREAKS", "ALERT"), rows),
    )


@gameday.command("run")
@click.argument("scenario")
@click.option(
    "--report", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write the report there."
)
@output_option
def run_scenario(scenario: str, report: Path | None) -> CommandResult:
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
    return CommandResult(facts, *outcome.report.splitlines(), status=status)


# --- `daypass monitoring`: rules, alert routes and dashboards for Prometheus, Alertmanager and Grafana


_OPTIONS = {
    "runbooks": "Address of runbooks; the alert's name follows.",
    "region": "The region of these servers.",
    "alertmanager": "Host and port of Alertmanager.",
    "page": "Webhook that pages the person on call.",
    "ticket": "Webhook that opens a ticket.",
    "escalate": "Webhook that calls a second person.",
    "watchdog": "Webhook that raises the alarm when nothing arrives.",
}
_WINDOW = re.compile(r"(mon|tues|wednes|thurs|fri|satur|sun)day ([0-2]\d:[0-5]\d)-([0-2]\d:[0-5]\d)")


def _places_options(command: Any) -> Any:
    from daypass.monitoring.rules import Places

    for name, meaning in reversed(_OPTIONS.items()):
        default = getattr(Places(), name)
        command = click.option(f"--{name}", default=default, show_default=True, metavar="TEXT", help=meaning)(command)
    return command


@click.command("monitoring")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--target", multiple=True, metavar="HOST:PORT", help="A server's health port; repeat it.")
@click.option("--probe", multiple=True, metavar="HOST:PORT", help="Address of `daypass probe --listen`; repeatable.")
@click.option("--maintenance", default="sunday 02:00-04:00", show_default=True, help="Day and time (UTC).")
@click.option("--yes", is_flag=True, help="Do not ask before files are replaced.")
@_places_options
@output_option
def monitoring(
    directory: Path, target: tuple[str, ...], probe: tuple[str, ...], maintenance: str, yes: bool, **texts: str
) -> CommandResult:
    """Write the files for Prometheus, Alertmanager and Grafana into DIRECTORY.

    In the maintenance window, alerts about synthetic checks are silent, and no others.
    """
    from daypass.monitoring.dashboards import monitoring_files
    from daypass.monitoring.rules import Places

    window = _WINDOW.fullmatch(maintenance.lower())
    if window is None:
        raise click.BadParameter("give it as: sunday 02:00-04:00", param_hint="--maintenance")
    places = Places(**texts, maintenance=(f"{window[1]}day", window[2], window[3]))  # type: ignore[arg-type]  # all texts
    places = places._replace(targets=target or places.targets, probes=probe or places.probes)
    files = monitoring_files(places)
    replaced = [name for name, text in files.items() if _differs(directory / name, text)]
    if replaced:
        confirmed(f"Replace {', '.join(replaced)}?", yes=yes, why="files with other content are replaced")
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    rows = [(str(directory / name), f"{len(text)} bytes") for name, text in files.items()]
    return CommandResult({"files": [str(directory / name) for name in files]}, Table(("FILE", "SIZE"), rows))


def _differs(path: Path, text: str) -> bool:
    return path.exists() and path.read_text("utf-8") != text
