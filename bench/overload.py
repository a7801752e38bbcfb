"""Many times the load that a server can serve: what well-behaved callers and operators see of it, and how it recovers.

One process, SQLite. A polite client sends AssumeRole at a twentieth of the capacity from one address; others flood the
server from ten addresses with requests of the same kind, as fast as they were asked to, whatever becomes of them; an
operator revokes twice a second. Targets: the polite client's p99 within twice the unloaded one, memory flat, recovery
within ten seconds.

The server has a core of its own, and the clients share another one, where the flood has a lower priority. The polite
client measures how late its own event loop is: what it reports below that is the machine's, not the server's. With
`--commit-ms` the data are in memory and each commit takes so long, so that other users of the disk are not measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import loadgen
from chaos import make_role
from faults import Daypass
from steady import Load

_SHARE = 0.05
_RECOVERY_SECONDS = 12.0
_MEMORY = Path("/dev/shm")


class Answer(NamedTuple):
    """A request of the polite client: when it was sent (monotonic seconds), how long it took, what it was."""

    sent: float
    seconds: float
    outcome: str


class Operator:
    """Revokes something twice a second; seconds of each call, and what failed."""

    def __init__(self, daypass: Daypass) -> None:
        self._daypass = daypass
        self.latencies: list[float] = []
        self.failures = 0

    async def run(self) -> None:
        number = 0
        while True:
            began = time.monotonic()
            number += 1
            body = {"subject": "source_identity", "value": f"nobody-{number}", "force": True}
            try:
                await asyncio.to_thread(self._daypass.api, "POST", "/revocations", body)
            except Exception:  # noqa: BLE001 - whatever it is, the revocation did not succeed
                self.failures += 1
            self.latencies.append(time.monotonic() - began)
            await asyncio.sleep(max(0.0, 0.5 - (time.monotonic() - began)))


class Measured(NamedTuple):
    """The results of one run. `flood`: the flood's report; `lags`: of the polite client's event loop."""

    able: float
    unloaded: list[Answer]
    loaded: list[Answer]
    lags: list[float]
    flood: dict[str, Any]
    recovered: float
    memory: tuple[int, int, int]


def memory(daypass: Daypass) -> int:
    """Resident megabytes of the server."""
    assert daypass.process is not None
    lines = Path(f"/proc/{daypass.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) // 1024


def percentile(seconds: list[float], share: float) -> float:
    """In ms."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else float("nan")


def p99(answers: list[Answer]) -> float:
    return percentile([each.seconds for each in answers], 0.99)


@contextmanager
def on_core(number: int) -> Iterator[None]:
    """Processes that are started meanwhile run on this core, if there is more than one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[number]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, set(cores))


async def capacity(url: str, seconds: float) -> float:
    """Requests a second that are answered with a few busy connections."""
    message = Load(url, 0)._message(0)
    result = await loadgen.run(url, [message] * 100_000, 32, seconds)
    return result.rate


async def client(role: str, url: str, rate: float, seconds: float, *more: str) -> asyncio.subprocess.Process:
    """A load of `clients.py`, in a separate process. Returns when it has connected."""
    program = Path(__file__).with_name("clients.py")
    command = [sys.executable, str(program), role, url, str(rate), str(seconds), *more]
    with on_core(1):
        child = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, limit=2**26)
    assert child.stdout is not None
    await child.stdout.readline()
    return child


async def measure(daypass: Daypass, operator: Operator, options: argparse.Namespace) -> Measured:
    able = await capacity(daypass.url, 4.0)
    tail = options.seconds + _RECOVERY_SECONDS
    polite = await client("polite", daypass.url, max(10.0, able * _SHARE), options.seconds + tail)
    before, quiet = memory(daypass), time.monotonic()
    await asyncio.sleep(options.seconds)
    more = ("--reconnect",) if options.reconnect else ()
    flood = await client("flood", daypass.url, able * options.multiple, options.seconds, *more)
    began, during = time.monotonic(), [before]
    operator.latencies.clear()
    reading = asyncio.create_task(_output(flood))
    while not reading.done():
        during.append(memory(daypass))
        await asyncio.wait({reading}, timeout=0.5)
    ended = began + options.seconds
    latencies = list(operator.latencies)
    seen = json.loads(await _output(polite))
    operator.latencies = latencies
    answers = [Answer(*each) for each in seen["answers"]]
    unloaded = [each for each in answers if quiet <= each.sent < quiet + options.seconds]
    loaded = [each for each in answers if began <= each.sent < ended]
    return Measured(
        able,
        unloaded,
        loaded,
        [lag for at, lag in seen["lags"] if began <= at < ended],
        json.loads(reading.result()),
        _recovered(answers, ended, p99(unloaded)),
        (before, max(during), memory(daypass)),
    )


async def _output(child: asyncio.subprocess.Process) -> bytes:
    assert child.stdout is not None
    return await child.stdout.read()


def _recovered(answers: list[Answer], ended: float, unloaded: float) -> float:
    """Seconds from the end of the flood until the p99 of a second is within twice the unloaded one."""
    for step in range(1, int(_RECOVERY_SECONDS * 4)):
        at = ended + step / 4
        recent = [each for each in answers if at - 1.0 <= each.sent + each.seconds < at]
        if recent and p99(recent) <= 2 * unloaded:
            return step / 4
    return float("inf")


def report(found: Measured, operator: Operator, seconds: float) -> None:
    write, able = sys.stdout.write, found.able
    sent, offered = found.flood["sent"] / seconds, found.flood["offered"] / seconds
    alone, under = ([each.seconds for each in part] for part in (found.unloaded, found.loaded))
    served = sum(each.outcome == "200" for each in found.loaded)
    write(f"overload: capacity {able:.0f} requests/s, offered {offered:.0f}/s more, {offered / able:.1f} times; ")
    write(f"{sent:.0f}/s of them found a connection that was not waiting\n")
    write(f"  flood       answered {found.flood['statuses']}, {found.flood['connections']} connections made\n")
    write(f"  polite      {len(under) / seconds:.0f}/s: {served} of {len(under)} answered; p50 ")
    write(f"{percentile(alone, 0.5):.1f} ms unloaded, {percentile(under, 0.5):.1f} ms under the flood; p99 ")
    write(
        f"{p99(found.unloaded):.1f} and {p99(found.loaded):.1f} ms: {p99(found.loaded) / p99(found.unloaded):.2f} times\n"
    )
    write(f"  its process late by p50 {percentile(found.lags, 0.5):.1f}, p99 {percentile(found.lags, 0.99):.1f} ms\n")
    write(f"  revocation  under the flood p50 {percentile(operator.latencies, 0.5):.0f} ms, ")
    write(f"max {max(operator.latencies) * 1000:.0f} ms, {operator.failures} failed\n")
    write("  memory      {} MB before, {} MB at most, {} MB after\n".format(*found.memory))
    write(f"  recovered   {found.recovered:.1f} s after the flood\n")


async def _with_operator(daypass: Daypass, options: argparse.Namespace) -> None:
    operator = Operator(daypass)
    running = asyncio.create_task(operator.run())
    found = await measure(daypass, operator, options)
    running.cancel()
    report(found, operator, options.seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="of the flood, and of the time before it")
    parser.add_argument("--multiple", type=float, default=10.0, help="of the capacity")
    parser.add_argument("--reconnect", action="store_true", help="the flood makes a new connection for each request")
    parser.add_argument(
        "--commit-ms", type=float, default=0.0, help="keep the data in memory; each commit takes so long"
    )
    options = parser.parse_args()
    settings = {"DAYPASS_JOURNAL__FSYNC_DELAY_MS": str(options.commit_ms)} if options.commit_ms else {}
    where = _MEMORY if options.commit_ms and _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="daypass-overload-", dir=where) as directory:
        daypass = Daypass(Path(directory), workers=1, **settings)
        with on_core(0):
            daypass.start()
        try:
            make_role(daypass.url)
            asyncio.run(_with_operator(daypass, options))
        finally:
            daypass.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
