"""How each entity of `domain.directory` is stored, looked up and announced: one row of `_TABLE` for each.

It must not know any operation. Callers decide what may be written, and by whom.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Column, Table

from daypass.domain import directory as d
from daypass.stores import schema

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
"""By the type of the field, which is one of these or `_PLAIN`."""


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
    """One entity class and its table.

    Attributes:
        feed_keys: every key under which a cached view may depend on it.
        columns: the columns of the entity's fields, in the order of the fields.
        primary: names of the primary key's columns.
        integers: names of the columns that hold integers.
        folds: names are unique and looked up without regard to ASCII case.
        changeable: the only fields that may change, of an entity that is never deleted; None when there is no limit.
        announced: its changes are written to the feed. Not needed for an entity that no cached view depends on.
        cached: it is cached unchanged, under its first feed key.
    """

    entity: type[Any]
    table: Table
    feed_keys: tuple[FeedKey, ...]
    columns: tuple[Column[Any], ...]
    codecs: tuple[Codec, ...]
    primary: tuple[str, ...]
    integers: frozenset[str]
    folds: bool
    changeable: frozenset[str] | None
    announced: bool
    cached: bool

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


class _Row(NamedTuple):
    """One entity: everything about how it is stored, announced and cached.

    Attributes:
        keys: feed keys, each a kind and names of fields: "role_name:account:name".
        cached: `Directory.entity` reads it through the cache, by the fields of its first key.
        announced, changeable: see EntityTable.
    """

    entity: type[Any]
    table: Table
    keys: tuple[str, ...]
    cached: bool = False
    announced: bool = True
    changeable: frozenset[str] | None = None


_RENEWED: Final = frozenset({"block", "block_until", "issued_before", "created_at", "reason", "created_by"})
"""The fields of a revocation that may change: all but its id, subject and owner."""

_TABLE: Final = (
    _Row(d.Account, schema.accounts, ("account:id",)),
    _Row(d.User, schema.users, ("user:id", "user_name:account:name")),
    _Row(d.Group, schema.groups, ("group:id", "group_name:account:name")),
    _Row(d.Membership, schema.memberships, ("owner:user_id", "owner:group_id")),
    _Row(d.Role, schema.roles, ("role:id", "role_name:account:name")),
    _Row(d.ManagedPolicy, schema.managed_policies, ("policy:arn", "policy_id:id")),
    _Row(d.PolicyVersion, schema.policy_versions, ("policy_id:policy_id",)),
    _Row(d.InlinePolicy, schema.inline_policies, ("owner:owner_id",)),
    _Row(d.Attachment, schema.attachments, ("owner:owner_id",)),
    _Row(d.Guardrail, schema.guardrails, ("guardrails:account",)),
    _Row(d.AccessKey, schema.access_keys, ("access_key:id", "owner:owner_id")),
    _Row(d.OidcProvider, schema.oidc_providers, ("oidc:account:url",), cached=True),
    _Row(d.SamlProvider, schema.saml_providers, ("saml:account:name",), cached=True),
    _Row(d.TrustAnchor, schema.trust_anchors, ("x509_anchor:id",)),
    _Row(d.X509Profile, schema.x509_profiles, ("x509_profile:id",), cached=True),
    _Row(d.Crl, schema.crls, ("x509_anchor:trust_anchor_id",)),
    _Row(d.X509Subject, schema.x509_subjects, ("x509_subject:id",), announced=False),
    _Row(d.IssuerKeySet, schema.issuer_key_sets, ("issuer_keys:source",), announced=False),
    _Row(d.IssuerAllowList, schema.issuer_allow_lists, ("issuers:account",)),
    _Row(d.MfaDevice, schema.mfa_devices, ("mfa:serial",), announced=False),
    _Row(d.LastUse, schema.last_uses, ("last_use:subject:operation",), announced=False),
    _Row(d.CredentialReport, schema.credential_reports, ("credential_report:account",), announced=False),
    _Row(d.AccessReport, schema.access_reports, ("access_report:id",), announced=False),
    _Row(d.OAuthClient, schema.oauth_clients, ("oauth_client:id", "document_clients:account"), cached=True),
    _Row(d.ResourceServer, schema.resource_servers, ("resource_server:account:identifier",), cached=True),
    _Row(d.OAuthCode, schema.oauth_codes, ("oauth_code:purpose:id",), announced=False),
    _Row(d.RefreshFamily, schema.refresh_families, ("refresh_family:id",), announced=False),
    _Row(d.OutboundFederation, schema.outbound_federations, ("outbound:account",), cached=True),
    _Row(d.InstanceProfile, schema.instance_profiles, ("instance_profile:id",)),
    _Row(d.AccountAlias, schema.account_aliases, ("account_alias:account",)),
    _Row(d.PasswordPolicy, schema.password_policies, ("password_policy:account",)),
    _Row(d.LoginProfile, schema.login_profiles, ("login_profile:user_id",), cached=True),
    _Row(d.Consent, schema.consents, ("consent:id",), cached=True),
    _Row(d.BrowserSession, schema.browser_sessions, ("browser_session:id",), cached=True),
    _Row(d.Passkey, schema.passkeys, ("passkey:id",), announced=False),
    _Row(d.RecoveryCode, schema.recovery_codes, ("recovery_code:user_id:digest",), announced=False),
    _Row(d.ScimToken, schema.scim_tokens, ("scim_token:id",), cached=True),
    _Row(d.ScimResource, schema.scim_resources, ("scim_resource:id",), announced=False),
    _Row(d.ReplayEntry, schema.redeemed, ("redeemed:purpose:id",), announced=False),
    _Row(d.PolicyContent, schema.policy_contents, ("content:hash",)),
    _Row(d.ApprovalRule, schema.approval_rules, ("approval_rule:account:name",)),
    _Row(d.AccessRequest, schema.access_requests, ("access_request:id",), announced=False),
    _Row(d.AccessVote, schema.access_votes, ("access_vote:request_id:approver_id",), announced=False),
    _Row(d.AccessReview, schema.access_reviews, ("access_review:id",), announced=False),
    _Row(d.NotificationChannel, schema.notification_channels, ("notify:account:name",), announced=False),
    _Row(d.ChatLink, schema.chat_links, ("chat_link:account:id",), announced=False),
    _Row(d.Notification, schema.notifications, ("notification:id",), announced=False),
    _Row(d.EventStream, schema.event_streams, ("event_stream:id",), announced=False),
    _Row(d.RemovedSubject, schema.removed_subjects, ("removed_subject:stream_id:digest",), announced=False),
    _Row(d.SecurityEvent, schema.security_events, ("security_event:id",), announced=False),
    _Row(d.Grant, schema.grants, ("grants:role_id",)),
    _Row(d.Revocation, schema.revocations, ("revocation:id",), changeable=_RENEWED),
)


def _entity_table(row: _Row) -> EntityTable:
    return EntityTable(
        entity=row.entity,
        table=row.table,
        feed_keys=tuple(map(_feed_key, row.keys)),
        columns=tuple(row.table.c[field.name] for field in fields(row.entity)),
        codecs=tuple(_codecs(row.entity)),
        primary=tuple(column.name for column in row.table.primary_key.columns),
        integers=frozenset(column.name for column in row.table.c if isinstance(column.type, BigInteger)),
        folds=NAME_KEY in row.table.c,
        changeable=row.changeable,
        announced=row.announced,
        cached=row.cached,
    )


ENTITY_TABLES: Mapping[type[Any], EntityTable] = {row.entity: _entity_table(row) for row in _TABLE}
