"""Entities as IAM shows them: output members of the service model, documents URL-encoded as AWS encodes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

from daypass.domain.arn import root_arn
from daypass.domain.directory import (
    AccessKey,
    Account,
    Attachment,
    Group,
    ManagedPolicy,
    PolicyVersion,
    Role,
    Tags,
    User,
)
from daypass.operations.iam import documents
from daypass.operations.iam.context import ReadContext

ROOT_NAME: Final = "root"
"""The user name of the root, where the service model requires one. An IAM user of this name takes precedence."""


def encoded(document: str) -> str:
    """RFC 3986: everything but letters, digits and `-._~` as %XX of UTF-8."""
    return quote(document, safe="")


def tags(pairs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in pairs]


def tags_of(members: Iterable[dict[str, str]] | None) -> Tags:
    """The Tags parameter of a request as pairs, in its order."""
    return tuple((member["Key"], member["Value"]) for member in members or ())


def boundary_and_tags(entity: User | Role) -> dict[str, Any]:
    """As lists show it, with fewer members."""
    shown: dict[str, Any] = {}
    if entity.boundary_arn is not None:
        shown["PermissionsBoundary"] = {
            "PermissionsBoundaryType": "Policy",
            "PermissionsBoundaryArn": entity.boundary_arn,
        }
    if entity.tags:
        shown["Tags"] = tags(entity.tags)
    return shown


def user(entity: User) -> dict[str, Any]:
    """As lists show it; `user_whole` has the rest."""
    return {
        "Path": entity.path,
        "UserName": entity.name,
        "UserId": entity.id,
        "Arn": entity.arn,
        "CreateDate": entity.created_at,
    }


def user_whole(entity: User) -> dict[str, Any]:
    return {**user(entity), **boundary_and_tags(entity)}


def root_user(account: Account) -> dict[str, Any]:
    """The root as a user. It has no name or path, but the service model requires both members."""
    return {
        "Path": "/",
        "UserName": ROOT_NAME,
        "UserId": account.id,
        "Arn": root_arn(account.id),
        "CreateDate": account.created_at,
    }


def group(entity: Group) -> dict[str, Any]:
    return {
        "Path": entity.path,
        "GroupName": entity.name,
        "GroupId": entity.id,
        "Arn": entity.arn,
        "CreateDate": entity.created_at,
    }


def role_in_brief(ctx: ReadContext, entity: Role, names: documents.Names | None = None) -> dict[str, Any]:
    """As CreateRole and instance profiles show it. The roles of one answer share `names`."""
    return {
        "Path": entity.path,
        "RoleName": entity.name,
        "RoleId": entity.id,
        "Arn": entity.arn,
        "CreateDate": entity.created_at,
        "AssumeRolePolicyDocument": encoded(documents.with_current_names(ctx.tx, entity, names)),
    }


def role(ctx: ReadContext, entity: Role, names: documents.Names | None = None) -> dict[str, Any]:
    """As lists show it; `boundary_and_tags` has the rest."""
    shown = {**role_in_brief(ctx, entity, names), "MaxSessionDuration": entity.max_session_seconds}
    if entity.description is not None:
        shown["Description"] = entity.description
    return shown


def managed_policy(ctx: ReadContext, entity: ManagedPolicy) -> dict[str, Any]:
    """As lists show it; `managed_policy_whole` has the rest. The counts are those of the caller's account."""
    own = {"account": ctx.account}
    return {
        "PolicyName": entity.name,
        "PolicyId": entity.id,
        "Arn": entity.arn,
        "Path": entity.path,
        "DefaultVersionId": f"v{entity.default_version}",
        "AttachmentCount": ctx.tx.count(Attachment, policy_arn=entity.arn, **own),
        "PermissionsBoundaryUsageCount": sum(
            ctx.tx.count(kind, boundary_arn=entity.arn, **own) for kind in (User, Role)
        ),
        "IsAttachable": True,
        "CreateDate": entity.created_at,
        "UpdateDate": entity.updated_at,
    }


def managed_policy_whole(ctx: ReadContext, entity: ManagedPolicy) -> dict[str, Any]:
    shown = managed_policy(ctx, entity)
    if entity.description is not None:
        shown["Description"] = entity.description
    return {**shown, "Tags": tags(entity.tags)}


def policy_version(entity: PolicyVersion, default: int, *, document: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "VersionId": f"v{entity.version}",
        "IsDefaultVersion": entity.version == default,
        "CreateDate": entity.created_at,
    }
    return {"Document": encoded(entity.document), **shown} if document else shown


def attached(arn: str) -> dict[str, str]:
    return {"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn}


def access_key(entity: AccessKey, owner: User | Account) -> dict[str, Any]:
    """A key as lists show it: never with the secret. A root key has no user name in lists."""
    shown: dict[str, Any] = {"UserName": owner.name} if isinstance(owner, User) else {}
    return {**shown, "AccessKeyId": entity.id, "Status": entity.status.value, "CreateDate": entity.created_at}


def new_access_key(entity: AccessKey, owner: User | Account, secret: str) -> dict[str, Any]:
    """A key with its secret, which only CreateAccessKey shows. The service model requires a user name."""
    return {"UserName": ROOT_NAME, **access_key(entity, owner), "SecretAccessKey": secret}
