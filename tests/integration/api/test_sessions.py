from __future__ import annotations

from dataclasses import replace

from tests.integration.api.conftest import OPERATOR, ROOT, TENANT, TENANT_ROOT, Server, policy

from daypass.domain.events import Event, EventType
from daypass.ports import Tx

ASSUME = policy("sts:AssumeRole")


async def test_list_sessions_shows_the_chain_to_the_owning_account_alone(server: Server) -> None:
    _, alice = await server.user("alice", OPERATOR, ASSUME)
    first = await server.role("first", OPERATOR, OPERATOR, ASSUME)
    second = await server.role("second", TENANT, OPERATOR)
    child = await server.assume(await server.assume(alice, first.arn), second.arn)
    [session] = (await server.api(TENANT_ROOT, "GET", "/sessions")).json["sessions"]
    assert session["access_key_id"] == child.id
    assert session["state"] == "active"
    assert session["depth"] == 2
    assert [hop["name"] for hop in session["hops"]] == ["alice", "shift", "shift"]
    shown = await server.api(TENANT_ROOT, "GET", f"/sessions/{session['session_id']}")
    assert shown.json == session
    own = (await server.api(ROOT, "GET", "/sessions")).json["sessions"]
    assert [s["arn"] for s in own] == [first.arn], "an operator who asks for no other account sees its own"
    every = (await server.api(ROOT, "GET", "/sessions", {"account": "*"})).json["sessions"]
    assert {s["arn"] for s in every} == {first.arn, second.arn}
    stem = await server.api(
        ROOT, "GET", "/sessions", {"account": "*", "root_principal_id": session["hops"][0]["principal_id"]}
    )
    assert len(stem.json["sessions"]) == 2


async def test_list_sessions_goes_on_from_page_to_page(server: Server) -> None:
    _, alice = await server.user("alice", OPERATOR, ASSUME)
    role = await server.role("first", OPERATOR, OPERATOR)
    made = {(await server.assume(alice, role.arn)).id for _ in range(5)}
    found: list[str] = []
    after = ""
    for _ in range(5):
        page = (await server.api(ROOT, "GET", "/sessions", {"limit": 2, "after": after, "active": "true"})).json
        found += [s["access_key_id"] for s in page["sessions"]]
        after = page["next"]
        if not after:
            break
    assert sorted(found) == sorted(made)


async def test_a89_session_of_another_account_is_as_one_that_is_not_there(server: Server) -> None:
    _, alice = await server.user("alice", OPERATOR, ASSUME)
    role = await server.role("first", OPERATOR, OPERATOR)
    session = await server.session_of(await server.assume(alice, role.arn))
    foreign = await server.api(TENANT_ROOT, "GET", f"/sessions/{session['session_id']}")
    absent = await server.api(TENANT_ROOT, "GET", f"/sessions/{'0' * 32}")
    assert foreign.status == absent.status == 404
    alike = [a.json["error"]["message"].replace(session["session_id"], "0" * 32) for a in (foreign, absent)]
    assert alike[0] == alike[1]


async def test_a89_lists_of_another_account_are_denied_alike_whether_it_exists(server: Server) -> None:
    for path in ("/sessions", "/revocations", "/audit/records", "/audit/logs"):
        answers = [await server.api(TENANT_ROOT, "GET", path, {"account": a}) for a in (OPERATOR, "999999999999", "*")]
        assert {(a.status, a.code) for a in answers[:2]} == {(403, "AccessDenied")}, path
        assert answers[2].status in (400, 403)
        texts = {
            a.json["error"]["message"].replace(n, "N")
            for a, n in zip(answers, (OPERATOR, "999999999999"), strict=False)
        }
        assert len(texts) == 1


async def test_a89_every_account_is_for_the_operator_alone_whatever_a_policy_allows(server: Server) -> None:
    """Once a `*` for the account was taken for the caller's own, and gave a tenant the operator's view of everything."""
    _, alice = await server.user("alice", OPERATOR, ASSUME)
    role = await server.role("first", OPERATOR, OPERATOR)
    await server.assume(alice, role.arn)
    _, greedy = await server.user("greedy", TENANT, policy("*"))
    for key in (TENANT_ROOT, greedy):
        for method, path in (
            ("GET", "/sessions"),
            ("GET", "/audit/records"),
            ("GET", "/audit/logs"),
            ("GET", f"/audit/logs/{'0' * 32}/records"),
            ("GET", f"/audit/records/{'0' * 32}/0"),
        ):
            answer = await server.api(key, method, path, {"account": "*"})
            assert (answer.status, answer.code) == (403, "AccessDenied"), path
        answer = await server.api(key, "POST", "/audit/tail", body={"account": "*"})
        assert (answer.status, answer.code) == (403, "AccessDenied")
    _, narrow = await server.user("narrow", OPERATOR, policy("daypass:*", resource=f"arn:aws:daypass::{OPERATOR}:*"))
    assert (await server.api(narrow, "GET", "/sessions")).status == 200
    assert (await server.api(narrow, "GET", "/sessions", {"account": "*"})).code == "AccessDenied"
    assert (await server.api(narrow, "GET", "/sessions", {"account": TENANT})).code == "AccessDenied"


async def test_list_assumable_roles_are_those_that_assuming_would_admit_to(server: Server) -> None:
    _, alice = await server.user("alice", OPERATOR, policy("daypass:ListAssumableRoles", "sts:AssumeRole"))
    _, bob = await server.user("bob", OPERATOR, policy("daypass:ListAssumableRoles"))
    open_role = await server.role("open", OPERATOR, OPERATOR)
    await server.role("for-the-tenant", OPERATOR, TENANT)
    listed = (await server.api(alice, "GET", "/roles/assumable")).json["roles"]
    assert [role["arn"] for role in listed] == [open_role.arn]
    assert await server.works(await server.assume(alice, open_role.arn))
    assert (await server.api(bob, "GET", "/roles/assumable")).json["roles"] == []
    assert (await server.api(ROOT, "GET", "/roles/assumable")).json["roles"] == [], "a root assumes no roles"


async def test_a319_list_assumable_roles_of_a_session_with_a_person_are_those_that_take_its_tag(server: Server) -> None:
    """Sessions hand the tag on, so that roles without sts:TagSession refuse them."""
    _, alice = await server.user("alice", OPERATOR, policy("sts:AssumeRole", "sts:TagSession"))
    roles = [await server.role(name, OPERATOR, OPERATOR, policy("sts:*")) for name in ("first", "tagged", "untagged")]
    both = [replace(r, trust_document=r.trust_document.replace("SetSourceIdentity", "TagSession")) for r in roles[:2]]

    def change(tx: Tx) -> tuple[None, Event]:
        for role in both:
            tx.replace(role)
        return None, Event(EventType.DIRECTORY_CHANGED, server.runtime.clock.now(), OPERATOR)

    await server.runtime.env.journal.write(change, account=OPERATOR)
    tag = {"Tags.member.1.Key": "daypass:person", "Tags.member.1.Value": "alice@example.com"}
    session = await server.assume(alice, roles[0].arn, **tag)
    listed = (await server.api(session, "GET", "/roles/assumable")).json["roles"]
    assert [role["arn"] for role in listed] == [role.arn for role in both]
    refused = await server.sts(session, "AssumeRole", RoleArn=roles[2].arn, RoleSessionName="shift")
    assert refused.findtext(".//Code") == "AccessDenied"


async def test_list_assumable_roles_takes_no_permission_and_obeys_a_deny(server: Server) -> None:
    _, alice = await server.user("alice", OPERATOR, policy("sts:AssumeRole"))
    open_role = await server.role("open", OPERATOR, OPERATOR)
    listed = (await server.api(alice, "GET", "/roles/assumable")).json["roles"]
    assert [role["arn"] for role in listed] == [open_role.arn]
    _, nobody = await server.user("nobody", OPERATOR, policy("iam:ListUsers"))
    assert (await server.api(nobody, "GET", "/roles/assumable")).json["roles"] == []
    denied = policy("daypass:ListAssumableRoles").replace('"Allow"', '"Deny"')
    _, bob = await server.user("bob", OPERATOR, denied)
    assert (await server.api(bob, "GET", "/roles/assumable")).code == "AccessDenied"


async def test_get_caller_session_shows_expiry_and_chain_without_permission(server: Server) -> None:
    _, alice = await server.user("alice", OPERATOR, ASSUME)
    first = await server.role("first", OPERATOR, OPERATOR, policy("sts:AssumeRole"))
    second = await server.role("second", OPERATOR, OPERATOR)
    session = await server.assume(await server.assume(alice, first.arn), second.arn)
    found = (await server.api(session, "GET", "/session")).json
    assert [hop["principal_id"][:4] for hop in found["hops"]] == ["AIDA", "AROA", "AROA"]
    assert found["hops"][0]["access_key_id"] == alice.id
    assert (found["arn"], found["account"]) == (second.arn, OPERATOR)
    assert found["expires_at"] > found["issued_at"]
    answer = await server.api(alice, "GET", "/session")
    assert (answer.status, answer.code) == (404, "NoSuchEntity"), "a key has no session"


async def test_explain_request_by_its_id_needs_what_decoding_the_message_needs(server: Server) -> None:
    _, alice = await server.user("alice", OPERATOR, policy("iam:ListUsers"))
    _, decoder = await server.user("decoder", OPERATOR, policy("sts:DecodeAuthorizationMessage"))
    refused = await server.sts(alice, "AssumeRole", RoleArn=f"arn:aws:iam::{OPERATOR}:role/nope", RoleSessionName="x1")
    request_id = refused.findtext("RequestId")
    found = await server.api(decoder, "GET", f"/explanations/{request_id}")
    assert found.status == 200, found.body
    assert found.json["explanation"]["action"] == "sts:AssumeRole"
    assert found.json["explanation"]["allowed"] is False
    assert (await server.api(alice, "GET", f"/explanations/{request_id}")).code == "AccessDenied"
    for other in (TENANT_ROOT,):
        answer = await server.api(other, "GET", f"/explanations/{request_id}")
        assert (answer.status, answer.code) == (404, "NoSuchEntity"), "another account's is as absent as none"
    absent = await server.api(decoder, "GET", "/explanations/00000000-0000-0000-0000-000000000000")
    assert (absent.status, absent.code) == (404, "NoSuchEntity")


async def test_calls_by_session_credentials_are_bound_by_the_session_policy(server: Server) -> None:
    _, alice = await server.user("alice", OPERATOR, ASSUME)
    role = await server.role("admin", OPERATOR, OPERATOR, policy("*"))
    wide = await server.assume(alice, role.arn)
    narrow = await server.assume(alice, role.arn, Policy=policy("daypass:GetSession"))
    assert (await server.api(wide, "GET", "/accounts")).status == 200
    assert (await server.api(narrow, "GET", "/accounts")).code == "AccessDenied"


async def test_list_sessions_by_name_or_arn_finds_those_of_the_user_or_role(server: Server) -> None:
    _, alice = await server.user("alice", OPERATOR, ASSUME)
    role = await server.role("first", OPERATOR, OPERATOR)
    made = (await server.assume(alice, role.arn)).id
    user = f"arn:aws:iam::{OPERATOR}:user/alice"
    for field, value in (("principal_id", "first"), ("principal_id", role.arn), ("principal_id", role.id)):
        found = (await server.api(ROOT, "GET", "/sessions", {field: value})).json["sessions"]
        assert [each["access_key_id"] for each in found] == [made], value
    for value in ("alice", user):
        found = (await server.api(ROOT, "GET", "/sessions", {"root_principal_id": value})).json["sessions"]
        assert [each["access_key_id"] for each in found] == [made], value
    for value in ("nobody", f"arn:aws:iam::{TENANT}:role/first"):
        assert (await server.api(ROOT, "GET", "/sessions", {"principal_id": value})).json["sessions"] == []
