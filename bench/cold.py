"""How fast does an empty cache fill? Look-ups of access keys, users and roles that are not in memory, against those that are.

256 look-ups are in flight at a time, on SQLite, in this process: views per second, cold and warm. Run it with
`python bench/cold.py`; filling takes about half a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from daypass.crypto.ids import RandomIds
from daypass.data import builtin_policies
from daypass.domain.directory import AccessKey, Attachment, Group, InlinePolicy, KeyStatus, Membership, Role, User
from daypass.stores.directory import CachedDirectory
from daypass.stores.engine import Database, open_database
from daypass.stores.migrations import prepare
from daypass.stores.tx import StoreTx

ACCOUNT = "123456789012"
TRUST = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow",'
    f'"Principal":{{"AWS":"arn:aws:iam::{ACCOUNT}:root"}},"Action":"sts:AssumeRole"}}]}}'
)
POLICY = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"arn:aws:iam::%s:role/%s"}]}'
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
IN_FLIGHT, CHUNK = 256, 2_500

Look = Callable[[CachedDirectory], Awaitable[Any]]


class NoSecrets:
    """Secrets as they are: opening them is not what is measured here."""

    def open_secret(self, sealed: bytes, account: str, owner_id: str) -> bytes:  # noqa: ARG002
        return sealed


class WallClock:
    def now(self) -> int:
        return time.time_ns() // 1_000_000


def fill(database: Database, roles: int, users: int) -> list[Look]:
    """Roles and users with a policy of their own each, users with a key and a group; the look-ups of them all."""
    ids = RandomIds()
    looks: list[Look] = []
    group = Group(ids.unique("AGPA"), ACCOUNT, "everyone", "/", 0)
    for start in range(0, max(roles, users), CHUNK):
        with database.write_transaction() as conn:
            tx = StoreTx(conn, 0)
            if not start:
                tx.insert(group)
                tx.insert(Attachment(ACCOUNT, group.id, ADMINISTRATOR, 0))
            looks += [_role(tx, ids, f"role-{number}") for number in range(start, min(start + CHUNK, roles))]
            for number in range(start, min(start + CHUNK, users)):
                looks += _user(tx, ids, f"user-{number}", group)
            tx.flush()
    return looks


def _role(tx: StoreTx, ids: RandomIds, name: str) -> Look:
    role = Role(ids.unique("AROA"), ACCOUNT, name, "/", 0, TRUST)
    tx.insert(role)
    tx.insert(InlinePolicy(ACCOUNT, role.id, "own", POLICY % (ACCOUNT, name), 0))
    tx.insert(Attachment(ACCOUNT, role.id, ADMINISTRATOR, 0))
    return lambda directory: directory.role(ACCOUNT, name)


def _user(tx: StoreTx, ids: RandomIds, name: str, group: Group) -> list[Look]:
    user = User(ids.unique("AIDA"), ACCOUNT, name, "/", 0)
    key = ids.access_key("AKIA")
    tx.insert(user)
    tx.insert(InlinePolicy(ACCOUNT, user.id, "own", POLICY % (ACCOUNT, name), 0))
    tx.insert(Membership(ACCOUNT, group.id, user.id, 0))
    tx.insert(AccessKey(key, ACCOUNT, user.id, KeyStatus.ACTIVE, b"secret", 0, 0))
    return [lambda directory: directory.access_key(key), lambda directory: directory.user(user.id)]


async def rate(directory: CachedDirectory, looks: Sequence[Look]) -> float:
    """Look-ups per second, with `IN_FLIGHT` clients."""
    left = iter(looks)

    async def client() -> None:
        for look in left:
            assert await look(directory) is not None

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(IN_FLIGHT)))
    return len(looks) / (time.perf_counter() - began)


async def measure(database: Database, looks: Sequence[Look], entries: int) -> tuple[float, float]:
    directory = CachedDirectory(
        database, NoSecrets(), WallClock(), builtin=builtin_policies(), poll_seconds=0, entries=entries
    )
    await directory.start()
    try:
        return await rate(directory, looks), await rate(directory, looks)
    finally:
        await directory.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--roles", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=2_500)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(f"sqlite:///{Path(folder) / 'daypass.db'}")
        prepare(database)
        looks = fill(database, given.roles, given.users)
        for number in range(2):
            cold, warm = asyncio.run(measure(database, looks, 4 * len(looks)))
            print(f"round {number + 1}: cold {cold:>9,.0f}/s   warm {warm:>9,.0f}/s   warm/cold {warm / cold:>6.1f}")
        database.close()


if __name__ == "__main__":
    main()
