"""Attacks by SCIM: other accounts, local users and groups, look-alike names, costly filters, hostile bodies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from tests.attack.installation import ALPHA, ROOT_OF_BETA, Installation
from tests.directory_service import GROUP, PATCH, USER, DirectoryService, directory_of
from tests.oauth_client import api
from tests.sign_in import site_with_pages

from daypass.domain.directory import ScimResource, User
from daypass.domain.events import Event, EventType
from daypass.domain.scim import user_name
from daypass.domain.scim_patch import apply_patch
from daypass.operations import heavy, management, scim
from daypass.operations.scim_tokens import MAX_MEMBER_CHANGES
from daypass.ports import Tx
from daypass.stores.tx import StoreReader


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with site_with_pages(tmp_path_factory.mktemp("scim")) as made:
        yield made


@pytest.fixture(scope="module")
def entra(site: Installation) -> DirectoryService:
    return directory_of(site)


def test_a122_directory_of_another_account_sees_and_changes_nothing(
    site: Installation, entra: DirectoryService
) -> None:
    other = directory_of(site, "beta", ROOT_OF_BETA)
    made = entra.user("victim")
    group = entra.group("victims", made)
    path = f"Users/{made['id']}"
    for method, target, body in (
        ("GET", path, None),
        ("PUT", path, {"userName": "taken"}),
        ("PATCH", path, {"schemas": [PATCH], "Operations": [{"op": "replace", "path": "active", "value": False}]}),
        ("DELETE", path, None),
        ("DELETE", f"Groups/{group['id']}", None),
    ):
        other.refused(404, method, target, body)
    assert other.ok("GET", "Users")["totalResults"] == 0
    assert other.ok("GET", f"Users?filter=id%20eq%20%22{made['id']}%22")["totalResults"] == 0
    body = {"schemas": [GROUP], "displayName": "mine", "members": [{"value": made["id"]}]}
    assert other.refused(400, "POST", "Groups", body) == "invalidValue"
    assert entra.ok("GET", path)["active"] is True


def test_a122_users_and_groups_of_administrators_are_neither_shown_nor_taken_over(
    site: Installation, entra: DirectoryService
) -> None:
    local = site.iam("CreateUser", UserName="local-admin").text("UserId")
    site.iam("CreateGroup", GroupName="admins")
    site.iam("AddUserToGroup", GroupName="admins", UserName="local-admin")
    mine = entra.user("climber")
    assert entra.refused(409, "POST", "Users", {"userName": "Local-Admin"}) == "uniqueness"
    assert entra.refused(409, "POST", "Groups", {"displayName": "ADMINS", "members": [{"value": mine["id"]}]}) == (
        "uniqueness"
    )
    entra.refused(404, "GET", f"Users/{local}")
    group = entra.group("harmless")
    assert entra.refused(409, "PUT", f"Groups/{group['id']}", {"displayName": "admins"}) == "uniqueness"
    body = {"displayName": "harmless", "members": [{"value": local}]}
    assert entra.refused(400, "PUT", f"Groups/{group['id']}", body) == "invalidValue"
    assert "climber" not in site.iam("GetGroup", GroupName="admins").body.decode()


@pytest.mark.parametrize(
    "name",
    ["admin\u200b", "ad\u202emin", "admin\x00", "", "admin\n"],  # look-alikes
)
def test_a122_name_that_looks_like_another_is_refused(entra: DirectoryService, name: str) -> None:
    assert entra.refused(400, "POST", "Users", {"schemas": [USER], "userName": name}) == "invalidValue"


@pytest.mark.parametrize("name", ["admin ", "ａdmin", "ADMIN", "ＡＤＭＩＮ"])
def test_a122_name_in_another_form_of_a_users_name_is_taken(entra: DirectoryService, name: str) -> None:
    assert entra.refused(409, "POST", "Users", {"schemas": [USER], "userName": name}) == "uniqueness"


def test_a122_name_of_other_letters_that_looks_like_a_users_name_is_another_in_iam(entra: DirectoryService) -> None:
    made = entra.user("\u0410DMIN")
    assert user_name(made["userName"]).startswith("dmin-")


def test_a122_rename_to_a_name_of_another_case_of_somebody_else_is_refused(entra: DirectoryService) -> None:
    entra.user("carol")
    made = entra.user("dave")
    operation = {"op": "replace", "path": "userName", "value": "CAROL"}
    body = {"schemas": [PATCH], "Operations": [operation]}
    assert entra.refused(409, "PATCH", f"Users/{made['id']}", body) == "uniqueness"
    assert entra.ok("GET", f"Users/{made['id']}")["userName"] == "dave"
    assert entra.patch(made, {**operation, "value": "Dave"})["userName"] == "Dave"


@pytest.mark.parametrize(
    "text",
    [
        'userName eq "' + "a" * 2000 + '"',
        " and ".join(['userName eq "a"'] * 17),
        "(" * 500 + 'userName eq "a"' + ")" * 500,
        "userName eq",
        "",
        'userName eq "a" and ',
        'userName eq "\\u00"',
        "a." * 300 + 'a eq "x"',
    ],
)
def test_a122_filter_beyond_the_supported_ones_is_refused(entra: DirectoryService, text: str) -> None:
    assert entra.refused(400, "GET", f"Users?filter={quote(text)}") in ("invalidFilter", "invalidValue")


@pytest.mark.parametrize(
    "body",
    [
        [],
        "text",
        {"userName": 1},
        {"userName": "x1", "active": "perhaps"},
        {"userName": "x1", "emails": "a"},
        {"userName": "x1", "emails": [{"value": {}}]},
        {"userName": "x1", "name": []},
        {"userName": "x1", "displayName": "a\u202eb"},
        {"userName": ["x1"]},
        {},
    ],
)
def test_a122_hostile_user_is_refused(entra: DirectoryService, body: Any) -> None:
    entra.refused(400, "POST", "Users", body)


@pytest.mark.parametrize(
    "operations",
    [
        None,
        [],
        {},
        [1],
        [{"op": "copy", "path": "userName"}],
        [{"op": "remove"}],
        [{"op": "replace", "value": "x"}],
        [{"op": "remove", "path": "userName"}],
        [{"op": "replace", "path": "a[b[c]]", "value": 1}],
        [{"op": "replace", "path": "userName.x", "value": 1}],
        [{"op": "replace", "path": 'emails[type eq "work"', "value": 1}],
        [{"op": "replace", "path": "userName", "value": {"a": 1}}],
        [{"op": "add", "path": "emails", "value": [[[]]]}],
        [{"op": "add", "path": "displayName", "value": "x"}] * 101,
    ],
)
def test_a122_hostile_patch_is_refused_and_changes_nothing(entra: DirectoryService, operations: Any) -> None:
    page = entra.ok("GET", "Users?filter=userName%20eq%20%22patched%22")
    made = page["Resources"][0] if page["totalResults"] else entra.user("patched")
    entra.refused(400, "PATCH", f"Users/{made['id']}", {"schemas": [PATCH], "Operations": operations})
    assert entra.ok("GET", f"Users/{made['id']}") == made


def test_a122_token_is_needed_for_every_path_and_is_good_for_nothing_else(
    site: Installation, entra: DirectoryService
) -> None:
    for token in ("", "dpscim_" + "0" * 80, entra.token + "0", "x" * 300):
        stranger = DirectoryService(site, token)
        for path in ("Users", "ServiceProviderConfig", "Schemas"):
            assert stranger.refused(401, "GET", path) == ""
    twice = [(b"authorization", f"Bearer {entra.token}".encode())] * 2
    assert site.send("GET", twice, path=b"/scim/v2/Users").status == 401
    answer = site.send("GET", twice[:1], path=b"/api/v1/scim-tokens")
    assert answer.status == 400  # the API takes signatures
    assert entra.token.encode() not in b"".join(site.record_bytes())


def test_a122_making_a_token_takes_the_permissions_of_what_it_can_do(site: Installation) -> None:
    policy = json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "daypass:*", "Resource": "*"}]}
    )
    _, key = site.user("token-maker", policy=policy)
    answer = api(site, "POST", "/scim-tokens", {"name": "sneaky", "user": "token-maker"}, key)
    assert answer.status == 403
    assert b"iam:CreateUser" in answer.body


def test_a240_patch_with_too_much_work_is_refused_on_the_record(site: Installation, entra: DirectoryService) -> None:
    made = entra.user("patched-at-length")
    body = {"schemas": [PATCH], "Operations": [{"op": "add", "value": {f"a{number}": 1 for number in range(20_000)}}]}
    answer = entra.send("PATCH", f"Users/{made['id']}", body)
    assert (answer.status, json.loads(answer.body).get("scimType")) == (400, "tooMany"), answer.body
    assert any(b"tooMany" in record for record in site.record_bytes())
    assert entra.ok("GET", f"Users/{made['id']}") == made


def seeded(site: Installation, count: int, prefix: str) -> list[str]:
    """Users of the directory, written at once: their ids."""
    ids = [f"AIDA{prefix}{number:010}" for number in range(count)]

    def change(tx: Tx) -> tuple[None, Event]:
        for number, each in enumerate(ids):
            document = json.dumps({"userName": f"{prefix}{number}", "active": True})
            tx.insert(User(each, ALPHA, f"{prefix}{number}", "/", 1))
            tx.insert(ScimResource(each, ALPHA, "User", "", document, 1, 1, 1))
        return None, Event(EventType.SECURITY_EVENT, 1, ALPHA)

    site.run(site.runtime.env.journal.write(change))
    return ids


def test_a352_request_with_thousands_of_member_changes_is_refused_and_several_are_taken(
    site: Installation, entra: DirectoryService
) -> None:
    """7,000 members took 6 s of the transaction for which everybody's writes wait."""
    ids = seeded(site, MAX_MEMBER_CHANGES + 50, "crowd")
    some, rest = ids[:MAX_MEMBER_CHANGES], ids[MAX_MEMBER_CHANGES:]
    everyone = [{"value": each} for each in ids]
    assert entra.refused(400, "POST", "Groups", {"displayName": "crowd", "members": everyone}) == "tooMany"
    group = entra.ok("POST", "Groups", {"displayName": "crowd", "members": [{"value": each} for each in some]})
    path = f"Groups/{group['id']}"
    entra.patch(group, {"op": "add", "path": "members", "value": [{"value": each} for each in rest]})
    shown = entra.ok("GET", path)["members"]
    assert [each["value"] for each in shown] == ids
    assert entra.refused(400, "PUT", path, {"displayName": "crowd"}) == "tooMany"
    same = entra.ok("PUT", path, {"displayName": "crowd", "members": everyone[1:]})
    assert same["members"] == shown[1:] == entra.ok("GET", path)["members"]
    entra.ok("DELETE", path)
    entra.refused(404, "GET", path)
    assert "groups" not in entra.ok("GET", f"Users/{ids[1]}") or not entra.ok("GET", f"Users/{ids[1]}")["groups"]


def test_a353_page_of_groups_with_many_members_ends_early(
    site: Installation, entra: DirectoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(management, "MAX_BYTES", 4_096)
    ids = seeded(site, 30, "wide")
    made = [
        entra.ok("POST", "Groups", {"displayName": f"wide-{number}", "members": [{"value": each} for each in ids]})[
            "id"
        ]
        for number in range(3)
    ]
    found: list[str] = []
    while len(found) < (answer := entra.ok("GET", f"Groups?startIndex={len(found) + 1}"))["totalResults"]:
        assert 1 <= answer["itemsPerPage"] == len(answer["Resources"])
        found += [each["id"] for each in answer["Resources"]]
    assert set(made) <= set(found)
    assert len(set(found)) == len(found)
    query = quote(f'members.value eq "{ids[0]}" and displayName eq "wide-1"')
    assert [each["id"] for each in entra.ok("GET", f"Groups?filter={query}")["Resources"]] == [made[1]]
    assert entra.ok("GET", "Groups?filter=" + quote(f'members eq "{ids[0]}"'))["totalResults"] == 3


def test_a350_costly_patch_is_done_before_the_transaction(
    site: Installation, entra: DirectoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody's requests waited 0.6 s for those of one account."""
    work: list[object] = []
    compute = heavy.compute

    def applied(*args: Any) -> Any:
        work.append(args[2:])
        return apply_patch(*args)

    async def computed(*args: Any, **how: Any) -> Any:
        work.append("heavy")
        return await compute(*args, **how)

    monkeypatch.setattr(scim, "apply_patch", applied)
    monkeypatch.setattr(heavy, "compute", computed)
    made = entra.user("patched-before")
    entra.patch(made, {"op": "replace", "path": "displayName", "value": "Ann"})
    body = {"schemas": [PATCH], "Operations": [{"op": "add", "value": {f"a{number}": 1 for number in range(500)}}]}
    entra.ok("PATCH", f"Users/{made['id']}", body)
    small = (scim._STEPS_OF_LOOP,)
    assert work[:3] == [small, small, "heavy"]
    assert work[3:] in ([], [()])  # in another process, or in place of one


def test_patch_of_what_has_changed_since_it_was_read_is_applied_to_that(
    site: Installation, entra: DirectoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, write = entra.user("patched-twice", displayName="Ann"), scim._changed

    async def changed(env: Any, call: Any, kind: str, identity: str, if_match: str, edit: Any, **more: Any) -> Any:
        await write(env, call, kind, identity, "", lambda known: {**known, "displayName": "Eve"})
        return await write(env, call, kind, identity, if_match, edit, **more)

    monkeypatch.setattr(scim, "_changed", changed)
    after = entra.patch(made, {"op": "replace", "path": "externalId", "value": "e-9"})
    assert (after["displayName"], after["externalId"]) == ("Eve", "e-9")
    assert after == entra.ok("GET", f"Users/{made['id']}")


@pytest.mark.parametrize(("changes", "status"), [(3, 200), (4, 412)])
def test_large_patch_of_what_others_change_is_tried_again_some_times(
    site: Installation, entra: DirectoryService, monkeypatch: pytest.MonkeyPatch, changes: int, status: int
) -> None:
    """A directory was told that its patch had too many operations, and did not send it again."""
    made, write = entra.user(f"contended-{changes}"), scim._changed
    left = list(range(changes))

    async def changed(env: Any, call: Any, kind: str, identity: str, if_match: str, edit: Any, **more: Any) -> Any:
        if left:
            left.pop()
            await write(env, call, kind, identity, "", lambda known: {**known, "externalId": f"e-{len(left)}"})
        return await write(env, call, kind, identity, if_match, edit, **more)

    monkeypatch.setattr(scim, "_STEPS_OF_WRITER", 1)
    monkeypatch.setattr(scim, "_changed", changed)
    patch = {"schemas": [PATCH], "Operations": [{"op": "replace", "path": "displayName", "value": "Ann"}]}
    answer = entra.send("PATCH", f"Users/{made['id']}", patch)
    assert answer.status == status
    assert any(record.get("error") for record in site.records(answer.request_id)) is (status != 200)
    after = entra.ok("GET", f"Users/{made['id']}")
    assert (after["externalId"], after.get("displayName")) == ("e-0", "Ann" if status == 200 else None)


def test_patch_of_a_version_that_others_have_changed_is_refused_at_once(
    entra: DirectoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def applied(*_: Any) -> Any:
        raise AssertionError("applied")

    made = entra.user("versioned")
    monkeypatch.setattr(scim, "apply_patch", applied)
    patch = {"schemas": [PATCH], "Operations": [{"op": "replace", "path": "displayName", "value": "Ann"}]}
    entra.refused(412, "PATCH", f"Users/{made['id']}", patch, (b"if-match", b'W/"old"'))


@pytest.mark.parametrize(
    ("path", "elsewhere"),
    [
        ('Users?filter=emails.value eq "x@example.com"', True),
        ("Users?filter=active eq true", True),
        ('Groups?filter=userName eq "x"', True),
        ('Users?filter=active eq true and userName eq "x"', False),
        ('Groups?filter=members.value eq "x"', False),
        ("Users", False),
    ],
)
def test_a393_search_that_no_index_serves_runs_in_another_process(
    entra: DirectoryService, monkeypatch: pytest.MonkeyPatch, path: str, elsewhere: bool
) -> None:
    """It took the interpreter from other accounts' requests: their p99 was 3.9 times as long."""
    asked: list[str] = []
    read = heavy.read

    async def reading(env: Any, call: Any, work: Any, *args: Any, **how: Any) -> Any:
        asked.append(call.caller.account)
        return await read(env, call, work, *args, **how)

    monkeypatch.setattr(heavy, "read", reading)
    entra.ok("GET", quote(path, safe="?="))
    assert asked == ([ALPHA] if elsewhere else [])


def test_a373_version_changes_with_what_administrators_change(site: Installation, entra: DirectoryService) -> None:
    """A directory overwrote what it had not seen, and was told that what it had was current."""
    member = entra.user("seen-member")
    group = entra.group("seen", member)
    site.iam("CreateGroup", GroupName="seen-by-iam")
    for change in (
        lambda: site.iam("UpdateUser", UserName="seen-member", NewUserName="seen-again"),
        lambda: site.iam("AddUserToGroup", GroupName="seen-by-iam", UserName="seen-again"),
        lambda: site.iam("RemoveUserFromGroup", GroupName="seen", UserName="seen-again"),
    ):
        known = {path: current(entra, path) for path in (f"Users/{member['id']}", f"Groups/{group['id']}")}
        change()
        changed = {path: tag for path, tag in known.items() if current(entra, path) != tag}
        assert changed
        for path, tag in changed.items():
            old = (b"if-match", tag)
            assert entra.send("GET", path, None, (b"if-none-match", tag)).status == 200
            patch = {"schemas": [PATCH], "Operations": [{"op": "replace", "path": "externalId", "value": "e"}]}
            entra.refused(412, "PATCH", path, patch, old)
            entra.refused(412, "PUT", path, {"userName": "seen-again", "displayName": "seen"}, old)
            refused = entra.send("DELETE", path, None, old)
            assert refused.status == 412
            assert [bool(record["error"]) for record in site.records(refused.request_id)] == [True]
    for path in known:
        tag = current(entra, path)
        assert entra.send("GET", path, None, (b"if-none-match", tag)).status == 304
        entra.ok("DELETE", path, None, (b"if-match", tag))


def current(entra: DirectoryService, path: str) -> bytes:
    """The entity tag; the resource and lists have the same."""
    answer = entra.send("GET", path)
    shown = json.loads(answer.body)
    kind, _, identity = path.partition("/")
    [listed] = entra.ok("GET", f"{kind}?filter=" + quote(f'id eq "{identity}"'))["Resources"]
    assert listed == shown
    assert shown["meta"]["version"] == answer.headers["etag"]
    return answer.headers["etag"].encode("ascii")


def test_a373_group_with_many_members_is_deleted_by_its_version(site: Installation, entra: DirectoryService) -> None:
    """Its own removal of members changes the version."""
    ids = seeded(site, MAX_MEMBER_CHANGES + 1, "many")
    group = entra.group("many", *({"id": each} for each in ids[:-1]))
    group = entra.patch(group, {"op": "add", "path": "members", "value": [{"value": ids[-1]}]})
    path = f"Groups/{group['id']}"
    assert current(entra, path).decode() == group["meta"]["version"]
    entra.ok("DELETE", path, None, (b"if-match", group["meta"]["version"].encode()))
    entra.refused(404, "GET", path)


def test_a373_resource_deleted_by_an_administrator_is_not_counted(site: Installation, entra: DirectoryService) -> None:
    entra.user("gone-by-iam")
    entra.group("gone by iam")
    before = [entra.ok("GET", f"{kind}?count=0")["totalResults"] for kind in ("Users", "Groups")]
    site.iam("DeleteUser", UserName="gone-by-iam")
    site.iam("DeleteGroup", GroupName="gone-by-iam")
    after = [entra.ok("GET", f"{kind}?count=0")["totalResults"] for kind in ("Users", "Groups")]
    assert after == [count - 1 for count in before]


def test_a373_page_reads_no_resource_before_it(
    site: Installation, entra: DirectoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeded(site, 40, "deep")
    every = [each["id"] for each in entra.ok("GET", "Users?count=200")["Resources"]]
    total = entra.ok("GET", "Users?count=0")["totalResults"]
    read: list[int] = []
    find = StoreReader.find

    def counted(reader: Any, kind: Any, **how: Any) -> Any:
        rows = find(reader, kind, **how)
        read.append(len(rows)) if kind is ScimResource else None
        return rows

    monkeypatch.setattr(StoreReader, "find", counted)
    page = entra.ok("GET", f"Users?startIndex={len(every) - 4}&count=5")
    assert [each["id"] for each in page["Resources"]] == every[-5:]
    assert sum(read) == 5
    for start in (total + 1, 9_999_999):
        beyond = entra.ok("GET", f"Users?startIndex={start}")
        assert (beyond["totalResults"], beyond["Resources"]) == (total, [])
    assert sum(read) == 5
