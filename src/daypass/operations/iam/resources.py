"""The resource of each operation, as policies see it: the ARN to authorize, and the context keys of the request.

A missing entity is authorized under the plain ARN of its name; a caller who may not act on that ARN learns nothing.
Denials name an existing entity as AWS does: "role deployer", "policy ARN"; an entity that is created or tagged, by its
ARN.
Source: Service Authorization Reference, "Actions, resources, and condition keys for AWS Identity and Access
Management".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, TypeAlias

from daypass.domain.arn import root_arn
from daypass.domain.context import requested_tags
from daypass.domain.directory import AccessKey, Account, Group, InstanceProfile, ManagedPolicy, Role, User
from daypass.domain.policy.model import Value
from daypass.operations.crud import AuthorizedResource, Params, Permission
from daypass.operations.iam import documents, find
from daypass.operations.iam.context import ReadContext, ResourceOf

_PASSED_TO_MACHINE: Final[Mapping[str, Value]] = {"iam:passedtoservice": "ec2.amazonaws.com"}

Named: TypeAlias = User | Group | Role | ManagedPolicy | InstanceProfile


def of(entity: Named | Account) -> AuthorizedResource:
    if isinstance(entity, Account):
        return AuthorizedResource(root_arn(entity.id))
    return AuthorizedResource(
        entity.arn,
        tags=() if isinstance(entity, Group) else entity.tags,
        boundary_arn=entity.boundary_arn if isinstance(entity, (User, Role)) else None,
    )


def anything(_ctx: ReadContext, _p: Params) -> AuthorizedResource:
    return AuthorizedResource("*")


def by_arn(resource: ResourceOf) -> ResourceOf:
    """The same resource, for an operation whose denials name it by its ARN."""
    return lambda ctx, p: replace(resource(ctx, p), shown="")


def listed(kind: str) -> ResourceOf:
    """A list of users, groups, roles or instance profiles is authorized by its path prefix."""

    def resource(ctx: ReadContext, p: Params) -> AuthorizedResource:
        return AuthorizedResource(f"arn:aws:iam::{ctx.account}:{kind}{p.get('PathPrefix') or '/'}")

    return resource


def policy_list(_ctx: ReadContext, p: Params) -> AuthorizedResource:
    return AuthorizedResource(f"policy path {p.get('PathPrefix') or '/'}")


def new(kind: str, name: str) -> ResourceOf:
    """An entity to be created, with the Path and the name (a parameter) from the request."""

    def resource(ctx: ReadContext, p: Params) -> AuthorizedResource:
        return AuthorizedResource(_arn(ctx, kind, p.get("Path"), p[name]))

    return resource


def _arn(ctx: ReadContext, kind: str, path: str | None, name: str) -> str:
    return f"arn:aws:iam::{ctx.account}:{kind}{path or '/'}{name}"


def new_policy(ctx: ReadContext, p: Params) -> AuthorizedResource:
    """A managed policy to be created; a denial names it without its path."""
    return replace(new("policy", "PolicyName")(ctx, p), shown=f"policy {p['PolicyName']}")


def _named(ctx: ReadContext, kind: str, name: str, entity: Named | None) -> AuthorizedResource:
    """An entity that the request names, whether it exists or not. Policies see its ARN; denials name it as the request does."""
    resource = of(entity) if entity else AuthorizedResource(_arn(ctx, kind, None, name))
    return replace(resource, shown=f"{kind.replace('-', ' ')} {name}")


def _by_name(kind: type[User | Group | Role | InstanceProfile], word: str, parameter: str) -> ResourceOf:
    """The entity whose name is in this parameter."""

    def resource(ctx: ReadContext, p: Params) -> AuthorizedResource:
        entity = ctx.tx.get(kind, account=ctx.account, name=p[parameter])
        return _named(ctx, word, p[parameter], entity)

    return resource


user = _by_name(User, "user", "UserName")
group = _by_name(Group, "group", "GroupName")
role = _by_name(Role, "role", "RoleName")
instance_profile = _by_name(InstanceProfile, "instance-profile", "InstanceProfileName")


def user_or_caller(ctx: ReadContext, p: Params) -> AuthorizedResource:
    """The named user, or by default the caller."""
    if p.get("UserName"):
        return user(ctx, p)
    caller = find.user_or_caller(ctx, p)
    return of(caller) if isinstance(caller, Account) else _named(ctx, "user", caller.name, caller)


def user_or_everyone(ctx: ReadContext, p: Params) -> AuthorizedResource:
    """The named user or the caller, unless the request is about all users."""
    return AuthorizedResource("*") if p.get("AllUsers") else user_or_caller(ctx, p)


def renamed(kind: type[User | Group]) -> ResourceOf:
    """Changing a name or path of a user or group needs permission on the old and on the new ARN."""
    noun = kind.__name__

    def resource(ctx: ReadContext, p: Params) -> AuthorizedResource:
        old = ctx.tx.get(kind, account=ctx.account, name=p[f"{noun}Name"])
        current = _named(ctx, noun.lower(), p[f"{noun}Name"], old)
        if old is None:
            return current
        arn = _arn(ctx, noun.lower(), p.get("NewPath") or old.path, p.get(f"New{noun}Name") or old.name)
        return current if arn == current.arn else replace(current, also=(Permission(arn),))

    return resource


def policy(ctx: ReadContext, p: Params) -> AuthorizedResource:
    """A managed policy by its ARN."""
    arn = p["PolicyArn"]
    found = find.any_policy(ctx, arn)
    return replace(of(found) if found else AuthorizedResource(arn), shown=f"policy {arn}")


def role_into_profile(ctx: ReadContext, p: Params) -> AuthorizedResource:
    """Adding a role to an instance profile passes it to machines, which needs iam:PassRole on the role."""
    return replace(instance_profile(ctx, p), also=(Permission(role(ctx, p).arn, "iam:PassRole", _PASSED_TO_MACHINE),))


def new_oidc_provider(ctx: ReadContext, p: Params) -> AuthorizedResource:
    return AuthorizedResource(f"arn:aws:iam::{ctx.account}:oidc-provider/{p['Url'].removeprefix('https://')}")


def new_saml_provider(ctx: ReadContext, p: Params) -> AuthorizedResource:
    return AuthorizedResource(f"arn:aws:iam::{ctx.account}:saml-provider/{p['Name']}")


def providers(kind: str) -> ResourceOf:
    """All providers of a kind, as AWS writes it in a denial of the list."""
    return lambda ctx, _p: AuthorizedResource(f"arn:aws:iam::{ctx.account}:{kind}/*")


def oidc_provider(ctx: ReadContext, p: Params) -> AuthorizedResource:
    """A provider by its ARN, in any account. One in another account is treated as missing."""
    arn = p["OpenIDConnectProviderArn"]
    provider = find.any_oidc_provider(ctx, arn)
    return AuthorizedResource(arn, tags=provider.tags if provider else ())


def saml_provider(ctx: ReadContext, p: Params) -> AuthorizedResource:
    arn = p["SAMLProviderArn"]
    provider = find.any_saml_provider(ctx, arn)
    return AuthorizedResource(arn, tags=provider.tags if provider else ())


def key_owner(ctx: ReadContext, p: Params) -> AuthorizedResource:
    """The user of an access key. A key of another account is treated as missing."""
    key = ctx.tx.get(AccessKey, id=p["AccessKeyId"])
    if key is None or key.account != ctx.account:
        return AuthorizedResource("*")
    owner = ctx.tx.get(User, id=key.owner_id)
    return of(owner) if owner else AuthorizedResource(root_arn(ctx.account))


# --- Context keys --------------------------------------------------------------------------------------------------


def request_tags(p: Params, _resource: AuthorizedResource) -> Mapping[str, Value]:
    """aws:RequestTag/* and aws:TagKeys of a request that sets tags."""
    return requested_tags(documents.tags_of(p.get("Tags")))


def request_tag_keys(p: Params, _resource: AuthorizedResource) -> Mapping[str, Value]:
    """aws:TagKeys of a request that removes tags."""
    return {"aws:tagkeys": tuple(p.get("TagKeys") or ())}


def policy_arn(p: Params, _resource: AuthorizedResource) -> Mapping[str, Value]:
    """iam:PolicyARN: the policy that is attached or detached."""
    return {"iam:policyarn": p["PolicyArn"]}


def boundary(p: Params, resource: AuthorizedResource) -> Mapping[str, Value]:
    """iam:PermissionsBoundary: the new boundary of the entity, or else its current one; absent when there is neither."""
    arn = p.get("PermissionsBoundary") or resource.boundary_arn
    return {"iam:permissionsboundary": arn} if arn else {}
