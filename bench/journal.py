"""Commits a second through the journal alone, with 256 waiters: batch sizes, and the time each event costs.

    .venv/bin/python bench/journal.py [--seconds S] [--waiters N] [--url postgresql://…] [--sessions] [--fsync-delay-ms D]

"CPU" is the whole process's (the database included on SQLite); "loop" is the time of the event loop's thread, "writer"
that of the writer thread, encoding of the event included. The data goes to a temporary directory.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import uvloop

from daypass.audit.batch import JournalOptions
from daypass.audit.journal import Journal
from daypass.crypto.ids import Ids
from daypass.domain.events import Event, EventType
from daypass.domain.session import FeedPosition, Hop, SessionClaims, SessionKind
from daypass.ports.clock import Clock
from daypass.stores.engine import open_database
from daypass.stores.migrations import migrate

ACCOUNT = "111122223333"


def issue(ids: Ids, now: int) -> tuple[Event, SessionClaims]:
    """An AssumeRole as the record sees it: an event of about 1 KB and its session."""
    session_id, key = ids.session(), ids.access_key("ASIA")
    seen = FeedPosition("0123456789abcdef", 1)
    arn = f"arn:aws:iam::{ACCOUNT}:role/deploy"
    hops = (
        Hop("", ACCOUNT, "AIDAAAAAAAAAAAAAAAAAA", now, seen, "AKIAAAAAAAAAAAAAAAAA", "alice"),
        Hop(session_id, ACCOUNT, "AROAAAAAAAAAAAAAAAAAA", now, seen, key, "job"),
    )
    claims = SessionClaims(
        SessionKind.ROLE, session_id, ACCOUNT, "AROAAAAAAAAAAAAAAAAAA", arn, "job", now, now + 3_600_000, seen, hops
    )
    event = Event(
        type=EventType.SESSION_ISSUED,
        at=now,
        account=ACCOUNT,
        actor={
            "kind": "User",
            "account": ACCOUNT,
            "arn": f"arn:aws:iam::{ACCOUNT}:user/alice",
            "principal_id": "AIDAAAAAAAAAAAAAAAAAA",
            "access_key_id": "AKIAAAAAAAAAAAAAAAAA",
        },
        source={"ip": "127.0.0.1", "user_agent": "Boto3/1.40 ua/2.1 lang/python#3.13", "region": "us-east-1"},
        request_id=ids.request(),
        operation="sts:AssumeRole",
        session_id=session_id,
        decision={
            "allowed": True,
            "determining": [
                {"layer": "resource", "policy": "trust", "statement": 0, "sid": "", "effect": "Allow"},
                {"layer": "identity", "policy": "assume", "statement": 0, "sid": "", "effect": "Allow"},
            ],
        },
        detail={"parameters": {"RoleArn": arn, "RoleSessionName": "job", "DurationSeconds": 3600}, "expires_at": now},
    )
    return event, claims


async def measure(arguments: argparse.Namespace, url: str) -> None:
    database = open_database(url)
    migrate(database)
    sizes: list[int] = []
    ids, clock = Ids(), Clock()
    options = JournalOptions(fsync_delay_ms=arguments.fsync_delay_ms)
    journal = Journal(
        database, clock, ids, "bench", options, on_batch=lambda events, _seconds: sizes.append(len(events))
    )
    await journal.start()
    latencies: list[float] = []
    until = time.perf_counter() + arguments.seconds

    async def waiter() -> None:
        while (began := time.perf_counter()) < until:
            event, claims = issue(ids, clock.now())
            await journal.commit(event, claims if arguments.sessions else None)
            latencies.append(time.perf_counter() - began)

    writer = time.pthread_getcpuclockid(journal._thread.ident or 0)
    wall, cpu, loop, thread = time.perf_counter(), time.process_time(), time.thread_time(), time.clock_gettime(writer)
    await asyncio.gather(*(waiter() for _ in range(arguments.waiters)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    loop, thread = time.thread_time() - loop, time.clock_gettime(writer) - thread
    await journal.close()
    count = len(latencies)
    latencies.sort()
    making = await asyncio.to_thread(cost_of_making, ids)
    print(
        f"{database.dialect}: {count / wall:,.0f} commits/s, {count / len(sizes):.0f} events a batch, "
        f"p50 {latencies[count // 2] * 1e3:.1f} ms, p99 {latencies[count * 99 // 100] * 1e3:.1f} ms; for each event: "
        f"{cpu / count * 1e6:.1f} µs CPU, {loop / count * 1e6:.1f} µs loop (of it {making:.1f} µs to make the event), "
        f"{thread / count * 1e6:.1f} µs writer"
    )
    database.close()
    if url.startswith("sqlite"):  # the write-ahead log is in the file now
        size = await asyncio.to_thread(lambda: Path(url.removeprefix("sqlite:///")).stat().st_size)
        print(f"on disk: {size / count:.0f} bytes for each event, indexes and an empty database included")


def cost_of_making(ids: Ids) -> float:
    """µs that `issue` itself takes, which is not the journal's."""
    began = time.perf_counter()
    for _ in range(5_000):
        issue(ids, 1)
    return (time.perf_counter() - began) / 5_000 * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--waiters", type=int, default=256)
    parser.add_argument("--sessions", action="store_true", help="with a session row for each event")
    parser.add_argument("--fsync-delay-ms", type=float, default=0.0)
    parser.add_argument("--url", default="", help="default: SQLite in a temporary directory")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="daypass-bench-") as directory:
        uvloop.run(measure(arguments, arguments.url or f"sqlite:///{Path(directory) / 'journal.db'}"))


if __name__ == "__main__":
    main()
