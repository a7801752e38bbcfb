"""Ring keys and facts of the installation."""

from __future__ import annotations

from typing import Any

from tests.contract.making import NOW

from daypass.ports.directory import StoredKey
from daypass.stores.engine import Database
from daypass.stores.meta import get_meta, put_meta
from daypass.stores.nodes import insert_ring_key, load_ring_keys


def ring_key(**fields: Any) -> StoredKey:
    return StoredKey(
        **{
            "ring": "sealing",
            "id": "00" * 8,
            "wrapped": bytes(range(256)),
            "not_before": NOW,
            "sign_until": NOW + 1,
            "verify_until": 2**53,
            "created_at": NOW,
            **fields,
        }
    )


def put(database: Database, row: StoredKey) -> bool:
    with database.write_transaction() as conn:
        return insert_ring_key(conn, row)


def test_ring_keys_round_trip_by_ring_and_time(database: Database) -> None:
    rows = [ring_key(), ring_key(id="11", not_before=NOW - 1), ring_key(ring="derivation")]
    assert all(put(database, row) for row in rows)
    assert database.read(load_ring_keys) == [rows[2], rows[1], rows[0]]


def test_ring_key_of_a_taken_time_or_id_loses_to_the_first(database: Database) -> None:
    assert put(database, ring_key())
    assert not put(database, ring_key(id="11"))
    assert not put(database, ring_key(not_before=NOW + 9))
    assert database.read(load_ring_keys) == [ring_key()]


def test_put_meta_replaces_the_value(database: Database) -> None:
    with database.write_transaction() as conn:
        put_meta(conn, "a", "1")
        put_meta(conn, "a", "2")
    assert database.read(lambda conn: [get_meta(conn, key) for key in "ab"]) == ["2", None]
