"""Texts that could deceive an approver, and forms that must come back exactly as the person has read them."""

from __future__ import annotations

import json

import pytest
from tests.attack.installation import ALPHA, Installation
from tests.authenticator import Authenticator
from tests.browser import Browser, forms, query_of, text
from tests.console import APPROVE, REASON, policy, site
from tests.oauth_client import api
from tests.passkeys import registered
from tests.sign_in import signed_in, user

from daypass.wire.web.render import arn_name

__all__ = ["site"]

ORDERS = f"arn:aws:iam::{ALPHA}:role/prod-orders"


def requested(site: Installation, **fields: str) -> str:
    """The id of a request of ann."""
    ann, sent = signed_in(site, "ann"), {"role": ORDERS, "reason": REASON, **fields}
    answer = ann.submit(ann.get("/console/request"), "/console/request/send", **sent)
    return query_of(answer)["id"]


@pytest.mark.parametrize("kind", ["oidc", "saml"])
@pytest.mark.parametrize("subject", ["lee", "evil/lee", "assumed-role/lee", "a/b/lee"])
def test_a346_subject_with_slashes_does_not_pose_as_a_user(kind: str, subject: str) -> None:
    assert arn_name(f"arn:aws:iam::{ALPHA}:{kind}-provider/idp.example:{subject}") == f"idp.example:{subject}"


def test_a347_request_with_text_that_hides_covers_or_poses_shows_it_to_its_approver(site: Installation) -> None:
    marks = "\u0301" * 60
    reason = f"{REASON} for l\u0435e\u3164 h{marks}"
    request = requested(site, ticket="OPS-1\ufe0f", reason=reason)
    lee = signed_in(site, "lee")
    for path in (f"/console/access-request?id={request}", "/console/approvals", "/console/approvals?state=all"):
        shown = lee.get(path).body.decode()
        assert "for l\\u0435e\\u3164 h" in shown, path
        assert "\u0301" * 5 not in shown, path
    assert "OPS-1\\ufe0f" in text(lee.get(f"/console/access-request?id={request}"))


def lead(site: Installation) -> tuple[Browser, Authenticator]:
    """An approver with a passkey."""
    name = user(site)
    site.iam("PutUserPolicy", UserName=name, PolicyName="work", PolicyDocument=policy(*APPROVE))
    site.iam("AddUserToGroup", GroupName="leads", UserName=name)
    browser = signed_in(site, name)
    return browser, registered(site, browser)


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_vote_of_several_lines_that_is_confirmed_is_cast_as_it_was_read(site: Installation, end: str) -> None:
    browser, key = lead(site)
    request, path = requested(site), "/console/access-request/approve"
    narrowed = end.join(json.dumps(json.loads(policy("orders:GetItem")), indent=2).splitlines())
    note = "Só leitura \u2764\ufe0f, l\u0435e"
    page = browser.get(f"/console/access-request?id={request}")
    asked = browser.submit(page, path, policy=narrowed, reason=note)
    assert "Só leitura \u2764\\ufe0f, l\\u0435e" in text(asked)
    assert forms(asked)[path].fields["policy"] == narrowed
    answer = browser.submit(asked, path, response=key.assertion(forms(asked)[path].options))
    assert answer.status == 303, text(answer)
    found = json.loads(api(site, "GET", f"/access-requests/{request}").body)
    assert found["state"] == "approved"
    assert (found["votes"][0]["policy"], found["votes"][0]["reason"]) == (narrowed, note)


def test_a348_confirmation_of_a_vote_shows_every_term_of_the_request(site: Installation) -> None:
    browser, _ = lead(site)
    narrower = policy("orders:GetItem")
    request = requested(site, ticket="OPS-348", starts="2027-02-01T08:30", policy=narrower, minutes="25")
    page = browser.get(f"/console/access-request?id={request}")
    asked = text(browser.submit(page, "/console/access-request/approve"))
    for shown in ("OPS-348", "From 2027-02-01 08:30 UTC", f"Limited by the request {narrower}", "For 25 min"):
        assert shown in asked, shown
