"""Users of the account: the list, and one user with its groups, keys, devices and policies."""

from __future__ import annotations

from typing import Final

from daypass.operations.sign_in import devices
from daypass.operations.sign_in.devices import Devices, Whose
from daypass.wire.console.context import ConsoleContext
from daypass.wire.console.forms import Field, FormView, chosen
from daypass.wire.console.iam import iam, iam_part, page_marker
from daypass.wire.console.policies import Holder, policies_of
from daypass.wire.console.table import Cell, TableView, columns, link, table_page
from daypass.wire.http import Response

ROWS: Final = 50
USERS: Final = "/console/users"
USER: Final = "/console/user"
HOLDER: Final = Holder("User", USER, 64)
_MOST: Final = 100  # groups that the choice offers
_NAME: Final = Field("new_name", "Name", hint="Letters, digits and _+=,.@-", maxlength=64)


async def users(ctx: ConsoleContext, problem: str = "") -> Response:
    """GET /console/users: by name."""
    found = await iam(ctx, "ListUsers", Marker=page_marker(ctx, "users"), MaxItems=ROWS)
    rows = [
        (
            link(user["UserName"], USER, name=user["UserName"]),
            Cell(state="blocked" if ctx.block_on(user["UserId"]) else ""),
            Cell(user["Path"]),
            Cell(at=user["CreateDate"]),
        )
        for user in found["Users"]
    ]
    titles = columns("Name", "State", "Path", "Created")
    empty = ("No users.", "Create one here, or let people sign in with an identity provider.")
    table = TableView(titles, rows, USERS, found.get("Marker", ""), empty=empty, start=ctx.value("start", 64))
    new = FormView(f"{USERS}/create", "Create the user", "New user", (_NAME._replace(value=ctx.value("new_name")),))
    return table_page(ctx, "Users", table, problem=problem, forms=(new,))


async def user(ctx: ConsoleContext, problem: str = "", once: tuple[tuple[str, str], ...] = ()) -> Response:
    """GET /console/user?name=… `once`: secrets with their labels, which no other page shows."""
    name = ctx.value("name", 64)
    found = (await iam(ctx, "GetUser", UserName=name))["User"]
    keys = await iam_part(ctx, "ListAccessKeys", UserName=name)
    listed = (keys.value or {}).get("AccessKeyMetadata", ())
    used = {
        key["AccessKeyId"]: await iam_part(ctx, "GetAccessKeyLastUsed", AccessKeyId=key["AccessKeyId"])
        for key in listed
    }
    groups = await iam_part(ctx, "ListGroupsForUser", UserName=name)
    policies = await policies_of(ctx, HOLDER, name)
    password = await _has_password(ctx, name)
    part = await ctx.attempt("daypass:ListMfaDevices", devices.list_devices, Whose(name))
    member = [each["GroupName"] for each in (groups.value or {}).get("Groups", ())]
    return ctx.page(
        "user",
        found["UserName"],
        user=found,
        block=ctx.block_on(found["UserId"]),
        groups=groups,
        keys=keys,
        used=used,
        devices=part,
        **_device_buttons(name, part.value),
        policies=policies,
        password=password,
        forms=(*await _forms(ctx, name, member), *policies.forms),
        buttons=_buttons(name, member, [key["AccessKeyId"] for key in listed]),
        problem=problem,
        once=once,
    )


async def _has_password(ctx: ConsoleContext, name: str) -> bool | None:
    """None: the person may not know."""
    part = await iam_part(ctx, "GetLoginProfile", UserName=name)
    return True if part.value is not None else False if part.absent else None


async def _forms(ctx: ConsoleContext, name: str, member: list[str]) -> tuple[FormView, ...]:
    """Forms with fields: another group, another name."""
    part = await iam_part(ctx, "ListGroups", MaxItems=_MOST)
    names = [each["GroupName"] for each in (part.value or {}).get("Groups", ())]
    others = [each for each in names if each not in member]
    hidden, more = {"name": name}, bool((part.value or {}).get("Marker"))
    group = Field("group", "Group", hint="Its name", maxlength=128) if more else chosen("group", "Group", others)
    join = FormView(f"{USER}/add-group", "Add to the group", "Add to a group", (group,), hidden)
    rename = FormView(f"{USER}/rename", "Rename", "Rename the user", (_NAME._replace(value=name),), hidden)
    return (*((join,) if others or more else ()), rename)


def _buttons(name: str, member: list[str], keys: list[str]) -> dict[str, FormView]:
    """Forms without fields, by what they are about: an action, "leave GROUP", or "STATUS KEY"."""

    def button(action: str, text: str, label: str = "", **hidden: str) -> FormView:
        danger = action not in ("password", "create-key")
        return FormView(f"{USER}/{action}", text, hidden={"name": name, **hidden}, label=label, danger=danger)

    made = {
        "password": button("password", "Make a new password"),
        "remove-password": button("remove-password", "Remove the password"),
        "create-key": button("create-key", "Create an access key"),
        "offboard": button("offboard", "Disable: end all access"),
        "delete": button("delete", "Delete the user"),
    }
    for group in member:
        made[f"leave {group}"] = button("remove-group", "Remove", f"Remove from {group}", group=group)
    for key in keys:
        for status, text in (("Inactive", "Deactivate"), ("Active", "Activate")):
            made[f"{status} {key}"] = button("switch-key", text, f"{text} {key}", key=key, status=status)
        made[f"delete {key}"] = button("delete-key", "Delete", f"Delete {key}", key=key)
    return made


def _device_buttons(name: str, held: Devices | None) -> dict[str, dict[str, FormView]]:
    """Forms that take a device from the user, by passkey id and by serial number."""

    def button(action: str, field: str, identifier: str, shown: str) -> FormView:
        hidden = {"name": name, field: identifier}
        return FormView(f"{USER}/{action}", "Remove", hidden=hidden, label=f"Remove {shown}", danger=True)

    passkeys, virtual = (held.passkeys, held.virtual) if held is not None else ((), ())
    return {
        "remove_passkey": {each.id: button("remove-passkey", "passkey", each.id, each.name) for each in passkeys},
        "remove_device": {each.serial: button("remove-device", "serial", each.serial, each.name) for each in virtual},
    }
