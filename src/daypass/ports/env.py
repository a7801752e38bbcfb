"""The one value that carries all adapters to the operations."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from daypass.crypto.ids import Ids
from daypass.data import BuiltinPolicies
from daypass.domain.arn import Source, network_of
from daypass.domain.claims import Caller, RequestFacts
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.ports.directory import Reader
from daypass.ports.heavy import HeavyWork
from daypass.scheduling.buckets import Slices

if TYPE_CHECKING:  # nothing is loaded: the adapters import the modules of `ports`
    from daypass.audit.certificate_uses import CertificateUses
    from daypass.audit.journal import Journal
    from daypass.audit.read import Records
    from daypass.audit.refusals import Refusals
    from daypass.audit.status_lists import LogStatusLists
    from daypass.crypto.authorities import Authorities
    from daypass.crypto.seal import Sealer
    from daypass.crypto.signing import RingNodeProofs, RingSigner
    from daypass.federation.client_proofs import ClientDocuments, SignedProofs
    from daypass.federation.keys import IssuerKeys
    from daypass.federation.oidc import OidcVerifier
    from daypass.federation.saml import SamlServiceProvider
    from daypass.federation.saml_metadata import SamlMetadata
    from daypass.federation.sign_in import SignInProviders
    from daypass.federation.x509 import X509Verifier
    from daypass.observability.measurements import Measurements
    from daypass.outbound import Mail, Outbound, Schedules
    from daypass.ports.clock import Clock
    from daypass.scheduling.buckets import RequestRates
    from daypass.stores.directory import Directory
    from daypass.stores.revocation_feed import RevocationFeed


class PasskeyPolicy(Struct, frozen=True):
    """Which authenticators may be registered. The default accepts all."""

    roots: tuple[bytes, ...] = ()  # certificates (DER), one of which must have issued the authenticator's attestation
    models: frozenset[str] = frozenset()  # AAGUIDs; one must be the authenticator's. Only an attestation proves a model


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
class OAuthKeys:
    """Signs access tokens, verifies what clients sign, and fetches the metadata documents of clients."""

    signer: RingSigner
    proofs: SignedProofs
    documents: ClientDocuments


@dataclass(frozen=True, slots=True)
class AuthorizationServer:
    """The authorization server of this installation. It exists only with a public URL."""

    issuer: str  # its URL, without a slash at its end; "" when OAuth is off
    keys: OAuthKeys | None
    algorithm: str = "ES256"  # what access tokens are signed with
    exceptions: Mapping[str, str] = field(default_factory=dict)  # algorithm by audience, where it is another
    # What tokens for other clouds may be signed with; the first is the default.
    web_identity_algorithms: tuple[str, ...] = ("ES256",)
    registration: bool = False  # whether clients may register themselves (RFC 7591)

    @property
    def enabled(self) -> bool:
        """Whether this installation has an authorization server."""
        return self.keys is not None

    @property
    def signer(self) -> RingSigner:
        """Signs and verifies access tokens. Raises UNSUPPORTED_OPERATION when OAuth is off, as `proofs` and `documents` do."""
        return self._keys.signer

    @property
    def proofs(self) -> SignedProofs:
        """Verifies what clients sign."""
        return self._keys.proofs

    @property
    def documents(self) -> ClientDocuments:
        """The metadata documents of clients whose client_id is a URL."""
        return self._keys.documents

    @property
    def _keys(self) -> OAuthKeys:
        if self.keys is None:
            raise DaypassError(ErrorKind.UNSUPPORTED_OPERATION, "OAuth is off: server.public_url is not set.")
        return self.keys

    def sign(self, claims: Mapping[str, Any], typ: str) -> str:
        """The claims as a token of this type, by the usual algorithm. Raises what `signer.sign` raises."""
        return self.signer.sign(claims, self.algorithm, typ)

    def algorithm_for(self, audiences: Collection[str], registered: Collection[str] = ()) -> str:
        """The algorithm for a token with these audiences. Raises ValueError when they need different ones.

        `registered`: the algorithms of the resource servers among the audiences, which override the settings.
        """
        wanted = set(registered) or {self.exceptions[name] for name in audiences if name in self.exceptions}
        if len(wanted) > 1:
            raise ValueError("the audiences need tokens of different algorithms")
        return wanted.pop() if wanted else self.algorithm


NO_OAUTH: Final = AuthorizationServer("", None)


@dataclass(frozen=True, slots=True)
class Scene:
    """The inputs of work that reads, in whichever thread or process it runs: one snapshot of the database, and constants."""

    tx: Reader
    ids: Ids
    builtin: BuiltinPolicies  # as `Env.builtin`
    saml_metadata: SamlMetadata
    certificates: X509Verifier
    public_url: str = ""  # of the installation


@dataclass(frozen=True, slots=True)
class Env:
    """Everything that an operation may use: the only dependency injection.

    No member is ever None. A disabled feature is a member that reports that it is disabled.
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
    tokens: OidcVerifier
    issuers: IssuerKeys
    certificates: X509Verifier
    certificate_uses: CertificateUses
    refusals: Refusals
    saml: SamlServiceProvider
    rates: RequestRates
    heavy: HeavyWork
    oauth: AuthorizationServer  # `NO_OAUTH` without a public URL
    revocations: RevocationFeed
    statuses: LogStatusLists
    authorities: Authorities
    nodes: RingNodeProofs
    outbound: Outbound
    mail: Mail
    schedules: Schedules
    sign_in: SignInProviders
    measurements: Measurements
    slices: Slices = field(default_factory=Slices)

    def scene(self, tx: Reader) -> Scene:
        """The inputs of work that reads in this process."""
        url = self.limits.public_url
        return Scene(tx, self.ids, self.builtin, self.saml_metadata, self.certificates, url)


class Call(Struct, frozen=True):
    """One authenticated request on its way through the operations."""

    caller: Caller
    facts: RequestFacts
    now: int  # ms; when the request was authenticated

    @property
    def source(self) -> Source:
        """To whom the work for this request is charged."""
        return Source(network_of(self.facts.source_ip), self.caller.account, self.caller.principal_id)
