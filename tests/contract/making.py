"""Entities, writes and clocks for the contract suite."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import Field, fields
from typing import Any, TypeVar

from tests.patience import SECONDS

from daypass.domain.directory import AccessKey, Account, KeyStatus, ManagedPolicy, RequestState, Revocation, Role, User
from daypass.domain.session import FeedPosition, Hop, SessionClaims, SessionKind
from daypass.stores.cache import Tuning
from daypass.stores.directory import Directory
from daypass.stores.engine import Database
from daypass.stores.entities import ENTITY_TABLES
from daypass.stores.feed import FeedChange
from daypass.stores.tx import StoreReader, StoreTx

T = TypeVar("T")

ACCOUNT = "111122223333"
OTHER = "444455556666"
NOW = 1_800_000_000_000
ALLOW = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}'
DENY = '{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"s3:*","Resource":"*"}}'
TRUST = (
    '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole",'
    '"Principal":{"AWS":"arn:aws:iam::111122223333:root"}}}'
)
BUILTIN = {"arn:aws:iam::aws:policy/AdministratorAccess": ALLOW}


def role(name: str = "Deploy", **fields: Any) -> Role:
    return Role(
        **{
            "id": f"AROA{name.upper():X<17}"[:21],
            "account": ACCOUNT,
            "name": name,
            "path": "/",
            "created_at": NOW,
            "trust_document": TRUST,
            **fields,
        }
    )


def user(name: str = "alice", **fields: Any) -> User:
    default = {"id": f"AIDA{name.upper():X<17}"[:21], "account": ACCOUNT, "name": name, "path": "/", "created_at": NOW}
    return User(**{**default, **fields})


def policy(name: str = "Readers", **fields: Any) -> ManagedPolicy:
    default = {
        "id": f"ANPA{name.upper():X<17}"[:21],
        "account": ACCOUNT,
        "arn": f"arn:aws:iam::{ACCOUNT}:policy/{name}",
        "name": name,
        "path": "/",
        "created_at": NOW,
        "updated_at": NOW,
    }
    return ManagedPolicy(**{**default, **fields})


def revocation(subject: str, value: str, **fields: Any) -> Revocation:
    default = {"id": f"rev-{subject}-{value}", "account": ACCOUNT, "issued_before": 0, "created_at": NOW}
    return Revocation(**{**default, "subject": subject, "value": value, **fields})


def key(key_id: str, owner_id: str, **fields: Any) -> AccessKey:
    default = {
        "account": ACCOUNT,
        "status": KeyStatus.ACTIVE,
        "sealed_secret": b"sealed:secret of " + key_id.encode(),
        "created_at": NOW,
        "status_changed_at": NOW,
    }
    return AccessKey(**{**default, "id": key_id, "owner_id": owner_id, **fields})


def one_of_each() -> list[Any]:
    """An entity of every kind, each field set to something that is not its default."""
    return [_filled(kind) for kind in ENTITY_TABLES]


def _filled(kind: type[Any]) -> Any:
    """The account is `ACCOUNT`. Names have capital letters, because they are folded."""
    values = {field.name: _value_of(field, number) for number, field in enumerate(fields(kind), 1)}
    values["id" if kind is Account else "account"] = ACCOUNT
    return kind(**values | _OF_ITS_KIND.get(kind, {}))


def _value_of(field: Field[Any], number: int) -> Any:
    if str(field.type).startswith("bool"):
        return field.default is not True
    if found := re.fullmatch(
        r"tuple\[tuple\[(.*)\], \.\.\.\]", str(field.type).replace("Tags", "tuple[tuple[str, str], ...]")
    ):
        row = tuple(f"Größe {part}" for part in range(max(2, found[1].count("str"))))
        return (row, row[::-1])
    return _VALUES[str(field.type).removesuffix(" | None")](f"{field.name.title()} \r\n\x01 Größe {number}", number)


_VALUES: dict[str, Callable[[str, int], Any]] = {
    "str": lambda text, _: text,
    "int": lambda _, number: NOW + number,
    "bytes": lambda _, __: bytes(range(256)),
    "tuple[str, ...]": lambda text, _: (text, "b"),
    "KeyStatus": lambda _, __: KeyStatus.INACTIVE,
    "RequestState": lambda _, __: RequestState.APPROVED,
}
_OF_ITS_KIND: dict[type[Any], dict[str, Any]] = {Revocation: {"subject": "role", "value": "AROA1", "position": 1}}


def write(database: Database, *steps: Callable[[StoreTx], object], now: int = NOW) -> list[FeedChange]:
    """Runs the steps in one committed transaction; returns its changes."""
    with database.write_transaction() as conn:
        tx = StoreTx(conn, now)
        for step in steps:
            step(tx)
        tx.flush()
    return tx.changes


def insert(database: Database, *entities: Any, now: int = NOW) -> list[FeedChange]:
    return write(database, *(lambda tx, e=entity: tx.insert(e) for entity in entities), now=now)


def read(database: Database, query: Callable[[StoreReader], T]) -> T:
    return database.read(lambda conn: query(StoreReader(conn)))


class Recorder:
    """A clock, a monotonic clock and a sealer for directories under test."""

    def __init__(self) -> None:
        self.wall = NOW
        self.seconds = 1000.0

    def now(self) -> int:
        return self.wall

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        await asyncio.sleep(0)

    def open_secret(self, sealed: bytes, account: str, owner_id: str) -> bytes:
        assert account == ACCOUNT
        assert owner_id
        if not sealed.startswith(b"sealed:"):
            raise ValueError("altered")
        return sealed.removeprefix(b"sealed:")

    def directory(self, database: Database, **options: Any) -> Directory:
        """A directory that polls only when it is told to, unless `poll_seconds` says otherwise.

        Then its background tasks sleep in real time: each of them would advance the clock for the others, until the data
        are too old.
        """
        tuning = Tuning(
            monotonic=self.monotonic,
            sleep=asyncio.sleep if options.get("poll_seconds") else self.sleep,
            poll_timeout_seconds=SECONDS,
            **{name: options.pop(name) for name in ("absent", "absent_seconds") if name in options},
        )
        options = {"poll_seconds": 0, "builtin": BUILTIN, **options}
        return Directory(database, self, self, tuning=tuning, **options)


def session(seen: FeedPosition, principal_id: str, *, issued_at: int = NOW, account: str = ACCOUNT) -> SessionClaims:
    """Claims of a role session whose issuer had `seen` that much."""
    first = Hop("", account, "AIDA1", issued_at, seen, "AKIA1")
    own = Hop("0" * 32, account, principal_id, issued_at, seen, "ASIA1")
    return SessionClaims(
        kind=SessionKind.ROLE,
        session_id="0" * 32,
        account=account,
        principal_id=principal_id,
        arn="arn",
        name="s",
        issued_at=issued_at,
        expires_at=issued_at + 3_600_000,
        seen=seen,
        hops=(first, own),
    )
