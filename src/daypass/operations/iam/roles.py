"""Roles and their trust policies.

A later role of the same name is a different role: sessions and trust policies refer to the unique id.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from daypass.data import ServiceLinkedRole, service_linked_roles
from daypass.domain.directory import Attachment, InlinePolicy, InstanceProfile, Role
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.model import Value
from daypass.operations.crud import Answer, AuthorizedResource, Params
from daypass.operations.iam import (
    access_keys,
    attachments,
    context,
    documents,
    faults,
    find,
    owners,
    paging,
    resources,
    tags,
)
from daypass.operations.iam.context import Operation, ReadContext, WriteContext
from daypass.operations.iam.paging import fitting


def create_role(ctx: WriteContext, p: Params) -> Answer:
    context.within_quota(ctx, Role, "RolesPerAccount", paging.ROLES_PER_ACCOUNT, account=ctx.account)
    text = p["AssumeRolePolicyDocument"]
    role = Role(
        id=ctx.ids.unique("AROA"),
        account=ctx.account,
        name=p["RoleName"],
        path=context.path_of(p),
        created_at=ctx.now,
        trust_document=text,
        trust_bindings=documents.trust(ctx.tx, text),
        description=p.get("Description"),
        max_session_seconds=_session_seconds(p),
        boundary_arn=attachments.checked(ctx, p.get("PermissionsBoundary")),
        tags=tags.first(p),
    )
    context.insert(ctx, role, faults.exists("Role", role.name))
    return {"Role": {**documents.role_in_brief(ctx, role), **documents.boundary_and_tags(role)}}


def _session_seconds(p: Params, default: int = paging.MIN_SESSION_SECONDS) -> int:
    seconds = int(p.get("MaxSessionDuration") or default)
    if not paging.MIN_SESSION_SECONDS <= seconds <= paging.MAX_SESSION_SECONDS:
        raise faults.invalid(f"The requested MaxSessionDuration {seconds} is not valid.")
    return seconds


def get_role(ctx: ReadContext, p: Params) -> Answer:
    role = find.role(ctx, p["RoleName"])
    whole = {**documents.role(ctx, role), **documents.boundary_and_tags(role)}
    return {"Role": {**whole, "RoleLastUsed": access_keys.of_role(ctx, role.id)}}


def list_roles(ctx: ReadContext, p: Params) -> Answer:
    roles, more = owners.page_by_name(ctx, p, Role, "roles")
    names: documents.Names = {}
    shown, more = fitting(roles, more, "roles", lambda role: role.name, lambda role: documents.role(ctx, role, names))
    return {"Roles": shown, **more}


def update_role(ctx: WriteContext, p: Params) -> Answer:
    """Values that are not given are not changed."""
    role = find.role(ctx, p["RoleName"])
    description = p.get("Description", role.description)
    seconds = _session_seconds(p, role.max_session_seconds)
    ctx.tx.replace(replace(role, description=description, max_session_seconds=seconds))
    return {}


def update_role_description(ctx: WriteContext, p: Params) -> Answer:
    role = replace(find.role(ctx, p["RoleName"]), description=p["Description"])
    ctx.tx.replace(role)
    described = {"Description": role.description, **documents.boundary_and_tags(role)}
    return {"Role": {**documents.role_in_brief(ctx, role), **described}}


def update_assume_role_policy(ctx: WriteContext, p: Params) -> Answer:
    role = find.role(ctx, p["RoleName"])
    text = p["PolicyDocument"]
    ctx.tx.replace(replace(role, trust_document=text, trust_bindings=documents.trust(ctx.tx, text)))
    return {}


def delete_role(ctx: WriteContext, p: Params) -> Answer:
    role = find.role(ctx, p["RoleName"])
    uses = (
        (Attachment, "detach all policies", "owner_id"),
        (InlinePolicy, "delete policies", "owner_id"),
        (InstanceProfile, "remove roles from instance profile", "role_id"),
    )
    owners.check_unused(ctx, role.id, uses)
    ctx.tx.delete(role)
    context.end_sessions(ctx, role)
    return {}


# --- Instance profiles: containers for one role, which AWS's tools use to assign a role to a machine


def create_instance_profile(ctx: WriteContext, p: Params) -> Answer:
    quota = paging.INSTANCE_PROFILES_PER_ACCOUNT
    context.within_quota(ctx, InstanceProfile, "InstanceProfilesPerAccount", quota, account=ctx.account)
    profile = InstanceProfile(
        id=ctx.ids.unique("AIPA"),
        account=ctx.account,
        name=p["InstanceProfileName"],
        path=context.path_of(p),
        created_at=ctx.now,
        tags=tags.first_exact(p),
    )
    context.insert(ctx, profile, faults.already_exists(f"Instance Profile {profile.name} already exists."))
    return {
        "InstanceProfile": {
            **profile_members(ctx, profile),
            **({"Tags": documents.tags(profile.tags)} if profile.tags else {}),
        }
    }


def get_instance_profile(ctx: ReadContext, p: Params) -> Answer:
    profile = find.instance_profile(ctx, p["InstanceProfileName"])
    return {"InstanceProfile": {**profile_members(ctx, profile), "Tags": documents.tags(profile.tags)}}


def list_instance_profiles(ctx: ReadContext, p: Params) -> Answer:
    return _listed(ctx, p, "instance-profiles")


def list_instance_profiles_for_role(ctx: ReadContext, p: Params) -> Answer:
    role = find.role(ctx, p["RoleName"])
    return _listed(ctx, p, "instance-profiles-for-role", role_id=role.id)


def _listed(ctx: ReadContext, p: Params, scope: str, **wanted: Any) -> Answer:
    profiles, more = owners.page_by_name(ctx, p, InstanceProfile, scope, **wanted)
    names: documents.Names = {}
    shown, more = fitting(
        profiles, more, scope, lambda profile: profile.name, lambda profile: profile_members(ctx, profile, names)
    )
    return {"InstanceProfiles": shown, **more}


def add_role_to_instance_profile(ctx: WriteContext, p: Params) -> Answer:
    profile, role = find.instance_profile(ctx, p["InstanceProfileName"]), find.role(ctx, p["RoleName"])
    if profile.role_id is not None:
        raise faults.over_quota("InstanceSessionsPerInstanceProfile", paging.ROLES_PER_INSTANCE_PROFILE)
    ctx.tx.replace(replace(profile, role_id=role.id))
    return {}


def remove_role_from_instance_profile(ctx: WriteContext, p: Params) -> Answer:
    profile, role = find.instance_profile(ctx, p["InstanceProfileName"]), find.role(ctx, p["RoleName"])
    if profile.role_id != role.id:
        raise faults.not_found(f"Role {role.name} in Instance Profile {profile.name} cannot be found.")
    ctx.tx.replace(replace(profile, role_id=None))
    return {}


def delete_instance_profile(ctx: WriteContext, p: Params) -> Answer:
    profile = find.instance_profile(ctx, p["InstanceProfileName"])
    if profile.role_id is not None:
        raise faults.must_first("remove roles from instance profile")
    ctx.tx.delete(profile)
    return {}


def of_role(ctx: ReadContext, role: Role, names: documents.Names) -> list[dict[str, Any]]:
    """The profiles that contain a role, by name, as GetAccountAuthorizationDetails shows them."""
    profiles = ctx.tx.find(InstanceProfile, order="name", account=ctx.account, role_id=role.id)
    return [profile_members(ctx, profile, names) for profile in profiles]


def profile_members(ctx: ReadContext, profile: InstanceProfile, names: documents.Names | None = None) -> dict[str, Any]:
    """Without tags, as in lists. As in AWS, the role inside has no description and no longest session."""
    role = ctx.tx.get(Role, id=profile.role_id) if profile.role_id is not None else None
    roles = [documents.role_in_brief(ctx, role, names)] if role is not None else []
    return {**documents.named("InstanceProfile", profile), "Roles": roles}


# --- Roles that services of AWS use themselves


PATH: Final = "/aws-service-role/"
_TASK: Final = re.compile(r"task(/aws-service-role/[^/]+/)([^/]+)/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PROTECTED: Final = frozenset(
    {
        *("DeleteRole", "UpdateRole", "UpdateAssumeRolePolicy", "AddRoleToInstanceProfile"),
        *("PutRolePolicy", "DeleteRolePolicy", "AttachRolePolicy", "DetachRolePolicy"),
        *("PutRolePermissionsBoundary", "DeleteRolePermissionsBoundary"),
    }
)
"""Operations that AWS refuses for these roles. Descriptions and tags may change."""


def protecting(operation: Operation) -> Operation:
    """The operation, refused for service-linked roles if AWS refuses it."""
    write = operation.write
    if operation.name not in _PROTECTED or write is None:
        return operation

    def guarded(ctx: WriteContext, p: Params) -> Answer:
        role = ctx.tx.get(Role, account=ctx.account, name=p["RoleName"])
        described = operation.name == "UpdateRole" and "MaxSessionDuration" not in p
        if role is not None and role.path.startswith(PATH) and not described:
            message = f"Cannot perform the operation on the protected role '{role.name}' - this role is only modifiable by AWS"
            raise DaypassError(ErrorKind.UNMODIFIABLE, message)
        return write(ctx, p)

    return replace(operation, write=guarded)


def _wanted(p: Params) -> tuple[ServiceLinkedRole | None, str]:
    """The service's role, and the name that the new one gets."""
    known, suffix = service_linked_roles().get(p["AWSServiceName"]), p.get("CustomSuffix", "")
    name = known.name if known is not None else ""
    return known, f"{name}_{suffix}" if suffix else name


def created(ctx: ReadContext, p: Params) -> AuthorizedResource:
    """The resource of CreateServiceLinkedRole."""
    return AuthorizedResource(f"arn:aws:iam::{ctx.account}:role{PATH}{p['AWSServiceName']}/{_wanted(p)[1]}")


def service_key(p: Params, _resource: AuthorizedResource) -> dict[str, Value]:
    return {"iam:awsservicename": p["AWSServiceName"]}


def create(ctx: WriteContext, p: Params) -> Answer:
    service, (known, name) = p["AWSServiceName"], _wanted(p)
    if known is None:
        raise DaypassError(ErrorKind.INVALID_INPUT, f"The service {service} has no service-linked role here.")
    if p.get("CustomSuffix") and not known.suffixes:
        raise DaypassError(ErrorKind.INVALID_INPUT, f"Custom suffix is not allowed for {service}")
    context.within_quota(ctx, Role, "RolesPerAccount", paging.ROLES_PER_ACCOUNT, account=ctx.account)
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    role = Role(
        id=ctx.ids.unique("AROA"),
        account=ctx.account,
        name=name,
        path=f"{PATH}{service}/",
        created_at=ctx.now,
        trust_document=trust,
        trust_bindings=documents.trust(ctx.tx, trust),
        description=p.get("Description"),
    )
    taken = f"Service role name {name} has been taken in this account, please try a different suffix."
    context.insert(ctx, role, DaypassError(ErrorKind.INVALID_INPUT, taken))
    if known.policy:
        ctx.tx.insert(Attachment(ctx.account, role.id, known.policy, ctx.now))
    return {"Role": documents.role_in_brief(ctx, role)}


def delete(ctx: WriteContext, p: Params) -> Answer:
    role = find.role(ctx, p["RoleName"])
    if not role.path.startswith(PATH):
        raise faults.no_such("role", role.name)
    for attachment in ctx.tx.find(Attachment, account=ctx.account, owner_id=role.id, order="policy_arn"):
        ctx.tx.delete(attachment)
    ctx.tx.delete(role)
    context.end_sessions(ctx, role)
    return {"DeletionTaskId": f"task{role.path}{role.name}/{uuid5(NAMESPACE_URL, role.id)}"}


def deleted(ctx: ReadContext, p: Params) -> AuthorizedResource:
    """The resource of GetServiceLinkedRoleDeletionStatus: the role that the task was to delete."""
    task = _TASK.fullmatch(p["DeletionTaskId"])
    return AuthorizedResource(f"arn:aws:iam::{ctx.account}:role{task[1]}{task[2]}" if task else "*")


def deletion_status(ctx: ReadContext, p: Params) -> Answer:
    """A role is deleted in the call that asks for it, so a task has succeeded unless the role exists."""
    task = _TASK.fullmatch(p["DeletionTaskId"])
    if task is None or ctx.tx.get(Role, account=ctx.account, name=task[2]) is not None:
        raise faults.not_found(f"Deletion task {p['DeletionTaskId']} cannot be found.")
    return {"Status": "SUCCEEDED"}


SERVICE_LINKED: Final = (
    Operation("CreateServiceLinkedRole", created, write=create, keys=(service_key,)),
    Operation("DeleteServiceLinkedRole", resources.role, write=delete, urgent=True),
    Operation("GetServiceLinkedRoleDeletionStatus", deleted, read=deletion_status),
)


# --- Services by the namespace of their actions, with the names that AWS shows for them


NAMES: Final[Mapping[str, str]] = {
    "access-analyzer": "AWS IAM Access Analyzer",
    "acm": "AWS Certificate Manager",
    "apigateway": "Amazon API Gateway Management",
    "athena": "Amazon Athena",
    "autoscaling": "Amazon EC2 Auto Scaling",
    "backup": "AWS Backup",
    "batch": "AWS Batch",
    "bedrock": "Amazon Bedrock",
    "cloudformation": "AWS CloudFormation",
    "cloudfront": "Amazon CloudFront",
    "cloudtrail": "AWS CloudTrail",
    "cloudwatch": "Amazon CloudWatch",
    "codebuild": "AWS CodeBuild",
    "codepipeline": "AWS CodePipeline",
    "config": "AWS Config",
    "daypass": "Daypass",
    "dynamodb": "Amazon DynamoDB",
    "ec2": "Amazon EC2",
    "ecr": "Amazon Elastic Container Registry",
    "ecs": "Amazon Elastic Container Service",
    "eks": "Amazon Elastic Kubernetes Service",
    "elasticache": "Amazon ElastiCache",
    "elasticfilesystem": "Amazon Elastic File System",
    "elasticloadbalancing": "AWS Elastic Load Balancing V2",
    "es": "Amazon OpenSearch Service",
    "events": "Amazon EventBridge",
    "firehose": "Amazon Kinesis Firehose",
    "glue": "AWS Glue",
    "guardduty": "Amazon GuardDuty",
    "iam": "AWS Identity and Access Management",
    "kinesis": "Amazon Kinesis Data Streams",
    "kms": "AWS Key Management Service",
    "lambda": "AWS Lambda",
    "logs": "Amazon CloudWatch Logs",
    "organizations": "AWS Organizations",
    "rds": "Amazon RDS",
    "redshift": "Amazon Redshift",
    "rolesanywhere": "AWS Identity and Access Management Roles Anywhere",
    "route53": "Amazon Route 53",
    "s3": "Amazon S3",
    "sagemaker": "Amazon SageMaker",
    "secretsmanager": "AWS Secrets Manager",
    "securityhub": "AWS Security Hub",
    "sns": "Amazon SNS",
    "sqs": "Amazon SQS",
    "ssm": "AWS Systems Manager",
    "states": "AWS Step Functions",
    "sts": "AWS Security Token Service",
    "tag": "Amazon Resource Group Tagging API",
    "wafv2": "AWS WAF V2",
}

STS_ACTIONS: Final = (
    "AssumeRole",
    "AssumeRoleWithSAML",
    "AssumeRoleWithWebIdentity",
    "DecodeAuthorizationMessage",
    "GetAccessKeyInfo",
    "GetCallerIdentity",
    "GetFederationToken",
    "GetScopedCredentials",
    "GetSessionToken",
)
"""The actions of the token service whose use is tracked individually."""


def name_of(namespace: str) -> str:
    return NAMES.get(namespace, namespace)
