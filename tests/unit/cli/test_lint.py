"""The linter on the command line: what it reads, prints and exits with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.client.servers import as_json

OPEN = '{"Version":"2012-10-17",\n"Statement":{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}}'
TIGHT = (
    '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"orders:Read","Resource":"arn:aws:orders:::o/1"}}'
)
NOTE = OPEN.replace('"*"', '"111122223333"')
FINDING = {
    "id": "trust-public", "severity": "error", "title": "Anyone may assume the role", "line": 1, "column": 2,
    "end_line": 1, "end_column": 9, "statement": 0, "sid": "", "why": "Because.", "fix": "Mend it.",
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "trust.json"


def test_lint_file_tells_trust_policies_by_their_elements_and_fails(cli, file: Path) -> None:
    file.write_text(OPEN)
    ran = cli("lint", str(file))
    assert ran.status == 1
    assert ran.out.startswith(f"{file}:2:13: error: Anyone may assume the role\n")
    assert ran.out.endswith("1 error\n")


def test_lint_file_without_findings_is_fine(cli, file: Path) -> None:
    file.write_text(TIGHT)
    assert (cli("lint", str(file)).status, cli("lint", str(file)).out) == (0, "No findings.\n")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, ""),
        ({"ticket": {"webhook": "ftp://x"}}, "ticket.webhook is not a URL"),
        ({"on_call": {"calendar": "../x.ics"}}, "on_call.calendar is not a URL"),
        ({"on_call": {"calendar": "x.ics", "kind": "pagerduty"}}, "on_call.calendar is not a URL"),
        ({"on_call": {"calendar": "x.ics"}}, ""),
        ({"max_second": 60}, "max_second"),
    ],
)
def test_lint_of_an_approval_rule_says_why_it_would_be_refused(
    cli, file: Path, change: dict[str, object], says: str
) -> None:
    stages = [{"approvers": {"principals": ["group/leads"]}}]
    rule = {"roles": ["role/prod"], "requesters": {"principals": ["group/on-call"]}, "stages": stages}
    file.write_text(json.dumps({**rule, **change}))
    ran = cli("lint", str(file))
    assert (ran.status, says in ran.out) == (1 if says else 0, True)


@pytest.mark.parametrize(("bar", "status"), [("error", 0), ("warning", 0), ("note", 1), ("never", 0)])
def test_lint_fails_only_on_what_is_grave_enough(cli, file: Path, bar: str, status: int) -> None:
    file.write_text(NOTE)
    assert cli("lint", str(file), "--fail-on", bar).status == status


def test_lint_account_tells_third_parties_apart(cli, file: Path) -> None:
    file.write_text(NOTE)
    ids = {f["id"] for f in json.loads(cli("lint", str(file), "--account", "999988887777", "--output", "json").out)}
    assert ids == {"trust-whole-account", "trust-no-external-id"}


@pytest.mark.parametrize("text", ["", "[", '{"Statement": 7}', '{"Statement": [7]}', "[" * 100_000])
def test_lint_of_what_is_no_policy_says_so(cli, file: Path, text: str) -> None:
    file.write_text(text)
    ran = cli("lint", str(file), "--output", "json")
    assert (ran.status, [f["id"] for f in json.loads(ran.out)]) == (1, ["malformed"])


def test_lint_sarif_names_rule_place_and_level(cli, file: Path) -> None:
    file.write_text(OPEN)
    log = json.loads(cli("lint", str(file), "--output", "sarif").out)
    [run] = log["runs"]
    [result] = run["results"]
    assert (log["version"], result["level"]) == ("2.1.0", "error")
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "trust-public"
    assert result["locations"][0]["physicalLocation"]["region"]["startLine"] == 2
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["fullDescription"] == {
        "text": "Anyone may assume the role."
    }


@pytest.mark.usefixtures("key")
def test_lint_stored_goes_through_all_pages(cli, serve) -> None:
    linted = {"arn": "arn:aws:iam::111122223333:role/r", "policy": "trust", "kind": "trust", "findings": [FINDING]}
    server = serve(as_json({"policies": [linted], "next": "user:"}), as_json({"policies": [], "next": ""}))
    ran = cli("lint", "--stored", "--account", "111122223333")
    assert (ran.status, ran.out.splitlines()[0]) == (
        1, "arn:aws:iam::111122223333:role/r trust:1:2: error: Anyone may assume the role",
    )  # fmt: skip
    assert ["after=user" in str(request.target) for request in server.sent] == [False, True]


def test_lint_of_nothing_or_of_both_is_a_usage_error(cli, file: Path) -> None:
    file.write_text(OPEN)
    assert cli("lint").status == 2
    assert cli("lint", "--stored", str(file)).status == 2
