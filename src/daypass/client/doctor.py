"""Findings about a server, their severity, and their runbooks.

It reads what the server shows to everybody or to its operator: /readyz, /metrics, the clock of an answer, the linter. It
changes nothing.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from daypass.client.errors import ClientError
from daypass.client.http import Connection
from daypass.client.transport import ClientRequest, ClientResponse, NoAnswer, endpoint_of

OK, UNKNOWN, WARNING, CRITICAL = "ok", "not known", "warning", "critical"
_SECONDS = 10.0
_SKEW_SECONDS = 5.0
_DAY = 86_400
_POLICIES = 100
_SAMPLE = re.compile(r"^(daypass_\w+)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


class Diagnosis(NamedTuple):
    """One thing that was looked at. `runbook`: the alert whose runbook repairs it; "" when nothing is to repair."""

    subject: str
    state: str
    text: str
    runbook: str = ""


class MetricRule(NamedTuple):
    """A finding if `wrong` holds for the metric. Otherwise the next rule of the subject applies."""

    subject: str
    metric: str
    wrong: Callable[[float, float], bool]
    state: str
    text: str
    runbook: str


RULES = (
    MetricRule("clock", "daypass_clock_offset_seconds", lambda v, _: abs(v) > 1, CRITICAL,
         "the system clock is off by {:.0f} s", "DaypassClockWrong"),
    MetricRule("certificate", "daypass_certificate_expires_seconds", lambda v, now: 0 < v < now + _DAY, CRITICAL,
         "the TLS certificate ends within a day, or has ended", "DaypassCertificateExpires"),
    MetricRule("certificate", "daypass_certificate_expires_seconds", lambda v, now: 0 < v < now + 14 * _DAY, WARNING,
         "the TLS certificate ends within two weeks", "DaypassCertificateExpires"),
    MetricRule("database", "daypass_degraded", lambda v, _: v > 0, CRITICAL,
         "the database is unavailable; {:.0f} processes serve from memory", "DaypassDatabaseUnavailable"),
    MetricRule("database", "daypass_directory_staleness_seconds", lambda v, _: v > 60, WARNING,
         "the directory in memory is {:.0f} s old", "DaypassDirectoryStale"),
    MetricRule("replication", "daypass_standby_age_seconds", lambda v, _: v > 60, WARNING,
         "the data of the standby are {:.0f} s old", "DaypassDirectoryStale"),
    MetricRule("disk", "daypass_disk_free_ratio", lambda v, _: 0 < v < 0.05, CRITICAL,
         "only {:.1%} of the data disk is free", "DaypassDiskFull"),
    MetricRule("disk", "daypass_disk_free_ratio", lambda v, _: 0 < v < 0.15, WARNING,
         "only {:.1%} of the data disk is free", "DaypassDiskFull"),
    MetricRule("spool", "daypass_spool_rejected", lambda v, _: v > 0, CRITICAL,
         "{:.0f} spools were set aside", "DaypassSpoolRejected"),
    MetricRule("spool", "daypass_spool_events", lambda v, _: v > 0, WARNING,
         "{:.0f} events wait in the spool", "DaypassDatabaseUnavailable"),
    MetricRule("record", "record_missing", lambda v, _: v > 0, CRITICAL,
         "the database lacks {:.0f} records", "DaypassRecordIncomplete"),
    MetricRule("providers", "daypass_issuers_failing", lambda v, _: v > 0, WARNING,
         "the keys of {:.0f} identity providers cannot be fetched", "DaypassIssuerFailing"),
    MetricRule("answers", "daypass_errors_total", lambda v, _: v > 0, WARNING,
         "{:.0f} requests ended in a constant 500 since the start", "DaypassInternalErrors"),
)  # fmt: skip


@dataclass(slots=True)
class Doctor:
    """Looks at one server. `token`: the server's `server.metrics_token`, if it has one. `gathered`: what it has read."""

    connection: Connection
    token: str = ""
    gathered: dict[str, Any] = field(default_factory=dict)

    def findings(self) -> Iterator[Diagnosis]:
        """Everything that was looked at, also what is well."""
        try:
            ready = self._get("/readyz")
        except NoAnswer as error:
            yield Diagnosis("server", CRITICAL, f"it does not answer: {error}", "DaypassDown")
            return
        yield from self._readiness(ready)
        yield self._own_clock(ready)
        yield from self._metrics()
        yield self._policies()

    def _get(self, path: str) -> ClientResponse:
        profile = self.connection.profile
        headers = {"host": endpoint_of(profile.endpoint).netloc}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        return self.connection.transport(
            ClientRequest(profile.endpoint, "GET", path, headers, b"", profile.ca_bundle), _SECONDS
        )

    def _readiness(self, answer: ClientResponse) -> Iterator[Diagnosis]:
        try:
            found = json.loads(answer.body)
            problems, warnings = found["problems"], found["warnings"]
        except (ValueError, KeyError, TypeError):
            yield Diagnosis("server", CRITICAL, f"/readyz answers with HTTP status {answer.status}", "DaypassDown")
            return
        self.gathered["readyz"] = found
        for problem in problems:
            yield Diagnosis("server", CRITICAL, str(problem), "DaypassDown")
        for warning in warnings:
            subject = "keys" if "key" in str(warning) else "server"
            yield Diagnosis(subject, WARNING, str(warning))
        if not problems:
            yield Diagnosis("server", OK, f"{found.get('status', 'ready')}")
        if not any("key" in str(each) for each in (*problems, *warnings)):
            yield Diagnosis("keys", OK, "the ring keys open and are in time")

    def _own_clock(self, answer: ClientResponse) -> Diagnosis:
        """This machine's clock against the server's."""
        try:
            server = parsedate_to_datetime(answer.headers["date"]).timestamp()
        except (KeyError, ValueError, TypeError):
            return Diagnosis("this clock", UNKNOWN, "the answer has no date")
        behind = server - self.connection.clock()
        if abs(behind) > _SKEW_SECONDS:
            return Diagnosis(
                "this clock", WARNING, f"it differs from the server's by {behind:.0f} s", "DaypassClockWrong"
            )
        return Diagnosis("this clock", OK, "as the server's")

    def _metrics(self) -> Iterator[Diagnosis]:
        subjects = list(dict.fromkeys(rule.subject for rule in RULES))
        try:
            answer = self._get("/metrics")
        except NoAnswer as error:
            answer = ClientResponse(0, {}, str(error).encode())
        if answer.status != 200:
            why = f"/metrics answers with HTTP status {answer.status}: give the metrics token, or ask the health port"
            yield from (Diagnosis(subject, UNKNOWN, why) for subject in subjects)
            return
        text = answer.body.decode("utf-8", "replace")
        self.gathered["metrics"] = text
        values: dict[str, float] = {}
        for name, value in _SAMPLE.findall(text):
            values[name] = values.get(name, 0.0) + float(value)
        expected, found = (values.get(f"daypass_record_{each}_total", 0.0) for each in ("expected", "found"))
        values["record_missing"] = expected - found
        for subject in subjects:
            yield _judged(subject, values)

    def _policies(self) -> Diagnosis:
        try:
            page = self.connection.api("GET", "/lint", {"limit": str(_POLICIES)})
        except ClientError as error:
            return Diagnosis("policies", UNKNOWN, error.message[:200])
        bad = [found for each in page["policies"] for found in each["findings"] if found["severity"] == "error"]
        if bad:
            return Diagnosis("policies", WARNING, f"{len(bad)} errors: see `daypass lint --stored`")
        return Diagnosis(
            "policies", OK, f"the linter finds no error in {len(page['policies'])} policies of the account"
        )


def _judged(subject: str, values: dict[str, float]) -> Diagnosis:
    for rule in (rule for rule in RULES if rule.subject == subject):
        value = values.get(rule.metric)
        if value is not None and rule.wrong(value, time.time()):
            return Diagnosis(subject, rule.state, rule.text.format(value), rule.runbook)
    return Diagnosis(subject, OK, "")
