"""Reads and writes entities inside one transaction, and puts every change on the feed.

It must never write a row without its change, and never commit: the owner of the connection does.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    Select,
    bindparam,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from daypass.domain.directory import Account, Attachment, InlinePolicy, Membership, ReplayEntry, Revocation, Role, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.ports.directory import FOR_EVER
from daypass.stores.backend import REVOCATIONS
from daypass.stores.columns import ring_keys
from daypass.stores.entities import ENTITY_TABLES, NAME_KEY, EntityTable, ascii_lower
from daypass.stores.feed import FeedChange, append, insert_if_absent
from daypass.stores.meta import take_lock

E = TypeVar("E")

_BIGGEST = 2**63
_EVERY = 2**31 - 1
LOST = "The database lacks what was acknowledged, or is not the one that was last written: it may have forgotten revocations."
_FEW = 2000  # this many rows are sorted in less time than a page takes to return

_INTEGER = re.compile(r"[0-9]{1,18}")  # within 63 bits, as both databases have them


def storable(value: Any) -> bool:
    """Whether both databases can hold the value: no NUL, no lone surrogate, integers of 64 bits."""
    if isinstance(value, str):
        return "\0" not in value and (value.isascii() or value.encode("utf-8", "replace").decode("utf-8") == value)
    if isinstance(value, int):
        return -_BIGGEST <= value < _BIGGEST
    return True


class StoreReader:
    """`ports.Reader` over one connection that is in a transaction."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    @property
    def connection(self) -> Connection:
        """The connection, for statements that are not about entities, in the same transaction."""
        return self._conn

    def get(self, kind: type[E], **equals: Any) -> E | None:
        """The one entity whose fields equal these, or None. Raises LookupError when there are several."""
        rows = self.find(kind, limit=2, **equals)
        if len(rows) > 1:
            raise LookupError(f"{kind.__name__} is not one by {', '.join(sorted(equals))}")
        return rows[0] if rows else None

    def find(
        self,
        kind: type[E],
        *,
        order: str = "",
        path_prefix: str = "",
        after: str = "",
        limit: int = 1000,
        **equals: Any,
    ) -> list[E]:
        """Up to `limit` entities in `order`; names without regard to case. See `ports.Reader`.

        Without `order` they are sorted by primary key, and so are those that are equal in `order`. But `after` skips all
        that equal it: page by a field that is unique among the requested entities.
        """
        if not all(map(storable, (path_prefix, after, *equals.values()))):
            return []  # such a value cannot have been stored
        mapping = ENTITY_TABLES[kind]
        values = {f"eq_{field}": _value(mapping, field, value) for field, value in equals.items()}
        strategy = self._prefix_strategy(mapping, order, path_prefix, equals, values)
        if strategy is None:
            return []
        statement, first = _select(mapping.table.name, order, (strategy, bool(after)), _shape(equals))
        if after and first in mapping.integers and not _INTEGER.fullmatch(after):
            return []  # not a number, or one that no column can hold: nothing comes after it
        values |= _PREFIX_VALUES[strategy](path_prefix)
        values |= {"after": _value(mapping, first, after)} if after else {}
        rows = self._conn.execute(statement, {**values, "limit_": limit})
        return [mapping.to_entity(row) for row in rows]

    def find_among(
        self, kind: type[E], field: str, values: Sequence[str], *, order: str, any_case: bool = False, **equals: Any
    ) -> list[E]:
        mapping = ENTITY_TABLES[kind]
        statement = _among(mapping.table.name, field, order, _shape(equals), any_case=any_case)
        parameters = {"some": values, **{f"eq_{name}": _value(mapping, name, value) for name, value in equals.items()}}
        rows = self._conn.execute(statement, parameters) if values else ()
        return [mapping.to_entity(row) for row in rows]

    def attached_policies(self, account: str) -> list[str]:
        arns: list[str] = []
        while following := self._conn.execute(_NEXT_ARN, {"of": account, "after": arns[-1] if arns else ""}).scalar():
            arns.append(following)
        return arns

    def holders(
        self,
        kind: type[E],
        account: str,
        words: Sequence[str],
        arns: Sequence[str],
        groups: Sequence[str],
        *,
        after: str,
    ) -> tuple[list[E], str]:
        """See `ports.Reader.holders`. Each branch reads its rows by an index in the order of the ids."""
        first = max(after, _PREFIXES[kind])
        bounds = {"first": first, "last": f"{_PREFIXES[kind]}~", "of": account, "most": _MOST_HOLDERS + 1}
        scanned = self._conn.execute(_SCANNED, {**bounds, "rows": _SCAN_ROWS}).scalars().all()
        upto = scanned[-1] if len(scanned) == _SCAN_ROWS else ""
        bounds["last"] = upto or bounds["last"]
        inline = _INLINE.where(or_(*(func.lower(_inline.document).contains(word, autoescape=True) for word in words)))
        found = {*self._conn.execute(inline, bounds).scalars()}
        if arns:
            found.update(self._conn.execute(_ATTACHED, {**bounds, "arns": arns}).scalars())
        if groups and kind is User:
            found.update(self._conn.execute(_MEMBERS, {**bounds, "groups": groups}).scalars())
        ids = sorted(found)
        if len(ids) > _MOST_HOLDERS:
            ids, upto = ids[:_MOST_HOLDERS], ids[_MOST_HOLDERS - 1]
        return self.find_among(kind, "id", ids, order="id", account=account), upto

    def _prefix_strategy(
        self, mapping: EntityTable, order: str, prefix: str, equals: dict[str, Any], values: dict[str, Any]
    ) -> str | None:
        """How to find the entities under a path prefix without reading the whole account or sorting most of it. None
        when there are none. "few": reads the prefix by the index on paths, then sorts. "many": reads the names in
        order, because enough of them match.
        """
        if not prefix:
            return "all"
        if order != "name" or "account" not in equals or not prefix.isascii() or prefix == "/":
            return "many"
        counting = _count_under(mapping.table.name, _shape(equals))
        count = int(self._conn.execute(counting, {**values, **_range(prefix)}).scalar_one())
        return None if not count else "few" if count <= _FEW else "many"

    def count(self, kind: type[Any], **equals: Any) -> int:
        if not all(map(storable, equals.values())):
            return 0
        mapping = ENTITY_TABLES[kind]
        values = {f"eq_{field}": _value(mapping, field, value) for field, value in equals.items()}
        return int(self._conn.execute(_count(mapping.table.name, _shape(equals)), values).scalar_one())

    def names(self, kind: type[Any], account: str, part: str, limit: int) -> list[str]:
        if not storable(part):
            return []
        mapping = ENTITY_TABLES[kind]
        key = mapping.table.c[NAME_KEY] if mapping.folds else func.lower(mapping.table.c.name)
        wanted = select(mapping.table.c.name).where(mapping.table.c.account == account)
        wanted = wanted.where(key.contains(ascii_lower(part), autoescape=True)).order_by(key).limit(limit)
        return list(self._conn.execute(wanted).scalars())

    def value_at(self, kind: type[Any], field: str, place: int, **equals: Any) -> str:
        mapping = ENTITY_TABLES[kind]
        values = {f"eq_{name}": _value(mapping, name, value) for name, value in equals.items()}
        statement = _value_at(mapping.table.name, field, _shape(equals))
        return str(self._conn.execute(statement, {**values, "place": place}).scalar() or "")


_PREFIXES: Mapping[type[Any], str] = {User: "AIDA", Role: "AROA"}
_SCAN_ROWS = 10_000  # of inline policies, in one call of `holders`
_MOST_HOLDERS = 250
_inline, _attached, _members = (ENTITY_TABLES[kind].table.c for kind in (InlinePolicy, Attachment, Membership))


_NEXT_ARN = select(func.min(_attached.policy_arn)).where(
    _attached.policy_arn > bindparam("after"), _attached.account == bindparam("of")
)  # one look into the index for each policy, however many have it


def _between(column: Column[Any]) -> ColumnElement[bool]:
    return (column > bindparam("first")) & (column <= bindparam("last"))


_SCANNED = (
    select(_inline.owner_id)
    .where(_between(_inline.owner_id), _inline.account == bindparam("of"))
    .order_by(_inline.owner_id)
    .limit(bindparam("rows", type_=Integer))
)
_INLINE = (
    select(_inline.owner_id)
    .where(_between(_inline.owner_id), _inline.account == bindparam("of"))
    .order_by(_inline.owner_id)
    .limit(bindparam("most", type_=Integer))
    .distinct()
)
_ATTACHED = (
    select(_attached.owner_id)
    .where(_between(_attached.owner_id), _attached.account == bindparam("of"))
    .where(_attached.policy_arn.in_(bindparam("arns", expanding=True)))
    .order_by(_attached.owner_id)
    .limit(bindparam("most", type_=Integer))
    .distinct()
)
_MEMBERS = (
    select(_members.user_id)
    .where(_between(_members.user_id), _members.group_id.in_(bindparam("groups", expanding=True)))
    .order_by(_members.user_id)
    .limit(bindparam("most", type_=Integer))
    .distinct()
)


_Options = tuple[str, bool]
"""The access path for a path prefix (see `_prefix_strategy`), and whether the page is not the first."""
_Shape = tuple[tuple[str, bool], ...]
"""The queried fields, and for each whether its value is None."""
_BY_TABLE = {mapping.table.name: mapping for mapping in ENTITY_TABLES.values()}


def _shape(equals: dict[str, Any]) -> _Shape:
    return tuple((field, value is None) for field, value in equals.items())


def _value(mapping: EntityTable, field: str, value: Any) -> Any:
    if mapping.folds and field in ("name", NAME_KEY) and value is not None:
        return ascii_lower(value)
    return int(value) if field in mapping.integers and value is not None else value


def _order_column(mapping: EntityTable, field: str) -> Column[Any]:
    return mapping.table.c[NAME_KEY if mapping.folds and field == "name" else field]


def _conditions(mapping: EntityTable, shape: _Shape) -> list[ColumnElement[bool]]:
    """Equality on fields, with their values as parameters. Fields stored as JSON cannot be queried."""
    return [
        _order_column(mapping, field).is_(None) if none else _order_column(mapping, field) == bindparam(f"eq_{field}")
        for field, none in shape
    ]


# Building a statement costs more than running it. There are only as many shapes as calls in the code.
@lru_cache(maxsize=1024)
def _select(table: str, order: str, options: _Options, shape: _Shape) -> tuple[Select[Any], str]:
    """The statement, and its first sort column."""
    mapping, descending = _BY_TABLE[table], order.startswith("-")
    strategy, after = options
    conditions = _conditions(mapping, shape)
    if strategy == "many":
        start = func.substr(mapping.table.c.path, 1, bindparam("length", type_=Integer))
        conditions.append(start == bindparam("prefix"))
    if strategy == "few":
        conditions += _under(mapping)
    fixed = {field for field, _ in shape}
    columns: list[Column[Any]] = [mapping.table.c[name] for name in mapping.primary if name not in fixed]
    if order:
        columns.insert(0, _order_column(mapping, order.removeprefix("-")))
    # No index on names contains the expression, so the database uses the index on paths.
    places: list[ColumnElement[Any]] = [columns[0].concat(""), *columns[1:]] if strategy == "few" else [*columns]
    if after:
        if not columns:
            raise ValueError("`after` needs an order")
        conditions.append(places[0] < bindparam("after") if descending else places[0] > bindparam("after"))
    if descending:
        places = [place.desc() for place in places]
    query = select(*mapping.columns).where(*conditions).order_by(*places).limit(bindparam("limit_", type_=Integer))
    return query, columns[0].name if columns else ""


@lru_cache(maxsize=64)
def _among(table: str, field: str, order: str, shape: _Shape, *, any_case: bool) -> Select[Any]:
    mapping = _BY_TABLE[table]
    column = func.lower(mapping.table.c[field]) if any_case else mapping.table.c[field]
    conditions = (column.in_(bindparam("some", expanding=True)), *_conditions(mapping, shape))
    return select(*mapping.columns).where(*conditions).order_by(_order_column(mapping, order))


def _under(mapping: EntityTable) -> list[ColumnElement[bool]]:
    """A path prefix as a range of paths, which an index can search."""
    path = mapping.table.c.path
    return [path >= bindparam("prefix"), path < bindparam("prefix_end")]


def _range(prefix: str) -> dict[str, Any]:
    return {"prefix": prefix, "prefix_end": prefix[:-1] + chr(ord(prefix[-1]) + 1)}


_PREFIX_VALUES: dict[str, Callable[[str], dict[str, Any]]] = {
    "all": lambda _: {},
    "few": _range,
    "many": lambda prefix: {"prefix": prefix, "length": len(prefix)},
}


@lru_cache(maxsize=64)
def _count_under(table: str, shape: _Shape) -> Select[Any]:
    """The number of entities under a path prefix. Counting stops above `_FEW`."""
    mapping = _BY_TABLE[table]
    some = select(literal(1)).select_from(mapping.table).where(*_conditions(mapping, shape), *_under(mapping))
    return select(func.count()).select_from(some.limit(_FEW + 1).subquery())


@lru_cache(maxsize=16)
def _value_at(table: str, field: str, shape: _Shape) -> Select[Any]:
    mapping = _BY_TABLE[table]
    column = _order_column(mapping, field)
    place = bindparam("place", type_=Integer)
    return select(column).where(*_conditions(mapping, shape)).order_by(column).limit(1).offset(place)


@lru_cache(maxsize=1024)
def _count(table: str, shape: _Shape) -> Select[Any]:
    mapping = _BY_TABLE[table]
    return select(func.count()).select_from(mapping.table).where(*_conditions(mapping, shape))


class StoreTx(StoreReader):
    """`ports.Tx`: writes in the transaction of `conn`, and collects the changes for feed and cache.

    Directory writers are serialised from here to the end of their transactions, on PostgreSQL by an advisory lock. So a
    condition that an operation has checked ("not attached", "under the quota") still holds when it writes. Call `flush`
    last in the transaction, then hand `changes` to the local cache once it has committed. `wrote`: whether anything was
    written, even if it is not announced. `proofs`: the one-time proofs that it has consumed.

    Args:
        conn: in a transaction of `Database.write_transaction`, or in a savepoint of it.
        now: ms; the time of the feed entries.
        locked: the transaction has taken the lock (`directory_lock`).
    """

    def __init__(self, conn: Connection, now: int, *, locked: bool = False) -> None:
        super().__init__(conn)
        self._now = now
        self._pending: list[FeedChange] = []
        self.changes: list[FeedChange] = []
        self.wrote = False
        self.proofs: list[ReplayEntry] = []
        if not locked:
            take_lock(conn)

    def insert(self, entity: Any) -> None:
        """Raises DaypassError: ALREADY_EXISTS when a unique key exists. The transaction can continue."""
        mapping = ENTITY_TABLES[type(entity)]
        self._write(insert(mapping.table).values(_row(mapping, entity)), entity)
        self._announce(mapping, mapping.keys(entity), entity)

    def insert_if_absent(self, entity: Any) -> bool:
        """Inserts an entity that is not announced; False when a unique key exists. It needs no savepoint."""
        mapping = ENTITY_TABLES[type(entity)]
        if mapping.announced:
            raise TypeError(f"{type(entity).__name__} is announced")
        self.wrote = True
        inserted = insert_if_absent(self._conn, mapping.table, _row(mapping, entity))
        if inserted and isinstance(entity, ReplayEntry):
            self.proofs.append(entity)
        return inserted

    def replace(self, entity: Any) -> None:
        """Raises DaypassError: NOT_FOUND when there is no such entity, ALREADY_EXISTS when the new name exists."""
        mapping = ENTITY_TABLES[type(entity)]
        old = self._stored(mapping, entity)
        if old is None:
            raise _not_found(entity)
        _refuse_fixed(mapping, old, entity)
        row = _row(mapping, entity)
        self._write(update(mapping.table).where(*_identity(mapping, entity)).values(row), entity)
        self._announce(mapping, tuple(dict.fromkeys((*mapping.keys(old), *mapping.keys(entity)))), entity)

    def delete(self, entity: Any) -> None:
        """Raises DaypassError(NOT_FOUND) when it does not exist or has changed."""
        mapping = ENTITY_TABLES[type(entity)]
        if mapping.changeable is not None:
            raise TypeError(f"{type(entity).__name__} is never deleted")
        if self._stored(mapping, entity) != entity:
            raise _not_found(entity)
        self._conn.execute(delete(mapping.table).where(*_identity(mapping, entity)))
        self._announce(mapping, mapping.keys(entity), entity)

    def flush(self) -> None:
        """Assigns positions to the changes since the last flush. Call it last, because it locks the feed until
        commit.
        """
        placed = append(self._conn, self._pending, self._now)
        self._pending = []
        placed = list(map(self._with_position, placed))
        self.changes += placed
        if revocations := [change.revocation for change in placed if change.revocation is not None]:
            self._conn.info.setdefault(REVOCATIONS, []).extend(revocations)

    def _with_position(self, change: FeedChange) -> FeedChange:
        """The revocation of a change, with the position of the change."""
        if change.revocation is None:
            return change
        revocations = ENTITY_TABLES[Revocation].table
        same = revocations.c.id == change.revocation.id
        self._conn.execute(update(revocations).where(same).values(position=change.position))
        return replace(change, revocation=replace(change.revocation, position=change.position))

    def _write(self, statement: Any, entity: Any) -> None:
        try:
            with self._conn.begin_nested():
                self._conn.execute(statement)
        except IntegrityError as error:
            name = type(entity).__name__
            raise DaypassError(ErrorKind.ALREADY_EXISTS, f"{name} already exists.", private={"entity": name}) from error

    def _stored(self, mapping: EntityTable, entity: Any) -> Any:
        query = select(*mapping.columns).where(*_identity(mapping, entity))
        row = self._conn.execute(query).one_or_none()
        return None if row is None else mapping.to_entity(row)

    def _announce(self, mapping: EntityTable, keys: tuple[str, ...], entity: Any) -> None:
        self.wrote = True
        if not mapping.announced:
            return
        account = entity.id if mapping.table.name == "accounts" else entity.account
        revocation = entity if isinstance(entity, Revocation) else None
        self._pending.append(FeedChange(0, mapping.table.name, account, keys, revocation))


def _row(mapping: EntityTable, entity: Any) -> dict[str, Any]:
    row = mapping.to_row(entity)
    if not all(map(storable, row.values())):
        raise DaypassError(ErrorKind.INVALID_INPUT, "The request contains characters that cannot be stored.")
    return row


def _identity(mapping: EntityTable, entity: Any) -> list[ColumnElement[bool]]:
    return [mapping.table.c[name] == getattr(entity, name) for name in mapping.primary]


def _refuse_fixed(mapping: EntityTable, old: Any, new: Any) -> None:
    if mapping.changeable is not None:
        changes = {name: getattr(new, name) for name in mapping.changeable}
        if replace(old, **changes) != new:
            raise TypeError(f"of {type(new).__name__} only {', '.join(sorted(mapping.changeable))} may change")


def _not_found(entity: Any) -> DaypassError:
    name = type(entity).__name__
    return DaypassError(ErrorKind.NOT_FOUND, f"{name} not found.", private={"entity": name})


def end_all_sessions(conn: Connection, now: int, reason: str = LOST) -> None:
    """Revokes every session of every account, as of `now` (ms), in a database that was restored."""
    end_sessions_of_all_accounts(StoreTx(conn, now), now, reason)
    forget_session_keys(conn)


def forget_session_keys(conn: Connection) -> None:
    """The keys of sessions and tokens go, and a start makes new ones: the original of a copy may still run, and must not
    accept what the administrators of the copy issue (attack A441).
    """
    conn.execute(delete(ring_keys).where(ring_keys.c.verify_until < FOR_EVER))


def restore_revocations(tx: StoreTx, kept: Sequence[Revocation]) -> int:
    """Restores revocations that the database lacks or has in an earlier state, at new positions; returns their number."""
    restored = 0
    for revocation in kept:
        stored = tx.get(Revocation, id=revocation.id)
        if stored is None:
            tx.insert(revocation)
        elif stored.issued_before < revocation.issued_before or (
            revocation.block and not stored.block and stored.position < revocation.position
        ):  # otherwise another process restored it
            tx.replace(replace(revocation, position=stored.position))
        else:
            continue
        restored += 1
    tx.flush()
    return restored


def end_sessions_of_all_accounts(tx: StoreTx, now: int, reason: str) -> None:
    """The same, within a change that goes through the journal."""
    for account in tx.find(Account, limit=_EVERY):
        every = (secrets.token_hex(16), account.id, "account", account.id)
        tx.insert(Revocation(*every, issued_before=now, created_at=now, reason=reason, created_by="daypass"))
    tx.flush()
