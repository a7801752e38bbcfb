"""Sessions: the content of a token, and how sessions chain.

This module is pure. It never widens a session: tags, lifetimes and chains only become tighter from hop to hop.
`domain.payload` encodes `SessionClaims`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from msgspec import Struct

from daypass.domain.directory import Role, Tags
from daypass.domain.jws import Party


class SessionKind(StrEnum):
    """The operation that made the session; sealed as its value."""

    ROLE = "role"  # AssumeRole and the other operations that assume a role
    USER = "user"  # GetSessionToken
    FEDERATED = "federated"  # GetFederationToken


PASSWORD: Final = "password"
"""`auth_method` of the sessions of a user who signed in with a password."""
PASSKEY: Final = "passkey"
"""`auth_method` of the sessions of a user who signed in with a passkey alone. These always have MFA."""


class FeedPosition(NamedTuple):
    """The state of the issuer: the database epoch and the change-feed position, read before the directory."""

    epoch: str
    position: int


class Hop(Struct, frozen=True, array_like=True):
    """One link of the chain of custody, from the original principal to the session itself.

    The first hop is the original principal. Its `session_id` is empty unless it was a session itself, and
    `access_key_id` is the key that it signed with. Every later hop is a session, with its ASIA id as `access_key_id`.
    """

    session_id: str  # 32 hex digits, or ""
    account: str
    principal_id: str  # AIDA…, AROA…, account id of a root, ACCOUNT:NAME of a federated user
    issued_at: int  # ms; for a hop that is not a session, when the request was authenticated
    seen: FeedPosition
    access_key_id: str
    name: str = ""  # role session name, user name or federated user name
    grant_id: str = ""  # the access grant of this hop
    client_id: str = ""  # the OAuth client that requested it


class SessionClaims(Struct, frozen=True):
    """The complete state of a session. It is sealed into the token and opened without a database read.

    `hops` ends with the session's own hop. `policies` are the inline session policies, oldest first: that of AssumeRole
    or GetFederationToken, then up to three scope-down policies (GetScopedCredentials). Each narrows the session
    separately. `policy_hashes` are the content hashes of managed session policies. Together with the first inline
    policy they form one layer (their union), as in AWS.
    `audiences` and `scopes` are ceilings: what tokens made from the session may be for. Every session made from it has the
    same ceilings or lower ones, whoever asks for it, in either form.
    """

    kind: SessionKind
    session_id: str
    account: str
    principal_id: str  # role id, user id, or ACCOUNT:NAME of a federated user
    arn: str  # role ARN for ROLE; user ARN (or root ARN) for USER; the *calling user's* ARN for FEDERATED
    name: str  # role session name; user name; federated user name
    issued_at: int  # ms
    expires_at: int  # ms
    seen: FeedPosition
    hops: tuple[Hop, ...]
    tags: Tags = ()
    transitive_keys: tuple[str, ...] = ()
    source_identity: str = ""
    mfa_at: int = 0  # ms; 0 for a session without MFA
    policies: tuple[str, ...] = ()
    base_policy: bool = False  # policies[0] is the session policy of the issuing call; otherwise all are scope-downs
    policy_hashes: tuple[str, ...] = ()
    user_id: str = ""  # FEDERATED: unique id of the user (or account id of the root) whose permissions limit it
    grant_id: str = ""  # that of the session's own hop
    binding: str = ""
    status_index: int = -1
    derivation_key: str = ""  # the derivation-ring key that the secret is derived with
    auth_method: str = ""  # how the first hop was authenticated: sigv4, oidc, saml, x509
    description: str = ""  # ScopedSessionDescription
    keys: Tags = ()  # context keys that the first proof passed to its session: key and value; a key may have several
    client_id: str = ""  # that of the session's own hop
    first_issued_at: int = 0  # ms; for a scoped session, the issue time of the session that it narrows; 0 for any other
    audiences: tuple[str, ...] | None = None  # None: no ceiling
    scopes: tuple[str, ...] | None = None  # None: no ceiling
    may_act: Party | None = None  # the only party that may act for it; its token is good for nothing else here


IDENTITY_ONLY: Final = '{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}'
"""The policy of the session of an application without a role: its tokens say who the person is, and allow nothing."""


def scope_downs(session: SessionClaims) -> tuple[str, ...]:
    """The session policies of GetScopedCredentials, oldest first."""
    return session.policies[1:] if session.base_policy else session.policies


def has_policies_or_tags(session: SessionClaims) -> bool:
    """Whether it has a session policy or session tag."""
    return bool(session.policies or session.policy_hashes or session.tags)


MAX_TAGS = 50
MAX_SCOPE_DOWNS = 3
MAX_HOPS = 16  # in any chain, independent of the settings
DEFAULT_SECONDS = 3600
_TAG_MARKS: Final = frozenset("_.:/=+-@")  # besides letters, numbers and separators
LONGEST_SESSION_MS = 36 * 3600 * 1000  # GetSessionToken and GetFederationToken: 129,600 s


PERSON_TAG: Final = "daypass:person"
"""A tag of a user, or of a session from its identity provider, that names the person behind it."""


class SessionRefused(Exception):
    """A session with these properties may not exist. `denied` distinguishes a policy refusal from an invalid request."""

    def __init__(self, message: str, *, denied: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.denied = denied


def chain_depth(hops: Sequence[Hop]) -> int:
    """The number of role sessions in this chain: 0 for a user with a long-term key."""
    depth = 0
    for hop in hops:
        if hop.principal_id[:4] == "AROA":
            depth += 1
    return depth


def extend_chain(hops: tuple[Hop, ...], hop: Hop, depth_cap: int) -> tuple[Hop, ...]:
    """The chain with one more role session. Raises SessionRefused when it would exceed the maximum depth."""
    # The depth is at most the length, so a short chain need not be counted.
    if len(hops) >= MAX_HOPS or (len(hops) >= depth_cap and chain_depth(hops) >= depth_cap):
        raise SessionRefused(
            f"The chain of assumed roles would be deeper than the {depth_cap} sessions that are allowed here.",
            denied=True,
        )
    return (*hops, hop)


def is_tag_text(text: str, limit: int) -> bool:
    """Whether a tag's key or value may be this text of at most `limit` characters (STS API, tagKeyType and tagValueType)."""
    return len(text) <= limit and all(c in _TAG_MARKS or unicodedata.category(c)[0] in "LNZ" for c in text)


def merge_tags(requested: Tags, inherited: Tags) -> Tags:
    """The tags of a new session: the requested tags and the transitive tags of the calling session.

    Keys are unique; case is ignored. A transitive tag cannot be overridden, not even with its own value
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
    """The tags that every session made from this one inherits. PERSON_TAG is always one of them: no chain hides who the
    person is (attack A280).
    """
    if claims is None or not claims.tags:
        return ()
    handed_on = {PERSON_TAG, *(key.lower() for key in claims.transitive_keys)}
    return tuple(tag for tag in claims.tags if tag[0].lower() in handed_on)


def merge_transitive(requested_keys: Sequence[str], requested: Tags, inherited: Tags) -> tuple[str, ...]:
    """The transitive keys of a new session. Inherited keys remain transitive in the whole chain.

    Raises SessionRefused for a key that is not among the requested tags.
    """
    by_key = {key.lower(): key for key, _ in requested}
    chosen = dict.fromkeys([key.lower() for key in requested_keys])
    if not chosen.keys() <= by_key.keys():
        raise SessionRefused("The specified transitive tag key must be included in the requested tags.")
    return (*[key for key, _ in inherited], *[by_key[key] for key in chosen])


@lru_cache(maxsize=512)  # many requests have the same tags; refusals are not cached
def session_tags(requested: Tags, transitive_keys: tuple[str, ...], inherited: Tags) -> tuple[Tags, tuple[str, ...]]:
    """The tags and the transitive keys of a new session: see `merge_tags` and `merge_transitive`."""
    return merge_tags(requested, inherited), merge_transitive(transitive_keys, requested, inherited)


def role_session_seconds(requested: int | None, role: Role, *, chained: bool) -> int:
    """The lifetime of a session of `role`. Raises SessionRefused when the request exceeds the role's maximum.

    A chained session (the caller is a role session) is limited to the role's `chained_max_seconds`, an hour unless the
    role is configured otherwise. Source: STS API, "AssumeRole", DurationSeconds.
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
