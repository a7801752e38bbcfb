"""A server with thousands of busy connections: does a new client get in, and is anybody left waiting?

It starts `daypass serve`, keeps so many connections busy with GetCallerIdentity (each sends its next request as soon as
the last one is answered), and meanwhile connects anew for /healthz and for GetCallerIdentity. It shows the waits of both,
the answers by status, and the memory of the server before, during and after 400 anonymous bodies of 1 MB. Loopback only; it
stops by itself. Run it on two commits one after the other: only their ratio counts.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import alone  # noqa: F401  # before all that reads the environment
from daypass import sigv4

KEY = ("AKIABENCHCONNECTIONS", "bench-secret-bench-secret-bench-secret-be")
ACCOUNT = "111122223333"
BODY = b"Action=GetCallerIdentity&Version=2011-06-15"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
BIG = 1_000_000
_ADDRESSES = 16  # of loopback, from which the busy connections come


def signed(host: str) -> bytes:
    """One whole request."""
    key = sigv4.SigningKey(*KEY, "us-east-1", "sts")
    headers = sigv4.sign(key, "POST", "/", "", {"host": host}, BODY, int(time.time() * 1000))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST / HTTP/1.1\r\n{lines}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY


class Busy(asyncio.Protocol):
    """Sends a request again and again."""

    def __init__(self, figures: Figures, request: bytes) -> None:
        self.figures, self.request = figures, request
        self.buffer = b""
        self.sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.again()

    def again(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]):
            return
        if self.figures.counting:
            self.figures.statuses[head[9:12].decode()] += 1
            self.figures.waits.append(time.perf_counter() - self.sent)
        self.buffer = b""
        if not self.figures.over:
            self.again()

    def connection_lost(self, _: Exception | None) -> None:
        self.figures.lost += not self.figures.over


class Figures:
    """The results of the busy connections."""

    def __init__(self) -> None:
        self.statuses: collections.Counter[str] = collections.Counter()
        self.waits: list[float] = []
        self.counting = self.over = False
        self.lost = 0


def percentile(values: list[float], share: float) -> float:
    """Milliseconds."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else float("nan")


async def once(port: int, request: bytes) -> tuple[float, str]:
    """Seconds and status of one request over a new connection."""
    started = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return time.perf_counter() - started, head[9:12].decode()


async def busy(port: int, connections: int, seconds: float) -> None:
    loop, figures, request = asyncio.get_running_loop(), Figures(), signed(f"127.0.0.1:{port}")
    made = []
    for number in range(connections):
        source = (f"127.0.0.{2 + number % _ADDRESSES}", 0)
        made.append(await loop.create_connection(lambda: Busy(figures, request), "127.0.0.1", port, local_addr=source))
        await asyncio.sleep(0)
    await asyncio.sleep(1.0)
    figures.counting, started, probes = True, time.perf_counter(), collections.defaultdict(list)
    while time.perf_counter() - started < seconds:
        for name, asked in (("/healthz", HEALTH), ("GetCallerIdentity", request)):
            taken, status = await asyncio.wait_for(once(port, asked), 60)
            probes[name, status].append(taken)
        await asyncio.sleep(0.1)
    figures.counting, taken = False, time.perf_counter() - started
    figures.over = True
    for transport, _ in made:
        transport.abort()
    shown = ", ".join(f"{status}: {count / taken:,.0f}/s" for status, count in sorted(figures.statuses.items()))
    print(f"{connections:>6} busy connections   {shown}, lost {figures.lost}")
    print(
        f"       their requests      p50 {percentile(figures.waits, 0.5):7.0f} ms   p99 {percentile(figures.waits, 0.99):7.0f} ms   max {percentile(figures.waits, 1):7.0f} ms"
    )
    for (name, status), waits in sorted(probes.items()):
        print(
            f"       new: {name:<18} {status}   p50 {percentile(waits, 0.5):7.0f} ms   max {percentile(waits, 1):7.0f} ms   ({len(waits)})"
        )


def memory(pid: int) -> float:
    """Resident MB of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


async def upload(port: int, release: asyncio.Event, lines: bytes) -> str:
    """A body of 1 MB, all but its end until `release`; the status, "" for a connection that was reset."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"POST / HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (lines, BIG))
        for _ in range(10):
            writer.write(b"a" * (BIG // 10 - 1))
            await writer.drain()
        await release.wait()
        writer.write(b"a" * 10)
        return (await reader.readuntil(b"\r\n\r\n"))[9:12].decode()
    except (OSError, asyncio.IncompleteReadError):
        return ""
    finally:
        writer.close()


async def bodies(port: int, pid: int, name: str, lines: bytes, count: int = 400) -> None:
    before, release = memory(pid), asyncio.Event()
    uploads = [asyncio.ensure_future(upload(port, release, lines)) for _ in range(count)]
    most = before
    for _ in range(20):
        await asyncio.sleep(0.1)
        most = max(most, memory(pid))
    release.set()
    done, pending = await asyncio.wait(uploads, timeout=20)
    for task in pending:
        task.cancel()
    statuses = collections.Counter(task.result() or "reset" for task in done)
    await asyncio.sleep(5)
    print(
        f"{count} bodies of 1 MB, {name}: {before:.0f} MB before, {most:.0f} MB at most, {memory(pid):.0f} MB after; {dict(statuses)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, nargs="*", default=[2000])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--server", default=sys.executable, help="Python of the server to measure.")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as data:
        command = [options.server, "-m", "daypass.cli.main", "serve", "--port", str(port), "--data", data]
        environment = {**os.environ, "DAYPASS_BOOTSTRAP": f"{':'.join(KEY)}:{ACCOUNT}"}
        with (Path(data) / "log").open("wb") as log:
            server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            wait(port)
            asyncio.run(bodies(port, server.pid, "anonymous", b"Host: h\r\n"))
            head = signed(f"127.0.0.1:{port}").partition(b"\r\n")[2].partition(b"Content-Length")[0]
            asyncio.run(bodies(port, server.pid, "with an access key", head))
            for connections in options.connections:
                asyncio.run(busy(port, connections, options.seconds))
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()


def wait(port: int) -> None:
    for _ in range(900):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


if __name__ == "__main__":
    main()
