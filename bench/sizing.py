"""Measures memory, disk and CPU time of a server for each thing that an operator can count.

Memory is the proportional set size (PSS) of all processes of the server, from Linux. CPU time is that of the server alone.
Every figure is a difference to the line before it, so a busy machine changes the CPU times a little and the sizes not at all.
The roles are those of `populate`; the requests are signed AssumeRole calls, each a session of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from assume_role import ACCOUNT, LOAD_CORE, TRUST, daypass, requests, served
from loadgen import run
from owners import family
from populate import add_roles
from workers import cpu_seconds

_MB = 1_000_000
_WITHOUT_HEAVY = {"DAYPASS_HEAVY__PROCESSES": "0"}
_LOOK_SECONDS, _MOST_LOOKS, _STEADY = 4.0, 15, 1.005


def memory(root: int) -> int:
    """Bytes of memory of a process and its descendants, shared pages counted once."""
    total = 0
    for pid in family(root):
        found = re.search(r"^Pss: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        total += int(found[1]) * 1024 if found else 0
    return total


def steady_memory(root: int) -> int:
    """The same when it no longer grows: a server loads what its first management call needs after it is ready."""
    found = memory(root)
    for _ in range(_MOST_LOOKS):
        time.sleep(_LOOK_SECONDS)
        before, found = found, memory(root)
        if found <= before * _STEADY:
            break
    return found


def disk(data: Path) -> int:
    return sum(path.stat().st_size for path in data.iterdir() if path.name.startswith("daypass.db"))


def show(what: str, value: str) -> None:
    print(f"{what:58} {value}", flush=True)


@contextmanager
def connected(url: str, count: int) -> Iterator[None]:
    """Connections that have sent nothing."""
    target = urlsplit(url)
    with ExitStack() as stack:
        for number in range(count):
            source = (f"127.0.0.{2 + number % 16}", 0)
            stack.enter_context(socket.create_connection((target.hostname, target.port), source_address=source))
        yield


def load(url: str, count: int, salt: str, names: list[str]) -> None:
    os.sched_setaffinity(0, {LOAD_CORE})
    result = asyncio.run(run(url, requests(url, count, salt, names), 32, 120))
    if result.failures:
        raise SystemExit(f"{result.failures} requests failed: {result.failed}")


def measure_processes() -> None:
    for workers in (1, 2):
        alone, whole = (_new_server(settings, workers) for settings in (_WITHOUT_HEAVY, {}))
        show(f"memory of a new server, {workers} worker{'s'[: workers - 1]}", f"{alone / _MB:.0f} MB")
        show("memory of each of its processes for heavy work", f"{(whole - alone) / workers / 2 / _MB:.0f} MB")


def _new_server(settings: dict[str, str], workers: int) -> int:
    with tempfile.TemporaryDirectory() as data, served(Path(data), settings, workers) as (_, pid):
        return steady_memory(pid)


def measure_requests(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        with daypass(data, {}):
            pass  # makes the account
        empty = disk(data)
        add_roles(data, ACCOUNT, args.roles, TRUST)
        show(f"disk for each of {args.roles} roles", f"{(disk(data) - empty) / args.roles:.0f} bytes")
        names = [f"many-{number}" for number in range(args.roles)]
        with served(data, {}, 1) as (url, pid):
            load(url, 500, "w", names[:10])
            before = memory(pid)
            load(url, args.roles, "c", names)
            show("memory for each role that is in use", f"{(memory(pid) - before) / args.roles:.0f} bytes")
            spent = cpu_seconds(pid)
            load(url, args.requests, "r", names[:10])
            show("CPU time of an AssumeRole", f"{(cpu_seconds(pid) - spent) / args.requests * 1e6:.0f} µs")
            before = memory(pid)
            with connected(url, args.connections):
                show("memory for each open connection", f"{(memory(pid) - before) / args.connections:.0f} bytes")
        full = disk(data)
        with served(data, {}, 1) as (url, _):
            load(url, args.requests, "d", names[:10])
        show("disk for each session and its event", f"{(disk(data) - full) / args.requests:.0f} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--roles", type=int, default=20_000)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=1_000)
    args = parser.parse_args()
    measure_processes()
    measure_requests(args)


if __name__ == "__main__":
    main()
