"""Access keys. Only the response that creates a key contains its secret; it is stored sealed and never shown again."""

from __future__ import annotations

from dataclasses import replace

from daypass.domain.directory import AccessKey, Account, KeyStatus, User
from daypass.operations.crud.operation import Answer, Params
from daypass.operations.iam import changes, faults, find, members, paging
from daypass.operations.iam.context import ReadContext, WriteContext
from daypass.operations.iam.paging import page_of


def create_access_key(ctx: WriteContext, p: Params) -> Answer:
    """For the named user, or by default for the caller (also the root, so that it can rotate its key)."""
    owner = find.user_or_caller(ctx, p)
    of_owner = {"account": ctx.account, "owner_id": owner.id}
    changes.within_quota(ctx, AccessKey, "AccessKeysPerUser", paging.ACCESS_KEYS_PER_USER, **of_owner)
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
    return {"AccessKey": members.new_access_key(key, owner, secret)}


def list_access_keys(ctx: ReadContext, p: Params) -> Answer:
    """Oldest first."""
    owner = find.user_or_caller(ctx, p)
    keys = ctx.tx.find(AccessKey, order="id", account=ctx.account, owner_id=owner.id)
    shown, more = page_of(p, "access-keys", keys, lambda key: f"{key.created_at:020d} {key.id}")
    return {"AccessKeyMetadata": [members.access_key(key, owner) for key in shown], **more}


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


def list_of_account(members: str, _ctx: ReadContext, p: Params) -> Answer:
    shown, more = page_of(p, members, (), str)
    return {members: shown, **more}
