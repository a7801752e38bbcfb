"""Authorizes the calls of the management API, within an account and across accounts.

A resource is `arn:aws:daypass::ACCOUNT:KIND/NAME` of the account that owns it. Principals of that account need policies
that allow the action. Only principals of the operator account may act on resources of other accounts, and only by a
statement that names `daypass:` and the resource (`domain.policy.administration`): each resource has an implicit policy
that delegates to the operator account, and the one evaluator decides.

An operation that changes which principal may assume which role, or what its sessions may do, also needs the permission
that AWS requires for the same change (`ALSO`), so that a policy for AWS which withholds that permission withholds the operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar

from daypass.domain.arn import account_of, root_arn
from daypass.domain.claims import Caller
from daypass.domain.context import resource_context
from daypass.domain.directory import Tags
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.document import PolicyKind, compile_stored
from daypass.domain.policy.layers import NamedPolicy
from daypass.domain.policy.model import Decision, Layer
from daypass.operations.authorize import Own, authorize, authorize_own
from daypass.operations.outcome import served
from daypass.ports import Call, Env, Reader, Viewer

T = TypeVar("T")

EVERY_ACCOUNT = "*"
"""Replaces an account id: all accounts. Only for the operator."""

ALSO: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "PutProviderSettings": ("iam:UpdateOpenIDConnectProviderThumbprint",),
        "CreatePodIdentityAssociation": ("iam:PassRole",),
        "PutAllowedIssuers": ("iam:CreateOpenIDConnectProvider",),
        "PutRoleSettings": ("iam:UpdateRole",),
        "PutApprovalRule": ("iam:UpdateAssumeRolePolicy",),
        "DeleteApprovalRule": ("iam:UpdateAssumeRolePolicy",),
        "PutGuardrail": ("organizations:UpdatePolicy", "organizations:AttachPolicy"),
        "DeleteGuardrail": ("organizations:DetachPolicy", "organizations:DeletePolicy"),
        "CreateAccount": ("organizations:CreateAccount",),
        "CreateClient": ("iam:CreateOpenIDConnectProvider",),
        "UpdateClient": ("iam:UpdateOpenIDConnectProviderThumbprint",),
        "CreateClientSecret": ("iam:UpdateOpenIDConnectProviderThumbprint",),
        "PutResourceServer": ("iam:CreatePolicyVersion",),
        "DeleteResourceServer": ("iam:DeletePolicy",),
        "LiftBlock": ("iam:DeleteRolePolicy",),
        "CreateScimToken": (
            "iam:CreateUser",
            "iam:UpdateUser",
            "iam:DeleteUser",
            "iam:CreateGroup",
            "iam:UpdateGroup",
            "iam:DeleteGroup",
            "iam:AddUserToGroup",
            "iam:RemoveUserFromGroup",
        ),
        "ListMfaDevices": ("iam:ListMFADevices",),
        "UpdatePasskey": ("iam:DeactivateMFADevice",),
        "DeletePasskey": ("iam:DeactivateMFADevice",),
        "Offboard": ("iam:UpdateAccessKey", "iam:DeleteLoginProfile", "iam:DeactivateMFADevice"),
    }
)
"""The further permission for a `daypass:` action, on the corresponding AWS resource (`arn_in_aws`)."""


_HOW_TO_REACH: Final = "Access to another account takes a policy that names daypass: in Action and an ARN in Resource, such as DaypassOperatorAccess"


class Scope(NamedTuple):
    """The scope of a reader. `account` is "" for every account."""

    viewer: Viewer
    account: str
    decision: Decision


class InAws(NamedTuple):
    """The permissions that AWS requires for the same change: the `resource` of its permissions, when `arn_in_aws` does not know it, and
    the permissions that the call needs besides those in `ALSO`. `tags`: of the entity, which policies see with each of
    these permissions and with the action itself (attack A202).
    """

    resource: str = ""
    also: Sequence[str] = ()
    tags: Tags = ()


_AS_KNOWN: Final = InAws()


def arn_of(account: str, kind: str, name: str) -> str:
    """The ARN of a managed resource."""
    return f"arn:aws:daypass::{account}:{kind}/{name}"


def arn_in_aws(account: str, kind: str, name: str, operator: str) -> str:
    """The resource of the permission that AWS requires: a provider, role or policy in IAM, an account in Organizations.

    Accounts of an organization belong to the management account, here the `operator`. A new account has no ARN yet.
    """
    match kind:
        case "oidc-provider" | "role":
            return f"arn:aws:iam::{account}:{kind}/{name}"
        case "issuers" | "client":
            return f"arn:aws:iam::{account}:oidc-provider/*"
        case "approval-rule":
            return f"arn:aws:iam::{account}:role/*"
        case "resource-server":
            return f"arn:aws:iam::{account}:policy/*"
        case "account":
            return "*"
        case _:
            return f"arn:aws:organizations::{operator}:account/{account}"


async def allow(
    env: Env,
    call: Call,
    action: str,
    kind: str,
    name: str,
    account: str = "",
    *,
    in_aws: InAws = _AS_KNOWN,
    requested: str = "",
) -> Decision:
    """Authorizes `daypass:ACTION` on a resource of `account` (default: the caller's), and returns the decision.

    `requested`: the name in the request, when `name` is how the entity's name is stored: names are found in any case,
    policies see the stored one (attack A196), and a denial shows the requested one.

    Raises DaypassError(ACCESS_DENIED). Between accounts the message is the same whether the resource or account exists.
    Principals of other accounts than the operator's are refused here for another account, whatever their policies say.
    """
    own = call.caller.account
    owner = account or own
    resource, shown = arn_of(owner, kind, name), arn_of(owner, kind, requested or name)
    delegated = None
    if owner != own:
        if not await is_operator(env, call.caller):
            raise _not_the_operator(call, action, shown, "it belongs to another account")
        delegated = _delegation(own)
    keys = resource_context(owner, in_aws.tags) if in_aws.tags else None
    try:
        decision = await authorize(
            env, call, f"daypass:{action}", resource, context=keys, resource_policy=delegated, shown=shown
        )
    except DaypassError as error:
        if delegated is not None and _lacks_permission(error):
            error.public += f". {_HOW_TO_REACH}"
        raise
    for permission in (*ALSO.get(action, ()), *in_aws.also):
        theirs = in_aws.resource or arn_in_aws(owner, kind, name, own)
        foreign = account_of(theirs) not in ("", own)
        await authorize(env, call, permission, theirs, context=keys, resource_policy=delegated if foreign else None)
    return decision


async def read_recorded(
    env: Env,
    call: Call,
    action: str,
    kind: str,
    name: str,
    account: str,
    query: Callable[[Reader, str], T],
    **detail: Any,
) -> T:
    """Authorizes `daypass:ACTION` on a resource, runs `query` for the owning account, and records the read with `detail`.

    `account`: "" is the caller's. Raises DaypassError(ACCESS_DENIED).
    """
    owner = account or call.caller.account
    decision = await allow(env, call, action, kind, name, owner)
    found = await env.directory.read(lambda tx: query(tx, owner), account=call.caller.account)
    await env.journal.commit(served(call, account=owner, decision=decision, detail=detail))
    return found


async def allow_own(env: Env, call: Call, action: str, kind: str, name: str = "*", own: Own = Own.RESOURCE) -> Decision:
    """Authorizes `daypass:ACTION` on what is the caller's own. It needs no permission; see `Own`.

    Raises DaypassError(ACCESS_DENIED) when a policy withholds it.
    """
    return await authorize_own(env, call, f"daypass:{action}", arn_of(call.caller.account, kind, name), own)


async def allow_all_or_own(
    env: Env, call: Call, action: str, kind: str, name: str = "*", account: str = ""
) -> tuple[Decision, bool]:
    """Authorizes a list: the decision, and whether it covers everything. Otherwise it covers the caller's own.

    Raises DaypassError(ACCESS_DENIED) when a policy withholds both.
    """
    try:
        return await allow(env, call, action, kind, name, account), True
    except DaypassError as error:
        if error.kind is not ErrorKind.ACCESS_DENIED or (error.explanation or {}).get("explicit", True):
            raise
        return await allow_own(env, call, action, kind, name), False


def _lacks_permission(error: DaypassError) -> bool:
    """Whether a policy attached to the caller could have allowed it: no policy denies it, and no other layer blocks it."""
    explanation = error.explanation or {}
    return explanation.get("blocked_by") == Layer.IDENTITY.value and not explanation.get("explicit")


async def allow_operator(env: Env, call: Call, action: str, kind: str, name: str, account: str = "") -> Decision:
    """Like `allow`, for actions that only the operator's principals may perform, even on their own account."""
    if not await is_operator(env, call.caller):
        resource = arn_of(account or call.caller.account, kind, name)
        raise _not_the_operator(call, action, resource, "it is for the operator account alone")
    return await allow(env, call, action, kind, name, account)


async def allow_reading(env: Env, call: Call, action: str, kind: str, account: str) -> Scope:
    """The scope in which the caller may read `account`: "" is its own account, EVERY_ACCOUNT all of them."""
    decision = await allow(env, call, action, kind, "*", account)
    own = call.caller.account
    if account in ("", own):
        return Scope(Viewer(own), own, decision)
    # The view depends on the account, never on the decision alone.
    viewer = Viewer(own, operator=await is_operator(env, call.caller))
    return Scope(viewer, "" if account == EVERY_ACCOUNT else account, decision)


async def is_operator(env: Env, caller: Caller) -> bool:
    """Whether the caller belongs to the operator account."""
    view = await env.directory.account(caller.account)
    return view is not None and view.account.operator


def _not_the_operator(call: Call, action: str, resource: str, because: str) -> DaypassError:
    return DaypassError(
        ErrorKind.ACCESS_DENIED,
        f"User: {call.caller.arn} is not authorized to perform: daypass:{action} on resource: {resource} because {because}",
        private={"resource": resource, "reason": "not the operator account"},
    )


@lru_cache(maxsize=8)
def _delegation(operator: str) -> NamedPolicy:
    text = (
        f'{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"AWS":"{root_arn(operator)}"}},'
        '"Action":["daypass:*","iam:*"],"Resource":"*"}]}'
    )
    return NamedPolicy("operator", compile_stored(text, PolicyKind.RESOURCE))


# --- One page of the entities that a list of the management API shows, and the most that any page shows


E = TypeVar("E")

MAX_BYTES: Final = 524_288
"""The largest size of a page, which ends early otherwise. The event loop writes them, in some 5 ms (attack A308)."""


def read_page(tx: Reader, kind: type[E], order: str, after: str, limit: int, **equals: Any) -> tuple[list[E], str]:
    """Up to `limit` entities that follow `after` in `order` (see `Reader.find`), and the `after` of the next page: ""
    at the end.
    """
    entities = tx.find(kind, order=order, after=after, limit=limit + 1, **equals)
    last = getattr(entities[limit - 1], order.removeprefix("-")) if len(entities) > limit else ""
    return entities[:limit], str(last)


def fitting(items: Iterable[E], size: Callable[[E], int]) -> list[E]:
    """The first of the items, as many as fit into one page; at least one, so that readers advance. Answers of the largest
    roles or events took 60 ms of the event loop (attack A235).
    """
    entities: list[E] = []
    total = 0
    for item in items:
        total += size(item)
        if total > MAX_BYTES and entities:
            break
        entities.append(item)
    return entities
