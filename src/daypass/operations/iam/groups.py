"""Groups and who is in them. A group is no principal: it only hands its policies to its members."""

from __future__ import annotations

from dataclasses import replace

from daypass.domain.directory import Attachment, Group, InlinePolicy, Membership, User
from daypass.operations.iam import changes, faults, find, quotas, shapes
from daypass.operations.iam.paging import page, page_of
from daypass.operations.iam.work import Answer, Look, Params, Work

_BATCH = 1000


def create_group(work: Work, p: Params) -> Answer:
    changes.within_quota(work, Group, "GroupsPerAccount", quotas.GROUPS_PER_ACCOUNT, account=work.account)
    group = Group(
        id=work.ids.unique("AGPA"),
        account=work.account,
        name=p["GroupName"],
        path=p.get("Path") or "/",
        created_at=work.now,
    )
    changes.insert(work, group, faults.exists("Group", group.name))
    return {"Group": shapes.group(group)}


def get_group(look: Look, p: Params) -> Answer:
    """The group with a page of its members, by user name."""
    group = find.group(look, p["GroupName"])
    users, more = page_of(p, "members", _members(look, group), lambda user: user.name.lower())
    return {"Group": shapes.group(group), "Users": [shapes.user(user) for user in users], **more}


def _members(look: Look, group: Group) -> list[User]:
    members: list[User] = []
    after = ""
    while True:
        batch = look.tx.find(
            Membership, order="user_id", after=after, limit=_BATCH, account=look.account, group_id=group.id
        )
        members += [user for m in batch if (user := look.tx.get(User, id=m.user_id)) is not None]
        if len(batch) < _BATCH:
            return members
        after = batch[-1].user_id


def list_groups(look: Look, p: Params) -> Answer:
    def fetch(after: str, limit: int) -> list[Group]:
        prefix = p.get("PathPrefix") or ""
        return look.tx.find(Group, order="name", path_prefix=prefix, after=after, limit=limit, account=look.account)

    groups, more = page(p, "groups", fetch, lambda group: group.name)
    return {"Groups": [shapes.group(group) for group in groups], **more}


def of_user(look: Look, user: User) -> list[Group]:
    """The groups that a user is in: never more than a handful (quota)."""
    memberships = look.tx.find(Membership, order="group_id", account=look.account, user_id=user.id)
    return [group for m in memberships if (group := look.tx.get(Group, id=m.group_id)) is not None]


def list_groups_for_user(look: Look, p: Params) -> Answer:
    user = find.user(look, p["UserName"])
    groups, more = page_of(p, "groups-for-user", of_user(look, user), lambda group: group.name.lower())
    return {"Groups": [shapes.group(group) for group in groups], **more}


def update_group(work: Work, p: Params) -> Answer:
    group = find.group(work, p["GroupName"])
    new_name = p.get("NewGroupName") or group.name
    renamed = replace(group, name=new_name, path=p.get("NewPath") or group.path)
    changes.replace(work, renamed, faults.exists("Group", new_name))
    return {}


def delete_group(work: Work, p: Params) -> Answer:
    group = find.group(work, p["GroupName"])
    for kind, what, field in (
        (Membership, "remove users from group", "group_id"),
        (Attachment, "detach all policies", "owner_id"),
        (InlinePolicy, "delete policies", "owner_id"),
    ):
        if work.tx.count(kind, account=work.account, **{field: group.id}):
            raise faults.must_first(what)
    work.tx.delete(group)
    return {}


def add_user_to_group(work: Work, p: Params) -> Answer:
    """Adding a member again changes nothing."""
    user, group = find.user(work, p["UserName"]), find.group(work, p["GroupName"])
    if work.tx.get(Membership, group_id=group.id, user_id=user.id) is None:
        changes.within_quota(work, Membership, "GroupsPerUser", quotas.GROUPS_PER_USER, user_id=user.id)
        work.tx.insert(Membership(work.account, group.id, user.id, work.now))
    return {}


def remove_user_from_group(work: Work, p: Params) -> Answer:
    """Removing one who is no member changes nothing."""
    user, group = find.user(work, p["UserName"]), find.group(work, p["GroupName"])
    membership = work.tx.get(Membership, group_id=group.id, user_id=user.id)
    if membership is not None:
        work.tx.delete(membership)
    return {}
