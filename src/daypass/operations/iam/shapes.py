"""Entities as IAM shows them: output members of the service model, documents URL-encoded as AWS encodes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from daypass.domain.arn import root_arn
from daypass.domain.directory import (
    AccessKey,
    Account,
    Attachment,
    Group,
    InlinePolicy,
    ManagedPolicy,
    PolicyVersion,
    Role,
    Tags,
    User,
)
from daypass.operations.iam import documents
from daypass.operations.iam.work import Look


def encoded(document: str) -> str:
    """RFC 3986: everything but letters, digits and `-._~` as %XX of UTF-8."""
    return quote(document, safe="")


def tags(pairs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in pairs]


def tags_of(members: Iterable[dict[str, str]] | None) -> Tags:
    """The Tags parameter of a request as pairs, in its order."""
    return tuple((member["Key"], member["Value"]) for member in members or ())


def boundary_and_tags(entity: User | Role) -> dict[str, Any]:
    """What lists leave out."""
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
    """The root has neither name nor path."""
    return {"UserId": account.id, "Arn": root_arn(account.id), "CreateDate": account.created_at}


def group(entity: Group) -> dict[str, Any]:
    return {
        "Path": entity.path,
        "GroupName": entity.name,
        "GroupId": entity.id,
        "Arn": entity.arn,
        "CreateDate": entity.created_at,
    }


def role_in_brief(look: Look, entity: Role, names: documents.Names | None = None) -> dict[str, Any]:
    """As CreateRole and instance profiles show it. `names` is shared by the roles of one answer."""
    return {
        "Path": entity.path,
        "RoleName": entity.name,
        "RoleId": entity.id,
        "Arn": entity.arn,
        "CreateDate": entity.created_at,
        "AssumeRolePolicyDocument": encoded(documents.echo(look.tx, entity, names)),
    }


def role(look: Look, entity: Role, names: documents.Names | None = None) -> dict[str, Any]:
    """As lists show it; `role_whole` has the rest."""
    shown = {**role_in_brief(look, entity, names), "MaxSessionDuration": entity.max_session_seconds}
    if entity.description is not None:
        shown["Description"] = entity.description
    return shown


def role_whole(look: Look, entity: Role) -> dict[str, Any]:
    return {**role(look, entity), **boundary_and_tags(entity)}


def managed_policy(look: Look, entity: ManagedPolicy) -> dict[str, Any]:
    """As lists show it; `managed_policy_whole` has the rest. Counts are of the caller's account."""
    own = {"account": look.account}
    return {
        "PolicyName": entity.name,
        "PolicyId": entity.id,
        "Arn": entity.arn,
        "Path": entity.path,
        "DefaultVersionId": f"v{entity.default_version}",
        "AttachmentCount": look.tx.count(Attachment, policy_arn=entity.arn, **own),
        "PermissionsBoundaryUsageCount": sum(
            look.tx.count(kind, boundary_arn=entity.arn, **own) for kind in (User, Role)
        ),
        "IsAttachable": True,
        "CreateDate": entity.created_at,
        "UpdateDate": entity.updated_at,
    }


def managed_policy_whole(look: Look, entity: ManagedPolicy) -> dict[str, Any]:
    shown = managed_policy(look, entity)
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


def inline_detail(entity: InlinePolicy) -> dict[str, str]:
    return {"PolicyName": entity.name, "PolicyDocument": encoded(entity.document)}


def access_key(entity: AccessKey, owner: User | Account) -> dict[str, Any]:
    """Never the secret. A root key has no user name."""
    shown: dict[str, Any] = {"UserName": owner.name} if isinstance(owner, User) else {}
    return {**shown, "AccessKeyId": entity.id, "Status": entity.status.value, "CreateDate": entity.created_at}
