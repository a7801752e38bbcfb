"""In-memory ports for tests of operations: a directory, a journal, a sealer, a clock and ids that count.

They keep the promises of `daypass.ports` without threads, databases or cryptography. `World` puts them together and
builds accounts, users and roles in a line each.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest
from msgspec import structs
from tests.environment import environment

from daypass import sigv4
from daypass.domain import payload as form
from daypass.domain.claims import Caller, PrincipalKind, RequestFacts
from daypass.domain.directory import (
    AccessKey,
    Account,
    KeyStatus,
    ManagedPolicy,
    MfaDevice,
    OAuthClient,
    OidcProvider,
    PolicyContent,
    ReplayEntry,
    Revocation,
    Role,
    SamlProvider,
    Tags,
    User,
    X509Profile,
)
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event
from daypass.domain.policy.document import PolicyKind, compile_stored
from daypass.domain.policy.layers import NamedPolicy
from daypass.domain.revocation_index import RevocationIndex
from daypass.domain.session import FeedPosition, Hop, SessionClaims
from daypass.operations.authenticate import authenticate
from daypass.operations.outcome import refused
from daypass.ports import (
    AccountView,
    Call,
    Env,
    KeyView,
    Limits,
    ManagedPolicyView,
    PolicyContentView,
    PrincipalView,
    ProofUsed,
    RoleView,
    TrustAnchorView,
)
from daypass.wire.aws import sts

T = TypeVar("T")
NOW = 1_764_000_000_000
ALPHA, BETA = "111111111111", "222222222222"


def policy(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Deny", "Action": action, "Resource": resource, **more}


def trust(principal: Any, action: Any = "sts:AssumeRole", **more: Any) -> dict[str, Any]:
    named = principal if isinstance(principal, dict) else {"AWS": principal}
    return {"Effect": "Allow", "Principal": named, "Action": action, **more}


@dataclass
class FixedClock:
    time: int = NOW

    def now(self) -> int:
        return self.time

    def wall(self) -> int:
        return self.time


class CountingIds:
    def __init__(self) -> None:
        self._count = 0

    def _next(self) -> int:
        self._count += 1
        return self._count

    def unique(self, prefix: str) -> str:
        return f"{prefix}{self._next():A>17}".replace("0", "Z").replace("1", "Y").replace("8", "X").replace("9", "W")

    def access_key(self, prefix: str) -> str:
        return f"{prefix}{self._next():0>16}"

    def secret(self) -> str:
        return f"{self._next():s>40}"

    def seed(self) -> bytes:
        return f"{self._next():040d}".encode()

    def session(self) -> str:
        return f"{self._next():032x}"

    def request(self) -> str:
        return f"00000000-0000-0000-0000-{self._next():012x}"


class PlainSealer:
    """Tokens that are signed and readable, with the sizes and the refusals of real ones."""

    def seal(self, claims: SessionClaims, minimum_size: int = 0) -> str:
        payload = form.encode(claims) + b"\1"
        payload += bytes(max(0, -(-minimum_size * 3 // 4) - len(payload) - 32))
        return base64.b64encode(self._mac(payload, claims.hops[-1].access_key_id) + payload).decode()

    def unsealed(self, claims: SessionClaims, minimum_size: int = 0) -> tuple[int, Callable[[], str]]:
        token = self.seal(claims, minimum_size)
        return len(token), lambda: token

    async def open(self, unverified_token: str, access_key_id: str) -> SessionClaims:
        try:
            data = base64.b64decode(unverified_token, validate=True)
        except ValueError:
            data = b""
        if not hmac.compare_digest(data[:32], self._mac(data[32:], access_key_id)):
            raise DaypassError(ErrorKind.UNKNOWN_CREDENTIALS, "The security token included in the request is invalid.")
        return form.decode(data[32:].rstrip(b"\0")[:-1])

    def _mac(self, payload: bytes, access_key_id: str) -> bytes:
        return hmac.digest(b"tests", access_key_id.encode() + b"\0" + payload, "sha256")

    def derivation_key(self) -> str:
        return "00000000000000aa"

    async def session_secret(self, claims: SessionClaims) -> str:
        return hashlib.sha256(claims.session_id.encode()).hexdigest()[:40]

    async def underived(self, claims: SessionClaims) -> Callable[[], str]:
        secret = await self.session_secret(claims)
        return lambda: secret

    def seal_message(self, account: str, payload: bytes) -> str:
        return base64.urlsafe_b64encode(account.encode() + b"\0" + payload).decode()

    async def open_message(self, unverified_message: str) -> tuple[str, bytes]:
        try:
            account, _, payload = base64.urlsafe_b64decode(unverified_message).partition(b"\0")
        except ValueError:
            account = b""
        if len(account) != 12:
            raise DaypassError(ErrorKind.INVALID_AUTHORIZATION_MESSAGE, "Encoded authorization message is not valid.")
        return account.decode(), payload

    def seal_secret(self, plaintext: bytes, account: str, owner_id: str) -> bytes:
        return f"{account}\0{owner_id}\0".encode() + plaintext

    def open_secret(self, sealed: bytes, account: str, owner_id: str) -> bytes:
        prefix = f"{account}\0{owner_id}\0".encode()
        if not sealed.startswith(prefix):
            raise ValueError("sealed for another owner")
        return sealed.removeprefix(prefix)


class MemoryDirectory:
    """Views by their look-up keys. `later` holds a change that becomes visible with the next `refresh`."""

    def __init__(self) -> None:
        self.epoch = "one"
        self.position = 1
        self.accounts: dict[str, AccountView] = {}
        self.users: dict[str, PrincipalView] = {}
        self.roles: dict[str, RoleView] = {}
        self.keys: dict[str, KeyView] = {}
        self.managed: dict[str, ManagedPolicyView] = {}
        self.contents: dict[str, PolicyContentView] = {}
        self.oidc: dict[tuple[str, str], OidcProvider] = {}
        self.saml: dict[tuple[str, str], SamlProvider] = {}
        self.devices: dict[str, MfaDevice] = {}
        self.anchors: dict[str, TrustAnchorView] = {}
        self.profiles: dict[str, X509Profile] = {}
        self.revocations = RevocationIndex("one")
        self.later: list[Callable[[], None]] = []
        self.refreshes = 0
        self.away = False

    def seen(self) -> FeedPosition:
        return FeedPosition(self.epoch, self.position)

    def _read(self, found: T | None) -> T | None:
        if self.away:
            raise DaypassError(ErrorKind.UNAVAILABLE, "The database is away.")
        return found

    async def access_key(self, key_id: str) -> KeyView | None:
        return self._read(self.keys.get(key_id))

    async def user(self, user_id: str) -> PrincipalView | None:
        return self._read(self.users.get(user_id))

    async def role(self, account: str, name: str) -> RoleView | None:
        for view in self.roles.values():
            if view.role.account == account and view.role.name.lower() == name.lower():
                return self._read(view)
        return self._read(None)

    async def role_by_id(self, role_id: str) -> RoleView | None:
        return self._read(self.roles.get(role_id))

    async def account(self, account_id: str) -> AccountView | None:
        return self._read(self.accounts.get(account_id))

    async def managed_policy(self, arn: str) -> ManagedPolicyView | None:
        return self._read(self.managed.get(arn))

    async def entity(self, kind: type[Any], *values: str) -> Any:
        if kind is OidcProvider:
            return self._read(self.oidc.get((values[0], values[1])))
        if kind is SamlProvider:
            return self._read(self.saml.get((values[0], values[1].lower())))
        assert kind is X509Profile
        return self._read(self.profiles.get(values[0]))

    async def trust_anchor(self, anchor_id: str) -> TrustAnchorView | None:
        return self._read(self.anchors.get(anchor_id))

    async def policy_content(self, content_hash: str) -> PolicyContentView | None:
        return self._read(self.contents.get(content_hash))

    async def document_clients(self, account: str) -> tuple[OAuthClient, ...]:
        del account
        return self._read(())

    async def refresh(self) -> bool:
        self.refreshes += 1
        changes, self.later = self.later, []
        for change in changes:
            change()
        return bool(changes)

    def revoked(self, claims: SessionClaims) -> Revocation | None:
        return self.revocations.revoked(claims)

    def blocked(self, hops: Sequence[Hop], source_identity: str, now: int) -> Revocation | None:
        return self.revocations.blocked(hops, source_identity, now)

    known_block = blocked

    async def read(self, query: Callable[[Any], T], *, account: str, urgent: bool = False) -> T:
        raise NotImplementedError("operations of the token service read views alone")


class MemoryTx:
    """Policy contents, MFA devices and one-time things: all that the token service writes."""

    def __init__(
        self, directory: MemoryDirectory, rows: dict[str, PolicyContent], redeemed: dict[tuple[str, str], ReplayEntry]
    ) -> None:
        self._directory = directory
        self._rows = rows
        self._redeemed = redeemed

    def get(self, kind: type[Any], **equals: Any) -> Any:
        if kind is MfaDevice:
            return self._directory.devices.get(equals["serial"])
        assert kind is PolicyContent
        return self._rows.get(equals["hash"])

    def find(self, kind: type[Any], *, order: str, limit: int) -> list[Any]:
        if kind is PolicyContent:
            return sorted(self._rows.values(), key=lambda kept: kept.keep_until)[:limit]
        assert (kind, order) == (ReplayEntry, "expires_at")
        return sorted(self._redeemed.values(), key=lambda used: used.expires_at)[:limit]

    def delete(self, entity: ReplayEntry | PolicyContent) -> None:
        if isinstance(entity, PolicyContent):
            del self._rows[entity.hash]
            return
        del self._redeemed[entity.purpose, entity.id]

    def insert_if_absent(self, entity: ReplayEntry) -> bool:
        if (entity.purpose, entity.id) in self._redeemed:
            return False
        self._redeemed[entity.purpose, entity.id] = entity
        return True

    def insert(self, entity: PolicyContent | ReplayEntry) -> None:
        if isinstance(entity, ReplayEntry):
            if (entity.purpose, entity.id) in self._redeemed:
                raise DaypassError(ErrorKind.ALREADY_EXISTS, "It is there.")
            self._redeemed[entity.purpose, entity.id] = entity
            return
        if entity.hash in self._rows:
            raise DaypassError(ErrorKind.ALREADY_EXISTS, "It is there.")
        self._put(entity)

    def replace(self, entity: PolicyContent | MfaDevice) -> None:
        if isinstance(entity, MfaDevice):
            assert entity.serial in self._directory.devices
            self._directory.devices[entity.serial] = entity
            return
        assert entity.hash in self._rows
        self._put(entity)

    def _put(self, entity: PolicyContent) -> None:
        self._rows[entity.hash] = entity
        named = NamedPolicy(entity.hash, compile_stored(entity.document, PolicyKind.SESSION))
        self._directory.contents[entity.hash] = PolicyContentView(named, entity.keep_until)


class MemoryJournal:
    """Commits, in order. `broken` refuses everything, as a journal without its disk does."""

    def __init__(self, directory: MemoryDirectory) -> None:
        self.events: list[Event] = []
        self.sessions: list[SessionClaims] = []
        self.writes = 0
        self.broken = False
        self.lose_races = 0  # so many writes find that another process has written the same before
        self.rows: dict[str, PolicyContent] = {}
        self.redeemed: dict[tuple[str, str], ReplayEntry] = {}
        self._directory = directory

    async def commit(
        self,
        event: Event,
        session: SessionClaims | None = None,
        replays: Sequence[ReplayEntry] = (),
        meanwhile: Callable[[], object] | None = None,
    ) -> None:
        if self.broken:
            raise DaypassError(ErrorKind.UNAVAILABLE, "The record cannot be kept.")
        for entry in replays:
            if self.redeemed.setdefault((entry.purpose, entry.id), entry) is not entry:
                raise ProofUsed(entry)
        self.events.append(event)
        if session is not None:
            self.sessions.append(session)

    async def write(
        self, change: Callable[[Any], tuple[T, Event]], session: SessionClaims | None = None, **_: Any
    ) -> T:
        if self.broken:
            raise DaypassError(ErrorKind.UNAVAILABLE, "The record cannot be kept.")
        tx = MemoryTx(self._directory, self.rows, self.redeemed)
        result, event = change(tx)
        if self.lose_races:
            self.lose_races -= 1
            raise DaypassError(ErrorKind.ALREADY_EXISTS, "It is there.")
        self.writes += 1
        self.events.append(event)
        if session is not None:
            self.sessions.append(session)
        return result


def named(text: str, kind: PolicyKind, name: str = "inline") -> NamedPolicy:
    return NamedPolicy(name, compile_stored(text, kind))


@dataclass
class Credentials:
    access_key_id: str
    secret: str
    token: str = ""

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Credentials:
        given = answer["Credentials"]
        return cls(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])


@dataclass
class World:
    """Accounts with users and roles, and the way in for signed calls."""

    limits: Limits = field(default_factory=Limits)
    clock: FixedClock = field(default_factory=FixedClock)
    ids: CountingIds = field(default_factory=CountingIds)
    directory: MemoryDirectory = field(default_factory=MemoryDirectory)

    def __post_init__(self) -> None:
        self.journal = MemoryJournal(self.directory)
        self.sealer = PlainSealer()
        self.env = environment(self.clock, self.ids, self.directory, self.journal, self.sealer, self.limits)
        self.account(ALPHA)
        self.account(BETA)

    # --- building

    def account(self, account_id: str, *guardrails: str) -> None:
        levels = tuple((named(text, PolicyKind.GUARDRAIL, "guardrail"),) for text in guardrails)
        self.directory.accounts[account_id] = AccountView(Account(account_id, "test", False, NOW), levels)

    def user(
        self, name: str, account: str = ALPHA, *, policies: Sequence[str] = (), boundary: str = "", tags: Tags = ()
    ) -> User:
        user = User(self.ids.unique("AIDA"), account, name, "/", NOW, tags=tags)
        self.directory.users[user.id] = PrincipalView(user, *self._layers(policies, boundary))
        return user

    def role(
        self,
        name: str,
        account: str = ALPHA,
        *,
        trusts: Sequence[Mapping[str, Any]],
        policies: Sequence[str] = (),
        boundary: str = "",
        path: str = "/",
        bindings: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Role:
        text = policy(*trusts)
        role = Role(self.ids.unique("AROA"), account, name, path, NOW, trust_document=text, **more)
        bound = self._bindings() if bindings is None else dict(bindings)
        principal = PrincipalView(role, *self._layers(policies, boundary))
        self.directory.roles[role.id] = RoleView(role, named(text, PolicyKind.TRUST, "trust"), bound, principal)
        return role

    def _bindings(self) -> dict[str, str]:
        """As writing a trust policy binds: every principal that there is now, to its unique id."""
        views = [*self.directory.users.values(), *(view.principal for view in self.directory.roles.values())]
        return {view.entity.arn: view.entity.id for view in views}

    def _layers(
        self, policies: Sequence[str], boundary: str
    ) -> tuple[tuple[NamedPolicy, ...], tuple[NamedPolicy, ...] | None]:
        identity = tuple(named(text, PolicyKind.IDENTITY, f"p{i}") for i, text in enumerate(policies))
        return identity, (named(boundary, PolicyKind.IDENTITY, "boundary"),) if boundary else None

    def managed(self, name: str, text: str, account: str = ALPHA) -> str:
        arn = f"arn:aws:iam::{account}:policy/{name}"
        entity = ManagedPolicy(self.ids.unique("ANPA"), account, arn, name, "/", NOW, NOW)
        self.directory.managed[arn] = ManagedPolicyView(entity, text, hashlib.sha256(text.encode()).hexdigest())
        return arn

    def key(self, owner: User | str, status: KeyStatus = KeyStatus.ACTIVE) -> Credentials:
        """A long-term key of a user, or, for an account id, of its root."""
        account, owner_id = (owner, owner) if isinstance(owner, str) else (owner.account, owner.id)
        key = AccessKey(self.ids.access_key("AKIA"), account, owner_id, status, b"", NOW, NOW)
        secret = self.ids.secret()
        self.directory.keys[key.id] = KeyView(key, secret, None if isinstance(owner, str) else owner)
        return Credentials(key.id, secret)

    def set_status(self, key_id: str, status: KeyStatus) -> None:
        view = self.directory.keys[key_id]
        self.directory.keys[key_id] = structs.replace(view, key=replace(view.key, status=status))

    def revoke(self, subject: str, value: str, account: str = ALPHA, **more: Any) -> Revocation:
        self.directory.position += 1
        facts = {"issued_before": 0, "created_at": self.clock.now(), "position": self.directory.position, **more}
        revocation = Revocation(self.ids.session(), account, subject, value, **facts)
        self.directory.revocations.add(revocation)
        return revocation

    # --- calling

    def facts(self, operation: str, **more: Any) -> RequestFacts:
        known = {"source_ip": "192.0.2.7", "user_agent": "tests", "region": "eu-central-1", **more}
        return RequestFacts(self.ids.request(), self.clock.now(), operation, **known)

    def signature(self, credentials: Credentials, *, signed_at: int = 0) -> sigv4.UnverifiedSignature:
        key = sigv4.SigningKey(credentials.access_key_id, credentials.secret, "eu-central-1", "sts", credentials.token)
        body = b"Action=Test&Version=2011-06-15"
        headers = {"host": "localhost", "content-type": "application/x-www-form-urlencoded"}
        signed = sigv4.sign(key, "POST", "/", "", headers, body, signed_at or self.clock.now())
        raw = [(name.lower().encode(), value.encode()) for name, value in {**headers, **signed}.items()]
        return sigv4.parse_request("POST", b"/", b"", raw, body)

    async def caller(self, credentials: Credentials) -> Caller:
        return await authenticate(self.env, self.signature(credentials), {"sts"})

    async def call(
        self,
        operation: Callable[[Env, Call, Mapping[str, Any]], Any],
        credentials: Credentials,
        params: Mapping[str, Any] | None = None,
        **facts: Any,
    ) -> Mapping[str, Any]:
        """One signed call, refusals recorded as the dispatcher does. The encoded message is kept in `self.message`."""
        name = "sts:" + "".join(part.title() for part in operation.__name__.split("_"))
        seen = self.facts(name, **facts)
        caller: Caller | None = None
        self.message = ""
        try:
            caller = await authenticate(self.env, self.signature(credentials), {"sts"})
            answer: Mapping[str, Any] = await operation(self.env, Call(caller, seen, self.clock.now()), params or {})
        except DaypassError as error:
            self.message = await refused(self.env, seen, caller, error, {"params": sorted(params or {})})
            raise
        return answer


class FederatedWorld(World):
    """A world for the proofs of an identity provider."""

    bring: Callable[..., Awaitable[Mapping[str, Any]]]  # a method: brings a proof for a role

    def unsigned(self, operation: str) -> Call:
        nobody = Caller(PrincipalKind.ANONYMOUS, "", "", "", "", "", "", "", self.directory.seen(), ())
        return Call(nobody, self.facts(operation), self.clock.now())

    async def refusal(self, role: str, params: Mapping[str, Any] | None = None, **more: Any) -> DaypassError:
        with pytest.raises(DaypassError) as caught:
            await self.bring(role, params, **more)
        assert not self.journal.sessions
        return caught.value

    def session(self) -> SessionClaims:
        return self.journal.sessions[-1]


async def assume_role(env: Env, call: Call, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """AssumeRole of the AWS wire, without its rendering."""
    return await sts.assume_role(env, call, params, lambda answer: answer)
