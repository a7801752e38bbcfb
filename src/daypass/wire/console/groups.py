"""Groups: the list, one group with its users and policies, and the changes of both."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from daypass.wire.console.change import FormChange
from daypass.wire.console.context import ConsoleContext, to
from daypass.wire.console.iam import iam, page_marker
from daypass.wire.console.policies import Holder, calling, empty, policies_of, policy_changes
from daypass.wire.console.table import Cell, Field, FormView, TableView, columns, link, table_page
from daypass.wire.http import Response

_ROWS: Final = 50
_GROUPS: Final = "/console/groups"
_GROUP: Final = "/console/group"
_HOLDER: Final = Holder("Group", _GROUP, 128)
_NAME: Final = Field("new_name", "Name", hint="Letters, digits and _+=,.@-", maxlength=128)


async def groups(ctx: ConsoleContext, problem: str = "") -> Response:
    """GET /console/groups: by name."""
    found = await iam(ctx, "ListGroups", Marker=page_marker(ctx, "groups"), MaxItems=_ROWS)
    rows = [
        (
            link(group["GroupName"], _GROUP, name=group["GroupName"]),
            Cell(group["Path"]),
            Cell(at=group["CreateDate"]),
        )
        for group in found["Groups"]
    ]
    empty_text = ("No groups.", "Groups give their users the same policies. Approval rules name them.")
    titles, start = columns("Name", "Path", "Created"), ctx.value("start", 64)
    table = TableView(titles, rows, _GROUPS, found.get("Marker", ""), empty=empty_text, start=start)
    new = FormView(f"{_GROUPS}/create", "Create the group", "New group", (_NAME._replace(value=ctx.value("new_name")),))
    return table_page(ctx, "Groups", table, problem=problem, forms=(new,))


async def group(ctx: ConsoleContext, problem: str = "") -> Response:
    """GET /console/group?name=…"""
    name = ctx.value("name", 128)
    found = await iam(ctx, "GetGroup", GroupName=name, Marker=ctx.value("after"), MaxItems=_ROWS)
    policies, hidden = await policies_of(ctx, _HOLDER, name), {"name": name}
    members = [each["UserName"] for each in found["Users"]]
    leave = {
        user: FormView(
            f"{_GROUP}/remove-user", "Remove", hidden={**hidden, "user": user}, label=f"Remove {user}", danger=True
        )
        for user in members
    }
    forms = (
        FormView(f"{_GROUP}/add-user", "Add", "Add a user", (Field("user", "User", maxlength=64),), hidden),
        FormView(f"{_GROUP}/rename", "Rename", "Rename the group", (_NAME._replace(value=name),), hidden),
        *policies.forms,
    )
    delete = FormView(f"{_GROUP}/delete", "Delete the group", hidden=hidden, danger=True)
    return ctx.page(
        "group",
        found["Group"]["GroupName"],
        group=found["Group"],
        users=members,
        leave=leave,
        following=found.get("Marker", ""),
        policies=policies,
        forms=forms,
        delete=delete,
        problem=problem,
    )


async def _create(ctx: ConsoleContext) -> Response:
    name = ctx.value("new_name", 128)
    await iam(ctx, "CreateGroup", GroupName=name)
    return to(_GROUP, name=name, done="saved")


async def _rename(ctx: ConsoleContext) -> Response:
    name = ctx.value("new_name", 128)
    await iam(ctx, "UpdateGroup", GroupName=ctx.value("name", 128), NewGroupName=name)
    return to(_GROUP, name=name, done="saved")


async def _delete(ctx: ConsoleContext) -> Response:
    """Takes the group's policies and users from it, then deletes it. Each step is on the record."""
    name, marker = ctx.value("name", 128), ""
    while True:
        found = await iam(ctx, "GetGroup", GroupName=name, Marker=marker)
        for user in found["Users"]:
            await iam(ctx, "RemoveUserFromGroup", GroupName=name, UserName=user["UserName"])
        marker = found.get("Marker", "")
        if not marker:
            break
    await empty(ctx, _HOLDER, name)
    await iam(ctx, "DeleteGroup", GroupName=name)
    return to(_GROUPS, done="deleted")


def group_changes() -> Sequence[FormChange]:
    """Every change of a group. A name is confirmed, too: approval rules name users and groups (attack A294)."""
    sensitive = partial(FormChange, again=group, of="name", confirmed=True)
    join, leave = (
        calling(_HOLDER, operation, UserName=("user", 64)) for operation in ("AddUserToGroup", "RemoveUserFromGroup")
    )
    return (
        FormChange(f"{_GROUPS}/create", "iam:CreateGroup", "Create a group", _create, groups),
        sensitive(f"{_GROUP}/rename", "iam:UpdateGroup", "Rename a group", _rename),
        sensitive(f"{_GROUP}/add-user", "iam:AddUserToGroup", "Add a user to a group", join),
        sensitive(f"{_GROUP}/remove-user", "iam:RemoveUserFromGroup", "Remove a user from a group", leave),
        sensitive(f"{_GROUP}/delete", "iam:DeleteGroup", "Delete a group", _delete, asks=True),
        *policy_changes(_HOLDER, group),
    )
