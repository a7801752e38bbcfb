"""The few protocols that operations need, and the one value that carries them (`Env`).

Adapters are in stores, crypto, federation and audit; only the server package builds them. Operations and wire import
only this package.
"""

from __future__ import annotations

from daypass.ports.basics import Clock, Ids
from daypass.ports.certificates import CertificateUse, CertificateUses, CertificateVerifier
from daypass.ports.directory import (
    AccountView,
    Directory,
    KeyView,
    ManagedPolicyView,
    PolicyContentView,
    PrincipalView,
    Reader,
    RoleView,
    TrustAnchorView,
    Tx,
)
from daypass.ports.env import Call, Env, Limits, PasskeyPolicy
from daypass.ports.heavy import HeavyWork, Scene
from daypass.ports.measurements import CheckResult, Measurement, Measurements
from daypass.ports.oauth import NO_OAUTH, AuthorizationServer, ClientDocuments, ClientProofs, DpopClaims, TokenSigner
from daypass.ports.outbound import Mail, Outbound, OutboundFailed, Schedules
from daypass.ports.rates import Rates
from daypass.ports.record import (
    ChainCheck,
    Journal,
    LogView,
    Offline,
    ProofUsed,
    RecordFilter,
    Records,
    RecordView,
    SessionFilter,
    SessionView,
    Viewer,
)
from daypass.ports.refusals import Refusals
from daypass.ports.revocations import FeedState, NodeProofs, RevocationFeed, StatusList, StatusLists
from daypass.ports.saml import SamlArrival, SamlMetadata, SamlMetadataView, SamlVerifier
from daypass.ports.secrets import OpensSecrets, Sealer
from daypass.ports.sign_in import ProviderEndpoints, ProviderTokens, SignInProviders
from daypass.ports.tokens import IssuerKeys, IssuerStatus, IssuerStatuses, KeySet, TokenVerifier, UnverifiedToken
