"""The cost of one tenant's heaviest requests for the others: eight attackers of one account, a caller and an administrator of another.

For each kind of attacker: p50 and p99 of the other account's GetCallerIdentity, beside those of the same seconds without
attackers, and the longest time that a revocation took. Targets: p99 below three times the idle one, revocation below 0.5 s.
They are printed and gate nothing.

The attackers are a process of their own with the lowest priority, so that the machine's cores serve the measured calls first:
it is the server that is measured, not the generator. They have an address of their own, unless `--same-address`. `waited` is
how long the server and the caller were ready to run during a call and had no core (p99): work of other programs, the
attackers' included. `work` is the processor time of the event loop during a call (p99). Compare figures of one run only.
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
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from assume_role import ACCOUNT, KEY, SECRET, free_port, started
from attacks import KINDS, OTHER, OTHER_KEY, OTHER_SECRET, PUBLIC_URL, Site, set_up

ATTACKERS = 8
MOST_TIMES, MOST_REVOCATION = 3.0, 0.5
_CALLER, _ATTACKER = "127.0.0.2", "127.0.1.1"
_NICENESS = 19


@dataclass
class Measured:
    """Seconds of each request of the other account, and what the attackers were answered.

    `waited`, `worked`: of each call; see above.
    """

    calls: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    worked: list[float] = field(default_factory=list)
    revocations: list[float] = field(default_factory=list)
    attacks: Counter[str] = field(default_factory=Counter)

    def at(self, share: float) -> float:
        """Milliseconds."""
        return _at(self.calls, share)

    def without_waiting(self) -> float:
        """Milliseconds: the p99 of the calls, less what each of them waited for a core."""
        return _at([max(0.0, call - waited) for call, waited in zip(self.calls, self.waited, strict=True)], 0.99)


def _at(seconds: list[float], share: float) -> float:
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else float("nan")


class Processor:
    """Processor time of the server, from the scheduler's statistics of its threads (Linux; zeros elsewhere)."""

    def __init__(self, pid: int) -> None:
        self._loop = Path(f"/proc/{pid}/task/{pid}/schedstat")
        self._threads = [each / "schedstat" for each in Path(f"/proc/{pid}/task").glob("*")]
        self._own = Path("/proc/thread-self/schedstat")

    def read(self) -> tuple[float, float]:
        """Seconds that the event loop has run; seconds that all threads, and this one, were ready and had no core."""
        waited = sum(_numbers(path)[1] for path in (*self._threads, self._own))
        return _numbers(self._loop)[0] / 1e9, waited / 1e9


def _numbers(path: Path) -> tuple[int, int]:
    try:
        ran, waited, _ = path.read_text().split()
    except (OSError, ValueError):
        return 0, 0
    return int(ran), int(waited)


class Client:
    """One connection, one request at a time."""

    def __init__(self, host: str, address: str) -> None:
        self._host, _, port = host.rpartition(":")
        self._port = int(port)
        self._address = address
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, request: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(
                self._host, self._port, limit=1 << 24, local_addr=(self._address, 0)
            )
        reader, writer = self._streams
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        body = await reader.readexactly(length)
        if b"connection: close" in head.lower():
            self.close()
        return int(head[9:12]), body

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


# --- The attackers: a process of their own ---------------------------------------------------------------------------


async def _attack(host: str, address: str, request: bytes, until: float, seen: Counter[str]) -> None:
    client = Client(host, address)
    while time.monotonic() < until:
        try:
            status, body = await asyncio.wait_for(client.send(request), max(0.1, until - time.monotonic()))
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            status, body = 0, b""
            client.close()
        throttled = b"Throttling" in body
        seen[f"{status} throttled" if throttled else str(status)] += 1
        if status in (0, 429, 503):
            await asyncio.sleep(0.05)
    client.close()


async def _attack_all(host: str, address: str, request: bytes, seconds: float) -> Counter[str]:
    seen: Counter[str] = Counter()
    until = time.monotonic() + seconds
    await asyncio.gather(*(_attack(host, address, request, until, seen) for _ in range(ATTACKERS)))
    return seen


def attack(host: str, address: str, seconds: float) -> None:
    """The process of the attackers: the request from its standard input, what was answered to its standard output."""
    os.nice(_NICENESS)
    request = sys.stdin.buffer.read()
    json.dump(asyncio.run(_attack_all(host, address, request, seconds)), sys.stdout)


async def _attackers(site: Site, address: str, request: bytes, seconds: float) -> Counter[str]:
    command = [sys.executable, __file__, "--attack", site.host, "--address", address, "--seconds", str(seconds)]
    child = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    output, _ = await child.communicate(request)
    return Counter(json.loads(output))


# --- The other account -----------------------------------------------------------------------------------------------


async def _calls(site: Site, processor: Processor, going: Callable[[], bool], found: Measured) -> None:
    client = Client(site.host, _CALLER)
    request = site.form(site.victim, "sts", "GetCallerIdentity")
    while going():
        ran, waited = processor.read()
        began = time.perf_counter()
        status, body = await client.send(request)
        found.calls.append(time.perf_counter() - began)
        ran_after, waited_after = processor.read()
        found.worked.append(ran_after - ran)
        found.waited.append(waited_after - waited)
        if status != 200:
            raise SystemExit(f"GetCallerIdentity: {status} {body[:200]!r}")
        await asyncio.sleep(0.005)
    client.close()


async def _revocations(site: Site, going: Callable[[], bool], found: Measured) -> None:
    client = Client(site.host, _CALLER)
    while going():
        request = site.api(site.victim, "/api/v1/revocations", {"subject": "role", "value": "idle"})
        began = time.perf_counter()
        status, body = await client.send(request)
        found.revocations.append(time.perf_counter() - began)
        if status != 201:
            raise SystemExit(f"RevokeSession: {status} {body[:200]!r}")
        await asyncio.sleep(0.4)
    client.close()


async def measure(site: Site, pid: int, kind: str, seconds: float, address: str) -> Measured:
    """The other account's calls for so long, beside attackers of this kind; "" for none."""
    found = Measured()
    attacking: asyncio.Task[Counter[str]] | None = None
    if kind:
        request = KINDS[kind](site)
        status, body = await Client(site.host, address).send(request)  # starts what starts on first use
        print(f"    {kind}: {status} {body[:120]!r}", file=sys.stderr) if status not in (200, 201) else None
        attacking = asyncio.create_task(_attackers(site, address, request, seconds + 1))
        await asyncio.sleep(1.0)  # until they have started
    until = time.monotonic() + seconds
    processor = Processor(pid)

    def going() -> bool:
        return time.monotonic() < until and (attacking is None or not attacking.done())

    await asyncio.gather(_calls(site, processor, going, found), _revocations(site, going, found))
    if attacking is not None:
        found.attacks = await attacking
    return found


@contextmanager
def site(environment: Mapping[str, str]) -> Iterator[tuple[Site, int]]:
    """A running server with both accounts, and its process id."""
    with tempfile.TemporaryDirectory() as data:
        url = f"http://127.0.0.1:{free_port()}"
        command = [sys.executable, "-m", "daypass.cli.main", "serve", "--port", url.rsplit(":", 1)[1], "--data", data]
        keys = f"{OTHER_KEY}:{OTHER_SECRET}:{OTHER},{KEY}:{SECRET}:{ACCOUNT}:bench"
        more = {"DAYPASS_BOOTSTRAP": keys, "DAYPASS_LOG__LEVEL": "error", "DAYPASS_SERVER__PUBLIC_URL": PUBLIC_URL}
        more |= environment
        with started(command, url, "/readyz", set(os.sched_getaffinity(0)), more) as pid:
            made = Site(url)
            set_up(made)
            yield made, pid


def _line(kind: str, idle: Measured, loaded: Measured) -> str:
    times, longest = loaded.at(0.99) / idle.at(0.99), max(loaded.revocations)
    quiet = loaded.without_waiting() / idle.without_waiting()
    good = times < MOST_TIMES and longest < MOST_REVOCATION
    return (
        f"{kind:16} p50 {idle.at(0.5):5.1f} -> {loaded.at(0.5):5.1f}  p99 {idle.at(0.99):5.1f} -> "
        f"{loaded.at(0.99):5.1f} ms ({times:4.1f}x; without waiting for a core {idle.without_waiting():5.1f} -> "
        f"{loaded.without_waiting():5.1f}, {quiet:4.1f}x)  work {_at(idle.worked, 0.99):4.1f} -> "
        f"{_at(loaded.worked, 0.99):4.1f} ms  revocation at most {longest * 1000:4.0f} ms  "
        f"{'' if good else 'MISSED '} attackers answered {dict(loaded.attacks)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each kind")
    parser.add_argument("--only", default="", help=f"kinds, separated by commas: {', '.join(KINDS)}")
    parser.add_argument("--set", action="append", default=[], help="a setting for the server, as NAME=VALUE")
    parser.add_argument("--same-address", action="store_true", help="caller and attackers share their address")
    parser.add_argument("--attack", default="", help=argparse.SUPPRESS)
    parser.add_argument("--address", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.attack:
        attack(args.attack, args.address, args.seconds)
        return
    address = _CALLER if args.same_address else _ATTACKER
    kinds = [kind for kind in KINDS if not args.only or kind in args.only.split(",")]
    with site(dict(each.split("=", 1) for each in args.set)) as (made, pid), suppress(KeyboardInterrupt):
        for kind in kinds:
            asyncio.run(measure(made, pid, "", 1.0, address))
            idle = asyncio.run(measure(made, pid, "", args.seconds, address))
            loaded = asyncio.run(measure(made, pid, kind, args.seconds, address))
            print(_line(kind, idle, loaded), flush=True)


if __name__ == "__main__":
    main()
