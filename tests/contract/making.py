"""Entities, writes and clocks for the contract suite."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from tests.patience import SECONDS

from daypass.domain.directory import (
    AccessKey,
    AccessReport,
    AccessRequest,
    AccessReview,
    AccessVote,
    Account,
    AccountAlias,
    ApprovalRule,
    Attachment,
    BrowserSession,
    ChatLink,
    Consent,
    CredentialReport,
    Crl,
    EventStream,
    Grant,
    Group,
    Guardrail,
    InlinePolicy,
    InstanceProfile,
    IssuerAllowList,
    IssuerKeySet,
    KeyStatus,
    LastUse,
    LoginProfile,
    ManagedPolicy,
    Membership,
    MfaDevice,
    Notification,
    NotificationChannel,
    OAuthClient,
    OAuthCode,
    OidcProvider,
    OutboundFederation,
    Passkey,
    PasswordPolicy,
    PodIdentityAssociation,
    PolicyContent,
    PolicyVersion,
    RecoveryCode,
    RefreshFamily,
    RemovedSubject,
    ReplayEntry,
    RequestState,
    ResourceServer,
    Revocation,
    Role,
    SamlProvider,
    ScimResource,
    ScimToken,
    SecurityEvent,
    TrustAnchor,
    User,
    X509Profile,
    X509Subject,
)
from daypass.domain.session import FeedPosition, Hop, SessionClaims, SessionKind
from daypass.stores.cache import Tuning
from daypass.stores.directory import Directory
from daypass.stores.engine import Database
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
    return [
        Account(ACCOUNT, "Überseehandel", operator=True, created_at=NOW),
        user("Alice", path="/a/b/", boundary_arn="arn:b", tags=(("Größe", "✓ 1"), ("k", ""))),
        Group("AGPA1", ACCOUNT, "Admins", "/g/", NOW),
        Membership(ACCOUNT, "AGPA1", "AIDA1", NOW),
        role("Deploy", trust_bindings=(("arn:x", "AIDA1"),), description="", boundary_arn="arn:b", tags=(("a", "b"),)),
        policy("Readers", default_version=2, latest_version=7, description="d\r\n\x01", tags=(("x", "y"),)),
        PolicyVersion(ACCOUNT, "ANPA1", 2, ALLOW, NOW),
        InlinePolicy(ACCOUNT, "AIDA1", "inline", DENY + " ", NOW),
        Attachment(ACCOUNT, "AIDA1", "arn:p", NOW),
        Guardrail(ACCOUNT, "g", ALLOW, NOW),
        key("AKIA1", "AIDA1", status=KeyStatus.INACTIVE, sealed_secret=bytes(range(256))),
        OidcProvider(
            ACCOUNT,
            "ci.example.com/a",
            NOW,
            ("sts.amazonaws.com", "b"),
            ("ab" * 20,),
            (("a", "b"),),
            '{"one_time":true}',
        ),
        SamlProvider(
            "ASPR1",
            ACCOUNT,
            "Corp",
            NOW,
            NOW + 9,
            "<é/>",
            (("a", "b"),),
            "Required",
            (("K1", "7", "c2VhbGVk"),),
            '{"a":1}',
        ),
        TrustAnchor(
            "0190-anchor",
            ACCOUNT,
            "eu-central-1",
            "plant",
            NOW,
            NOW + 1,
            "PEM",
            enabled=True,
            notifications=(("CA_CERTIFICATE_EXPIRY", "ALL", "false", "30"),),
            tags=(("a", "b"),),
        ),
        X509Profile(
            "0190-profile",
            ACCOUNT,
            "eu-central-1",
            "hosts",
            NOW,
            NOW + 1,
            "arn:me",
            enabled=True,
            role_arns=("arn:r", "arn:s"),
            managed_policy_arns=("arn:p",),
            session_policy=ALLOW,
            duration_seconds=900,
            require_instance_properties=True,
            accept_role_session_name=True,
            mappings=(("x509Subject", "CN"), ("x509SAN", "Name/*")),
            tags=(("a", "b"),),
        ),
        Crl(
            "0190-crl",
            ACCOUNT,
            "eu-central-1",
            "revoked",
            NOW,
            NOW + 1,
            "0190-anchor",
            bytes(range(256)),
            enabled=True,
            tags=(("a", "b"),),
        ),
        X509Subject(
            "0190-subject",
            ACCOUNT,
            "eu-central-1",
            "CN=Größe",
            NOW,
            NOW + 1,
            NOW + 2,
            enabled=False,
            credentials='[{"a":1}]',
            instance_properties='[{"b":2}]',
            tags=(("a", "b"),),
        ),
        IssuerKeySet("ab" * 32, ACCOUNT, "https://ci.example.com/jwks", '{"keys":[]}', NOW, 7, NOW + 3),
        IssuerAllowList(ACCOUNT, ("ci.example.com", "git.example.com/*"), NOW),
        MfaDevice(
            ACCOUNT,
            f"arn:aws:iam::{ACCOUNT}:mfa/p/Phone",
            "Phone",
            "/p/",
            NOW,
            bytes(range(256)),
            "AIDA1",
            NOW + 1,
            -3,
            2,
            NOW + 2,
            (("a", "b"),),
            7,
        ),
        LastUse("AIDA1", "iam:GetUser", ACCOUNT, NOW, "eu-central-1"),
        CredentialReport(ACCOUNT, NOW, bytes(range(256))),
        AccessReport("0190aaaa-0000-7000", ACCOUNT, "AIDA1", "arn:aws:iam::1:user/a", "ACTION_LEVEL", NOW, b"\0"),
        OAuthClient(
            "DPCL22222222222222222",
            ACCOUNT,
            "app",
            NOW,
            NOW + 1,
            enabled=False,
            settings='{"role":"r"}',
            secrets=(("ab12", "17", "scrypt$1$a$b"),),
            tags=(("a", "b"),),
            registration="ab" * 32,
        ),
        PodIdentityAssociation(ACCOUNT, "prod/shop/orders", "a-1", "arn:aws:iam::1:role/r", "k8s.example", NOW),
        ResourceServer(ACCOUNT, "https://api.example.com/v1", "api", NOW, NOW + 1, '{"scopes":{}}', (("a", "b"),)),
        OAuthCode("authorization_code", "ef" * 32, ACCOUNT, "DPCL2", NOW, NOW + 9, bytes(range(256)), NOW + 1, "0190"),
        RefreshFamily("0190", ACCOUNT, "DPCL2", "AIDA1", NOW, NOW + 9, 3, NOW + 2, b"\0\1", b"\2", NOW + 3),
        OutboundFederation(ACCOUNT, "0190aaaa-0000-7000-8000-000000000002", enabled=True, changed_at=NOW),
        InstanceProfile("AIPA1", ACCOUNT, "Web", "/i/", NOW, "AROA1", (("k", "v"),)),
        AccountAlias("example-corp", ACCOUNT, NOW),
        PasswordPolicy(ACCOUNT, 14, True, True, True, True, True, 90, 24, False),
        LoginProfile("AIDA1", ACCOUNT, NOW, "scrypt$1$a$b", NOW + 1, True, 3600, ("scrypt$1$a$c",), 2, NOW + 3),
        ApprovalRule(ACCOUNT, "prod", '{"roles":["*"]}', "ab" * 32, NOW, NOW + 1, "arn:me"),
        AccessRequest(
            "0190" * 8,
            ACCOUNT,
            RequestState.PENDING,
            "AIDA1",
            "AIDA2",
            "token",
            '{"reason":"x"}',
            "cd" * 32,
            ("person:a", "principal:AIDA1"),
            NOW,
            NOW + 1,
            NOW + 2,
            NOW + 3,
            "denied",
            42,
            '[{"a":1}]',
            NOW + 4,
        ),
        AccessVote(
            "0190" * 8,
            "AIDA3",
            ACCOUNT,
            "arn:me",
            True,
            "ef" * 32,
            (("prod", "lead"), ("prod", "security")),
            ("principal:AIDA3",),
            ("AIDA3", "AROA1"),
            NOW,
            NOW + 1,
            '{"reason":"fine"}',
        ),
        Grant(
            "0191" * 8,
            ACCOUNT,
            "0190" * 8,
            "AIDA2",
            "AROA1",
            "arn:aws:iam::1:role/r",
            (ALLOW,),
            900,
            NOW,
            NOW + 1,
            NOW + 2,
            "prod",
            "cd" * 32,
            ("AIDA3",),
            "INC-1",
            42,
            True,
            True,
            3,
            1,
            NOW + 3,
            NOW + 4,
            NOW + 5,
            "done",
            NOW + 6,
        ),
        NotificationChannel(
            ACCOUNT, "ops", "webhook", "https://x.example/", bytes(range(256)), ("access.requested",), NOW, NOW + 1
        ),
        Notification("0192" * 8, ACCOUNT, "ops", "access.requested", "{}", NOW, "dead", 7, NOW + 1, NOW + 2, "timeout"),
        EventStream(
            "0193" * 8,
            ACCOUNT,
            "arn:me",
            "SIEM",
            "push",
            "https://x.example/",
            bytes(range(256)),
            ("urn:x",),
            "paused",
            "maintenance",
            7,
            NOW,
            NOW + 1,
            NOW + 2,
            NOW + 3,
            4,
        ),
        RemovedSubject("0193" * 8, "ab" * 32, ACCOUNT, '{"format":"opaque"}', NOW),
        SecurityEvent("0194" * 8, ACCOUNT, "0193" * 8, "urn:x", "{}", NOW, "dead", 7, NOW + 1, "timeout"),
        AccessReview("0190" * 8, ACCOUNT, NOW, ("principal:AIDA1",), NOW + 1, "arn:me", "as it should be"),
        BrowserSession(
            "ab" * 32,
            "0190",
            ACCOUNT,
            "AIDA1",
            NOW,
            NOW + 1,
            NOW + 9,
            "ASIA1",
            "sealed",
            "192.0.2.1",
            "Mozilla/5.0",
            '{"kind":"x"}',
            ("DPCL1",),
        ),
        Passkey(
            "Y3JlZA",
            ACCOUNT,
            "AIDA1",
            "laptop",
            NOW,
            bytes(range(256)),
            7,
            "0" * 8,
            ("usb", "nfc"),
            True,
            NOW + 1,
            NOW + 2,
        ),
        ChatLink(ACCOUNT, "slack:T1:U1", "AIDA1", "ann", NOW),
        ScimToken("cd" * 32, ACCOUNT, "AIDA1", "entra", NOW, NOW + 5),
        ScimResource("AIDA1", ACCOUNT, "User", "ext-1", "{}", 3, NOW, NOW + 1),
        RecoveryCode("AIDA1", "ef" * 32, ACCOUNT, NOW),
        Consent(
            "ab" * 32, ACCOUNT, "AIDA1", "app", NOW, NOW + 9, "arn:aws:iam::123456789012:role/Deploy", "openid", "[]"
        ),
        ReplayEntry("jwt", "cd" * 32, ACCOUNT, NOW, NOW + 5),
        PolicyContent("ab" * 32, ACCOUNT, ALLOW, NOW),
        revocation("role", "AROA1", block=True, block_until=NOW + 5, reason="lost", created_by="arn:me", position=1),
    ]


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
