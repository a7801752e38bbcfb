"""The result of verifying a federated proof: the same type for every kind of proof.

Only the verifiers in `federation` create these values, and only from signed content. For every kind of proof (token,
assertion, certificate), the trust policy sees a federated or service principal and context keys, nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct, field

from daypass.domain.claims import PrincipalKind
from daypass.domain.delegation import Party
from daypass.domain.directory import Tags
from daypass.domain.policy.model import PrincipalFacts, Value


class OneTime(Struct, frozen=True):
    """A proof that may be used once: see `directory.ReplayEntry`."""

    purpose: str
    id: str
    expires_at: int  # ms; the proof itself expires then


TRANSIENT: Final = "transient:"
"""What the subject of such a principal id begins with."""


class Proof(Struct, frozen=True):
    """Verified facts about a federated principal.

    Attributes:
        kind: WEB_IDENTITY, SAML or CERTIFICATE.
        method: daypass:AuthMethod, and `auth_method` of the session: "oidc", "saml", "x509".
        account: the account of the provider (or trust anchor).
        provider: its ARN, which Principal elements of the type Federated name.
        subject: the identity, as the provider names it.
        issuer, audience: for the response and the record.
        keys: context keys of the proof, lower-cased: "<issuer>:sub", "saml:aud", "aws:principaltag/x509subject/cn" ….
        tags, transitive_keys, source_identity: what the proof requests for the session.
        service: the service principal that trust policies name instead of a provider, or "".
        one_time: set when this proof may be used only once.
        not_after: ms; the latest end of the session; 0: no limit.
        record: further facts for the record, JSON; never the proof itself.
        actors: the parties that act for the subject, newest first.
        may_act: the party that may act for the subject; the proof is then accepted only together with a proof of that
            party.
        session_keys: the context keys of the proof that policies also see in calls of the session.
        authenticated_at: ms; when the provider authenticated the person, as it says; 0: it does not say.
        methods: how (RFC 8176), as it says.
        transient: the provider names the identity anew at each sign-in.
    """

    kind: PrincipalKind
    method: str
    account: str
    provider: str
    subject: str
    issuer: str = ""
    audience: str = ""
    keys: Mapping[str, Value] = field(default_factory=dict)
    tags: Tags = ()
    transitive_keys: tuple[str, ...] = ()
    source_identity: str = ""
    service: str = ""
    one_time: OneTime | None = None
    not_after: int = 0
    record: Mapping[str, object] = field(default_factory=dict)
    session_keys: Mapping[str, Value] = field(default_factory=dict)
    actors: tuple[Party, ...] = ()
    may_act: Party | None = None
    authenticated_at: int = 0
    methods: tuple[str, ...] = ()
    transient: bool = False

    @property
    def principal_id(self) -> str:
        """The principal of the chain's first hop. Revocations of kind "principal" name it."""
        return f"{self.provider}:{TRANSIENT if self.transient else ''}{self.subject}"

    def principal(self) -> PrincipalFacts:
        """The principal as Principal elements match it: a provider's user has no ARN of its own before it has a role."""
        if self.service:
            return PrincipalFacts(kind=self.kind, account="", arns=(), service=self.service)
        return PrincipalFacts(kind=self.kind, account="", arns=(), federated=self.provider)


# --- An account's allow-list: the issuers of tokens that it may trust


MAX_ISSUERS = 100
MAX_ISSUER = 255
_BELOW = "/*"
_ENTRY = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~%!$&'()+,;=:@-]*)*"
)


_DOTS = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)


def has_dot_segments(url: str) -> bool:
    """Whether a web server may resolve this URL to another one (RFC 3986, 5.2.4), outside an allowed path."""
    return _DOTS.search(url) is not None


def entry_fault(entry: str) -> str:
    """Why an entry is not valid, in words; "" when it is valid."""
    if len(entry) > MAX_ISSUER or not _ENTRY.fullmatch(entry.removesuffix("*") if entry.endswith(_BELOW) else entry):
        return "an entry is an issuer's URL without https://, or a path and /* for everything below it"
    return ""


def issuer_allowed(allowed: Sequence[str] | None, url: str) -> bool:
    """Whether an account with this allow-list (None: no list, any issuer) may trust the provider `url`. Exact comparison."""
    if allowed is None:
        return True
    if url in allowed:
        return True
    below = (entry[:-1] for entry in allowed if entry.endswith(_BELOW))
    return not has_dot_segments(url) and any(map(url.startswith, below))


def secret_owner(url: str, member: str) -> str:
    """The associated data of a sealed secret: this provider and this member only."""
    return f"oidc-provider/{url}#{member}"
