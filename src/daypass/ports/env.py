"""The one value that carries all ports to the operations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from daypass.domain.claims import Caller, RequestFacts
from daypass.domain.value import value
from daypass.ports.basics import Clock, Ids
from daypass.ports.certificates import CertificateVerifier, Sightings
from daypass.ports.directory import Directory
from daypass.ports.record import Journal, Records
from daypass.ports.saml import SamlMetadata, SamlVerifier
from daypass.ports.secrets import Sealer
from daypass.ports.tokens import IssuerStatuses, TokenVerifier


@dataclass(frozen=True, slots=True)
class Limits:
    """Settings that operations obey. Defaults are the product's."""

    chain_depth: int = 4
    token_bytes: int = 4096
    regions: frozenset[str] = frozenset()  # empty: any region name is accepted in the credential scope
    skew_ms: int = 300_000
    public_url: str = "http://127.0.0.1:8700"  # where others reach the installation


@dataclass(frozen=True, slots=True)
class Env:
    """Everything an operation may use. This is all the dependency injection there is."""

    clock: Clock
    ids: Ids
    directory: Directory
    journal: Journal
    sealer: Sealer
    limits: Limits
    records: Records | None = None  # None where nothing reads the record
    builtin: Mapping[str, str] | None = None  # built-in managed policies, ARN to text; None: those of `daypass.data`
    saml_metadata: SamlMetadata | None = None  # None where no SAML provider is made
    tokens: TokenVerifier | None = None  # None where no tokens are taken
    issuers: IssuerStatuses | None = None  # None where no keys are fetched
    certificates: CertificateVerifier | None = None  # None: no X.509 sessions
    sightings: Sightings | None = None
    saml: SamlVerifier | None = None  # None where no SAML response is taken


@value
class Call:
    """One authenticated request on its way through the operations."""

    caller: Caller
    facts: RequestFacts
    now: int  # ms; when the request was authenticated
