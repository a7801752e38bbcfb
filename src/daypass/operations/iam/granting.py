"""Which services policies give access to, and through which policies (ListPoliciesGrantingServiceAccess).

The result is not a decision. As in AWS, it ignores conditions, boundaries, guardrails and resource policies. Only an
unconditional denial of a whole service counts.
Source: IAM API, "ListPoliciesGrantingServiceAccess"; IAM User Guide, "Refine permissions using last accessed
information".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from daypass.domain.arn import read_arn
from daypass.domain.directory import Group, KeyStatus, ManagedPolicy, Role, User
from daypass.domain.policy.cover import Coverage, coverage
from daypass.domain.policy.document import PolicyDocument
from daypass.domain.policy.model import Effect
from daypass.domain.policy.pattern import V2012, fold
from daypass.domain.ssf import CredentialChange
from daypass.operations.crud import REFUSED, Answer, AuthorizedResource, Params
from daypass.operations.iam import faults, find, holdings, mfa, resources, roles
from daypass.operations.iam.context import ReadContext, WriteContext
from daypass.operations.iam.holdings import Gatherer, PolicySource

_NAMESPACE = re.compile(r"[\w-]{1,64}", re.ASCII)
_FINDERS: Mapping[str, Callable[[ReadContext, str], User | Group | Role]] = {
    "user": find.user,
    "group": find.group,
    "role": find.role,
}


def list_policies_granting_service_access(ctx: ReadContext, p: Params) -> Answer:
    """For a user with its groups, a group, or a role: the namespaces in the order of the request."""
    entity = entity_of(ctx, p["Arn"])
    if isinstance(entity, ManagedPolicy):
        raise faults.invalid_arn(p["Arn"])
    sources = [
        source for source in Gatherer(ctx).of(entity).identity if source.kind != holdings.ACCOUNT
    ]  # not a policy
    ordered = sorted(sources, key=lambda source: (source.name, source.owner))
    granting = [
        {"ServiceNamespace": name, "Policies": [_policy_members(s) for s in ordered if grants(s.policy.document, name)]}
        for name in dict.fromkeys(p["ServiceNamespaces"])
    ]
    return {"PoliciesGrantingServiceAccess": granting, "IsTruncated": False}


def _policy_members(source: PolicySource) -> dict[str, Any]:
    if source.kind != holdings.INLINE:
        return {"PolicyName": source.name, "PolicyType": "MANAGED", "PolicyArn": source.arn}
    kind, name = source.owner
    return {"PolicyName": source.name, "PolicyType": "INLINE", "EntityType": kind.upper(), "EntityName": name}


# --- The contents of policies


def grants(document: PolicyDocument, namespace: str) -> bool:
    """Whether the document allows an action of a service, and does not deny the whole service unconditionally."""
    allowed = denied = False
    for effect, how_much in _of_service(document, namespace):
        allowed = allowed or effect is Effect.ALLOW
        denied = denied or (effect is Effect.DENY and how_much is Coverage.WHOLE)
    return allowed and not denied


def granted_services(documents: Iterable[PolicyDocument]) -> list[str]:
    """The namespaces that the documents together give access to, sorted: those written out, and the known ones."""
    known = list(documents)
    candidates = {*roles.NAMES, *(name for document in known for name in _written_namespaces(document))}
    found = []
    for name in sorted(candidates):
        effects = [each for document in known for each in _of_service(document, name)]
        denied = (Effect.DENY, Coverage.WHOLE) in effects
        if not denied and any(effect is Effect.ALLOW for effect, _ in effects):
            found.append(name)
    return found


def _of_service(document: PolicyDocument, namespace: str) -> Iterator[tuple[Effect, Coverage]]:
    """The statements' contents about the service, without unrelated statements and conditional denials."""
    pattern, variables = f"{fold(namespace)}:*", document.version == V2012
    for statement in document.statements:
        if statement.effect is Effect.DENY and statement.conditions:
            continue
        how_much = coverage(statement, pattern, "*", {}, variables=variables)
        if how_much is not Coverage.NONE:
            yield statement.effect, how_much


def _written_namespaces(document: PolicyDocument) -> Iterator[str]:
    for statement in document.statements:
        for action in statement.written.get("Action", ()):
            namespace = fold(action.partition(":")[0])
            if _NAMESPACE.fullmatch(namespace):
                yield namespace


# --- The entity


def entity_of(ctx: ReadContext, arn: str) -> User | Group | Role | ManagedPolicy:
    """The user, group, role or managed policy of this ARN. Raises INVALID_INPUT, NOT_FOUND."""
    kind, name = _named(ctx, arn)
    if kind == "policy":
        return find.policy(ctx, arn)
    entity = _FINDERS[kind](ctx, name)
    if entity.arn != arn:
        raise faults.no_such(kind, name)
    return entity


def arn_resource(ctx: ReadContext, p: Params) -> AuthorizedResource:
    """The entity of the Arn parameter, or its ARN when there is none."""
    kind, name = _named(ctx, p["Arn"])
    kinds: dict[str, type[User | Group | Role]] = {"user": User, "group": Group, "role": Role}
    if kind == "policy":
        policy = find.any_policy(ctx, p["Arn"])
        return resources.of(policy) if policy is not None else AuthorizedResource(p["Arn"])
    principal = ctx.tx.get(kinds[kind], account=ctx.account, name=name)
    return (
        resources.of(principal) if principal is not None and principal.arn == p["Arn"] else AuthorizedResource(p["Arn"])
    )


def _named(ctx: ReadContext, arn: str) -> tuple[str, str]:
    parsed = read_arn(arn)
    if parsed is None:
        raise faults.invalid_arn(arn)
    kind, _, rest = parsed.resource.partition("/")
    own = parsed.account == ctx.account or kind == "policy"
    if parsed.service != "iam" or parsed.region or not rest or not own or kind not in (*_FINDERS, "policy"):
        raise faults.invalid_arn(arn)
    return kind, rest.rpartition("/")[2]


# --- Which credentials of which principal an operation has changed, for the event streams of the account


ACCESS_KEY = "access-key"
PASSWORD = "password"  # a type of credential, not a value
MFA_DEVICE = "app"
SCIM_TOKEN = "scim-token"
Changes: TypeAlias = tuple[CredentialChange, ...]


def of_key(change: str, ctx: WriteContext, p: Params, answer: Answer) -> Changes:
    """An access key; one that is made inactive is revoked."""
    key_id = p["AccessKeyId"] if "AccessKeyId" in p else answer["AccessKey"]["AccessKeyId"]
    change = "revoke" if p.get("Status") == KeyStatus.INACTIVE else change
    return (CredentialChange(ctx.account, find.user_or_caller(ctx, p).id, ACCESS_KEY, change, key_id),)


def of_password(change: str, ctx: WriteContext, p: Params, answer: Answer) -> Changes:
    """A password; nothing for a wrong old password."""
    if REFUSED in answer:
        return ()
    return (CredentialChange(ctx.account, find.user_or_caller(ctx, p).id, PASSWORD, change),)


def of_device(change: str, ctx: WriteContext, p: Params, answer: Answer) -> Changes:
    """A virtual device; in its place, the passkey that the operation has deleted."""
    if mfa.REMOVED in answer:
        removed: Changes = answer[mfa.REMOVED]
        return removed
    return (CredentialChange(ctx.account, mfa.owner_of_call(ctx, p).id, MFA_DEVICE, change, p["SerialNumber"]),)
