"""Users, their MFA devices and their groups: lists, pages and changes."""

from __future__ import annotations

from asyncio import gather
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from daypass.api.sessions import OffboardInput
from daypass.operations import offboarding
from daypass.operations.sign_in import devices
from daypass.operations.sign_in.devices import Devices, MembersSignIns, Whose
from daypass.wire.console.change import FormChange
from daypass.wire.console.context import ConsoleContext, to
from daypass.wire.console.iam import iam, iam_part, page_marker
from daypass.wire.console.policies import Holder, calling, empty, policies_of, policy_changes
from daypass.wire.console.table import Cell, Field, FormView, TableView, each_chosen, link, table_page
from daypass.wire.http import Response

ROWS: Final = 50
USERS: Final = "/console/users"
USER: Final = "/console/user"
HOLDER: Final = Holder("User", USER, 64)
_JOINED: Final = Field("group", "Group", hint="A part of its name finds it", maxlength=128, pick="group")
_NAME: Final = Field("new_name", "Name", hint="Letters, digits and _+=,.@-", maxlength=64)


async def users(ctx: ConsoleContext, problem: str = "") -> Response:
    """GET /console/users: by name."""
    found = await iam(ctx, "ListUsers", Marker=page_marker(ctx, "users"), MaxItems=ROWS)
    names, ids = ([user[field] for user in found["Users"]] for field in ("UserName", "UserId"))
    known = (await ctx.attempt("daypass:ListMfaDevices", devices.sign_ins, ids)).value
    rows = [
        (
            link(user["UserName"], USER, name=user["UserName"]),
            Cell(state="blocked" if ctx.block_on(user["UserId"]) else "active"),
            Cell("?" if known is None else "yes" if known[user["UserId"]].mfa else "none"),
            Cell(at=user.get("PasswordLastUsed") or 0),
            Cell(user["Path"]),
            Cell(at=user["CreateDate"]),
        )
        for user in found["Users"]
    ]
    titles = ("Name", "State", "MFA", "Last sign-in", "Path", "Created")
    empty = ("No users.", "Create one here, or let people sign in with an identity provider.")
    start, bulk = ctx.value("start", 64), FormView(f"{USERS}/offboard", "Disable the chosen users", danger=True)
    table = TableView(titles, rows, USERS, found.get("Marker", ""), empty=empty, start=start, keys=names, bulk=bulk)
    new = FormView(f"{USERS}/create", "Create the user", "New user", (_NAME._replace(value=ctx.value("new_name")),))
    return table_page(ctx, "Users", table, problem=problem, forms=(new,))


async def user(ctx: ConsoleContext, problem: str = "", once: tuple[tuple[str, str], ...] = ()) -> Response:
    """GET /console/user?name=… `once`: secrets with their labels, which no other page shows."""
    name = ctx.value("name", 64)
    found = (await iam(ctx, "GetUser", UserName=name))["User"]
    keys, groups, policies, password, part = await gather(
        iam_part(ctx, "ListAccessKeys", UserName=name),
        iam_part(ctx, "ListGroupsForUser", UserName=name),
        policies_of(ctx, HOLDER, name),
        _has_password(ctx, name),
        ctx.attempt("daypass:ListMfaDevices", devices.list_devices, Whose(name)),
    )
    listed = [each["AccessKeyId"] for each in (keys.value or {}).get("AccessKeyMetadata", ())]
    used = await gather(*(iam_part(ctx, "GetAccessKeyLastUsed", AccessKeyId=each) for each in listed))
    member = [each["GroupName"] for each in (groups.value or {}).get("Groups", ())]
    return ctx.page(
        "user",
        found["UserName"],
        user=found,
        block=ctx.block_on(found["UserId"]),
        groups=groups,
        keys=keys,
        used=dict(zip(listed, used, strict=True)),
        devices=part,
        policies=policies,
        password=password,
        join=FormView(f"{USER}/add-group", "Add to the group", "Add to a group", (_JOINED,), {"name": name}),
        rename=FormView(f"{USER}/rename", "Rename", "Rename", (_NAME._replace(value=name),), {"name": name}),
        buttons=_buttons(name, member, listed, part.value),
        problem=problem,
        once=once,
    )


async def _has_password(ctx: ConsoleContext, name: str) -> bool | None:
    """None: the person may not know."""
    part = await iam_part(ctx, "GetLoginProfile", UserName=name)
    return True if part.value is not None else False if part.absent else None


def _buttons(name: str, member: list[str], keys: list[str], held: Devices | None) -> dict[str, FormView]:
    """Forms without fields, by what they are about: an action, "leave GROUP", "STATUS KEY", or the id of a device."""

    def button(action: str, text: str, label: str = "", **hidden: str) -> FormView:
        danger = action not in ("password", "create-key")
        return FormView(f"{USER}/{action}", text, hidden={"name": name, **hidden}, label=label, danger=danger)

    made = {
        "password": button("password", "Set a new password"),
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
    for each in held.passkeys if held is not None else ():
        made[each.id] = button("remove-passkey", "Remove", f"Remove {each.name}", passkey=each.id)
    for device in held.virtual if held is not None else ():
        made[device.serial] = button("remove-device", "Remove", f"Remove {device.name}", serial=device.serial)
    return made


# --- Changes of users: each by the operations of IAM, and confirmed where it gives access or takes it


_PASSWORD: Final = "Aa1-{}"  # has every class of characters that a password policy can ask for


def _name(ctx: ConsoleContext) -> str:
    return ctx.value("name", 64)


def _to_user(ctx: ConsoleContext) -> Response:
    return to(USER, name=_name(ctx), done="saved")


async def _create(ctx: ConsoleContext) -> Response:
    name = ctx.value("new_name", 64)
    await iam(ctx, "CreateUser", UserName=name)
    return to(USER, name=name, done="saved")


async def _rename(ctx: ConsoleContext) -> Response:
    name = ctx.value("new_name", 64)
    await iam(ctx, "UpdateUser", UserName=_name(ctx), NewUserName=name)
    return to(USER, name=name, done="saved")


async def _new_password(ctx: ConsoleContext) -> Response:
    """A random password, which the user must change at the first sign-in. Only this answer has it."""
    return await user(ctx, once=await first_password(ctx, _name(ctx)))


async def first_password(ctx: ConsoleContext, name: str) -> tuple[tuple[str, str], ...]:
    """A random password of a user until the next sign-in, with its label."""
    password = _PASSWORD.format(ctx.env.ids.secret()[:24])
    known = await iam_part(ctx, "GetLoginProfile", UserName=name)
    operation = "CreateLoginProfile" if known.absent else "UpdateLoginProfile"
    await iam(ctx, operation, UserName=name, Password=password, PasswordResetRequired=True)
    return (("Password until the first sign-in", password),)


async def _create_key(ctx: ConsoleContext) -> Response:
    made = (await iam(ctx, "CreateAccessKey", UserName=_name(ctx)))["AccessKey"]
    shown = (("Access key id", made["AccessKeyId"]), ("Secret access key", made["SecretAccessKey"]))
    return await user(ctx, once=shown)


async def _remove_passkey(ctx: ConsoleContext) -> Response:
    whose, passkey = Whose(_name(ctx)), ctx.value("passkey", 1400)
    await ctx.perform("daypass:DeletePasskey", devices.remove_passkey, passkey, whose)
    return _to_user(ctx)


async def _end(ctx: ConsoleContext, name: str, *, delete: bool = False) -> None:
    request = OffboardInput(user=name, reason="ended in the console", delete=delete)
    await ctx.perform("daypass:Offboard", offboarding.offboard, request)


async def _offboard(ctx: ConsoleContext) -> Response:
    await _end(ctx, _name(ctx))
    return _to_user(ctx)


async def _offboard_chosen(ctx: ConsoleContext) -> Response:
    problem = await each_chosen(ctx, partial(_end, ctx))
    return await users(ctx, problem) if problem else to(USERS, done="saved")


async def _delete(ctx: ConsoleContext) -> Response:
    await _end(ctx, _name(ctx), delete=True)
    return to(USERS, done="deleted")


def user_changes() -> Sequence[FormChange]:
    """Every change of a user. A name is confirmed, too: approval rules name users and groups (attack A294)."""
    sensitive = partial(FormChange, again=user, of="name", confirmed=True)
    deleting = partial(sensitive, asks=True)
    remove_password, join, leave, switch, remove_key, remove_device = (
        calling(HOLDER, "DeleteLoginProfile"),
        calling(HOLDER, "AddUserToGroup", GroupName=("group", 512)),
        calling(HOLDER, "RemoveUserFromGroup", GroupName=("group", 512)),
        calling(HOLDER, "UpdateAccessKey", AccessKeyId=("key", 512), Status=("status", 512)),
        calling(HOLDER, "DeleteAccessKey", AccessKeyId=("key", 512)),
        calling(HOLDER, "DeactivateMFADevice", SerialNumber=("serial", 512)),
    )
    return (
        FormChange(f"{USERS}/create", "iam:CreateUser", "Create a user", _create, users),
        FormChange(
            f"{USERS}/offboard",
            "daypass:Offboard",
            "Disable users and end all access",
            _offboard_chosen,
            users,
            True,
            True,
            "chosen",
        ),
        sensitive(f"{USER}/rename", "iam:UpdateUser", "Rename a user", _rename),
        sensitive(f"{USER}/password", "iam:UpdateLoginProfile", "Set a new password", _new_password),
        sensitive(f"{USER}/remove-password", "iam:DeleteLoginProfile", "Remove the password", remove_password),
        sensitive(f"{USER}/create-key", "iam:CreateAccessKey", "Create an access key", _create_key),
        sensitive(f"{USER}/switch-key", "iam:UpdateAccessKey", "Activate or deactivate a key", switch),
        sensitive(f"{USER}/delete-key", "iam:DeleteAccessKey", "Delete an access key", remove_key),
        sensitive(f"{USER}/add-group", "iam:AddUserToGroup", "Add a user to a group", join),
        sensitive(f"{USER}/remove-group", "iam:RemoveUserFromGroup", "Remove a user from a group", leave),
        sensitive(f"{USER}/remove-device", "iam:DeactivateMFADevice", "Remove an MFA device", remove_device),
        sensitive(f"{USER}/remove-passkey", "daypass:DeletePasskey", "Remove a passkey", _remove_passkey),
        deleting(f"{USER}/offboard", "daypass:Offboard", "Disable a user and end all access", _offboard),
        deleting(f"{USER}/delete", "daypass:Offboard", "Delete a user and end all access", _delete),
        *policy_changes(HOLDER, user),
    )


# --- The virtual MFA devices of the account. Passkeys are on the page of their user


async def mfa_devices(ctx: ConsoleContext) -> Response:
    """GET /console/devices."""
    found = await iam(ctx, "ListVirtualMFADevices", Marker=ctx.value("after"), MaxItems=ROWS)
    rows = [_device(device) for device in found["VirtualMFADevices"]]
    empty = (
        "No virtual MFA devices.",
        "People register passkeys on the page of their account, and authenticator apps with the command daypass mfa add --app.",
    )
    table = TableView(("Device", "User", "Enabled"), rows, "/console/devices", found.get("Marker", ""), empty=empty)
    return table_page(ctx, "MFA devices", table)


def _device(device: Mapping[str, Any]) -> tuple[Cell, ...]:
    owner = (device.get("User") or {}).get("UserName", "")
    return (
        Cell(device["SerialNumber"].rpartition("/")[2]),
        link(owner, "/console/user", name=owner) if owner else Cell("–"),
        Cell(at=device.get("EnableDate") or 0),
    )


# --- Groups: the list, one group with its users and policies, and the changes of both


_GROUPS: Final = "/console/groups"
_GROUP: Final = "/console/group"
_HOLDER: Final = Holder("Group", _GROUP, 128)
_GROUP_NAME: Final = _NAME._replace(maxlength=128)


async def groups(ctx: ConsoleContext, problem: str = "") -> Response:
    """GET /console/groups: by name."""
    found = await iam(ctx, "ListGroups", Marker=page_marker(ctx, "groups"), MaxItems=ROWS)
    known = await _members(ctx, [group["GroupId"] for group in found["Groups"]])
    rows = [
        (
            link(group["GroupName"], _GROUP, name=group["GroupName"]),
            *_about_members(ctx, known.get(group["GroupId"])),
            Cell(group["Path"]),
            Cell(at=group["CreateDate"]),
        )
        for group in found["Groups"]
    ]
    empty_text = ("No groups.", "Groups give their users the same policies. Approval rules name them.")
    titles, start = ("Name", "State", "Users", "MFA", "Last sign-in", "Path", "Created"), ctx.value("start", 64)
    table = TableView(titles, rows, _GROUPS, found.get("Marker", ""), empty=empty_text, start=start)
    new = FormView(
        f"{_GROUPS}/create", "Create the group", "New group", (_GROUP_NAME._replace(value=ctx.value("new_name")),)
    )
    return table_page(ctx, "Groups", table, problem=problem, forms=(new,))


async def _members(ctx: ConsoleContext, groups: Sequence[str]) -> Mapping[str, MembersSignIns]:
    """Facts about the members of groups, by id of the group; none to a person who may not know."""
    return (await ctx.attempt("daypass:ListMfaDevices", devices.sign_ins_of_groups, groups)).value or {}


def _about_members(ctx: ConsoleContext, members: MembersSignIns | None) -> tuple[Cell, ...]:
    """State, number, MFA and last sign-in of a group's members. Those of a large group are looked at in part."""
    if members is None:
        return (Cell("?"),) * 4
    seen, blocked = members.looked_at, sum(ctx.block_on(each) is not None for each in members.looked_at)
    state = "empty" if not members.number else "blocked" if seen and blocked == len(seen) else "active"
    first = "" if members.number == len(seen) else "the first "
    share = f"{sum(each.mfa for each in seen.values())} of {first}{len(seen)}" if seen else "–"
    number = f"{members.number}, {blocked} blocked" if blocked else str(members.number)
    return (Cell(state=state), Cell(number), Cell(share), Cell(at=max((each.at for each in seen.values()), default=0)))


async def group(ctx: ConsoleContext, problem: str = "") -> Response:
    """GET /console/group?name=…"""
    name = ctx.value("name", 128)
    found = await iam(ctx, "GetGroup", GroupName=name, Marker=ctx.value("after"), MaxItems=ROWS)
    group_id, hidden = found["Group"]["GroupId"], {"name": name}
    policies, known = await gather(policies_of(ctx, _HOLDER, name), _members(ctx, [group_id]))
    about = known.get(group_id)
    leave = {
        user: FormView(
            f"{_GROUP}/remove-user", "Remove", hidden={**hidden, "user": user}, label=f"Remove {user}", danger=True
        )
        for user in (each["UserName"] for each in found["Users"])
    }
    add = FormView(
        f"{_GROUP}/add-user",
        "Add",
        "Add a user",
        (Field("user", "User", hint="A part of the name finds it", maxlength=64, pick="user"),),
        hidden,
    )
    rename = FormView(f"{_GROUP}/rename", "Rename", "Rename", (_GROUP_NAME._replace(value=name),), hidden)
    delete = FormView(f"{_GROUP}/delete", "Delete the group", hidden=hidden, danger=True)
    return ctx.page(
        "group",
        found["Group"]["GroupName"],
        group=found["Group"],
        users=found["Users"],
        members=_about_members(ctx, about),
        signs_in_as=about.looked_at if about is not None else {},
        blocked={each["UserId"] for each in found["Users"] if ctx.block_on(each["UserId"])},
        leave=leave,
        following=found.get("Marker", ""),
        policies=policies,
        add=add,
        rename=rename,
        delete=delete,
        problem=problem,
    )


async def _create_group(ctx: ConsoleContext) -> Response:
    name = ctx.value("new_name", 128)
    await iam(ctx, "CreateGroup", GroupName=name)
    return to(_GROUP, name=name, done="saved")


async def _rename_group(ctx: ConsoleContext) -> Response:
    name = ctx.value("new_name", 128)
    await iam(ctx, "UpdateGroup", GroupName=ctx.value("name", 128), NewGroupName=name)
    return to(_GROUP, name=name, done="saved")


async def _delete_group(ctx: ConsoleContext) -> Response:
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
        FormChange(f"{_GROUPS}/create", "iam:CreateGroup", "Create a group", _create_group, groups),
        sensitive(f"{_GROUP}/rename", "iam:UpdateGroup", "Rename a group", _rename_group),
        sensitive(f"{_GROUP}/add-user", "iam:AddUserToGroup", "Add a user to a group", join),
        sensitive(f"{_GROUP}/remove-user", "iam:RemoveUserFromGroup", "Remove a user from a group", leave),
        sensitive(f"{_GROUP}/delete", "iam:DeleteGroup", "Delete a group", _delete_group, asks=True),
        *policy_changes(_HOLDER, group),
    )
