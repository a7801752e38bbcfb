"""Sessions: what is sealed into a token, how it chains, and which revocations end it.

This module is pure. Formats here are hard to change later: tokens outlive the process that made them.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from daypass.domain.directory import Revocation, Tags


class SessionKind(StrEnum):
    """Which operation made the session; sealed as its value."""

    ROLE = "role"  # AssumeRole and everything that ends like it
    USER = "user"  # GetSessionToken
    FEDERATED = "federated"  # GetFederationToken


class Seen(NamedTuple):
    """What the issuer knew: the database incarnation and the change-feed position, read before the directory."""

    incarnation: str
    position: int


class Hop(NamedTuple):
    """One link of the chain of custody, from the original principal to the session itself.

    The first hop is the original principal: its `session_id` is empty unless it was itself a session, and
    `access_key_id` is the key it signed with. Every later hop is a session, with `access_key_id` its ASIA id.
    """

    session_id: str  # 32 hex digits, or ""
    account: str
    principal_id: str  # AIDA…, AROA…, account id of a root, ACCOUNT:NAME of a federated user
    issued_at: int  # ms; of a hop that is no session, when the request was authenticated
    seen: Seen
    access_key_id: str
    name: str = ""  # role session name, user name or federated user name


@dataclass(frozen=True, slots=True)
class SessionClaims:
    """Everything that a session is: sealed into its token, opened with no database read.

    `hops` ends with the session's own hop. `policies` are the inline session policies, oldest first: the one of
    AssumeRole or GetFederationToken, then up to three scope-downs (GetScopedCredentials); each narrows on its
    own. `policy_hashes` are managed session policies by content hash; together with the first inline policy they
    are one layer (their union), as AWS has it.
    """

    kind: SessionKind
    session_id: str
    account: str
    principal_id: str  # role id, user id, or ACCOUNT:NAME of a federated user
    arn: str  # role ARN for ROLE; user ARN (or root ARN) for USER; the *calling user's* ARN for FEDERATED
    name: str  # role session name; user name; federated user name
    issued_at: int  # ms
    expires_at: int  # ms
    seen: Seen
    hops: tuple[Hop, ...]
    tags: Tags = ()
    transitive_keys: tuple[str, ...] = ()
    source_identity: str = ""
    mfa_at: int = 0  # ms; 0 when no MFA vouches for this session
    policies: tuple[str, ...] = ()
    base_policy: bool = False  # whether policies[0] is the session policy of the issuing call (else all are scope-downs)
    policy_hashes: tuple[str, ...] = ()
    user_id: str = ""  # FEDERATED: unique id of the user (or account id of the root) whose permissions bound it
    grant_id: str = ""
    binding: str = ""
    status_index: int = -1
    derivation_key: str = ""  # the derivation-ring key from which the secret comes
    auth_method: str = ""  # how the first hop proved itself: sigv4, oidc, saml, x509
    description: str = ""  # ScopedSessionDescription


MAX_TAGS = 50
MAX_SCOPE_DOWNS = 3
_VERSION = 1
_MAX_PAYLOAD = 16_384
_MAX_POLICY = 32_768


class SessionRefused(Exception):
    """A session of this shape may not exist. `denied` tells a refusal of policy from a bad request."""

    def __init__(self, message: str, *, denied: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.denied = denied


# --- Chains and tags -----------------------------------------------------------------------------------------------


def chain_depth(hops: Sequence[Hop]) -> int:
    """How many sessions of assumed roles are in this chain: 0 for a user with a long-term key."""
    return sum(1 for hop in hops if hop.principal_id.startswith("AROA"))


def extend_chain(hops: tuple[Hop, ...], hop: Hop, depth_cap: int) -> tuple[Hop, ...]:
    """The chain with one more role session. Raises SessionRefused when it would be deeper than the cap."""
    if chain_depth(hops) + 1 > depth_cap:
        raise SessionRefused(
            f"The chain of assumed roles would be deeper than the {depth_cap} sessions that are allowed here.", denied=True
        )
    return (*hops, hop)


def merge_tags(requested: Tags, inherited: Tags) -> Tags:
    """The tags of a new session: those requested, and the transitive ones of the session that asks.

    Keys are unique without regard to case; a transitive tag cannot be overridden, not even with its own value
    (AWS page "Pass session tags in AWS STS", chaining roles with session tags). Raises SessionRefused.
    """
    seen: set[str] = set()
    for key, _ in requested:
        if key.lower() in seen:
            raise SessionRefused("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
        seen.add(key.lower())
    for key, _ in inherited:
        if key.lower() in seen:
            raise SessionRefused(
                "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key "
                "from the calling session.",
                denied=True,
            )
    merged = (*inherited, *requested)
    if len(merged) > MAX_TAGS:
        raise SessionRefused(f"A session has at most {MAX_TAGS} tags, those inherited from its chain included.")
    return merged


def transitive_tags(claims: SessionClaims | None) -> Tags:
    """The tags that a session hands on to every session made from it."""
    if claims is None or not claims.transitive_keys:
        return ()
    handed_on = {key.lower() for key in claims.transitive_keys}
    return tuple(tag for tag in claims.tags if tag[0].lower() in handed_on)


# --- The sealed form -----------------------------------------------------------------------------------------------
#
# A JSON array whose first member is the version of this form; the order of the rest is part of the format. Inline
# policies are deflated, because they are long and repetitive; the token is base64, so they are base64 inside.


def encode(claims: SessionClaims) -> bytes:
    """The bytes that are sealed into a token."""
    return json.dumps(
        [
            _VERSION,
            claims.kind.value,
            claims.session_id,
            claims.account,
            claims.principal_id,
            claims.arn,
            claims.name,
            claims.issued_at,
            claims.expires_at,
            claims.seen,
            claims.hops,
            claims.tags,
            claims.transitive_keys,
            claims.source_identity,
            claims.mfa_at,
            [_deflate(policy) for policy in claims.policies],
            int(claims.base_policy),
            claims.policy_hashes,
            claims.user_id,
            claims.grant_id,
            claims.binding,
            claims.status_index,
            claims.derivation_key,
            claims.auth_method,
            claims.description,
        ],
        separators=(",", ":"),
        ensure_ascii=False,
    ).encode("utf-8")


def decode(data: bytes) -> SessionClaims:
    """The claims of an opened token. Raises ValueError on anything that `encode` does not make."""
    if len(data) > _MAX_PAYLOAD:
        raise ValueError("payload over the size limit")
    try:
        version, kind, *rest = json.loads(data)
        if version != _VERSION:
            raise ValueError("unknown payload version")
        sid, account, principal, arn, name, issued, expires, seen, hops, tags, transitive, *more = rest
        source, mfa, policies, base, hashes, user, grant, binding, status, derivation, method, description = more
        return SessionClaims(
            kind=SessionKind(kind),
            session_id=sid,
            account=account,
            principal_id=principal,
            arn=arn,
            name=name,
            issued_at=issued,
            expires_at=expires,
            seen=Seen(*seen),
            hops=tuple(Hop(h[0], h[1], h[2], h[3], Seen(*h[4]), h[5], h[6]) for h in hops),
            tags=tuple((key, value) for key, value in tags),
            transitive_keys=tuple(transitive),
            source_identity=source,
            mfa_at=mfa,
            policies=tuple(_inflate(policy) for policy in policies),
            base_policy=bool(base),
            policy_hashes=tuple(hashes),
            user_id=user,
            grant_id=grant,
            binding=binding,
            status_index=status,
            derivation_key=derivation,
            auth_method=method,
            description=description,
        )
    except (TypeError, IndexError, KeyError, RecursionError, zlib.error) as error:
        raise ValueError("not a session payload") from error


def _deflate(policy: str) -> str:
    return base64.b64encode(zlib.compress(policy.encode("utf-8"), 6, wbits=-15)).decode("ascii")


def _inflate(packed: str) -> str:
    inflater = zlib.decompressobj(wbits=-15)
    text = inflater.decompress(base64.b64decode(packed, validate=True), _MAX_POLICY)
    if inflater.unconsumed_tail or not inflater.eof:
        raise ValueError("session policy over the size limit")
    return text.decode("utf-8")


# --- Revocation ----------------------------------------------------------------------------------------------------


class RevocationIndex:
    """Every revocation in force, by what it names. A look-up costs a few dictionary reads for each hop.

    A revocation matches a session if any hop of it matches, so it cascades down every chain. It kills the session if
    that hop's `seen` precedes the revocation's position (another database incarnation counts as before: too many may
    die, never too few) or the hop's time precedes `issued_before`.
    """

    def __init__(self, incarnation: str = "") -> None:
        self.incarnation = incarnation
        self._by_name: dict[tuple[str, str], list[Revocation]] = {}
        self._ids: set[str] = set()

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, revocation: Revocation) -> None:
        """Adding the same one twice changes nothing."""
        if revocation.id not in self._ids:
            self._ids.add(revocation.id)
            self._by_name.setdefault((revocation.subject, revocation.value), []).append(revocation)

    def revoked(self, claims: SessionClaims) -> Revocation | None:
        """The revocation that killed this session, if any."""
        if not self._ids:
            return None
        for revocation, hop in self._matching(claims.hops, claims.source_identity, claims.grant_id):
            if self._precedes(hop, revocation):
                return revocation
        return None

    def blocked(self, hops: Sequence[Hop], source_identity: str, now: int) -> Revocation | None:
        """A blocking revocation in force at `now` (ms) on anyone in these hops."""
        if not self._ids:
            return None
        for revocation, _ in self._matching(hops, source_identity, ""):
            if revocation.block and (revocation.block_until is None or now < revocation.block_until):
                return revocation
        return None

    def _precedes(self, hop: Hop, revocation: Revocation) -> bool:
        if hop.seen.incarnation != self.incarnation or hop.seen.position < revocation.position:
            return True
        return hop.issued_at < revocation.issued_before

    def _matching(
        self, hops: Sequence[Hop], source_identity: str, grant_id: str
    ) -> Iterator[tuple[Revocation, Hop]]:
        find = self._by_name.get
        for hop in hops:
            for subject, value in (
                ("session", hop.session_id),
                ("principal", hop.principal_id),
                ("role", hop.principal_id),
                ("access_key", hop.access_key_id),
                ("account", hop.account),
                ("source_identity", source_identity),
                ("grant", grant_id),
            ):
                if value:
                    for revocation in find((subject, value), ()):
                        if revocation.account == hop.account:
                            yield revocation, hop
