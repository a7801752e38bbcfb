"""Attacks on event streams: other accounts' streams, forged callers, SETs as tokens, and pushes into the network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.attack.installation import (
    ADMIN,
    ALPHA,
    BETA,
    EVERYTHING,
    ROOT_OF_BETA,
    Answer,
    Installation,
    Key,
    document,
    trust,
)
from tests.oauth import PRESIGNED, authorization_server, bearer, exchange, given, presigned
from tests.ssf import POLL, PUSH, call, code, create, members, polled, queued, revoke, stored, work

from daypass.domain.events import Event, EventType
from daypass.domain.ssf import CredentialChange, credential_change
from daypass.operations.ssf import poll, streams
from daypass.operations.ssf.push import deliverable, offer

READ_ONLY = document({"Action": "iam:Get*", "Resource": "*"})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with authorization_server(tmp_path_factory.mktemp("ssf")) as made:
        yield made


def operation_of(site: Installation, request_id: str) -> str:
    [record] = site.records(request_id)
    assert record["error"]
    return str(record["operation"])


def test_a25_set_is_not_an_access_token(site: Installation) -> None:
    stream = create(site)
    revoke(site, "ann")
    queued(site)
    [text] = polled(site, stream).values()
    answer = site.send("GET", [bearer(text)], path=b"/ssf/streams")
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert operation_of(site, answer.request_id) == "daypass:GetEventStream"


def test_a25_access_token_for_another_service_does_not_open_a_stream(site: Installation) -> None:
    arn, key = site.user("pat", policy=EVERYTHING)
    role = site.role("pats", trust(arn), policy=EVERYTHING)
    ours = given(exchange(site, presigned(site, key), PRESIGNED, role=role, audience="https://daypass.test"))
    theirs = given(exchange(site, presigned(site, key), PRESIGNED, role=role, audience="https://orders.example"))
    body = json.dumps({"delivery": {"method": POLL}}).encode()
    made = site.send("POST", [bearer(ours["access_token"])], body, path=b"/ssf/streams")
    assert members(made, 201)["aud"].startswith(f"arn:aws:daypass::{ALPHA}:")
    assert site.send("POST", [bearer(theirs["access_token"])], body, path=b"/ssf/streams").status == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/ssf/streams"),
        ("GET", "/ssf/streams"),
        ("GET", "/ssf/status"),
        ("POST", "/ssf/status"),
        ("POST", "/ssf/subjects/add"),
        ("POST", "/ssf/subjects/remove"),
        ("POST", "/ssf/verification"),
        ("POST", "/ssf/poll/0123"),
    ],
)
def test_a100_request_without_credentials_is_refused_and_recorded(site: Installation, method: str, path: str) -> None:
    answer = site.send(method, body=b"{}" if method == "POST" else b"", path=path.encode())
    assert answer.status == 401
    assert operation_of(site, answer.request_id).startswith("daypass:")


def test_a89_stream_of_another_account_is_unknown_to_every_operation(site: Installation) -> None:
    stream = create(site)
    of_theirs, query = {"stream_id": stream["stream_id"]}, f"stream_id={stream['stream_id']}"
    subject = {"format": "opaque", "id": "x"}
    path = f"/api/v1/event-streams/{stream['stream_id']}/events"
    attempts = [
        call(site, "GET", "/ssf/streams", key=ROOT_OF_BETA, query=query),
        call(site, "PATCH", "/ssf/streams", {**of_theirs, "description": "x"}, key=ROOT_OF_BETA),
        call(site, "PUT", "/ssf/streams", {**of_theirs, "delivery": {"method": POLL}}, key=ROOT_OF_BETA),
        call(site, "DELETE", "/ssf/streams", key=ROOT_OF_BETA, query=query),
        call(site, "GET", "/ssf/status", key=ROOT_OF_BETA, query=query),
        call(site, "POST", "/ssf/status", {**of_theirs, "status": "disabled"}, key=ROOT_OF_BETA),
        call(site, "POST", "/ssf/subjects/remove", {**of_theirs, "subject": subject}, key=ROOT_OF_BETA),
        call(site, "POST", "/ssf/verification", of_theirs, key=ROOT_OF_BETA),
        call(site, "POST", f"/ssf/poll/{stream['stream_id']}", {"returnImmediately": True}, key=ROOT_OF_BETA),
        call(site, "GET", path, key=ROOT_OF_BETA),
    ]
    unknown = call(site, "GET", "/ssf/status", key=ROOT_OF_BETA, query="stream_id=0123")
    assert {code(answer) for answer in [*attempts, unknown]} == {(404, "NoSuchEntity")}
    assert all(operation_of(site, answer.request_id) for answer in attempts)
    assert stored(site, stream).delivery_status == "enabled"


def test_a89_stream_has_the_events_of_its_own_account_alone(site: Installation) -> None:
    ours, theirs = create(site), create(site, key=ROOT_OF_BETA)
    revoke(site, "of-alpha")
    revoke(site, "of-beta", ROOT_OF_BETA)
    queued(site)
    found = polled(site, theirs, ROOT_OF_BETA)
    assert len(found) == len(polled(site, ours)) == 1
    [jti] = polled(site, ours)
    assert jti not in found
    polled(site, theirs, ROOT_OF_BETA, ack=[jti])  # of another stream: it changes nothing
    assert list(polled(site, ours)) == [jti]
    refused = call(site, "GET", "/api/v1/event-streams", key=ROOT_OF_BETA, query=f"account={ALPHA}")
    assert refused.status == 403
    assert BETA not in json.dumps(members(call(site, "GET", "/ssf/streams")))


def test_a116_caller_without_a_policy_for_event_streams_is_denied(site: Installation) -> None:
    _, key = site.user("reader", policy=READ_ONLY)
    stream = create(site)
    for answer in (
        call(site, "POST", "/ssf/streams", {"delivery": {"method": POLL}}, key=key),
        call(site, "POST", f"/ssf/poll/{stream['stream_id']}", {}, key=key),
        call(site, "GET", "/ssf/streams", key=key),
    ):
        assert code(answer) == (403, "AccessDenied")
        assert operation_of(site, answer.request_id).startswith("daypass:")


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest/", "https://127.0.0.1:1/", "https://localhost/", "http://example.com/"]
)
def test_push_stream_to_a_forbidden_address_is_refused_when_it_is_written(site: Installation, url: str) -> None:
    delivery = {"method": PUSH, "endpoint_url": url, "authorization_header": "Bearer canary-of-ssf"}
    answer = call(site, "POST", "/ssf/streams", {"delivery": delivery})
    assert code(answer) == (400, "ValidationError")
    assert operation_of(site, answer.request_id).startswith("daypass:")
    assert b"canary-of-ssf" not in b"".join(site.record_bytes()) + site.log.getvalue().encode()


def test_push_to_a_name_without_an_address_is_not_sent_and_says_only_why(site: Installation) -> None:
    delivery = {"endpoint_url": "https://push.invalid/", "authorization_header": "Bearer canary-of-ssf"}
    stream = create(site, PUSH, delivery=delivery)
    revoke(site, "ann")
    work(site, lambda: stored(site, stream).failures > 0)
    path = f"/api/v1/event-streams/{stream['stream_id']}/events"
    [event] = members(call(site, "GET", path, query="outcome=waiting"))["security_events"]
    assert event["error"] == "the host push.invalid has no address that may be fetched from"
    assert b"canary-of-ssf" not in b"".join(site.record_bytes()) + site.log.getvalue().encode()


def test_a114_body_over_the_limit_is_refused(site: Installation) -> None:
    body = json.dumps({"delivery": {"method": POLL}, "description": "x" * 70_000}).encode()
    assert call(site, "POST", "/ssf/streams", body, key=ADMIN).status == 413


def test_a351_removed_subjects_are_looked_up_and_not_read_for_each_event(site: Installation) -> None:
    """A thousand of them, read for each event, held up everybody's writes: 0.2 s for each stream of the account."""
    stream = create(site)
    for number in range(12):
        subject = {"format": "opaque", "id": f"somebody-{number}"}
        body = {"stream_id": stream["stream_id"], "subject": subject}
        assert call(site, "POST", "/ssf/subjects/remove", body).status == 204
    env, row = site.runtime.env, stored(site, stream)
    read: list[object] = []

    def change(tx: Any) -> tuple[None, Event]:
        find, get = tx.find, tx.get
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tx, "find", lambda *a, **b: (found := find(*a, **b), read.extend(found))[0])
            patch.setattr(tx, "get", lambda *a, **b: (found := get(*a, **b), read.append(found))[0])
            content = credential_change("https://x", CredentialChange(ALPHA, "AIDA1", "password", "create"), 1, "")
            offer(env, tx, row, content, 1)
        return None, Event(EventType.SECURITY_EVENT, 1, ALPHA, detail={})

    site.run(env.journal.write(change))
    assert len(read) <= 6
    assert len(polled(site, stream)) == 1


def test_a354_verification_of_a_disabled_or_full_stream_is_refused(
    site: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = create(site)["stream_id"]
    call(site, "POST", "/ssf/status", {"stream_id": stream, "status": "disabled"})
    refused = call(site, "POST", "/ssf/verification", {"stream_id": stream})
    assert code(refused) == (400, "ValidationError"), refused.body
    other = create(site)["stream_id"]
    monkeypatch.setattr(streams, "MAX_WAITING", 0)
    refused = call(site, "POST", "/ssf/verification", {"stream_id": other})
    assert code(refused)[1] == "LimitExceeded", refused.body


def test_a354_poll_acknowledges_some_events_and_none_that_cannot_exist(site: Installation) -> None:
    """A thousand look-ups in one transaction held up everybody's writes again and again."""
    stream = create(site)
    path = str(stream["delivery"]["endpoint_url"]).removeprefix("https://daypass.test")
    body = {"returnImmediately": True, "ack": [f"{number:032x}" for number in range(poll.MAX_ACKS + 1)]}
    assert code(call(site, "POST", path, body)) == (400, "ValidationError")
    revoke(site, "acknowledged")
    queued(site)
    [jti] = polled(site, stream)
    other = create(site)
    assert polled(site, other, ack=[jti]) == {}  # of another stream
    odd = ["\0", "ä", "", "x" * 9_000, jti, jti]
    assert polled(site, stream, ack=odd, setErrs={"\0": {"err": "x"}}) == {}


def test_a374_waiting_polls_of_one_account_leave_room_and_are_not_woken_by_others(
    site: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 polls of one account took every place of the process, and each revocation made all of them read."""
    looks: list[str] = []
    waited = {ALPHA: asyncio.Event(), BETA: asyncio.Event()}

    def looked(tx: Any, stream: Any, limit: int) -> Any:
        looks.append(stream.account)
        site.runner.get_loop().call_soon_threadsafe(waited[stream.account].set)
        return deliverable(tx, stream, limit)

    monkeypatch.setattr(poll, "deliverable", looked)
    monkeypatch.setattr(poll, "MAX_STREAMS", 1)
    monkeypatch.setattr(poll, "_LOOK_SECONDS", 60)
    ours, theirs = create(site), create(site, key=ROOT_OF_BETA)

    async def post(key: Key, path: str, body: bytes) -> Answer:
        headers = site.signed(key, body, "daypass", path=path, extra={"content-type": "application/json"})
        return await site.ask("POST", headers, body, path=path.encode())

    async def waits(stream: Any, key: Key) -> Answer:
        return await post(key, stream["delivery"]["endpoint_url"].removeprefix("https://daypass.test"), b"{}")

    async def attempt() -> Answer:
        async with asyncio.timeout(60):
            first = asyncio.create_task(waits(ours, ADMIN))
            await waited[ALPHA].wait()
            further = await waits(ours, ADMIN)
            of_beta = asyncio.create_task(waits(theirs, ROOT_OF_BETA))
            await waited[BETA].wait()
            for number in range(3):
                body = json.dumps({"subject": "source_identity", "value": f"of-beta-{number}", "force": True}).encode()
                assert (await post(ROOT_OF_BETA, "/api/v1/revocations", body)).status == 201
        for each in (first, of_beta):
            assert not each.done()
            each.cancel()
        return further

    assert members(site.run(attempt()))["sets"] == {}
    assert looks == [ALPHA, ALPHA, BETA]
