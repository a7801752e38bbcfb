"""A standby near a process: what is read from it, that it never counts as newer than it is, and servers that are none.

Two real PostgreSQL servers with streaming replication. The replay of the standby is paused where it must be behind.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from tests.contract.making import ACCOUNT, NOW, Recorder, insert, role, session, user, write
from tests.replication import Cluster, replicated

from daypass.domain.directory import Revocation, Role
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.stores.applied_feed import poll
from daypass.stores.directory import Directory
from daypass.stores.engine import open_database
from daypass.stores.migrations import prepare
from daypass.stores.nodes import report_node
from daypass.stores.standby import MUCH_BEHIND_SECONDS
from daypass.stores.tx import StoreReader

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with replicated(synchronous=False) as made:
        database = open_database(made.primary.url())
        prepare(database)
        database.close()
        yield made


class Region:
    """A directory that polls the primary and reads the standby, when it is told to."""

    def __init__(self, cluster: Cluster, recorder: Recorder) -> None:
        self.cluster, self.recorder = cluster, recorder
        self.primary, self.near = (open_database(node.url()) for node in (cluster.primary, cluster.standby))
        self.directory: Directory = recorder.directory(self.primary, standby=self.near, node="here")
        self._read = self.primary.read

    async def start(self) -> None:
        caught_up(self.cluster)
        await self.directory.start()
        await self.look()

    async def look(self) -> None:
        assert self.directory.standby is not None
        await self.directory.standby.poll()

    @property
    def reads(self) -> int:
        """Snapshots read from the standby."""
        assert self.directory.standby is not None
        return self.directory.standby.reads

    @property
    def warning(self) -> str:
        assert self.directory.standby is not None
        return self.directory.standby.warning()

    def cut(self) -> None:
        """The primary cannot be reached any more."""

        def refuse(*_: Any, **__: Any) -> Any:
            raise DaypassError(ErrorKind.UNAVAILABLE, "cut", private={"database": "the link is cut"})

        self.primary.read = refuse  # type: ignore[method-assign]

    def restore(self) -> None:
        self.primary.read = self._read  # type: ignore[method-assign]

    async def stop(self) -> None:
        await self.directory.stop()
        self.primary.close()
        self.near.close()


@pytest.fixture
async def region(cluster: Cluster, recorder: Recorder) -> AsyncIterator[Region]:
    made = Region(cluster, recorder)
    await made.start()
    yield made
    paused(cluster, False)
    await made.stop()
    empty(cluster)


def empty(cluster: Cluster) -> None:
    with psycopg.connect(cluster.primary.url(), autocommit=True) as conn:
        conn.execute("DELETE FROM users; DELETE FROM roles; DELETE FROM nodes; DELETE FROM revocations")


def caught_up(cluster: Cluster) -> None:
    """Waits until the standby has everything that the primary has committed."""
    (place,) = cluster.primary.sql("SELECT pg_current_wal_lsn()")
    cluster.wait(lambda: cluster.standby.sql(f"SELECT pg_last_wal_replay_lsn() >= '{place}'")[0])


def paused(cluster: Cluster, wanted: bool) -> None:
    """The standby receives, but does not replay."""
    cluster.standby.sql(f"SELECT pg_wal_replay_{'pause' if wanted else 'resume'}()")
    state = "paused" if wanted else "not paused"
    cluster.wait(lambda: cluster.standby.sql("SELECT pg_get_wal_replay_pause_state()")[0] == state)


def stamp(region: Region, ahead: float) -> None:
    """The standby gets the row that a process wrote when the primary's clock was so many seconds later than now."""
    at = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint + %s"
    statement = f"INSERT INTO nodes (id, name, started_at, seen_at) VALUES ('stamp', 'stamp', 0, {at})"
    with psycopg.connect(region.cluster.primary.url(), autocommit=True) as conn:
        conn.execute(statement.encode(), (round(ahead * 1000),))
    caught_up(region.cluster)


# --- What is read from it


async def test_view_that_is_not_cached_is_loaded_from_the_standby(region: Region) -> None:
    insert(region.primary, role("Deploy"))
    caught_up(region.cluster)
    before = region.reads
    assert await region.directory.role(ACCOUNT, "Deploy") is not None
    assert region.reads == before + 1


async def test_view_that_has_changed_since_the_standby_is_loaded_from_the_primary(region: Region) -> None:
    alice, bob = user("alice"), user("bob")
    insert(region.primary, alice, bob)
    await region.directory.refresh()
    caught_up(region.cluster)
    await region.look()
    paused(region.cluster, True)
    renamed = replace(alice, name="alicia")
    write(region.primary, lambda tx: tx.replace(renamed))
    await region.directory.refresh()
    changed, same = await region.directory.user(alice.id), await region.directory.user(bob.id)
    assert changed is not None
    assert changed.entity.name == "alicia", "the standby does not know that yet"
    assert same is not None
    assert region.reads >= 2, "both were looked up there"


async def test_role_that_the_standby_does_not_have_yet_is_found_before_a_refusal(region: Region) -> None:
    paused(region.cluster, True)
    insert(region.primary, role("New"))
    assert await region.directory.role(ACCOUNT, "New") is None
    await region.directory.refresh()
    assert await region.directory.role(ACCOUNT, "New") is not None


async def test_standby_that_lacks_more_changes_than_are_remembered_is_not_believed(region: Region) -> None:
    alice = user("alice")
    insert(region.primary, alice)
    await region.directory.refresh()
    paused(region.cluster, True)
    write(region.primary, lambda tx: tx.delete(alice))
    await region.directory.refresh()
    position = region.directory.seen().position
    for number in range(10_001):
        region.directory._cache.invalidate([f"other:{number}"], position)
    assert await region.directory.user(alice.id) is None


# --- While the primary cannot be reached


async def test_disconnected_process_loads_views_and_reads_from_the_standby(region: Region) -> None:
    insert(region.primary, role("Deploy"), user("alice"))
    await region.directory.refresh()
    caught_up(region.cluster)
    await region.look()
    region.cut()
    assert await region.directory.role(ACCOUNT, "Deploy") is not None
    found = await region.directory.read(lambda tx: tx.find(Role, account=ACCOUNT), account="")
    assert [each.name for each in found] == ["Deploy"]


async def test_disconnected_process_does_not_list_what_is_older_than_it_has_seen(region: Region) -> None:
    paused(region.cluster, True)
    insert(region.primary, role("New"))
    await region.directory.refresh()
    await region.look()
    region.cut()
    with pytest.raises(DaypassError) as refused:
        await region.directory.read(lambda tx: tx.find(Role, account=ACCOUNT), account="")
    assert refused.value.kind is ErrorKind.UNAVAILABLE
    with pytest.raises(DaypassError):
        await region.directory.role(ACCOUNT, "New")


async def test_revocation_reaches_a_disconnected_process_through_the_standby(region: Region) -> None:
    claims = session(region.directory.seen(), "AROA1")
    region.cut()
    insert(region.primary, Revocation("r1", ACCOUNT, "principal", "AROA1", NOW, NOW))
    caught_up(region.cluster)
    assert region.directory.revoked(claims) is None
    await region.look()
    assert region.directory.revoked(claims) is not None


async def test_poll_of_the_primary_that_the_standby_overtook_does_not_undo_a_newer_change(region: Region) -> None:
    cursor = region.directory.seen()
    insert(region.primary, Revocation("r1", ACCOUNT, "principal", "AROA1", NOW, NOW, block=True))
    overtaken = poll(region.primary, cursor, 0)
    blocked = region.primary.read(lambda conn: StoreReader(conn).get(Revocation, id="r1"))
    assert blocked is not None
    write(region.primary, lambda tx: tx.replace(replace(blocked, block_until=NOW)))
    caught_up(region.cluster)
    await region.look()
    position = region.directory.seen()
    region.directory._applied.apply(overtaken, NOW)
    assert region.directory.seen() == position
    assert [made.block_until for made in region.directory.feed.everything()] == [NOW]


# --- Its age


async def test_standby_that_streams_extends_the_limits_of_a_disconnected_process(region: Region) -> None:
    report_node(region.primary, "elsewhere", "elsewhere", NOW)
    await region.directory.refresh()
    region.cut()
    region.recorder.seconds += 50.0
    stamp(region, 50.0)
    await region.look()
    assert region.directory.freshness.age < 5.0
    assert not region.directory.revocations_unknown


async def test_standby_that_receives_nothing_ages(region: Region) -> None:
    await region.look()
    region.cut()
    before = region.directory.freshness.polled_at
    for _ in range(4):
        region.recorder.seconds += 300.0
        await region.look()
    assert region.directory.freshness.polled_at <= before + 5.0
    assert region.directory.stale
    with pytest.raises(DaypassError):
        await region.directory.role(ACCOUNT, "Deploy")


async def test_time_of_the_primary_ahead_makes_the_standby_no_younger(region: Region) -> None:
    stamp(region, 3_600.0)
    await region.look()
    region.cut()
    looked = region.recorder.seconds
    region.recorder.seconds += 600.0
    await region.look()
    assert region.directory.freshness.polled_at <= looked


async def test_standby_far_behind_is_reported(region: Region) -> None:
    assert region.warning == ""
    region.cut()
    region.recorder.seconds += MUCH_BEHIND_SECONDS + 10.0
    await region.look()
    assert "s behind" in region.warning


async def test_standby_that_was_not_looked_at_lately_is_not_used(region: Region) -> None:
    region.recorder.seconds += 5.0
    before = region.reads
    await region.directory.role(ACCOUNT, "Deploy")
    assert region.reads == before
    assert "does not answer" in region.warning


# --- Servers that are not a standby of the primary


async def test_primary_in_place_of_a_standby_is_not_used(cluster: Cluster, recorder: Recorder) -> None:
    made = Region(cluster, recorder)
    made.near.close()
    made.near = open_database(cluster.primary.url())
    made.directory = recorder.directory(made.primary, standby=made.near)
    await made.start()
    before = made.reads
    await made.directory.role(ACCOUNT, "Deploy")
    assert made.reads == before
    assert "is not a standby" in made.warning
    await made.stop()


async def test_standby_of_another_cluster_is_not_used(cluster: Cluster, recorder: Recorder) -> None:
    with replicated(synchronous=False) as other:
        database = open_database(other.primary.url())
        prepare(database)
        insert(database, role("Forged"))
        database.close()
        caught_up(other)
        made = Region(cluster, recorder)
        made.near.close()
        made.near = open_database(other.standby.url())
        made.directory = recorder.directory(made.primary, standby=made.near)
        await made.start()
        assert await made.directory.role(ACCOUNT, "Forged") is None
        assert "another cluster" in made.warning
        made.cut()
        with pytest.raises(DaypassError):
            await made.directory.role(ACCOUNT, "Other")
        await made.stop()


async def test_promoted_standby_is_not_used(recorder: Recorder) -> None:
    with replicated(synchronous=False) as split:
        database = open_database(split.primary.url())
        prepare(database)
        database.close()
        made = Region(split, recorder)
        await made.start()
        assert made.warning == ""
        split.standby.sql("SELECT pg_promote(true, 60)")
        await made.look()
        assert "is not a standby" in made.warning
        made.cut()
        with pytest.raises(DaypassError):
            await made.directory.role(ACCOUNT, "Deploy")
        await made.stop()
