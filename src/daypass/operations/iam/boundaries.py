"""Permissions boundaries of users and roles. A boundary only ever takes away; while one is set it must exist."""

from __future__ import annotations

from dataclasses import replace

from daypass.domain.directory import Group
from daypass.operations.iam import faults, find
from daypass.operations.iam.owners import OwnerKind
from daypass.operations.iam.work import Answer, Look, Params, Work


def checked(look: Look, arn: str | None) -> str | None:
    """The ARN of a policy that may be a boundary here. Raises NOT_FOUND, INVALID_INPUT."""
    return find.attachable(look, arn, missing=faults.scope_not_attachable(arn)).arn if arn else None


def put(kind: OwnerKind, work: Work, p: Params) -> Answer:
    owner = kind.find(work, p)
    assert not isinstance(owner, Group)
    work.tx.replace(replace(owner, boundary_arn=checked(work, p["PermissionsBoundary"])))
    return {}


def delete(kind: OwnerKind, work: Work, p: Params) -> Answer:
    owner = kind.find(work, p)
    assert not isinstance(owner, Group)
    if owner.boundary_arn is None:
        raise faults.no_such(f"{kind.word} permissions boundary", owner.name)
    work.tx.replace(replace(owner, boundary_arn=None))
    return {}
