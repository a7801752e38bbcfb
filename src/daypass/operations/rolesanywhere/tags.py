"""Tags of trust anchors, profiles, CRLs and subjects, by the resource's ARN; keys are told apart by case.

Source: IAM Roles Anywhere API Reference, TagResource.
"""

from __future__ import annotations

from dataclasses import replace

from daypass.domain.arn import parse_arn
from daypass.domain.directory import Crl, Tags, TrustAnchor, X509Profile, X509Subject
from daypass.operations.iam.tags import merged
from daypass.operations.rolesanywhere import faults, shapes
from daypass.operations.rolesanywhere.work import RESOURCES, Answer, Entity, Look, Params, Work

_KINDS = {noun: kind for kind, (noun, _) in RESOURCES.items()}


def _exact(key: str) -> str:
    return key


def first(p: Params) -> Tags:
    """The tags of something that is being made."""
    return merged((), shapes.tags_of(p.get("tags")), _exact)


def named(look: Look, arn: str) -> Entity | None:
    """The resource of the caller's account that has this ARN."""
    try:
        kind = _KINDS.get(parse_arn(arn).resource.partition("/")[0])
    except ValueError:
        kind = None
    found: Entity | None = None
    if kind in (TrustAnchor, X509Profile, Crl, X509Subject):
        found = look.get(kind, arn)
    return found


def _find(look: Look, p: Params) -> Entity:
    found = named(look, p["resourceArn"])
    if found is None:
        raise faults.no_such("Resource", p["resourceArn"])
    return found


def tag_resource(work: Work, p: Params) -> Answer:
    entity = _find(work, p)
    work.tx.replace(replace(entity, tags=merged(entity.tags, shapes.tags_of(p["tags"]), _exact)))
    return {}


def untag_resource(work: Work, p: Params) -> Answer:
    """Keys that are not there are no error."""
    entity = _find(work, p)
    gone = set(p["tagKeys"])
    work.tx.replace(replace(entity, tags=tuple(pair for pair in entity.tags if pair[0] not in gone)))
    return {}


def list_tags_for_resource(look: Look, p: Params) -> Answer:
    return {"tags": shapes.tags(_find(look, p).tags)}
