"""How each entity of `domain.directory` is stored, looked up and announced: one row of `_TABLE` for each.

Each has one table with one column for each of its fields. A `name_key` is the name with ASCII letters lowered: names are
unique and found without regard to case. No table has a foreign key, because others may still refer to an entity that is
removed. Readers treat a missing entity as absent.

It must not know any operation. Callers decide what may be written, and by whom.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Column, Index, Table
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy import text as sql
from sqlalchemy.schema import SchemaItem

from daypass.domain import directory as d
from daypass.stores.columns import entity_table, text

NAME_KEY = "name_key"
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def ascii_lower(name: str) -> str:
    """`name` with only A-Z lowered: the Kelvin sign does not become k (attack A44)."""
    return name.lower() if name.isascii() else name.translate(_LOWER)


def _tuples_out(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def _texts_in(value: str) -> tuple[str, ...]:
    return tuple(json.loads(value))


def _tuples_in(value: str) -> tuple[tuple[str, ...], ...]:
    if value == "[]":  # most entities have none, and a search reads many of them
        return ()
    return tuple(map(tuple, json.loads(value)))


class Codec(NamedTuple):
    """How the values of a field are written and read that are not stored as they are. `place`: of the field."""

    place: int
    name: str
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


_PLAIN: Final = frozenset({"str", "str | None", "int", "int | None", "bool", "bool | None"})
_CODECS: Final[Mapping[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]]] = {
    "bytes": (bytes, bytes),
    "KeyStatus": (str, d.KeyStatus),
    "RequestState": (str, d.RequestState),
    "tuple[str, ...]": (_tuples_out, _texts_in),
    **dict.fromkeys(
        (
            "Tags",
            "tuple[tuple[str, str], ...]",
            "tuple[tuple[str, str, str], ...]",
            "tuple[tuple[str, str, str, str], ...]",
            "tuple[tuple[str, ...], ...]",
        ),
        (_tuples_out, _tuples_in),
    ),
}
"""Codecs by the type of the field, which is one of these or `_PLAIN`."""


def _codecs(entity: type[Any]) -> Iterator[Codec]:
    for place, field in enumerate(fields(entity)):
        if field.type not in _PLAIN:
            yield Codec(place, field.name, *_CODECS[str(field.type)])


class FeedKey(NamedTuple):
    """How one feed key of an entity is made: "role_name:{}:{}" of its fields `account` and `name`.

    `name_at`: the index of the field `name`, which is compared without regard to case; -1 if there is none.
    """

    kind: str
    fields: tuple[str, ...]
    template: str
    name_at: int

    def of(self, values: Sequence[str]) -> str:
        """The key for these values of the fields."""
        if len(values) != len(self.fields):
            raise TypeError(f"{self.kind} is made of {', '.join(self.fields)}")
        at = self.name_at
        if at >= 0:
            values = (*values[:at], ascii_lower(values[at]), *values[at + 1 :])
        return self.template.format(*values)


def _feed_key(written: str) -> FeedKey:
    """Parses "role_name:account:name"."""
    kind, *names = written.split(":")
    template = ":".join((kind, *("{}" for _ in names)))
    return FeedKey(kind, tuple(names), template, names.index("name") if "name" in names else -1)


@dataclass(frozen=True, slots=True)
class EntityTable:
    """One entity class and its table."""

    entity: type[Any]
    table: Table
    feed_keys: tuple[FeedKey, ...]  # every key under which a cached view may depend on it
    columns: tuple[Column[Any], ...]  # the columns of the entity's fields, in the order of the fields
    codecs: tuple[Codec, ...]
    primary: tuple[str, ...]  # names of the primary key's columns
    integers: frozenset[str]  # names of the columns that hold integers
    folds: bool  # names are unique and looked up without regard to ASCII case
    # The only fields that may change, of an entity that is never deleted; None when there is no limit.
    changeable: frozenset[str] | None
    announced: bool  # its changes are written to the feed. Not needed for an entity that no cached view depends on
    cached: bool  # it is cached unchanged, under its first feed key

    def keys(self, entity: Any) -> tuple[str, ...]:
        """The feed keys of an entity."""
        return tuple(key.of([getattr(entity, name) for name in key.fields]) for key in self.feed_keys)

    def cache_key(self, *values: str) -> str:
        """The key under which `Directory.entity` caches the entity whose first feed key has these values.

        Raises TypeError for an entity that is not cached in this way.
        """
        if not self.cached:
            raise TypeError(f"{self.entity.__name__} is not cached as it is")
        return self.feed_keys[0].of(values)

    def to_row(self, entity: Any) -> dict[str, Any]:
        """Column values of an entity."""
        row = {column.name: getattr(entity, column.name) for column in self.columns}
        for codec in self.codecs:
            row[codec.name] = codec.write(row[codec.name])
        if self.folds:
            row[NAME_KEY] = ascii_lower(entity.name)
        return row

    def to_entity(self, row: Any) -> Any:
        """The entity of a row that was selected by `columns`."""
        values = list(row)
        for place, _, _, read in self.codecs:
            values[place] = read(values[place])
        return self.entity(*values)


def _stored(  # noqa: PLR0913  # one row for each entity: everything about how it is stored, announced and cached
    entity: type[Any],
    name: str,
    primary: str,
    keys: str,
    indexes: str = "",
    *,
    unique: str = "",
    more: Index | None = None,
    cached: bool = False,
    announced: bool = True,
    changeable: frozenset[str] | None = None,
) -> EntityTable:
    """Declares the table of an entity.

    Args:
        name: the table's.
        primary: the fields of the primary key.
        keys: feed keys, each a kind and names of fields, as in "role:id role_name:account:name".
        indexes, unique: their columns, as in "account path, boundary_arn". An entity whose `name_key` is unique has
        that column.
        more: an index of another kind.
        cached: `Directory.entity` reads it through the cache, by the fields of its first key.
        announced, changeable: see EntityTable.
    """
    folds = NAME_KEY in unique
    items: list[SchemaItem] = [text(NAME_KEY)] if folds else []
    items += [Unique(*columns.split()) for columns in filter(None, unique.split(","))]
    items += [Index(None, *columns.split()) for columns in filter(None, indexes.split(","))]
    items += [more] if more is not None else []
    table = entity_table(name, entity, primary, *items)
    return EntityTable(
        entity=entity,
        table=table,
        feed_keys=tuple(map(_feed_key, keys.split())),
        columns=tuple(table.c[field.name] for field in fields(entity)),
        codecs=tuple(_codecs(entity)),
        primary=tuple(column.name for column in table.primary_key.columns),
        integers=frozenset(column.name for column in table.c if isinstance(column.type, BigInteger)),
        folds=folds,
        changeable=changeable,
        announced=announced,
        cached=cached,
    )


_RENEWED: Final = frozenset({"block", "block_until", "issued_before", "created_at", "reason", "created_by"})
"""The fields of a revocation that may change: all but its id, subject and owner."""

_BY_NAME: Final = "account name_key"
_WITH_CONSENT: Final = Index(
    None, "consent_id", sqlite_where=sql("consent_id IS NOT NULL"), postgresql_where=sql("consent_id IS NOT NULL")
)

_TABLE: Final = (
    # Accounts, principals and policies
    _stored(d.Account, "accounts", "id", "account:id"),
    _stored(d.User, "users", "id", "user:id user_name:account:name", "account path, boundary_arn", unique=_BY_NAME),
    _stored(d.Group, "groups", "id", "group:id group_name:account:name", "account path", unique=_BY_NAME),
    _stored(d.Membership, "memberships", "group_id user_id", "owner:user_id owner:group_id", "user_id"),
    _stored(d.Role, "roles", "id", "role:id role_name:account:name", "account path, boundary_arn", unique=_BY_NAME),
    _stored(
        d.ManagedPolicy,
        "managed_policies",
        "id",
        "policy:arn policy_id:id",
        "account path",
        unique="account name_key, arn",
    ),
    _stored(d.PolicyVersion, "policy_versions", "policy_id version", "policy_id:policy_id"),
    _stored(d.InlinePolicy, "inline_policies", "owner_id name", "owner:owner_id"),
    _stored(d.Attachment, "attachments", "owner_id policy_arn", "owner:owner_id", "policy_arn account"),
    _stored(d.Guardrail, "guardrails", "account name", "guardrails:account"),
    _stored(d.AccessKey, "access_keys", "id", "access_key:id owner:owner_id", "owner_id, account"),
    _stored(
        d.MfaDevice, "mfa_devices", "serial", "mfa:serial", "owner_id", unique="account path name_key", announced=False
    ),
    _stored(
        d.InstanceProfile, "instance_profiles", "id", "instance_profile:id", "account path, role_id", unique=_BY_NAME
    ),
    _stored(d.AccountAlias, "account_aliases", "alias", "account_alias:account", unique="account"),
    _stored(d.PasswordPolicy, "password_policies", "account", "password_policy:account"),
    _stored(d.LoginProfile, "login_profiles", "user_id", "login_profile:user_id", cached=True),
    # Identity providers and trust anchors
    _stored(d.OidcProvider, "oidc_providers", "account url", "oidc:account:url", cached=True),
    _stored(
        d.PodIdentityAssociation,
        "pod_identity_associations",
        "account subject",
        "pod_identity:account:subject",
        cached=True,
    ),
    _stored(d.SamlProvider, "saml_providers", "id", "saml:account:name", unique=_BY_NAME, cached=True),
    _stored(d.TrustAnchor, "trust_anchors", "id", "x509_anchor:id", "account id"),
    _stored(d.X509Profile, "x509_profiles", "id", "x509_profile:id", "account id", cached=True),
    _stored(d.Crl, "crls", "id", "x509_anchor:trust_anchor_id", "account id, trust_anchor_id"),
    _stored(d.X509Subject, "x509_subjects", "id", "x509_subject:id", "account id", announced=False),
    _stored(d.IssuerKeySet, "issuer_key_sets", "source", "issuer_keys:source", announced=False),
    _stored(d.IssuerAllowList, "issuer_allow_lists", "account", "issuers:account"),
    _stored(d.OutboundFederation, "outbound_federations", "account", "outbound:account", cached=True),
    # OAuth
    _stored(
        d.OAuthClient, "oauth_clients", "id", "oauth_client:id document_clients:account", "account id", cached=True
    ),
    _stored(
        d.ResourceServer,
        "resource_servers",
        "account identifier",
        "resource_server:identifier",
        more=Index(None, "identifier", unique=True),
        cached=True,
    ),
    _stored(d.OAuthCode, "oauth_codes", "purpose id", "oauth_code:purpose:id", "expires_at", announced=False),
    _stored(
        d.RefreshFamily,
        "refresh_families",
        "id",
        "refresh_family:id",
        "expires_at, account id, account principal_id id",
        more=_WITH_CONSENT,
        announced=False,
    ),
    # Sign-in by browser
    _stored(
        d.BrowserSession,
        "browser_sessions",
        "id",
        "browser_session:id",
        "account principal_id, expires_at",
        cached=True,
    ),
    _stored(
        d.Passkey, "passkeys", "id", "passkey:id", more=Index(None, "user_id", "name", unique=True), announced=False
    ),
    _stored(d.RecoveryCode, "recovery_codes", "user_id digest", "recovery_code:user_id:digest", announced=False),
    _stored(d.Consent, "consents", "id", "consent:id", "account person_id, expires_at", cached=True),
    # SCIM
    _stored(
        d.ScimToken, "scim_tokens", "id", "scim_token:id", more=Index(None, "account", "name", unique=True), cached=True
    ),
    _stored(
        d.ScimResource,
        "scim_resources",
        "id",
        "scim_resource:id",
        "account resource_type id, account resource_type external_id",
        announced=False,
    ),
    # Access requests, grants and notifications
    _stored(d.ApprovalRule, "approval_rules", "account name", "approval_rule:account:name"),
    _stored(
        d.AccessRequest,
        "access_requests",
        "id",
        "access_request:id",
        "account state id, state deadline, beneficiary_id id",
        unique="account requester_id client_token",
    ),
    _stored(
        d.AccessVote, "access_votes", "request_id approver_id", "access_vote:request_id:approver_id", announced=False
    ),
    _stored(
        d.Grant,
        "grants",
        "id",
        "grants:role_id",
        "role_id ended_at, request_id, ended_at account, ended_at ends_at, ended_at claimed_at claim_by, ended_at id, "
        "account id",
    ),
    _stored(d.AccessReview, "access_reviews", "id", "access_review:id", "account closed_at id", announced=False),
    _stored(d.NotificationChannel, "notification_channels", "account name", "notify:account:name", announced=False),
    _stored(d.ChatLink, "chat_links", "account id", "chat_link:account:id", "user_id id", announced=False),
    _stored(
        d.Notification,
        "notifications",
        "id",
        "notification:id",
        "outcome next_at, outcome account next_at, account id",
        announced=False,
    ),
    # Event streams
    _stored(d.EventStream, "event_streams", "id", "event_stream:id", "account id, next_at", announced=False),
    _stored(
        d.RemovedSubject, "removed_subjects", "stream_id digest", "removed_subject:stream_id:digest", announced=False
    ),
    _stored(d.SecurityEvent, "security_events", "id", "security_event:id", "stream_id outcome id", announced=False),
    # Last uses, one-time items, revocations
    _stored(d.LastUse, "last_uses", "subject operation", "last_use:subject:operation", announced=False),
    _stored(d.CredentialReport, "credential_reports", "account", "credential_report:account", announced=False),
    _stored(d.AccessReport, "access_reports", "id", "access_report:id", "created_at", announced=False),
    _stored(d.ReplayEntry, "redeemed", "purpose id", "redeemed:purpose:id", "expires_at", announced=False),
    _stored(d.PolicyContent, "policy_contents", "hash", "content:hash", "keep_until"),
    _stored(
        d.Revocation,
        "revocations",
        "id",
        "revocation:id",
        "position, account created_at, account subject value",
        changeable=_RENEWED,
    ),
)

ENTITY_TABLES: Mapping[type[Any], EntityTable] = {row.entity: row for row in _TABLE}
