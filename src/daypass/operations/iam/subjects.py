"""What each operation acts on, as policies see it: the ARN to authorize, and the context keys of the request.

An entity that does not exist is authorized under the plain ARN of its name; whoever may not act on that learns nothing.
Denials name what exists as AWS does: "role deployer", "policy ARN"; but what is to be made, and tagged, by its ARN.
Source: Service Authorization Reference, "Actions, resources, and condition keys for AWS Identity and Access Management".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

from daypass.domain.arn import root_arn
from daypass.domain.context import requested_tags, tag_keys
from daypass.domain.directory import (
    AccessKey,
    Account,
    Group,
    InstanceProfile,
    ManagedPolicy,
    OidcProvider,
    Role,
    SamlProvider,
    User,
)
from daypass.domain.policy.model import Value
from daypass.operations.iam import find, shapes
from daypass.operations.iam.work import Look, Params, Subject, SubjectOf

Named: TypeAlias = User | Group | Role | ManagedPolicy | InstanceProfile


def of(entity: Named | Account) -> Subject:
    if isinstance(entity, Account):
        return Subject(root_arn(entity.id))
    return Subject(
        entity.arn,
        tags=() if isinstance(entity, Group) else entity.tags,
        boundary_arn=entity.boundary_arn if isinstance(entity, (User, Role)) else None,
    )


def anything(_look: Look, _p: Params) -> Subject:
    return Subject("*")


def by_arn(subject: SubjectOf) -> SubjectOf:
    """The same subject, for an operation whose denials name it by its ARN."""
    return lambda look, p: replace(subject(look, p), shown="")


def listed(kind: str) -> SubjectOf:
    """A list of users, groups, roles or instance profiles is asked for by its path prefix."""

    def subject(look: Look, p: Params) -> Subject:
        return Subject(f"arn:aws:iam::{look.account}:{kind}{p.get('PathPrefix') or '/'}")

    return subject


def policy_list(_look: Look, p: Params) -> Subject:
    return Subject(f"policy path {p.get('PathPrefix') or '/'}")


def new(kind: str, name: str) -> SubjectOf:
    """An entity that is to be made, of the Path and the name (a parameter) that the request gives it."""

    def subject(look: Look, p: Params) -> Subject:
        return Subject(_arn(look, kind, p.get("Path"), p[name]))

    return subject


def _arn(look: Look, kind: str, path: str | None, name: str) -> str:
    return f"arn:aws:iam::{look.account}:{kind}{path or '/'}{name}"


def new_policy(look: Look, p: Params) -> Subject:
    """A managed policy that is to be made; a denial names it without its path."""
    return replace(new("policy", "PolicyName")(look, p), shown=f"policy {p['PolicyName']}")


def _named(look: Look, kind: str, name: str, found: Named | None) -> Subject:
    """An entity that the request names, there or not: policies see its ARN, denials name it as the request does."""
    subject = of(found) if found else Subject(_arn(look, kind, None, name))
    return replace(subject, shown=f"{kind.replace('-', ' ')} {name}")


def user(look: Look, p: Params) -> Subject:
    """The named user."""
    found = look.tx.get(User, account=look.account, name=p["UserName"])
    return _named(look, "user", p["UserName"], found)


def user_or_caller(look: Look, p: Params) -> Subject:
    """The named user, or by default the caller."""
    if p.get("UserName"):
        return user(look, p)
    caller = find.user_or_caller(look, p)
    return of(caller) if isinstance(caller, Account) else _named(look, "user", caller.name, caller)


def user_or_everyone(look: Look, p: Params) -> Subject:
    """The named user or the caller, unless all users are asked about."""
    return Subject("*") if p.get("AllUsers") else user_or_caller(look, p)


def group(look: Look, p: Params) -> Subject:
    found = look.tx.get(Group, account=look.account, name=p["GroupName"])
    return _named(look, "group", p["GroupName"], found)


def role(look: Look, p: Params) -> Subject:
    found = look.tx.get(Role, account=look.account, name=p["RoleName"])
    return _named(look, "role", p["RoleName"], found)


def renamed_user(look: Look, p: Params) -> Subject:
    """Who changes a name or path needs permission on the old and on the new."""
    subject = user(look, p)
    old = look.tx.get(User, account=look.account, name=p["UserName"])
    return _with_new(look, "user", subject, old, p.get("NewPath"), p.get("NewUserName"))


def renamed_group(look: Look, p: Params) -> Subject:
    subject = group(look, p)
    old = look.tx.get(Group, account=look.account, name=p["GroupName"])
    return _with_new(look, "group", subject, old, p.get("NewPath"), p.get("NewGroupName"))


def _with_new(
    look: Look, kind: str, subject: Subject, old: User | Group | None, path: str | None, name: str | None
) -> Subject:
    if old is None:
        return subject
    arn = _arn(look, kind, path or old.path, name or old.name)
    return subject if arn == subject.arn else replace(subject, also=(arn,))


def policy(look: Look, p: Params) -> Subject:
    """A managed policy by its ARN."""
    arn = p["PolicyArn"]
    found = find.any_policy(look, arn)
    return replace(of(found) if found else Subject(arn), shown=f"policy {arn}")


def instance_profile(look: Look, p: Params) -> Subject:
    name = p["InstanceProfileName"]
    found = look.tx.get(InstanceProfile, account=look.account, name=name)
    return _named(look, "instance-profile", name, found)


def role_into_profile(look: Look, p: Params) -> Subject:
    """Whoever puts a role into an instance profile hands it to machines, which takes iam:PassRole on the role."""
    return replace(instance_profile(look, p), passes=role(look, p).arn)


def new_oidc_provider(look: Look, p: Params) -> Subject:
    return Subject(f"arn:aws:iam::{look.account}:oidc-provider/{p['Url'].removeprefix('https://')}")


def new_saml_provider(look: Look, p: Params) -> Subject:
    return Subject(f"arn:aws:iam::{look.account}:saml-provider/{p['Name']}")


def providers(kind: str) -> SubjectOf:
    """All providers of a kind: what AWS writes in a denial of the list."""
    return lambda look, _p: Subject(f"arn:aws:iam::{look.account}:{kind}/*")


def oidc_provider(look: Look, p: Params) -> Subject:
    """A provider by its ARN, in any account: that of another one is as one that does not exist."""
    arn = p["OpenIDConnectProviderArn"]
    account, url = find.provider_of(arn, "oidc-provider/")
    found = look.tx.get(OidcProvider, account=account, url=url) if account == look.account else None
    return Subject(arn, tags=found.tags if found else ())


def saml_provider(look: Look, p: Params) -> Subject:
    arn = p["SAMLProviderArn"]
    account, name = find.provider_of(arn, "saml-provider/")
    found = look.tx.get(SamlProvider, account=account, name=name) if account == look.account else None
    return Subject(arn, tags=found.tags if found and found.arn == arn else ())


def key_owner(look: Look, p: Params) -> Subject:
    """The user whose access key is asked about. A key of another account is as one that does not exist."""
    key = look.tx.get(AccessKey, id=p["AccessKeyId"])
    if key is None or key.account != look.account:
        return Subject("*")
    owner = look.tx.get(User, id=key.owner_id)
    return of(owner) if owner else Subject(root_arn(look.account))


# --- Context keys --------------------------------------------------------------------------------------------------


def resource_tags(_p: Params, subject: Subject) -> Mapping[str, Value]:
    """aws:ResourceTag/* and iam:ResourceTag/*."""
    return {**tag_keys("aws:resourcetag/", subject.tags), **tag_keys("iam:resourcetag/", subject.tags)}


def request_tags(p: Params, _subject: Subject) -> Mapping[str, Value]:
    """aws:RequestTag/* and aws:TagKeys of a request that sets tags."""
    return requested_tags(shapes.tags_of(p.get("Tags")))


def request_tag_keys(p: Params, _subject: Subject) -> Mapping[str, Value]:
    """aws:TagKeys of a request that takes tags away."""
    return {"aws:tagkeys": tuple(p.get("TagKeys") or ())}


def policy_arn(p: Params, _subject: Subject) -> Mapping[str, Value]:
    """iam:PolicyARN: the policy that is attached or detached."""
    return {"iam:policyarn": p["PolicyArn"]}


def boundary(p: Params, subject: Subject) -> Mapping[str, Value]:
    """iam:PermissionsBoundary: the boundary that the entity is to have, or else the one that it has; absent when neither."""
    arn = p.get("PermissionsBoundary") or subject.boundary_arn
    return {"iam:permissionsboundary": arn} if arn else {}
