"""Requests at a steady rate through an outage of PostgreSQL: what is answered, what is lost, and how long it takes to catch up.

Targets for 15 minutes at 500 requests a second (`--seconds 900 --rate 500`): at least 99.99 % answered, no record lost,
caught up within 30 s of the database's return. The default is a short outage. `--how pause` stops the database instead
of killing it: connections stay open and nothing is answered.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from chaos import Chaos, make_role
from faults import Daypass, Postgres, own_postgres
from steady import Load

_BEFORE = 3.0
_CATCH_UP_SECONDS = 300.0


class Passed(NamedTuple):
    """Monotonic times: the outage from `began` to `back`, the spool empty at `caught_up`. `depth`: its events before."""

    load: Load
    began: float
    back: float
    caught_up: float
    depth: int

    def refused(self) -> str:
        """How many requests were not answered before, in and after the outage, and when the spool was empty again."""
        at = self.load.failed_at
        limits = (0.0, self.began, self.back, self.caught_up, float("inf"))
        parts = ("before", "during", "while it was drained", "after")
        counts = [sum(low <= time_ < high for time_ in at) for low, high in pairwise(limits)]
        return ", ".join(f"{count} {part}" for part, count in zip(parts, counts, strict=True))


async def through(daypass: Daypass, database: Postgres, options: argparse.Namespace) -> Passed:
    load = Load(daypass.url, options.rate)
    running = asyncio.create_task(load.run())
    await asyncio.sleep(_BEFORE)
    began = time.monotonic()
    await asyncio.to_thread(database.pause if options.how == "pause" else database.kill)
    await asyncio.sleep(options.seconds)
    depth = _metric(daypass, "daypass_spool_events")
    if options.how == "pause":
        database.resume()
    else:
        await asyncio.to_thread(database.start)
    back = time.monotonic()
    await _until_available(daypass)
    caught_up = time.monotonic()
    await asyncio.sleep(2.0)
    load.stop()
    await running
    return Passed(load, began, back, caught_up, depth)


async def _until_available(daypass: Daypass) -> None:
    for _ in range(int(_CATCH_UP_SECONDS * 10)):
        if not await asyncio.to_thread(_metric, daypass, "daypass_degraded"):
            return
        await asyncio.sleep(0.1)


def _metric(daypass: Daypass, name: str) -> int:
    _, text = daypass.health_of("/metrics")
    return sum(int(float(line.split()[-1])) for line in text.splitlines() if line.startswith(f"{name} "))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of the outage")
    parser.add_argument("--rate", type=float, default=500.0, help="requests a second")
    parser.add_argument("--how", choices=("kill", "pause"), default="kill")
    options = parser.parse_args()
    with own_postgres() as database, tempfile.TemporaryDirectory(prefix="daypass-outage-") as directory:
        daypass = Daypass(Path(directory), database.url)
        daypass.start()
        try:
            make_role(daypass.url)
            passed = asyncio.run(through(daypass, database, options))
            load = passed.load
            chaos = Chaos(daypass, database, random.Random(0))
            chaos.check(load)
        finally:
            daypass.stop()
    report, write = chaos.report, sys.stdout.write
    latencies = sorted(load.latencies)
    others = {name: count for name, count in load.outcomes.items() if name != "200"}
    write(f"outage ({options.how}) {passed.back - passed.began:.1f} s at {options.rate:.0f} requests/s\n")
    write(f"  answered    {load.answered} of {load.sent}: {100 * load.answered / load.sent:.3f} %; others {others}\n")
    write(f"  not so      {passed.refused()}\n")
    write(f"  latency     p50 {latencies[len(latencies) // 2] * 1000:.1f} ms, ")
    write(f"p99 {latencies[int(len(latencies) * 0.99)] * 1000:.1f} ms, max {latencies[-1] * 1000:.0f} ms\n")
    write(
        f"  spool       {passed.depth} events at most; empty {passed.caught_up - passed.back:.1f} s after the database's return\n"
    )
    write(f"  record      {len(report.lost)} lost, {len(report.twice)} twice, {len(report.bad)} faults\n")
    return 0 if report.good else 1


if __name__ == "__main__":
    raise SystemExit(main())
