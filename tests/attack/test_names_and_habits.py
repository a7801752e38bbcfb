"""Attacks on what an approver reads and relies on: names of sessions, the risk score, devices, names of users and groups."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pyotp
import pytest
from tests.attack.installation import ALPHA, ROOT, Answer, Installation, Key, trust
from tests.browser import Browser, text
from tests.console import policy
from tests.directory_service import PATCH, DirectoryService, directory_of
from tests.oauth_client import api
from tests.passkeys import registered, sign_in_with
from tests.sign_in import signed_in, site_with_pages, user, with_device

from daypass.domain.access.message import email_of, message_of
from daypass.domain.claims import RequestFacts
from daypass.domain.directory import Notification
from daypass.operations.access_requests.prepare import prepare
from daypass.operations.sign_in import browser_session
from daypass.ports import Call

HOUR = 3_600_000
GATE = {"Condition": {"Bool": {"daypass:Approved": "true"}}}
PEOPLE = f"arn:aws:iam::{ALPHA}:root"
REASON = "Incident 42: orders are not written"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with site_with_pages(tmp_path_factory.mktemp("names")) as made:
        made.role("prod", trust(PEOPLE, **GATE), policy=policy("orders:*"))
        made.role("engineer", trust(PEOPLE), policy=policy("daypass:CreateAccessRequest"))
        rule = {
            "roles": ["role/prod"],
            "requesters": {"principals": ["role/engineer", "user/*"]},
            "stages": [{"approvers": {"principals": ["user/*"]}, "threshold": 2}],
            "break_glass": {"people": {"principals": ["role/engineer"]}},
        }
        assert api(made, "PUT", "/approval-rules/prod", {"document": json.dumps(rule)}).status == 200
        yield made


def administrator(site: Installation) -> Browser:
    """An administrator with a passkey, signed in with it."""
    name = user(site)
    site.iam("PutUserPolicy", UserName=name, PolicyName="all", PolicyDocument=policy("*", "daypass:*"))
    browser = Browser(site)
    assert sign_in_with(browser, registered(site, signed_in(site, name))).status == 303
    return browser


def requested(site: Installation, key: Key, **more: Any) -> dict[str, Any]:
    body = {"roles": [f"arn:aws:iam::{ALPHA}:role/prod"], "reason": REASON, **more}
    answer = api(site, "POST", "/access-requests", body, key)
    assert answer.status == 201, answer.body
    return dict(json.loads(answer.body))


def features(request: dict[str, Any]) -> dict[str, float]:
    return {each["feature"]: each["value"] for each in request["risk_reasons"]}


# --- A290: names of sessions -------------------------------------------------------------------------------------------


def test_a290_session_named_after_a_colleague_shows_approvers_whose_session_it_is(site: Installation) -> None:
    _, key = site.user("mallory", policy=policy("sts:AssumeRole", "daypass:CreateAccessRequest"))
    as_ceo = site.assume(key, f"arn:aws:iam::{ALPHA}:role/engineer", "ceo").key
    made = requested(site, as_ceo)
    mallory = f"arn:aws:iam::{ALPHA}:user/mallory"
    assert (made["requester"].rpartition("/")[2], made["principal"]) == ("ceo", mallory)
    browser = administrator(site)
    page = browser.get(f"/console/access-request?id={made['id']}")
    assert f"In a session of {mallory}" in text(page)
    assert "engineer/ceo session of mallory" in text(browser.get("/console/approvals"))
    confirmation = browser.submit(page, "/console/access-request/approve")
    assert f"In a session of {mallory}" in text(confirmation)


def test_a290_vote_in_a_session_named_after_a_colleague_shows_whose_session_it_is(site: Installation) -> None:
    _, requester = site.user("ann", policy=policy("daypass:CreateAccessRequest"))
    _, key = site.user("lee", policy=policy("daypass:*", "sts:AssumeRole"))
    site.role("lead", trust(PEOPLE), policy=policy("daypass:*"))
    made = requested(site, requester)
    as_boss = site.assume(key, f"arn:aws:iam::{ALPHA}:role/lead", "boss").key
    voted = api(site, "POST", f"/access-requests/{made['id']}/approve", {"binding": made["binding"]}, as_boss)
    [vote] = json.loads(voted.body)["votes"]
    assert (vote["approver"].rpartition("/")[2], vote["principal"]) == ("boss", f"arn:aws:iam::{ALPHA}:user/lee")
    page = administrator(site).get(f"/console/access-request?id={made['id']}")
    assert f"in a session of arn:aws:iam::{ALPHA}:user/lee" in text(page)
    assert made["principal"] == ""  # ann used her own key


def test_a290_alert_of_an_emergency_names_the_principal_behind_the_session(site: Installation) -> None:
    channel = {"kind": "webhook", "target": "https://hooks.example/a290", "events": ["access.emergency"]}
    assert api(site, "PUT", "/notification-channels/a290", channel).status == 200
    may = policy("daypass:CreateAccessRequest", "daypass:BreakGlass")
    site.role("oncall", trust(PEOPLE), policy=may)
    rule = {"roles": ["role/glass"], "requesters": {"principals": ["role/oncall"]},
            "stages": [{"approvers": {"principals": ["user/*"]}}],
            "break_glass": {"people": {"principals": ["role/oncall"]}, "mfa_seconds": None}}  # fmt: skip
    site.role("glass", trust(PEOPLE, **GATE), policy=policy("orders:*"))
    assert api(site, "PUT", "/approval-rules/glass", {"document": json.dumps(rule)}).status == 200
    _, key = site.user("eve", policy=policy("sts:AssumeRole"))
    as_ceo = site.assume(key, f"arn:aws:iam::{ALPHA}:role/oncall", "ceo").key
    glass = {"roles": [f"arn:aws:iam::{ALPHA}:role/glass"], "break_glass": True, "confirmation": "glass"}
    requested(site, as_ceo, **glass)
    found = site.run(site.runtime.env.directory.read(lambda tx: tx.find(Notification, account=ALPHA), account=ALPHA))
    [told] = [json.loads(each.document) for each in found if each.event == "access.emergency"]
    assert told["principal"] == f"arn:aws:iam::{ALPHA}:user/eve"
    _, message = email_of(message_of(told))
    assert f"session of: arn:aws:iam::{ALPHA}:user/eve" in message.splitlines()


# --- A291: the risk score ----------------------------------------------------------------------------------------------


def test_a291_refusals_in_a_session_count_as_those_with_the_key(site: Installation) -> None:
    _, key = site.user("prober", policy=policy("daypass:CreateAccessRequest"))
    session = site.call(key, "GetSessionToken").key
    for number in range(5):
        assert api(site, "PUT", f"/approval-rules/a291-{number}", {"document": "{}"}, session).status == 403
    assert features(requested(site, key))["recent_denials"] == 1
    assert features(requested(site, session))["recent_denials"] == 1


def test_a291_many_refused_pages_do_not_hide_other_refusals(site: Installation) -> None:
    _, key = site.user("flooder", policy=policy("daypass:CreateAccessRequest"))
    session = site.call(key, "GetSessionToken").key
    for number in range(5):
        assert api(site, "PUT", f"/approval-rules/a291-{number}", {"document": "{}"}, session).status == 403
    for _ in range(210):
        assert api(site, "GET", "/approval-rules", None, session).status == 403
    assert features(requested(site, key))["recent_denials"] == 1


def test_a291_sessions_of_other_roles_do_not_hide_the_habits_of_peers(site: Installation) -> None:
    arn = site.role("nightly", trust(PEOPLE), policy=policy("orders:*"))
    rule = {"roles": ["role/nightly"], "requesters": {"principals": ["user/*"]},
            "stages": [{"approvers": {"principals": ["user/*"]}}]}  # fmt: skip
    assert api(site, "PUT", "/approval-rules/nightly", {"document": json.dumps(rule)}).status == 200
    _, peer = site.user("peer", policy=policy("sts:AssumeRole"))
    for _ in range(5):
        assert site.assume(peer, arn).status == 200
    site.wall.time += 12 * HOUR
    _, key = site.user("stranger", policy=policy("daypass:CreateAccessRequest"))
    for _ in range(210):
        assert site.call(key, "GetSessionToken").status == 200
    assert "unusual_hour_for_peers" in features(requested(site, key, roles=[arn]))


def test_a291_network_of_a_person_in_a_browser_is_new_however_much_others_do(site: Installation) -> None:
    name = user(site)
    site.iam("PutUserPolicy", UserName=name, PolicyName="p", PolicyDocument=policy("daypass:CreateAccessRequest"))
    signed_in(site, name)  # from 127.0.0.1
    for _ in range(210):
        site.call(ROOT, "GetCallerIdentity")
    site.wall.time += 25 * HOUR
    browser = signed_in(site, name)
    found = site.run(browser_session.read(site.runtime.env, next(iter(browser.cookies.values())), site.now()))
    assert found is not None
    arns, account = [f"arn:aws:iam::{ALPHA}:role/prod"], ALPHA
    risks = {}
    for address in ("127.0.0.9", "198.51.100.7"):
        facts = RequestFacts(f"a291-{address}", site.now(), "daypass:CreateAccessRequest", address, "test")
        made = site.run(prepare(site.runtime.env, Call(found.caller, facts, site.now()), account, arns, ""))
        risks[address] = {reason.feature for reason in made.reasons}
    assert "new_network" in risks["198.51.100.7"]
    assert "new_network" not in risks["127.0.0.9"]


# --- A292: devices -----------------------------------------------------------------------------------------------------


def test_a292_session_whose_mfa_is_old_cannot_change_the_devices_of_its_user(site: Installation) -> None:
    _, key = site.user("approver", policy=policy("iam:*"))
    totp, serial = with_device(site, "approver"), f"arn:aws:iam::{ALPHA}:mfa/approver"
    site.wall.time += 60_000
    code = totp.at(site.now() // 1000)
    given = {"SerialNumber": serial, "TokenCode": code, "DurationSeconds": "43200"}
    stolen = site.call(key, "GetSessionToken", given).key
    site.wall.time += 1_000_000
    made = site.iam("CreateVirtualMFADevice", stolen, VirtualMFADeviceName="thief")
    own = pyotp.TOTP(base64.b64decode(made.text("Base32StringSeed")).decode("ascii"))
    seconds = site.now() // 1000
    codes = {"AuthenticationCode1": own.at(seconds - 30), "AuthenticationCode2": own.at(seconds)}
    enabled = {"UserName": "approver", "SerialNumber": made.text("SerialNumber"), **codes}
    refused_on_record(site, site.call(stolen, "EnableMFADevice", enabled, service="iam"))
    removed = {"UserName": "approver", "SerialNumber": serial}
    refused_on_record(site, site.call(stolen, "DeactivateMFADevice", removed, service="iam"))
    listed = site.iam("ListMFADevices", UserName="approver")
    assert b"thief" not in listed.body
    assert serial.encode() in listed.body


def refused_on_record(site: Installation, answer: Answer) -> None:
    assert (answer.status, answer.code) == (403, "AccessDenied"), answer.body
    [record] = [each for each in site.records(answer.request_id) if each.get("error")]
    assert record["error"] == "access_denied"


# --- A293: provisioning ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def entra(site: Installation) -> DirectoryService:
    return directory_of(site)


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a293_null_activates_nobody(site: Installation, entra: DirectoryService, method: str) -> None:
    del site
    made = entra.user(f"leaver-{method}")
    off = {"op": "replace", "path": "active", "value": False}
    entra.patch(made, off)
    bodies = {
        "PATCH": {"schemas": [PATCH], "Operations": [{**off, "value": None}]},
        "PUT": {"userName": f"leaver-{method}", "active": None},
    }
    assert entra.ok(method, f"Users/{made['id']}", bodies[method])["active"] is False


def test_a296_change_of_members_does_not_take_back_the_name_that_an_administrator_gave(
    site: Installation, entra: DirectoryService
) -> None:
    leaver = entra.user("a296")
    group = entra.group("Approvers", leaver)
    site.iam("UpdateGroup", GroupName="Approvers", NewGroupName="former-approvers")
    site.iam("CreateGroup", GroupName="Approvers")  # the rules mean this one now
    gone = {"op": "remove", "path": f'members[value eq "{leaver["id"]}"]'}
    assert entra.patch(group, gone)["members"] == []
    assert leaver["id"].encode() not in site.iam("GetGroup", GroupName="former-approvers").body
    renamed = {"op": "replace", "path": "displayName", "value": "Old approvers"}
    entra.patch(group, renamed)
    assert site.iam("GetGroup", GroupName="Old-approvers").status == 200


# --- A294: names of users and groups -----------------------------------------------------------------------------------


def test_a294_name_that_rules_may_use_is_given_with_a_confirmation_only(site: Installation) -> None:
    browser, victim = administrator(site), user(site)
    site.iam("CreateGroup", GroupName="interns")
    for kind, name in (("user", victim), ("group", "interns")):
        page = browser.get(f"/console/{kind}?name={name}")
        answer = browser.submit(page, f"/console/{kind}/rename", new_name="leads")
        assert (answer.status, "You confirm exactly this:" in text(answer)) == (200, True)
        assert browser.get(f"/console/{kind}?name={name}").status == 200
        assert browser.get(f"/console/{kind}?name=leads").status == 404
