"""Access keys. Only the response that creates a key contains its secret; it is stored sealed and never shown again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from daypass.domain.directory import AccessKey, Account, Attachment, Group, KeyStatus, LastUse, Role, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.crud import Answer, Params
from daypass.operations.iam import context, documents, faults, find, paging
from daypass.operations.iam.context import ReadContext, WriteContext
from daypass.operations.iam.owners import Owner
from daypass.operations.iam.paging import page, page_of
from daypass.ports import Reader


def create_access_key(ctx: WriteContext, p: Params) -> Answer:
    """For the named user, or by default for the caller (also the root, so that it can rotate its key)."""
    owner = find.user_or_caller(ctx, p)
    of_owner = {"account": ctx.account, "owner_id": owner.id}
    context.within_quota(ctx, AccessKey, "AccessKeysPerUser", paging.ACCESS_KEYS_PER_USER, **of_owner)
    secret = ctx.ids.secret()
    key = AccessKey(
        id=ctx.ids.access_key("AKIA"),
        account=ctx.account,
        owner_id=owner.id,
        status=KeyStatus.ACTIVE,
        sealed_secret=ctx.sealer.seal_secret(secret.encode("ascii"), ctx.account, owner.id),
        created_at=ctx.now,
        status_changed_at=ctx.now,
    )
    ctx.tx.insert(key)
    return {"AccessKey": documents.new_access_key(key, owner, secret)}


def list_access_keys(ctx: ReadContext, p: Params) -> Answer:
    """Oldest first."""
    owner = find.user_or_caller(ctx, p)
    keys = ctx.tx.find(AccessKey, order="id", account=ctx.account, owner_id=owner.id)
    shown, more = page_of(p, "access-keys", keys, lambda key: f"{key.created_at:020d} {key.id}")
    return {"AccessKeyMetadata": [documents.access_key(key, owner) for key in shown], **more}


def update_access_key(ctx: WriteContext, p: Params) -> Answer:
    key, _ = _owned(ctx, p)
    try:
        status = KeyStatus(p["Status"])
    except ValueError:  # the model's shape is shared with other credentials, which may also expire
        raise faults.invalid(f"The status of an access key must be one of: {', '.join(KeyStatus)}.") from None
    ctx.tx.replace(replace(key, status=status, status_changed_at=ctx.now))
    return {}


def delete_access_key(ctx: WriteContext, p: Params) -> Answer:
    key, _ = _owned(ctx, p)
    ctx.tx.delete(key)
    return {}


def _owned(ctx: ReadContext, p: Params) -> tuple[AccessKey, User | Account]:
    """The key, which must belong to the named user or the caller."""
    owner = find.user_or_caller(ctx, p)
    key = ctx.tx.get(AccessKey, id=p["AccessKeyId"])
    if key is None or key.account != ctx.account or key.owner_id != owner.id:
        raise faults.not_found(f"The Access Key with id {p['AccessKeyId']} cannot be found.")
    return key, owner


# --- Absent


def list_of_user(members: str, ctx: ReadContext, p: Params) -> Answer:
    """The empty list, as the answer's member `members`, for a user that must exist; by default the caller."""
    if not p.get("AllUsers"):
        find.user_or_caller(ctx, p)
    return list_of_account(members, ctx, p)


_WITH_CREDENTIALS: Final = frozenset(
    f"{name}.amazonaws.com" for name in ("bedrock", "cassandra", "cloudwatch", "codecommit", "logs")
)


def list_service_specific_credentials(ctx: ReadContext, p: Params) -> Answer:
    """Empty; a service without such credentials is refused as AWS refuses it."""
    answer, service = list_of_user("ServiceSpecificCredentials", ctx, p), p.get("ServiceName", "")
    if service and service not in _WITH_CREDENTIALS:
        raise faults.not_found(f"No such service {service} is supported for Service Specific Credentials")
    return answer


def list_of_account(members: str, _ctx: ReadContext, p: Params) -> Answer:
    shown, more = page_of(p, members, (), str)
    return {members: shown, **more}


# --- When keys and roles were last used, from the journal's usage data, with a resolution of a minute


TRACKED_MS: Final = 400 * 86_400_000
"""The tracking period: an earlier use counts as never used."""
_NONE: Final = "N/A"
SIGN_IN: Final = "daypass:SignIn"


def uses(ctx: ReadContext, subject: str) -> list[LastUse]:
    """The uses of a principal or key in the tracking period: one for each operation (or service)."""
    since = ctx.now - TRACKED_MS
    return [use for use in ctx.tx.find(LastUse, subject=subject) if use.at >= since]


def newest(last_uses: list[LastUse]) -> LastUse | None:
    return max(last_uses, key=lambda use: (use.at, use.operation), default=None)


def get_access_key_last_used(ctx: ReadContext, p: Params) -> Answer:
    key = ctx.tx.get(AccessKey, id=p["AccessKeyId"])
    if key is None or key.account != ctx.account:
        denied = f"User: {ctx.caller.arn} is not authorized to perform iam:GetAccessKeyLastUsed"  # AWS: no colon here
        raise DaypassError(ErrorKind.ACCESS_DENIED, f"{denied} on resource: access key {p['AccessKeyId']}")
    owner = ctx.tx.get(User, id=key.owner_id)
    shown: dict[str, Any] = {"UserName": owner.name} if owner is not None else {}
    last = newest(uses(ctx, key.id))
    if last is None:
        return {**shown, "AccessKeyLastUsed": {"ServiceName": _NONE, "Region": _NONE}}
    used = {"LastUsedDate": last.at, "ServiceName": last.operation, "Region": last.region or _NONE}
    return {**shown, "AccessKeyLastUsed": used}


def sign_ins(tx: Reader, now: int, users: Sequence[str]) -> Mapping[str, int]:
    """When these users last signed in with a browser (ms), by password or passkey. Those who never did are left out."""
    uses = tx.find_among(LastUse, "subject", users, order="subject", operation=SIGN_IN)
    return {use.subject: use.at for use in uses if use.at >= now - TRACKED_MS}


def of_role(ctx: ReadContext, role_id: str) -> dict[str, Any]:
    """The RoleLastUsed member: empty when no session of the role made a call."""
    last = newest(uses(ctx, role_id))
    if last is None:
        return {}
    return {"LastUsedDate": last.at, **({"Region": last.region} if last.region else {})}


# --- The users, groups and roles that use a managed policy (ListEntitiesForPolicy)


_KINDS: dict[str, tuple[str, type[Owner]]] = {"AGPA": ("Group", Group), "AIDA": ("User", User), "AROA": ("Role", Role)}


def list_entities_for_policy(ctx: ReadContext, p: Params) -> Answer:
    """Lists groups, users and roles, each in the order of unique ids."""
    policy = find.attachable(ctx, p["PolicyArn"])
    prefix, wanted = p.get("PathPrefix") or "/", p.get("EntityFilter")

    def fetch(after: str, limit: int) -> Sequence[str]:
        return _users_of(ctx, policy.arn, p.get("PolicyUsageFilter"), after, limit)

    def keep(owner_id: str) -> bool:
        noun, kind = _KINDS[owner_id[:4]]
        if wanted and noun != wanted:
            return False
        owner = ctx.tx.get(kind, id=owner_id)
        return owner is not None and owner.path.startswith(prefix)

    ids, more = page(p, "entities", fetch, lambda owner_id: owner_id, keep)
    shown: dict[str, list[dict[str, Any]]] = {"PolicyGroups": [], "PolicyUsers": [], "PolicyRoles": []}
    for owner_id in ids:
        noun, kind = _KINDS[owner_id[:4]]
        owner = ctx.tx.get(kind, id=owner_id)
        assert owner is not None  # `keep` found it in the same snapshot
        shown[f"Policy{noun}s"].append({f"{noun}Name": owner.name, f"{noun}Id": owner.id})
    return {**shown, **more}


def _users_of(ctx: ReadContext, arn: str, usage: str | None, after: str, limit: int) -> list[str]:
    """Up to `limit` ids after `after` of entities that have the policy attached, as a boundary, or either."""
    ids: set[str] = set()
    if usage != "PermissionsBoundary":
        attached = ctx.tx.find(
            Attachment, order="owner_id", after=after, limit=limit, account=ctx.account, policy_arn=arn
        )
        ids.update(attachment.owner_id for attachment in attached)
    if usage != "PermissionsPolicy":
        own = {"account": ctx.account, "boundary_arn": arn}
        ids.update(user.id for user in ctx.tx.find(User, order="id", after=after, limit=limit, **own))
        ids.update(role.id for role in ctx.tx.find(Role, order="id", after=after, limit=limit, **own))
    return sorted(ids)[:limit]
