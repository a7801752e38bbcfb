"""Permissions boundaries of users and roles. A boundary only restricts. It must exist while it is set."""

from __future__ import annotations

from dataclasses import replace

from daypass.domain.directory import Group
from daypass.operations.crud.operation import Answer, Params
from daypass.operations.iam import faults, find
from daypass.operations.iam.context import ReadContext, WriteContext
from daypass.operations.iam.owners import OwnerKind


def checked(ctx: ReadContext, arn: str | None) -> str | None:
    """The ARN of a policy that is allowed as a boundary. Raises NOT_FOUND, INVALID_INPUT."""
    if not arn:
        return None
    missing = faults.not_found(f"Scope ARN: {arn} does not exist or is not attachable.")
    return find.attachable(ctx, arn, missing).arn


def put(kind: OwnerKind, ctx: WriteContext, p: Params) -> Answer:
    owner = kind.find(ctx, p)
    assert not isinstance(owner, Group)
    ctx.tx.replace(replace(owner, boundary_arn=checked(ctx, p["PermissionsBoundary"])))
    return {}


def delete(kind: OwnerKind, ctx: WriteContext, p: Params) -> Answer:
    owner = kind.find(ctx, p)
    assert not isinstance(owner, Group)
    if owner.boundary_arn is None:
        raise faults.no_such(f"{kind.word} permissions boundary", owner.name)
    ctx.tx.replace(replace(owner, boundary_arn=None))
    return {}
