"""The cost of a sweep of open grants, and the delay for others: after a change of the directory, and after none.

One process, SQLite, no sockets. CPU time of the whole process, in ms for each grant; the longest read of another account
while a sweep runs, beside the longest without one.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from tests.integration.api.access import Place
from tests.integration.api.conftest import BOOTSTRAP, OPERATOR, TENANT, Server
from tests.prepared import prepare_sqlite

from daypass.config import Settings
from daypass.domain.directory import AccessRequest, AccessVote, Account, Grant, Role
from daypass.domain.errors import DaypassError
from daypass.domain.events import Event, EventType
from daypass.operations.access_requests.follow import Sweeper
from daypass.operations.accounts import bootstrap, parse
from daypass.ports import Tx
from daypass.server.application import build
from daypass.server.runtime import Runtime

_AT_ONCE = 100
_ATTEMPTS = 50


@asynccontextmanager
async def installed(folder: Path) -> AsyncIterator[Place]:
    """A server whose own sweeps come too late to matter."""
    prepare_sqlite(folder / "daypass.db")
    settings = {"server": {"data": str(folder)}, "access": {"sweep_seconds": 300}, "journal": {"deadline_seconds": 60}}
    runtime = Runtime(Settings.model_validate(settings))
    await runtime.start()
    await bootstrap(runtime.env, parse(BOOTSTRAP))
    place = Place(Server(runtime, build(runtime)))
    await place.fill()
    try:
        yield place
    finally:
        await runtime.stop()


async def fill(place: Place, count: int) -> None:
    """`count` grants like one that a person really got."""
    made = await place.granted()
    env = place.server.runtime.env

    def copies(tx: Tx, first: int) -> None:
        request, [vote] = tx.get(AccessRequest, id=made["id"]), tx.find(AccessVote, request_id=made["id"])
        [grant] = tx.find(Grant, request_id=made["id"])
        assert request is not None
        for _ in range(first, min(first + _AT_ONCE, count)):
            new = env.ids.session()
            tx.insert(replace(request, id=new, client_token=new))
            tx.insert(replace(vote, request_id=new))
            tx.insert(replace(grant, id=env.ids.session(), request_id=new, claim_by=grant.claim_by + 86_400_000))

    for first in range(1, count, _AT_ONCE):

        def change(tx: Tx, first: int = first) -> tuple[None, Event]:
            copies(tx, first)
            return None, Event(EventType.DIRECTORY_CHANGED, place.now, account=TENANT)

        for _ in range(_ATTEMPTS):
            try:
                await env.journal.write(change)
                break
            except DaypassError:
                await asyncio.sleep(1)  # a loaded machine refuses writes


async def touched(place: Place) -> None:
    """A change on which grants of the account depend, but which ends none: another role."""
    env = place.server.runtime.env

    def change(tx: Tx) -> tuple[None, Event]:
        role = replace(place.roles["prod"], id=env.ids.unique("AROA"), name=f"other-{env.ids.session()[:12]}")
        tx.insert(role)
        assert tx.get(Role, id=role.id) is not None
        return None, Event(EventType.DIRECTORY_CHANGED, place.now, account=TENANT)

    await env.journal.write(change)
    await env.directory.refresh()


async def longest_read(place: Place, stop: asyncio.Event) -> float:
    """The longest read (ms) of another account until `stop`, one after the other."""
    env, longest = place.server.runtime.env, 0.0
    while not stop.is_set():
        began = time.perf_counter()
        await env.directory.read(lambda tx: tx.get(Account, id=OPERATOR), account=OPERATOR)
        longest = max(longest, (time.perf_counter() - began) * 1000)
        await asyncio.sleep(0.002)
    return longest


async def measured(place: Place, title: str, grants: int) -> None:
    """Sweeps until everything has been looked at, and prints what it took."""
    sweeper, sweeps = place_sweeper(place), 0
    stop = asyncio.Event()
    beside = asyncio.create_task(longest_read(place, stop))
    cpu, began = time.process_time(), time.perf_counter()
    while True:
        await sweeper.sweep()
        sweeps += 1
        if not sweeper.behind:
            break
    cpu, took = time.process_time() - cpu, time.perf_counter() - began
    stop.set()
    print(
        f"{title:34} {sweeps:3} sweeps, {cpu * 1000 / grants:6.3f} ms CPU a grant, {took:6.2f} s;"
        f" longest read of another account {await beside:6.1f} ms"
    )


_SWEEPERS: dict[int, Sweeper] = {}


def place_sweeper(place: Place) -> Sweeper:
    """The same sweeper for all measurements, as a server has it."""
    return _SWEEPERS.setdefault(id(place), Sweeper(place.server.runtime.env))


async def run(grants: int) -> None:
    """Prints three lines."""
    with tempfile.TemporaryDirectory() as folder:
        async with installed(Path(folder)) as place:
            await fill(place, grants)
            stop = asyncio.Event()
            alone = asyncio.create_task(longest_read(place, stop))
            await asyncio.sleep(2)
            stop.set()
            print(f"{grants:,} open grants; without a sweep the longest read takes {await alone:.1f} ms")
            await measured(place, "first sweep", grants)
            await measured(place, "nothing has changed", grants)
            await touched(place)
            await measured(place, "the directory has changed", grants)


def main() -> int:
    """Measures; targets are in the documentation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grants", type=int, default=10_000)
    asyncio.run(run(parser.parse_args().grants))
    return 0


if __name__ == "__main__":
    sys.exit(main())
