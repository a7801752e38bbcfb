"""`daypass doctor` and `daypass support-bundle` with a real server: what is wrong is found, and no secret leaves."""

from __future__ import annotations

import json
import sqlite3
import tarfile
import time
from contextlib import closing
from pathlib import Path

import pytest
from tests.e2e.cli.conftest import Command
from tests.e2e.conftest import ADMIN_KEY, BOOTSTRAP, running

CANARIES = {
    "DAYPASS_SERVER__METRICS_TOKEN": "metrics-canary",
    "DAYPASS_ACCESS__SMTP_PASSWORD": "smtp-canary",
    "DAYPASS_CHECKS__SECRET_ACCESS_KEY": "checks-canary-0123456789",
}


@pytest.mark.slow
def test_a583_doctor_names_what_is_wrong_and_the_bundle_holds_no_secret(tmp_path: Path) -> None:
    settings = {**CANARIES, "DAYPASS_SPOOL__AFTER_SECONDS": "1"}
    with running(tmp_path / "data", environment=settings) as server:
        daypass = Command(server, tmp_path / "home")
        daypass.login(ADMIN_KEY)
        token = CANARIES["DAYPASS_SERVER__METRICS_TOKEN"]

        def found(*more: str) -> dict[str, tuple[str, str]]:
            ran = daypass("doctor", "--output", "json", *more)
            states = {each["subject"]: (each["state"], each["runbook"]) for each in ran.json()}
            assert ran.status == int(any(state in ("warning", "critical") for state, _ in states.values()))
            return states

        assert {state for state, _ in found("--metrics-token", token).values()} == {"ok"}
        assert found()["disk"][0] == "not known", "metrics need the token"

        file = tmp_path / "bundle.tar.gz"
        ran = daypass("support-bundle", str(file), DAYPASS_METRICS_TOKEN=token)
        assert ran.status == 0, ran.err
        with tarfile.open(file) as bundle:
            texts = {each.name: bundle.extractfile(each).read().decode() for each in bundle}  # type: ignore[union-attr]
        assert {name.rpartition("/")[2] for name in texts} >= {"findings.json", "settings.json", "metrics.txt"}
        secrets = (*CANARIES.values(), ADMIN_KEY[1], *(each.split(":")[1] for each in BOOTSTRAP.split(",")))
        assert not [(name, secret) for name, text in texts.items() for secret in secrets if secret in text]
        assert "***" in texts["daypass-support/settings.json"]
        assert "refused" not in json.loads(texts["daypass-support/summary.json"])
        assert file.stat().st_mode & 0o777 == 0o600
        assert daypass("support-bundle", str(file)).status != 0, "an existing file is kept"

        with closing(sqlite3.connect(tmp_path / "data/daypass.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")  # as a forgotten backup does
            for _ in range(150):
                states = found("--metrics-token", token)
                if states["database"] == ("critical", "DaypassDatabaseUnavailable"):
                    break
                time.sleep(0.2)
        assert states["database"] == ("critical", "DaypassDatabaseUnavailable")

    ran = daypass("doctor", "--output", "json")
    assert [(each["state"], each["runbook"]) for each in ran.json()] == [("critical", "DaypassDown")]
