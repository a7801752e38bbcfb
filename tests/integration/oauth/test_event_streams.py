"""Event streams (SSF 1.0): what a receiver manages, what it gets, and what happens when it cannot be reached."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.attack.installation import ADMIN, ALPHA, ROOT, ROOT_OF_BETA, Installation
from tests.oauth import authorization_server
from tests.ssf import (
    CREDENTIAL_CHANGE,
    POLL,
    PUSH,
    SESSION_REVOKED,
    STREAM_UPDATED,
    VERIFICATION,
    Receiver,
    call,
    claims,
    code,
    create,
    members,
    polled,
    queued,
    receiving,
    revoke,
    stored,
    work,
)

from daypass.operations.ssf import push
from daypass.operations.ssf import push as queue
from daypass.operations.ssf.push import ATTEMPTS, PAUSES_MS, REFUSALS


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    patient = {"fetch_seconds": 30}  # the receiver runs in this process
    with authorization_server(tmp_path_factory.mktemp("ssf"), federation=patient) as made:
        made.runtime.env.outbound._private_hosts = frozenset({"127.0.0.1"})  # type: ignore[attr-defined]
        yield made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture(autouse=True)
def _no_streams(site: Installation) -> Iterator[None]:
    """Streams of one test do not get the events of the next."""
    yield
    for key in (ADMIN, ROOT_OF_BETA):
        for stream in members(call(site, "GET", "/ssf/streams", key=key)):
            query = f"stream_id={stream['stream_id']}"
            assert call(site, "DELETE", "/ssf/streams", key=key, query=query).status == 204


def only(found: dict[str, str]) -> str:
    [text] = found.values()
    return text


def dead(site: Installation, stream: dict[str, Any], outcome: str = "dead") -> list[dict[str, Any]]:
    path = f"/api/v1/event-streams/{stream['stream_id']}/events"
    return list(members(call(site, "GET", path, query=f"outcome={outcome}"))["security_events"])


# --- Configuration and management


def test_configuration_names_what_is_served(site: Installation) -> None:
    answer = site.send("GET", path=b"/.well-known/ssf-configuration")
    found = json.loads(answer.body)
    assert (found["spec_version"], found["default_subjects"]) == ("1_0", "ALL")
    assert found["delivery_methods_supported"] == [PUSH, POLL]
    for name in ("configuration", "status", "add_subject", "remove_subject", "verification"):
        path = found[f"{name}_endpoint"].removeprefix(found["issuer"])
        assert call(site, "POST", path, {}).status in (400, 201), path  # served, and in need of members
    again = site.send(
        "GET", [(b"if-none-match", answer.headers["etag"].encode())], path=b"/.well-known/ssf-configuration"
    )
    assert again.status == 304


def test_create_and_read_show_the_configuration_without_the_header(site: Installation) -> None:
    delivery = {"endpoint_url": "https://siem.example/events", "authorization_header": "Bearer canary-of-push"}
    made = create(site, PUSH, delivery=delivery, description="SIEM", events_requested=[SESSION_REVOKED, "urn:unknown"])
    assert made["aud"] == f"arn:aws:daypass::{ALPHA}:event-stream/{made['stream_id']}"
    assert made["events_delivered"] == [SESSION_REVOKED]
    assert made["delivery"] == {"method": PUSH, "endpoint_url": "https://siem.example/events"}
    read = call(site, "GET", "/ssf/streams", query=f"stream_id={made['stream_id']}")
    assert members(read) == made
    assert members(call(site, "GET", "/ssf/streams")) == [made]
    assert b"canary-of-push" not in b"".join([*site.record_bytes(), read.body])
    assert b"canary-of-push" not in stored(site, made).sealed_secret


def test_update_changes_what_it_names_and_replace_resets_the_rest(site: Installation) -> None:
    made = create(
        site, PUSH, delivery={"endpoint_url": "https://a.example/", "authorization_header": "x"}, description="a"
    )
    sealed = stored(site, made).sealed_secret
    body = {"stream_id": made["stream_id"], "events_requested": [CREDENTIAL_CHANGE]}
    patched = members(call(site, "PATCH", "/ssf/streams", body))
    assert (patched["description"], patched["events_delivered"]) == ("a", [CREDENTIAL_CHANGE])
    assert stored(site, made).sealed_secret == sealed
    moved = {"stream_id": made["stream_id"], "delivery": {"method": PUSH, "endpoint_url": "https://b.example/"}}
    replaced = members(call(site, "PUT", "/ssf/streams", moved))
    assert "description" not in replaced
    assert replaced["events_delivered"] == [SESSION_REVOKED, CREDENTIAL_CHANGE]
    assert stored(site, made).sealed_secret == b""  # a header is never sent to another endpoint
    other = {**moved, "delivery": {"method": POLL}}
    assert code(call(site, "PUT", "/ssf/streams", other)) == (400, "ValidationError")


def test_streams_of_an_account_are_limited(site: Installation) -> None:
    for _ in range(queue.MAX_STREAMS):
        create(site)
    refused = call(site, "POST", "/ssf/streams", {"delivery": {"method": POLL}})
    assert code(refused) == (409, "LimitExceeded")


@pytest.mark.parametrize(
    "body",
    [
        {"delivery": {"method": "urn:x"}},
        {"delivery": "poll"},
        {"delivery": {"method": PUSH}},
        {"delivery": {"method": PUSH, "endpoint_url": "ftp://x"}},
        {"delivery": {"method": PUSH, "endpoint_url": "https://x/", "authorization_header": "a\r\nb: c"}},
        {"delivery": {"method": POLL}, "events_requested": "all"},
        {"delivery": {"method": POLL}, "description": "\x00"},
        b'{"delivery":{"method":"urn:ietf:rfc:8936"},"delivery":{}}',
        b"[]",
    ],
)
def test_create_with_an_invalid_request_is_refused(site: Installation, body: Any) -> None:
    answer = call(site, "POST", "/ssf/streams", body)
    assert answer.status == 400, answer.body
    [record] = site.records(answer.request_id)
    assert record["operation"] == "daypass:CreateEventStream"


# --- Poll


def test_poll_gets_a_revocation_until_it_is_acknowledged(site: Installation) -> None:
    stream = create(site)
    made = revoke(site, "ann@example.com", reason="left")
    queued(site)
    first = polled(site, stream)
    found = claims(site, only(first))
    assert found["sub_id"] == {
        "format": "complex",
        "tenant": {"format": "opaque", "id": ALPHA},
        "user": {"format": "email", "email": "ann@example.com"},
    }
    event = found["events"][SESSION_REVOKED]
    assert event["urn:daypass:revocation"]["id"] == made
    assert (event["reason_admin"], event["initiating_entity"]) == ({"en": "left"}, "admin")
    assert found["aud"] == stream["aud"]
    assert list(polled(site, stream)) == [found["jti"]] == list(first)
    assert polled(site, stream, ack=[found["jti"], "unknown"]) == {}
    assert polled(site, stream) == {}


def test_poll_gets_each_revocation_once_and_says_whether_there_are_more(site: Installation) -> None:
    stream = create(site)
    made = [revoke(site, f"person-{number}") for number in range(3)]
    queued(site)
    queued(site)
    path = stream["delivery"]["endpoint_url"].removeprefix("https://daypass.test")
    some = members(call(site, "POST", path, {"maxEvents": 2, "returnImmediately": True}))
    assert (len(some["sets"]), some["moreAvailable"]) == (2, True)
    rest = members(call(site, "POST", path, {"ack": list(some["sets"]), "returnImmediately": True}))
    assert rest["moreAvailable"] is False
    texts = [*some["sets"].values(), *rest["sets"].values()]
    found = [claims(site, text)["events"][SESSION_REVOKED]["urn:daypass:revocation"]["id"] for text in texts]
    assert found == made


def test_poll_that_waits_is_answered_by_the_next_revocation(site: Installation) -> None:
    stream = create(site)

    async def both() -> Any:
        path = stream["delivery"]["endpoint_url"].removeprefix("https://daypass.test")
        signed = site.signed(ADMIN, b"{}", "daypass", path=path, extra={"content-type": "application/json"})
        waiting = asyncio.create_task(site.ask("POST", signed, b"{}", path=path.encode()))
        body = json.dumps({"subject": "source_identity", "value": "eve", "force": True}).encode()
        extra = {"content-type": "application/json"}
        headers = site.signed(ADMIN, body, "daypass", path="/api/v1/revocations", extra=extra)
        await site.ask("POST", headers, body, path=b"/api/v1/revocations")
        async with asyncio.timeout(60):
            return await waiting

    assert len(members(site.run(both()))["sets"]) == 1


def test_event_that_the_receiver_refuses_is_dead_and_can_be_retried(site: Installation) -> None:
    stream = create(site)
    revoke(site, "ann")
    queued(site)
    [jti] = polled(site, stream)
    errors = {jti: {"err": "invalid_key", "description": "unknown kid"}}
    assert polled(site, stream, setErrs=errors) == {}
    [found] = dead(site, stream)
    assert (found["id"], found["error"]) == (jti, "invalid_key: unknown kid")
    path = f"/api/v1/event-streams/{stream['stream_id']}/events/{jti}/retry"
    assert call(site, "POST", path).status == 200
    assert list(polled(site, stream)) == [jti]


@pytest.mark.parametrize(
    "body", [{"maxEvents": "5"}, {"maxEvents": -1}, {"ack": "x"}, {"ack": [1]}, {"setErrs": {"a": "b"}}]
)
def test_poll_with_invalid_members_is_refused(site: Installation, body: dict[str, Any]) -> None:
    stream = create(site)
    path = stream["delivery"]["endpoint_url"].removeprefix("https://daypass.test")
    assert code(call(site, "POST", path, {"returnImmediately": True, **body})) == (400, "ValidationError")


def test_stream_that_is_full_is_disabled_and_says_so(site: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MAX_WAITING", 2)
    stream = create(site)
    for number in range(4):
        revoke(site, f"person-{number}")
    queued(site)
    status = members(call(site, "GET", "/ssf/status", query=f"stream_id={stream['stream_id']}"))
    assert (status["status"], status["reason"]) == ("disabled", "More than 2 events wait.")
    [notice] = polled(site, stream).values()
    assert claims(site, notice)["events"] == {STREAM_UPDATED: {"status": "disabled", "reason": status["reason"]}}


# --- Push


def test_push_delivers_signed_events_with_the_receivers_header(site: Installation, receiver: Receiver) -> None:
    create(site, PUSH, delivery={"endpoint_url": receiver.url, "authorization_header": "Bearer of-the-receiver"})
    made = revoke(site, "ann")
    work(site, lambda: bool(receiver.got))
    [(headers, text)] = receiver.got
    assert headers["content-type"] == "application/secevent+jwt"
    assert headers["authorization"] == "Bearer of-the-receiver"
    event = claims(site, text)["events"][SESSION_REVOKED]
    assert event["urn:daypass:revocation"]["id"] == made


def fail(site: Installation, stream: dict[str, Any], times: int) -> None:
    """Pushes the stream that often, each time as soon as it is due."""
    for _ in range(times):
        before = stored(site, stream)
        site.wall.time = max(site.wall.time, before.next_at)
        work(site, lambda count=before.failures: stored(site, stream).failures > count)  # type: ignore[misc]


def test_push_attempts_of_an_event_last_48_hours() -> None:
    repeated = (ATTEMPTS - 1 - len(PAUSES_MS)) * PAUSES_MS[-1]
    assert 47 < (sum(PAUSES_MS) + repeated) / 3_600_000 < 48


@pytest.mark.parametrize(("status", "attempts"), [(500, REFUSALS + 2), (400, REFUSALS)])
def test_push_that_fails_is_repeated_then_dead_then_retried(
    site: Installation, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, status: int, attempts: int
) -> None:
    monkeypatch.setattr(push, "ATTEMPTS", REFUSALS + 2)
    stream = create(site, PUSH, delivery={"endpoint_url": receiver.url})
    receiver.status = status
    revoke(site, "ann")
    fail(site, stream, attempts - 1)
    assert dead(site, stream) == []
    fail(site, stream, 1)
    [found] = dead(site, stream)
    assert (len(receiver.got), found["attempts"], str(status) in found["error"]) == (attempts, attempts, True)
    assert len({claims(site, text)["jti"] for text in receiver.sets}) == 1
    receiver.status = 202
    path = f"/api/v1/event-streams/{stream['stream_id']}/events/{found['id']}/retry"
    assert call(site, "POST", path).status == 200
    work(site, lambda: bool(dead(site, stream, "delivered")))
    assert stored(site, stream).failures == 0


def test_push_after_a_long_outage_of_the_receiver_follows_within_a_quarter_of_an_hour(
    site: Installation, receiver: Receiver
) -> None:
    stream = create(site, PUSH, delivery={"endpoint_url": receiver.url})
    receiver.status = 503
    revoke(site, "ann")
    fail(site, stream, 2 * len(PAUSES_MS))
    revoke(site, "bob")
    queued(site)
    assert stored(site, stream).next_at - site.wall.time <= 900_000
    receiver.status, failed = 202, len(receiver.got)
    site.wall.time += 900_000
    work(site, lambda: len(dead(site, stream, "delivered")) == 2)
    assert len(receiver.got) == failed + 2


def test_push_to_a_paused_stream_waits_and_to_a_disabled_one_is_dropped(site: Installation, receiver: Receiver) -> None:
    stream = create(site, PUSH, delivery={"endpoint_url": receiver.url})

    def status(wanted: str) -> None:
        body = {"stream_id": stream["stream_id"], "status": wanted, "reason": "maintenance"}
        assert members(call(site, "POST", "/ssf/status", body))["status"] == wanted

    status("paused")
    first = revoke(site, "ann")
    work(site, lambda: stored(site, stream).next_at == 0 and bool(dead(site, stream, "waiting")))
    assert receiver.got == []
    status("enabled")
    work(site, lambda: bool(receiver.got))
    status("disabled")
    revoke(site, "bob")
    queued(site)
    status("enabled")
    third = revoke(site, "eve")
    work(site, lambda: len(receiver.got) >= 2)
    events = [claims(site, text)["events"][SESSION_REVOKED]["urn:daypass:revocation"]["id"] for text in receiver.sets]
    assert events == [first, third]


# --- Events


def test_changes_of_credentials_are_events(site: Installation) -> None:
    stream = create(site, events_requested=[CREDENTIAL_CHANGE])
    user = site.iam("CreateUser", UserName="carol").text("UserId")
    key = site.iam("CreateAccessKey", UserName="carol").text("AccessKeyId")
    site.iam("UpdateAccessKey", UserName="carol", AccessKeyId=key, Status="Inactive")
    site.iam("DeleteAccessKey", UserName="carol", AccessKeyId=key)
    site.iam("CreateLoginProfile", UserName="carol", Password="Correct-horse-9-battery")
    site.iam("CreateAccessKey", UserName="carol")
    offboarded = members(call(site, "POST", "/api/v1/offboardings", {"user": "carol"}, key=ROOT))
    assert offboarded["password_removed"] is True
    found = [claims(site, text) for text in polled(site, stream).values()]
    assert {each["sub_id"]["user"]["sub"] for each in found} == {user}
    events = [each["events"][CREDENTIAL_CHANGE] for each in found]
    assert [(event["credential_type"], event["change_type"]) for event in events] == [
        ("access-key", "create"),
        ("access-key", "revoke"),
        ("access-key", "delete"),
        ("password", "create"),
        ("access-key", "create"),
        ("access-key", "revoke"),
        ("password", "delete"),
    ]
    assert events[0]["friendly_name"] == key


def test_event_of_a_removed_subject_is_not_sent_until_it_is_added(site: Installation) -> None:
    stream = create(site)
    subject = {"format": "email", "email": "ann@example.com"}
    body = {"stream_id": stream["stream_id"], "subject": subject}
    assert call(site, "POST", "/ssf/subjects/remove", body).status == 204
    assert call(site, "POST", "/ssf/subjects/remove", body).status == 204
    revoke(site, "ann@example.com")
    revoke(site, "bob@example.com")
    queued(site)
    [text] = polled(site, stream).values()
    assert claims(site, text)["sub_id"]["user"]["email"] == "bob@example.com"
    assert call(site, "POST", "/ssf/subjects/add", body).status == 200
    revoke(site, "ann@example.com")
    queued(site)
    assert len(polled(site, stream)) == 2


@pytest.mark.parametrize(
    "subject",
    [
        None,
        {"format": "email"},
        {"format": "email", "email": 5},
        {"format": "complex"},
        {"format": "complex", "x": {}},
        {"format": "opaque", "id": "x" * 3000},
        {"format": "aliases", "identifiers": []},
    ],
)
def test_subject_that_is_not_valid_is_refused(site: Installation, subject: Any) -> None:
    body = {"stream_id": create(site)["stream_id"], "subject": subject}
    assert code(call(site, "POST", "/ssf/subjects/remove", body)) == (400, "ValidationError")


def test_verification_is_delivered_with_its_state_and_limited_in_rate(site: Installation) -> None:
    stream = create(site)
    body = {"stream_id": stream["stream_id"], "state": "abc"}
    assert call(site, "POST", "/ssf/verification", body).status == 204
    assert code(call(site, "POST", "/ssf/verification", body)) == (429, "Throttling")
    found = claims(site, only(polled(site, stream)))
    assert found["events"] == {VERIFICATION: {"state": "abc"}}
    assert found["sub_id"] == {"format": "opaque", "id": stream["stream_id"]}
    site.wall.time += 10_000
    assert call(site, "POST", "/ssf/verification", {"stream_id": stream["stream_id"]}).status == 204
