"""The adapters that operations use, carried by one value (`Env`), and the data that both know.

Only the server package builds adapters. Operations and wire import only this package. Adapters import its modules, which
name no adapter; only `env` does, for the type checker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daypass.crypto.ids import Ids
from daypass.observability.totals import CheckResult, Measurement
from daypass.ports.certificates import (
    DpopClaims,
    IssuerStatus,
    KeySet,
    OutboundFailed,
    ProviderEndpoints,
    ProviderTokens,
    SamlArrival,
    SamlMetadataView,
)
from daypass.ports.directory import (
    AccountView,
    KeyView,
    ManagedPolicyView,
    PolicyContentView,
    PrincipalView,
    Reader,
    RoleView,
    TrustAnchorView,
    Tx,
)
from daypass.ports.env import NO_OAUTH, AuthorizationServer, Call, Env, Limits, OAuthKeys, PasskeyPolicy, Scene
from daypass.ports.heavy import HeavyWork
from daypass.ports.record import (
    CertificateUse,
    ChainCheck,
    FeedState,
    Offline,
    ProofUsed,
    RecordFilter,
    RecordView,
    SessionFilter,
    SessionView,
    StatusList,
    Viewer,
)

if TYPE_CHECKING:
    from daypass.crypto.seal import Sealer
    from daypass.federation.saml_metadata import SamlMetadata
    from daypass.federation.x509 import X509Verifier
    from daypass.outbound import Outbound
