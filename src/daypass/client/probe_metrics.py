"""The metrics of a probe, in Prometheus's text format: served at an address, or written into a file for node_exporter."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from http.server import ThreadingHTTPServer
from pathlib import Path

from daypass.client.probe import CAUSES, CheckRun
from daypass.client.profiles import replace_file
from daypass.client.serving import Handler

_TYPES = """\
# HELP daypass_checks_total Synthetic checks from outside (M5).
# TYPE daypass_checks_total counter
"""
_SECONDS = """\
# HELP daypass_check_seconds How long a check took when it last ran.
# TYPE daypass_check_seconds gauge
"""
_LINE = re.compile(r"daypass_checks_total(\{.*\}) (\d+)")


class ProbeMetrics:
    """What the checks of one probe have shown so far.

    Args:
        region: a label of every series; "": none, as where Prometheus's configuration has it.
        earlier: what was written before; its counts go on.
    """

    def __init__(self, region: str = "", earlier: str = "") -> None:
        self._region = f'region="{_escaped(region)}",' if region else ""
        self._counts = Counter({labels: int(count) for labels, count in _LINE.findall(earlier)})
        self._seconds: dict[str, float] = {}

    def note(self, runs: Iterable[CheckRun]) -> None:
        """The runs of one round."""
        for run in runs:
            outcome = "accepted" if run.accepted else "failed" if run.why else "passed"
            expects = "refusal" if run.forbidden else "success"
            labels = (
                f'{self._region}check="{_escaped(run.name)}",cause="{CAUSES.get(run.name, "none")}",expects="{expects}"'
            )
            for each in ("passed", "failed", *(("accepted",) if run.forbidden else ())):
                self._counts[f'{{{labels},outcome="{each}"}}'] += each == outcome  # a series begins at zero
            self._seconds[f"{{{labels}}}"] = run.seconds

    def text(self) -> str:
        """The metrics."""
        counts = "".join(f"daypass_checks_total{labels} {count}\n" for labels, count in sorted(self._counts.items()))
        times = "".join(f"daypass_check_seconds{labels} {time:.6f}\n" for labels, time in sorted(self._seconds.items()))
        return _TYPES + counts + _SECONDS + times

    def write(self, file: Path) -> None:
        """Replaces the file as a whole: node_exporter must not read half of it."""
        replace_file(file, self.text(), 0o644)  # another user's exporter reads it; it holds no secret


def metrics_server(metrics: ProbeMetrics, host: str, port: int) -> ThreadingHTTPServer:
    """A server of `GET /metrics`. Call `serve_forever` on a thread."""

    class Scraped(Handler):
        def do_GET(self) -> None:
            found = self.path == "/metrics"
            body = metrics.text().encode() if found else b""
            self.answer(200 if found else 404, body, "text/plain; version=0.0.4; charset=utf-8")

    return ThreadingHTTPServer((host, port), Scraped)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
