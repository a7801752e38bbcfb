from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.servers import as_json

pytestmark = pytest.mark.usefixtures("key")

ALICE = "arn:aws:iam::111111111111:user/alice"


def result(decision: str = "allowed", **more: object) -> dict[str, object]:
    explanation = {
        "allowed": decision == "allowed",
        "blocked_by": None if decision == "allowed" else "identity",
        "explicit": False,
        "principal": ALICE,
        "action": "x:y",
        "resource": "*",
        "determining": [{"policy": "p\x1b[2J", "line": 3}] if decision == "allowed" else [],
        "consulted": [],
        "layers": [],
        "would_have_to_be_true": [] if decision == "allowed" else ["a policy would have to allow x:y"],
    }
    return {"action": "x:y", "resource": "*", "decision": decision, "open_with": "", "explanation": explanation, **more}


def entry(outcome: str = "allowed", **more: object) -> dict[str, object]:
    fields = {
        "principal": ALICE,
        "kind": "user",
        "action": "x:y",
        "outcome": outcome,
        "conditions": [],
        "open_with": "",
    }
    return {**fields, **more}


def proviso(effect: str) -> dict[str, object]:
    condition = {"operator": "Bool", "key": "aws:multifactorauthpresent", "values": ["true"]}
    return {"effect": effect, "policy": "p", "sid": "", "line": 1, "layer": "identity", "conditions": [condition]}


def test_simulate_sends_everything_that_was_given(cli, serve, tmp_path: Path) -> None:
    server = serve(as_json({"results": [result()]}))
    for name in ("a", "b", "c", "d"):
        (tmp_path / name).write_text(name)
    ran = cli(
        "simulate", ALICE, "--action", "x:y", "--action", "x:z", "--resource", "arn:aws:x:::1", "--context", "k:a=1",
        "--context", "k:b=1", "--context", "k:b=2=3", "--policy", str(tmp_path / "a"), "--boundary", str(tmp_path / "b"),
        "--session-policy", str(tmp_path / "c"), "--resource-policy", str(tmp_path / "d"), "--resource-account",
        "222222222222", "--session-name", "s1", "--external-id", "e", "--source-identity", "i", "--tag", "team=red",
    )  # fmt: skip
    assert ran.status == 0, ran.err
    assert json.loads(server.sent[0].body) == {
        "principal": ALICE, "actions": ["x:y", "x:z"], "resources": ["arn:aws:x:::1"],
        "context": {"k:a": "1", "k:b": ["1", "2=3"]}, "policies": ["a"], "boundary": "b", "session_policies": ["c"],
        "resource_policy": "d", "resource_account": "222222222222", "session_name": "s1",
        "assumption": {"external_id": "e", "source_identity": "i", "tags": {"team": "red"}, "session_name": "s1"},
    }  # fmt: skip


def test_simulate_one_denial_is_explained_and_exits_with_1(cli, serve) -> None:
    serve(as_json({"results": [result("implicit_deny", open_with="222222222222")]}))
    ran = cli("simulate", ALICE, "--action", "x:y")
    assert ran.status == 1
    assert ran.out.startswith("Denied: no identity-based policy allows it.")
    assert "a policy would have to allow x:y" in ran.out
    assert "Account 222222222222 must allow it too" in ran.out


def test_simulate_several_are_a_table_that_cannot_act_on_a_terminal(cli, serve) -> None:
    serve(as_json({"results": [result(), result("explicit_deny"), result(explanation=None)]}))
    ran = cli("simulate", ALICE, "--action", "x:y", "--action", "x:z")
    assert ran.status == 1
    assert "\x1b" not in ran.out
    first, second = ran.out.splitlines()[1:3]
    assert first.split()[2] == "allowed"
    assert first.endswith("line 3")
    assert "DENIED" in second


def test_simulate_json_is_the_results(cli, serve) -> None:
    serve(as_json({"results": [result()]}))
    assert json.loads(cli("simulate", "--action", "x:y", "--output", "json").out) == [result()]


@pytest.mark.parametrize(
    "arguments",
    [("simulate", "alice", "--action", "x:y"), ("simulate", "--action", "x:y", "--context", "k"), ("simulate", ALICE)],
)
def test_simulate_command_line_that_is_not_right_is_a_usage_error(cli, serve, arguments) -> None:
    server = serve()
    assert cli(*arguments).status == 2
    assert server.sent == []


@pytest.mark.parametrize(("outcome", "status"), [("allowed", 0), ("allowed_if", 0), ("denied", 1)])
def test_who_can_exits_with_1_when_nobody_can(cli, serve, outcome, status) -> None:
    server = serve(as_json({"access": [entry(outcome)], "next": ""}))
    ran = cli("access", "who-can", "x:y", "arn:aws:x:::1", "--denied")
    assert ran.status == status
    query = server.sent[0].target.partition("?")[2]
    assert query == "action=x%3Ay&resource=arn%3Aaws%3Ax%3A%3A%3A1&denied=true&limit=250"


def page_of(found, looked_at, following):
    return as_json({"access": found, "looked_at": looked_at, "next": following})


def test_who_can_looks_at_no_more_than_it_may_and_says_how_to_go_on(cli, serve) -> None:
    server = serve(page_of([], 250, "role:a"), page_of([], 250, "role:b"), page_of([], 100, "role:c"))
    ran = cli("access", "who-can", "x:y", "--look-at", "600")
    assert [request.target.rpartition("limit=")[2] for request in server.sent] == ["250", "250", "100"]
    assert ran.err.startswith("daypass: stopped after 600 principals; continue with --after role:c\n")
    assert ran.status == 1
    server = serve(page_of([entry("allowed")], 20, ""))
    ran = cli("access", "who-can", "x:y", "--after", "role:c")
    assert "after=role%3Ac" in server.sent[0].target
    assert (ran.status, ran.err) == (0, "")


def test_who_can_tells_how_much_it_has_looked_at(cli, serve, monkeypatch) -> None:
    told: list[Any] = []

    @contextmanager
    def working(text: str, amount: Any) -> Iterator[None]:
        yield
        told.append((text, amount()))

    monkeypatch.setattr("daypass.cli.output.working", working)
    serve(page_of([], 250, "role:a"), page_of([entry("allowed")], 250, "role:b"), page_of([], 7, ""))
    assert cli("access", "who-can", "x:y").err == ""
    assert told == [("searching", "507 looked at, 1 found")]


def test_who_can_stops_when_enough_are_found(cli, serve) -> None:
    serve(page_of([entry("allowed")] * 3, 250, "role:a"))
    ran = cli("access", "who-can", "x:y", "--limit", "2")
    assert len(ran.out.splitlines()) == 3
    assert "raise --limit" in ran.err


def test_who_can_tells_on_what_it_depends(cli, serve) -> None:
    both = [proviso("Allow"), proviso("Deny")]
    provider = entry("allowed_if", kind="provider", action="sts:AssumeRoleWithWebIdentity", open_with="222222222222")
    serve(as_json({"access": [entry("allowed_if", conditions=both), provider], "next": ""}))
    lines = cli("access", "who-can", "x:y").out.splitlines()
    condition = "Bool aws:multifactorauthpresent [true]"
    assert lines[1].split("  ")[-1] == f"{condition}; unless {condition}"
    assert lines[2].endswith("sts:AssumeRoleWithWebIdentity; 222222222222 allows it too")


def test_what_can_shows_grants_and_the_roles_of_all_pages(cli, serve) -> None:
    grant = {
        "action": "iam:*", "not_action": True, "resources": ["a", "b"], "not_resource": True, "policy": "user/alice/p",
        "sid": "", "line": 4, "extent": "partly", "conditions": [proviso("Allow")], "limits": ["boundary b"],
    }  # fmt: skip
    first = {"principal": ALICE, "grants": [grant], "more_grants": True, "roles": [entry(principal="r1")], "next": "r1"}
    second = {**first, "grants": [], "roles": [entry(principal="r2")], "next": ""}
    serve(as_json(first), as_json(second))
    ran = cli("access", "what-can", ALICE)
    assert ran.status == 0
    lines = ran.out.splitlines()
    assert lines[1].split("  ")[0] == "all but iam:*"
    assert "all but a, b" in lines[1]
    assert lines[1].endswith("Bool aws:multifactorauthpresent [true]; boundary b")
    assert "There are more grants" in ran.out
    assert [line.split()[0] for line in lines[-2:]] == ["r1", "r2"]
    serve(as_json(first), as_json(second))
    assert len(json.loads(cli("access", "what-can", ALICE, "--output", "json").out)["roles"]) == 2


def test_what_can_nothing_exits_with_1(cli, serve) -> None:
    serve(as_json({"principal": ALICE, "grants": [], "more_grants": False, "roles": [], "next": ""}))
    assert cli("access", "what-can", ALICE).status == 1


def explanation(held: bool) -> dict[str, Any]:
    condition = {"operator": "Bool", "key": "daypass:Approved", "wanted": ["true"], "found": "false", "held": held}
    statement = {
        "policy": "trust", "statement": 0, "sid": "", "effect": "Allow", "line": 1, "column": 1, "matched": held,
        "failed_at": "condition", "would_have_to_be_true": "x", "conditions": [condition],
    }  # fmt: skip
    layer = {
        "layer": "resource",
        "level": 0,
        "verdict": "implicit_deny",
        "policies": ["trust"],
        "statements": [statement],
        "omitted": 0,
    }
    return {"allowed": False, "blocked_by": "resource", "explicit": False, "principal": "p", "action": "sts:AssumeRole",
            "resource": "arn:aws:iam::1:role/prod", "determining": [], "layers": [layer], "would_have_to_be_true": []}  # fmt: skip


def test_explain_offers_the_access_request_that_would_help(cli, serve) -> None:
    for held in (False, True):
        serve(as_json({"explanation": explanation(held)}))
        ran = cli("explain", "01a2318e-7f4b-7c70-aa52-0321c18a6179")
        assert ("daypass request create arn:aws:iam::1:role/prod --reason TEXT" in ran.out) is not held


@pytest.mark.parametrize(
    ("name", "changes", "command"),
    [
        ("aws:MultiFactorAuthPresent", {}, "daypass exec arn:aws:iam::1:role/prod --mfa-serial ARN"),
        ("sts:ExternalId", {}, "daypass exec arn:aws:iam::1:role/prod --external-id ID"),
        ("aws:SourceIp", {}, "daypass request suggest sts:AssumeRole arn:aws:iam::1:role/prod"),
        ("sts:ExternalId", {"action": "s3:Get;x"}, "daypass request suggest 's3:Get;x' arn:aws:iam::1:role/prod"),
        ("sts:ExternalId", {"role": "no role has this ARN"}, "daypass roles"),
        ("sts:ExternalId", {"blocked_by": "block", "explicit": True}, "daypass revocations ls"),
        ("sts:ExternalId", {"explicit": True}, None),
        ("sts:ExternalId", {"allowed": True}, None),
    ],
)
def test_explain_ends_with_the_command_that_would_help(
    cli, serve, name: str, changes: dict[str, Any], command: str | None
) -> None:
    found = {**explanation(held=False), **changes}
    found["layers"][0]["statements"][0]["conditions"][0]["key"] = name
    serve(as_json({"explanation": found}))
    shown = cli("explain", "01a2318e-7f4b-7c70-aa52-0321c18a6179").out
    last = shown.rstrip().replace("\n", " ").partition("daypass ")[1:]
    assert "".join(last) == (command or "")
