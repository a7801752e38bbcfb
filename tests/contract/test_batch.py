"""Views loaded together: the same as loaded one by one, with few statements, and preloaded at start."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from unittest.mock import AsyncMock

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError
from tests.contract.conftest import Follower, Opener
from tests.contract.making import ACCOUNT, ALLOW, DENY, NOW, OTHER, insert, key, policy, role, user, write
from tests.patience import eventually

from daypass.domain.directory import Attachment, Group, InlinePolicy, LastUse, Membership, PolicyVersion
from daypass.domain.errors import DaypassError
from daypass.stores.cache import MISSING
from daypass.stores.directory import Directory
from daypass.stores.engine import Database
from daypass.stores.loading import recently_used

ADMIN = "arn:aws:iam::aws:policy/AdministratorAccess"
MANY = 40


@pytest.fixture
async def directory(database: Database, follow: Follower) -> Directory:
    fill(database)
    return await follow(database)


def fill(database: Database) -> None:
    """Principals with inline, attached, built-in, missing and boundary policies, and groups."""
    managed = policy("Team")
    groups = [Group(f"AGPA{n}", ACCOUNT, f"g{n}", "/", NOW) for n in range(3)]
    entities: list[Any] = [managed, PolicyVersion(managed.account, managed.id, managed.default_version, ALLOW, NOW)]
    entities += [
        *groups,
        Attachment(ACCOUNT, "AGPA1", managed.arn, NOW),
        InlinePolicy(ACCOUNT, "AGPA2", "i", DENY, NOW),
    ]
    for number in range(MANY):
        one = role(f"Role-{number}", id=f"AROA{number:017}", boundary_arn=managed.arn if number % 3 == 0 else None)
        other = user(f"User-{number}", id=f"AIDA{number:017}", boundary_arn="arn:gone" if number % 5 == 0 else None)
        entities += [one, other, key(f"AKIA{number:016}", other.id)]
        entities += [InlinePolicy(ACCOUNT, one.id, name, ALLOW, NOW) for name in ("z", "A", "m")[: number % 4]]
        entities += [Attachment(ACCOUNT, one.id, arn, NOW) for arn in (managed.arn, ADMIN)[: number % 3]]
        entities += [Membership(ACCOUNT, group.id, other.id, NOW) for group in groups[: number % 4]]
    entities += [Membership(ACCOUNT, "AGPAGONE", f"AIDA{0:017}", NOW), role("Role-1", account=OTHER, id="AROAOTHER")]
    insert(database, *entities)


def looks(directory: Directory) -> list[Any]:
    """Look-ups of all of them, in other case too, and of some that are not there."""
    found: list[Any] = []
    for number in range(MANY + 2):
        name = f"Role-{number}"
        found.append(directory.role(ACCOUNT, name.upper() if number % 2 else name))
        found += [directory.role_by_id(f"AROA{number:017}"), directory.role(OTHER, name)]
        found += [directory.user(f"AIDA{number:017}"), directory.access_key(f"AKIA{number:016}")]
    return [*found, directory.role(ACCOUNT, "nul\0"), directory.managed_policy(ADMIN), directory.account(ACCOUNT)]


def shape(view: Any) -> str:
    """Everything that a view holds; compiled matchers have no names of their own."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(view))


async def test_views_of_a_batch_are_those_that_are_loaded_one_by_one(
    directory: Directory, opener: Opener, follow: Follower
) -> None:
    together = await asyncio.gather(*looks(directory))
    one_by_one = [await look for look in looks(await follow(opener()))]
    assert [shape(view) for view in together] == [shape(view) for view in one_by_one]
    assert sum(view is not None for view in together) > 3 * MANY


def identity(view: Any) -> Any:
    return getattr(view, "principal", view).identity


async def test_change_of_any_part_reaches_a_view_of_a_batch(directory: Directory, database: Database) -> None:
    await asyncio.gather(*looks(directory))
    member, boundary = f"AIDA{3:017}", f"AROA{3:017}"
    before = [await directory.user(member), await directory.role_by_id(boundary)]
    write(database, lambda tx: tx.insert(InlinePolicy(ACCOUNT, "AGPA0", "new", DENY, NOW)))
    write(database, lambda tx: tx.insert(InlinePolicy(ACCOUNT, boundary, "new", DENY, NOW)))
    await directory.refresh()
    after = [await directory.user(member), await directory.role_by_id(boundary)]
    assert all(len(identity(new)) == len(identity(old)) + 1 for new, old in zip(after, before, strict=True))


async def test_burst_of_misses_takes_few_snapshots_and_statements(directory: Directory, database: Database) -> None:
    statements: list[str] = []
    engine: Engine = database._backend.readers

    @event.listens_for(engine, "before_cursor_execute")
    def count(*given: Any) -> None:
        statements.append(given[2])

    await asyncio.gather(*(directory.role(ACCOUNT, f"Role-{number}") for number in range(MANY)))
    alone, together = 12, 12  # the first goes alone
    assert len(statements) <= alone + together
    before = {*statements}
    directory._cache.flush(directory.seen().position)
    await asyncio.gather(*(directory.role(ACCOUNT, f"Role-{number}") for number in range(MANY - 5)))
    assert {*statements} == before, "the text of a statement depends on the number of views"


async def test_policy_is_compiled_when_it_decides_not_when_it_is_loaded(directory: Directory) -> None:
    views = [await directory.role(ACCOUNT, f"Role-{number}") for number in range(MANY)]
    policies = [policy.document for view in views if view is not None for policy in view.principal.identity]
    small = [document for document in policies if len(document.text) < 4096]
    assert small
    assert not any("compiled" in vars(document) for document in small)
    assert small[0].statements[0].line == 1
    assert "compiled" in vars(small[0])


async def test_user_of_an_access_key_is_loaded_with_the_key_and_follows_its_changes(
    directory: Directory, database: Database
) -> None:
    keys = [f"AKIA{number:016}" for number in range(MANY)]
    await asyncio.gather(*map(directory.access_key, keys))
    cached = [directory._cache.get(f"user:AIDA{number:017}") for number in range(MANY)]
    assert MISSING not in cached, "whoever proves a key asks for its user next"
    user_id = f"AIDA{1:017}"
    insert(database, InlinePolicy(ACCOUNT, user_id, "new", DENY, NOW))
    await directory.refresh()
    view = await directory.user(user_id)
    assert view is not None
    assert "new" in [policy.name for policy in view.identity]


async def test_view_that_cannot_be_read_fails_alone(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    good = directory._views.access_key

    def load(reader: Any, key_id: str) -> Any:
        if key_id.endswith("7"):
            raise ValueError("does not open")
        return good(reader, key_id=key_id)

    monkeypatch.setattr(directory._views, "access_key", load)
    keys = [f"AKIA{number:016}" for number in range(MANY)]
    found = await asyncio.gather(*(directory.access_key(one) for one in keys), return_exceptions=True)
    failed = [one for one, view in zip(keys, found, strict=True) if isinstance(view, DaypassError)]
    assert failed == [one for one in keys if one.endswith("7")]
    assert not directory._loader.in_flight


@pytest.mark.parametrize("hostile", ["\ud800", "a\0b"])
async def test_key_that_no_database_can_hold_is_absent_and_fails_no_other_view_of_its_batch(
    directory: Directory, hostile: str
) -> None:
    hostiles = [directory.access_key(hostile), directory.user(hostile), directory.role(hostile, hostile)]
    found = await asyncio.gather(*hostiles, directory.role_by_id(hostile), *looks(directory))
    assert found[:4] == [None] * 4
    again = await asyncio.gather(*looks(directory))
    assert [shape(view) for view in again] == [shape(view) for view in found[4:]]
    assert sum(view is not None for view in found) >= MANY


async def test_stop_during_loads_cancels_those_who_wait(directory: Directory) -> None:
    waiting = [asyncio.ensure_future(look) for look in looks(directory)]
    await asyncio.sleep(0)
    await directory.stop()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert len(done) == len(waiting)


# --- Preloading


async def test_preload_loads_those_used_last_and_no_more_than_it_may(
    database: Database, follow: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database)
    uses = [LastUse(f"AROA{n:017}", "sts:GetCallerIdentity", ACCOUNT, NOW + n, "") for n in range(20)]
    insert(database, *uses, LastUse("AIDAGONE", "iam:GetUser", ACCOUNT, NOW + 99, ""))
    directory = await follow(database, preload=6)
    await eventually(lambda: not directory._tasks)
    not_in_memory = AsyncMock(side_effect=AssertionError("a view was not in memory"))
    monkeypatch.setattr(directory._loader, "_on_thread", not_in_memory)
    for number in range(15, 20):
        assert await directory.role(ACCOUNT, f"Role-{number}") is not None
    assert await directory.user("AIDAGONE") is None
    monkeypatch.undo()
    assert directory._cache.get(f"role:AROA{14:017}") is MISSING


async def test_preload_from_a_database_that_fails_leaves_the_directory_working(
    database: Database, follow: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database)

    def fail(*_: object, **__: object) -> list[str]:
        raise OperationalError(None, None, OSError("gone"))

    monkeypatch.setattr("daypass.stores.loading.recently_used", fail)
    directory = await follow(database, preload=6)
    assert await directory.role(ACCOUNT, "Role-1") is not None


def test_recently_used_passes_over_what_is_no_principal_here(database: Database) -> None:
    insert(
        database,
        LastUse("arn:aws:iam::1:oidc-provider/x:sub", "sts:X", ACCOUNT, NOW + 5, ""),
        LastUse("AKIA0000000000000001", "sts", ACCOUNT, NOW + 4, ""),
        LastUse(ACCOUNT, "sts:X", ACCOUNT, NOW + 3, ""),
        LastUse("AIDA1", "sts:X", ACCOUNT, NOW + 2, ""),
        LastUse("AIDA1", "sts:Y", ACCOUNT, NOW + 1, ""),
    )
    found = database.read(lambda conn: recently_used(conn, 10))
    assert found == ["access_key:AKIA0000000000000001", f"account:{ACCOUNT}", "user:AIDA1"]
