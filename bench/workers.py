"""The gain of a second worker on a second core: AssumeRole for each CPU second of the server.

On a machine of two cores the load needs a part of one, so two workers cannot have both. What can be measured is what each
request costs them: requests divided by the CPU time of all processes of the server. One worker has a core of its own and
the load the other. Two workers have both cores and share one with the load. If two workers need the same CPU time for a
request as one, they answer twice as many on two free cores; locks, fsyncs and turns between them show as a smaller factor.
The shares of the workers are those of the kernel: connections per process. Runs in turns; target 1.7.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import assume_role
from assume_role import CORES, LOAD_CORE, requests, set_up
from loadgen import Result, run
from owners import family, owners

_TICK = os.sysconf("SC_CLK_TCK")
TARGET = 1.7
_IDLE = 0.05  # CPU seconds in half a second


def cpu_seconds(root: int) -> float:
    """CPU time of a process and its descendants."""
    total = 0
    for pid in family(root):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICK


def wait_until_idle(pid: int) -> None:
    """Two seconds after its start a server starts processes for heavy work, whose CPU time is no part of a request."""
    time.sleep(3)
    for _ in range(60):
        before = cpu_seconds(pid)
        time.sleep(0.5)
        if cpu_seconds(pid) - before < _IDLE:
            return
    raise SystemExit("the server does not become idle")


@contextmanager
def server(workers: int, data: Path, url: str) -> Iterator[tuple[str, int]]:
    """A server with this many workers: one on the first core, more on all."""
    environment = {"DAYPASS_DATABASE__URL": url} if url else {}
    with assume_role.served(data, environment, workers) as (address, pid):
        if workers > 1:
            for process in family(pid):
                for task in Path(f"/proc/{process}/task").iterdir():
                    os.sched_setaffinity(int(task.name), CORES)
        set_up(address)
        yield address, pid


@contextmanager
def database(name: str) -> Iterator[str]:
    """The URL of a new database; empty for SQLite, whose file is in the data directory."""
    if name == "sqlite":
        yield ""
        return
    from tests.postgres import running_server  # only where it is asked for

    with running_server() as postgres:
        yield postgres.url(postgres.create_database())


def measured(
    args: argparse.Namespace, workers: int, connections: int, data: Path, url: str
) -> tuple[float, float, Result]:
    """Requests for each CPU second of the server, CPU seconds of it for each second, and the run."""
    with server(workers, data, url) as (address, pid):
        os.sched_setaffinity(0, {LOAD_CORE})
        asyncio.run(run(address, requests(address, 500, "w"), connections, 5))
        prepared = requests(address, args.requests, "m")
        wait_until_idle(pid)
        before, started = cpu_seconds(pid), time.monotonic()
        port = int(address.rsplit(":", 1)[1])
        result = asyncio.run(run(address, prepared, connections, args.seconds, lambda ports: owners(pid, port, ports)))
        used, passed = cpu_seconds(pid) - before, time.monotonic() - started
    return len(result.latencies) / used, used / passed, result


def report(name: str, args: argparse.Namespace, connections: int, data: Path, url: str) -> None:
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(args.rounds):
        for workers, found in rates.items():
            rate, share, result = measured(args, workers, connections, data, url)
            found.append(rate)
            shares = "/".join(str(len(part.latencies)) for part in result.parts())
            print(
                f"{name}, {connections} connections, {workers} worker{'s'[: workers - 1]}: {result.rate:6.0f}/s  p99 {result.percentile(0.99):6.1f} ms  "
                f"server on {share:.2f} cores  {rate:6.0f} for each CPU second  failed {result.failures}  by worker {shares}",
                flush=True,
            )
    one, two = (sorted(rates[workers])[len(rates[workers]) // 2] for workers in (1, 2))
    print(
        f"{name}, {connections} connections: two workers on two free cores: {2 * two / one:.2f} times one (target {TARGET})",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=12_000, help="signed requests for each run")
    parser.add_argument("--seconds", type=float, default=10, help="longest time of each run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=[64, 256], help="fewer make smaller batches")
    parser.add_argument("--only", default="sqlite,postgres")
    args = parser.parse_args()
    if len(CORES) < 2:
        raise SystemExit("it needs two cores")
    for name in args.only.split(","):
        with database(name) as url, tempfile.TemporaryDirectory() as data:
            for connections in args.connections:
                report(name, args, connections, Path(data), url)
    print(f"load generator: {resource.getrusage(resource.RUSAGE_SELF).ru_utime:.0f} s of CPU")


if __name__ == "__main__":
    main()
