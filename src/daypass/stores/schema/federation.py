"""The tables of identity providers and trust anchors."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, LargeBinary, Table
from sqlalchemy import UniqueConstraint as Unique

from daypass.stores.metadata import metadata
from daypass.stores.schema.columns import integer, text

oidc_providers = Table(
    "oidc_providers",
    metadata,
    text("account", key=True),
    text("url", key=True),
    integer("created_at"),
    text("client_ids"),
    text("thumbprints"),
    text("tags"),
    text("settings"),
)

saml_providers = Table(
    "saml_providers",
    metadata,
    text("id", key=True),
    text("account"),
    text("name"),
    text("name_key"),
    integer("created_at"),
    integer("valid_until"),
    text("metadata"),
    text("tags"),
    text("encryption_mode", null=True),
    text("private_keys"),
    text("settings"),
    Unique("account", "name_key"),
)

trust_anchors = Table(
    "trust_anchors",
    metadata,
    text("id", key=True),
    text("account"),
    text("region"),
    text("name"),
    integer("created_at"),
    integer("updated_at"),
    text("certificates"),
    Column("enabled", Boolean, nullable=False),
    text("notifications"),
    text("tags"),
    Index(None, "account", "id"),
)

x509_profiles = Table(
    "x509_profiles",
    metadata,
    text("id", key=True),
    text("account"),
    text("region"),
    text("name"),
    integer("created_at"),
    integer("updated_at"),
    text("created_by"),
    Column("enabled", Boolean, nullable=False),
    text("role_arns"),
    text("managed_policy_arns"),
    text("session_policy"),
    integer("duration_seconds"),
    Column("require_instance_properties", Boolean, nullable=False),
    Column("accept_role_session_name", Boolean, nullable=False),
    text("mappings"),
    text("tags"),
    Index(None, "account", "id"),
)

crls = Table(
    "crls",
    metadata,
    text("id", key=True),
    text("account"),
    text("region"),
    text("name"),
    integer("created_at"),
    integer("updated_at"),
    text("trust_anchor_id"),
    Column("data", LargeBinary, nullable=False),
    Column("enabled", Boolean, nullable=False),
    text("tags"),
    Index(None, "account", "id"),
    Index(None, "trust_anchor_id"),
)

x509_subjects = Table(
    "x509_subjects",
    metadata,
    text("id", key=True),
    text("account"),
    text("region"),
    text("x509_subject"),
    integer("created_at"),
    integer("updated_at"),
    integer("last_seen_at"),
    Column("enabled", Boolean, nullable=False),
    text("credentials"),
    text("instance_properties"),
    text("tags"),
    Index(None, "account", "id"),
)

issuer_key_sets = Table(
    "issuer_key_sets",
    metadata,
    text("source", key=True),
    text("account"),
    text("url"),
    text("jwks"),
    integer("fetched_at"),
    integer("sequence"),
    integer("claimed_at"),
)

issuer_allow_lists = Table(
    "issuer_allow_lists",
    metadata,
    text("account", key=True),
    text("issuers"),
    integer("updated_at"),
)

outbound_federations = Table(
    "outbound_federations",
    metadata,
    text("account", key=True),
    text("issuer_id"),
    Column("enabled", Boolean, nullable=False),
    integer("changed_at"),
)
