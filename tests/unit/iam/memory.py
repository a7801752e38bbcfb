"""A directory in memory for tests of IAM operations: entities in a dict, snapshots, transactions that undo.

It keeps the promises of `ports.Tx`: unique names without regard to case, list order, paging, and no write that stays
when its change fails. Policies of callers are compiled from the same entities, so that authorization is the real one.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace
from tests.environment import environment
from tests.unit.operations.fakes import ALPHA, BETA, NOW, FixedClock, policy

from daypass.data import BuiltinPolicies
from daypass.domain.claims import Caller, PrincipalKind, RequestFacts
from daypass.domain.directory import (
    AccessKey,
    Account,
    Attachment,
    Guardrail,
    InlinePolicy,
    KeyStatus,
    ManagedPolicy,
    Membership,
    MfaDevice,
    PasswordPolicy,
    PolicyVersion,
    Role,
    User,
)
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event
from daypass.domain.policy.document import PolicyKind, compile_stored
from daypass.domain.policy.layers import NamedPolicy
from daypass.domain.session import FeedPosition, Hop, SessionClaims, SessionKind
from daypass.domain.trust import of_every_user
from daypass.federation.saml_metadata import SamlMetadata
from daypass.operations.crud_engine import perform
from daypass.operations.iam.service import IAM, OPERATIONS
from daypass.operations.outcome import refused
from daypass.ports import AccountView, Call, Limits, PrincipalView, RoleView
from daypass.ports.directory import KeyView
from daypass.stores.entities import ENTITY_TABLES

E = TypeVar("E")
T = TypeVar("T")

_PRIMARY: Mapping[type[Any], tuple[str, ...]] = {kind: table.primary for kind, table in ENTITY_TABLES.items()}
_FOLDED = tuple(kind for kind, table in ENTITY_TABLES.items() if table.folds)


def _value(kind: type[Any], name: str, value: Any) -> Any:
    return value.lower() if name == "name" and kind in _FOLDED else value


class MemoryTx:
    def __init__(self, rows: dict[tuple[Any, ...], Any]) -> None:
        self.rows = rows

    def _key(self, entity: Any) -> tuple[Any, ...]:
        return (type(entity), *(getattr(entity, name) for name in _PRIMARY[type(entity)]))

    def _matching(self, kind: type[Any], equals: Mapping[str, Any]) -> list[Any]:
        assert set(equals) <= {f.name for f in fields(kind)}
        return [
            row
            for key, row in self.rows.items()
            if key[0] is kind and all(_value(kind, n, getattr(row, n)) == _value(kind, n, v) for n, v in equals.items())
        ]

    def get(self, kind: type[E], **equals: Any) -> E | None:
        found = self._matching(kind, equals)
        assert len(found) < 2
        return found[0] if found else None

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
        descending, order = order.startswith("-"), order.removeprefix("-") or _PRIMARY[kind][0]

        def place(row: Any) -> Any:
            return _value(kind, order, getattr(row, order))

        found = [row for row in self._matching(kind, equals) if getattr(row, "path", "").startswith(path_prefix)]
        found.sort(key=place, reverse=descending)
        if after:
            edge = _value(kind, order, after)
            found = [row for row in found if (place(row) < edge if descending else place(row) > edge)]
        return found[:limit]

    def find_among(self, kind: type[E], field: str, values: Sequence[str], *, order: str, **equals: Any) -> list[E]:
        return [row for row in self.find(kind, order=order, **equals) if getattr(row, field) in values]

    def count(self, kind: type[Any], **equals: Any) -> int:
        return len(self._matching(kind, equals))

    def attached_policies(self, account: str) -> list[str]:
        return sorted({each.policy_arn for each in self._matching(Attachment, {"account": account})})

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
        raise NotImplementedError("tests that ask who can do something have a database")

    def names(self, kind: type[Any], account: str, part: str, limit: int) -> list[str]:
        raise NotImplementedError("tests that find something have a database")

    def value_at(self, kind: type[Any], field: str, place: int, **equals: Any) -> str:
        found = self.find(kind, order=field, limit=place + 1, **equals)
        return str(getattr(found[place], field)) if len(found) > place else ""

    def _unique(self, entity: Any) -> None:
        kind = type(entity)
        if kind in _FOLDED:
            taken = {"account": entity.account, "name": entity.name}
            if kind is MfaDevice:  # unique with its path
                taken["path"] = entity.path
            other = self.get(kind, **taken)
            if other is not None and self._key(other) != self._key(entity):
                raise DaypassError(ErrorKind.ALREADY_EXISTS, f"{kind.__name__} already exists.")

    def insert(self, entity: Any) -> None:
        self._unique(entity)
        if self._key(entity) in self.rows:
            raise DaypassError(ErrorKind.ALREADY_EXISTS, f"{type(entity).__name__} already exists.")
        self.rows[self._key(entity)] = entity

    def replace(self, entity: Any) -> None:
        if self._key(entity) not in self.rows:
            raise DaypassError(ErrorKind.NOT_FOUND, f"{type(entity).__name__} not found.")
        self._unique(entity)
        self.rows[self._key(entity)] = entity

    def delete(self, entity: Any) -> None:
        if self.rows.get(self._key(entity)) != entity:
            raise DaypassError(ErrorKind.NOT_FOUND, f"{type(entity).__name__} not found.")
        del self.rows[self._key(entity)]


def _named(name: str, text: str) -> NamedPolicy:
    return NamedPolicy(name, compile_stored(text, PolicyKind.IDENTITY))


class MemoryDirectory:
    """Views made from the rows at each look-up, and snapshots of them for reads."""

    def __init__(self, rows: dict[tuple[Any, ...], Any]) -> None:
        self.tx = MemoryTx(rows)
        self.before_read: list[Callable[[], None]] = []

    def seen(self) -> FeedPosition:
        return FeedPosition("one", 1)

    async def read(self, query: Callable[[Any], T], *, account: str, urgent: bool = False) -> T:
        if self.before_read:
            self.before_read.pop(0)()
        return query(MemoryTx(dict(self.tx.rows)))

    async def refresh(self) -> bool:
        return False

    def known_block(self, *_: Any) -> None:
        """Nobody is blocked."""

    def revoked(self, *_: Any) -> None:
        """No session is revoked."""

    async def access_key(self, key_id: str) -> KeyView:
        """Those of the callers are not stored, and active."""
        return KeyView(AccessKey(key_id, "", "", KeyStatus.ACTIVE, b"", 0, 0), "", None)

    async def account(self, account_id: str) -> AccountView | None:
        account = self.tx.get(Account, id=account_id)
        if account is None:
            return None
        rails = self.tx.find(Guardrail, account=account_id)
        levels = tuple((NamedPolicy(g.name, compile_stored(g.document, PolicyKind.GUARDRAIL)),) for g in rails)
        return AccountView(account, levels)

    def _text(self, arn: str) -> str:
        if arn in BuiltinPolicies():
            return BuiltinPolicies()[arn]
        policy = self.tx.get(ManagedPolicy, arn=arn)
        assert policy is not None
        version = self.tx.get(PolicyVersion, policy_id=policy.id, version=policy.default_version)
        assert version is not None
        return version.document

    def _policies(self, owner_id: str) -> list[NamedPolicy]:
        inline = [_named(p.name, p.document) for p in self.tx.find(InlinePolicy, owner_id=owner_id)]
        attached = self.tx.find(Attachment, order="policy_arn", owner_id=owner_id)
        return inline + [_named(a.policy_arn, self._text(a.policy_arn)) for a in attached]

    def _view(self, entity: User | Role) -> PrincipalView:
        owners = [entity.id, *(m.group_id for m in self.tx.find(Membership, order="group_id", user_id=entity.id))]
        identity = tuple(policy for owner in owners for policy in self._policies(owner))
        if isinstance(entity, User):
            identity += of_every_user(self.tx.get(PasswordPolicy, account=entity.account))
        boundary = (_named("boundary", self._text(entity.boundary_arn)),) if entity.boundary_arn else None
        return PrincipalView(entity, identity, boundary)

    async def user(self, user_id: str) -> PrincipalView | None:
        user = self.tx.get(User, id=user_id)
        return self._view(user) if user else None

    async def role_by_id(self, role_id: str) -> RoleView | None:
        role = self.tx.get(Role, id=role_id)
        if role is None:
            return None
        trust = NamedPolicy("trust", compile_stored(role.trust_document, PolicyKind.TRUST))
        return RoleView(role, trust, dict(role.trust_bindings), self._view(role))


class MemoryJournal:
    def __init__(self, rows: dict[tuple[Any, ...], Any]) -> None:
        self.events: list[Event] = []
        self._rows = rows

    async def commit(self, event: Event, session: Any = None, replays: Any = ()) -> None:
        assert session is None
        assert not replays
        self.events.append(event)

    async def write(self, change: Callable[[Any], tuple[T, Event]], **_: Any) -> T:
        copy = dict(self._rows)
        result, event = change(MemoryTx(copy))
        self._rows.clear()
        self._rows.update(copy)
        self.events.append(event)
        return result


class CountingIds:
    def __init__(self) -> None:
        self._count = 0

    def _digits(self, width: int) -> str:
        self._count += 1
        digest = hashlib.sha256(str(self._count).encode()).hexdigest().upper()
        return f"{self._count:04d}{digest}"[:width].translate(str.maketrans("0189", "ZYXW"))

    def unique(self, prefix: str) -> str:
        return prefix + self._digits(17)

    def access_key(self, prefix: str) -> str:
        return prefix + self._digits(16)

    def secret(self) -> str:
        return f"secret-{self._digits(33)}"

    def seed(self) -> bytes:
        return hashlib.sha512(self._digits(8).encode()).digest()[:40]

    def session(self) -> str:
        return self._digits(32)

    def request(self) -> str:
        return f"request-{self._digits(8)}"


class PlainSealer:
    def seal_secret(self, plaintext: bytes, account: str, owner_id: str) -> bytes:
        return b"|".join((account.encode(), owner_id.encode(), plaintext[::-1]))

    def open_secret(self, sealed: bytes, account: str, owner_id: str) -> bytes:
        prefix = b"|".join((account.encode(), owner_id.encode(), b""))
        if not sealed.startswith(prefix):
            raise ValueError("sealed for another owner")
        return sealed[len(prefix) :][::-1]

    def seal_message(self, account: str, payload: bytes) -> str:
        return f"sealed for {account}: {len(payload)}"


class PicklingWork:
    """Heavy work in this process, with everything pickled on the way there and back, as between processes."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def read(self, _account: str, work: Any, *args: Any, quick: bool = False) -> Any:
        work, args = pickle.loads(pickle.dumps((work, args)))
        scene = self._world.env.scene(self._world.tx)  # type: ignore[arg-type]
        return pickle.loads(pickle.dumps(work(scene, *args)))

    async def compute(self, _account: str, work: Any, *args: Any, quick: bool = False) -> Any:
        work, args = pickle.loads(pickle.dumps((work, args)))
        return pickle.loads(pickle.dumps(work(*args)))


@dataclass
class World:
    """Two accounts with nothing in them, and the way in for calls of IAM operations."""

    rows: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    clock: FixedClock = field(default_factory=FixedClock)
    ids: CountingIds = field(default_factory=CountingIds)

    def __post_init__(self) -> None:
        self.tx = MemoryTx(self.rows)
        self.directory = MemoryDirectory(self.rows)
        self.journal = MemoryJournal(self.rows)
        for account in (ALPHA, BETA):
            self.tx.insert(Account(account, "test", False, NOW))
        ports = (self.clock, self.ids, self.directory, self.journal, PlainSealer(), Limits())
        self.env = environment(*ports, saml_metadata=SamlMetadata(), heavy=PicklingWork(self))  # type: ignore[arg-type]

    def root(self, account: str = ALPHA) -> Caller:
        arn = f"arn:aws:iam::{account}:root"
        hop = Hop("", account, account, NOW, self.directory.seen(), "AKIAROOTROOTROOTROOT")
        seen = self.directory.seen()
        return Caller(PrincipalKind.ROOT, account, arn, arn, account, account, "root", hop.access_key_id, seen, (hop,))

    def as_user(self, name: str, account: str = ALPHA) -> Caller:
        user = self.tx.get(User, account=account, name=name)
        assert user is not None
        root = self.root(account)
        return replace(
            root,
            kind=PrincipalKind.USER,
            arn=user.arn,
            principal_arn=user.arn,
            user_id=user.id,
            principal_id=user.id,
            name=user.name,
            tags=user.tags,
        )

    def as_role(self, name: str, account: str = ALPHA) -> Caller:
        role = self.tx.get(Role, account=account, name=name)
        assert role is not None
        root = self.root(account)
        until = NOW + 3_600_000
        session = SessionClaims(
            SessionKind.ROLE, "5" * 32, account, role.id, role.arn, "session", NOW, until, root.seen, root.hops
        )
        return replace(
            root,
            kind=PrincipalKind.ROLE_SESSION,
            session=session,
            arn=f"arn:aws:sts::{account}:assumed-role/{role.name}/session",
            principal_arn=role.arn,
            user_id=f"{role.id}:session",
            principal_id=role.id,
            name="session",
        )

    async def call(self, name: str, caller: Caller | None = None, /, **params: Any) -> Mapping[str, Any]:
        """One call, by the root of ALPHA unless somebody else is named; refusals are recorded as the dispatcher does."""
        who = caller or self.root()
        facts = RequestFacts(self.ids.request(), self.clock.now(), f"iam:{name}", "192.0.2.7", "tests")
        try:
            return await perform(self.env, Call(who, facts, self.clock.now()), IAM, OPERATIONS[name], params)
        except DaypassError as error:
            await refused(self.env, facts, who, error, {})
            raise


def allow(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def trusting(*principals: str) -> str:
    aws = list(principals) if len(principals) != 1 else principals[0]
    return policy({"Effect": "Allow", "Principal": {"AWS": aws}, "Action": "sts:AssumeRole"})


@contextmanager
def refusal(kind: ErrorKind, message: str | None = None) -> Iterator[None]:
    """Expects a refusal of this kind, and, if given, with exactly this message."""
    with pytest.raises(DaypassError) as caught:
        yield
    assert (caught.value.kind, caught.value.public) == (kind, message or caught.value.public)
