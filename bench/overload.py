"""Many times the load that a server can serve: what well-behaved callers and operators see of it, and how it recovers.

One process, SQLite. A polite client sends AssumeRole at a twentieth of the capacity from one address; others flood the
server from ten addresses with requests of the same kind, as fast as they were asked to, whatever becomes of them; an
operator revokes twice a second. Targets: the polite client's p99 within twice the unloaded one, memory flat, recovery
within ten seconds. Compare the ratios: the load generators share the machine with the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import loadgen
from chaos import make_role
from faults import Daypass
from steady import Load

_POLITE, _FLOOD = "127.0.0.2", "127.0.1.{}"
_FLOODERS = 10
_CONNECTIONS = 120  # of each
_SHARE = 0.05
_TICK_SECONDS = 0.005
_RECOVERY_SECONDS = 30.0


@dataclass(slots=True)
class Polite(Load):
    """The well-behaved client. `seen`: for each answer its time, its latency and its outcome."""

    seen: list[tuple[float, float, str]] = field(default_factory=list)

    async def _one(self, number: int) -> None:
        began = time.monotonic()
        before = self.outcomes.copy()
        await Load._one(self, number)
        outcome = next(iter(self.outcomes - before), "")
        now = time.monotonic()
        self.seen.append((now, now - began, outcome))

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        target = urlsplit(self.url)
        return await asyncio.open_connection(target.hostname, target.port, local_addr=(_POLITE, 0))

    def between(self, began: float, ended: float) -> list[tuple[float, float, str]]:
        """The answers to requests that were sent in this time."""
        return [each for each in self.seen if began <= each[0] - each[1] < ended]


class Flooding(asyncio.Protocol):
    """One connection of the flood: it sends the same signed request again and again, when it is told to."""

    def __init__(self, idle: list[Flooding], statuses: Counter[str]) -> None:
        self._idle, self._statuses = idle, statuses
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._idle.append(self)

    def send(self, message: bytes) -> bool:
        if self._transport is None or self._transport.is_closing():
            return False
        self._transport.write(message)
        return True

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        if len(rest) < length:
            return
        self._statuses[head[9:12].decode()] += 1
        self._buffer = b""
        self._idle.append(self)


async def flood(url: str, rate: float, seconds: float) -> dict[str, object]:
    """Offers so many requests a second from several addresses. What finds no idle connection is not sent."""
    target, statuses, idle = urlsplit(url), Counter[str](), list[Flooding]()
    message = Load(url, 0)._message(0)
    loop = asyncio.get_running_loop()
    for number in range(_FLOODERS * _CONNECTIONS):
        await loop.create_connection(
            lambda: Flooding(idle, statuses),
            target.hostname,
            target.port,
            local_addr=(_FLOOD.format(1 + number % _FLOODERS), 0),
        )
    sys.stdout.write("connected\n")
    sys.stdout.flush()
    began, offered, sent = time.monotonic(), 0, 0
    while (now := time.monotonic() - began) < seconds:
        due = int(now * rate)
        while offered < due and idle:
            offered += 1
            sent += idle.pop(0).send(message)
        offered = due
        await asyncio.sleep(_TICK_SECONDS)
    return {"sent": sent, "seconds": seconds, "statuses": dict(statuses)}


async def capacity(url: str, seconds: float) -> float:
    """Requests a second that are answered with a few busy connections."""
    message = Load(url, 0)._message(0)
    result = await loadgen.run(url, [message] * 100_000, 32, seconds)
    return result.rate


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


def memory(daypass: Daypass) -> int:
    """Resident megabytes of the server."""
    assert daypass.process is not None
    lines = Path(f"/proc/{daypass.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) // 1024


def percentile(seconds: list[float], share: float) -> float:
    """In ms."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else float("nan")


async def measure(daypass: Daypass, options: argparse.Namespace) -> None:
    write = sys.stdout.write
    able = await capacity(daypass.url, 4.0)
    polite, operator = Polite(daypass.url, max(10.0, able * _SHARE)), Operator(daypass)
    running = [asyncio.create_task(polite.run()), asyncio.create_task(operator.run())]
    before = memory(daypass)
    quiet = time.monotonic()
    await asyncio.sleep(options.seconds)
    calls = len(operator.latencies)
    command = [sys.executable, __file__, "--flood", daypass.url, "--rate", str(able * options.multiple)]
    child = await asyncio.create_subprocess_exec(
        *command, "--seconds", str(options.seconds), stdout=subprocess.PIPE, limit=2**20
    )
    assert child.stdout is not None
    await child.stdout.readline()
    began, during = time.monotonic(), [before]
    while child.returncode is None:
        during.append(memory(daypass))
        await asyncio.wait({asyncio.create_task(child.wait())}, timeout=0.5)
    ended = time.monotonic()
    flooded = json.loads(await child.stdout.read())
    alone = [each[1] for each in polite.between(quiet, quiet + options.seconds)]
    unloaded = percentile(alone, 0.99)
    recovered = await _recovered(polite, ended, unloaded)
    polite.stop()
    running[1].cancel()
    await running[0]
    loaded = polite.between(began, ended)
    p99 = percentile([each[1] for each in loaded], 0.99)
    offered = flooded["sent"] / flooded["seconds"]
    write(f"overload: capacity {able:.0f} requests/s, offered {offered:.0f}/s more: {offered / able:.1f} times\n")
    write(f"  flood       answered {flooded['statuses']}\n")
    write(f"  polite      {polite.rate:.0f}/s: {sum(each[2] == '200' for each in loaded)} of {len(loaded)} answered; ")
    write(
        f"p50 {percentile(alone, 0.5):.0f} ms unloaded, {percentile([each[1] for each in loaded], 0.5):.0f} ms under the "
    )
    write(f"flood; p99 {unloaded:.0f} and {p99:.0f} ms: {p99 / unloaded:.2f} times\n")
    write(f"  revocation  p50 {percentile(operator.latencies[:calls], 0.5):.0f} ms unloaded, under the flood p50 ")
    write(
        f"{percentile(operator.latencies[calls:], 0.5):.0f} ms, max {max(operator.latencies[calls:]) * 1000:.0f} ms, "
    )
    write(f"{operator.failures} failed\n")
    write(f"  memory      {before} MB before, {max(during)} MB at most, {memory(daypass)} MB after\n")
    write(f"  recovered   {recovered:.1f} s after the flood\n")


async def _recovered(polite: Polite, ended: float, unloaded: float) -> float:
    """Seconds from the end of the flood until the p99 of a second is within twice the unloaded one."""
    while time.monotonic() - ended < _RECOVERY_SECONDS:
        await asyncio.sleep(0.25)
        now = time.monotonic()
        recent = [each[1] for each in polite.seen if now - each[0] < 1.0]
        if recent and percentile(recent, 0.99) <= 2 * unloaded:
            return now - ended
    return float("inf")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="of the flood, and of the time before it")
    parser.add_argument("--multiple", type=float, default=10.0, help="of the capacity")
    parser.add_argument("--flood", default="", help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=float, default=0.0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.flood:
        json.dump(asyncio.run(flood(options.flood, options.rate, options.seconds)), sys.stdout)
        return 0
    with tempfile.TemporaryDirectory(prefix="daypass-overload-") as directory:
        daypass = Daypass(Path(directory))
        daypass.start()
        try:
            make_role(daypass.url)
            asyncio.run(measure(daypass, options))
        finally:
            daypass.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
