"""Does reading grow with the directory? List, get and simulate with 20,000 roles and 5,000 users, against 100 and 25.

Whole operations in this process, on SQLite, each call on the record: milliseconds, the best of several means. Target:
less than twice the time of the small directory; it is printed and gates nothing. Run it with
`python bench/directory.py`; filling takes about half a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from daypass.config import Settings
from daypass.crypto.ids import Ids
from daypass.domain.claims import Caller, PrincipalKind, RequestFacts
from daypass.domain.directory import InlinePolicy, Role, User
from daypass.operations.access.simulate import SimulationRequest, simulate
from daypass.operations.access.who_can import who_can
from daypass.operations.accounts import bootstrap, parse
from daypass.operations.crud_engine import perform
from daypass.operations.iam.service import IAM, OPERATIONS
from daypass.ports import Call
from daypass.server.runtime import Runtime
from daypass.stores.engine import open_database
from daypass.stores.migrations import prepare
from daypass.stores.tx import StoreTx

ACCOUNT = "123456789012"
KEY = f"AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY:{ACCOUNT}"
TRUST = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow",'
    f'"Principal":{{"AWS":"arn:aws:iam::{ACCOUNT}:root"}},"Action":"sts:AssumeRole"}}]}}'
)
POLICY = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"orders:Read","Resource":"*"}]}'
CHUNK = 2_500
ROUNDS, CALLS, LIMIT = 5, 20, 2.0


def fill(data: Path, roles: int, users: int) -> None:
    """Roles `role-0` … and users `user-0` …, each with a policy of its own."""
    database, ids = open_database(f"sqlite:///{data / 'daypass.db'}"), Ids()
    for kind, count in ((Role, roles), (User, users)):
        for start in range(0, count, CHUNK):
            with database.write_transaction() as conn:
                tx = StoreTx(conn, 0)
                for number in range(start, min(start + CHUNK, count)):
                    name = f"{kind.__name__.lower()}-{number}"
                    unique = ids.unique("AROA" if kind is Role else "AIDA")
                    entity: Any = (
                        Role(unique, ACCOUNT, name, "/", 0, TRUST)
                        if kind is Role
                        else User(unique, ACCOUNT, name, "/", 0)
                    )
                    tx.insert(entity)
                    tx.insert(InlinePolicy(ACCOUNT, unique, "own", POLICY, 0))
                tx.flush()
    database.close()


async def measure(act: Callable[[], Awaitable[Any]]) -> float:
    """Milliseconds of a call: the best of several means."""
    await act()
    means = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(CALLS):
            await act()
        means.append((time.perf_counter() - began) / CALLS * 1000)
    return min(means)


async def timings(roles: int, users: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.model_validate({"server": {"data": folder}})
        database = open_database(settings.database_url())
        prepare(database)
        database.close()
        runtime = Runtime(settings)
        await runtime.start()
        try:
            await bootstrap(runtime.env, parse(KEY))
            await asyncio.to_thread(fill, Path(folder), roles, users)
            return {name: await measure(act) for name, act in acts(runtime).items()}
        finally:
            await runtime.stop()


def acts(runtime: Runtime) -> dict[str, Callable[[], Awaitable[Any]]]:
    env = runtime.env
    arn = f"arn:aws:iam::{ACCOUNT}:root"
    seen = env.directory.seen()
    root = Caller(PrincipalKind.ROOT, ACCOUNT, arn, arn, ACCOUNT, ACCOUNT, "root", "AKIAIOSFODNN7EXAMPLE", seen, ())

    def iam(name: str, **params: Any) -> Callable[[], Awaitable[Any]]:
        call = Call(root, RequestFacts("bench", 0, f"iam:{name}", "", "bench"), env.clock.now())
        return lambda: perform(env, call, IAM, OPERATIONS[name], params)

    call = Call(root, RequestFacts("bench", 0, "daypass:SimulateAccess", "", "bench"), env.clock.now())
    asked: dict[str, Any] = {"ActionNames": ["orders:Read"], "ResourceArns": [f"arn:aws:orders::{ACCOUNT}:item/1"]}
    user = f"arn:aws:iam::{ACCOUNT}:user/user-17"
    request = SimulationRequest(("orders:Read",), (f"arn:aws:orders::{ACCOUNT}:item/1",), user)
    return {
        "ListRoles, a page of 25": iam("ListRoles", MaxItems=25),
        "GetRole": iam("GetRole", RoleName="role-42"),
        "SimulatePrincipalPolicy": iam("SimulatePrincipalPolicy", PolicySourceArn=user, **asked),
        "simulate": lambda: simulate(env, call, request),
        "who can, a page of 25": lambda: who_can(env, call, "orders:Read", "*", after="user:", limit=25),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--roles", type=int, default=20_000)
    parser.add_argument("--users", type=int, default=5_000)
    given = parser.parse_args()
    small = asyncio.run(timings(100, 25))
    large = asyncio.run(timings(given.roles, given.users))
    print(f"{'':28}{'100 roles':>12}{f'{given.roles} roles':>14}{'ratio':>8}")
    for name, few in small.items():
        ratio = large[name] / few
        print(f"{name:28}{few:>10.2f}ms{large[name]:>12.2f}ms{ratio:>8.2f}{'  MISSED' if ratio > LIMIT else ''}")


if __name__ == "__main__":
    main()
