"""A real server with more requests than it can serve: whoever scrapes it is still answered, so that the flood is seen."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.e2e.conftest import ADMIN_KEY, Server, running
from tests.processes import free_port

from daypass.client.http import signed_request
from daypass.client.profiles import Profile

pytestmark = pytest.mark.slow

FLOOD = 400  # connections
SCRAPES = 10
TURNS = 2 * FLOOD
"""So many requests of the flood may be answered before a scrape is: what was before it in a line of all would be more."""


class Flood:
    """Connections that send the same signed request again as soon as it is answered, from one address."""

    def __init__(self, server: Server) -> None:
        host, port = server.url.removeprefix("http://").split(":")
        self._place = (host, int(port))
        profile = Profile(server.url, *ADMIN_KEY)
        body = b"Action=GetCallerIdentity&Version=2011-06-15"
        form = "application/x-www-form-urlencoded"
        signed = signed_request(profile, "POST", "/", "", body, content_type=form, service="sts", now=time.time())
        head = "".join(f"{name}: {value}\r\n" for name, value in signed.headers.items())
        self._request = f"POST / HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body
        self.answers: Counter[bytes] = Counter()
        self.shed = asyncio.Event()  # as many requests were refused as there are connections

    async def run(self) -> None:
        reader, writer = await asyncio.open_connection(*self._place)
        try:
            while True:
                writer.write(self._request)
                status = (await reader.readuntil(b"\r\n"))[9:12]
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(length[15:]))
                self.answers[status] += 1
                if self.answers[b"503"] >= FLOOD:
                    self.shed.set()
        finally:
            writer.close()
            await writer.wait_closed()


async def scraped(port: int, source: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: scraped\r\nConnection: close\r\n\r\n")
    text = await reader.read()
    writer.close()
    await writer.wait_closed()
    return text


@pytest.mark.parametrize("separate", [True, False])
def test_a584_metrics_are_answered_while_a_flood_is_shed(tmp_path: Path, *, separate: bool) -> None:
    health = free_port()
    rates = ("PRINCIPAL_PER_SECOND", "PRINCIPAL_BURST", "ACCOUNT_PER_SECOND", "ACCOUNT_BURST")
    given = {"DAYPASS_SERVER__QUEUE_SECONDS": "0.1", **{f"DAYPASS_RATES__{name}": "100000" for name in rates}}
    if separate:
        given["DAYPASS_SERVER__HEALTH_PORT"] = str(health)

    async def flooded(server: Server) -> None:
        flood, port = Flood(server), health if separate else int(server.url.rpartition(":")[2])
        tasks = [asyncio.create_task(flood.run()) for _ in range(FLOOD)]
        await flood.shed.wait()
        for _ in range(SCRAPES):
            before = flood.answers.total()
            text = await scraped(port, "127.0.0.9")
            assert text.startswith(b"HTTP/1.1 200"), text[:200]
            assert b'daypass_requests_total{code="SlowDown"' in text
            assert flood.answers.total() - before <= TURNS
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    with running(tmp_path, environment=given) as server:
        asyncio.run(asyncio.wait_for(flooded(server), 240))
