"""Trust anchors on the command line, against a real server."""

from __future__ import annotations

import secrets
from pathlib import Path

from tests.e2e.cli.conftest import Command
from tests.e2e.conftest import ROOT_KEYS, TENANT
from tests.x509 import Authority


def test_anchor_is_created_listed_disabled_enabled_and_removed(daypass: Command, tmp_path: Path) -> None:
    name, file = f"plant-{secrets.token_hex(3)}", tmp_path / "ca.pem"
    file.write_text(Authority.make().pem)
    made = daypass("anchor", "create", name, str(file), "--output", "json").json()
    identifier = made["trustAnchorId"]
    assert (made["name"], made["enabled"]) == (name, True)
    shown = daypass("anchor", "show", identifier)
    assert "BEGIN CERTIFICATE" in shown.out
    for command, state in (("disable", False), ("enable", True)):
        assert daypass("anchor", command, identifier).status == 0
        listed = {each["trustAnchorId"]: each for each in daypass("anchor", "ls", "--output", "json").json()}
        assert listed[identifier]["enabled"] is state
    assert daypass("anchor", "rm", identifier).status == 2, "not without --yes where nobody can be asked"
    assert daypass("anchor", "rm", identifier, "--yes").status == 0
    gone = daypass("anchor", "show", identifier)
    assert (gone.status, gone.out) == (1, "")
    assert "ResourceNotFoundException" in gone.err


def test_anchor_of_another_account_is_not_found_and_a_file_that_is_no_certificate_is_refused(
    daypass: Command, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    file.write_text(Authority.make().pem)
    identifier = daypass("anchor", "create", "mine", str(file), "--output", "json").json()["trustAnchorId"]
    file.write_text("no certificate")
    refused = daypass("anchor", "create", "other", str(file))
    assert (refused.status, refused.out) == (7, "")
    assert "ValidationException" in refused.err
    daypass.login(ROOT_KEYS[TENANT])
    assert daypass("anchor", "show", identifier).status == 1
    assert daypass("anchor", "disable", identifier).status == 1
