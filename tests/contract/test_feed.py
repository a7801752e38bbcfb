"""The change feed: position order is commit order, whatever the writers do."""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import Any

import pytest
from sqlalchemy import Connection
from tests.contract.conftest import Opener
from tests.contract.making import ACCOUNT, NOW, insert, one_of_each, read, revocation, user, write

from daypass.domain.directory import ReplayEntry, Revocation, User
from daypass.domain.errors import DaypassError
from daypass.domain.session import FeedPosition
from daypass.stores.engine import Database
from daypass.stores.entities import ENTITY_TABLES
from daypass.stores.feed import KEEP_MS, FeedChange, accounts_changed, append, changes_after, feed_head, prune
from daypass.stores.tx import StoreTx

KEYS = {
    "User": ("user:{id}", "user_name:{account}:{folded}"),
    "Group": ("group:{id}", "group_name:{account}:{folded}"),
    "Membership": ("owner:{user_id}", "owner:{group_id}"),
    "Role": ("role:{id}", "role_name:{account}:{folded}"),
    "ManagedPolicy": ("policy:{arn}", "policy_id:{id}"),
    "PolicyVersion": ("policy_id:{policy_id}",),
    "InlinePolicy": ("owner:{owner_id}",),
    "Attachment": ("owner:{owner_id}",),
    "Guardrail": ("guardrails:{account}",),
    "AccessKey": ("access_key:{id}", "owner:{owner_id}"),
    "TrustAnchor": ("x509_anchor:{id}",),
    "Crl": ("x509_anchor:{trust_anchor_id}",),
    "OAuthClient": ("oauth_client:{id}", "document_clients:{account}"),
    "IssuerAllowList": ("issuers:{account}",),
    "PolicyContent": ("content:{hash}",),
    "Grant": ("grants:{role_id}",),
    "Revocation": ("revocation:{id}",),
}
"""What views depend on. An entity that is cached as it is has a test of its own (test_entities.py)."""


def position(database: Database) -> int:
    return database.read(feed_head).position


def bump(conn: Connection) -> int:
    """Puts a change on the feed with nothing but the counter between writers."""
    return append(conn, [FeedChange(0, "users", ACCOUNT, ("k",))], NOW)[0].position


ANNOUNCED = [entity for entity in one_of_each() if ENTITY_TABLES[type(entity)].announced]


@pytest.mark.parametrize("entity", ANNOUNCED, ids=lambda entity: type(entity).__name__)
def test_change_carries_every_lookup_key(database: Database, entity: Any) -> None:
    [change] = insert(database, entity)
    own = {field.name: getattr(entity, field.name) for field in dataclasses.fields(entity)}
    own |= {"folded": own["name"].lower()} if "name" in own else {}
    assert change.keys == tuple(key.format(**own) for key in KEYS.get(type(entity).__name__, change.keys))
    [stored] = database.read(lambda conn: changes_after(conn, 0, 10))
    assert stored == dataclasses.replace(change, revocation=None)
    assert (stored.position, stored.account) == (1, ACCOUNT)


def test_write_of_what_no_view_rests_on_leaves_the_feed_alone(database: Database) -> None:
    redeemed = ReplayEntry("jwt", "cd" * 32, ACCOUNT, NOW, NOW + 5)
    assert insert(database, redeemed) == []
    assert position(database) == 0
    assert read(database, lambda reader: reader.get(ReplayEntry, purpose="jwt", id="cd" * 32)) == redeemed


def test_rename_carries_keys_of_old_and_new_name(database: Database) -> None:
    insert(database, user("alice"))
    [change] = write(database, lambda tx: tx.replace(dataclasses.replace(user("alice"), name="Bob")))
    assert set(change.keys) == {f"user:{user('alice').id}", f"user_name:{ACCOUNT}:alice", f"user_name:{ACCOUNT}:bob"}


def test_revocation_has_the_position_of_its_change(database: Database) -> None:
    changes = insert(database, user("a"), revocation("role", "AROA1"), user("b"))
    assert [change.position for change in changes] == [1, 2, 3]
    stored = read(database, lambda tx: tx.get(Revocation, value="AROA1"))
    assert stored is not None
    assert stored.position == 2
    assert changes[1].revocation == stored


def test_rolled_back_writes_leave_neither_change_nor_gap(database: Database) -> None:
    with pytest.raises(RuntimeError):
        write(database, lambda tx: tx.insert(user("a")), lambda tx: tx.flush(), lambda tx: _fail())
    with database.write_transaction() as conn:
        with pytest.raises(RuntimeError), conn.begin_nested():
            tx = StoreTx(conn, NOW)
            tx.insert(user("b"))
            tx.flush()
            _fail()
        tx = StoreTx(conn, NOW)
        tx.insert(user("c"))
        tx.flush()
    assert [change.position for change in tx.changes] == [1]
    assert [u.name for u in read(database, lambda tx: tx.find(User))] == ["c"]
    assert position(database) == 1


def _fail() -> None:
    raise RuntimeError("undo")


def test_flush_twice_places_each_change_once(database: Database) -> None:
    with database.write_transaction() as conn:
        tx = StoreTx(conn, NOW)
        tx.insert(user("a"))
        tx.flush()
        tx.flush()
        tx.insert(user("b"))
        tx.flush()
    assert [change.position for change in tx.changes] == [1, 2]


def test_slow_transaction_is_not_overtaken(opener: Opener) -> None:
    """The race that the counter exists for: with a sequence, the fast writer's position would show first."""
    slow, fast, reader = opener(), opener(), opener()
    holding, release = threading.Event(), threading.Event()
    places: dict[str, int] = {}

    def be_slow() -> None:
        with slow.write_transaction() as conn:
            places["slow"] = bump(conn)
            holding.set()
            assert release.wait(60)

    def be_fast() -> None:
        with fast.write_transaction() as conn:
            places["fast"] = bump(conn)

    threads = [threading.Thread(target=be_slow), threading.Thread(target=be_fast)]
    threads[0].start()
    assert holding.wait(60)
    threads[1].start()
    time.sleep(0.2)
    assert "fast" not in places
    assert position(reader) == 0
    release.set()
    for thread in threads:
        thread.join(10)
    assert places == {"slow": 1, "fast": 2}
    assert position(reader) == 2


def test_follower_of_concurrent_writers_sees_every_position_in_order(opener: Opener) -> None:
    writers, each = 4, 12
    databases = [opener() for _ in range(writers)]
    failures: list[BaseException] = []

    def work(number: int, database: Database) -> None:
        try:
            for i in range(each):
                insert(database, user(f"u{number}-{i}", id=f"AIDA{number}-{i}"))
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=work, args=item) for item in enumerate(databases)]
    reader = opener()
    for thread in threads:
        thread.start()
    seen: list[int] = []
    names: set[str] = set()
    deadline = time.monotonic() + 30
    while len(seen) < writers * each and time.monotonic() < deadline and not failures:
        cursor = seen[-1] if seen else 0

        def look(conn: Connection, after: int = cursor) -> list[FeedChange]:
            changes = changes_after(conn, after, 1000)
            assert feed_head(conn).position == (changes[-1].position if changes else after)
            return changes

        changes = reader.read(look)
        seen += [change.position for change in changes]
        names |= {change.keys[0] for change in changes}
        time.sleep(0.001)
    for thread in threads:
        thread.join(10)
    assert not failures
    assert seen == list(range(1, writers * each + 1))
    assert len(names) == writers * each


def test_checks_of_one_writer_hold_until_it_commits(opener: Opener) -> None:
    """Two writers that each count, then insert up to a quota of one, must not both succeed."""
    databases = [opener(), opener()]
    ready = threading.Barrier(2)
    outcomes: list[str] = []

    def work(number: int) -> None:
        def step(tx: StoreTx) -> None:
            if tx.count(User, account=ACCOUNT):
                outcomes.append("refused")
            else:
                time.sleep(0.05)
                tx.insert(user(f"u{number}"))
                outcomes.append("inserted")

        ready.wait(60)
        write(databases[number], step)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(outcomes) == ["inserted", "refused"]


def test_same_name_from_two_writers_is_refused_to_the_second(opener: Opener) -> None:
    first, second = opener(), opener()
    insert(first, user("alice"))
    with pytest.raises(DaypassError):
        insert(second, user("ALICE", id="AIDA2"))


def test_prune_keeps_the_new_and_tells_how_far_it_went(database: Database) -> None:
    insert(database, user("a"), user("b"), now=NOW)
    insert(database, user("c"), now=NOW + 1000)
    with database.write_transaction() as conn:
        prune(conn, NOW)
    assert database.read(feed_head).pruned == 0
    with database.write_transaction() as conn:
        prune(conn, NOW + 1)
    assert database.read(feed_head).pruned == 2
    assert [change.position for change in database.read(lambda conn: changes_after(conn, 0, 10))] == [3]


def test_feed_prunes_itself_as_it_grows(database: Database) -> None:
    insert(database, user("old"), now=NOW - KEEP_MS - 1)
    insert(database, *(user(f"u{i}", id=f"AIDA{i}") for i in range(300)))
    head = database.read(feed_head)
    assert (head.position, head.pruned) == (301, 1)


def test_accounts_changed_names_accounts_of_the_given_kinds_since_a_position(database: Database) -> None:
    first = User("AIDA8", ACCOUNT, "one", "/", NOW)
    insert(database, first)
    head = database.read(feed_head)
    since = FeedPosition(head.epoch, head.position)

    def changed(tables: tuple[str, ...], after: FeedPosition = since, most: int = 100) -> frozenset[str] | None:
        return database.read(lambda conn: accounts_changed(conn, after, tables, most))

    assert changed(("users", "roles")) == frozenset()
    insert(database, User("AIDA9", "444455556666", "two", "/", NOW))
    assert changed(("users", "roles")) == {"444455556666"}
    assert changed(("roles",)) == frozenset()
    assert changed(("users",), FeedPosition("another", head.position)) is None
    assert changed(("users",), most=0) is None
    with database.write_transaction() as conn:
        prune(conn, NOW + 1)
    assert changed(("users",)) is None
