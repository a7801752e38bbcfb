"""Who may read the metrics."""

from __future__ import annotations

from pathlib import Path

import pytest

from daypass.config import Settings
from daypass.server.application import build
from daypass.server.runtime import Runtime
from daypass.stores.engine import open_database
from daypass.stores.migrations import prepare
from daypass.wire.http import Request

TOKEN = "metrics-token-canary"


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
    settings = Settings.model_validate({"server": {"data": str(tmp_path), "metrics_token": token}})
    database = open_database(settings.database_url())
    prepare(database)
    database.close()
    runtime = Runtime(settings)
    await runtime.start()
    try:
        route = build(runtime)._routes[b"/metrics"][1]
        answer = await route.handler(Request("GET", b"/metrics", b"", headers, b"", "", False, "id", 0))
    finally:
        await runtime.stop()
    assert answer.status == status
    assert (b"daypass_" in answer.body) is (status == 200)
