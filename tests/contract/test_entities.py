"""Reading and writing entities: nothing is lost on the way, names have no case, pages have an order."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, PrimaryKeyConstraint, Select, UniqueConstraint
from tests.contract.making import (
    ACCOUNT,
    ALLOW,
    NOW,
    OTHER,
    insert,
    one_of_each,
    policy,
    read,
    revocation,
    role,
    user,
    write,
)

from daypass.domain.directory import (
    Attachment,
    InlinePolicy,
    ManagedPolicy,
    PolicyVersion,
    Revocation,
    Role,
    ScimResource,
    User,
)
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.stores.directory import Directory
from daypass.stores.engine import Database
from daypass.stores.entities import ENTITY_TABLES
from daypass.stores.revocation_feed import prune_revocations
from daypass.stores.tx import StoreTx, _count_under, _select

NAMES = ["b", "A", "c10", "C1", "a-", "Z", "_x", "a.b"]
IN_ORDER = ["_x", "A", "a-", "a.b", "b", "C1", "c10", "Z"]


def primary(entity: Any) -> dict[str, Any]:
    return {name: getattr(entity, name) for name in ENTITY_TABLES[type(entity)].primary}


def test_entities_table_has_every_kind_and_field() -> None:
    kinds = {type(entity) for entity in one_of_each()}
    assert kinds == set(ENTITY_TABLES)
    for kind, mapping in ENTITY_TABLES.items():
        own = {column.name for column in mapping.table.columns} - {"name_key"}
        assert own == {field.name for field in dataclasses.fields(kind)}


CACHED = [entity for entity in one_of_each() if ENTITY_TABLES[type(entity)].cached]


def test_entity_that_is_cached_is_announced_under_a_unique_key_of_its_own() -> None:
    """Or else it would never learn of a change, or be found under the key of something else."""
    kinds = [key for mapping in ENTITY_TABLES.values() for key in {each.kind for each in mapping.feed_keys}]
    for entity in CACHED:
        mapping = ENTITY_TABLES[type(entity)]
        kind, names = mapping.feed_keys[0].kind, mapping.feed_keys[0].fields
        assert mapping.announced
        assert kinds.count(kind) == 1
        columns = {"name_key" if name == "name" else name for name in names}
        unique = [
            c.columns.keys()
            for c in mapping.table.constraints
            if isinstance(c, (PrimaryKeyConstraint, UniqueConstraint))
        ]
        unique += [index.columns.keys() for index in mapping.table.indexes if index.unique]
        assert any(set(each) == columns for each in unique)


@pytest.mark.parametrize("entity", CACHED, ids=lambda entity: type(entity).__name__)
async def test_cached_entity_follows_its_changes(database: Database, directory: Directory, entity: Any) -> None:
    values = [getattr(entity, name) for name in ENTITY_TABLES[type(entity)].feed_keys[0].fields]
    assert await directory.entity(type(entity), *values) is None
    insert(database, entity)
    await directory.refresh()
    found = await directory.entity(type(entity), *values)
    assert found == entity
    assert await directory.entity(type(entity), *values) is found
    name = next(name for name in ("tags", "created_at", "changed_at") if hasattr(entity, name))
    changed = replace(entity, **{name: (("changed", "yes"),) if name == "tags" else 1})
    write(database, lambda tx: tx.replace(changed))
    await directory.refresh()
    assert await directory.entity(type(entity), *values) == changed
    write(database, lambda tx: tx.delete(changed))
    await directory.refresh()
    assert await directory.entity(type(entity), *values) is None


async def test_entity_that_is_not_cached_as_it_is_cannot_be_looked_up(directory: Directory) -> None:
    with pytest.raises(TypeError, match="Role is not cached"):
        await directory.entity(Role, "AROA1")


@pytest.mark.parametrize("entity", one_of_each(), ids=lambda entity: type(entity).__name__)
def test_insert_then_get_gives_the_equal_entity(database: Database, entity: Any) -> None:
    insert(database, entity)
    assert read(database, lambda tx: tx.get(type(entity), **primary(entity))) == entity
    assert read(database, lambda tx: tx.count(type(entity), **primary(entity))) == 1


@pytest.mark.parametrize("taken", one_of_each(), ids=lambda entity: type(entity).__name__)
def test_insert_of_a_taken_primary_key_is_refused(database: Database, taken: Any) -> None:
    insert(database, taken)
    with pytest.raises(DaypassError) as caught:
        insert(database, taken)
    assert caught.value.kind is ErrorKind.ALREADY_EXISTS


def test_insert_refused_leaves_the_transaction_usable(database: Database) -> None:
    insert(database, role("Deploy"))

    def refused_then_more(tx: StoreTx) -> None:
        with pytest.raises(DaypassError):
            tx.insert(role("dEPLOY", id="AROA2"))
        tx.insert(role("Other"))

    changes = write(database, refused_then_more)
    assert [change.keys[0] for change in changes] == [f"role:{role('Other').id}"]
    assert read(database, lambda tx: tx.count(Role, account=ACCOUNT)) == 2


@pytest.mark.parametrize("make", [role, user, policy])
def test_names_are_unique_and_found_without_case(database: Database, make: Any) -> None:
    first = make("Deploy")
    insert(database, first)
    kind = type(first)
    assert read(database, lambda tx: tx.get(kind, account=ACCOUNT, name="dePLOY")) == first
    with pytest.raises(DaypassError) as caught:
        insert(database, make("DEPLOY", id="X2", **({"arn": "arn:other"} if kind is ManagedPolicy else {})))
    assert caught.value.kind is ErrorKind.ALREADY_EXISTS
    insert(database, make("DEPLOY", id="X3", account=OTHER, **({"arn": "arn:other"} if kind is ManagedPolicy else {})))


def test_a44_names_fold_ascii_alone(database: Database) -> None:
    insert(database, role("K"))
    assert read(database, lambda tx: tx.get(Role, account=ACCOUNT, name="k")) is not None
    assert read(database, lambda tx: tx.get(Role, account=ACCOUNT, name="\u212a")) is None


def test_policy_arns_are_unique(database: Database) -> None:
    insert(database, policy("One"))
    with pytest.raises(DaypassError):
        insert(database, policy("Two", arn=policy("One").arn))


def test_replace_renames_and_frees_the_old_name(database: Database) -> None:
    insert(database, user("alice"), user("bob"))
    write(database, lambda tx: tx.replace(dataclasses.replace(user("alice"), name="Carol", path="/x/")))
    assert read(database, lambda tx: tx.get(User, account=ACCOUNT, name="alice")) is None
    assert read(database, lambda tx: tx.get(User, account=ACCOUNT, name="CAROL")).path == "/x/"  # type: ignore[union-attr]
    with pytest.raises(DaypassError) as caught:
        write(database, lambda tx: tx.replace(dataclasses.replace(user("alice"), name="BOB")))
    assert caught.value.kind is ErrorKind.ALREADY_EXISTS


def test_replace_and_delete_of_the_absent_are_not_found(database: Database) -> None:
    steps = (lambda tx: tx.replace(user("alice")), lambda tx: tx.delete(user("alice")))
    for step in steps:
        with pytest.raises(DaypassError) as caught:
            write(database, step)
        assert caught.value.kind is ErrorKind.NOT_FOUND


def test_delete_removes_exactly_the_entity_that_was_read(database: Database) -> None:
    insert(database, user("alice"))
    with pytest.raises(DaypassError):
        write(database, lambda tx: tx.delete(user("alice", path="/changed/")))
    write(database, lambda tx: tx.delete(user("alice")))
    assert read(database, lambda tx: tx.count(User)) == 0


def test_revocations_are_never_deleted_and_keep_their_subject(database: Database) -> None:
    fact = revocation("role", "AROA1", block=True)
    insert(database, fact)
    stored = read(database, lambda tx: tx.get(Revocation, id=fact.id))
    assert stored is not None
    with pytest.raises(TypeError):
        write(database, lambda tx: tx.delete(stored))
    with pytest.raises(TypeError):
        write(database, lambda tx: tx.replace(replace(stored, value="AROA2")))
    write(database, lambda tx: tx.replace(replace(stored, block_until=NOW)))
    lifted = read(database, lambda tx: tx.get(Revocation, id=fact.id))
    assert lifted == replace(stored, block_until=NOW, position=stored.position + 1)


def test_prune_removes_revocations_that_can_match_no_session_and_block_nobody(database: Database) -> None:
    past = NOW - 10
    insert(
        database,
        revocation("role", "AROA-ended", issued_before=past, created_at=past),
        revocation("role", "AROA-blocked", issued_before=past, created_at=past, block=True),
        revocation("role", "AROA-was-blocked", issued_before=past, created_at=past, block=True, block_until=past),
        revocation("role", "AROA-new", issued_before=NOW, created_at=NOW),
    )
    with database.write_transaction() as conn:
        assert prune_revocations(conn, past) == 2
    left = read(database, lambda tx: tx.find(Revocation, order="position"))
    assert [one.value for one in left] == ["AROA-blocked", "AROA-new"]


def test_find_by_name_pages_without_case_in_one_order_on_both(database: Database) -> None:
    insert(database, *(role(name, id=f"AROA{i}") for i, name in enumerate(NAMES)), role("b", id="AROAB", account=OTHER))
    found: list[str] = []
    for _ in range(len(NAMES)):
        after = found[-1] if found else ""
        page = read(database, lambda tx, a=after: tx.find(Role, order="name", after=a, limit=3, account=ACCOUNT))
        found += [one.name for one in page]
        if len(page) < 3:
            break
    assert found == IN_ORDER


def test_find_pages_are_stable_while_entities_come(database: Database) -> None:
    insert(database, *(user(name) for name in ("b", "d", "f")))
    first = read(database, lambda tx: tx.find(User, order="name", limit=2, account=ACCOUNT))
    insert(database, user("a"), user("e"))
    rest = read(database, lambda tx: tx.find(User, order="name", after=first[-1].name, limit=9, account=ACCOUNT))
    assert [u.name for u in (*first, *rest)] == ["b", "d", "e", "f"]


def test_find_among_reads_the_entities_of_the_owners_alone_in_order(database: Database) -> None:
    names = [("AROA1", "b"), ("AROA2", "a"), ("AROA1", "a"), ("AROA3", "a")]
    insert(database, *(InlinePolicy(ACCOUNT, owner, name, ALLOW, NOW) for owner, name in names))

    def found(*owners: str) -> list[tuple[str, str]]:
        rows = read(database, lambda tx: tx.find_among(InlinePolicy, "owner_id", owners, order="name"))
        return [(row.name, row.owner_id) for row in rows]

    assert sorted(found("AROA1", "AROA2", "AROA9")) == [("a", "AROA1"), ("a", "AROA2"), ("b", "AROA1")]
    assert [name for name, _ in found("AROA1", "AROA2")] == ["a", "a", "b"]
    assert found() == []


def test_find_among_in_any_case_finds_each_spelling_in_one_account(database: Database) -> None:
    values = ["Ann@x", "ann@x", "bob@x", "ANN@X", "ann_x"]
    with database.write_transaction() as conn:
        tx = StoreTx(conn, NOW)
        for number, value in enumerate(values):
            tx.insert(Revocation(f"r{number}", ACCOUNT, "source_identity", value, NOW, NOW))
        tx.insert(Revocation("r8", ACCOUNT, "session", "ann@x", NOW, NOW))
        tx.insert(Revocation("r9", OTHER, "source_identity", "ann@x", NOW, NOW))
        tx.flush()

    def found(*wanted: str) -> list[str]:
        where = {"account": ACCOUNT, "subject": "source_identity"}
        rows = read(database, lambda tx: tx.find_among(Revocation, "value", wanted, order="id", any_case=True, **where))
        return [row.value for row in rows]

    assert found("ann@x", "eve@x") == ["Ann@x", "ann@x", "ANN@X"]
    assert found("Ann@x") == found() == []


def test_value_at_is_the_one_with_this_place_in_order(database: Database) -> None:
    kinds = {"1": "User", "2": "Group", "3": "User", "4": "User"}
    insert(database, *(ScimResource(each, ACCOUNT, kind, "", "{}", 1, NOW, NOW) for each, kind in kinds.items()))

    def found(place: int, account: str = ACCOUNT) -> str:
        equals = {"account": account, "resource_type": "User"}
        return read(database, lambda tx: tx.value_at(ScimResource, "id", place, **equals))

    assert [found(place) for place in (0, 1, 2, 3, 10_000_000)] == ["1", "3", "4", "", ""]
    assert found(0, "999999999999") == ""


def test_names_contain_a_part_literally_in_any_case(database: Database) -> None:
    insert(database, *(user(name) for name in ("a_nn", "Anna", "anton", "hanNa")), user("ann", account="999999999999"))

    def found(part: str, limit: int = 9) -> list[str]:
        return read(database, lambda tx: tx.names(User, ACCOUNT, part, limit))

    assert found("ANN") == ["Anna", "hanNa"]
    assert found("a_n") == ["a_nn"]
    assert found("", 2) == ["a_nn", "Anna"]
    assert found("%") == found("\0") == []


def test_find_by_path_prefix_takes_it_literally(database: Database) -> None:
    paths = ["/", "/team/", "/team/x/", "/Team/", "/te%m/", "/te_m/"]
    insert(database, *(user(f"u{i}", path=path) for i, path in enumerate(paths)))

    def under(prefix: str) -> list[str]:
        return [u.path for u in read(database, lambda tx: tx.find(User, path_prefix=prefix, order="name"))]

    assert under("/team/") == ["/team/", "/team/x/"]
    assert under("/te%") == ["/te%m/"]
    assert under("/te_m/") == ["/te_m/"]
    assert under("/") == paths


def test_find_orders_numbers_as_numbers(database: Database) -> None:
    insert(database, *(PolicyVersion(ACCOUNT, "ANPA1", number, ALLOW, NOW) for number in (10, 9, 1)))

    def versions(**options: Any) -> list[int]:
        found = read(database, lambda tx: tx.find(PolicyVersion, policy_id="ANPA1", order="version", **options))
        return [one.version for one in found]

    assert versions() == [1, 9, 10]
    assert versions(after="9") == [10]
    assert versions(after="９") == versions(after="x") == []


def test_find_in_descending_order_goes_on_with_smaller_ones(database: Database) -> None:
    insert(database, *(PolicyVersion(ACCOUNT, "ANPA1", number, ALLOW, NOW) for number in (10, 9, 1)))

    def versions(**options: Any) -> list[int]:
        found = read(database, lambda tx: tx.find(PolicyVersion, policy_id="ANPA1", order="-version", **options))
        return [one.version for one in found]

    assert versions() == [10, 9, 1]
    assert versions(limit=2) == [10, 9]
    assert versions(after="9") == [1]


def test_find_without_order_pages_by_what_is_left_of_the_primary_key(database: Database) -> None:
    insert(database, *(Attachment(ACCOUNT, "AIDA1", f"arn:{letter}", NOW) for letter in "cab"))
    found = read(database, lambda tx: tx.find(Attachment, owner_id="AIDA1", after="arn:a"))
    assert [one.policy_arn for one in found] == ["arn:b", "arn:c"]
    with pytest.raises(ValueError, match="order"):
        read(database, lambda tx: tx.find(Attachment, owner_id="AIDA1", policy_arn="arn:a", after="x"))


def test_get_of_several_is_an_error_of_the_caller(database: Database) -> None:
    insert(database, user("a"), user("b"))
    with pytest.raises(LookupError):
        read(database, lambda tx: tx.get(User, account=ACCOUNT))


@pytest.mark.parametrize("hostile", ["a\0b", "\ud800", "x" * 100_000])
def test_hostile_names_find_nothing_and_are_refused_or_kept_whole(database: Database, hostile: str) -> None:
    assert read(database, lambda tx: tx.get(User, account=ACCOUNT, name=hostile)) is None
    assert read(database, lambda tx: tx.find(User, order="name", after=hostile, path_prefix=hostile)) == []
    assert read(database, lambda tx: tx.count(User, id=hostile)) == 0
    entity = InlinePolicy(ACCOUNT, "AIDA1", "p", hostile, NOW)
    if "x" in hostile:
        insert(database, entity)
        assert read(database, lambda tx: tx.get(InlinePolicy, owner_id="AIDA1", name="p")) == entity
    else:
        with pytest.raises(DaypassError) as caught:
            insert(database, entity)
        assert caught.value.kind is ErrorKind.INVALID_INPUT


def test_hostile_numbers_find_nothing(database: Database) -> None:
    assert read(database, lambda tx: tx.get(PolicyVersion, policy_id="ANPA1", version=10**30)) is None


def test_get_by_absent_optional_field_finds_those_without(database: Database) -> None:
    insert(database, user("a"), user("b", boundary_arn="arn:b"))
    assert [u.name for u in read(database, lambda tx: tx.find(User, boundary_arn=None))] == ["a"]


@pytest.mark.parametrize("few", [0, 3, 2000])
def test_find_by_path_prefix_is_the_same_however_many_match(
    database: Database, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr("daypass.stores.tx._FEW", few)
    _count_under.cache_clear()
    paths = {"b": "/team/", "A": "/team/", "c": "/team/sub/", "D": "/teams/", "e": "/Team/", "f": "/", "g": "/team/"}
    insert(database, *(user(name, path=path) for name, path in paths.items()))
    insert(database, user("x", id="AIDAOTHER", account=OTHER, path="/team/"))

    def names(prefix: str, after: str = "", limit: int = 10) -> list[str]:
        query = {"order": "name", "path_prefix": prefix, "after": after, "limit": limit, "account": ACCOUNT}
        return [found.name for found in read(database, lambda tx: tx.find(User, **query))]

    assert names("/team/") == ["A", "b", "c", "g"]
    assert names("/team") == ["A", "b", "c", "D", "g"]
    assert names("/team/", after="B", limit=2) == ["c", "g"]
    assert names("/none/") == names("/team/\x7f") == []
    assert names("/") == ["A", "b", "c", "D", "e", "f", "g"]
    _count_under.cache_clear()


def plan_of(database: Database, query: Select[Any], values: dict[str, object], table: str) -> str:
    """How SQLite reads the table. PostgreSQL's plan depends on statistics, so the test is skipped there."""

    def plan(conn: Connection) -> list[str]:
        text = query.params(values).compile(conn, compile_kwargs={"literal_binds": True})
        return [str(row[3]) for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]

    if database.read(lambda conn: conn.dialect.name) != "sqlite":
        pytest.skip("it is SQLite's plan: PostgreSQL's depends on statistics")
    (step,) = (step for step in database.read(plan) if table in step)
    return step


@pytest.mark.parametrize("way", ["nothing", "few"])
def test_find_by_path_prefix_of_few_reads_the_index_on_paths(database: Database, way: str) -> None:
    """However large the account, its names are not walked."""
    shape = (("account", False),)
    query = _count_under("users", shape) if way == "nothing" else _select("users", "name", ("few", True), shape)[0]
    values = {"eq_account": ACCOUNT, "prefix": "/none/", "prefix_end": "/none0", "after": "a", "limit_": 100}
    step = plan_of(database, query, values, "users")
    assert "ix_users_account_path (account=? AND path>? AND path<?)" in step


def test_find_revocations_of_a_subject_reads_their_index(database: Database) -> None:
    """A use of a grant looks for several, and an account can have thousands (attack A431)."""
    query = _select("revocations", "", ("all", False), (("account", False), ("subject", False), ("value", False)))[0]
    values = {"eq_account": ACCOUNT, "eq_subject": "session", "eq_value": "s", "limit_": 100}
    step = plan_of(database, query, values, "revocations")
    assert "ix_revocations_account_subject_value (account=? AND subject=? AND value=?)" in step
