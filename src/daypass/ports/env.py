"""The one value that carries all ports to the operations."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import Struct

from daypass.data import BuiltinPolicies
from daypass.domain.claims import Caller, RequestFacts
from daypass.domain.source import Source, network_of
from daypass.ports.basics import Clock, Ids
from daypass.ports.certificates import CertificateUses, CertificateVerifier
from daypass.ports.directory import Directory
from daypass.ports.heavy import HeavyWork
from daypass.ports.measurements import Measurements
from daypass.ports.oauth import AuthorizationServer
from daypass.ports.outbound import Mail, Outbound, Schedules
from daypass.ports.rates import Rates
from daypass.ports.record import Journal, Records
from daypass.ports.refusals import Refusals
from daypass.ports.revocations import NodeProofs, RevocationFeed, StatusLists
from daypass.ports.saml import SamlMetadata, SamlVerifier
from daypass.ports.secrets import Sealer
from daypass.ports.sign_in import SignInProviders
from daypass.ports.tokens import IssuerStatuses, TokenVerifier
from daypass.scheduling.slices import Slices


class PasskeyPolicy(Struct, frozen=True):
    """Which authenticators may be registered. The default accepts all.

    Attributes:
        roots: certificates (DER), one of which must have issued the authenticator's attestation.
        models: AAGUIDs; one must be the authenticator's. Only an attestation proves a model.
    """

    roots: tuple[bytes, ...] = ()
    models: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Limits:
    """Settings for operations, with the product's defaults."""

    chain_depth: int = 4
    token_bytes: int = 4096
    regions: frozenset[str] = frozenset()  # empty: any region name is accepted in the credential scope
    skew_ms: int = 300_000
    public_url: str = "http://127.0.0.1:8700"  # the URL under which clients reach the installation
    record_decisions: str = "all"  # which decisions for other services are recorded: all, denied, none
    browser_idle_ms: int = 1_800_000  # a browser that is not used for this long is signed out
    browser_session_ms: int = 43_200_000  # a browser is signed out this long after its sign-in
    passkeys: PasskeyPolicy = field(default_factory=PasskeyPolicy)
    consent_ms: int = 0  # how long a consent is remembered; 0: people are asked each time


@dataclass(frozen=True, slots=True)
class Env:
    """Everything that an operation may use: the only dependency injection.

    No port is ever None. A disabled feature is a port that reports that it is disabled.
    """

    clock: Clock
    ids: Ids
    directory: Directory
    journal: Journal
    sealer: Sealer
    limits: Limits
    records: Records
    builtin: BuiltinPolicies  # built-in managed policies, ARN to text
    saml_metadata: SamlMetadata
    tokens: TokenVerifier
    issuers: IssuerStatuses
    certificates: CertificateVerifier
    certificate_uses: CertificateUses
    refusals: Refusals
    saml: SamlVerifier
    rates: Rates
    heavy: HeavyWork
    oauth: AuthorizationServer  # `NO_OAUTH` without a public URL
    revocations: RevocationFeed
    statuses: StatusLists
    nodes: NodeProofs
    outbound: Outbound
    mail: Mail
    schedules: Schedules
    sign_in: SignInProviders
    measurements: Measurements
    slices: Slices = field(default_factory=Slices)


class Call(Struct, frozen=True):
    """One authenticated request on its way through the operations."""

    caller: Caller
    facts: RequestFacts
    now: int  # ms; when the request was authenticated

    @property
    def source(self) -> Source:
        """To whom the work for this request is charged."""
        return Source(network_of(self.facts.source_ip), self.caller.account, self.caller.principal_id)
