"""Runs a scenario and measures it: break, detection, mitigation, recovery. The report is a timeline in Markdown."""

from __future__ import annotations

import os
import pwd
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from daypass.gameday.deployment import PACE, Deployment, Missing
from daypass.gameday.scenarios import Authority, Scenario
from daypass.monitoring.measures import MEASURES

_DETECTION_SECONDS = 120.0
_RECOVERY_SECONDS = 120.0
_IN_A_ROW = 20  # attempts of the load that must be served
_TARGET_SECONDS = 1_800.0
_SHOWN, _WIDTH = 4, 100  # lines of a command's output, and their columns


class Entry(NamedTuple):
    """One line of the timeline. `seconds`: since the break."""

    seconds: float
    text: str


class GamedayMeasurements(NamedTuple):
    """The measurements. Times are in seconds since the break; None: it did not happen."""

    scenario: Scenario
    detected: float | None
    recovered: float | None
    timeline: tuple[Entry, ...]
    alert: str = ""

    @property
    def passed(self) -> bool:
        return self.detected is not None and self.recovered is not None and self.recovered < _TARGET_SECONDS

    @property
    def report(self) -> str:
        """The report, in Markdown."""
        target = next(measure.target for measure in MEASURES if measure.id == "M10")
        shown = "not reached" if self.recovered is None else f"{self.recovered:.1f} s"
        lines = [
            f"# Game day: {self.scenario.name}",
            "",
            f"Broken: {self.scenario.summary}. Runbook: {self.alert or self.scenario.alerts[0]}.",
            f"Alerts wait {PACE:g} times as long as in production.",
            "",
            f"- Detected after: {'not at all' if self.detected is None else f'{self.detected:.1f} s'}",
            f"- M10, time to remediate: {shown} (target: {target})",
            "",
            "| Seconds | What happened |",
            "| ---: | --- |",
            *(f"| {entry.seconds:.1f} | {entry.text} |" for entry in self.timeline),
        ]
        return "\n".join(lines) + "\n"


def run(scenario: Scenario, directory: Path, say: Callable[[str], None]) -> GamedayMeasurements:
    """Runs a scenario in a new deployment below `directory`. `say` gets each line of the timeline as it happens.

    Raises Missing.
    """
    directory.mkdir(parents=True, exist_ok=True)
    authority = Authority(_made(directory / "deployment")) if scenario.tls else None
    with ExitStack() as around:
        cluster = _cluster(around) if scenario.replicated else None
        deployment = around.enter_context(Deployment(directory / "deployment", authority, cluster))
        closing = around.enter_context(ExitStack())
        if not _until(lambda: deployment.load.row >= _IN_A_ROW and deployment.watched, _RECOVERY_SECONDS):
            raise Missing("the deployment does not serve its load before it is broken")
        return _Day(scenario, deployment, say).play(closing)


def _cluster(closing: ExitStack) -> Any:
    """PostgreSQL with a standby, by another user if this one is root."""
    from daypass.gameday.cluster import Cluster, programs  # noqa: PLC0415  # it needs the driver of PostgreSQL

    found = programs()
    if found is None:
        raise Missing("PostgreSQL is not installed: apt-get install postgresql")
    base = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="daypass-pg-", ignore_cleanup_errors=True)))
    base.chmod(0o711)
    cluster = Cluster(base, found, user=pwd.getpwnam("nobody") if os.geteuid() == 0 else None)
    closing.callback(cluster.close)
    return cluster


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return directory


class _Day:
    def __init__(self, scenario: Scenario, deployment: Deployment, say: Callable[[str], None]) -> None:
        self._scenario = scenario
        self._deployment = deployment
        self._say = say
        self._began = time.time()
        self._timeline: list[Entry] = []

    def play(self, closing: ExitStack) -> GamedayMeasurements:
        scenario, deployment = self._scenario, self._deployment
        before = len(deployment.received)
        self._note(f"Break: {scenario.summary}")
        scenario.breaks(deployment, closing)

        def found() -> bool:
            return any(each.alert in scenario.alerts for each in deployment.received[before:])

        detected, alert = None, ""
        if _until(found, _DETECTION_SECONDS):
            first = next(each for each in deployment.received[before:] if each.alert in scenario.alerts)
            detected, alert = first.at - self._began, first.alert
            self._note(f"Alert {first.alert} arrives at the receiver `{first.receiver}`", first.at)
        for shown, act in scenario.repairs(deployment, closing):
            self._note(f"Runbook: `{shown}`")
            said = act()
            for line in [each for each in (said if isinstance(said, str) else "").splitlines() if each.strip()][
                :_SHOWN
            ]:
                self._say(f"{'':10}{line[:_WIDTH]}")
        repaired = deployment.load.served

        def well() -> bool:
            served = deployment.load.row >= _IN_A_ROW and deployment.load.served > repaired + _IN_A_ROW
            return served and not any(each.why for each in deployment.last_checks) and deployment.ready()

        recovered = None
        if _until(well, _RECOVERY_SECONDS):
            recovered = time.time() - self._began
            self._note("Recovered: the load is served, and all checks pass")
        return GamedayMeasurements(scenario, detected, recovered, tuple(sorted(self._timeline)), alert)

    def _note(self, text: str, at: float = 0.0) -> None:
        entry = Entry((at or time.time()) - self._began, text)
        self._timeline.append(entry)
        self._say(f"{entry.seconds:6.1f} s  {text}")


def _until(holds: Callable[[], bool], seconds: float) -> bool:
    ends = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > ends:
            return False
        time.sleep(0.1)
    return True
