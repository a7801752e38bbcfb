"""The cost of an empty cache: AssumeRole, and look-ups of views, that find nothing in memory, against those that do.

`AssumeRole`: each request is of another user, for another role, so the cold ones load an access key, a user and a role
each, and compile their policies; then the same requests again, signed anew. The whole server is in this process, on
SQLite (see `cost`): requests per second and CPU time of a request. Nothing is preloaded, because that would be other work
in the same seconds. `views`: 256 look-ups in flight. Target: cold at least
a third of warm for AssumeRole; it is printed and gates nothing. Filling takes about half a minute for 10,000 roles.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote_plus

from assume_role import sign
from cost import Bench
from daypass import config, sigv4
from daypass.crypto.ids import Ids
from daypass.data import BuiltinPolicies
from daypass.domain.directory import AccessKey, Attachment, Group, InlinePolicy, KeyStatus, Membership, Role, User
from daypass.operations.accounts import bootstrap, parse
from daypass.ports.clock import Clock
from daypass.server.background import Loop
from daypass.server.process import tune_interpreter
from daypass.server.runtime import Runtime
from daypass.stores.directory import Directory
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
CONNECTIONS = 64
WARMING = 200  # requests before the first that is measured
SHARE = 1 / 3
KEY, SECRET = "AKIACOLDCOLDCOLDCOLD", "coldcoldcoldcoldcoldcoldcoldcoldcoldcold"

Seal = Callable[[bytes, str, str], bytes]
Look = Callable[[Directory], Awaitable[Any]]


class NoSecrets:
    """The secret that all keys have: opening it is not what is measured here."""

    def open_secret(self, sealed: bytes, account: str, owner_id: str) -> bytes:  # noqa: ARG002
        return SECRET.encode()


def fill(database: Database, roles: int, users: int, seal: Seal) -> tuple[list[Look], list[str]]:
    """Roles and users with a policy of their own each, users with a key and a group; the look-ups of them all, and the
    keys of the users. All keys have the same secret.
    """
    ids = Ids()
    looks: list[Look] = []
    keys: list[str] = []
    group = Group(ids.unique("AGPA"), ACCOUNT, "everyone", "/", 0)
    for start in range(0, max(roles, users), CHUNK):
        with database.write_transaction() as conn:
            tx = StoreTx(conn, 0)
            if not start:
                tx.insert(group)
                tx.insert(Attachment(ACCOUNT, group.id, ADMINISTRATOR, 0))
            looks += [_role(tx, ids, f"role-{number}") for number in range(start, min(start + CHUNK, roles))]
            for number in range(start, min(start + CHUNK, users)):
                key, found = _user(tx, ids, f"user-{number}", group, seal)
                keys.append(key)
                looks += found
            tx.flush()
    return looks, keys


def _role(tx: StoreTx, ids: Ids, name: str) -> Look:
    role = Role(ids.unique("AROA"), ACCOUNT, name, "/", 0, TRUST)
    tx.insert(role)
    tx.insert(InlinePolicy(ACCOUNT, role.id, "own", POLICY % (ACCOUNT, name), 0))
    tx.insert(Attachment(ACCOUNT, role.id, ADMINISTRATOR, 0))
    return lambda directory: directory.role(ACCOUNT, name)


def _user(tx: StoreTx, ids: Ids, name: str, group: Group, seal: Seal) -> tuple[str, list[Look]]:
    user = User(ids.unique("AIDA"), ACCOUNT, name, "/", 0)
    key = ids.access_key("AKIA")
    tx.insert(user)
    tx.insert(InlinePolicy(ACCOUNT, user.id, "own", POLICY % (ACCOUNT, name), 0))
    tx.insert(Membership(ACCOUNT, group.id, user.id, 0))
    tx.insert(AccessKey(key, ACCOUNT, user.id, KeyStatus.ACTIVE, seal(SECRET.encode(), ACCOUNT, user.id), 0, 0))
    return key, [lambda directory: directory.access_key(key), lambda directory: directory.user(user.id)]


async def rate(directory: Directory, looks: Sequence[Look]) -> float:
    """Look-ups per second, with `IN_FLIGHT` clients."""
    left = iter(looks)

    async def client() -> None:
        for look in left:
            assert await look(directory) is not None

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(IN_FLIGHT)))
    return len(looks) / (time.perf_counter() - began)


async def measure(database: Database, looks: Sequence[Look], entries: int) -> tuple[float, float]:
    directory = Directory(
        database, cast("Any", NoSecrets()), Clock(), builtin=BuiltinPolicies(), poll_seconds=0, entries=entries
    )
    await directory.start()
    try:
        return await rate(directory, looks), await rate(directory, looks)
    finally:
        await directory.stop()


# --- AssumeRole ------------------------------------------------------------------------------------------------------


def _requests(keys: Sequence[str], role_count: int) -> list[bytes]:
    """One of each user, for roles all over the account."""
    url, made = "http://127.0.0.1:1", []
    for number, key in enumerate(keys):
        signing = sigv4.SigningKey(key, SECRET, "us-east-1", "sts")
        arn = quote_plus(f"arn:aws:iam::{ACCOUNT}:role/role-{number * (role_count // len(keys))}")
        form = f"Action=AssumeRole&Version=2011-06-15&RoleArn={arn}&RoleSessionName=cold-{number}"
        made.append(sign(signing, url, form))
    return made


async def _played(bench: Bench, pile: list[bytes]) -> tuple[float, float]:
    """Requests per second; CPU microseconds of a request, of all threads."""
    began, cpu = time.perf_counter(), time.process_time()
    await bench.play(pile)
    return len(pile) / (time.perf_counter() - began), (time.process_time() - cpu) / len(pile) * 1e6


async def assume(settings: config.Settings, keys: Sequence[str], roles: int) -> None:
    """Prints the cold and the warm rate of one process."""
    runtime = Runtime(settings)
    await runtime.start()
    tune_interpreter()
    bench = Bench(runtime, CONNECTIONS)
    await bench.play(_requests(keys[-WARMING:], roles))  # compiles what does not depend on the directory
    cold, cold_cpu = await _played(bench, _requests(keys[:-WARMING], roles))
    warm, warm_cpu = await _played(bench, _requests(keys[:-WARMING], roles))
    await runtime.stop()
    print(
        f"AssumeRole  cold {cold:7,.0f}/s {cold_cpu:6,.0f} us   warm {warm:7,.0f}/s {warm_cpu:6,.0f} us   "
        f"cold/warm {cold / warm:.2f}, by CPU time {warm_cpu / cold_cpu:.2f}{'' if cold / warm >= SHARE else '  MISSED'}",
        flush=True,
    )


async def prepared(settings: config.Settings, roles: int, users: int) -> tuple[list[Look], list[str]]:
    """Fills the database of these settings, with secrets that its servers can open."""
    runtime = Runtime(settings)
    await runtime.start()
    await bootstrap(runtime.env, parse(f"{KEY}:{SECRET}:{ACCOUNT}:bench"), examples=ACCOUNT)
    database = open_database(settings.database_url())
    try:
        return fill(database, roles, users, runtime.env.sealer.seal_secret)
    finally:
        database.close()
        await runtime.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--roles", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=4_400)
    parser.add_argument("--requests", type=int, default=2_000, help="most of one round of AssumeRole")
    parser.add_argument("--only", choices=("assume", "views"), default="")
    given = parser.parse_args()
    given.requests = min(given.requests, given.users // 2 - WARMING)  # no user is asked for in both rounds
    if given.requests < 1:
        parser.error(f"--users: at least {2 * (WARMING + 1)}")
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=Loop) as runner:
        settings = config.load(None, {}, {"server": {"data": Path(folder)}, "directory": {"preload": 0}})
        database = open_database(settings.database_url())
        prepare(database)
        looks, keys = runner.run(prepared(settings, given.roles, given.users))
        for number in range(2):
            if given.only != "views":
                least = number * (given.requests + WARMING)
                runner.run(assume(settings, keys[least : least + given.requests + WARMING], given.roles))
            if given.only != "assume":
                cold, warm = asyncio.run(measure(database, looks, 4 * len(looks)))
                print(f"views       cold {cold:7,.0f}/s   warm {warm:9,.0f}/s   warm/cold {warm / cold:6.1f}")
        database.close()


if __name__ == "__main__":
    main()
