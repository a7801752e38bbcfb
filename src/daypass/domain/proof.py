"""What a verifier has established about somebody who holds no credentials of ours: the one form of every federated proof.

Only the verifiers of `federation` make these, and only of what a signature covers. Whatever the proof was (a token, an
assertion, a certificate), the trust policy sees a federated or service principal and context keys, nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from daypass.domain.claims import PrincipalKind
from daypass.domain.directory import Tags
from daypass.domain.policy.model import PrincipalFacts, Value


@dataclass(frozen=True, slots=True)
class OneTime:
    """A proof that may be used once: see `directory.Redeemed`."""

    purpose: str
    id: str
    expires_at: int  # ms; the proof itself is refused after this


@dataclass(frozen=True, slots=True)
class Proof:
    """Verified facts about a federated principal.

    Attributes:
        kind: WEB_IDENTITY, SAML or CERTIFICATE.
        method: daypass:AuthMethod, and `auth_method` of the session: "oidc", "saml", "x509".
        account: whose provider (or trust anchor) vouches.
        provider: its ARN: what Principal elements of the type Federated name.
        subject: whom it vouches for, as the provider says it.
        issuer, audience: for the answer and the record.
        keys: context keys of the proof, lower-cased: "<issuer>:sub", "saml:aud", "aws:principaltag/x509subject/cn" ….
        tags, transitive_keys, source_identity: what the proof itself asks the session to have.
        service: the service principal that trust policies name instead of a provider, or "".
        one_time: set when this proof may be redeemed once only.
        not_after: ms; the session ends by then at the latest; 0: no such end.
        record: further facts for the record, JSON; never the proof itself.
        session_keys: those context keys of the proof that policies also see in calls of the session itself.
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

    @property
    def principal_id(self) -> str:
        """The principal of the chain's first hop: what a revocation of kind "principal" names."""
        return f"{self.provider}:{self.subject}"

    def principal(self) -> PrincipalFacts:
        """As Principal elements see it: a provider's user has no ARN of its own before it has a role."""
        if self.service:
            return PrincipalFacts(kind=self.kind, account="", arns=(), service=self.service)
        return PrincipalFacts(kind=self.kind, account="", arns=(), federated=self.provider)
