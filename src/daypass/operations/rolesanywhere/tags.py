"""Tags of trust anchors, profiles, CRLs and subjects, by the resource's ARN. Keys are case-sensitive.

Source: IAM Roles Anywhere API Reference, TagResource.
"""

from __future__ import annotations

from dataclasses import replace

from daypass.domain.arn import read_arn
from daypass.domain.directory import Crl, Tags, TrustAnchor, X509Profile, X509Subject
from daypass.operations.crud.operation import Answer, Params
from daypass.operations.iam.tags import exact, merged
from daypass.operations.rolesanywhere import detail, faults
from daypass.operations.rolesanywhere.context import RESOURCES, Entity, ReadContext, WriteContext

_KINDS = {noun: kind for kind, (noun, _) in RESOURCES.items()}


def first(p: Params) -> Tags:
    """The tags of an entity that is being created."""
    return merged((), detail.tags_of(p.get("tags")), exact)


def named(ctx: ReadContext, arn: str) -> Entity | None:
    """The resource of the caller's account with this ARN."""
    parsed = read_arn(arn)
    kind = _KINDS.get(parsed.resource.partition("/")[0]) if parsed is not None else None
    found: Entity | None = None
    if kind in (TrustAnchor, X509Profile, Crl, X509Subject):
        found = ctx.get(kind, arn)
    return found


def _find(ctx: ReadContext, p: Params) -> Entity:
    found = named(ctx, p["resourceArn"])
    if found is None:
        raise faults.no_such("Resource", p["resourceArn"])
    return found


def tag_resource(ctx: WriteContext, p: Params) -> Answer:
    entity = _find(ctx, p)
    ctx.tx.replace(replace(entity, tags=merged(entity.tags, detail.tags_of(p["tags"]), exact)))
    return {}


def untag_resource(ctx: WriteContext, p: Params) -> Answer:
    """Missing keys are not an error."""
    entity = _find(ctx, p)
    removed = set(p["tagKeys"])
    ctx.tx.replace(replace(entity, tags=tuple(pair for pair in entity.tags if pair[0] not in removed)))
    return {}


def list_tags_for_resource(ctx: ReadContext, p: Params) -> Answer:
    return {"tags": detail.tags(_find(ctx, p).tags)}
