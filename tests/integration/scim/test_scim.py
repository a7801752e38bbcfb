"""SCIM as Entra ID and Okta use it: users and groups created, found, patched, deactivated and deleted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from tests.attack.installation import ALPHA, Installation, document
from tests.browser import Browser
from tests.directory_service import DirectoryService, directory_of
from tests.oauth_client import api
from tests.sign_in import PASSWORD, signed_in, site_with_pages

from daypass.domain.scim import GROUP_SCHEMA, USER_SCHEMA
from daypass.operations.access_requests.follow import sweep


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with site_with_pages(tmp_path_factory.mktemp("scim")) as made:
        yield made


@pytest.fixture(scope="module")
def entra(site: Installation) -> DirectoryService:
    return directory_of(site)


def test_user_is_created_found_and_is_a_user_of_iam(site: Installation, entra: DirectoryService) -> None:
    emails = [{"value": "ann@example.com", "type": "work", "primary": True}]
    made = entra.user("ann@example.com", externalId="e-1", displayName="Ann", emails=emails, title="ignored")
    assert made["id"].startswith("AIDA")
    assert (made["active"], made["groups"]) == (True, [])
    assert "title" not in made
    assert site.iam("GetUser", UserName="ANN@example.com").text("UserId") == made["id"]
    for wanted in (
        'userName eq "Ann@Example.com"',
        'externalId eq "e-1"',
        f'id eq "{made["id"]}"',
        'emails.value eq "ANN@example.com"',
        'USERNAME Eq "ann@example.com" AND active eq true',
        'urn:ietf:params:scim:schemas:core:2.0:User:userName eq "ann@example.com"',
    ):
        page = entra.ok("GET", f"Users?filter={wanted}".replace(" ", "%20").replace('"', "%22"))
        assert [each["id"] for each in page["Resources"]] == [made["id"]], wanted
    none = entra.ok("GET", "Users?filter=userName%20eq%20%22nobody%22")
    assert (none["totalResults"], none["Resources"]) == (0, [])


def test_list_is_paged_by_index_and_count(entra: DirectoryService) -> None:
    for number in range(5):
        entra.user(f"paged-{number}")
    every = entra.ok("GET", "Users?count=200")
    total = every["totalResults"]
    first = entra.ok("GET", "Users?startIndex=1&count=3")
    second = entra.ok("GET", "Users?startIndex=4&count=3")
    assert (first["itemsPerPage"], first["totalResults"], second["startIndex"]) == (3, total, 4)
    ids = [each["id"] for each in first["Resources"] + second["Resources"]]
    assert ids == [each["id"] for each in every["Resources"]][:6]
    assert entra.ok("GET", "Users?count=0")["Resources"] == []


@pytest.mark.parametrize("page", ["count=0", "startIndex=2"])
def test_filter_without_a_resource_on_the_page_counts_those_that_match(entra: DirectoryService, page: str) -> None:
    made = entra.user(f"counted-{page[0]}")
    query = f"filter=id%20eq%20%22{made['id']}%22"
    shown = entra.ok("GET", f"Users?{query}&{page}")
    assert (shown["totalResults"], shown["Resources"]) == (1, [])
    entra.ok("DELETE", f"Users/{made['id']}")
    assert entra.ok("GET", f"Users?{query}")["totalResults"] == 0


def test_patch_of_entra_and_of_okta_changes_the_same(site: Installation, entra: DirectoryService) -> None:
    made = entra.user("bob@example.com")
    changed = entra.patch(
        made,
        {"op": "Replace", "path": "displayName", "value": "Bob"},
        {"op": "Add", "path": 'emails[type eq "work"].value', "value": "bob@example.com"},
        {"op": "Add", "path": "name.givenName", "value": "Bob"},
        {"op": "Replace", "path": "userName", "value": "robert@example.com"},
    )
    assert changed["userName"] == "robert@example.com"
    assert changed["emails"] == [{"value": "bob@example.com", "type": "work"}]
    assert changed["name"] == {"givenName": "Bob"}
    assert changed["meta"]["version"] != made["meta"]["version"]
    assert site.iam("GetUser", UserName="robert@example.com").text("UserId") == made["id"]
    okta = entra.patch(made, {"op": "replace", "value": {"displayName": "Robert", "active": True}})
    assert okta["displayName"] == "Robert"
    gone = entra.patch(made, {"op": "remove", "path": "displayName"})
    assert "displayName" not in gone


def test_group_gives_its_members_the_policies_that_administrators_attach(
    site: Installation, entra: DirectoryService
) -> None:
    one, two = entra.user("member-1"), entra.user("member-2")
    group = entra.group("Order Team", one, externalId="g-1")
    asked = entra.ok("GET", f"Groups/{group['id']}?attributes=members")
    assert [each["display"] for each in asked["members"]] == ["member-1"]
    site.iam("GetGroup", GroupName="Order-Team")
    group = entra.patch(group, {"op": "Add", "path": "members", "value": [{"value": two["id"]}]})
    assert {each["value"] for each in group["members"]} == {one["id"], two["id"]}
    group = entra.patch(group, {"op": "Remove", "path": "members", "value": [{"value": one["id"]}]})
    group = entra.patch(group, {"op": "remove", "path": f'members[value eq "{two["id"]}"]'})
    assert group["members"] == []
    replaced = entra.ok("PUT", f"Groups/{group['id']}", {"displayName": "Orders", "members": [{"value": one["id"]}]})
    assert replaced["displayName"] == "Orders"
    assert [each["display"] for each in entra.ok("GET", f"Users/{one['id']}")["groups"]] == ["Orders"]
    listed = entra.ok("GET", "Groups?filter=displayName%20eq%20%22orders%22&excludedAttributes=members")
    assert [("members" in each, each["id"]) for each in listed["Resources"]] == [(False, group["id"])]
    site.iam(
        "PutGroupPolicy",
        GroupName="Orders",
        PolicyName="p",
        PolicyDocument=document({"Action": "s3:*", "Resource": "*"}),
    )
    entra.ok("DELETE", f"Groups/{group['id']}")
    assert entra.refused(404, "GET", f"Groups/{group['id']}") == ""


def test_deactivated_user_loses_sessions_browsers_keys_and_open_requests(
    site: Installation, entra: DirectoryService
) -> None:
    made = entra.user("leaver@example.com")
    site.iam("CreateLoginProfile", UserName="leaver@example.com", Password=PASSWORD)
    may = document({"Action": ["daypass:*", "sts:*", "iam:*"], "Resource": "*"})
    site.iam("PutUserPolicy", UserName="leaver@example.com", PolicyName="p", PolicyDocument=may)
    created = site.iam("CreateAccessKey", UserName="leaver@example.com")
    key = (created.text("AccessKeyId"), created.text("SecretAccessKey"))
    browser = signed_in(site, "leaver@example.com")
    session = site.call(key, "GetSessionToken")
    assert session.status == 200
    request = _request(site, key)
    changed = entra.patch(made, {"op": "Replace", "path": "active", "value": "False"})
    assert changed["active"] is False
    assert site.call(key, "GetCallerIdentity").status == 403
    assert site.call(session.key, "GetCallerIdentity").status == 403
    assert browser.get("/account").status == 303
    assert Browser(site).sign_in(ALPHA, "leaver@example.com", PASSWORD).status == 403
    site.run(sweep(site.runtime.env))
    found = json.loads(api(site, "GET", f"/access-requests/{request['id']}").body)
    assert (found["state"], found["end_reason"]) == ("cancelled", "ineligible")
    again = entra.patch(made, {"op": "replace", "value": {"active": True}})
    assert again["active"] is True
    fresh = site.iam("CreateAccessKey", UserName="leaver@example.com")
    new = (fresh.text("AccessKeyId"), fresh.text("SecretAccessKey"))
    assert site.call(new, "GetSessionToken").status == 200, "the directory's own block is lifted"
    assert site.call(session.key, "GetCallerIdentity").status == 403, "what has ended stays ended"


def _request(site: Installation, key: Any) -> Any:
    trust = document(
        {
            "Principal": {"AWS": f"arn:aws:iam::{ALPHA}:root"},
            "Action": "sts:AssumeRole",
            "Condition": {"Bool": {"daypass:Approved": "true"}},
        }
    )
    arn = site.role("scim-prod", trust)
    rule = {
        "roles": ["role/scim-prod"],
        "requesters": {"principals": ["user/*"]},
        "stages": [{"approvers": {"principals": ["user/nobody"]}}],
    }
    assert api(site, "PUT", "/approval-rules/scim", {"document": json.dumps(rule)}).status == 200
    answer = api(site, "POST", "/access-requests", {"roles": [arn], "reason": "Incident 42: orders"}, key)
    assert answer.status == 201, answer.body
    return json.loads(answer.body)


def test_deleted_user_is_gone_with_keys_and_groups_and_its_name_is_free(
    site: Installation, entra: DirectoryService
) -> None:
    made = entra.user("goner@example.com")
    entra.group("goners", made)
    created = site.iam("CreateAccessKey", UserName="goner@example.com")
    key = (created.text("AccessKeyId"), created.text("SecretAccessKey"))
    entra.ok("DELETE", f"Users/{made['id']}")
    assert site.call(key, "GetCallerIdentity").status == 403
    assert entra.refused(404, "GET", f"Users/{made['id']}") == ""
    assert entra.user("goner@example.com")["id"] != made["id"]


def test_versions_are_entity_tags(entra: DirectoryService) -> None:
    made = entra.user("tagged")
    path = f"Users/{made['id']}"
    answer, tag = entra.send("GET", path), made["meta"]["version"].encode()
    assert answer.headers["etag"].encode() == tag
    assert entra.send("GET", path, None, (b"if-none-match", tag)).status == 304
    body = {"userName": "tagged", "displayName": "x"}
    changed = entra.ok("PUT", path, body, (b"if-match", tag))
    assert changed == entra.ok("GET", path)
    entra.refused(412, "PUT", path, body, (b"if-match", tag))
    entra.refused(412, "DELETE", path, None, (b"if-match", tag))
    entra.ok("PUT", path, body, (b"if-match", b"*"))


def test_service_describes_itself(entra: DirectoryService) -> None:
    config = entra.ok("GET", "ServiceProviderConfig")
    assert (config["patch"]["supported"], config["bulk"]["supported"], config["etag"]["supported"]) == (
        True,
        False,
        True,
    )
    kinds = entra.ok("GET", "ResourceTypes")["Resources"]
    assert [each["endpoint"] for each in kinds] == ["/Users", "/Groups"]
    described = entra.ok("GET", "Schemas")["Resources"]
    assert [each["name"] for each in described] == ["User", "Group"]
    assert entra.ok("GET", f"Schemas/{described[0]['id']}") == described[0]
    assert entra.refused(404, "GET", "Schemas/none") == ""
    assert entra.refused(404, "GET", "Bulk") == ""


def test_token_expires_and_is_deleted_and_its_user_needs_the_permission(site: Installation) -> None:
    weak = directory_of(site, "weak", policy=document({"Action": "daypass:ListSessions", "Resource": "*"}))
    weak.refused(403, "GET", "Users")
    okta = directory_of(site, "okta")
    okta.ok("GET", "Users?count=1")
    assert api(site, "DELETE", "/scim-tokens/okta").status == 204
    okta.refused(401, "GET", "Users")
    short = directory_of(site, "short", days=1)
    site.wall.time += 86_400_000
    short.refused(401, "GET", "Users")


def test_attributes_are_chosen_and_searches_can_be_posted(entra: DirectoryService) -> None:
    made = entra.user("chosen", displayName="Chosen")
    path = f"Users/{made['id']}"
    assert set(entra.ok("GET", f"{path}?attributes=userName,name.givenName")) == {"schemas", "id", "userName"}
    assert "displayName" not in entra.ok("GET", f"{path}?excludedAttributes=DISPLAYNAME")
    body = {"filter": 'userName eq "chosen"', "attributes": ["userName"], "count": 1}
    (found,) = entra.ok("POST", "Users/.search", body)["Resources"]
    assert found == {"schemas": made["schemas"], "id": made["id"], "userName": "chosen"}
    for method, target in (("POST", "Schemas"), ("DELETE", "Users"), ("POST", path), ("GET", "Users/.search")):
        entra.refused(405, method, target, {} if method == "POST" else None)


def test_replacement_or_removal_without_active_does_not_activate_a_user(
    site: Installation, entra: DirectoryService
) -> None:
    made = entra.user("dormant", active=False)
    path = f"Users/{made['id']}"
    assert entra.ok("PUT", path, {"userName": "dormant", "displayName": "Still away"})["active"] is False
    assert "active" not in entra.patch(made, {"op": "remove", "path": "active"})
    created = site.iam("CreateAccessKey", UserName="dormant")
    key = (created.text("AccessKeyId"), created.text("SecretAccessKey"))
    assert site.call(key, "GetSessionToken").status == 403


def filtered(entra: DirectoryService, wanted: str, what: str = "Users") -> set[str]:
    page = entra.ok("GET", f"{what}?count=200&filter={quote(wanted)}")
    return {each.get("userName") or each["displayName"] for each in page["Resources"]}


def test_filters_have_the_whole_grammar(entra: DirectoryService) -> None:
    work, home = {"value": "f1@work.example", "type": "work"}, {"value": "f2@home.example", "type": "home"}
    entra.user("filter-1", displayName="First", emails=[work], externalId="x-1")
    entra.user("filter-2", emails=[home], active=False)
    both = {"filter-1", "filter-2"}
    for wanted, found in (
        ('userName sw "FILTER-" and active eq true', {"filter-1"}),
        ('userName eq "filter-1" or userName eq "filter-2"', both),
        ('userName co "ilter-" and not (active eq true)', {"filter-2"}),
        ('userName ew "-2" and userName sw "filter"', {"filter-2"}),
        ('userName sw "filter-" and displayName pr', {"filter-1"}),
        ('userName sw "filter-" and displayName ne "first"', {"filter-2"}),
        ('emails[type eq "work" and value co "@work.example"]', {"filter-1"}),
        ('emails[type eq "work" and value co "@home.example"]', set()),
        ('userName sw "filter-" and (externalId eq "x-1" or emails.type eq "home")', both),
        ('userName gt "filter-1" and userName le "filter-2"', {"filter-2"}),
        ('userName sw "filter-" and meta.created gt "2020-01-01T00:00:00Z"', both),
        ('userName sw "filter-" and meta.created lt "2020-01-01T00:00:00Z"', set()),
    ):
        assert filtered(entra, wanted) == found, wanted


def test_search_of_the_root_is_of_users_and_groups(entra: DirectoryService) -> None:
    user = entra.user("rooted")
    group = entra.ok("POST", "Groups", {"schemas": [GROUP_SCHEMA], "displayName": "rooted"})
    body = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
        "filter": f'id eq "{user["id"]}" or id eq "{group["id"]}"',
    }
    page = entra.ok("POST", ".search", body)
    assert [each["id"] for each in page["Resources"]] == [user["id"], group["id"]]
    second = entra.ok("POST", ".search", {**body, "startIndex": 2, "count": 1})
    assert ([each["id"] for each in second["Resources"]], second["totalResults"]) == ([group["id"]], 2)


def test_user_with_a_name_that_iam_has_not_is_found_renamed_and_shown_by_it(
    site: Installation, entra: DirectoryService
) -> None:
    made = entra.user("山田 太郎", displayName="山田")
    assert made["userName"] == "山田 太郎"
    assert filtered(entra, 'userName eq "山田 太郎"') == {"山田 太郎"}
    group = entra.ok(
        "POST", "Groups", {"schemas": [GROUP_SCHEMA], "displayName": "Tokyo", "members": [{"value": made["id"]}]}
    )
    assert "display" not in group["members"][0]
    asked = entra.ok("GET", f"Groups/{group['id']}?attributes=members")
    assert [each["display"] for each in asked["members"]] == ["山田"]
    changed = entra.patch(made, {"op": "replace", "path": "userName", "value": "yamada"})
    assert changed["userName"] == "yamada"
    assert site.iam("GetUser", UserName="yamada").text("UserId") == made["id"]
    assert entra.refused(409, "POST", "Users", {"schemas": [USER_SCHEMA], "userName": "ｙamada"}) == "uniqueness"


def test_patch_selects_elements_by_any_filter(entra: DirectoryService) -> None:
    emails = [{"value": "a@x.example", "type": "work"}, {"value": "b@y.example", "type": "home"}]
    made = entra.user("patched-by-filter", emails=emails)
    path = 'emails[type eq "work" or value ew "z.example"].value'
    changed = entra.patch(made, {"op": "replace", "path": path, "value": "c@x.example"})
    assert [each["value"] for each in changed["emails"]] == ["c@x.example", "b@y.example"]
    left = entra.patch(changed, {"op": "remove", "path": 'emails[not (type eq "work")]'})
    assert [each["value"] for each in left["emails"]] == ["c@x.example"]


def test_active_that_is_removed_is_not_shown_and_changes_nothing(entra: DirectoryService) -> None:
    for name, active in (("unassigned-1", True), ("unassigned-2", False)):
        made = entra.user(name, active=active)
        removed = entra.patch(made, {"op": "remove", "path": "active"})
        assert "active" not in removed
        assert "active" not in entra.ok("GET", f"Users/{made['id']}")
        assert entra.patch(made, {"op": "replace", "path": "displayName", "value": "x"}).get("active") is None
        again = entra.patch(made, {"op": "replace", "path": "active", "value": active})
        assert again["active"] is active
