"""Attacks by another spelling of a resource's name: a Deny on the resource applies however a request names it. Row A196."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.attack.installation import ALPHA, ROOT, Installation, Key, document, trust
from tests.attack.test_administration import api

URL = "idp.a196.example"
PROVIDER = f"arn:aws:iam::{ALPHA}:oidc-provider/{URL}"
SPELLINGS = [
    PROVIDER.replace("arn:aws:", "arn:aws-cn:"),
    PROVIDER.replace("arn:aws:", "arn:other:"),
    PROVIDER.replace("idp.a196", "IDP.a196"),
    PROVIDER.replace("oidc-provider/", "oidc-provider//"),
    f"{PROVIDER}/",
]
CHANGES: list[tuple[str, dict[str, str]]] = [
    ("GetOpenIDConnectProvider", {}),
    ("AddClientIDToOpenIDConnectProvider", {"ClientID": "evil"}),
    ("RemoveClientIDFromOpenIDConnectProvider", {"ClientID": "app"}),
    ("UpdateOpenIDConnectProviderThumbprint", {"ThumbprintList.member.1": "a" * 40}),
    ("TagOpenIDConnectProvider", {"Tags.member.1.Key": "k", "Tags.member.1.Value": "v"}),
    ("ListOpenIDConnectProviderTags", {}),
    ("DeleteOpenIDConnectProvider", {}),
]
Refused = Callable[..., dict[str, Any]]


def all_but(*resources: str) -> str:
    """A policy that allows everything but what is done on these resources."""
    return document({"Action": "*", "Resource": "*"}, {"Effect": "Deny", "Action": "*", "Resource": list(resources)})


@pytest.fixture(scope="module")
def provider(site: Installation) -> None:
    site.iam("CreateOpenIDConnectProvider", Url=f"https://{URL}", **{"ClientIDList.member.1": "app"})


@pytest.fixture(scope="module")
def eve(site: Installation, provider: None) -> Key:
    return site.user("eve-a196", policy=all_but(f"arn:aws:iam::{ALPHA}:oidc-provider/*"))[1]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(("action", "params"), CHANGES)
def test_a196_provider_named_by_another_arn_is_not_found(
    site: Installation, eve: Key, refused: Refused, action: str, params: dict[str, str], spelling: str
) -> None:
    before = site.iam("GetOpenIDConnectProvider", OpenIDConnectProviderArn=PROVIDER).body.partition(b"RequestId")[0]
    answer = site.call(eve, action, {"OpenIDConnectProviderArn": spelling, **params}, service="iam")
    refused(answer, answer.code, answer.status)
    assert answer.status in (403, 404)
    by_root = site.call(ROOT, action, {"OpenIDConnectProviderArn": spelling, **params}, service="iam")
    refused(by_root, "NoSuchEntity", 404)
    after = site.iam("GetOpenIDConnectProvider", OpenIDConnectProviderArn=PROVIDER).body.partition(b"RequestId")[0]
    assert after == before


def tag(key: str, value: str) -> dict[str, str]:
    return {"Tags.member.1.Key": key, "Tags.member.1.Value": value}


@pytest.mark.parametrize("kind", ["User", "Role"])
def test_a199_look_alike_of_a_protected_tag_key_neither_replaces_nor_removes_it(
    site: Installation, refused: Refused, kind: str
) -> None:
    """The Kelvin sign becomes k in Unicode's lower case, but not in condition keys."""
    name = f"tagged-{kind.lower()}"
    if kind == "User":
        site.user(name)
    else:
        site.role(name, trust(ALPHA))
    guarded = {"ForAnyValue:StringEqualsIgnoreCase": {"aws:TagKeys": "risk"}}
    policy = document(
        {"Action": "iam:*", "Resource": "*"},
        {"Effect": "Deny", "Action": "iam:*", "Resource": "*", "Condition": guarded},
    )
    _, mallory = site.user(f"mallory-{kind.lower()}", policy=policy)
    named: dict[str, Any] = {f"{kind}Name": name}
    site.iam(f"Tag{kind}", **(named | tag("risk", "high")))
    for key in ("risk", "RISK"):
        answer = site.call(mallory, f"Untag{kind}", {**named, "TagKeys.member.1": key}, service="iam")
        refused(answer, "AccessDenied", 403)
    site.iam(f"Tag{kind}", mallory, **(named | tag("ris\u212a", "low")))
    site.iam(f"Untag{kind}", mallory, **(named | {"TagKeys.member.1": "RIS\u212a"}))
    shown = site.iam(f"List{kind}Tags", **named)
    tags = {e.findtext("{*}Key"): e.findtext("{*}Value") for e in shown.xml.iter() if e.tag.endswith("}member")}
    assert tags["risk"] == "high"


@pytest.fixture(scope="module")
def warden(site: Installation) -> Key:
    """A user who may do everything, but nothing on the role and the user "Guarded"."""
    site.role("Guarded", trust(ALPHA))
    site.user("Guarded")
    resources = (f"arn:aws:daypass::{ALPHA}:{kind}/Guarded" for kind in ("role", "user"))
    return site.user("warden", policy=all_but(*resources))[1]


@pytest.mark.parametrize(
    ("method", "path", "query", "body"),
    [
        ("GET", "/roles/{}/settings", "", None),
        ("PUT", "/roles/{}/settings", "", {"chained_max_seconds": 43_200}),
        ("POST", "/trust/test", "", {"role": "{}", "token": "a.b.c"}),
        ("GET", "/mfa-devices", "user={}", None),
        ("POST", "/offboardings", "", {"user": "{}"}),
    ],
    ids=["get-settings", "put-settings", "test-trust", "list-devices", "offboard"],
)
@pytest.mark.parametrize("spelling", ["Guarded", "GUARDED", "guarded"])
def test_a196_name_in_other_letters_does_not_escape_a_deny(
    site: Installation, warden: Key, method: str, path: str, query: str, body: dict[str, Any] | None, spelling: str
) -> None:
    made = json.loads(json.dumps(body).replace("{}", spelling)) if body is not None else None
    answer = api(site, warden, method, path.format(spelling), query.format(spelling), made)
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["code"]) == (403, "AccessDenied"), answer.body
    assert spelling == "Guarded" or "Guarded" not in error["message"], "the stored spelling is not told"
    [record] = site.records(answer.request_id)
    assert record["type"] == "request.denied"
    assert site.iam("GetUser", UserName="Guarded").text("UserName") == "Guarded"


@pytest.mark.parametrize("subject", ["role", "principal"])
def test_a196_role_named_as_a_principal_does_not_escape_a_deny(site: Installation, subject: str) -> None:
    """A role's id names one thing, as the role of a revocation and as its principal."""
    role_id = site.iam("GetRole", RoleName=site.role(f"kept-{subject}", trust(ALPHA)).rpartition("/")[2]).text("RoleId")
    guard = site.user(f"guard-{subject}", policy=all_but(f"arn:aws:daypass::{ALPHA}:role/{role_id}"))[1]
    wanted = {"subject": subject, "value": role_id, "block": True}
    also = {"kind": "principal", "value": role_id}
    made = json.loads(api(site, ROOT, "POST", "/revocations", body=wanted).body)
    for path, body in (
        ("/revocations", wanted),
        ("/revocations", {**wanted, "value": f"kept-{subject}"}),
        ("/offboardings", {"also": [also]}),
        (f"/revocations/{made['id']}/lift", {}),
    ):
        answer = api(site, guard, "POST", path, body=body)
        assert (answer.status, json.loads(answer.body)["error"]["code"]) == (403, "AccessDenied"), answer.body
        [record] = site.records(answer.request_id)
        assert record["detail"]["private"]["resource"] == f"arn:aws:daypass::{ALPHA}:role/{role_id}"
