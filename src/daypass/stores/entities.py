"""How each entity of `domain.directory` is stored, found and announced: one row of `_TABLE` for each.

It must not know any operation: what may be written, and by whom, is decided before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import BigInteger, Column, Table

from daypass.domain import directory as d
from daypass.stores import schema

NAME_KEY = "name_key"
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def ascii_lower(name: str) -> str:
    """`name` with A-Z lowered and nothing else: the Kelvin sign is no k (attack A44)."""
    return name.lower() if name.isascii() else name.translate(_LOWER)


def _pairs_out(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def _pairs_in(value: str) -> d.Tags:
    return tuple((key, text) for key, text in json.loads(value))


def _names_in(value: str) -> tuple[str, ...]:
    return tuple(json.loads(value))


def _rows_in(value: str) -> tuple[tuple[str, ...], ...]:
    return tuple(map(tuple, json.loads(value)))


_PACK: Mapping[str, Callable[[Any], Any]] = {
    "tags": _pairs_out,
    "trust_bindings": _pairs_out,
    "client_ids": _pairs_out,
    "thumbprints": _pairs_out,
    "issuers": _pairs_out,
    "private_keys": _pairs_out,
    "former_hashes": _pairs_out,
    "notifications": _pairs_out,
    "role_arns": _pairs_out,
    "managed_policy_arns": _pairs_out,
    "mappings": _pairs_out,
    "status": str,
}
_UNPACK: Mapping[str, Callable[[Any], Any]] = {
    "tags": _pairs_in,
    "trust_bindings": _pairs_in,
    "client_ids": _names_in,
    "thumbprints": _names_in,
    "issuers": _names_in,
    "private_keys": _rows_in,
    "former_hashes": _names_in,
    "notifications": _rows_in,
    "role_arns": _names_in,
    "managed_policy_arns": _names_in,
    "mappings": _pairs_in,
    "data": bytes,
    "status": d.KeyStatus,
    "sealed_secret": bytes,
    "sealed_seed": bytes,
    "deflated": bytes,
}


@dataclass(frozen=True, slots=True)
class EntityTable:
    """One entity class and its table.

    Attributes:
        keys: the feed keys of an entity: every name under which a cached view may depend on it.
        columns: those of the entity's fields, in the order of the fields.
        primary: names of the primary key's columns.
        integers: names of the columns that hold integers.
        folds: names are unique and found without regard to ASCII case.
        append_only: it is never replaced or deleted.
        announced: its changes go on the feed; what no cached view rests on need not.
    """

    entity: type[Any]
    table: Table
    keys: Callable[[Any], tuple[str, ...]]
    columns: tuple[Column[Any], ...]
    primary: tuple[str, ...]
    integers: frozenset[str]
    folds: bool
    append_only: bool
    announced: bool

    def to_row(self, entity: Any) -> dict[str, Any]:
        """Column values of an entity."""
        row = {}
        for column in self.columns:
            value = getattr(entity, column.name)
            pack = _PACK.get(column.name)
            row[column.name] = pack(value) if pack else value
        if self.folds:
            row[NAME_KEY] = ascii_lower(entity.name)
        return row

    def to_entity(self, row: Any) -> Any:
        """The entity of a row that was selected by `columns`."""
        values = list(row)
        for place, column in enumerate(self.columns):
            unpack = _UNPACK.get(column.name)
            if unpack:
                values[place] = unpack(values[place])
        return self.entity(*values)


_Keys = Callable[[Any], tuple[str, ...]]

_TABLE: tuple[tuple[type[Any], Table, _Keys], ...] = (
    (d.Account, schema.accounts, lambda e: (f"account:{e.id}",)),
    (d.User, schema.users, lambda e: (f"user:{e.id}", f"user_name:{e.account}:{ascii_lower(e.name)}")),
    (d.Group, schema.groups, lambda e: (f"group:{e.id}", f"group_name:{e.account}:{ascii_lower(e.name)}")),
    (d.Membership, schema.memberships, lambda e: (f"owner:{e.user_id}", f"owner:{e.group_id}")),
    (d.Role, schema.roles, lambda e: (f"role:{e.id}", f"role_name:{e.account}:{ascii_lower(e.name)}")),
    (d.ManagedPolicy, schema.managed_policies, lambda e: (f"policy:{e.arn}", f"policy_id:{e.id}")),
    (d.PolicyVersion, schema.policy_versions, lambda e: (f"policy_id:{e.policy_id}",)),
    (d.InlinePolicy, schema.inline_policies, lambda e: (f"owner:{e.owner_id}",)),
    (d.Attachment, schema.attachments, lambda e: (f"owner:{e.owner_id}",)),
    (d.Guardrail, schema.guardrails, lambda e: (f"guardrails:{e.account}",)),
    (d.AccessKey, schema.access_keys, lambda e: (f"access_key:{e.id}", f"owner:{e.owner_id}")),
    (d.OidcProvider, schema.oidc_providers, lambda e: (f"oidc:{e.account}:{e.url}",)),
    (d.SamlProvider, schema.saml_providers, lambda e: (f"saml:{e.account}:{ascii_lower(e.name)}",)),
    (d.TrustAnchor, schema.trust_anchors, lambda e: (f"x509_anchor:{e.id}",)),
    (d.X509Profile, schema.x509_profiles, lambda e: (f"x509_profile:{e.id}",)),
    (d.Crl, schema.crls, lambda e: (f"x509_anchor:{e.trust_anchor_id}",)),
    (d.X509Subject, schema.x509_subjects, lambda e: (f"x509_subject:{e.id}",)),
    (d.IssuerKeySet, schema.issuer_key_sets, lambda e: (f"issuer_keys:{e.source}",)),
    (d.IssuerAllowList, schema.issuer_allow_lists, lambda e: (f"issuers:{e.account}",)),
    (d.MfaDevice, schema.mfa_devices, lambda e: (f"mfa:{e.serial}",)),
    (d.LastUse, schema.last_uses, lambda e: (f"last_use:{e.subject}:{e.operation}",)),
    (d.CredentialReport, schema.credential_reports, lambda e: (f"credential_report:{e.account}",)),
    (d.AccessReport, schema.access_reports, lambda e: (f"access_report:{e.id}",)),
    (d.OutboundFederation, schema.outbound_federations, lambda e: (f"outbound:{e.account}",)),
    (d.InstanceProfile, schema.instance_profiles, lambda e: (f"instance_profile:{e.id}",)),
    (d.AccountAlias, schema.account_aliases, lambda e: (f"account_alias:{e.account}",)),
    (d.PasswordPolicy, schema.password_policies, lambda e: (f"password_policy:{e.account}",)),
    (d.LoginProfile, schema.login_profiles, lambda e: (f"login_profile:{e.user_id}",)),
    (d.Redeemed, schema.redeemed, lambda e: (f"redeemed:{e.purpose}:{e.id}",)),
    (d.PolicyContent, schema.policy_contents, lambda e: (f"content:{e.hash}",)),
    (d.Revocation, schema.revocations, lambda e: (f"revocation:{e.id}",)),
)


_UNANNOUNCED: frozenset[type[Any]] = frozenset(
    {d.IssuerKeySet, d.Redeemed, d.X509Subject, d.MfaDevice, d.LastUse, d.CredentialReport, d.AccessReport}
)


def _entity_table(entity: type[Any], table: Table, keys: _Keys) -> EntityTable:
    return EntityTable(
        entity=entity,
        table=table,
        keys=keys,
        columns=tuple(table.c[field.name] for field in fields(entity)),
        primary=tuple(column.name for column in table.primary_key.columns),
        integers=frozenset(column.name for column in table.c if isinstance(column.type, BigInteger)),
        folds=NAME_KEY in table.c,
        append_only=entity is d.Revocation,
        announced=entity not in _UNANNOUNCED,
    )


ENTITY_TABLES: Mapping[type[Any], EntityTable] = {row[0]: _entity_table(*row) for row in _TABLE}
