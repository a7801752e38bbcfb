"""Accounts, guardrails, the record, and explanations."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
from contextlib import closing
from pathlib import Path

import pytest
from tests.e2e.cli.conftest import DAYPASS, ME, Command, policy
from tests.e2e.conftest import ADMIN_KEY, BOOTSTRAP, OPERATOR, ROOT_KEYS, TENANT, Server, running
from tests.x509 import Authority

LIST_USERS = "import boto3\ntry: boto3.client('iam').list_users()\nexcept Exception as e: print(e, e.response)"


def test_account_create_gives_a_root_key_that_works(daypass: Command) -> None:
    name = f"shop-{secrets.token_hex(3)}"
    made = daypass("account", "create", name, "--root-key", "--output", "json").json()
    key = (made["root_key"]["access_key_id"], made["root_key"]["secret_access_key"])
    assert daypass.server.client("sts", key).get_caller_identity()["Arn"] == f"arn:aws:iam::{made['id']}:root"
    listed = daypass("account", "ls")
    assert f"{made['id']}  {name}" in listed.out
    again = daypass("account", "create", name, "--id", made["id"])
    assert (again.status, "EntityAlreadyExists" in again.err) == (7, True)


def test_account_ls_by_another_account_is_denied(daypass: Command) -> None:
    daypass.login(ROOT_KEYS[TENANT])
    ran = daypass("account", "ls")
    assert (ran.status, ran.out) == (4, "")


def test_guardrail_binds_from_put_to_rm(daypass: Command, tmp_path: Path) -> None:
    made = daypass("account", "create", "bound", "--root-key", "--output", "json").json()
    key = (made["root_key"]["access_key_id"], made["root_key"]["secret_access_key"])
    account = made["id"]
    text = policy(Action="*", Resource="*").replace("[{", '[\n\t{"Sid": "All", ', 1)
    deny = policy(Effect="Deny", Action="iam:CreateUser", Resource="*")
    assert daypass("guardrail", "put", account, "all", "-", stdin=text).status == 0
    (tmp_path / "deny.json").write_text(deny)
    assert daypass("guardrail", "put", account, "no-users", str(tmp_path / "deny.json")).status == 0
    names = [g["name"] for g in daypass("guardrail", "ls", account, "--output", "json").json()]
    assert {"all", "no-users"} <= set(names)
    assert "no-users" in daypass("guardrail", "ls", account).out
    assert daypass("guardrail", "show", account, "no-users").out == f"{deny}\n"
    assert daypass("guardrail", "show", account, "all", "--output", "json").json()["document"] == text
    iam = daypass.server.client("iam", key)
    with pytest.raises(Exception, match="explicit deny in a service control policy"):
        iam.create_user(UserName="x")
    assert daypass("guardrail", "rm", account, "no-users", "--yes").status == 0
    assert iam.create_user(UserName="x")
    assert daypass("guardrail", "show", account, "no-users").status == 1


def test_revocations_lift_ends_a_block(daypass: Command) -> None:
    made = daypass("revoke", "source-identity", "mallory", "--block", "--force", "--output", "json").json()
    assert made["id"] in daypass("revocations", "ls").out
    lifted = daypass("revocations", "lift", made["id"], "--reason", "a mistake")
    assert (lifted.status, lifted.out) == (0, "The block of source-identity mallory is lifted.\n")
    again = daypass("revocations", "lift", made["id"])
    assert (again.status, "does not block" in again.err) == (7, True)


@pytest.mark.parametrize(
    ("document", "status"),
    [("{", 2), ("", 2), ('{"Version": "2012-10-17", "Statement": []} x', 2), ('{"Statement": 1}', 7)],
)
def test_guardrail_put_malformed_policy_is_refused(daypass: Command, document: str, status: int) -> None:
    assert daypass("guardrail", "put", TENANT, "broken", "-", stdin=document).status == status


def test_audit_shows_what_was_done(daypass: Command) -> None:
    name = f"seen-{secrets.token_hex(3)}"
    daypass("account", "create", name)
    assert "daypass:CreateAccount" in daypass("audit", "tail", "--limit", "250").out
    found = daypass("audit", "search", "--operation", "daypass:CreateAccount", "--output", "json", "--account", "*")
    assert name in found.out
    request_id = daypass("audit", "search", "--limit", "1").out.split()[-1]
    shown = daypass("audit", "show", request_id)
    assert shown.json()["event"]["request_id"] == request_id
    place = f"{shown.json()['log']}/{shown.json()['seq']}"
    assert daypass("audit", "show", place).json()["event"]["request_id"] == request_id
    absent = daypass("audit", "show", "00000000-0000-0000-0000-000000000000")
    assert (absent.status, absent.out) == (1, "")


def test_audit_tail_follow_prints_what_comes_until_interrupted(daypass: Command) -> None:
    assert daypass("whoami").status == 0  # a newest record that is shown: readings of the record are passed over
    process = subprocess.Popen(
        [*DAYPASS, "audit", "tail", "--follow", "--limit", "1"],
        env={**daypass.environment, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  # background jobs ignore it
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline()
        daypass("account", "ls")
        while "ListAccounts" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, err.strip()) == (130, "")


def test_audit_search_finds_by_person_decision_and_time(daypass: Command) -> None:
    daypass("account", "ls")
    given = ("--operation", "daypass:ListAccounts", "--output", "json")
    found = daypass("audit", "search", "--person", OPERATOR, "--decision", "allowed", "--since", "1h", *given)
    assert '"daypass:ListAccounts"' in found.out
    assert daypass("audit", "search", "--person", "no-such-person", *given).out == ""
    assert daypass("audit", "search", "--decision", "refused", "--source", "192.0.2.", *given).out == ""
    assert daypass("audit", "search", "--until", "2001-01-01T00:00:00Z", *given).out == ""
    assert daypass("audit", "search", "--since", "yesterday").status == 2


def test_dashboard_shows_the_figures_of_the_record(daypass: Command) -> None:
    shown = daypass("dashboard", "--last", "1h")
    assert (shown.status, shown.err) == (0, "")
    assert re.search(r"^requests refused +\d+$", shown.out, re.MULTILINE)
    assert "OPERATION" in shown.out
    figures = daypass("dashboard", "--output", "json").json()
    assert figures["active_grants"] == []
    assert len(figures["times"]) == len(figures["series"]["issued"])
    assert (figures["measurements"]["record_share"], figures["measurements"]["alerts"]) in ((None, []), (1.0, []))
    assert daypass("dashboard", "--last", "31d").status == 2


def test_probe_passes_against_a_server_and_fails_where_what_must_be_refused_is_not(daypass: Command) -> None:
    statement = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{OPERATOR}:root"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    daypass.server.client("iam").create_role(RoleName="probed", AssumeRolePolicyDocument=trust)
    ran = daypass("probe", "probed", "--denied", "no-such-role", "--output", "json")
    assert (ran.status, {each["problem"] for each in ran.json()}) == (0, {""}), ran.out
    wrong = daypass("probe", "--denied", "probed")
    assert wrong.status == 1
    assert "it was served, but must be refused" in wrong.out


def test_settings_are_shown_to_the_operator_alone(daypass: Command) -> None:
    shown = daypass("settings")
    assert "server.data = " in shown.out
    assert daypass("settings", "--output", "json").json()["server"]["data"]
    daypass.login(ROOT_KEYS[TENANT])
    refused = daypass("settings")
    assert (refused.status, refused.out) == (4, "")


def test_audit_prove_verifies_a_record_and_compares_a_head_that_was_noted(daypass: Command) -> None:
    found = daypass("audit", "search", "--limit", "1", "--output", "json").json()
    place = f"{found['log']}/{found['seq']}"
    first = daypass("audit", "prove", place, "--output", "json").json()
    assert (first["leaf"], first["chain"], first["bytes"]) == (found["leaf"], found["chain"], "present")
    noted = first["head"]
    again = daypass("audit", "prove", place, "--known", noted)
    assert (again.status, "verifies" in again.out) == (0, True)
    seq, _, chain = noted.partition(":")
    rewritten = daypass("audit", "prove", place, "--known", f"{seq}:{chain[::-1]}")
    assert (rewritten.status, "BAD" in rewritten.out) == (1, True)
    assert daypass("audit", "prove", f"{found['log']}/0").status == 0
    assert daypass("audit", "prove", f"{found['log']}/999999999").status == 1
    assert daypass("audit", "prove", "no-record").status == 2
    assert daypass("audit", "prove", place, "--known", "5").status == 2


def test_audit_verify_online_is_right(daypass: Command) -> None:
    ran = daypass("audit", "verify")
    assert ran.status == 0, ran.out
    assert " verify" in ran.out
    report = daypass("audit", "verify", "--output", "json", "--account", "*").json()
    assert report["bad"] == []
    assert len(report["heads"]) == report["logs"]
    assert sum(head["seq"] + 1 for head in report["heads"]) == report["records"]
    assert report["records"] > 10


@pytest.fixture(scope="module")
def record(server: Server, logged_in: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's record in a file of its own, which verifies."""
    target = tmp_path_factory.mktemp("record") / "daypass.db"
    with (
        closing(sqlite3.connect(server.data / "daypass.db")) as source,
        closing(sqlite3.connect(target, isolation_level=None)) as copy,
    ):
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
        for (trigger,) in copy.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            copy.execute(f'DROP TRIGGER "{trigger}"')
    good = Command(server, logged_in)("audit", "verify", "--database", str(target))
    assert good.status == 0, good.out
    return target


TAMPERED = {
    "bytes": ("UPDATE audit_records SET bytes = bytes || x'20' WHERE log = ? AND seq = ?", 0),
    "erased bytes": ("UPDATE audit_records SET bytes = x'' WHERE log = ? AND seq = ?", 0),
    "chain": ("UPDATE audit_records SET chain = zeroblob(32) WHERE log = ? AND seq = ?", 0),
    "chain's type": ("UPDATE audit_records SET chain = 'text' WHERE log = ? AND seq = ?", 0),
    "removed": ("DELETE FROM audit_records WHERE log = ? AND seq = ?", 0),
    "cut off its beginning": ("DELETE FROM audit_records WHERE log = ? AND seq <= ?", -5),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_audit_verify_offline_names_the_first_bad_record(
    daypass: Command, record: Path, tmp_path: Path, how: str
) -> None:
    statement, shift = TAMPERED[how]
    shutil.copyfile(record, tmp_path / "daypass.db")
    with closing(sqlite3.connect(tmp_path / "daypass.db", isolation_level=None)) as copy:
        ((log, last),) = copy.execute("SELECT log, max(seq) FROM audit_records GROUP BY log LIMIT 1").fetchall()
        assert last > 6
        assert copy.execute(statement, (log, 5)).rowcount > 0
    bad = daypass("audit", "verify", "--database", str(tmp_path / "daypass.db"))
    assert bad.status == 1
    assert f"BAD  log {log} record {5 + shift}: " in bad.out
    report = daypass("audit", "verify", "--data", str(tmp_path), "--output", "json")
    assert (report.status, report.json()["bad"][0]["seq"]) == (1, 5 + shift)


def test_audit_verify_offline_counts_spools_and_fails_for_one_that_was_set_aside(
    daypass: Command, record: Path, tmp_path: Path
) -> None:
    shutil.copyfile(record, tmp_path / "daypass.db")
    (tmp_path / "spool").mkdir()
    for name, rows in (("empty", 0), ("full", 1)):
        with closing(sqlite3.connect(tmp_path / "spool" / f"{name}.db", isolation_level=None)) as spool:
            spool.execute("CREATE TABLE batches (id INTEGER)")
            spool.executemany("INSERT INTO batches VALUES (?)", [(1,)] * rows)
    waiting = daypass("audit", "verify", "--data", str(tmp_path))
    assert waiting.status == 0, waiting.out
    assert "1 spool with events" in waiting.out
    (tmp_path / "spool" / "x.db.rejected").touch()
    report = daypass("audit", "verify", "--data", str(tmp_path), "--output", "json")
    assert report.status == 1
    assert (report.json()["spools"], report.json()["rejected_spools"]) == (1, 1)


def test_audit_verify_offline_what_is_no_record_is_a_local_failure(daypass: Command, tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"not a database, but long enough to be looked at" * 50)
    ran = daypass("audit", "verify", "--database", str(tmp_path / "x.db"))
    assert (ran.status, ran.out) == (6, "")
    with closing(sqlite3.connect(tmp_path / "empty.db")):
        pass
    assert daypass("audit", "verify", "--database", str(tmp_path / "empty.db")).status == 6


def test_explain_says_why_and_what_is_missing(daypass: Command, role: str) -> None:
    denied = daypass("exec", role, "--", sys.executable, "-c", LIST_USERS).out
    by_message = daypass("explain", denied)
    assert by_message.status == 0, by_message.err
    by_stdin = daypass("explain", "-", stdin=denied)
    request_id = daypass("audit", "search", "--error", "access_denied", "--limit", "1").out.split()[-1]
    by_request = daypass("explain", request_id)
    assert by_message.out == by_stdin.out == by_request.out
    lines = by_message.out.splitlines()
    assert lines[0] == "Denied: no identity-based policy allows it."
    assert f"  principal  arn:aws:sts::{OPERATOR}:assumed-role/{role}/{ME}" in lines
    assert "  Allow work 'ReadUsers', line 1: a condition does not hold" in lines
    assert "        wanted  shop" in lines
    assert "        found   absent" in lines
    assert "an identity-based policy would have to allow iam:ListUsers" in lines[-3]
    assert lines[-1].startswith("Roles that allow it, if you may request any: daypass request suggest iam:ListUsers ")
    assert daypass("explain", denied, "--output", "json").json()["blocked_by"] == "identity"


def test_explain_of_a_denial_without_message_or_request_id_finds_the_newest_on_record(
    daypass: Command, role: str
) -> None:
    denied = daypass("exec", role, "--", sys.executable, "-c", LIST_USERS).out
    request_id = daypass("audit", "search", "--error", "access_denied", "--limit", "1").out.split()[-1]
    shown = f"User: arn:aws:sts::{OPERATOR}:assumed-role/{role}/{ME} is not authorized to perform: iam:ListUsers on …"
    found = daypass(
        "explain", "-", stdin=f"An error occurred (AccessDenied) when calling the ListUsers operation: {shown}"
    )
    assert found.out == daypass("explain", denied).out
    assert request_id in found.err
    other = daypass("explain", shown.replace(f"/{ME}", "/berta"))
    assert (other.status, other.out) == (1, "")


def test_explain_by_another_account_is_refused(daypass: Command, role: str) -> None:
    denied = daypass("exec", role, "--", sys.executable, "-c", LIST_USERS).out
    request_id = daypass("audit", "search", "--error", "access_denied", "--limit", "1").out.split()[-1]
    daypass.login(ROOT_KEYS[TENANT])
    assert daypass("explain", denied).status == 7
    assert daypass("explain", request_id).status == 1
    assert daypass("explain", "hello").status == 2


def test_simulate_and_access_tell_what_a_role_can(daypass: Command, role: str) -> None:
    arn = f"arn:aws:iam::{OPERATOR}:role/{role}"
    denied = daypass("simulate", f"role/{role}", "--action", "iam:ListUsers")
    assert denied.status == 1, denied.err
    assert denied.out.startswith("Denied: no identity-based policy allows it.")
    team = ("--context", "aws:PrincipalTag/team=shop")
    assert daypass("simulate", f"role/{role}", "--action", "iam:ListUsers", *team).out.startswith("Allowed.")
    whole = daypass("access", "what-can", f"role/{role}", "--output", "json").json()
    assert [grant["extent"] for grant in whole["grants"]] == ["allowed_if"]
    found = daypass("access", "who-can", "sts:AssumeRole", arn)
    assert found.status == 0, found.err
    assert f"arn:aws:iam::{OPERATOR}:user/" in found.out
    assert daypass("access", "who-can", "sts:AssumeRole", f"{arn}-none").status == 1


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
