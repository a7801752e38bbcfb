"""`daypass trust new`: what it writes, and what --apply may change."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from tests.unit.client.servers import Script, actions, error, parameters, result, xml

from daypass.cli import output

IDENTITY = result("GetCallerIdentity", "<Arn>arn:aws:iam::111122223333:user/a</Arn><Account>111122223333</Account>")
NEW = ("trust", "new", "github", "--repo", "acme/shop", "--branch", "main", "--role", "deployer")
OTHER = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:user/anna"}, "Action": "sts:AssumeRole"}
UPDATED = xml("<UpdateAssumeRolePolicyResponse/>")

pytestmark = pytest.mark.usefixtures("key")


def stored(*statements: Any) -> Any:
    document = quote(json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))
    return result("GetRole", f"<Role><AssumeRolePolicyDocument>{document}</AssumeRolePolicyDocument></Role>")


def written(server: Script) -> list[Any]:
    assert actions(server.sent)[-2:] == ["UpdateAssumeRolePolicy", "GetOpenIDConnectProvider"]
    statements: list[Any] = json.loads(parameters(server.sent[-2])["PolicyDocument"])["Statement"]
    return statements


def test_trust_new_repository_alone_is_refused_and_says_what_to_add(cli: Any, serve: Any) -> None:
    server = serve(IDENTITY)
    ran = cli("trust", "new", "github", "--repo", "acme/shop", "--role", "r", "--apply")
    assert (ran.status, ran.out) == (2, "")
    assert "Add --environment, --branch or --tag." in ran.err
    assert "--pull-requests" in ran.err
    assert actions(server.sent) == ["GetCallerIdentity"]


def test_trust_new_pull_requests_are_admitted_when_named_with_a_warning(cli: Any, serve: Any) -> None:
    serve(IDENTITY)
    ran = cli("trust", "new", "github", "--repo", "acme/shop", "--pull-requests", "--role", "r")
    assert "repo:acme/shop:pull_request" in ran.out
    assert "warning    this admits jobs of every pull request" in ran.err


def test_trust_new_apply_keeps_the_other_statements(cli: Any, serve: Any) -> None:
    server = serve(IDENTITY, stored(OTHER), UPDATED)
    ran = cli(*NEW, "--apply", "--yes")
    assert ran.status == 0, ran.err
    kept, made = written(server)
    assert kept == OTHER
    assert "refs/heads/main" in json.dumps(made)
    assert "refs/heads/main" in "".join(line for line in ran.err.splitlines() if line.startswith("+"))
    assert not [line for line in ran.err.splitlines() if line.startswith("-") and "anna" in line]


def test_trust_new_apply_twice_changes_nothing(cli: Any, serve: Any) -> None:
    server = serve(IDENTITY, stored(OTHER), UPDATED)
    cli(*NEW, "--apply", "--yes")
    again = serve(IDENTITY, stored(*written(server)))
    ran = cli(*NEW, "--apply")
    assert ran.status == 0
    assert "nothing was changed" in ran.err
    assert actions(again.sent) == ["GetCallerIdentity", "GetRole", "GetOpenIDConnectProvider"]


def test_trust_new_apply_replace_shows_what_goes(cli: Any, serve: Any) -> None:
    server = serve(IDENTITY, stored(OTHER), UPDATED)
    ran = cli(*NEW, "--apply", "--replace", "--yes")
    assert OTHER not in written(server)
    assert [line for line in ran.err.splitlines() if line.startswith("-") and "user/anna" in line]


def test_trust_new_apply_without_a_terminal_needs_yes(cli: Any, serve: Any) -> None:
    server = serve(IDENTITY, stored(OTHER), UPDATED)
    ran = cli(*NEW, "--apply")
    assert ran.status == 2
    assert "--yes" in ran.err
    assert "UpdateAssumeRolePolicy" not in actions(server.sent)


@pytest.mark.parametrize(("answer", "changed"), [("y\n", True), ("n\n", False), ("", False)])
def test_trust_new_apply_asks_on_a_terminal(
    cli: Any, serve: Any, monkeypatch: pytest.MonkeyPatch, answer: str, changed: bool
) -> None:
    monkeypatch.setattr(output, "interactive", lambda: True)
    monkeypatch.setattr("sys.stdin", __import__("io").StringIO(answer))
    server = serve(IDENTITY, stored(OTHER), UPDATED)
    ran = cli(*NEW, "--apply")
    assert (ran.status == 0) is changed
    assert ("UpdateAssumeRolePolicy" in actions(server.sent)) is changed


def test_trust_new_apply_role_absent_is_created(cli: Any, serve: Any) -> None:
    server = serve(IDENTITY, error("NoSuchEntity", "no", 404), result("CreateRole", "<Role/>"))
    ran = cli(*NEW, "--apply")
    assert ran.status == 0, ran.err
    assert actions(server.sent)[-2:] == ["CreateRole", "GetOpenIDConnectProvider"]
    assert "Created role deployer" in ran.err


def test_trust_new_apply_policy_unreadable_changes_nothing(cli: Any, serve: Any) -> None:
    body = "<Role><AssumeRolePolicyDocument>%5B%5D</AssumeRolePolicyDocument></Role>"
    server = serve(IDENTITY, result("GetRole", body))
    assert cli(*NEW, "--apply", "--yes").status == 5
    assert actions(server.sent)[-1] == "GetRole"


def test_trust_new_apply_without_the_provider_says_how_to_add_it(cli: Any, serve: Any) -> None:
    created = result("CreateRole", "<Role/>")
    serve(IDENTITY, error("NoSuchEntity", "no role", 404), created, error("NoSuchEntity", "no provider", 404))
    ran = cli(*NEW, "--apply", "--yes")
    assert ran.status == 0, ran.err
    assert "No token is accepted yet. Next: daypass provider add github --client-id sts.amazonaws.com" in ran.err
    serve(IDENTITY, error("NoSuchEntity", "no role", 404), created, result("GetOpenIDConnectProvider", ""))
    assert "provider add" not in cli(*NEW, "--apply", "--yes").err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--repo", "acme", "--branch", "main"), "--repo is OWNER/NAME: acme alone matches no token."),
        (("--repo", "acme/", "--branch", "main"), "--repo is OWNER/NAME"),
        (
            ("--repo", "acme/shop", "--branch", "main", "--environment", "prod"),
            "No token of GitHub Actions has all of --repo, --branch, --environment in its subject.",
        ),
    ],
)
def test_trust_new_subject_that_no_token_has_is_refused_and_says_why(
    cli: Any, serve: Any, given: tuple[str, ...], said: str
) -> None:
    serve(IDENTITY)
    ran = cli("trust", "new", "github", *given, "--role", "r")
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err
