"""Commands that replace a whole document show what would change, and change nothing that was not confirmed."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.unit.cli.conftest import Run
from tests.unit.client.servers import Script, Step, as_json, error, result, xml

from daypass.cli import output

pytestmark = pytest.mark.usefixtures("key")

OLD: dict[str, Any] = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "old:*", "Resource": "*"}]}
NEW: dict[str, Any] = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "new:*", "Resource": "*"}]}
ARN = "arn:aws:iam::111122223333:policy/p"


def in_xml(path: str, document: Any) -> str:
    """The document as IAM sends it, in the elements of `path`."""
    inner = quote(json.dumps(document))
    for name in reversed(path.split("/")):
        inner = f"<{name}>{inner}</{name}>"
    return inner


def trust_of(document: Any) -> list[Step]:
    return [result("GetRole", in_xml("Role/AssumeRolePolicyDocument", document))]


def inline_of(document: Any) -> list[Step]:
    return [result("GetUserPolicy", in_xml("PolicyDocument", document))]


def managed_of(document: Any) -> list[Step]:
    return [
        result("GetPolicy", "<Policy><DefaultVersionId>v1</DefaultVersionId></Policy>"),
        result("GetPolicyVersion", in_xml("PolicyVersion/Document", document)),
    ]


def rule_of(document: Any) -> list[Step]:
    return [as_json({"approval_rules": [{"name": "file", "document": json.dumps(document)}]})]


def guardrail_of(document: Any) -> list[Step]:
    return [as_json({"document": json.dumps(document)})]


VERSIONS = result("ListPolicyVersions", "<Versions/>")
MADE = result("CreatePolicyVersion", "<PolicyVersion><VersionId>v2</VersionId></PolicyVersion>")
REPLACING = [
    pytest.param(("role", "trust", "r"), trust_of, [xml("<UpdateAssumeRolePolicyResponse/>")], id="role trust"),
    pytest.param(("user", "put", "u", "p"), inline_of, [xml("<PutUserPolicyResponse/>")], id="user put"),
    pytest.param(("policy", "update", ARN), managed_of, [VERSIONS, MADE], id="policy update"),
    pytest.param(("guardrail", "put", "111122223333", "g"), guardrail_of, [as_json({})], id="guardrail put"),
    pytest.param(("rule", "apply"), rule_of, [as_json({})], id="rule apply"),
]
replacing = pytest.mark.parametrize(("command", "stored", "changes"), REPLACING)
Stored = Callable[[Any], list[Step]]
Serve = Callable[..., Script]


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "file.json"
    path.write_text(json.dumps(NEW))
    return str(path)


@replacing
def test_replace_without_a_terminal_shows_the_change_and_refuses(
    cli: Run, serve: Serve, file: str, command: tuple[str, ...], stored: Stored, changes: list[Step]
) -> None:
    read = stored(OLD)
    server = serve(*read, *changes)
    ran = cli(*command, file)
    assert (ran.status, ran.out, len(server.sent)) == (2, "", len(read))
    assert "Give --yes" in ran.err
    assert [line for line in ran.err.splitlines() if line[:1] == "-" and "old:*" in line]
    assert [line for line in ran.err.splitlines() if line[:1] == "+" and "new:*" in line]


@replacing
def test_replace_with_yes_shows_the_change_and_makes_it(
    cli: Run, serve: Serve, file: str, command: tuple[str, ...], stored: Stored, changes: list[Step]
) -> None:
    read = stored(OLD)
    server = serve(*read, *changes)
    ran = cli(*command, file, "--yes")
    assert (ran.status, len(server.sent)) == (0, len(read) + len(changes)), ran.err
    assert [line for line in ran.err.splitlines() if line[:1] == "+" and "new:*" in line]


@replacing
@pytest.mark.parametrize(("answer", "made"), [("y\n", True), ("n\n", False), ("\n", False), ("", False)])
def test_replace_on_a_terminal_does_what_was_answered(  # noqa: PLR0917  # fixtures and parameters
    cli: Run,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    command: tuple[str, ...],
    stored: Stored,
    changes: list[Step],
    answer: str,
    made: bool,
) -> None:
    monkeypatch.setattr(output, "interactive", lambda: True)
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    read = stored(OLD)
    server = serve(*read, *changes)
    ran = cli(*command, file)
    assert (ran.status == 0) is made
    assert len(server.sent) == len(read) + (len(changes) if made else 0)


@replacing
def test_replace_by_the_same_content_changes_nothing_and_asks_nothing(
    cli: Run, serve: Serve, file: str, command: tuple[str, ...], stored: Stored, changes: list[Step]
) -> None:
    read = stored(dict(reversed(NEW.items())))
    server = serve(*read, *changes)
    ran = cli(*command, file)
    assert (ran.status, ran.err, len(server.sent)) == (0, "", len(read))
    assert "nothing was changed" in ran.out or "unchanged" in ran.out


@pytest.mark.parametrize(
    ("command", "absent", "made"),
    [
        (("user", "put", "u", "p"), error("NoSuchEntity", "no", 404), xml("<PutUserPolicyResponse/>")),
        (("guardrail", "put", "111122223333", "g"), error("NotFound", "no", 404), as_json({})),
        (("rule", "apply"), as_json({"approval_rules": []}), as_json({})),
    ],
)
def test_put_of_a_document_that_does_not_exist_asks_nothing(
    cli: Run, serve: Serve, file: str, command: tuple[str, ...], absent: Step, made: Step
) -> None:
    server = serve(absent, made)
    ran = cli(*command, file)
    assert (ran.status, len(server.sent)) == (0, 2), ran.err


@replacing
def test_replace_of_a_document_that_may_not_be_read_changes_nothing(
    cli: Run, serve: Serve, file: str, command: tuple[str, ...], stored: Stored, changes: list[Step]
) -> None:
    server = serve(error("AccessDenied", "no", 403), *changes)
    ran = cli(*command, file, "--yes")
    assert (ran.status, len(server.sent)) == (4, 1)


@pytest.mark.parametrize("answer", ["<Role/>", in_xml("Role/AssumeRolePolicyDocument", 1)])
def test_replace_where_the_answer_holds_no_document_changes_nothing(
    cli: Run, serve: Serve, file: str, answer: str
) -> None:
    server = serve(result("GetRole", answer))
    assert cli("role", "trust", "r", file, "--yes").status == 5
    assert len(server.sent) == 1


def test_rule_apply_prune_of_a_stored_rule_asks_first(cli: Run, serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"roles": ["role/a"]}')
    stored = as_json({"approval_rules": [{"name": "old", "document": '{"roles": ["role/b"]}'}]})
    server = serve(stored, as_json({}), as_json({}))
    ran = cli("rule", "apply", str(tmp_path), "--prune")
    assert (ran.status, len(server.sent)) == (2, 1)
    assert [line for line in ran.err.splitlines() if line[:1] == "-" and "role/b" in line]


def test_allow_list_that_exists_is_replaced_after_its_change_was_shown(cli: Run, serve: Serve) -> None:
    stored = as_json({"issuers": ["a.example.com", "b.example.com"]})
    server = serve(stored, as_json({"issuers": ["a.example.com"]}))
    ran = cli("provider", "allow", "set", "a.example.com")
    assert (ran.status, len(server.sent)) == (2, 1)
    assert '-  "b.example.com"' in ran.err
    server = serve(stored, as_json({"issuers": ["a.example.com"]}))
    assert cli("provider", "allow", "set", "a.example.com", "--yes").status == 0
    assert len(server.sent) == 2
