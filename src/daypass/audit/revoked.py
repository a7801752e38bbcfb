"""Finds the sessions that revocations may have ended by their columns, so that the others are not decoded.

The condition may match too many sessions, never too few: `RevocationIndex` decides about each. The row of a session holds
its own principal, the original principal and the number of role sessions in its chain. Whatever names another hop of the
chain can only match a session with at least two role sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, TypeAlias

from sqlalchemy import ColumnElement, Connection, and_, false, or_, select, true, union

from daypass.audit.columns import searchable
from daypass.domain.directory import AccessKey, Grant, Revocation
from daypass.domain.revocation_index import SUBJECT_TABLES
from daypass.domain.session import SessionKind
from daypass.stores.entities import ENTITY_TABLES
from daypass.stores.records import sessions

Condition: TypeAlias = ColumnElement[bool]
_MAX_VALUES: Final = 10_000  # values in one statement
_CHAINED: Final = 2
_s = sessions.c


def may_be_revoked(conn: Connection, revocations: Sequence[Revocation]) -> Condition | None:
    """A condition that every session meets which one of these revocations ended; None when the columns cannot tell."""
    conditions = _conditions(conn, revocations)
    return None if conditions is None else or_(false(), *conditions)


def active_sessions(conn: Connection, revocations: Sequence[Revocation], now: int, most: int) -> list[str]:
    """Ids of sessions that have not expired and that one of these revocations may have ended.

    Each condition is a query of its own, so that the index of active sessions answers it alone.
    """
    active = _s.expires_at > now
    conditions = _conditions(conn, revocations)
    each = (
        select(_s.session_id).where(active, condition).limit(most).subquery()
        for condition in ([true()] if conditions is None else conditions)
    )
    found = union(*(select(rows.c.session_id) for rows in each)).limit(most)
    return [row.session_id for row in conn.execute(found)]


def _conditions(conn: Connection, revocations: Sequence[Revocation]) -> list[Condition] | None:
    """Every session that one of these revocations ended meets one of the conditions; None when the columns cannot tell."""
    by_table: dict[str, set[str]] = {}
    for revocation in revocations:
        by_table.setdefault(SUBJECT_TABLES[revocation.subject], set()).add(revocation.value)
    values = [value for subjects in by_table.values() for value in subjects]
    if (
        len(values) > _MAX_VALUES
        or any(searchable(value) != value for value in values)
        or not by_table.keys() <= _OWN.keys()
    ):
        return None
    conditions = []
    for table, subjects in by_table.items():
        own = _OWN[table](conn, subjects)
        if own is None:
            return None
        conditions += own
    return [*conditions, _s.depth >= _CHAINED] if conditions else []


def _of_principals(_conn: Connection, ids: Collection[str]) -> list[Condition]:
    return [_s.principal_id.in_(ids), _s.root_principal_id.in_(ids)]


def _of_sessions(conn: Connection, ids: Collection[str]) -> list[Condition] | None:
    """The sessions, and those that a user's own session gave: these have the same original principal."""
    query = select(_s.session_id, _s.kind, _s.root_principal_id).where(_s.session_id.in_(ids))
    rows = conn.execute(query).all()
    if len(rows) < len(ids):
        return None  # one that is not on the record yet may be anywhere in a chain
    roots = {row.root_principal_id for row in rows if row.kind != SessionKind.ROLE.value}
    return [_s.session_id.in_(ids), _s.root_principal_id.in_(roots)]


def _of_access_keys(conn: Connection, ids: Collection[str]) -> list[Condition] | None:
    """A long-term key signs only as its owner, who is then the original principal."""
    access_keys = ENTITY_TABLES[AccessKey].table
    query = select(access_keys.c.id, access_keys.c.owner_id).where(access_keys.c.id.in_(ids))
    owners = {row.id: row.owner_id for row in conn.execute(query)}
    return [_s.root_principal_id.in_(set(owners.values()))] if owners.keys() == set(ids) else None


def _of_grants(conn: Connection, ids: Collection[str]) -> list[Condition] | None:
    """A grant is for one role and one original principal."""
    grants = ENTITY_TABLES[Grant].table
    query = select(grants.c.id, grants.c.role_id, grants.c.principal_id).where(grants.c.id.in_(ids))
    rows = conn.execute(query).all()
    if len(rows) < len(ids):
        return None
    roles, persons = {row.role_id for row in rows}, {row.principal_id for row in rows}
    return [and_(_s.principal_id.in_(roles), _s.root_principal_id.in_(persons))]


_OWN: Final[Mapping[str, Callable[[Connection, Collection[str]], list[Condition] | None]]] = {
    "session": _of_sessions,
    "principal": _of_principals,
    "access_key": _of_access_keys,
    "grant": _of_grants,
}
"""The conditions for the values of each table of `RevocationIndex`. Accounts, source identities and clients have none."""
