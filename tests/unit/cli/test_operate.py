from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from tests.unit.client.servers import as_json, error

from daypass.cli import audit
from daypass.cli import installation as server_keys
from daypass.cli.durations import moment_of, seconds_of
from daypass.crypto.keys import Ring

NOW = 1_800_000_000.5


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("+30s", 1_800_000_030_500),
        ("+30m", 1_800_001_800_500),
        ("+2h", 1_800_007_200_500),
        ("+7d", 1_800_604_800_500),
        ("2027-01-15T08:00:00Z", 1_800_000_000_000),
    ],
)
def test_moment_of_a_time_is_its_milliseconds(text: str, ms: int) -> None:
    assert moment_of(text, NOW) == ms


@pytest.mark.parametrize(
    "text", ["", "+", "+h", "+-2h", "+2", "+2w", "+2.5h", "+２h", "+99999999h", "2h", "2027-01-15", "2027-01-15T08:00:00",
             "2027-13-15T08:00:00Z", "2027-01-15T08:00:00Z\n", "tomorrow"]
)  # fmt: skip
def test_moment_of_anything_else_is_refused(text: str) -> None:
    with pytest.raises(click.UsageError):
        moment_of(text, NOW)


@pytest.mark.parametrize(
    ("text", "seconds"), [("3600", 3600), ("1h30m", 5400), ("90m", 5400), ("2d", 172_800), ("45s", 45), ("1d1h1m1s", 90_061)]
)  # fmt: skip
def test_seconds_of_a_duration(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "1h30", "30m1h", "1.5h", "-1h", "１h", "1 h", "1h\n"])
def test_seconds_of_anything_else_is_none(text: str) -> None:
    assert seconds_of(text) is None


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("subject", ["access-key", "access_key"])
def test_revoke_subject_is_taken_in_both_spellings(cli, serve, subject: str) -> None:
    server = serve(
        as_json({"id": "r", "value": "AKIA", "block": False, "sessions_ended": 0, "sessions_complete": True})
    )
    assert cli("revoke", subject, "AKIA").out == "Revoked access-key AKIA; revocation r. No active session ended.\n"
    assert json.loads(server.sent[0].body)["subject"] == "access_key"


@pytest.mark.usefixtures("key")
def test_revoke_sends_what_was_asked_for(cli, serve) -> None:
    made = {"id": "r", "value": "AROA", "block": True, "sessions_ended": 2, "sessions_complete": False}
    server = serve(as_json(made))
    ran = cli("revoke", "source-identity", "x", "--block-until", "2027-01-15T08:00:00Z", "--reason", "leak")
    assert ran.status == 0, ran.err
    assert json.loads(server.sent[0].body) == {
        "subject": "source_identity", "value": "x", "account": "", "block": False, "reason": "leak", "force": False,
        "block_until": 1_800_000_000_000,
    }  # fmt: skip
    expected = (
        "Revoked source-identity x (AROA); revocation r. At least 2 active sessions ended. New ones are blocked.\n"
    )
    assert ran.out == expected


@pytest.mark.usefixtures("key")
def test_names_in_paths_are_quoted(cli, serve) -> None:
    server = serve(as_json({"document": ""}))
    cli("guardrail", "show", "1/2", "a b?c#d")
    assert server.sent[0].target == "/api/v1/accounts/1%2F2/guardrails/a%20b%3Fc%23d"


@pytest.mark.usefixtures("key")
def test_guardrail_put_reads_text_alone(cli, serve, tmp_path: Path) -> None:
    server = serve(as_json({}))
    (tmp_path / "p").write_bytes(b"\xff")
    ran = cli("guardrail", "put", "1", "g", str(tmp_path / "p"))
    assert (ran.status, server.sent) == (6, [])
    assert "not UTF-8" in ran.err


@pytest.mark.usefixtures("key")
def test_guardrail_put_warns_of_one_that_shuts_the_account(cli, serve, tmp_path: Path) -> None:
    denial = {"Effect": "Deny", "Action": "iam:CreateUser", "Resource": "*"}
    for statements, warned in (([denial], True), ([{**denial, "Effect": "Allow", "Action": "*"}, denial], False)):
        serve(error("NotFound", "no", 404), as_json({}))
        (tmp_path / "p").write_text(json.dumps({"Version": "2012-10-17", "Statement": statements}))
        ran = cli("guardrail", "put", "1", "g", str(tmp_path / "p"))
        assert (ran.status, ran.err.startswith("error: The guardrail leaves nothing allowed.")) == (0, warned)


@pytest.mark.usefixtures("key")
def test_lists_go_on_to_the_limit_page_by_page(cli, serve) -> None:
    page = [{"id": "1", "name": "a", "operator": False, "created_at": 1}] * 250
    server = serve(as_json({"accounts": page, "next": "p1"}), as_json({"accounts": page, "next": "p2"}))
    ran = cli("account", "ls", "--limit", "300", "--output", "json")
    assert len(json.loads(ran.out)) == 300
    assert [r.target.partition("?")[2] for r in server.sent] == ["limit=250", "after=p1&limit=50"]


@pytest.mark.usefixtures("key")
def test_revoke_with_dry_run_shows_what_would_end(cli, serve) -> None:
    made = {"id": "r", "value": "x", "block": True, "sessions_ended": 1, "sessions_complete": True, "dry_run": True}
    server = serve(as_json(made))
    ran = cli("revoke", "grant", "x", "--dry-run")
    assert ran.out == "Dry run, nothing is revoked. 1 active session would end.\n"
    assert json.loads(server.sent[0].body)["dry_run"] is True


@pytest.mark.usefixtures("key")
def test_user_rm_with_force_deletes_in_one_call_and_prints_what_has_ended(cli, serve) -> None:
    report = {
        "account": "1", "user": "arn:aws:iam::1:user/ann", "keys_disabled": ["AKIA1"], "password_removed": False,
        "mfa_devices_deactivated": [], "sessions_ended": 2, "sessions_complete": True, "revocations": [],
        "already_blocked": [], "last_expiry": None, "dry_run": False,
        "access_requests_cancelled": ["r9"], "grants_ended": ["g9"], "scim_tokens_deleted": ["entra"],
        "consents_removed": ["oidc-1"], "chat_users_unlinked": ["ann.chat"],
    }  # fmt: skip
    server = serve(as_json(report))
    ran = cli("user", "rm", "ann", "--force", "--yes")
    assert ran.status == 0, ran.err
    assert json.loads(server.sent[0].body) == {"user": "ann", "delete": True}
    assert len(server.sent) == 1
    for line in (
        "Cancelled access request r9.",
        "Ended access grant g9.",
        "Deleted SCIM token entra.",
        "Removed the consent to oidc-1.",
        "Unlinked chat user ann.chat.",
        "Deleted user arn:aws:iam::1:user/ann.",
    ):
        assert line in ran.out.splitlines()


@pytest.mark.usefixtures("key")
def test_offboard_sends_the_person_and_prints_the_report(cli, serve) -> None:
    report = {
        "account": "1", "user": "arn", "keys_disabled": ["AKIA1"], "password_removed": True,
        "mfa_devices_deactivated": ["arn:mfa"], "sessions_ended": 2, "sessions_complete": True,
        "revocations": [{"id": "r1", "subject": "principal", "value": "AIDA1"}],
        "already_blocked": [{"id": "r0", "subject": "source_identity", "value": "ann"}],
        "last_expiry": 1_800_000_000_000, "dry_run": False,
    }  # fmt: skip
    server = serve(as_json(report))
    ran = cli("offboard", "ann", "--principal", "arn:p:ann", "--source-identity", "ann", "--reason", "left")
    assert ran.status == 0, ran.err
    assert json.loads(server.sent[0].body) == {
        "user": "ann", "account": "", "reason": "left", "dry_run": False, "delete": False,
        "also": [{"kind": "principal", "value": "arn:p:ann"}, {"kind": "source_identity", "value": "ann"}],
    }  # fmt: skip
    lines = ran.out.splitlines()
    assert lines[:6] == [
        "Blocked principal AIDA1; revocation r1.",
        "Already blocked: source-identity ann; revocation r0.",
        "2 active sessions ended.",
        "Disabled access key AKIA1.",
        "Disabled the password.",
        "Disabled MFA device arn:mfa.",
    ]
    assert lines[6].startswith("Services that do not follow revocations may accept")


@pytest.mark.usefixtures("key")
def test_offboard_of_nobody_is_a_usage_error(cli, serve) -> None:
    server = serve(as_json({}))
    assert (cli("offboard").status, server.sent) == (2, [])


def test_server_keys_rotate_takes_every_ring() -> None:
    assert set(server_keys._RINGS) == set(Ring)


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("driver", ["", "+psycopg"])
def test_audit_verify_of_a_data_directory_reads_the_database_of_the_settings(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, driver: str
) -> None:
    """As `backup` and `server-keys` do. A password in `--url` would be in the list of processes."""
    read: list[str] = []
    monkeypatch.setattr(audit.PostgresRecord, "verified", lambda record: read.append(record._url) or [])
    monkeypatch.setenv("DAYPASS_DATABASE__URL", f"postgresql{driver}://daypass:secret@db/daypass")
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "x.db.rejected").touch()
    ran = cli("audit", "verify", "--data", str(tmp_path))
    assert (ran.status, read) == (1, ["postgresql://daypass:secret@db/daypass"])
    assert f"BAD  1 spool set aside, with events that are not on the record: {tmp_path}/spool." in ran.out


@pytest.mark.usefixtures("key")
def test_audit_verify_of_a_data_directory_reads_sqlite_whatever_its_driver(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DAYPASS_DATABASE__URL", f"sqlite+pysqlite:///{tmp_path}/other.db")
    ran = cli("audit", "verify", "--data", str(tmp_path))
    assert f"{tmp_path}/other.db does not exist." in ran.err


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("url", ["mysql://daypass:canary@db/daypass", "postgresql://daypass:canary%zz@db/daypass"])
def test_a435_audit_verify_of_a_url_that_is_not_valid_shows_no_password(cli: Callable[..., Any], url: str) -> None:
    ran = cli("audit", "verify", "--url", url)
    assert (ran.status != 0, "canary" in ran.out + ran.err) == (True, False)
    assert "the URL of the database is not valid: postgresql://USER:PASSWORD@HOST/NAME." in ran.err


@pytest.mark.parametrize(
    ("module", "command"),
    [("daypass.config", ("audit", "verify", "--data", ".")), ("daypass.gameday.scenarios", ("gameday", "ls"))],
)
@pytest.mark.usefixtures("key")
def test_command_of_the_server_where_only_the_client_is_installed_says_so(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, module: str, command: tuple[str, ...]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    ran = cli(*command)
    assert (ran.status, "the server is not installed" in ran.err) == (2, True), ran.err
