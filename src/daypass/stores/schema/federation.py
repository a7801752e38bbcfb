"""The tables of identity providers and trust anchors."""

from __future__ import annotations

from sqlalchemy import Index
from sqlalchemy import UniqueConstraint as Unique

from daypass.domain import directory as d
from daypass.stores.schema.columns import entity_table, text

oidc_providers = entity_table("oidc_providers", d.OidcProvider, "account url")

saml_providers = entity_table("saml_providers", d.SamlProvider, "id", text("name_key"), Unique("account", "name_key"))

trust_anchors = entity_table("trust_anchors", d.TrustAnchor, "id", Index(None, "account", "id"))

x509_profiles = entity_table("x509_profiles", d.X509Profile, "id", Index(None, "account", "id"))

crls = entity_table("crls", d.Crl, "id", Index(None, "account", "id"), Index(None, "trust_anchor_id"))

x509_subjects = entity_table("x509_subjects", d.X509Subject, "id", Index(None, "account", "id"))

issuer_key_sets = entity_table("issuer_key_sets", d.IssuerKeySet, "source")

issuer_allow_lists = entity_table("issuer_allow_lists", d.IssuerAllowList, "account")

outbound_federations = entity_table("outbound_federations", d.OutboundFederation, "account")
