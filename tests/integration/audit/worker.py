"""A process of its own that commits under load and prints each request id once it has been acknowledged."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys

from tests.integration.audit.making import TestIds, event, session

from daypass.audit.journal import Journal
from daypass.ports.clock import Clock
from daypass.stores.engine import open_database


async def main(url: str, name: str, count: int) -> None:
    database = open_database(url)
    journal = Journal(database, Clock(), TestIds(), name)  # type: ignore[arg-type]
    await journal.start()
    numbers = itertools.count()

    async def waiter() -> None:
        for number in numbers:
            if number >= count:
                return
            request = f"{name}{number}"
            await journal.commit(event(request, session_id=f"{request:0>32}"), session(f"{request:0>32}"))
            os.write(1, f"{request}\n".encode())

    await asyncio.gather(*(waiter() for _ in range(64)))
    await journal.close()
    database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
