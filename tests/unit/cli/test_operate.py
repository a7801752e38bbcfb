from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from tests.unit.client.servers import as_json

from daypass.cli.operate import moment_of

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


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("subject", ["access-key", "access_key"])
def test_revoke_subject_is_taken_in_both_spellings(cli, serve, subject: str) -> None:
    server = serve(as_json({"id": "r", "value": "AKIA", "block": False}))
    assert cli("revoke", subject, "AKIA").out == "Revoked access-key AKIA; revocation r.\n"
    assert json.loads(server.sent[0].body)["subject"] == "access_key"


@pytest.mark.usefixtures("key")
def test_revoke_sends_what_was_asked_for(cli, serve) -> None:
    server = serve(as_json({"id": "r", "value": "AROA", "block": True}))
    ran = cli("revoke", "source-identity", "x", "--block-until", "2027-01-15T08:00:00Z", "--reason", "leak")
    assert ran.status == 0, ran.err
    assert json.loads(server.sent[0].body) == {
        "subject": "source_identity", "value": "x", "account": "", "block": False, "reason": "leak",
        "block_until": 1_800_000_000_000,
    }  # fmt: skip
    assert ran.out == "Revoked source-identity AROA; revocation r. New ones are blocked.\n"


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
        serve(as_json({}))
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
