"""Loads many views from one snapshot with a few statements, not with a few for each view.

Rows that the views of a batch need (principals, their policies, the policies' texts) are read in advance with one
statement for each kind. The loaders of `views` then find them here. The result must not differ from that of a plain
reader.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ARRAY, Connection, Select, Text, any_, bindparam, func, select
from sqlalchemy.exc import SQLAlchemyError

from daypass.domain.directory import (
    AccessKey,
    Attachment,
    Grant,
    Group,
    InlinePolicy,
    ManagedPolicy,
    Membership,
    PolicyVersion,
    Role,
    User,
)
from daypass.domain.errors import DaypassError
from daypass.ports.directory import Reader
from daypass.stores.entities import ENTITY_TABLES, NAME_KEY, ascii_lower
from daypass.stores.feed import feed_head
from daypass.stores.log_heads import FeedHead
from daypass.stores.tx import StoreReader, storable
from daypass.stores.views import Loaded

E = TypeVar("E")
Load = Callable[[Reader], Loaded]

MIN_READ_AHEAD = 3
"""Minimum number of views in a batch. For fewer, separate statements are as fast."""

_ORDERS: Mapping[type[Any], str] = {InlinePolicy: "name", Attachment: "policy_arn", Membership: "group_id"}
"""Kinds that belong to an owner, and the order in which the loaders ask for them."""


_NOT_STORED = "arn:aws:iam::aws:policy/"
"""Managed policies that come with Daypass."""


class LoadedBatch(NamedTuple):
    """The result of a batch as of `head`: for each key the view, or the error that its loader raised.

    `ahead`: views that nobody has asked for yet, but will (see `Loaded.next`).
    """

    head: FeedHead
    loaded: Mapping[str, Loaded | Exception]
    ahead: Mapping[str, Loaded]


def load_batch(loads: Mapping[str, Load], is_loaded: Callable[[str], bool], conn: Connection) -> LoadedBatch:
    """Runs the loaders, by cache key, in the snapshot of `conn`. An error in one view does not affect the others.

    `is_loaded`: whether the view under a key need not be read ahead. Another thread may change what it returns.
    """
    head = feed_head(conn)
    reader = ReadAhead(conn)
    if len(loads) >= MIN_READ_AHEAD:
        reader.read_ahead(loads, is_loaded)
    loaded = {key: _loaded(load, reader) for key, load in loads.items()}
    ahead: dict[str, Loaded] = {}
    for each in loaded.values():
        if isinstance(each, Loaded) and each.next is not None:
            key, load = each.next
            if key not in loaded and key not in ahead and not is_loaded(key):
                view = _loaded(load, reader)
                if isinstance(view, Loaded):  # a later load of this view reports its error
                    ahead[key] = view
    return LoadedBatch(head, loaded, ahead)


def _loaded(load: Load, reader: Reader) -> Loaded | Exception:
    try:
        return load(reader)
    except (SQLAlchemyError, DaypassError):  # the snapshot is broken, not the view
        raise
    except Exception as error:  # noqa: BLE001  # raised again for those who wait for this view
        return error


class ReadAhead(StoreReader):
    """A reader that uses rows read in advance, and otherwise the database."""

    def __init__(self, conn: Connection) -> None:
        super().__init__(conn)
        self._ahead: dict[tuple[type[Any] | str, ...], dict[tuple[Any, ...], list[Any]]] = {}
        self._found: dict[tuple[Any, ...], list[Any]] = {}

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
        """See `StoreReader.find`."""
        if not (path_prefix or after) and order == _ORDERS.get(kind, ""):
            ahead = self._ahead.get((kind, *equals))
            if ahead is not None:
                found = ahead.get(tuple(equals.values()))
                if found is None and "name" in equals:
                    found = ahead.get(tuple([_folded(name, value) for name, value in equals.items()]))
                if found is not None:
                    return found[:limit]
        # Many views ask the same, such as all users of an account for its password policy.
        asked = (kind, order, path_prefix, after, limit, *equals.items())
        if asked not in self._found:
            self._found[asked] = super().find(
                kind, order=order, path_prefix=path_prefix, after=after, limit=limit, **equals
            )
        return [*self._found[asked]]

    def read_ahead(self, keys: Collection[str], is_loaded: Callable[[str], bool]) -> None:
        """Reads the rows that the views under these cache keys, and those that follow them, need."""
        by_kind: dict[str, list[str]] = {}
        for key in keys:
            kind, _, rest = key.partition(":")
            by_kind.setdefault(kind, []).append(rest)
        access_keys = self._by(AccessKey, "id", by_kind.get("access_key", ()))
        owners = {key.owner_id for key in access_keys}
        users = self._by(User, "id", {*by_kind.get("user", ()), *owners})
        roles = [*self._by(Role, "id", by_kind.get("role", ())), *self._roles_by_name(by_kind.get("role_name", ()))]
        user_ids = {*by_kind.get("user", ()), *(owner for owner in owners if not is_loaded(f"user:{owner}"))}
        groups = self._by(Membership, "user_id", user_ids)
        self._by(Group, "id", {membership.group_id for membership in groups})
        holders = {*user_ids, *(role.id for role in roles), *(membership.group_id for membership in groups)}
        self._by(InlinePolicy, "owner_id", holders)
        attached = self._by(Attachment, "owner_id", holders)
        self._open_grants({role.id for role in roles})
        principals: list[User | Role] = [*users, *roles]
        boundaries = {principal.boundary_arn for principal in principals if principal.boundary_arn}
        arns = {*(attachment.policy_arn for attachment in attached), *boundaries}
        self._policies([arn for arn in arns if not arn.startswith(_NOT_STORED)])

    def _open_grants(self, role_ids: Collection[str]) -> None:
        """Grants of these roles that have not ended."""
        ahead: dict[tuple[Any, ...], list[Any]] = {(role_id, 0): [] for role_id in role_ids}
        for grant in self._rows(Grant, "role_id", role_ids, ended_at=0):
            ahead[grant.role_id, 0].append(grant)
        self._ahead[Grant, "role_id", "ended_at"] = ahead

    def _policies(self, arns: Collection[str]) -> None:
        """Managed policies and the text of their default versions."""
        policies = self._by(ManagedPolicy, "arn", arns)
        defaults = {(policy.id, policy.default_version) for policy in policies}
        ahead: dict[tuple[Any, ...], list[Any]] = {default: [] for default in defaults}
        for version in self._rows(PolicyVersion, "policy_id", {policy.id for policy in policies}):
            place = (version.policy_id, version.version)
            if place in ahead:
                ahead[place].append(version)
        self._ahead[PolicyVersion, "policy_id", "version"] = ahead

    def _roles_by_name(self, places: Collection[str]) -> list[Role]:
        """Roles by ACCOUNT:NAME, the name folded."""
        names: dict[str, set[str]] = {}
        ahead: dict[tuple[Any, ...], list[Any]] = {}
        for place in places:
            account, _, name = place.partition(":")
            names.setdefault(account, set()).add(name)
            ahead[account, name] = []
        roles = [role for account in names for role in self._rows(Role, NAME_KEY, names[account], account=account)]
        for role in roles:
            ahead[role.account, ascii_lower(role.name)].append(role)
        self._ahead[Role, "account", "name"] = ahead
        return roles

    def _by(self, kind: type[E], field: str, values: Collection[str]) -> list[E]:
        """Reads all entities with one of these values. Values without an entity are also remembered."""
        ahead: dict[tuple[Any, ...], list[Any]] = {(value,): [] for value in values}
        entities = self._rows(kind, field, values)
        for entity in entities:
            ahead[(getattr(entity, field),)].append(entity)
        self._ahead[kind, field] = ahead
        return entities

    def _rows(self, kind: type[E], field: str, values: Collection[str], **equals: str | int) -> list[E]:
        storable_values = list(filter(storable, values))  # one key that no database can hold would fail the whole batch
        if not storable_values:
            return []
        mapping, on_sqlite = ENTITY_TABLES[kind], self._conn.dialect.name == "sqlite"
        statement = _statement(mapping.table.name, field, _ORDERS.get(kind, ""), tuple(equals), on_sqlite)
        parameters = {"values": json.dumps(storable_values) if on_sqlite else storable_values, **equals}
        rows = self._conn.execute(statement, parameters).all()  # one by one takes twice as long
        return [mapping.to_entity(row) for row in rows]


def _folded(name: str, value: Any) -> Any:
    return ascii_lower(value) if name == "name" and isinstance(value, str) else value


_BY_TABLE = {mapping.table.name: mapping for mapping in ENTITY_TABLES.values()}


@lru_cache(maxsize=64)  # building a statement costs more than running it
def _statement(table: str, field: str, order: str, equals: tuple[str, ...], on_sqlite: bool) -> Select[Any]:  # noqa: FBT001  # a cache's key
    """One text for any number of values, so that the database prepares it once."""
    mapping = _BY_TABLE[table]
    column = NAME_KEY if mapping.folds and order == "name" else order
    conditions = [mapping.table.c[name] == bindparam(name) for name in equals]
    values = bindparam("values", type_=Text() if on_sqlite else ARRAY(Text()))
    each = select(func.json_each(values).table_valued("value").c.value)
    found = mapping.table.c[field].in_(each) if on_sqlite else mapping.table.c[field] == any_(values)
    query = select(*mapping.columns).where(found, *conditions)
    places = [mapping.table.c[column]] if column else []
    return query.order_by(*places, *mapping.table.primary_key.columns)
