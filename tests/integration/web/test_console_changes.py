"""Changes of users, groups, providers, clients, resource servers and trust anchors in the console, and their confirmation."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from tests.attack.installation import ALPHA, Answer, Installation
from tests.authenticator import Authenticator
from tests.browser import Browser, forms, query_of, refused, text
from tests.console import ada, policy, served, site
from tests.oauth_client import api
from tests.passkeys import new_passkey, registered, sign_in_with
from tests.saml_idp import metadata
from tests.sign_in import PASSWORD, role_for, signed_in, user, with_device
from tests.x509 import Authority

from daypass.operations.iam import mfa as user_devices
from daypass.operations.sign_in import webauthn

__all__ = ["ada", "site"]

USER = "/console/user"
WITH_SECRET = {
    "token_endpoint_auth_method": "client_secret_basic",
    "grant_types": ["client_credentials"],
    "fapi_exceptions": ["client_secret", "bearer_tokens"],
}
MANAGED = "arn:aws:iam::aws:policy/ReadOnlyAccess"


def done(answer: Answer) -> dict[str, str]:
    """The target of a change's redirect."""
    assert answer.status == 303, text(answer)
    return query_of(answer)


def of_user(browser: Browser, name: str, action: str, **fields: str) -> Answer:
    """A form of the page of a user, by its hidden fields when there are several that go to the same path."""
    page = browser.get(f"{USER}?name={name}")
    return browser.post(f"{USER}/{action}", {"csrf": token(page), "name": name, **fields})


def token(page: Answer) -> str:
    return forms(page)["/logout"].fields["csrf"]


def once(answer: Answer) -> list[str]:
    """The secrets that a page shows once."""
    assert answer.status == 200, text(answer)
    return re.findall(r'<code id="once-\d">([^<]+)</code>', answer.body.decode())


def test_user_is_created_gets_a_password_and_must_change_it_at_the_first_sign_in(
    site: Installation, ada: Browser
) -> None:
    created = ada.submit(ada.get("/console/users?new=1"), "/console/users/create", new_name="new-1")
    assert done(created) == {"name": "new-1", "done": "saved"}
    answer = of_user(ada, "new-1", "password")
    (password,) = once(answer)
    assert password not in text(ada.get(f"{USER}?name=new-1"))
    assert password not in json.dumps(site.records(answer.request_id))
    browser = Browser(site)
    page = browser.sign_in(ALPHA, "new-1", password)
    changed = browser.submit(page, "/login/new-password", password=PASSWORD, repeated=PASSWORD)
    assert changed.status == 303, text(changed)
    (again,) = once(of_user(ada, "new-1", "password"))
    assert again != password
    assert done(of_user(ada, "new-1", "remove-password"))["done"] == "saved"
    assert Browser(site).sign_in(ALPHA, "new-1", again).status == 403


def test_keys_are_created_deactivated_and_deleted(site: Installation, ada: Browser) -> None:
    name = user(site)
    key, secret = once(of_user(ada, name, "create-key"))
    assert site.call((key, secret), "GetCallerIdentity", {}).status == 200
    assert done(of_user(ada, name, "switch-key", key=key, status="Inactive"))["done"] == "saved"
    assert site.call((key, secret), "GetCallerIdentity", {}).status == 403
    assert "Activate" in text(ada.get(f"{USER}?name={name}"))
    assert done(of_user(ada, name, "delete-key", key=key))["done"] == "saved"
    assert key not in text(ada.get(f"{USER}?name={name}"))


def test_policies_of_a_user_are_attached_written_and_removed(site: Installation, ada: Browser) -> None:
    name = user(site)
    done(of_user(ada, name, "attach", policy=MANAGED))
    done(of_user(ada, name, "put-policy", policy="own", document=policy("orders:GetItem")))
    shown = text(ada.get(f"{USER}?name={name}"))
    assert "ReadOnlyAccess managed" in shown
    assert "orders:GetItem" in shown
    bad = of_user(ada, name, "put-policy", policy="bad", document="{}")
    refused(site, bad, 400)
    done(of_user(ada, name, "detach", policy=MANAGED))
    done(of_user(ada, name, "delete-policy", policy="own"))
    assert "ReadOnlyAccess managed" not in text(ada.get(f"{USER}?name={name}"))


def test_inline_policy_is_edited_in_a_form_of_its_own_which_keeps_what_was_typed(
    site: Installation, ada: Browser
) -> None:
    name = user(site)
    address = f"/console/policy?holder=User&name={name}"
    page = ada.get(address)
    assert "Name of the policy" in text(page)
    bad = ada.submit(page, f"{USER}/put-policy", policy="own", document='{"Statement": "typed before"}')
    refused(site, bad, 400)
    assert "typed before" in text(bad)
    done(ada.submit(bad, f"{USER}/put-policy", policy="own", document=policy("orders:GetItem")))
    edited = ada.get(f"{address}&policy=own")
    assert "orders:GetItem" in text(edited)
    done(ada.submit(edited, f"{USER}/put-policy", document=policy("orders:PutItem")))
    assert "orders:PutItem" in text(ada.get(f"{USER}?name={name}"))
    assert ada.get(f"{address}&policy=none").status == 404
    assert ada.get("/console/policy?holder=Server&name=x").status == 400


def test_users_show_whether_they_have_mfa_and_chosen_ones_are_disabled(site: Installation, ada: Browser) -> None:
    first, second = user(site), user(site)
    with_device(site, second)
    page = ada.get("/console/users")
    rows = dict(re.findall(r'<tr data-key="([^"]+)">(.*?)</tr>', page.body.decode(), re.DOTALL))
    assert "<td>none</td>" in rows[first]
    assert "<td>yes</td>" in rows[second]
    path = "/console/users/offboard"
    refused(site, ada.submit(page, path, chosen=" "), 400)
    refused(site, ada.confirm(page, path, chosen=" ".join(map(str, range(51)))), 400)
    asked = ada.submit(page, path, chosen=f"{first} {second}")
    assert first in text(asked)
    assert second in text(asked)
    done(ada.submit(asked, path))
    for name in (first, second):
        assert "Blocked" in text(ada.get(f"{USER}?name={name}"))
    third = user(site)
    asked = ada.submit(page, path, chosen=f"nobody {third} none")
    partly = ada.submit(asked, path)
    assert [each.get("error") for each in site.records(partly.request_id)].count("not_found") == 2
    assert partly.status == 404
    assert "1 of 3 were done. nobody: " in text(partly)
    assert " none: " in text(partly)
    assert "Blocked" in text(ada.get(f"{USER}?name={third}"))
    lee = signed_in(site, "lee").get("/console/users")
    assert lee.status == 403 or " ? " in text(lee)


def test_group_is_created_filled_renamed_and_deleted_with_what_it_has(site: Installation, ada: Browser) -> None:
    name = user(site)
    done(ada.submit(ada.get("/console/groups?new=1"), "/console/groups/create", new_name="crew"))
    page = ada.get("/console/group?name=crew")
    done(ada.submit(page, "/console/group/add-user", user=name))
    done(ada.submit(page, "/console/group/attach", policy=MANAGED))
    assert "crew" in text(ada.get(f"{USER}?name={name}"))
    unknown = ada.submit(page, "/console/group/add-user", user="nobody-of-this-name")
    refused(site, unknown, 404)
    assert done(ada.submit(page, "/console/group/rename", new_name="team"))["name"] == "team"
    page = ada.get("/console/group?name=team")
    assert name in text(page)
    assert done(ada.confirm(page, "/console/group/delete"))["done"] == "deleted"
    assert ada.get("/console/group?name=team").status == 404


def test_user_is_renamed_joins_and_leaves_a_group_and_is_deleted(site: Installation, ada: Browser) -> None:
    name = user(site)
    done(of_user(ada, name, "add-group", group="leads"))
    done(of_user(ada, name, "put-policy", policy="own", document=policy("orders:GetItem")))
    done(of_user(ada, name, "remove-group", group="leads"))
    done(of_user(ada, name, "add-group", group="engineers"))
    assert done(of_user(ada, name, "rename", new_name=f"{name}-b"))["name"] == f"{name}-b"
    person = Browser(site)
    assert person.sign_in(ALPHA, f"{name}-b", PASSWORD).status == 303
    assert done(of_user(ada, f"{name}-b", "delete", confirmed="yes"))["done"] == "deleted"
    assert ada.get(f"{USER}?name={name}-b").status == 404
    assert person.get("/account").status == 303  # signed out


def test_disabled_user_stays_and_has_no_access(site: Installation, ada: Browser) -> None:
    name = user(site)
    person = signed_in(site, name)
    assert done(of_user(ada, name, "offboard", confirmed="yes"))["done"] == "saved"
    assert person.get("/account").status == 303
    assert Browser(site).sign_in(ALPHA, name, PASSWORD).status == 403
    page = ada.get(f"{USER}?name={name}")
    assert "Blocked: every request and new session is refused" in text(page)
    assert "state-blocked" in ada.get(f"/console/users?start={name[:-1]}").body.decode()


def test_passkey_of_another_user_is_shown_and_removed(site: Installation, ada: Browser) -> None:
    name = user(site)
    authenticator = registered(site, signed_in(site, name), name="yellow key")
    page = ada.get(f"{USER}?name={name}")
    assert "yellow key" in text(page)
    assert done(ada.submit(page, f"{USER}/remove-passkey"))["done"] == "saved"
    assert "yellow key" not in text(ada.get(f"{USER}?name={name}"))
    assert sign_in_with(Browser(site), authenticator).status == 403


def test_virtual_device_of_another_user_is_removed(site: Installation, ada: Browser) -> None:
    name = user(site)
    with_device(site, name)
    page = ada.get(f"{USER}?name={name}")
    assert "virtual device" in text(page)
    done(ada.submit(page, f"{USER}/remove-device"))
    assert Browser(site).sign_in(ALPHA, name, PASSWORD).status == 303  # nothing more is asked for


# --- Providers, clients, resource servers, trust anchors


def test_oidc_provider_is_created_changed_and_deleted(site: Installation, ada: Browser) -> None:
    page = ada.get("/console/providers?new=1")
    arn = done(
        ada.submit(page, "/console/providers/create-oidc", url="https://ci.example.com/x", audience="sts.example")
    )["arn"]
    page = ada.get(f"/console/provider?arn={arn}")
    done(ada.submit(page, "/console/provider/add-audience", audience="second"))
    page = ada.get(f"/console/provider?arn={arn}")
    assert "second" in text(page)
    members = {**json.loads(forms(page)["/console/provider/settings"].fields["settings"]), "max_age_seconds": 600}
    bad = ada.submit(page, "/console/provider/settings", settings='{"no_such_setting": 1}')
    assert "no_such_setting" in text(bad)
    refused(site, bad, 400)
    refused(site, ada.submit(page, "/console/provider/settings", settings="{"), 400)
    del members["max_age_seconds"]
    done(ada.submit(page, "/console/provider/settings", settings=json.dumps(members)))
    done(ada.submit(page, "/console/provider/remove-audience"))
    assert done(ada.confirm(page, "/console/provider/delete"))["done"] == "deleted"
    refused(
        site, ada.submit(ada.get("/console/providers?new=1"), "/console/providers/create-oidc", url="http://x"), 400
    )


def test_saml_provider_is_created_and_deleted(site: Installation, ada: Browser) -> None:
    document = metadata()
    page = ada.get("/console/providers?new=2")
    made = done(ada.submit(page, "/console/providers/create-saml", saml_name="corp", metadata=document))
    page = ada.get(f"/console/provider?arn={made['arn']}")
    done(ada.submit(page, "/console/provider/metadata", metadata=document))
    assert done(ada.confirm(page, "/console/provider/delete"))["done"] == "deleted"


def test_client_is_created_gets_a_secret_is_disabled_and_deleted(site: Installation, ada: Browser) -> None:
    page, with_secret = ada.get("/console/clients?new=1"), json.dumps(WITH_SECRET)
    made = ada.submit(page, "/console/clients/create", name="app", settings=with_secret)
    client = done(made)["client_id"]
    page = ada.get(f"/console/client?client_id={client}")
    answer = ada.submit(page, "/console/client/create-client-secret")
    (secret,) = once(answer)
    assert secret not in json.dumps(site.records(answer.request_id))
    page = ada.get(f"/console/client?client_id={client}")
    assert secret not in text(page)
    done(ada.submit(page, "/console/client/save", enabled=""))
    assert json.loads(served(api(site, "GET", f"/clients/{client}")).body)["enabled"] is False
    done(ada.submit(page, "/console/client/save", name="other"))
    assert json.loads(served(api(site, "GET", f"/clients/{client}")).body)["name"] == "other"
    refused(site, ada.submit(page, "/console/client/save", settings='{"role": 1}'), 400)
    done(ada.confirm(page, "/console/client/delete-client-secret"))
    assert done(ada.confirm(page, "/console/client/delete"))["done"] == "deleted"
    assert api(site, "GET", f"/clients/{client}").status == 404


def test_resource_server_is_created_changed_and_deleted(site: Installation, ada: Browser) -> None:
    fields = {"identifier": "https://api.example.com", "name": "orders"}
    page = ada.get("/console/resource-servers?new=1")
    assert done(ada.submit(page, "/console/resource-servers/create", **fields))["identifier"] == fields["identifier"]
    page = ada.get("/console/resource-server?identifier=https://api.example.com")
    done(ada.submit(page, "/console/resource-server/save", settings='{"scopes": {"write": {}}}'))
    assert "write" in text(ada.get("/console/resource-server?identifier=https://api.example.com"))
    assert done(ada.confirm(page, "/console/resource-server/delete"))["done"] == "deleted"


def test_trust_anchor_is_created_disabled_enabled_and_deleted(site: Installation, ada: Browser) -> None:
    pem = Authority.make("O=Acme/CN=root").pem
    page = ada.get("/console/trust-anchors?new=1")
    anchor = done(ada.submit(page, "/console/trust-anchors/create", anchor_name="acme", pem=pem))["id"]
    page = ada.get(f"/console/trust-anchor?id={anchor}")
    assert "arn:aws:rolesanywhere:us-east-1:" in text(page)
    done(ada.submit(page, "/console/trust-anchor/disable"))
    page = ada.get(f"/console/trust-anchor?id={anchor}")
    done(ada.submit(page, "/console/trust-anchor/enable"))
    done(ada.submit(page, "/console/trust-anchor/save", anchor_name="acme-2"))
    assert "acme-2" in text(ada.get("/console/trust-anchors"))
    refused(site, ada.submit(page, "/console/trust-anchor/save", pem="not a certificate"), 400)
    assert done(ada.confirm(page, "/console/trust-anchor/delete"))["done"] == "deleted"


# --- Confirmation


def administrator(site: Installation) -> tuple[Browser, Authenticator]:
    """An administrator who has a passkey, and is signed in with it; and the passkey."""
    name = user(site)
    site.iam("PutUserPolicy", UserName=name, PolicyName="all", PolicyDocument=policy("*", "daypass:*"))
    authenticator = registered(site, signed_in(site, name))
    browser = Browser(site)
    assert sign_in_with(browser, authenticator).status == 303
    return browser, authenticator


def test_sensitive_change_is_confirmed_by_a_passkey_for_exactly_that_change(site: Installation) -> None:
    eve, authenticator = administrator(site)
    name = user(site)
    asked = of_user(eve, name, "add-group", group="leads")
    assert "You confirm exactly this" in text(asked)
    assert "leads" in text(asked)
    assert name not in site.iam("GetGroup", GroupName="leads").body.decode()
    path = f"{USER}/add-group"
    proof = authenticator.assertion(forms(asked)[path].options)
    other = eve.submit(asked, path, response=proof, group="engineers")
    refused(site, other, 400)
    assert name not in site.iam("GetGroup", GroupName="engineers").body.decode()
    asked = of_user(eve, name, "add-group", group="leads")
    proof = authenticator.assertion(forms(asked)[path].options)
    answer = eve.submit(asked, path, response=proof)
    assert done(answer)["done"] == "saved"
    assert name in site.iam("GetGroup", GroupName="leads").body.decode()
    again = eve.submit(asked, path, response=proof)
    assert again.status == 403  # a proof works once
    assert "You confirm exactly this" in text(again)


def test_a208_approval_rule_is_written_and_deleted_after_a_passkey_alone(site: Installation) -> None:
    eve, authenticator = administrator(site)
    rule = {"roles": ["role/a208"], "requesters": {"principals": ["user/eve"]}}
    written = json.dumps({**rule, "stages": [{"approvers": {"principals": ["group/leads"]}}]})
    for action, fields in (("save", {"name": "a208", "document": written}), ("delete", {"name": "a208"})):
        path = f"/console/rule/{action}"
        before = api(site, "GET", "/approval-rules/a208").status
        asked = eve.post(path, {"csrf": token(eve.get("/console/rules")), **fields})
        assert "You confirm exactly this" in text(asked)
        assert api(site, "GET", "/approval-rules/a208").status == before
        proof = authenticator.assertion(forms(asked)[path].options)
        assert query_of(eve.submit(asked, path, response=proof))["done"] == "saved"
        assert api(site, "GET", "/approval-rules/a208").status != before


def test_change_confirmed_with_a_strange_passkey_is_refused(site: Installation) -> None:
    eve, _ = administrator(site)
    name = user(site)
    asked = of_user(eve, name, "delete")
    answer = eve.submit(
        asked, f"{USER}/delete", response=new_passkey().assertion(forms(asked)[f"{USER}/delete"].options)
    )
    refused(site, answer, 403)
    assert site.iam("GetUser", UserName=name).status == 200


@pytest.mark.parametrize("why", ["no passkeys at the address", "blocked"])
def test_a191_change_by_a_person_whose_passkeys_cannot_be_used_is_refused_and_not_made_unconfirmed(
    site: Installation, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    eve, _ = administrator(site)
    name = user(site)
    if why == "blocked":
        monkeypatch.setattr("daypass.operations.sign_in.step_up.of_user", blocked(user_devices.of_user))
    else:
        monkeypatch.setattr(webauthn, "available", lambda _: False)
    answer = of_user(eve, name, "delete")
    record = refused(site, answer, 403)
    assert (record["operation"], record["error"]) == ("daypass:Offboard", "access_denied")
    assert "you cannot confirm it" in text(answer)
    assert site.iam("GetUser", UserName=name).status == 200


def blocked(found: Any) -> Any:
    """Reads the passkeys of a user as if all were blocked."""
    return lambda tx, user_id: [replace(each, blocked_at=1) for each in found(tx, user_id)]


def test_change_that_only_creates_is_not_confirmed(site: Installation) -> None:
    eve, _ = administrator(site)
    name = f"{user(site)}-made"
    assert done(eve.submit(eve.get("/console/users?new=1"), "/console/users/create", new_name=name))["name"] == name


def test_deletion_by_a_person_without_mfa_is_confirmed_by_a_button(site: Installation, ada: Browser) -> None:
    name = user(site)
    asked = of_user(ada, name, "delete")
    assert (asked.status, f"Name {name}" in text(asked)) == (200, True)
    assert site.iam("GetUser", UserName=name).status == 200
    assert done(ada.submit(asked, f"{USER}/delete"))["done"] == "deleted"
    assert ada.get(f"{USER}?name={name}").status == 404


def test_change_without_the_permission_is_refused_and_recorded(site: Installation) -> None:
    lee = signed_in(site, "lee")
    form = {"csrf": token(lee.get("/console/")), "name": "ann", "confirmed": "yes"}
    answer = lee.post(f"{USER}/delete", form)
    assert answer.status == 403
    assert [record["error"] for record in site.records(answer.request_id) if record.get("error")]
    assert site.iam("GetUser", UserName="ann").status == 200


# --- MFA in the moment of a request


def test_credentials_of_a_role_that_asks_for_fresh_mfa_are_given_after_a_passkey(site: Installation) -> None:
    eve, authenticator = administrator(site)
    fresh = {"Condition": {"NumericLessThan": {"aws:MultiFactorAuthAge": "60"}}}
    role = role_for(site, "fresh-mfa", **fresh)
    site.wall.time += 90_000
    page, path = eve.get(f"/console/credentials?role={role}"), "/console/credentials/show"
    refused(site, eve.submit(page, path), 403)
    asked = eve.submit(page, path, mfa="yes")
    assert role in text(asked)
    answer = eve.submit(asked, path, response=authenticator.assertion(forms(asked)[path].options))
    assert "AWS_SECRET_ACCESS_KEY" in text(answer)
    site.wall.time += 90_000
    refused(site, eve.submit(page, path), 403)  # the proof was for one session


def test_request_under_a_rule_that_asks_for_fresh_mfa_is_sent_after_a_passkey(site: Installation) -> None:
    eve, authenticator = administrator(site)
    rule = {
        "roles": ["role/guarded"],
        "requesters": {"principals": ["*"]},
        "requester_mfa_seconds": 60,
        "stages": [{"name": "lead", "approvers": {"principals": ["group/leads"]}}],
    }
    served(api(site, "PUT", "/approval-rules/guarded", {"document": json.dumps(rule)}))
    role = role_for(site, "guarded", Condition={"Bool": {"daypass:Approved": "true"}})
    site.wall.time += 90_000
    page, path = eve.get(f"/console/request?role={role}"), "/console/request/send"
    refused(site, eve.submit(page, path, reason="Incident 7: orders"), 400)
    asked = eve.submit(page, path, reason="Incident 7: orders", mfa="yes")
    assert "Incident 7: orders" in text(asked)
    answer = eve.submit(asked, path, response=authenticator.assertion(forms(asked)[path].options))
    assert done(answer)["done"] == "requested"


EDIT = "/console/role/edit"
TRUSTED = json.dumps(
    {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"AWS": ALPHA}, "Action": "sts:AssumeRole"}}
)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"new_name": "a b", "document": TRUSTED}, "a b"),
        ({"new_name": "ok", "document": "{"}, "ok"),
        ({"new_name": "ok", "document": TRUSTED.replace("sts:", "s3:")}, "ok"),
        ({"new_name": "ok", "document": TRUSTED, "seconds": "99999"}, "99999"),
        ({"new_name": "ok", "document": TRUSTED, "seconds": "<b>"}, "ok"),
        ({"new_name": "ok", "document": TRUSTED, "seconds": "²"}, "ok"),
        ({"new_name": "ok", "document": TRUSTED, "seconds": "9" * 5_000}, "ok"),
        ({"new_name": "reader", "document": TRUSTED}, "reader"),
    ],
)
def test_role_that_cannot_be_created_says_why_and_keeps_what_was_written(
    site: Installation, ada: Browser, fields: dict[str, str], said: str
) -> None:
    page = ada.get(EDIT)
    answer = ada.post("/console/roles/create", {"csrf": token(page), **fields})
    assert answer.status in (400, 409), text(answer)
    assert 'role="alert"' in answer.body.decode()
    assert said in answer.body.decode()
    assert b"<RoleName>ok</RoleName>" not in site.iam("ListRoles").body


def test_role_gets_and_loses_policies_on_its_page_and_is_deleted_with_them(site: Installation, ada: Browser) -> None:
    page = ada.get(EDIT)
    created = ada.post("/console/roles/create", {"csrf": token(page), "new_name": "made", "document": TRUSTED})
    assert done(created) == {"name": "made", "done": "saved"}
    page = ada.get("/console/role?name=made")
    policy = {"csrf": token(page), "name": "made", "policy": "work", "document": json.dumps(json.loads(TRUSTED))}
    refused_policy = ada.post("/console/role/put-policy", policy)
    assert refused_policy.status == 400  # an identity policy names no principal
    allowed = '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "orders:*", "Resource": "*"}}'
    assert done(ada.post("/console/role/put-policy", {**policy, "document": allowed}))["done"] == "saved"
    assert "orders:*" in text(ada.get("/console/role?name=made"))
    page = ada.get("/console/role?name=made")
    assert "You confirm exactly this" in text(ada.submit(page, "/console/role/delete"))
    assert done(ada.confirm(page, "/console/role/delete")) == {"done": "deleted"}


def test_findings_and_pickers_answer_what_is_typed(site: Installation, ada: Browser) -> None:
    page = ada.get(EDIT)
    broad = TRUSTED.replace(ALPHA, "*")
    found = ada.post("/console/lint", {"csrf": token(page), "lint": "trust", "document": broad})
    assert "error" in text(found)
    assert ada.post("/console/lint", {"csrf": "x", "lint": "trust", "document": broad}).status == 403

    def picked(kind: str, wanted: str) -> list[str]:
        answer = ada.get(f"/console/pick?kind={kind}&text={wanted}")
        return [value for value, _ in json.loads(answer.body)]

    assert picked("action", "s3:getob")[0] == "s3:GetObject"
    assert picked("action", "storage serv")[0] == "s3:"
    assert picked("action", "identity and access")[0] == "iam:"
    about = ada.get("/console/pick?kind=about&text=iam:PassRole+sts:TagSession").body.decode()
    assert "Passes a role to a service." in about
    assert "Passes session tags" in about
    assert "daypass:approved" in picked("key", "approved")
    assert f"arn:aws:iam::{ALPHA}:user/ann" in picked("arn", "ann")
    assert "ann" in picked("user", "ann")
    assert "leads" in picked("group", "lea")
    assert picked("policy", "readonlya")[0] == MANAGED
    assert picked("policy", "no-policy-has-this") == picked("policy", "%00") == []
    assert picked("arn", "%00") == picked("x", "") == []
