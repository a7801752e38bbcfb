"""Documents of policies, and entities as the members of IAM's answers.

A trust document keeps its text. The principals that it names are stored with their unique ids at the time of writing,
so that a new entity of the same name has no access. A deleted principal is shown as its id, as in AWS.
Source: IAM User Guide, "AWS JSON policy elements: Principal"; "IAM and AWS STS quotas".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from daypass.domain.arn import assumed_role_arn, is_account_id, read_arn, root_arn
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
from daypass.domain.directory.identities import Named
from daypass.domain.policy.document import PolicyDocument, PolicyError, PolicyKind, parse
from daypass.domain.policy.lint.open_trust import open_trust_refusal
from daypass.operations.iam import faults, paging
from daypass.operations.iam.context import ReadContext
from daypass.operations.principals import SizedCache, find_by_id
from daypass.ports import Reader

Names: TypeAlias = dict[str, "User | Role | None"]
"""Entities by unique id, cached for one answer."""

_UNCOUNTED = str.maketrans("", "", " \t\r\n")
_SESSION_PREFIX = "assumed-role/"


@dataclass(frozen=True, slots=True)
class Checked:
    """The facts of a valid document that a write needs. `open_trust`: why it trusts every identity of an issuer, if it does."""

    principals: tuple[str, ...]  # values of type AWS, in the order of the text
    open_trust: str | None


def check(text: str, kind: PolicyKind) -> Checked:
    """Parses a document, or returns the cached result. Raises DaypassError(MALFORMED_POLICY) with AWS's message."""
    return _checked(f"{kind.value}:{text}")


def is_checked(text: str, kind: PolicyKind) -> bool:
    """Whether `check` has the document in its cache."""
    return f"{kind.value}:{text}" in _checked


def remember(text: str, kind: PolicyKind, checked: Checked) -> None:
    """Caches what `check` found in another process."""
    _checked.add(f"{kind.value}:{text}", checked)


def _check(key: str) -> Checked:
    kind, _, text = key.partition(":")
    try:
        document = parse(text, PolicyKind(kind))
    except PolicyError as error:
        raise faults.malformed_policy(error.message) from None
    if document.kind is not PolicyKind.TRUST:
        return Checked((), None)
    values = dict.fromkeys(principal.value for principal in document.principals() if principal.type == "AWS")
    return Checked(tuple(values), open_trust_refusal(document))


_checked: SizedCache[Checked] = SizedCache(_check, 4_000_000)


def size(text: str) -> int:
    """The number of characters as quotas count them: without white space."""
    return len(text.translate(_UNCOUNTED))


def managed(text: str) -> str:
    """A managed policy's text, checked."""
    check(text, PolicyKind.MANAGED)
    if size(text) > paging.MANAGED_POLICY_SIZE:
        raise faults.over_quota("PolicySize", paging.MANAGED_POLICY_SIZE)
    return text


def trust(tx: Reader, text: str) -> tuple[tuple[str, str], ...]:
    """The bindings of a trust document: each principal ARN with its current unique id.

    Raises MALFORMED_POLICY for a principal that does not exist in this installation, LIMIT_EXCEEDED for the document's
    size.
    """
    checked = check(text, PolicyKind.TRUST)
    if size(text) > paging.TRUST_POLICY_SIZE:
        raise faults.over_quota("ACLSizePerRole", paging.TRUST_POLICY_SIZE)
    if checked.open_trust is not None:  # every customer of a shared issuer: AWS refuses that too
        raise faults.malformed_policy(checked.open_trust)
    bindings: dict[str, str] = {}
    for value in checked.principals:
        unique_id = _bound_to(tx, value)
        if unique_id is None:
            raise faults.malformed_policy(f'Invalid principal in policy: "AWS":"{value}"')
        if unique_id:
            bindings[value] = unique_id
    return tuple(bindings.items())


def _bound_to(tx: Reader, value: str) -> str | None:
    """The unique id of an AWS principal; "" when it needs none; None when it does not exist."""
    if value == "*":
        return ""
    if is_account_id(value):
        return "" if tx.get(Account, id=value) is not None else None
    if not value.startswith("arn:"):
        return "" if find_by_id(tx, value) is not None else None
    arn = read_arn(value)
    if arn is None or arn.partition != "aws" or arn.region or tx.get(Account, id=arn.account) is None:
        return None
    if arn.service == "iam":
        return "" if arn.resource == "root" else _entity_bound_to(tx, arn.account, arn.resource, value)
    if arn.service == "sts" and arn.resource.startswith(_SESSION_PREFIX):
        return _session_bound_to(tx, arn.account, arn.resource.split("/")[1], value)
    if arn.service == "sts" and arn.resource.startswith("federated-user/"):
        return f"{arn.account}:{arn.name}"
    return None


def _entity_bound_to(tx: Reader, account: str, resource: str, value: str) -> str | None:
    kind = {"user": User, "role": Role}.get(resource.partition("/")[0])
    if kind is None:
        return None
    principal: User | Role | None = tx.get(kind, account=account, name=resource.rpartition("/")[2])
    return principal.id if principal is not None and principal.arn == value else None


def _session_bound_to(tx: Reader, account: str, role_name: str, value: str) -> str | None:
    role = tx.get(Role, account=account, name=role_name)
    if role is None or value != assumed_role_arn(account, role.name, value.rpartition("/")[2]):
        return None
    return role.id


def with_current_names(tx: Reader, role: Role, names: Names | None = None) -> str:
    """A role's trust document as written, with the current names of its principals.

    A renamed user is shown under its new ARN, a deleted principal as its unique id.
    """
    names = {} if names is None else names
    changed = {}
    for arn, unique_id in role.trust_bindings:
        now = _current_principal(tx, arn, unique_id, names)
        if now != arn:
            changed[arn] = now
    return _with_principals(role.trust_document, changed) if changed else role.trust_document


def _current_principal(tx: Reader, arn: str, unique_id: str, names: Names) -> str:
    if ":" in unique_id:  # a federated user is only a name
        return arn
    if unique_id not in names:
        names[unique_id] = find_by_id(tx, unique_id)
    entity = names[unique_id]
    session = arn.rpartition("/")[2] if f":{_SESSION_PREFIX}" in arn else ""
    if entity is None:
        return f"{unique_id}:{session}" if session else unique_id
    return assumed_role_arn(entity.account, entity.name, session) if session else entity.arn


def _with_principals(text: str, changed: dict[str, str]) -> str:
    """`text` with these principals replaced and no other character changed."""
    parts: list[str] = []
    done = 0
    for start, value in _principal_places(text):
        if value in changed:
            _, end = json.JSONDecoder().raw_decode(text, start)
            parts += [text[done:start], json.dumps(changed[value])]
            done = end
    return "".join((*parts, text[done:]))


@lru_cache(maxsize=128)
def _parsed_trust(text: str) -> PolicyDocument:
    return parse(text, PolicyKind.TRUST)


def _principal_places(text: str) -> Iterator[tuple[int, str]]:
    """The position of each AWS principal's string (its quote), in text order."""
    lines = [0]
    for line in text.split("\n"):
        lines.append(lines[-1] + len(line) + 1)
    places = [
        (lines[principal.line - 1] + principal.column - 1, principal.value)
        for principal in _parsed_trust(text).principals()
        if principal.type == "AWS"
    ]
    return iter(sorted(places))


# --- Members


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


def named(noun: str, entity: Named) -> dict[str, Any]:
    """What every user, group, role and instance profile shows."""
    return {
        "Path": entity.path,
        f"{noun}Name": entity.name,
        f"{noun}Id": entity.id,
        "Arn": entity.arn,
        "CreateDate": entity.created_at,
    }


def user(entity: User) -> dict[str, Any]:
    """As lists show it; `user_whole` has the rest."""
    return named("User", entity)


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
    return named("Group", entity)


def role_in_brief(ctx: ReadContext, entity: Role, names: Names | None = None) -> dict[str, Any]:
    """As CreateRole and instance profiles show it. The roles of one answer share `names`."""
    document = encoded(with_current_names(ctx.tx, entity, names))
    return {**named("Role", entity), "AssumeRolePolicyDocument": document}


def role(ctx: ReadContext, entity: Role, names: Names | None = None) -> dict[str, Any]:
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
