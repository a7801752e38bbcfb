"""A node's notes on its own disk, compared with a database that has lost them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyotp
import pytest
from sqlalchemy import text
from tests.attack.installation import ALPHA, EVERYTHING, Answer, Installation, SetClock, document, form, installed
from tests.attack.tokens import provider, trust_in, web_identity
from tests.contract.making import NOW
from tests.integration.audit.making import ACCOUNT, event
from tests.integration.audit.test_journal import add_account
from tests.integration.audit.test_lost import journal_on
from tests.issuer import Issuer
from tests.saml_idp import AWS_ACS, Response, metadata

from daypass.domain.directory import Revocation
from daypass.ports.directory import StoredKey
from daypass.server.application import build
from daypass.server.runtime import Runtime
from daypass.stores import acknowledged
from daypass.stores.acknowledged import Acknowledged
from daypass.stores.engine import Database, open_database
from daypass.stores.log_heads import LogHead, Losses, read_heads
from daypass.stores.meta import get_meta, missing_events, put_meta
from daypass.stores.migrations import prepare
from daypass.stores.nodes import insert_ring_key, load_ring_keys
from daypass.stores.tx import StoreReader, StoreTx

HEADS = [LogHead(f"{n:032x}", n, bytes([n]) * 32, NOW + n) for n in range(3)]


def block(name: str, *, lifted: bool = False) -> Revocation:
    return Revocation(name, ACCOUNT, "access_key", name, NOW, NOW, block=not lifted)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "data" / "acknowledged"


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, base: Path) -> Iterator[Callable[[], Database]]:
    """Opens the database as another process of the node does."""
    url = f"sqlite:///{tmp_path}/daypass.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with ExitStack() as stack:

        def open_() -> Database:
            database = open_database(url, acknowledged=base)
            stack.callback(database.close)
            return database

        yield open_


async def test_h1_start_restores_revocations_ends_sessions_and_counts_what_the_database_has_lost(
    opened: Callable[[], Database],
) -> None:
    database = opened()
    prepare(database, NOW)
    journal = await journal_on(database)
    await journal.write(add_account("one", ACCOUNT))
    await journal.commit(event())
    epoch = database.epoch()
    for revocation in (block("AKIABLOCKED"), block("AKIALIFTED")):
        with database.write_transaction() as conn:
            tx = StoreTx(conn, NOW)
            tx.insert(revocation)
            tx.flush()
    with database.write_transaction() as conn:
        tx = StoreTx(conn, NOW)
        stored = tx.find(Revocation, id="AKIALIFTED")[0]
        tx.replace(replace(stored, block=False))
        tx.flush()
    await journal.commit(event())
    await journal.close()
    with database.write_transaction() as conn:
        conn.execute(text("DELETE FROM audit_records WHERE seq > 2"))
        conn.execute(text("DELETE FROM revocations"))
    restarted = opened()
    found = prepare(restarted, NOW + 5)
    assert (found.losses.missing, len(found.losses.heads), found.revocations) == (2, 1, 2)
    assert 0 < found.losses.since <= found.losses.until
    assert restarted.epoch() != epoch
    stored = {each.value: each for each in restarted.read(lambda conn: StoreReader(conn).find(Revocation))}
    assert {name: each.block for name, each in stored.items()} == {
        "AKIABLOCKED": True,
        "AKIALIFTED": False,
        ACCOUNT: False,
    }
    assert (stored[ACCOUNT].subject, stored[ACCOUNT].issued_before) == ("account", NOW + 5)
    assert restarted.read(missing_events) == 2
    assert prepare(opened(), NOW + 6).losses == Losses()  # it is reported once


async def test_start_on_a_database_that_has_everything_changes_nothing(opened: Callable[[], Database]) -> None:
    database = opened()
    prepare(database, NOW)
    journal = await journal_on(database)
    await journal.commit(event())
    await journal.close()
    epoch = database.epoch()
    found = prepare(opened(), NOW)
    assert (found.replaced, found.losses, database.epoch()) == (False, Losses(), epoch)


async def test_notes_about_another_installation_are_forgotten(
    postgres_url: str, base: Path, opened: Callable[[], Database]
) -> None:
    notes = Acknowledged(base)
    notes.note_log(HEADS[1])
    notes.keep([block("AKIA")])
    database = open_database(postgres_url, acknowledged=base)
    try:
        assert prepare(database, NOW).losses == Losses()
    finally:
        database.close()
    assert (notes.heads(), notes.kept(NOW)) == ([], [])
    notes.close()


def test_processes_of_a_node_note_their_logs_beside_each_other(base: Path) -> None:
    processes = [Acknowledged(base) for _ in HEADS]
    for process, head in zip(processes, HEADS, strict=True):
        process.note_log(head)
    for process, head in zip(processes, HEADS, strict=True):
        process.note_log(LogHead(head.log, head.seq + 10, head.chain, head.at))
        process.join()
    assert [head.seq for head in read_heads(base)] == [10, 11, 12]
    fresh = Acknowledged(base)
    assert fresh.others()
    fresh.forget(fresh.heads()[:1])
    assert [head.seq for head in fresh.heads()] == [11, 12]
    for process in (*processes, fresh):
        process.close()


def test_kept_revocations_are_compacted_to_the_newest_state_of_those_that_matter(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acknowledged, "_COMPACTED_BYTES", 500)
    notes = Acknowledged(base)
    spent = replace(block("AKIASPENT", lifted=True), position=3, created_at=1, issued_before=1)
    for _ in range(20):
        notes.keep([block("AKIA"), spent])
    size = (base.parent / "acknowledged-revocations").stat().st_size
    assert size < 1500
    assert [each.value for each in notes.kept(NOW)] == ["AKIA"]
    with (base.parent / "acknowledged-revocations").open("ab") as file:
        file.write(b'{"id":"cut')  # the machine ended while it was written
    assert [each.value for each in notes.kept(NOW)] == ["AKIA"]
    notes.close()


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


Headers = list[tuple[bytes, bytes]]
Bring = Callable[[], tuple[Headers, bytes]]
"""Makes a request that brings the one proof: its headers and body."""
FORM: Headers = [(b"content-type", b"application/x-www-form-urlencoded"), (b"host", b"daypass.test")]


def token(site: Installation) -> Bring:
    issuer = Issuer(alg="ES256")
    role = site.role("once", trust_in(provider(site, issuer, one_time=True).arn))
    body = web_identity(role, issuer.token(site.now(), jti="7", exp=site.now() // 1000 + 3600))
    return lambda: (FORM, body)


def assertion(site: Installation) -> Bring:
    idp = f"arn:aws:iam::{ALPHA}:saml-provider/idp"
    site.iam("CreateSAMLProvider", Name="idp", SAMLMetadataDocument=metadata())
    condition = {"StringEquals": {"saml:aud": AWS_ACS}}
    trust = {"Principal": {"Federated": idp}, "Action": "sts:AssumeRoleWithSAML", "Condition": condition}
    role = site.role("federated", document(trust))
    response = Response(roles=[f"{role},{idp}"], subject="ann", now=site.now(), assertion_id="_a1", response_id="_r1")
    asked = {"RoleArn": role, "PrincipalArn": idp, "SAMLAssertion": response.encoded()}
    body = form("AssumeRoleWithSAML", asked)
    return lambda: (FORM, body)


def code(site: Installation) -> Bring:
    _, key = site.user("ann", policy=EVERYTHING)
    made = site.iam("CreateVirtualMFADevice", VirtualMFADeviceName="ann")
    app = pyotp.TOTP(base64.b64decode(made.text("Base32StringSeed")).decode())
    now, serial = site.now() // 1000, made.text("SerialNumber")
    codes = {"AuthenticationCode1": app.at(now - 60), "AuthenticationCode2": app.at(now - 30)}
    site.iam("EnableMFADevice", UserName="ann", SerialNumber=serial, **codes)
    body = form("GetSessionToken", {"SerialNumber": serial, "TokenCode": app.at(now)})
    return lambda: (site.signed(key, body), body)


@pytest.mark.parametrize(
    ("proof", "refusal"),
    [(token, (400, "InvalidIdentityToken")), (assertion, (400, "InvalidIdentityToken")), (code, (403, "AccessDenied"))],
)
def test_a19_a32_a82_hundred_redemptions_over_two_servers_get_one_session_and_none_after_a_restart(
    url: str, tmp_path: Path, proof: Callable[[Installation], Bring], refusal: tuple[int, str]
) -> None:
    wall = SetClock()
    settings = {"database": {"url": url}}
    with installed(tmp_path, wall, **settings) as site:
        bring = proof(site)
        second = Runtime(site.runtime.settings)
        site.run(second.start())
        try:
            other = replace(site, runtime=second, application=build(second))

            async def all_at_once() -> list[Answer]:
                return await asyncio.gather(*((site, other)[n % 2].ask("POST", *bring()) for n in range(100)))

            answers = site.run(all_at_once())
        finally:
            site.run(second.stop())
    told = sorted((answer.status, answer.code) for answer in answers)
    assert told == [(200, ""), *[refusal] * 99]
    with installed(tmp_path, wall, **settings) as site:
        again = site.send("POST", *bring())
        assert (again.status, again.code) == refusal
