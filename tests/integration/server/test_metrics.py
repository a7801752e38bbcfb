"""Who may read the metrics, and what /readyz says to whom."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import msgspec
import pytest
from sqlalchemy import delete
from tests.patience import PATIENT_JOURNAL

from daypass.audit.completeness import RecordCount
from daypass.config import ConfigError, Settings, load
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.observability.metrics import Metrics
from daypass.server.application import HealthPort, build
from daypass.server.runtime import Runtime
from daypass.server.turns import AT_ONCE
from daypass.stores.engine import open_database
from daypass.stores.migrations import prepare
from daypass.stores.records import audit_records
from daypass.wire.health import health_routes
from daypass.wire.http import Request
from daypass.wire.routing import Route

TOKEN = "metrics-token-canary"


@asynccontextmanager
async def started(data: Path, token: str, **server: int) -> AsyncIterator[Runtime]:
    settings = Settings.model_validate(
        {"server": {"data": str(data), "metrics_token": token, **server}, "journal": PATIENT_JOURNAL}
    )
    database = open_database(settings.database_url())
    prepare(database)
    database.close()
    runtime = Runtime(settings)
    await runtime.start()
    try:
        yield runtime
    finally:
        await runtime.stop()


def route_of(runtime: Runtime, path: str) -> Route:
    route = build(runtime).routes.find(path.encode())
    assert isinstance(route, Route)
    return route


@pytest.mark.parametrize(
    ("token", "headers", "status"),
    [
        ("", [], 200),
        (TOKEN, [], 401),
        (TOKEN, [(b"authorization", b"Bearer wrong")], 401),
        (TOKEN, [(b"authorization", b"Bearer " + TOKEN.encode() + b"x")], 401),
        (TOKEN, [(b"authorization", b"Basic " + TOKEN.encode())], 401),
        (TOKEN, [(b"authorization", b"Bearer " + TOKEN.encode())] * 2, 401),
        (TOKEN, [(b"authorization", b"Bearer " + TOKEN.encode())], 200),
    ],
)
async def test_metrics_with_a_token_are_for_its_bearers_alone(
    tmp_path: Path, token: str, headers: list[tuple[bytes, bytes]], status: int
) -> None:
    async with started(tmp_path, token) as runtime:
        route = route_of(runtime, "/metrics")
        answer = await route.handler(Request("GET", b"/metrics", b"", headers, b"", "", False, "id", 0))
    assert answer.status == status
    assert (b"daypass_" in answer.body) is (status == 200)


async def asked(sock: socket.socket, path: str) -> bytes:
    reader, writer = await asyncio.open_connection(*sock.getsockname())
    writer.write(f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("bears", [False, True])
async def test_readyz_names_hosts_to_bearers_of_the_token_alone(
    tmp_path: Path, bears: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> None:
        raise DaypassError(ErrorKind.UNAVAILABLE, "away", private={"database": "connection to db-17.internal failed"})

    async with started(tmp_path, TOKEN) as runtime:
        monkeypatch.setattr(runtime.directory, "refresh", away)
        monkeypatch.setattr(runtime.directory.freshness, "directory_until", 0.0)  # otherwise it serves from memory
        headers = [(b"authorization", b"Bearer " + TOKEN.encode())] if bears else []
        route = route_of(runtime, "/readyz")
        answer = await route.handler(Request("GET", b"/readyz", b"", headers, b"", "", False, "id", 0))
    assert answer.status == 503
    assert b"the database cannot be read" in answer.body
    assert (b"db-17.internal" in answer.body) is bears


@pytest.mark.parametrize("bears", [False, True])
async def test_a233_warning_of_readyz_names_the_key_source_to_bearers_of_the_token_alone(
    tmp_path: Path, bears: bool
) -> None:
    async with started(tmp_path, TOKEN) as runtime:
        runtime._rotation.source_problem = "Vault at https://vault-3.internal:8200, key transit/keys/d cannot decrypt"
        headers = [(b"authorization", b"Bearer " + TOKEN.encode())] if bears else []
        answer = await route_of(runtime, "/readyz").handler(
            Request("GET", b"/readyz", b"", headers, b"", "", False, "id", 0)
        )
    assert b"the next start of this server would fail" in answer.body
    assert (b"vault-3.internal" in answer.body) is bears
    assert (b"transit" in answer.body) is bears


async def test_readyz_during_an_outage_is_degraded_with_age_and_depth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> None:
        raise DaypassError(ErrorKind.UNAVAILABLE, "away", private={"database": "gone"})

    def broken(**_: object) -> None:
        raise OSError("the disk is gone")

    async with started(tmp_path, TOKEN) as runtime:
        monkeypatch.setattr(runtime.directory, "refresh", away)
        monkeypatch.setattr(runtime.database, "write_transaction", broken)
        await runtime.journal.commit(Event(EventType.REQUEST_ALLOWED, runtime.clock.now()))
        route = route_of(runtime, "/readyz")
        answer = await route.handler(Request("GET", b"/readyz", b"", [], b"", "", False, "id", 0))
        metrics = runtime.render_metrics()
        monkeypatch.undo()
    content = json.loads(answer.body)
    assert (answer.status, content["status"], content["problems"]) == (200, "degraded", [])
    assert content["degraded"]["spool_events"] == 1
    assert 0 <= content["degraded"]["directory_age_seconds"] < 60
    assert "cause" not in content["degraded"], "it is for bearers of the token"
    assert b"daypass_degraded 1.0" in metrics
    assert b"daypass_spool_events 1.0" in metrics


async def test_gauges_tell_of_connections_waiting_requests_and_bodies(tmp_path: Path) -> None:
    async with started(tmp_path, "") as runtime:
        connections = runtime.connections
        connections.attach(asyncio.get_running_loop())
        connection = Mock()
        assert connections.add(connection, "192.0.2.1")
        assert connections.bodies.charge("192.0.2.1", 100)
        for _ in range(AT_ONCE + 3):
            connections.turns.enter(connection)
        connections.refused = 2
        text = runtime.render_metrics().decode()
        connections.discard(connection, "192.0.2.1")
    for line in ("connections 1.0", "requests_waiting 3.0", "body_bytes 100.0", "connections_refused_total 2.0"):
        assert f"\ndaypass_{line}\n" in text
    assert 'daypass_events_total{type="key.added"}' in text


TRUST = {"allowed": False, "blocked_by": "resource"}
ASSUME, CHAINED = "sts:AssumeRole", {"session_id": "s"}
EXPIRED = {"private": {"reason": "expired"}}
REVOKED = {"private": {"reason": "revoked"}}
SESSION = {"expires_at": 1 + 3_600_000}
COUNTED = {"count": 5, "type": "request.unauthenticated"}
COUNTED_REVOKED = {**COUNTED, "values": {"detail.private.reason": {"revoked": 5}}}

# operation, kind of error, further fields of the event; the labels of the attempt, how many, and the cause of the refusal
ATTEMPTS: list[tuple[str, str, dict[str, Any], str, int, str]] = [
    (ASSUME, "", {"detail": SESSION}, "key issued none standard", 1, ""),
    (ASSUME, "", {"detail": SESSION, "actor": CHAINED, "grant_id": "g"}, "session issued none elevated", 1, ""),
    ("daypass:NewWay", "", {"detail": SESSION}, "key issued none standard", 1, ""),
    (ASSUME, "access_denied", {"decision": TRUST}, "key denied trust_policy standard", 1, "trust_policy"),
    (ASSUME, "access_denied", {"decision": {"blocked_by": "identity"}}, "key denied caller_policy standard", 1, "caller_policy"),
    (ASSUME, "access_denied", {"decision": {"blocked_by": "block"}}, "key denied blocked standard", 1, "blocked"),
    (ASSUME, "access_denied", {"decision": {"revocation": "r"}, "actor": CHAINED}, "session denied blocked standard", 1, "blocked"),
    (ASSUME, "expired_credentials", {"detail": EXPIRED}, "key failed expired standard", 1, "expired"),
    (ASSUME, "expired_credentials", {"detail": REVOKED}, "key failed revoked standard", 1, "revoked"),
    (ASSUME, "signature_mismatch", {"detail": COUNTED}, "key failed credentials standard", 5, "credentials"),
    (ASSUME, "expired_credentials", {"detail": COUNTED_REVOKED}, "key failed revoked standard", 5, "revoked"),
    (ASSUME, "validation", {}, "key failed request standard", 1, "request"),
    (ASSUME, "unavailable", {}, "key unavailable unavailable standard", 1, "unavailable"),
    ("sts:AssumeRoleWithWebIdentity", "expired_identity_token", {}, "token failed expired standard", 1, "expired"),
    ("sts:AssumeRoleWithWebIdentity", "idp_communication", {}, "token failed issuer standard", 1, "issuer"),
    ("sts:AssumeRoleWithSAML", "invalid_identity_token", {}, "saml failed proof standard", 1, "proof"),
    ("rolesanywhere:CreateSession", "throttled", {}, "certificate failed throttled standard", 1, "throttled"),
    ("iam:CreateUser", "access_denied", {}, "", 0, "caller_policy"),
    ("iam:CreateUser", "expired_credentials", {"detail": EXPIRED}, "", 0, "expired"),
    ("sts:GetCallerIdentity", "", {"type": EventType.REQUEST_ALLOWED}, "", 0, ""),
    ("", "signature_mismatch", {"detail": {"count": 9}}, "", 0, ""),  # of several kinds
]  # fmt: skip


@pytest.mark.parametrize(("operation", "error", "fields", "labels", "number", "cause"), ATTEMPTS)
async def test_attempts_and_refusals_are_counted_by_the_events_on_the_record(
    operation: str, error: str, fields: dict[str, Any], labels: str, number: int, cause: str
) -> None:
    if "count" in fields.get("detail", {}):
        kind = EventType.REQUEST_REPEATED
    elif error:
        kind = EventType.REQUEST_DENIED if error == "access_denied" else EventType.REQUEST_FAILED
    else:
        kind = EventType.SESSION_ISSUED
    metrics = Metrics()
    metrics.observe_commit([Event(**{"type": kind, "at": 1, "operation": operation, "error": error, **fields})], 0.01)
    lines = [line for line in metrics.render().decode().splitlines() if not line.endswith(" 0.0")]
    names = ("proof", "outcome", "cause", "role_class")
    expected = dict(zip(names, labels.split(), strict=True)) if labels else {}
    parts = {"operation": operation, **expected}
    counted = [line for line in lines if line.startswith("daypass_assume_total{")]
    assert [line.rpartition(" ")[2] for line in counted] == ([f"{float(number)}"] if labels else [])
    assert all(f'{name}="{value}"' in line for name, value in parts.items() for line in counted)
    refused = [line for line in lines if line.startswith("daypass_refused_total{")]
    assert refused == (
        [f'daypass_refused_total{{account="other",cause="{cause}"}} {float(max(1, number))}'] if cause else []
    )


async def test_refusals_that_could_not_be_recorded_are_unavailable_attempts() -> None:
    metrics = Metrics()
    metrics.observe_unrecorded(ASSUME)
    metrics.observe_unrecorded("iam:CreateUser")
    text = metrics.render().decode()
    assert [x for x in text.splitlines() if x.startswith("daypass_assume_total{") and not x.endswith(" 0.0")] == [
        'daypass_assume_total{account="other",cause="unavailable",operation="sts:AssumeRole",outcome="unavailable",proof="",role_class="standard"} 1.0'
    ]
    assert 'daypass_refused_total{account="other",cause="unavailable"} 1.0' in text


async def test_only_accounts_that_the_operator_names_have_a_label() -> None:
    metrics = Metrics({"1" * 12: "shop"})
    series = metrics.render().count(b"account=")
    denied = Event(EventType.REQUEST_DENIED, 1, operation=ASSUME, error="access_denied")
    accounts = ["1" * 12, "", 'x",account="shop', "\n# HELP", *(f"{number:012}" for number in range(2000))]
    metrics.observe_commit([msgspec.structs.replace(denied, account=account) for account in accounts], 0.01)
    text = metrics.render().decode()
    assert text.count("account=") == series
    counted = {line for line in text.splitlines() if line.startswith("daypass_refused_total{") and "caller" in line}
    assert counted == {
        'daypass_refused_total{account="shop",cause="caller_policy"} 1.0',
        'daypass_refused_total{account="other",cause="caller_policy"} 2003.0',
    }


@pytest.mark.parametrize(
    "accounts", ["shop", "shop=1", "Shop=111122223333", 'a"=111122223333', ",".join(["a=111122223333"] * 11)]
)
def test_accounts_of_metrics_are_few_and_have_plain_names(accounts: str) -> None:
    with pytest.raises(ConfigError, match="metrics_accounts"):
        load(environ={"DAYPASS_SERVER__METRICS_ACCOUNTS": accounts})


async def test_record_that_lost_a_row_is_less_than_expected(tmp_path: Path) -> None:
    async with started(tmp_path, "") as runtime:
        count = RecordCount()
        for _ in range(3):
            await runtime.journal.commit(Event(EventType.REQUEST_ALLOWED, runtime.clock.now()))
        log, last = runtime.journal.log, runtime.journal.head().seq
        runtime.database.read(lambda conn: count.compare(conn, log, last, drained=True))
        assert count.expected == count.found == last + 1
        await runtime.journal.commit(Event(EventType.REQUEST_ALLOWED, runtime.clock.now()))
        runtime.database.read(lambda conn: count.compare(conn, log, last + 1, drained=False))
        assert count.expected == last + 1, "what may be in the spool is not counted yet"
        with runtime.database.write_transaction() as conn:
            conn.execute(delete(audit_records).where(audit_records.c.log == log, audit_records.c.seq == last + 1))
        runtime.database.read(lambda conn: count.compare(conn, "next", -1, drained=True))
        assert (count.expected, count.found) == (last + 2, last + 1)


async def test_health_port_serves_health_and_metrics_and_nothing_else(tmp_path: Path) -> None:
    async with started(tmp_path, "", health_port=0) as runtime:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = HealthPort(health_routes(runtime, ""), sock)
            assert (await asked(sock, "/healthz")).startswith(b"HTTP/1.1 200")
            assert (await asked(sock, "/readyz")).startswith(b"HTTP/1.1 200")
            assert b"daypass_requests" in await asked(sock, "/metrics")
            assert (await asked(sock, "/")).startswith(b"HTTP/1.1 404")
            await port.close()
        routes = build(runtime).routes
        assert routes.find(b"/metrics") is None
        assert routes.find(b"/healthz") is not None
