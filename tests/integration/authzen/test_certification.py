"""The requirements of the AuthZEN certification scenario, each level: evaluation, evaluations, search, metadata."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.integration.authzen.conftest import World, ask
from tests.oauth import ISSUER

from daypass.wire import authzen as routes
from daypass.wire import authzen_requests

ARCHIVED = {"status": "archived"}
ADMIN = {"role": "admin"}


@pytest.mark.parametrize(
    ("question", "allowed"),
    [
        (ask("alice", "read", "record-1"), True),
        (ask("alice", "write", "record-1"), True),
        (ask("bob", "read", "record-1"), True),
        (ask("bob", "write", "record-1"), False),
        (ask("alice", "write", "record-2", resource_properties=ARCHIVED), False),
        (ask("bob", "write", "record-2", subject_properties=ADMIN, resource_properties=ARCHIVED), True),
        (ask("alice", "delete", "record-1", action_properties={"soft": True}), True),
        (ask("alice", "delete", "record-1", action_properties={"soft": False}), False),
        (ask("alice", "read", "record-1", context={"time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1"}), True),
        (ask("alice", "read", "record-1", foo="bar", futureField={"nested": True}), True),
    ],
)
def test_evaluation_fixture_gives_the_required_decision(world: World, question: dict[str, Any], allowed: bool) -> None:
    assert [world.decision(question)["decision"] for _ in range(2)] == [allowed, allowed]


@pytest.mark.parametrize("missing", ["subject", "action", "resource"])
def test_evaluation_without_a_required_member_is_400(world: World, missing: str) -> None:
    question = ask("alice", "read", "record-1")
    del question[missing]
    assert world.ask("/access/v1/evaluation", question).status == 400


@pytest.mark.parametrize(
    ("member", "key"),
    [("subject", "type"), ("subject", "id"), ("action", "name"), ("resource", "type"), ("resource", "id")],
)
def test_evaluation_without_a_required_field_is_400(world: World, member: str, key: str) -> None:
    question = ask("alice", "read", "record-1")
    del question[member][key]
    assert world.ask("/access/v1/evaluation", question).status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"subject": "alice", "action": {"name": "read"}, "resource": {"type": "record", "id": "record-1"}}',
        b'{"subject":{"type":"user","id":"alice"},"action":{"name":123},"resource":{"type":"record","id":"r"}}',
        b'{"subject":{"type":"user","id":"alice","id":"bob"},"action":{"name":"a"},"resource":{"type":"r","id":"r"}}',
    ],
)
def test_evaluation_with_an_unreadable_body_is_400(world: World, body: bytes) -> None:
    assert world.ask("/access/v1/evaluation", body).status == 400


def test_evaluation_with_another_media_type_is_400(world: World) -> None:
    body = json.dumps(ask("alice", "read", "record-1")).encode()
    assert world.ask("/access/v1/evaluation", body, **{"content-type": "text/plain"}).status == 400


def test_every_answer_repeats_the_request_id(world: World) -> None:
    question = ask("alice", "read", "record-1")
    for body, status in ((question, 200), (b"{", 400)):
        answer = world.ask("/access/v1/evaluation", body, **{"x-request-id": "bfe9eb29-ab87"})
        assert (answer.status, answer.headers["x-request-id"]) == (status, "bfe9eb29-ab87")
    assert "x-request-id" not in world.ask("/access/v1/evaluation", question).headers


def test_evaluations_with_defaults_are_decided_in_order(world: World) -> None:
    bob = {"subject": {"type": "user", "id": "bob"}, "resource": {"type": "record", "id": "record-1"}}
    both = [{"action": {"name": "read"}}, {"action": {"name": "write"}}]
    assert world.decisions({**bob, "evaluations": both}) == [True, False]


def test_evaluations_member_replaces_the_default_but_for_type_and_id(world: World) -> None:
    body = {
        "subject": {"type": "user", "id": "alice"},
        "action": {"name": "write"},
        "resource": {"type": "record", "properties": ARCHIVED},
        "evaluations": [
            {"resource": {"id": "record-1", "properties": {"status": "active"}}},
            {"resource": {"id": "record-2"}},
            {"resource": {"type": "record", "id": "record-2", "properties": ARCHIVED}},
        ],
    }
    assert world.decisions(body) == [True, True, False]


def test_evaluations_with_a_wrong_one_answer_it_by_a_denial(world: World) -> None:
    first = ask("alice", "read", "record-1")
    body = {**first, "evaluations": [{}, {"resource": {"type": "no service", "id": "x"}}, {"action": {}}, 7]}
    answer = json.loads(world.ask("/access/v1/evaluations", body).body)["evaluations"]
    assert [one["decision"] for one in answer] == [True, False, False, False]
    assert [one["context"]["error"]["status"] for one in answer[1:]] == [400, 400, 400]


@pytest.mark.parametrize("more", [{}, {"evaluations": []}])
def test_evaluations_without_any_are_one_evaluation(world: World, more: dict[str, Any]) -> None:
    answer = world.ask("/access/v1/evaluations", {**ask("alice", "read", "record-1"), **more})
    assert json.loads(answer.body) == {"decision": True}


@pytest.mark.parametrize(
    ("semantic", "expected"),
    [
        ("execute_all", [True, False, True, False]),
        ("deny_on_first_deny", [True, False]),
        ("permit_on_first_permit", [True]),
    ],
)
def test_evaluations_end_where_the_semantic_says(world: World, semantic: str, expected: list[bool]) -> None:
    items = [ask(who, what, "record-1") for who, what in (("bob", "read"), ("bob", "write")) * 2]
    assert world.decisions({"evaluations": items, "options": {"evaluations_semantic": semantic}}) == expected


def test_evaluations_are_a_thousand_at_most(world: World) -> None:
    empty: list[dict[str, Any]] = [{}] * 1_000
    assert world.decisions({"evaluations": empty}) == [False] * 1_000
    answer = world.ask("/access/v1/evaluations", {"evaluations": [*empty, {}]})
    assert (answer.status, b"at most 1000 evaluations" in answer.body) == (400, True)


def test_evaluations_that_are_too_many_are_neither_read_nor_charged(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    charged: list[float] = []
    monkeypatch.setattr(authzen_requests, "_question", lambda *_: pytest.fail("it is read"))
    monkeypatch.setattr(routes.rates, "charge", lambda _env, _caller, tokens: charged.append(tokens))
    assert world.ask("/access/v1/evaluations", {"evaluations": [{}] * 1_001}).status == 400
    assert charged == [1.0]


def test_evaluations_of_an_unknown_semantic_are_400(world: World) -> None:
    body = {"evaluations": [ask("bob", "read", "record-1")], "options": {"evaluations_semantic": "first"}}
    assert world.ask("/access/v1/evaluations", body).status == 400


# --- Search ----------------------------------------------------------------------------------------------------------


def test_search_subject_finds_users_who_may(world: World) -> None:
    body = {"subject": {"type": "user"}, "action": {"name": "read"}, "resource": {"type": "record", "id": "record-1"}}
    results = world.found("subject", body)["results"]
    assert [one["id"] for one in results] == ["admin", "alice", "bob"]
    archived = {"type": "record", "id": "record-2", "properties": ARCHIVED}
    assert world.found("subject", {**body, "action": {"name": "write"}, "resource": archived})["results"] == [
        {"type": "user", "id": "admin"},
        {"type": "user", "id": "carol"},
    ]


def test_search_subject_pages_through_every_user(world: World) -> None:
    body = {"subject": {"type": "user"}, "action": {"name": "read"}, "resource": {"type": "record", "id": "record-1"}}
    names, token = [], ""
    for _ in range(20):
        page = world.found("subject", {**body, "page": {"limit": 1, "token": token}})
        names += [one["id"] for one in page["results"]]
        token = page["page"]["next_token"]
        if not token:
            break
    assert names == ["admin", "alice", "bob"]


def test_search_resource_finds_what_policies_name(world: World) -> None:
    alice = {"subject": {"type": "user", "id": "alice"}, "action": {"name": "read"}, "resource": {"type": "record"}}
    ids = ["record-1", "record-2"]
    assert [one["id"] for one in world.found("resource", alice)["results"]] == ids
    bob = {"type": "user", "id": "bob", "properties": ADMIN}
    assert world.found("resource", {"subject": bob, "action": {"name": "write"}, "resource": {"type": "record"}})[
        "results"
    ] == [{"type": "record", "id": "record-2"}]
    first = world.found("resource", {**alice, "page": {"limit": 1}})
    rest = world.found("resource", {**alice, "page": {"token": first["page"]["next_token"]}})
    assert [one["id"] for one in (*first["results"], *rest["results"])] == ids


def test_search_action_finds_what_policies_name(world: World) -> None:
    alice = {"subject": {"type": "user", "id": "alice"}, "resource": {"type": "record", "id": "record-1"}}
    assert world.found("action", alice)["results"] == [{"name": "read"}, {"name": "write"}]
    bob = {
        "subject": {"type": "user", "id": "bob", "properties": ADMIN},
        "resource": {"type": "record", "id": "record-2", "properties": ARCHIVED},
    }
    assert world.found("action", bob)["results"] == [{"name": "write"}]


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("action", {"subject": {"type": "user", "id": "nobody"}, "resource": {"type": "record", "id": "record-1"}}),
        (
            "subject",
            {"subject": {"type": "spaceship"}, "action": {"name": "read"}, "resource": {"type": "record", "id": "r"}},
        ),
        (
            "resource",
            {"subject": {"type": "user", "id": "alice"}, "action": {"name": "read"}, "resource": {"type": "planet"}},
        ),
    ],
)
def test_search_of_the_unknown_finds_nothing(world: World, what: str, body: dict[str, Any]) -> None:
    assert world.found(what, body) == {"results": [], "page": {"next_token": "", "count": 0}}


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("subject", {"subject": {"type": "user"}, "resource": {"type": "record", "id": "record-1"}}),
        ("subject", {"subject": {"type": "user"}, "action": {"name": "read"}, "resource": {"type": "record"}}),
        ("resource", {"action": {"name": "read"}, "resource": {"type": "record"}}),
        ("resource", {"subject": {"type": "user"}, "action": {"name": "read"}, "resource": {"type": "record"}}),
        ("action", {"subject": {"type": "user", "id": "alice"}}),
    ],
)
def test_search_without_a_required_member_is_400(world: World, what: str, body: dict[str, Any]) -> None:
    assert world.ask(f"/access/v1/search/{what}", body).status == 400


def test_metadata_names_every_endpoint_under_the_public_url(world: World) -> None:
    answer = world.site.send("GET", path=b"/.well-known/authzen-configuration")
    content = json.loads(answer.body)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert content.pop("policy_decision_point") == ISSUER
    assert content.pop("jwks_uri") == f"{ISSUER}/.well-known/jwks.json"
    assert content.pop("capabilities") == ["urn:openid:authzen:capability:access-request"]
    assert len(content) == 6
    for name, url in content.items():
        assert name.endswith("_endpoint")
        assert world.ask(url.removeprefix(ISSUER), b"{}").status == 400  # it is served
    tag = answer.headers["etag"].encode()
    again = world.site.send("GET", [(b"if-none-match", tag)], path=b"/.well-known/authzen-configuration")
    assert again.status == 304
