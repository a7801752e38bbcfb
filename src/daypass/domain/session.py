"""Sessions: what is sealed into a token, how it chains, and which revocations end it.

This module is pure. It never widens: tags, lifetimes and chains only get tighter from hop to hop. The bytes of
`SessionClaims` are in `domain.payload`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from daypass.domain.directory import Revocation, Role, Tags
from daypass.domain.value import value


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


@value
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
    base_policy: bool = (
        False  # whether policies[0] is the session policy of the issuing call (else all are scope-downs)
    )
    policy_hashes: tuple[str, ...] = ()
    user_id: str = ""  # FEDERATED: unique id of the user (or account id of the root) whose permissions bound it
    grant_id: str = ""
    binding: str = ""
    status_index: int = -1
    derivation_key: str = ""  # the derivation-ring key from which the secret comes
    auth_method: str = ""  # how the first hop proved itself: sigv4, oidc, saml, x509
    description: str = ""  # ScopedSessionDescription
    keys: Tags = ()  # context keys that the first proof left to its session: key and value; a key may have several


MAX_TAGS = 50
MAX_SCOPE_DOWNS = 3
MAX_HOPS = 16  # in any chain, whatever the settings say
DEFAULT_SECONDS = 3600
LONGEST_SESSION_MS = 36 * 3600 * 1000  # GetSessionToken and GetFederationToken: 129,600 s


class SessionRefused(Exception):
    """A session of this shape may not exist. `denied` tells a refusal of policy from a bad request."""

    def __init__(self, message: str, *, denied: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.denied = denied


# --- Chains, tags and lifetimes ------------------------------------------------------------------------------------


def chain_depth(hops: Sequence[Hop]) -> int:
    """How many sessions of assumed roles are in this chain: 0 for a user with a long-term key."""
    depth = 0
    for hop in hops:
        if hop[2][:4] == "AROA":  # a hop's third member is its principal id
            depth += 1
    return depth


def extend_chain(hops: tuple[Hop, ...], hop: Hop, depth_cap: int) -> tuple[Hop, ...]:
    """The chain with one more role session. Raises SessionRefused when it would be deeper than the cap."""
    # No chain is deeper than it is long, so that a short one need not be counted.
    if len(hops) >= MAX_HOPS or (len(hops) >= depth_cap and chain_depth(hops) >= depth_cap):
        raise SessionRefused(
            f"The chain of assumed roles would be deeper than the {depth_cap} sessions that are allowed here.",
            denied=True,
        )
    return (*hops, hop)


def merge_tags(requested: Tags, inherited: Tags) -> Tags:
    """The tags of a new session: those requested, and the transitive ones of the session that asks.

    Keys are unique without regard to case; a transitive tag cannot be overridden, not even with its own value
    (AWS page "Pass session tags in AWS STS", chaining roles with session tags). Raises SessionRefused.
    """
    seen: set[str] = set()
    for key, _ in requested:
        if key.lower().startswith("aws:"):
            raise SessionRefused("Tag keys that begin with aws: are reserved.")
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


def merge_transitive(requested_keys: Sequence[str], requested: Tags, inherited: Tags) -> tuple[str, ...]:
    """The transitive keys of a new session; inherited ones stay so down the whole chain.

    Raises SessionRefused for a key that is not among the requested tags.
    """
    by_key = {key.lower(): key for key, _ in requested}
    chosen = dict.fromkeys(key.lower() for key in requested_keys)
    if not chosen.keys() <= by_key.keys():
        raise SessionRefused("The specified transitive tag key must be included in the requested tags.")
    return (*(key for key, _ in inherited), *(by_key[key] for key in chosen))


def role_session_seconds(requested: int | None, role: Role, *, chained: bool) -> int:
    """How long a session of `role` lasts. Raises SessionRefused when more is asked than the role allows.

    A chained session (the caller is itself a role session) is capped at the role's `chained_max_seconds`, an hour
    unless the role was told otherwise. Source: STS API, "AssumeRole", DurationSeconds.
    """
    cap = min(role.max_session_seconds, role.chained_max_seconds) if chained else role.max_session_seconds
    if requested is None:
        return min(DEFAULT_SECONDS, cap)
    if requested <= cap:
        return requested
    if chained and requested > role.chained_max_seconds:
        hours = "1 hour" if role.chained_max_seconds == DEFAULT_SECONDS else f"{role.chained_max_seconds} second"
        limit = f"the {hours} session limit for roles assumed by role chaining."
    else:
        limit = "the MaxSessionDuration set for this role."
    raise SessionRefused(f"The requested DurationSeconds exceeds {limit}")


# --- Revocation ----------------------------------------------------------------------------------------------------

_EVER = 2**63
_KEEP_MS = LONGEST_SESSION_MS + 24 * 3600 * 1000  # a day more, for issuers that heard of it late

# Roles and principals are both named by their unique id.
_TABLES = {
    "session": "session",
    "role": "principal",
    "principal": "principal",
    "access_key": "access_key",
    "account": "account",
    "source_identity": "source_identity",
    "grant": "grant",
}
REVOCATION_SUBJECTS = frozenset(_TABLES)


def revoked_by(revocation: Revocation, hop: Hop, incarnation: str) -> bool:
    """Whether a hop that `revocation` names was made before it, so that every session with this hop is dead.

    The hop compared is the one that matches, not the session's own: children die with an ancestor that was issued
    before the revocation, and those of an ancestor issued anew after it live. Positions of different incarnations
    of the database cannot be compared: such a hop counts as older. So does any hop while the revocation has no
    position yet. Too many may die, never too few.
    """
    if hop.seen.incarnation != incarnation or hop.seen.position < _reach(revocation):
        return True
    return hop.issued_at < revocation.issued_before


def is_spent(revocation: Revocation, now: int) -> bool:
    """Whether every session that this revocation could end has expired, and it blocks nobody any more."""
    blocks = revocation.block and (revocation.block_until is None or revocation.block_until > now)
    return (
        not blocks
        and revocation.position > 0
        and max(revocation.created_at, revocation.issued_before) + _KEEP_MS <= now
    )


class _Subject:
    """All revocations of one subject by one account, and which of them reach furthest."""

    __slots__ = ("block", "block_until", "by_id", "furthest", "latest")

    def __init__(self, first: Revocation) -> None:
        self.by_id: dict[str, Revocation] = {}
        self.furthest = self.latest = first
        self.block: Revocation | None = None
        self.block_until = 0
        self.add(first)

    def add(self, revocation: Revocation) -> None:
        self.by_id[revocation.id] = revocation
        self.furthest = max(self.furthest, revocation, key=_reach)
        self.latest = max(self.latest, revocation, key=lambda r: r.issued_before)
        if revocation.block and _block_end(revocation) > self.block_until:
            self.block, self.block_until = revocation, _block_end(revocation)

    def killer(self, hop: Hop, incarnation: str) -> Revocation | None:
        if revoked_by(self.furthest, hop, incarnation):
            return self.furthest
        return self.latest if hop.issued_at < self.latest.issued_before else None


def _reach(revocation: Revocation) -> int:
    return revocation.position if revocation.position > 0 else _EVER


def _block_end(revocation: Revocation) -> int:
    return _EVER if revocation.block_until is None else revocation.block_until


class RevocationIndex:
    """The revocations that may still matter, looked up in time that depends on the number of hops alone.

    `incarnation` is that of the database whose feed gave the positions; set it when it is known and when it changes.
    Not safe for use by several threads at once.
    """

    def __init__(self, incarnation: str = "") -> None:
        self.incarnation = incarnation
        self._count = 0
        self._tables: dict[str, dict[str, dict[str, _Subject]]] = {table: {} for table in _TABLES.values()}

    def __len__(self) -> int:
        return self._count

    def add(self, revocation: Revocation) -> None:
        """Takes a revocation in, in place of an earlier one of the same id. Raises ValueError if it names nobody."""
        if revocation.subject not in _TABLES or not revocation.value:
            raise ValueError(f"a revocation of nobody: {revocation.subject!r} {revocation.value!r}")
        self.remove(revocation)  # the same one again, perhaps with the position that it did not have yet
        owners = self._tables[_TABLES[revocation.subject]].setdefault(revocation.value, {})
        if revocation.account in owners:
            owners[revocation.account].add(revocation)
        else:
            owners[revocation.account] = _Subject(revocation)
        self._count += 1

    def remove(self, revocation: Revocation) -> None:
        """Takes a revocation out again; one that is not there is ignored."""
        table = self._tables.get(_TABLES.get(revocation.subject, ""), {})
        owners = table.get(revocation.value, {})
        subject = owners.get(revocation.account)
        if subject is None or revocation.id not in subject.by_id:
            return
        self._count -= 1
        del owners[revocation.account], subject.by_id[revocation.id]
        if subject.by_id:
            first, *rest = subject.by_id.values()
            owners[revocation.account] = _Subject(first)
            for other in rest:
                owners[revocation.account].add(other)
        elif not owners:
            del table[revocation.value]

    def remove_spent(self, now: int) -> int:
        """Forgets the revocations that no longer matter; returns how many they were."""
        every = [s for table in self._tables.values() for owners in table.values() for s in owners.values()]
        spent = [r for subject in every for r in subject.by_id.values() if is_spent(r, now)]
        for revocation in spent:
            self.remove(revocation)
        return len(spent)

    def revoked(self, claims: SessionClaims) -> Revocation | None:
        """The revocation that killed this session, if any."""
        if not self._count:
            return None
        for subject, hop in self._matches(claims.hops, claims.source_identity, claims.grant_id):
            killer = subject.killer(hop, self.incarnation)
            if killer is not None:
                return killer
        return None

    def blocked(self, hops: Sequence[Hop], source_identity: str, now: int) -> Revocation | None:
        """A revocation that keeps anyone in these hops from new sessions now.

        Pass the chain of the session about to be issued, its own hop included, so that a blocked role or account
        issues none either.
        """
        if not self._count:
            return None
        for subject, _hop in self._matches(hops, source_identity, ""):
            if subject.block_until > now:
                return subject.block
        return None

    def _matches(self, hops: Sequence[Hop], source_identity: str, grant_id: str) -> Iterator[tuple[_Subject, Hop]]:
        """Every revoked subject that names a hop, with that hop. Only the account that a hop belongs to can name it.

        The source identity and the grant belong to the whole session: they match every hop of the owning account.
        """
        tables = self._tables
        sessions, principals, keys, accounts = map(
            tables.__getitem__, ("session", "principal", "access_key", "account")
        )
        whole = (tables["source_identity"].get(source_identity), tables["grant"].get(grant_id))
        for hop in hops:
            for owners in (
                sessions.get(hop.session_id),
                principals.get(hop.principal_id),
                keys.get(hop.access_key_id),
                accounts.get(hop.account),
                *whole,
            ):
                if owners is not None and hop.account in owners:
                    yield owners[hop.account], hop
