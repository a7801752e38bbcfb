"""The console under attack: forged forms, frames, script in everything that people can write, and ids of other accounts."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import pytest
from tests.attack.installation import ALPHA, BETA, ROOT_OF_BETA, Answer, Installation, trust
from tests.browser import Browser, forms, query_of, refused, text
from tests.console import ada, policy, served, site
from tests.oauth_client import api
from tests.passkeys import registered, sign_in_with
from tests.sign_in import signed_in, user

from daypass.domain.policy.evaluate import evaluate
from daypass.domain.policy.model import Decision
from daypass.operations.record.summarize import FRESH_MS
from daypass.wire.routing import Route

__all__ = ["ada", "site"]

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'"
_CODE = {"grant_types": ["authorization_code"], "redirect_uris": ["https://app.example.com/"]}
BIDI = "safe\u202egpj.exe"
ORDERS = f"arn:aws:iam::{ALPHA}:role/prod-orders"


def paths(site: Installation, method: str) -> list[str]:
    """The paths of the console for a method."""
    rows = [row for row in site.application.routes.rows if isinstance(row, Route)]
    return sorted(row.path for row in rows if row.path.startswith("/console") and method in row.methods)


class _Markup(HTMLParser):
    """Everything of a page that a browser would run or load, but our own files."""

    def __init__(self) -> None:
        super().__init__()
        self.active: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in ("style", "iframe", "object", "embed", "base") or (tag == "script" and "src" not in given):
            self.active.append(tag)
        for name, value in given.items():
            if name.startswith("on") or name == "style" or value.strip().lower().startswith("javascript:"):
                self.active.append(f"{tag} {name}={value}")
            if name == "src" and not value.startswith("/static/"):
                self.active.append(f"{tag} src={value}")


def inert(answer: Answer) -> None:
    """Nothing of what an attacker wrote is markup, the page runs only our files, and its policy allows no more."""
    markup = _Markup()
    markup.feed(answer.body.decode())
    assert markup.active == []
    assert "script-src 'self';" in answer.headers["content-security-policy"]
    assert "\u202e" not in answer.body.decode()


def test_a86_every_form_of_the_console_refuses_a_foreign_page_and_a_missing_token(
    site: Installation, ada: Browser
) -> None:
    found = paths(site, "POST")
    assert len(found) > 15
    token = forms(ada.get("/console/"))["/logout"].fields["csrf"]
    for path in found:
        for answer in (
            ada.post(path, {"id": "x"}),
            ada.post(path, {"csrf": "0" * 64}),
            ada.post(path, {"csrf": token}, origin="https://evil.example"),
        ):
            record = refused(site, answer, 403)
            assert record["detail"]["private"]["reason"] == "csrf", path


def test_a86_link_or_prefetch_of_a_form_changes_nothing(site: Installation, ada: Browser) -> None:
    pages = paths(site, "GET")
    for path in paths(site, "POST"):
        answer = ada.get(f"{path}?csrf=x", (b"sec-purpose", b"prefetch"))
        assert answer.status == 303, path
        page, _, query = answer.headers["location"].partition("?")
        assert (page in pages, query) == (True, "csrf=x"), path  # a form's address leads to its page, as after a reload
        assert not site.records(answer.request_id), path


def test_a86_no_page_of_the_console_can_be_framed_or_cached(site: Installation, ada: Browser) -> None:
    for path in paths(site, "GET"):
        answer = ada.get(path)
        if answer.headers["content-type"].startswith("text/html"):
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"], path
            assert answer.headers["x-frame-options"] == "DENY"
            inert(answer)
        assert answer.headers["cache-control"] == "no-store", path


def test_a87_what_is_written_into_fields_of_a_request_is_inert_for_its_approver(site: Installation) -> None:
    ann, lee = signed_in(site, "ann"), signed_in(site, "lee")
    page = ann.get("/console/request")
    bad = ann.submit(page, "/console/request/send", role=ORDERS, reason=BIDI, ticket=SCRIPT)
    inert(bad)
    sent = ann.submit(page, "/console/request/send", role=ORDERS, reason=f"{SCRIPT} for a good reason", ticket=SCRIPT)
    request = query_of(sent)["id"]
    for answer in (
        ann.get("/console/"),
        ann.get(f"/console/access-request?id={request}"),
        lee.get("/console/approvals"),
        lee.get(f"/console/access-request?id={request}"),
    ):
        inert(answer)
        assert "&lt;script&gt;" in answer.body.decode()
    page = lee.get(f"/console/access-request?id={request}")
    inert(lee.submit(page, "/console/access-request/approve", policy=SCRIPT, reason=SCRIPT))
    assert lee.submit(page, "/console/access-request/deny", reason=SCRIPT).status == 303
    inert(ann.get(f"/console/access-request?id={request}"))


def test_a87_names_descriptions_tags_and_user_agents_are_inert(site: Installation, ada: Browser) -> None:
    description = SCRIPT.replace("\u202e", "")
    given = {"Tags.member.1.Key": "note", "Tags.member.1.Value": "x onerror=alert"}
    site.iam(
        "CreateRole",
        RoleName="painted",
        Description=description,
        AssumeRolePolicyDocument=trust(f"arn:aws:iam::{ALPHA}:root"),
        **given,
    )
    site.iam("TagUser", UserName="ann", **given)
    api_rule = json.dumps(
        {
            **json.loads(json.dumps({"roles": ["role/painted"], "requesters": {"principals": ["*"]}})),
            "description": SCRIPT[:200],
            "stages": [{"approvers": {"principals": ["*"]}}],
        }
    )
    served(api(site, "PUT", "/approval-rules/painted", {"document": api_rule}))
    answer = ada.get("/console/roles", (b"user-agent", SCRIPT.encode()))
    assert "&lt;script&gt;" in answer.body.decode()
    inert(answer)
    for path in (
        "/console/role?name=painted",
        "/console/role?part=who&name=painted",
        "/console/role?part=can&name=painted",
        "/console/user?name=ann",
        "/console/rule?name=painted",
        f"/console/records?request_id={answer.request_id}",
        "/console/records?person=ada",
        "/console/dashboard?part=panels&view=debug",
        "/account",
    ):
        page = ada.get(path)
        assert page.status == 200, path
        if path.startswith("/console"):
            inert(page)
    link = re.search(
        r'href="(/console/record\?[^"]+)"', ada.get(f"/console/records?request_id={answer.request_id}").body.decode()
    )
    assert link is not None
    inert(ada.get(link[1].replace("&amp;", "&")))


def test_a87_names_of_clients_servers_anchors_and_passkeys_are_inert_also_when_they_are_confirmed(
    site: Installation, ada: Browser
) -> None:
    name = f"{SCRIPT}"[:120]
    settings = {"token_endpoint_auth_method": "none", "grant_types": ["authorization_code"]}
    body = {"name": name, "settings": {**settings, "redirect_uris": ["https://app.example.com/"]}}
    client = json.loads(served(api(site, "POST", "/clients", body)).body)["client_id"]
    identifier = "x-onerror=alert(3)"
    served(api(site, "PUT", f"/resource-servers/{quote(identifier, safe='')}", {"name": name, "settings": {}}))
    eve = user(site)
    site.iam("PutUserPolicy", UserName=eve, PolicyName="all", PolicyDocument=policy("*", "daypass:*"))
    registered(site, signed_in(site, eve), name=SCRIPT[:60])
    paths = (
        f"/console/client?client_id={client}",
        "/console/clients",
        f"/console/resource-server?identifier={quote(identifier)}",
        "/console/resource-servers",
        f"/console/user?name={eve}",
    )
    for path in paths:
        answer = ada.get(path)
        assert answer.status == 200, path
        assert "&lt;script&gt;" in answer.body.decode(), path
        inert(answer)
    browser, authenticator = Browser(site), registered(site, signed_in(site, name := user(site)))
    site.iam("PutUserPolicy", UserName=name, PolicyName="all", PolicyDocument=policy("*", "daypass:*"))
    assert sign_in_with(browser, authenticator).status == 303
    page = browser.get("/console/clients?new=1")
    asked = browser.submit(page, "/console/clients/create", name=SCRIPT, settings=BIDI)
    assert "You confirm exactly this" in text(asked)
    inert(asked)


def test_a87_parameters_that_a_page_shows_again_are_inert(site: Installation, ada: Browser) -> None:
    names = ("done", "action", "resource", "role", "state", "principal", "root", "value", "subject", "path", "person")
    more = ("of", "policy", "context", "after", "view", "hours", "name", "id", "arn", "sort", "job", "since", "log")
    for path in paths(site, "GET"):
        query = "&".join(f"{name}={quote(SCRIPT)}" for name in (*names, *more))
        answer = ada.get(f"{path}?{query}")
        assert answer.status < 500, path
        if answer.headers["content-type"].startswith("text/html"):
            inert(answer)


def test_a87_homographs_are_no_names_of_users_and_marks_of_direction_are_visible(site: Installation) -> None:
    cyrillic = site.call(
        ("AKIAROOTOFALPHA00000", "alpha-root-secret-canary-alpha-root-secr"),
        "CreateUser",
        {"UserName": "\u0430nn"},
        service="iam",
    )
    assert cyrillic.status == 400
    shown = text(signed_in(site, "ada").get(f"/console/explain?of={quote(BIDI)}"))
    assert "safe\\u202egpj.exe" in shown


def test_a313_session_with_the_name_of_a_user_is_shown_with_its_role(site: Installation, ada: Browser) -> None:
    admin = ("AKIAADMINOFALPHA0000", "alpha-admin-secret-canary-alpha-admin-se")
    site.user("namesake")  # makes no request: every "namesake" is the session
    keys = site.assume(admin, f"arn:aws:iam::{ALPHA}:role/reader", "namesake").key
    assert site.call(keys, "GetCallerIdentity").status == 200
    for path in ("/console/records?operation=sts%3AGetCallerIdentity", "/console/dashboard?part=panels&view=debug"):
        shown = ada.get(path).body.decode()
        assert "<td>namesake</td>" not in shown, path
    site.assume(keys, ORDERS, "refused")
    site.wall.time += FRESH_MS
    assert "<td>reader/namesake</td>" in ada.get("/console/records?operation=sts%3AAssumeRole").body.decode()
    assert "<td>reader/namesake</td>" in ada.get("/console/dashboard?part=panels&view=debug").body.decode()


def test_a314_menu_of_a_person_with_expensive_policies_is_not_decided(
    site: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = user(site)
    browser = signed_in(site, name)
    assert "Without permission" in text(browser.get("/console/approvals"))
    patterns = [f"arn:aws:s3:::a{number}*x*" for number in range(150)]
    document = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": patterns}}
    for number in range(3):
        site.iam("CreatePolicy", PolicyName=f"menu-{number}", PolicyDocument=json.dumps(document))
        site.iam("AttachUserPolicy", UserName=name, PolicyArn=f"arn:aws:iam::{ALPHA}:policy/menu-{number}")
    agent = (b"user-agent", b"x" * 4_000)
    callers: list[str] = []

    def evaluated(*given: Any) -> Decision:
        callers.append(sys._getframe(1).f_code.co_name)
        return evaluate(*given)

    monkeypatch.setattr("daypass.operations.authorize.evaluate", evaluated)
    page = browser.get("/console/approvals", agent)
    assert page.status == 200
    assert "would_allow" not in callers
    assert "Without permission" not in text(page)  # each page decides for itself


def test_a89_ids_of_another_account_are_answered_as_ids_that_do_not_exist(site: Installation) -> None:
    beta = user(site, ROOT_OF_BETA)
    site.iam("PutUserPolicy", ROOT_OF_BETA, UserName=beta, PolicyName="all", PolicyDocument=policy("*"))
    foreign = signed_in(site, beta, BETA)
    ann = signed_in(site, "ann")
    page = ann.get("/console/request")
    request = query_of(ann.submit(page, "/console/request/send", role=ORDERS, reason="A good reason"))["id"]
    admin = ("AKIAADMINOFALPHA0000", "alpha-admin-secret-canary-alpha-admin-se")
    assert site.assume(admin, f"arn:aws:iam::{ALPHA}:role/reader", "mine-1").status == 200
    session = json.loads(served(api(site, "GET", "/sessions")).body)["sessions"][0]
    missing = "0" * 32
    for path, existing in (
        ("/console/access-request?id=", request),
        ("/console/session?id=", session["session_id"]),
        ("/console/role?name=", "prod-orders"),
        ("/console/user?name=", "lee"),
        ("/console/rule?name=", "prod"),
        (f"/console/record?seq={session['seq']}&log=", session["log"]),
    ):
        theirs, nothing = foreign.get(path + quote(existing)), foreign.get(path + missing)
        assert theirs.status == nothing.status == 404, path
        assert _plain(theirs, existing) == _plain(nothing, missing), path
    made = api(site, "POST", "/clients", {"name": "app", "settings": {"token_endpoint_auth_method": "none", **_CODE}})
    client = json.loads(served(made).body)["client_id"]
    served(api(site, "PUT", "/resource-servers/orders-api", {"name": "orders", "settings": {}}))
    for path, existing in (
        ("/console/client?client_id=", client),
        ("/console/resource-server?identifier=", "orders-api"),
        ("/console/group?name=", "leads"),
    ):
        theirs, nothing = foreign.get(path + quote(existing)), foreign.get(path + missing)
        assert theirs.status == nothing.status == 404, path
        assert _plain(theirs, existing) == _plain(nothing, missing), path
    token = forms(foreign.get("/console/"))["/logout"].fields["csrf"]
    for path, fields in (
        ("/console/client/delete", {"client_id": client}),
        ("/console/client/create-client-secret", {"client_id": client}),
        ("/console/resource-server/delete", {"identifier": "orders-api"}),
        ("/console/user/delete", {"name": "lee"}),
        ("/console/user/password", {"name": "lee"}),
        ("/console/user/create-key", {"name": "lee"}),
        ("/console/group/add-user", {"name": "leads", "user": beta}),
        ("/console/access-request/cancel", {"request": request}),
        ("/console/access-request/done", {"request": request}),
        ("/console/access-request/deny", {"request": request, "reason": "mine now"}),
        ("/console/access-request/approve", {"request": request, "binding": "0" * 64}),
        ("/console/revoke/send", {"subject": "session", "value": session["session_id"]}),
        ("/console/rule/delete", {"name": "prod"}),
    ):
        assert foreign.post(path, {"csrf": token, "confirmed": "yes", **fields}).status in (403, 404), path
    assert json.loads(served(api(site, "GET", f"/access-requests/{request}")).body)["state"] == "pending"
    assert json.loads(served(api(site, "GET", f"/clients/{client}")).body)["secrets"] == []
    served(api(site, "GET", "/resource-servers/orders-api"))
    assert beta not in site.iam("GetGroup", GroupName="leads").body.decode()
    assert signed_in(site, "lee").get("/account").status == 200


def _plain(answer: Answer, asked: str) -> str:
    """The text of a page, without the requested name and the request id."""
    return text(answer).replace(asked, "NAME").replace(answer.request_id, "REQUEST")


def test_a89_person_without_permissions_sees_only_what_concerns_them(site: Installation) -> None:
    name = user(site)
    browser = signed_in(site, name)
    for path in ("/console/", "/console/request", "/console/approvals", "/console/start"):
        assert browser.get(path).status == 200
    for path in ("/console/sessions", "/console/records", "/console/users", "/console/rules"):
        assert browser.get(path).status in (303, 403), path


def test_a560_search_tells_nobody_what_they_may_not_list(site: Installation) -> None:
    name = user(site)
    browser = signed_in(site, name)
    session = signed_in(site, "ada").get("/console/find?text=prod").body
    assert b"prod-orders" in session
    for wanted in ("prod", "%25", "_", "ann", ALPHA, ORDERS, "engineers"):
        page = browser.get(f"/console/find?text={wanted}")
        assert page.status == 200
        assert "No match that you may see" in text(page), wanted
    for wanted in ("prod-orders", ORDERS, "ann"):
        answer = api(site, "GET", f"/find?text={quote(wanted, safe='')}", key=ROOT_OF_BETA)
        found = json.loads(answer.body)["found"]
        assert [each for each in found if ALPHA in each["arn"]] == [], wanted
        assert [event["detail"]["found"] for event in site.records(answer.request_id)] == [len(found)]


def test_a561_page_that_asks_by_itself_keeps_nobody_signed_in(site: Installation) -> None:
    browser = signed_in(site, user(site))
    for _ in range(5):
        site.wall.time += 7 * 60_000
        last = browser.get("/console/inbox/events")
    assert last.status == 303
    assert last.body == b""
    assert browser.get("/console/").status == 303
