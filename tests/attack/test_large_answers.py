"""Attacks by the largest answers: a page ends early, so that no answer occupies the event loop for long (A235)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.attack.installation import ALPHA, ROOT, Installation
from tests.sign_in import site_with_pages

from daypass.operations import management
from daypass.operations.access import lint
from daypass.operations.record import explore

LIMIT = 4_096
JSON = {"content-type": "application/json"}
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": f"arn:aws:iam::{ALPHA}:root"}}
        ],
    }
)
WIDE = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})
ROLES = 12
OF_A_PAGE = management.MAX_BYTES


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with site_with_pages(tmp_path_factory.mktemp("large")) as made:
        for number in range(ROLES):
            made.role(f"r{number:02}", TRUST, policy=WIDE)
            made.iam("UpdateRole", RoleName=f"r{number:02}", Description="d" * 1000)
            made.iam("CreateInstanceProfile", InstanceProfileName=f"p{number:02}")
            made.iam("AddRoleToInstanceProfile", InstanceProfileName=f"p{number:02}", RoleName=f"r{number:02}")
        yield made


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (management, explore):
        monkeypatch.setattr(module, "MAX_BYTES", LIMIT)


@pytest.mark.parametrize(
    ("action", "element", "prefix"),
    [
        ("ListRoles", "RoleName", "r"),
        ("ListInstanceProfiles", "InstanceProfileName", "p"),
        ("GetAccountAuthorizationDetails", "RoleName", "r"),
    ],
)
def test_a235_list_of_large_roles_ends_early_and_its_pages_show_each_once(
    site: Installation, action: str, element: str, prefix: str
) -> None:
    found: list[str] = []
    marker, answers = "", 0
    while marker or not answers:
        more = {"Filter.member.1": "Role"} if action == "GetAccountAuthorizationDetails" else {}
        answer = site.iam(action, MaxItems="1000", **more, **({"Marker": marker} if marker else {}))
        assert len(answer.body) < 4 * LIMIT
        texts = {each.text or "" for each in answer.xml.iter() if each.tag.rpartition("}")[2] == element}
        assert not texts.intersection(found)
        found += sorted(text for text in texts if text.startswith(prefix))
        marker, answers = answer.text("Marker"), answers + 1
    assert answers > 1
    assert found == [f"{prefix}{number:02}" for number in range(ROLES)]


def asked(site: Installation, path: str, **query: str) -> Any:
    text = urlencode(sorted(query.items()))
    headers = site.signed(ROOT, b"", "daypass", method="GET", path=path, query=text)
    answer = site.send("GET", headers, path=path.encode(), query=text.encode())
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


@pytest.mark.parametrize("path", ["/api/v1/audit/records", "/api/v1/audit/events"])
def test_a235_search_of_large_events_ends_early_and_its_pages_show_each_once(site: Installation, path: str) -> None:
    found: list[str] = []
    after, answers = "", 0
    while after or not answers:
        page = asked(site, path, type="directory.changed", limit="1000", **({"after": after} if after else {}))
        assert len(json.dumps(page)) < 4 * LIMIT
        found += [f"{each['log']} {each['seq']}" for each in page["records"]]
        after, answers = page["next"], answers + 1
    assert answers > 1
    assert len(found) == len(set(found)) >= 5 * ROLES


def test_a235_export_of_large_events_ends_early_and_has_no_gap(site: Installation) -> None:
    log = asked(site, "/api/v1/audit/logs")["logs"][-1]
    found: list[int] = []
    answers = 0
    while not found or found[-1] < log["seq"]:
        last = str(found[-1] if found else -1)
        page = asked(site, f"/api/v1/audit/logs/{log['log']}/records", after=last, limit="1000")["records"]
        assert sum(len(base64.b64decode(each.get("bytes") or "")) for each in page) <= LIMIT
        found += [each["seq"] for each in page]
        answers += 1
    assert answers > 1
    assert found[: log["seq"]] == list(range(log["seq"]))


def test_a235_tail_of_large_events_ends_early_and_goes_on_at_its_cursor(site: Installation) -> None:
    log = asked(site, "/api/v1/audit/logs")["logs"][-1]
    cursor, found, answers = {log["log"]: 0}, list[int](), 0

    def followed(body: bytes) -> Any:
        headers = site.signed(ROOT, body, "daypass", path="/api/v1/audit/tail", extra=JSON)
        page = json.loads(site.send("POST", headers, body, path=b"/api/v1/audit/tail").body)
        assert sum(len(json.dumps(each["event"])) for each in page["records"]) < 2 * LIMIT
        return page

    assert followed(b'{"limit": 1000}')["records"]  # the newest
    while cursor[log["log"]] < log["seq"]:
        page = followed(json.dumps({"cursor": cursor, "limit": 1000}).encode())
        found += [each["seq"] for each in page["records"]]
        cursor, answers = page["cursor"], answers + 1
    assert answers > 1
    assert len(found) == len(set(found)) >= 5 * ROLES


def test_a235_event_larger_than_a_page_is_a_page(site: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (management, explore):
        monkeypatch.setattr(module, "MAX_BYTES", 10)
    assert len(asked(site, "/api/v1/audit/records", limit="1000")["records"]) == 1
    assert len(asked(site, "/api/v1/audit/events", limit="1000")["records"]) == 1
    assert site.iam("ListRoles", MaxItems="1000").text("IsTruncated") == "true"


def test_a308_page_has_no_more_than_the_event_loop_writes_in_some_milliseconds() -> None:
    assert OF_A_PAGE <= 2**19


def test_a235_lint_with_many_findings_ends_early_and_its_pages_show_each_once(
    site: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = asked(site, "/api/v1/lint", limit="1000")["policies"]
    monkeypatch.setattr(lint, "_MAX_FINDINGS", 5)
    found: list[Any] = []
    after, answers = "", 0
    while after or not answers:
        page = asked(site, "/api/v1/lint", limit="1000", **({"after": after} if after else {}))
        assert sum(len(each["findings"]) for each in page["policies"]) < 20
        found += page["policies"]
        after, answers = page["next"], answers + 1
    assert answers > 6
    assert [(each["arn"], each["policy"]) for each in found if "role/" in each["arn"]] == [
        (each["arn"], each["policy"]) for each in whole if "role/" in each["arn"]
    ]
