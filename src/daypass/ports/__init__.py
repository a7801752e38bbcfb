"""The few protocols that operations need, and the one value that carries them (`Env`).

Adapters live in stores, crypto, federation and audit; `server.py` alone builds them. Operations and wire import
only this.
"""

from __future__ import annotations

from daypass.ports.basics import Clock, Ids
from daypass.ports.certificates import CertificateVerifier, Sighting, Sightings
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
from daypass.ports.env import Call, Env, Limits
from daypass.ports.record import Journal, LogView, RecordFilter, Records, RecordView, SessionFilter, SessionView, Viewer
from daypass.ports.saml import SamlArrival, SamlMetadata, SamlMetadataView, SamlVerifier
from daypass.ports.secrets import Sealer
from daypass.ports.tokens import IssuerKeys, IssuerStatus, IssuerStatuses, KeySet, TokenVerifier, UnverifiedToken

__all__ = [
    "AccountView",
    "Call",
    "CertificateVerifier",
    "Clock",
    "Directory",
    "Env",
    "Ids",
    "IssuerKeys",
    "IssuerStatus",
    "IssuerStatuses",
    "Journal",
    "KeySet",
    "KeyView",
    "Limits",
    "LogView",
    "ManagedPolicyView",
    "PolicyContentView",
    "PrincipalView",
    "Reader",
    "RecordFilter",
    "RecordView",
    "Records",
    "RoleView",
    "SamlArrival",
    "SamlMetadata",
    "SamlMetadataView",
    "SamlVerifier",
    "Sealer",
    "SessionFilter",
    "SessionView",
    "Sighting",
    "Sightings",
    "TokenVerifier",
    "TrustAnchorView",
    "Tx",
    "UnverifiedToken",
    "Viewer",
]
