"""Users. A unique id belongs to one user for ever: a later user of the same name is a different one."""

from __future__ import annotations

from typing import Any

from daypass.domain.directory import (
    AccessKey,
    Account,
    Attachment,
    ChatLink,
    InlinePolicy,
    LoginProfile,
    Membership,
    MfaDevice,
    Passkey,
    RecoveryCode,
    ScimResource,
    User,
)
from daypass.operations.crud.operation import Answer, Params
from daypass.operations.iam import access_keys, attachments, context, documents, faults, find, owners, paging, tags
from daypass.operations.iam.context import ReadContext, WriteContext


def create_user(ctx: WriteContext, p: Params) -> Answer:
    context.within_quota(ctx, User, "UsersPerAccount", paging.USERS_PER_ACCOUNT, account=ctx.account)
    user = User(
        id=ctx.ids.unique("AIDA"),
        account=ctx.account,
        name=p["UserName"],
        path=context.path_of(p),
        created_at=ctx.now,
        boundary_arn=attachments.checked(ctx, p.get("PermissionsBoundary")),
        tags=tags.first(p),
    )
    context.insert(ctx, user, faults.exists("User", user.name))
    return {"User": documents.user_whole(user)}


def get_user(ctx: ReadContext, p: Params) -> Answer:
    user = find.user_or_caller(ctx, p)
    if isinstance(user, Account):
        return {"User": documents.root_user(user)}
    last = access_keys.sign_ins(ctx.tx, ctx.now, [user.id])
    return {"User": {**documents.user_whole(user), **({"PasswordLastUsed": last[user.id]} if last else {})}}


def list_users(ctx: ReadContext, p: Params) -> Answer:
    users, more = owners.page_by_name(ctx, p, User, "users")
    last = access_keys.sign_ins(ctx.tx, ctx.now, [user.id for user in users])
    shown = (
        {**documents.user(user), **({"PasswordLastUsed": last[user.id]} if user.id in last else {})} for user in users
    )
    return {"Users": list(shown), **more}


def update_user(ctx: WriteContext, p: Params) -> Answer:
    return owners.rename(ctx, p, find.user(ctx, p["UserName"]), "User")


def delete_user(ctx: WriteContext, p: Params) -> Answer:
    user = find.user(ctx, p["UserName"])
    uses = (
        (AccessKey, "delete access keys", "owner_id"),
        (MfaDevice, "delete MFA device", "owner_id"),
        (Passkey, "delete MFA device", "user_id"),
        (LoginProfile, "delete login profile", "user_id"),
        (Attachment, "detach all policies", "owner_id"),
        (InlinePolicy, "delete policies", "owner_id"),
        (Membership, "remove users from group", "user_id"),
    )
    owners.check_unused(ctx, user.id, uses)
    owned: tuple[type[Any], ...] = (RecoveryCode, ChatLink)  # the link would be nobody's to remove (attack A295)
    for each in (row for kind in owned for row in ctx.tx.find(kind, account=user.account, user_id=user.id)):
        ctx.tx.delete(each)
    for provisioned in ctx.tx.find(ScimResource, id=user.id):
        ctx.tx.delete(provisioned)
    ctx.tx.delete(user)
    context.end_sessions(ctx, user)
    return {}
