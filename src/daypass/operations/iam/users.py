"""Users and groups. A unique id belongs to one user for ever: a later user of the same name is a different one."""

from __future__ import annotations

from typing import Any

from daypass.domain.directory import (
    AccessKey,
    Account,
    Attachment,
    ChatLink,
    Group,
    InlinePolicy,
    LoginProfile,
    Membership,
    MfaDevice,
    Passkey,
    RecoveryCode,
    ScimResource,
    User,
)
from daypass.operations.crud import Answer, Params
from daypass.operations.iam import access_keys, attachments, context, documents, faults, find, owners, paging, tags
from daypass.operations.iam.context import ReadContext, WriteContext
from daypass.operations.iam.paging import page, page_of
from daypass.operations.principals import groups_of


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


# --- Groups and their members. A group is not a principal: it only passes its policies to its members


def create_group(ctx: WriteContext, p: Params) -> Answer:
    context.within_quota(ctx, Group, "GroupsPerAccount", paging.GROUPS_PER_ACCOUNT, account=ctx.account)
    group = Group(
        id=ctx.ids.unique("AGPA"), account=ctx.account, name=p["GroupName"], path=context.path_of(p), created_at=ctx.now
    )
    context.insert(ctx, group, faults.exists("Group", group.name))
    return {"Group": documents.group(group)}


def get_group(ctx: ReadContext, p: Params) -> Answer:
    """The group with a page of its members, in the order of their unique ids: a page costs the same in a large group."""
    group = find.group(ctx, p["GroupName"])

    def fetch(after: str, limit: int) -> list[Membership]:
        return ctx.tx.find(
            Membership, order="user_id", after=after, limit=limit, account=ctx.account, group_id=group.id
        )

    memberships, more = page(p, "member-ids", fetch, lambda membership: membership.user_id)
    users = [user for each in memberships if (user := ctx.tx.get(User, id=each.user_id)) is not None]
    return {"Group": documents.group(group), "Users": [documents.user(user) for user in users], **more}


def list_groups(ctx: ReadContext, p: Params) -> Answer:
    groups, more = owners.page_by_name(ctx, p, Group, "groups")
    return {"Groups": [documents.group(group) for group in groups], **more}


def list_groups_for_user(ctx: ReadContext, p: Params) -> Answer:
    user = find.user(ctx, p["UserName"])
    groups, more = page_of(p, "groups-for-user", groups_of(ctx.tx, user.id), lambda group: group.name.lower())
    return {"Groups": [documents.group(group) for group in groups], **more}


def update_group(ctx: WriteContext, p: Params) -> Answer:
    return owners.rename(ctx, p, find.group(ctx, p["GroupName"]), "Group")


def delete_group(ctx: WriteContext, p: Params) -> Answer:
    group = find.group(ctx, p["GroupName"])
    uses = (
        (Membership, "remove users from group", "group_id"),
        (Attachment, "detach all policies", "owner_id"),
        (InlinePolicy, "delete policies", "owner_id"),
    )
    owners.check_unused(ctx, group.id, uses)
    for provisioned in ctx.tx.find(ScimResource, id=group.id):
        ctx.tx.delete(provisioned)
    ctx.tx.delete(group)
    return {}


def add_user_to_group(ctx: WriteContext, p: Params) -> Answer:
    """Adding an existing member changes nothing."""
    user, group = find.user(ctx, p["UserName"]), find.group(ctx, p["GroupName"])
    if ctx.tx.get(Membership, group_id=group.id, user_id=user.id) is None:
        context.within_quota(ctx, Membership, "GroupsPerUser", paging.GROUPS_PER_USER, user_id=user.id)
        ctx.tx.insert(Membership(ctx.account, group.id, user.id, ctx.now))
    return {}


def remove_user_from_group(ctx: WriteContext, p: Params) -> Answer:
    """Removing a user who is not a member succeeds and changes nothing, as in AWS."""
    user, group = find.user(ctx, p["UserName"]), find.group(ctx, p["GroupName"])
    membership = ctx.tx.get(Membership, group_id=group.id, user_id=user.id)
    if membership is not None:
        ctx.tx.delete(membership)
    return {}
