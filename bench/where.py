"""Profiles one AssumeRole: the whole application in this process, under the standard profiler.

The profiler makes every call dearer, so read the shares, not the sums: time spent in each module itself, and calls made.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from assume_role import ACCOUNT, KEY, SECRET, requests
from daypass import config
from daypass.operations.accounts import bootstrap, parse
from daypass.server.application import build
from daypass.server.runtime import Runtime
from daypass.stores.engine import open_database
from daypass.stores.migrations import prepare

_TOGETHER = 64


def scope_of(raw: bytes) -> tuple[dict[str, Any], bytes]:
    """An ASGI scope and a body, as the HTTP server makes them of these bytes."""
    head, body = raw.split(b"\r\n\r\n", 1)
    pairs = [line.split(b": ", 1) for line in head.split(b"\r\n")[1:]]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [(name.lower(), value) for name, value in pairs],
        "client": ("127.0.0.1", 1),
        "scheme": "http",
    }
    return scope, body


async def call(application: Any, raw: bytes) -> None:
    scope, body = scope_of(raw)
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await application(scope, receive, send)
    if statuses != [200]:
        raise SystemExit(f"answered {statuses}")


async def profile(data: Path, count: int) -> cProfile.Profile:
    settings = config.load(None, {}, {"server": {"data": data}})
    database = open_database(settings.database_url())
    prepare(database)
    database.close()
    runtime = Runtime(settings)
    await runtime.start()
    await bootstrap(runtime.env, parse(f"{KEY}:{SECRET}:{ACCOUNT}:bench"), examples=ACCOUNT)
    application = build(runtime)
    built = requests("http://127.0.0.1:1", count + 100, roles=("deployer",))
    for raw in built[:100]:
        await call(application, raw)
    watch = cProfile.Profile()
    watch.enable()
    for start in range(100, count + 100, _TOGETHER):
        await asyncio.gather(*(call(application, raw) for raw in built[start : start + _TOGETHER]))
    watch.disable()
    await runtime.stop()
    return watch


def show(watch: cProfile.Profile, count: int) -> None:
    spent: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for (file, _, name), (_, number, own, _, _) in pstats.Stats(watch).stats.items():  # type: ignore[attr-defined]
        place = file.rpartition("daypass/")[2] if "daypass/" in file else Path(file).name
        key = name if place == "~" else place
        spent[key] += own
        calls[key] += number
    total = sum(spent.values())
    print(f"{sum(calls.values()) / count:.0f} calls for each request; share of time and calls, by module:")
    for key, own in spent.most_common(30):
        print(f"  {100 * own / total:5.1f} %  {calls[key] / count:6.1f}  {key}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=3000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as data:
        show(asyncio.run(profile(Path(data), args.requests)), args.requests)


if __name__ == "__main__":
    main()
