"""Finding anything, and the inbox's events: what each person sees, and that waiting costs nothing."""

from __future__ import annotations

import json
from urllib.parse import unquote

import pytest
from tests.attack.installation import ALPHA, ROOT_OF_BETA, Answer, Installation
from tests.browser import Browser, query_of, text
from tests.console import REASON, policy, served, site
from tests.oauth_client import api
from tests.sign_in import signed_in, user

__all__ = ["site"]

ORDERS = f"arn:aws:iam::{ALPHA}:role/prod-orders"
SHOP_API = "https://shop.example"
EVENTS = "/console/inbox/events"


def found(person: Browser, wanted: str) -> list[str]:
    """The links of the page."""
    answer = person.get(f"/console/find?text={wanted}")
    assert answer.status == 200, text(answer)
    shown = answer.body.decode().partition('id="found"')[2]
    return [part.partition('"')[0].replace("&amp;", "&") for part in shown.split('href="/console')[1:]]


@pytest.mark.parametrize(
    ("wanted", "link"),
    [
        (ORDERS, "/role?name=prod-orders"),
        (f"arn:aws:sts::{ALPHA}:assumed-role/prod-orders/shift", "/role?name=prod-orders"),
        ("ann", "/user?name=ann"),
        ("engin", "/group?name=engineers"),
        ("simul", "/simulator"),
        ("0192f0c1-7a2b-7c3d-8e4f-0123456789ab", "/explain?of=0192f0c1-7a2b-7c3d-8e4f-0123456789ab"),
        ("ASIAABCDEFGHIJKLMNOP", "/records?access_key_id=ASIAABCDEFGHIJKLMNOP"),
    ],
)
def test_what_may_be_listed_is_found_and_by_others_is_not(site: Installation, wanted: str, link: str) -> None:
    ada, ann = signed_in(site, "ada"), signed_in(site, "ann")
    assert link in found(ada, wanted)
    assert found(ann, wanted) == []  # her policies let her list nothing


@pytest.fixture(scope="module")
def shop(site: Installation) -> str:
    """The id of a client named Shop, beside a resource server named Shop API."""
    settings = {
        "grant_types": ["authorization_code"],
        "redirect_uris": ["https://shop.example/"],
        "token_endpoint_auth_method": "none",
    }
    made = served(api(site, "POST", "/clients", {"name": "Shop", "settings": settings}))
    served(api(site, "PUT", f"/resource-servers/{SHOP_API}", {"name": "Shop API", "settings": {}}))
    return str(json.loads(made.body)["client_id"])


def test_find_client_resource_server_or_rule_is_by_name_id_or_arn(site: Installation, shop: str) -> None:
    ada, arn = signed_in(site, "ada"), f"arn:aws:daypass::{ALPHA}:"
    client, server = f"/client?client_id={shop}", f"/resource-server?identifier={SHOP_API}"
    for wanted, links in (
        ("sHoP", [client, server]),
        (shop, [client]),
        (f"{arn}client/{shop}", [client]),
        (SHOP_API, [server]),
        (f"{arn}resource-server/{SHOP_API}", [server]),
        (f"{arn}approval-rule/prod", ["/role?name=prod-admin", "/role?name=prod-orders", "/rule?name=prod"]),
    ):
        assert [unquote(each) for each in found(ada, wanted)] == links, wanted
    assert all(ada.get(f"/console{each}").status == 200 for each in (client, server, "/rule?name=prod"))


def test_find_client_resource_server_or_rule_without_permission_or_of_another_account_finds_nothing(
    site: Installation, shop: str
) -> None:
    name = user(site)
    site.iam("PutUserPolicy", UserName=name, PolicyName="clients", PolicyDocument=policy("daypass:ListClients"))
    wanted = ("shop", shop, SHOP_API, f"arn:aws:daypass::{ALPHA}:client/{shop}", "prod")
    for each in wanted:
        assert found(signed_in(site, "lee"), each) == []
        answer = json.loads(api(site, "GET", f"/find?text={each}", key=ROOT_OF_BETA).body)
        assert answer["found"] == [], each
    assert found(signed_in(site, name), "shop") == [f"/client?client_id={shop}"]  # what one may list, and no more


def test_find_session_is_by_a_part_of_its_name_or_its_arn(site: Installation) -> None:
    account_root = f"arn:aws:iam::{ALPHA}:root"
    trust = {"Effect": "Allow", "Principal": {"AWS": account_root}, "Action": "sts:AssumeRole"}
    role = site.role("night", json.dumps({"Version": "2012-10-17", "Statement": trust}))
    _, key = site.user("worker", policy=policy("sts:AssumeRole"))
    assert site.assume(key, role, "night-shift-7").status == 200
    ada, ann = signed_in(site, "ada"), signed_in(site, "ann")
    for wanted in ("SHIFT-7", f"arn:aws:sts::{ALPHA}:assumed-role/night/night-shift-7"):
        assert [link for link in found(ada, wanted) if link.startswith("/session?")] != [], wanted
        assert found(ann, wanted) == []
    assert found(ada, f"arn:aws:sts::{ALPHA}:assumed-role/other/night-shift-7") == []


def test_find_without_permission_to_list_roles_shows_those_to_use_and_to_request(site: Installation) -> None:
    ada, ann, lee = (signed_in(site, name) for name in ("ada", "ann", "lee"))
    assert found(ada, "ORDERS") == ["/role?name=prod-orders"]
    assert [unquote(each) for each in found(ann, "ORDERS")] == [f"/request?role={ORDERS}"]
    assert [unquote(each) for each in found(ann, "reader")] == [f"/credentials?role=arn:aws:iam::{ALPHA}:role/reader"]
    assert found(lee, "ORDERS") == []


@pytest.mark.parametrize(
    "wanted", ["%25", "_", "%00", "arn:", "arn:aws:iam::999999999999:role/", "%F0%9F%92%A5", "x" * 512]
)
def test_strange_texts_find_nothing(site: Installation, wanted: str) -> None:
    assert found(signed_in(site, "ada"), wanted) == []


def test_api_finds_the_same(site: Installation) -> None:
    answer = api(site, "GET", "/find?text=prod-orders")
    assert [each["arn"] for each in json.loads(answer.body)["found"]] == [ORDERS]
    assert api(site, "GET", "/find?text=").status == 400


def event(answer: Answer) -> tuple[str, dict[str, object] | None]:
    """The id and the data of the event of an answer."""
    fields = dict(line.split(": ", 1) for line in answer.body.decode().splitlines() if ": " in line)
    return fields.get("id", ""), json.loads(fields["data"]) if "data" in fields else None


def test_inbox_event_follows_a_change_and_nothing_else_is_read_or_recorded(site: Installation) -> None:
    ann, lee = signed_in(site, "ann"), signed_in(site, "lee")
    known, summary = event(lee.get(EVENTS))
    assert summary is not None
    assert summary["items"] == []
    recorded = len(site.record_bytes())
    assert event(lee.get(f"{EVENTS}?since={known}")) == ("", None)
    assert len(site.record_bytes()) == recorded
    page = ann.get("/console/request")
    request = query_of(ann.submit(page, "/console/request/send", role=ORDERS, reason=REASON))["id"]
    known, summary = event(lee.get(f"{EVENTS}?since={known}"))
    assert summary is not None
    assert summary["items"] == [["ann asks for prod-orders", f"/console/access-request?id={request}"]]
    own = event(ann.get(EVENTS))[1]
    assert own is not None
    assert own["items"] == []  # nobody approves a request of their own
    assert "ann asks for prod-orders" in text(lee.get("/console/inbox"))
    lee.submit(lee.get("/console/"), "/logout")
    assert lee.get(f"{EVENTS}?since={known}").status == 303
