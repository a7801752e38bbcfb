"""Users, groups, keys, providers, clients, rules, reviews, notifications, settings and first steps in the console."""

from __future__ import annotations

import json
import re

import pytest
from tests.attack.installation import ALPHA, BETA, ROOT_OF_BETA, Installation
from tests.browser import Answer, Browser, forms, query_of, refused, text
from tests.console import RULE, policy, served, site
from tests.oauth_client import api
from tests.sign_in import signed_in, user

from daypass.domain.directory import Notification
from daypass.operations.access.key_inventory import _advice
from daypass.operations.notifications import deliver_due
from daypass.wire.console import setup

__all__ = ["site"]


@pytest.fixture(scope="module")
def ada(site: Installation) -> Browser:
    return signed_in(site, "ada")


PAGES = {
    "/console/users": "ann",
    "/console/user?name=ann": "engineers",
    "/console/groups": "leads",
    "/console/group?name=leads": "lee",
    "/console/devices": "No virtual MFA devices.",
    "/console/providers": "No identity providers.",
    "/console/clients": "No OAuth clients.",
    "/console/keys": "delete it: the root needs no key",
    "/console/rules": "prod",
    "/console/rule?name=prod": "group/leads",
    "/console/reviews": "No open reviews.",
    "/console/notifications": "No channels.",
    "/console/start": "You are signed in as",
}


@pytest.mark.parametrize("path", PAGES)
def test_page_shows_what_the_account_has(ada: Browser, path: str) -> None:
    answer = ada.get(path)
    assert answer.status == 200, text(answer)
    assert PAGES[path] in text(answer)


@pytest.mark.parametrize("path", [path for path in PAGES if path != "/console/start"])
def test_page_without_the_permission_is_refused_and_on_the_record(site: Installation, path: str) -> None:
    answer = signed_in(site, "lee").get(path)
    record = refused(site, answer, 403)
    assert record["operation"].partition(":")[0] in ("iam", "daypass")


def test_provider_shows_its_audiences(site: Installation, ada: Browser) -> None:
    site.iam(
        "CreateOpenIDConnectProvider",
        Url="https://token.example.com",
        **{"ClientIDList.member.1": "sts.example", "ThumbprintList.member.1": "a" * 40},
    )
    arn = f"arn:aws:iam::{ALPHA}:oidc-provider/token.example.com"
    assert "token.example.com" in text(ada.get("/console/providers"))
    assert "sts.example" in text(ada.get(f"/console/provider?arn={arn}"))


def test_keys_are_listed_with_reach_and_the_role_that_replaces_each(site: Installation, ada: Browser) -> None:
    allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    site.iam("CreateUser", UserName="job")
    site.iam("PutUserPolicy", UserName="job", PolicyName="p", PolicyDocument=json.dumps(allow))
    key = site.iam("CreateAccessKey", UserName="job").text("AccessKeyId")
    answer = api(site, "GET", "/long-lived-keys")
    found = {each["access_key_id"]: each for each in json.loads(answer.body)["keys"]}
    mine = found[key]
    assert (mine["reach"], mine["role"], mine["age_days"], mine["used_at"]) == ("whole services", "job", 0, None)
    statement = json.loads(mine["trust_policy"])["Statement"][0]
    assert statement["Action"] in (
        "sts:AssumeRoleWithWebIdentity",
        ["sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession"],
    )
    root = next(each for each in found.values() if each["owner"].endswith(":root"))
    assert (root["reach"], root["trust_policy"]) == ("everything", "")
    page = ada.get("/console/keys")
    assert f"user/job {key} 0 " in text(page), text(page)
    assert b'href="/console/user?name=job"' in page.body
    site.iam("UpdateAccessKey", UserName="job", AccessKeyId=key, Status="Inactive")
    assert key not in api(site, "GET", "/long-lived-keys").body.decode()


@pytest.mark.parametrize(
    ("age", "unused", "person", "advice"),
    [
        (10, 1, False, "replace it by the role"),
        (100, 1, False, "replace it by the role; rotate it until then"),
        (100, 95, False, "not used for 90 days: delete it"),
        (100, None, False, "not used for 90 days: delete it"),
        (10, 1, True, "delete it: the person signs in with daypass login --browser"),
    ],
)
def test_advice_on_a_key_depends_on_age_use_and_owner(age: int, unused: int | None, person: bool, advice: str) -> None:
    assert _advice(age, unused, root=False, person=person) == advice


def test_rule_is_written_read_and_deleted(site: Installation) -> None:
    ada = signed_in(site, "ada")
    page = ada.get("/console/rule")
    document = json.dumps({**RULE, "roles": ["role/other"]})
    assert query_of(ada.submit(page, "/console/rule/save", name="other", document=document))["done"] == "saved"
    assert json.loads(served(api(site, "GET", "/approval-rules/other")).body)["name"] == "other"
    bad = ada.submit(page, "/console/rule/save", name="bad", document="{}")
    assert "The rule is not valid" in text(bad)
    refused(site, bad, 400)
    assert ada.confirm(ada.get("/console/rule?name=other"), "/console/rule/delete").status == 303
    assert api(site, "GET", "/approval-rules/other").status == 404


def test_channel_is_made_with_a_secret_shown_once_and_tested(site: Installation) -> None:
    ada = signed_in(site, "ada")
    page = ada.get("/console/notifications?new=1")
    made = ada.submit(
        page, "/console/notifications/create", name="ops", kind="webhook", target="https://hooks.example.com/x"
    )
    secret = re.findall(r"whsec_[A-Za-z0-9+/=]{8,}", text(made))[0]
    page = ada.get("/console/notifications")
    assert secret not in text(page)
    tested = ada.submit(page, "/console/notifications/test-notification-channel")
    assert query_of(tested) == {"done": "saved"}
    assert "ops" in text(ada.get("/console/sent-notifications?outcome=waiting"))
    assert site.run(deliver_due(site.runtime.env, ALPHA)) == 1  # there is no such host
    [waiting] = site.run(
        site.runtime.env.directory.read(lambda tx: tx.find(Notification, account=ALPHA), account=ALPHA)
    )
    assert (waiting.attempts, waiting.outcome) == (1, "")
    shown = ada.get("/console/sent-notifications?outcome=waiting")
    assert query_of(ada.submit(shown, "/console/sent-notifications/retry-notification")) == {"done": "saved"}
    assert ada.confirm(page, "/console/notifications/delete").status == 303


def test_new_channel_with_the_name_of_another_replaces_nothing(site: Installation) -> None:
    ada = signed_in(site, "ada")
    page = ada.get("/console/notifications?new=1")
    made = ada.submit(
        page, "/console/notifications/create", name="same", kind="webhook", target="https://hooks.example.com/x"
    )
    new = {"name": "same", "kind": "webhook", "target": "https://hooks.example.com/y"}
    again = ada.submit(page, "/console/notifications/create", **new)
    assert "A channel same exists." in text(again)
    assert "whsec_" not in text(again).replace("whsec_…", "")
    refused(site, again, 409)
    asked = ada.submit(made, "/console/notifications/delete")
    assert (asked.status, "Name same" in text(asked)) == (200, True)
    assert "hooks.example.com/x" in text(ada.get("/console/notifications"))
    assert query_of(ada.submit(asked, "/console/notifications/delete")) == {"done": "deleted"}


def test_channel_of_a_ticket_system_is_made_with_its_secret(site: Installation) -> None:
    ada = signed_in(site, "ada")
    page = ada.get("/console/notifications?new=1")
    target = "https://jira.example.com?project=OPS&type=Task"
    new = {"name": "desk", "kind": "jira", "target": target, "secret": "bot:a-token-of-the-desk"}
    made = ada.submit(page, "/console/notifications/create", **new)
    assert made.status == 303, text(made)
    made = ada.get("/console/notifications")
    assert "a-token-of-the-desk" not in made.body.decode()
    assert "desk" in forms(made)["/console/notifications/delete"].fields.values()
    assert not any(b"a-token-of-the-desk" in record for record in site.record_bytes())
    assert ada.confirm(made, "/console/notifications/delete").status == 303


def test_settings_are_for_the_operator_and_have_no_secrets(site: Installation) -> None:
    shown = text(signed_in(site, "ada").get("/console/settings"))  # the first account operates the installation
    assert "public_url" in shown
    assert "encryption_key **********" in shown or "encryption_key –" in shown
    name = user(site, ROOT_OF_BETA)
    site.iam("PutUserPolicy", ROOT_OF_BETA, UserName=name, PolicyName="all", PolicyDocument=policy("*", "daypass:*"))
    answer = signed_in(site, name, BETA).get("/console/settings")
    assert refused(site, answer, 403)["operation"] == "daypass:ReadSettings"
    sections = json.loads(served(api(site, "GET", "/settings")).body)["sections"]
    assert sections["server"]["public_url"] in shown
    assert api(site, "GET", "/settings", key=ROOT_OF_BETA).status == 403


def test_first_steps_make_a_role_that_needs_approval_and_its_rule(site: Installation) -> None:
    ada = signed_in(site, "ada")
    page = ada.get("/console/start")
    answer = ada.confirm(
        page, "/console/start/role", name="first", permissions="read", requesters="engineers", approvers="leads"
    )
    assert query_of(answer)["role"] == f"arn:aws:iam::{ALPHA}:role/first"
    ann = signed_in(site, "ann")
    assert "first" in text(ann.get("/console/"))
    sent = ann.submit(
        ann.get(f"/console/request?role=arn:aws:iam::{ALPHA}:role/first"),
        "/console/request/send",
        reason="The first request",
    )
    assert query_of(sent)["done"] == "requested"


@pytest.mark.parametrize("name", ["with space", "a/b", "\u202e", "n" * 65])
def test_first_role_with_a_name_that_iam_refuses_is_refused(site: Installation, name: str) -> None:
    ada = signed_in(site, "ada")
    answer = ada.confirm(
        ada.get("/console/start"),
        "/console/start/role",
        name=name,
        permissions="read",
        requesters="engineers",
        approvers="leads",
    )
    refused(site, answer, 400)


def test_users_and_groups_lists_begin_at_a_name(ada: Browser) -> None:
    users, groups = text(ada.get("/console/users?start=lee")), text(ada.get("/console/groups?start=leads"))
    assert "lee" in users
    assert "ann" not in users
    assert "leads" in groups
    assert "engineers" not in groups
    assert ada.get("/console/users?start=a/b").status == 400


def test_groups_show_state_mfa_share_and_last_sign_in_of_their_members(
    site: Installation, ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def row(page: Answer) -> list[str]:
        found = re.search(r"<tr[^>]*><td><a [^>]*>engineers</a>.*?</tr>", page.body.decode())
        assert found
        return [re.sub("<[^>]*>", "", cell).strip() for cell in found[0].split("<td>")[1:]]

    signed_in(site, "ann")
    _, state, users, mfa, last, *_ = row(ada.get("/console/groups"))
    assert (state, users, mfa, last[:2]) == ("active", "1", "0 of 1", "20")
    shown = text(ada.get("/console/group?name=engineers"))
    assert "With MFA 0 of 1" in shown
    assert "ann active no MFA, last sign-in 20" in shown
    monkeypatch.setattr("daypass.operations.sign_in.devices._LOOKED_AT", 0)
    assert row(ada.get("/console/groups"))[2:4] == ["1", "–"]  # only counted


def test_groups_of_the_first_steps_are_known_behind_many_others(ada: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "_MOST", 1)
    assert "Create both groups" not in text(ada.get("/console/start"))
    assert '<option value="leads" selected>' in ada.get("/console/start").body.decode()
