"""Shared by trust anchors, profiles, CRLs and subjects: pages by id, which is the order of creation, quotas, and
the operations on one of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Generic

from daypass.domain.arn import read_arn
from daypass.domain.directory import Crl, Tags, TrustAnchor, X509Profile, X509Subject
from daypass.domain.jws import ISSUER, SAN, SUBJECT
from daypass.operations.crud import Answer, Params
from daypass.operations.iam import paging
from daypass.operations.iam.tags import exact, merged
from daypass.operations.rolesanywhere.context import (
    RESOURCES,
    AnchorReadContext,
    AnchorWriteContext,
    E,
    Entity,
    invalid,
    no_such,
)

_MAX_PAGE = 1_000


def page(ctx: AnchorReadContext, p: Params, kind: type[E]) -> tuple[list[E], Mapping[str, Any]]:
    """Up to pageSize (default 100) entities of the account, and the nextToken member if there are more."""
    size = p.get("pageSize", paging.DEFAULT_ITEMS)
    if not 1 <= size <= _MAX_PAGE:
        raise invalid(f"pageSize must be between 1 and {_MAX_PAGE}.")

    def fetch(after: str, limit: int) -> list[E]:
        return ctx.tx.find(kind, order="id", after=after, limit=limit, account=ctx.account)

    wanted = {"MaxItems": size, "Marker": p.get("nextToken")}
    entities, more = paging.page(wanted, RESOURCES[kind][0], fetch, lambda entity: entity.id)
    return entities, {"nextToken": more["Marker"]} if more["IsTruncated"] else {}


def within_quota(ctx: AnchorWriteContext, kind: type[Any], what: str, limit: int, **equals: Any) -> None:
    """Refuses when there are already `limit` such entities."""
    if ctx.tx.count(kind, **equals) >= limit:
        raise invalid(f"The limit of {limit} {what} is reached.")


@dataclass(frozen=True)  # without slots: a generic alias could not create an instance
class EntityKind(Generic[E]):
    """One kind of entity. `name`: that of its member in answers, "profile". `members`: what a list shows of one; `whole`:
    what an answer about it shows, if that is more.
    """

    entity: type[E]
    name: str
    members: Callable[[AnchorReadContext, E], Mapping[str, Any]]
    whole: Callable[[AnchorReadContext, E], Mapping[str, Any]] | None = None

    def create(self, ctx: AnchorWriteContext, p: Params, **members: Any) -> Answer:
        """Stores a new one with these members, and those of the request that every kind has."""
        own: Any = {
            "id": ctx.ids.request(),
            "account": ctx.account,
            "region": ctx.facts.region,
            "name": p["name"],
            "created_at": ctx.now,
            "updated_at": ctx.now,
            "enabled": p.get("enabled", False),
            "tags": first(p),
        }
        entity = self.entity(**{**own, **members})
        ctx.tx.insert(entity)
        return self.show(ctx, entity)

    def find(self, ctx: AnchorReadContext, p: Params) -> E:
        """The one that a request names. Raises NOT_FOUND."""
        return ctx.find(self.entity, p[f"{self.name}Id"])

    def show(self, ctx: AnchorReadContext, entity: E) -> Answer:
        return {self.name: (self.whole or self.members)(ctx, entity)}

    def get(self, ctx: AnchorReadContext, p: Params) -> Answer:
        return self.show(ctx, self.find(ctx, p))

    def list(self, ctx: AnchorReadContext, p: Params) -> Answer:
        entities, more = page(ctx, p, self.entity)
        return {f"{self.name}s": [self.members(ctx, entity) for entity in entities], **more}

    def enable(self, ctx: AnchorWriteContext, p: Params) -> Answer:
        return self.store(ctx, replace(self.find(ctx, p), enabled=True))

    def disable(self, ctx: AnchorWriteContext, p: Params) -> Answer:
        return self.store(ctx, replace(self.find(ctx, p), enabled=False))

    def delete(self, ctx: AnchorWriteContext, p: Params) -> Answer:
        old = self.find(ctx, p)
        ctx.tx.delete(old)
        return self.show(ctx, old)

    def store(self, ctx: AnchorWriteContext, changed: E) -> Answer:
        """Stores a change with its time."""
        changed = replace(changed, updated_at=ctx.now)
        ctx.tx.replace(changed)
        return self.show(ctx, changed)


# --- Entities as IAM Roles Anywhere shows them: output members of the service model


EVENTS: Final = ("CA_CERTIFICATE_EXPIRY", "END_ENTITY_CERTIFICATE_EXPIRY")
_DEFAULT_DAYS: Final = 45
_DEFAULT_BY: Final = "rolesanywhere.amazonaws.com"


def tags_of(members: list[dict[str, str]] | None) -> Tags:
    """The tags parameter of a request as pairs, in its order."""
    return tuple((member["key"], member["value"]) for member in members or ())


def tags(pairs: Tags) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in pairs]


def trust_anchor(_ctx: AnchorReadContext, entity: TrustAnchor) -> dict[str, Any]:
    return {
        "trustAnchorId": entity.id,
        "trustAnchorArn": entity.arn,
        "name": entity.name,
        "source": {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": entity.certificates}},
        "enabled": entity.enabled,
        "createdAt": entity.created_at,
        "updatedAt": entity.updated_at,
        "notificationSettings": _notifications(entity),
    }


def _notifications(entity: TrustAnchor) -> list[dict[str, Any]]:
    own = {event: (channel, enabled, days) for event, channel, enabled, days in entity.notifications}
    shown = []
    for event in EVENTS:
        channel, enabled, days = own.get(event, ("ALL", "true", str(_DEFAULT_DAYS)))
        by = entity.account if event in own else _DEFAULT_BY
        shown.append(
            {
                "enabled": enabled == "true",
                "event": event,
                "threshold": int(days),
                "channel": channel,
                "configuredBy": by,
            }
        )
    return shown


def profile(_ctx: AnchorReadContext, entity: X509Profile) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "profileId": entity.id,
        "profileArn": entity.arn,
        "name": entity.name,
        "requireInstanceProperties": entity.require_instance_properties,
        "enabled": entity.enabled,
        "createdBy": entity.created_by,
        "roleArns": list(entity.role_arns),
        "managedPolicyArns": list(entity.managed_policy_arns),
        "createdAt": entity.created_at,
        "updatedAt": entity.updated_at,
        "durationSeconds": entity.duration_seconds,
        "acceptRoleSessionName": entity.accept_role_session_name,
        "attributeMappings": _mappings(entity),
    }
    if entity.session_policy:
        shown["sessionPolicy"] = entity.session_policy
    return shown


def _mappings(entity: X509Profile) -> list[dict[str, Any]]:
    by_field: dict[str, list[dict[str, str]]] = {}
    for field in (ISSUER, SAN, SUBJECT):
        rules = [{"specifier": specifier} for known, specifier in entity.mappings if known == field]
        if rules:
            by_field[field] = rules
    return [{"certificateField": field, "mappingRules": rules} for field, rules in by_field.items()]


def crl(ctx: AnchorReadContext, entity: Crl) -> dict[str, Any]:
    anchor = ctx.get(TrustAnchor, entity.trust_anchor_id)
    return {
        "crlId": entity.id,
        "crlArn": entity.arn,
        "name": entity.name,
        "enabled": entity.enabled,
        "crlData": entity.data,
        "trustAnchorArn": anchor.arn if anchor is not None else ctx.arn(TrustAnchor, entity.trust_anchor_id),
        "createdAt": entity.created_at,
        "updatedAt": entity.updated_at,
    }


def subject(_ctx: AnchorReadContext, entity: X509Subject) -> dict[str, Any]:
    """The subject's members in a list."""
    return {
        "subjectArn": entity.arn,
        "subjectId": entity.id,
        "enabled": entity.enabled,
        "x509Subject": entity.x509_subject,
        "lastSeenAt": entity.last_seen_at,
        "createdAt": entity.created_at,
        "updatedAt": entity.updated_at,
    }


def subject_whole(ctx: AnchorReadContext, entity: X509Subject) -> dict[str, Any]:
    return {
        **subject(ctx, entity),
        "credentials": json.loads(entity.credentials),
        "instanceProperties": json.loads(entity.instance_properties),
    }


# --- Tags of trust anchors, profiles, CRLs and subjects, by the resource's ARN


_KINDS = {noun: kind for kind, (noun, _) in RESOURCES.items()}


def first(p: Params) -> Tags:
    """The tags of an entity that is being created."""
    return merged((), tags_of(p.get("tags")), exact)


def named(ctx: AnchorReadContext, arn: str) -> Entity | None:
    """The resource of the caller's account with this ARN."""
    parsed = read_arn(arn)
    kind = _KINDS.get(parsed.resource.partition("/")[0]) if parsed is not None else None
    found: Entity | None = None
    if kind in (TrustAnchor, X509Profile, Crl, X509Subject):
        found = ctx.get(kind, arn)
    return found


def _find(ctx: AnchorReadContext, p: Params) -> Entity:
    found = named(ctx, p["resourceArn"])
    if found is None:
        raise no_such("Resource", p["resourceArn"])
    return found


def tag_resource(ctx: AnchorWriteContext, p: Params) -> Answer:
    entity = _find(ctx, p)
    ctx.tx.replace(replace(entity, tags=merged(entity.tags, tags_of(p["tags"]), exact)))
    return {}


def untag_resource(ctx: AnchorWriteContext, p: Params) -> Answer:
    """Missing keys are not an error."""
    entity = _find(ctx, p)
    removed = set(p["tagKeys"])
    ctx.tx.replace(replace(entity, tags=tuple(pair for pair in entity.tags if pair[0] not in removed)))
    return {}


def list_tags_for_resource(ctx: AnchorReadContext, p: Params) -> Answer:
    return {"tags": tags(_find(ctx, p).tags)}
