"""Users. A user's unique id outlives its name and dies with it: a namesake made later is somebody else."""

from __future__ import annotations

from dataclasses import replace

from daypass.domain.directory import (
    AccessKey,
    Account,
    Attachment,
    InlinePolicy,
    LoginProfile,
    Membership,
    MfaDevice,
    User,
)
from daypass.operations.iam import boundaries, changes, faults, find, quotas, shapes, tags
from daypass.operations.iam.paging import page
from daypass.operations.iam.work import Answer, Look, Params, Work


def create_user(work: Work, p: Params) -> Answer:
    changes.within_quota(work, User, "UsersPerAccount", quotas.USERS_PER_ACCOUNT, account=work.account)
    user = User(
        id=work.ids.unique("AIDA"),
        account=work.account,
        name=p["UserName"],
        path=p.get("Path") or "/",
        created_at=work.now,
        boundary_arn=boundaries.checked(work, p.get("PermissionsBoundary")),
        tags=tags.first(p),
    )
    changes.insert(work, user, faults.exists("User", user.name))
    return {"User": shapes.user_whole(user)}


def get_user(look: Look, p: Params) -> Answer:
    user = find.user_or_caller(look, p)
    return {"User": shapes.root_user(user) if isinstance(user, Account) else shapes.user_whole(user)}


def list_users(look: Look, p: Params) -> Answer:
    def fetch(after: str, limit: int) -> list[User]:
        prefix = p.get("PathPrefix") or ""
        return look.tx.find(User, order="name", path_prefix=prefix, after=after, limit=limit, account=look.account)

    users, more = page(p, "users", fetch, lambda user: user.name)
    return {"Users": [shapes.user(user) for user in users], **more}


def update_user(work: Work, p: Params) -> Answer:
    user = find.user(work, p["UserName"])
    new_name = p.get("NewUserName") or user.name
    renamed = replace(user, name=new_name, path=p.get("NewPath") or user.path)
    changes.replace(work, renamed, faults.exists("User", new_name))
    return {}


def delete_user(work: Work, p: Params) -> Answer:
    user = find.user(work, p["UserName"])
    for kind, what, field in (
        (AccessKey, "delete access keys", "owner_id"),
        (MfaDevice, "delete MFA device", "owner_id"),
        (LoginProfile, "delete login profile", "user_id"),
        (Attachment, "detach all policies", "owner_id"),
        (InlinePolicy, "delete policies", "owner_id"),
        (Membership, "remove users from group", "user_id"),
    ):
        if work.tx.count(kind, account=work.account, **{field: user.id}):
            raise faults.must_first(what)
    work.tx.delete(user)
    return {}
