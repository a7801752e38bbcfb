"""Everyday administration without the AWS CLI, and what a denied user can find out, against the real server."""

from __future__ import annotations

import json
import re
import secrets
import sys
import urllib.request
from pathlib import Path

import pytest
from tests.e2e.cli.conftest import DAYPASS, ME, Command, policy
from tests.e2e.conftest import ADMIN_KEY, OPERATOR, ROOT_KEYS
from tests.terminal import Terminal


@pytest.fixture
def root(daypass: Command) -> Command:
    assert daypass.login(ROOT_KEYS[OPERATOR]).status == 0
    return daypass


def test_user_group_key_policy_and_role_from_nothing_to_an_assumed_role_and_away(root: Command, tmp_path: Path) -> None:
    tag = secrets.token_hex(3)
    document = tmp_path / "policy.json"
    document.write_text(policy(Action=["sts:AssumeRole", "iam:ListUsers"], Resource="*"))
    made = root("user", "create", f"ana-{tag}", "--key", "--output", "json").json()
    key = (made["AccessKey"]["AccessKeyId"], made["AccessKey"]["SecretAccessKey"])
    steps = [
        ("group", "create", f"dev-{tag}"),
        ("group", "add", f"dev-{tag}", f"ana-{tag}"),
        ("policy", "create", f"borrow-{tag}", str(document)),
        ("group", "attach", f"dev-{tag}", f"borrow-{tag}"),
        ("role", "create", f"reader-{tag}", "--principal", f"user/ana-{tag}", "--max-session", "2h"),
        ("role", "attach", f"reader-{tag}", "aws/ReadOnlyAccess"),
        ("role", "put", f"reader-{tag}", "inline", str(document)),
    ]
    for step in steps:
        ran = root(*step)
        assert (ran.status, ran.err) == (0, ""), step
    assert f"ana-{tag}" in root("user", "ls").out
    assert f"ana-{tag}" in root("group", "show", f"dev-{tag}").out
    assert key[0] in root("user", "show", f"ana-{tag}").out
    assert "7200" in root("role", "show", f"reader-{tag}").out
    shown = root("role", "show", f"reader-{tag}", "--output", "json").json()
    assert [p.rpartition("/")[2] for p in shown["policies"]] == ["ReadOnlyAccess", "inline"]
    assert json.loads(root("policy", "show", f"borrow-{tag}").out) == json.loads(document.read_text())

    user = Command(root.server, tmp_path / "user")
    assert user.login(key).status == 0
    assert f"role/reader-{tag}" in user("roles").out, "sts:AssumeRole alone is enough to list them"
    ran = user("exec", f"reader-{tag}", "--duration", "1h30m", "--", *DAYPASS, "whoami", "--output", "json")
    who = ran.json()
    assert who["Arn"] == f"arn:aws:sts::{OPERATOR}:assumed-role/reader-{tag}/{ME}"
    assert [hop["principal_id"][:4] for hop in who["session"]["hops"]] == ["AIDA", "AROA"]

    for number in range(6):
        document.write_text(policy(Action="iam:ListUsers", Resource=f"arn:aws:iam::{OPERATOR}:user/{number}"))
        assert root("policy", "update", f"borrow-{tag}", str(document), "--yes").status == 0
    assert root("key", "disable", key[0], "--user", f"ana-{tag}").status == 0
    assert user("whoami").status == 3
    assert root("key", "ls", "--user", f"ana-{tag}", "--output", "json").json()[0]["Status"] == "Inactive"
    assert root("user", "rm", f"ana-{tag}").status == 2, "not without --yes where nobody can be asked"
    for step in [
        ("user", "rm", f"ana-{tag}", "--force", "--yes"),
        ("group", "rm", f"dev-{tag}", "--force", "--yes"),
        ("role", "rm", f"reader-{tag}", "--force", "--yes"),
        ("policy", "rm", f"borrow-{tag}", "--yes"),
    ]:
        ran = root(*step)
        assert (ran.status, ran.err) == (0, ""), step
    assert root("user", "show", f"ana-{tag}").status == 1


def test_denial_is_explained_by_the_request_id_that_it_shows(daypass: Command) -> None:
    denied = daypass("exec", "nonesuch", "true")
    assert denied.status == 4
    hint = re.search(r"to see why: (daypass explain \S+)", denied.err)
    assert hint is not None
    ran = daypass(*hint[1].split()[1:])
    assert ran.out.startswith("Denied: no trust policy allows it.\n")


def test_exec_after_a_revocation_gets_a_new_session(daypass: Command, role: str) -> None:
    first = daypass("credential-process", role).json()
    listed = daypass("sessions", "ls", "--output", "json").json()
    session = next(s["session_id"] for s in listed if s["access_key_id"] == first["AccessKeyId"])
    assert "1 active session ended." in daypass("revoke", "session", session).out
    (cache,) = (daypass.home / "cache").glob("*.json")
    held = json.loads(cache.read_text())
    cache.write_text(json.dumps({**held, "checked_at": held["checked_at"] - 6}))  # six seconds later
    second = daypass("credential-process", role).json()
    assert second["AccessKeyId"] != first["AccessKeyId"]
    assert daypass("exec", role, *DAYPASS, "whoami").status == 0


def test_server_down_names_its_address(daypass: Command) -> None:
    ran = daypass("whoami", "--endpoint", "http://127.0.0.1:1")
    assert (ran.status, ran.err.count("\n")) == (5, 1)
    assert ran.err.startswith("daypass: the server at http://127.0.0.1:1 does not answer: ")


def test_keys_of_a_user_are_made_disabled_enabled_and_deleted(root: Command) -> None:
    name = f"kim-{secrets.token_hex(3)}"
    assert root("user", "create", name).status == 0
    made = root("key", "create", "--user", name, "--output", "json").json()
    key = made["AccessKeyId"]
    assert len(made["SecretAccessKey"]) == 40
    user = Command(root.server, root.home.parent / "kim")
    assert user.login((key, made["SecretAccessKey"])).status == 0
    shown = root("key", "create", "--user", name).out.splitlines()
    assert [line.split("  ")[0] for line in shown] == ["access key id", "secret access key"]
    third = root("key", "create", "--user", name)
    assert (third.status, third.out) == (7, "")
    assert third.err.startswith("daypass: LimitExceeded: ")
    for step, state, status in (("disable", "Inactive", 3), ("enable", "Active", 0)):
        assert root("key", step, key, "--user", name).out == f"Access key {key} is {state.lower()}.\n"
        rows = root("key", "ls", "--user", name, "--output", "json").json()
        assert {row["AccessKeyId"]: row["Status"] for row in rows}[key] == state
        assert user("whoami").status == status
    assert root("key", "rm", key, "--user", name).status == 2, "not without --yes where nobody can be asked"
    assert user("whoami").status == 0
    assert root("key", "rm", key, "--user", name, "--yes").out == f"Deleted access key {key}.\n"
    assert user("whoami").status == 3
    assert root("key", "rm", key, "--user", name, "--yes").status == 1
    assert root("key", "disable", "AKIANONESUCH00000000", "--user", name).status == 1


def test_user_removed_from_a_group_loses_what_the_group_allows(root: Command) -> None:
    tag = secrets.token_hex(3)
    user, group = f"lee-{tag}", f"ops-{tag}"
    assert root("user", "create", user).status == 0
    assert root("group", "create", group).status == 0
    assert root("group", "add", group, user).out == f"Added {user} to {group}.\n"
    assert root("group", "attach", group, "aws/ReadOnlyAccess").status == 0
    allowed = ("simulate", f"user/{user}", "--action", "iam:ListUsers")
    assert root(*allowed).status == 0
    assert root("group", "remove", group, user, "--yes").out == f"Removed {user} from {group}.\n"
    assert root(*allowed).status == 1
    assert root("group", "show", group, "--output", "json").json() == []
    assert root("group", "remove", group, "nonesuch", "--yes").status == 1


@pytest.mark.parametrize("kind", ["user", "group", "role"])
def test_policy_detached_allows_no_more(root: Command, kind: str) -> None:
    name = f"det-{secrets.token_hex(3)}"
    more = ("--principal", "user/admin") if kind == "role" else ()
    assert root(kind, "create", name, *more).status == 0
    arn = "arn:aws:iam::aws:policy/ReadOnlyAccess"
    assert root(kind, "attach", name, "aws/ReadOnlyAccess").status == 0
    listed = (kind, "policies", name, "--output", "json")
    assert root(*listed).json() == [{"Policy": arn, "Kind": "attached"}]
    ran = root(kind, "detach", name, "aws/ReadOnlyAccess", "--yes")
    assert (ran.status, ran.out) == (0, f"Detached {arn} from {kind} {name}.\n")
    assert root(*listed).json() == []
    assert root(kind, "detach", name, "aws/ReadOnlyAccess", "--yes").status == 1
    assert root(kind, "detach", name, "nonesuch", "--yes").status == 1


def test_role_trust_replaces_who_may_assume_it(daypass: Command, role: str, root: Command, tmp_path: Path) -> None:
    other = Command(daypass.server, tmp_path / "other")
    assert other.login(ADMIN_KEY).status == 0
    assert other("assume", role).status == 0
    document = tmp_path / "trust.json"
    document.write_text(policy(Action="sts:AssumeRole", Principal={"AWS": f"arn:aws:iam::{OPERATOR}:root"}))
    trusting = json.loads(document.read_text())
    trusting["Statement"][0]["Condition"] = {"StringEquals": {"sts:ExternalId": "blue"}}
    document.write_text(json.dumps(trusting))
    ran = root("role", "trust", role, str(document))
    assert (ran.status, ran.out) == (2, "")
    assert '+          "sts:ExternalId": "blue"' in ran.err
    assert other("assume", role).status == 0
    ran = root("role", "trust", role, str(document), "--yes")
    assert (ran.status, ran.out) == (0, f"Set the trust policy of role {role}.\n")
    assert root("role", "show", role, "--output", "json").json()["trust_policy"] == trusting
    assert other("assume", role).status == 4
    assert other("assume", role, "--external-id", "blue").status == 0
    assert root("role", "trust", role, "-", stdin="{").status == 2
    assert root("role", "trust", role, "-", "--yes", stdin="{}").status == 7
    assert root("role", "trust", f"none-{role}", str(document)).status == 1


def test_role_is_chosen_from_a_list_on_a_terminal(daypass: Command, role: str) -> None:
    with Terminal(
        [*DAYPASS, "exec", "--session-name", "picked"], {**daypass.environment, "SHELL": "/bin/sh", "TERM": "xterm"}
    ) as terminal:
        terminal.wait_for("Role (number, or text to filter)")
        terminal.type("no-such-role\n")
        terminal.wait_for("Nothing matches")
        terminal.type(f"{role}\n")
        terminal.wait_for(f"this shell has role arn:aws:iam::{OPERATOR}:role/{role} until")
        terminal.wait_for(f"(daypass:{role}) ")
        terminal.type(f"{' '.join(DAYPASS)} whoami\n")
        terminal.wait_for(f":assumed-role/{role}/picked")
        terminal.type("exit 3\n")
        assert terminal.status() == 3
    with Terminal([*DAYPASS, "assume"], {**daypass.environment, "TERM": "xterm"}) as terminal:
        terminal.wait_for("Role (number, or text to filter)")
        assert terminal.interrupt() == 130
    assert "AWS_SECRET_ACCESS_KEY" not in terminal.shown


def test_revoked_role_is_named_by_its_name_and_its_id(daypass: Command, role: str) -> None:
    assert daypass("assume", role).status == 0
    assert re.match(
        rf"Revoked role {role} \(AROA[A-Z0-9]{{17}}\); revocation \w{{32}}\. 1 active",
        daypass("revoke", "role", role).out,
    )


def test_denial_that_the_aws_cli_prints_is_explained_by_its_reference(
    daypass: Command, role: str, tmp_path: Path
) -> None:
    code = "import boto3\ntry: boto3.client('iam').create_user(UserName='mallory')\nexcept Exception as e: print(e)"
    denied = daypass("exec", role, "--", sys.executable, "-c", code)
    shown = denied.out.strip()
    reference = re.search(r"the iam:CreateUser action \(request ([0-9a-f-]{36})\)$", shown)
    assert reference is not None, shown
    for argument in (reference[1], shown):
        ran = daypass("explain", argument)
        assert ran.out.startswith("Denied: no identity-based policy allows it.\n"), ran.err


def test_user_who_is_blocked_is_shown_as_blocked(root: Command) -> None:
    name = f"bea-{secrets.token_hex(3)}"
    root("user", "create", name, "--key")
    root("offboard", name)
    assert "blocked" in root("user", "show", name).out
    assert root("user", "show", name, "--output", "json").json()["State"] == "blocked"
    line = next(line for line in root("user", "ls").out.splitlines() if line.startswith(name))
    assert line.split()[1] == "blocked"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("user", "show", "nobody-here"), "NoSuchEntity"), (("key", "create", "--user", "../x"), "ValidationError")],
)
def test_error_names_the_page_that_says_what_to_do(root: Command, arguments: tuple[str, ...], code: str) -> None:
    ran = root(*arguments)
    assert ran.err.splitlines()[-1] == f"daypass: see: {root.server.url}/help/errors/{code}"
    with urllib.request.urlopen(ran.err.split()[-1], timeout=30) as page:
        assert "What to do" in page.read().decode()
