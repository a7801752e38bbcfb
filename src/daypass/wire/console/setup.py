"""First steps: the set-up of a new installation, and its first administrator."""

from __future__ import annotations

import json
from asyncio import gather
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from daypass.domain.arn import root_arn
from daypass.domain.claims import PrincipalKind
from daypass.domain.directory import RequestState
from daypass.domain.errors import DaypassError, ErrorKind, Family
from daypass.operations.access_requests import read, rules
from daypass.operations.accounts import (
    FirstAdministrator,
    awaits_first_administrator,
    create_first_administrator,
)
from daypass.operations.guardrails import read_settings
from daypass.operations.management import arn_of
from daypass.operations.record.explore import EventFilter, explore
from daypass.operations.sign_in import password
from daypass.operations.sign_in.password import Browser
from daypass.ports import RecordFilter
from daypass.wire.console.change import Facts, FormChange
from daypass.wire.console.context import Console, ConsoleContext, PagePart, to
from daypass.wire.console.iam import iam, iam_part
from daypass.wire.console.navigation import HOME, SETUP
from daypass.wire.console.table import Field, FormView
from daypass.wire.console.users import first_password
from daypass.wire.front import ErrorFormat, RecordedRefusal
from daypass.wire.http import Request, Response
from daypass.wire.web.context import Page, PageContext
from daypass.wire.web.render import PageErrors, redirect

PERMISSIONS: Final[Mapping[str, str]] = {
    "read": "ReadOnlyAccess",
    "power": "PowerUserAccess",
    "everything": "AdministratorAccess",
}
"""Managed policies that the first role can have, by the values of the form."""
GROUPS: Final = ("engineers", "leads")
"""The groups of the first steps: who requests and who approves."""
START: Final = "/console/start"
_MOST: Final = 100  # groups that the choices offer; requests that are looked at
_APPROVED: Final = (RequestState.APPROVED, RequestState.CLAIMED, RequestState.ENDED)


async def settings_page(ctx: ConsoleContext) -> Response:
    """GET /console/settings."""
    found = await ctx.perform("daypass:ReadSettings", read_settings, ctx.console.settings)
    return ctx.page("settings", "Settings", sections=found)


async def start(ctx: ConsoleContext, problem: str = "", once: tuple[tuple[str, str], ...] = ()) -> Response:
    """GET /console/start: an account's first steps, and which of them are done. `once`: see `users.user`."""
    groups, roles, people, part, requests, by_cli = await gather(
        _groups(ctx),
        iam_part(ctx, "ListRoles", MaxItems=1),
        iam_part(ctx, "ListUsers", MaxItems=2),
        ctx.attempt("daypass:ListApprovalRules", rules.RULES.every),
        ctx.attempt("daypass:ListAccessRequests", read.list_requests, limit=_MOST),
        _has_used_cli(ctx),
    )
    names = groups.value or ()
    has_groups = all(group in names for group in GROUPS)
    found = (roles.value or {}).get("Roles") or [{"Arn": f"arn:aws:iam::{ctx.call.caller.account}:role/ROLE"}]
    return ctx.page(
        "start",
        "First steps",
        groups=names,
        make_groups=None if has_groups else FormView(f"{START}/groups", "Create both groups", "Two groups"),
        colleague=_colleague_form("" if once else ctx.value("new_name")) if has_groups else None,
        role=_role_form(ctx, names) if names else None,
        people=len((people.value or {}).get("Users", ())),
        has_roles=bool((roles.value or {}).get("Roles")),
        rules=part,
        approved=any(view.request.state in _APPROVED for view in (requests.value or ((), ""))[0]),
        by_cli=by_cli,
        role_arn=found[0]["Arn"],
        public_url=ctx.page_context.site.public_url,
        region=ctx.console.region,
        problem=problem or groups.problem,
        once=once,
    )


async def _has_used_cli(ctx: ConsoleContext) -> bool:
    """Whether the AWS CLI has assumed a role with a key of the person, as far as they may read the record."""
    listed = await iam_part(ctx, "ListAccessKeys")
    keys = tuple(each["AccessKeyId"] for each in (listed.value or {}).get("AccessKeyMetadata", ()))
    if not keys:
        return False
    query = RecordFilter(operation="sts:AssumeRole", access_key_ids=keys, limit=_MOST)
    part = await ctx.attempt("daypass:ReadAudit", explore, query, EventFilter(decision="allowed"))
    bodies = [record.body or {} for record in (part.value.records if part.value is not None else ())]
    return any("aws-cli" in str((body.get("source") or {}).get("user_agent")) for body in bodies)


async def _groups(ctx: ConsoleContext) -> PagePart[Sequence[str]]:
    """Groups by name: some of them where there are many, but always those of the first steps that exist."""
    part = await iam_part(ctx, "ListGroups", MaxItems=_MOST)
    if part.value is None:
        return PagePart(problem=part.problem)
    names = [each["GroupName"] for each in part.value["Groups"]]
    for group in GROUPS if part.value.get("Marker") else ():
        if group not in names and (await iam_part(ctx, "GetGroup", GroupName=group, MaxItems=1)).value is not None:
            names.append(group)
    return PagePart(names)


def _colleague_form(name: str) -> FormView:
    field = Field("new_name", "User name", name, hint="Nobody approves a request of their own", maxlength=64)
    return FormView(f"{START}/colleague", "Create the user", "A person who approves", (field,))


def _role_form(ctx: ConsoleContext, names: Sequence[str]) -> FormView:
    fields = (
        Field("name", "Name of the role", ctx.value("name", 128) or "prod-access", maxlength=64),
        Field("description", "Description", ctx.value("description"), required=False, maxlength=512),
        Field("permissions", "Its permissions", ctx.value("permissions"), "choice", options=tuple(PERMISSIONS.items())),
        _group_field(ctx, "requesters", "Who may request it", names, "engineers"),
        _group_field(ctx, "approvers", "Who approves it", names, "leads"),
    )
    return FormView(f"{START}/role", "Create the role and its rule", "A role that needs approval", fields)


def _group_field(ctx: ConsoleContext, name: str, label: str, names: Sequence[str], default: str) -> Field:
    return Field(name, label, ctx.value(name) or default, "choice", options=tuple((each, each) for each in names))


async def _make_groups(ctx: ConsoleContext) -> Response:
    """The two groups with what their people need; the person joins the first."""
    known = (await _groups(ctx)).value or ()
    for group, document in _documents(ctx.call.caller.account).items():
        if group not in known:
            await iam(ctx, "CreateGroup", GroupName=group)
        await iam(ctx, "PutGroupPolicy", GroupName=group, PolicyName="access-requests", PolicyDocument=document)
    caller = ctx.call.caller
    if caller.kind is PrincipalKind.USER:
        await iam(ctx, "AddUserToGroup", GroupName="engineers", UserName=caller.name)
    return to(START, done="saved")


def _documents(account: str) -> Mapping[str, str]:
    """The policy of each group: engineers request access and use what was approved, leads decide."""
    requests = arn_of(account, "access-request", "*")
    approved = {
        "Effect": "Allow",
        "Action": ["sts:AssumeRole", "sts:SetSourceIdentity"],
        "Resource": f"arn:aws:iam::{account}:role/*",
        "Condition": {"Bool": {"daypass:Approved": "true"}},
    }
    return {
        "engineers": _policy(_allow("daypass:CreateAccessRequest", on=requests), approved),
        "leads": _policy(_allow("daypass:ApproveAccessRequest", "daypass:DenyAccessRequest", on=requests)),
    }


def _allow(*actions: str, on: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": [*actions], "Resource": on}


def _policy(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [*statements]}, indent=2)


async def _groups_made(ctx: ConsoleContext) -> Facts:
    caller = ctx.call.caller
    member = [("Member of engineers", caller.name)] if caller.kind is PrincipalKind.USER else []
    return [*((f"Group {group}", document) for group, document in _documents(caller.account).items()), *member]


async def _colleague_made(_ctx: ConsoleContext) -> Facts:
    return [("Member of", "leads"), ("Password", "a new one, which the next page shows once")]


async def _role_made(ctx: ConsoleContext) -> Facts:
    name, permissions = ctx.value("name", 128), PERMISSIONS.get(ctx.value("permissions", 16), "")
    rule = json.loads(_rule(name, ctx.value("requesters", 128), ctx.value("approvers", 128)))
    return [
        ("Attached policy", f"arn:aws:iam::aws:policy/{permissions}"),
        ("Trust policy", _trust(ctx.call.caller.account)),
        (f"Approval rule {name}", json.dumps(rule, indent=2)),
    ]


async def _make_colleague(ctx: ConsoleContext) -> Response:
    """A user who may approve, with a password that only this answer has."""
    name = ctx.value("new_name", 64)
    await iam(ctx, "CreateUser", UserName=name)
    await iam(ctx, "AddUserToGroup", GroupName="leads", UserName=name)
    once = await first_password(ctx, name)
    return await start(ctx, once=(("Account", ctx.call.caller.account), ("User name", name), *once))


async def _make_role(ctx: ConsoleContext) -> Response:
    """A role that needs approval, and the rule for it. Then the first request."""
    account, name, approvers = ctx.call.caller.account, ctx.value("name", 128), ctx.value("approvers", 128)
    requesters = ctx.value("requesters", 128)
    permissions = PERMISSIONS.get(ctx.value("permissions", 16), "")
    if not (name and approvers and requesters and permissions):
        raise DaypassError(ErrorKind.VALIDATION, "The role, its permissions and both groups are needed.")
    document = _rule(name, requesters, approvers)
    made = await iam(
        ctx,
        "CreateRole",
        RoleName=name,
        AssumeRolePolicyDocument=_trust(account),
        Description=ctx.value("description", 512),
    )
    policy = f"arn:aws:iam::aws:policy/{permissions}"
    await iam(ctx, "AttachRolePolicy", RoleName=name, PolicyArn=policy)
    await ctx.perform("daypass:PutApprovalRule", rules.put_rule, "", name, document)
    return to("/console/request", role=made["Role"]["Arn"], done="saved")


def _trust(account: str) -> str:
    statement = {
        "Sid": "PeopleWithAnApproval",
        "Effect": "Allow",
        "Principal": {"AWS": root_arn(account)},
        "Action": ["sts:AssumeRole", "sts:SetSourceIdentity"],
        "Condition": {"Bool": {"daypass:Approved": "true"}},
    }
    return _policy(statement)


def _rule(name: str, requesters: str, approvers: str) -> str:
    stage = {"name": approvers[:64], "approvers": {"principals": [f"group/{approvers}"]}}
    rule = {"roles": [f"role/{name}"], "requesters": {"principals": [f"group/{requesters}"]}, "stages": [stage]}
    return json.dumps(rule)


def setup_changes() -> Sequence[FormChange]:
    """The forms of the first steps."""
    change = partial(FormChange, again=start, confirmed=True, asks=True)
    return (
        change(f"{START}/groups", "iam:CreateGroup", "Create the first groups", _make_groups, exists=_groups_made),
        change(
            f"{START}/colleague",
            "iam:CreateUser",
            "Create a user who approves",
            _make_colleague,
            exists=_colleague_made,
        ),
        change(f"{START}/role", "iam:CreateRole", "Create the first role and its rule", _make_role, exists=_role_made),
    )


# --- The first administrator of a new installation, made in a browser by whoever has the set-up code


_SHOWN_AGAIN: Final = frozenset({Family.REQUEST, Family.DENIED, Family.CONTENT, Family.CONFLICT})


class _Errors(PageErrors):
    """For the form that is sent: while the server is overloaded it may have worked although nobody was told so."""

    def show(self, request: Request, status: int, refusal: RecordedRefusal | None, **values: Any) -> Response:
        """See `PageErrors.show`."""
        if refusal is not None and refusal.error.kind.family is Family.UNAVAILABLE:
            values["message"] += f" Open {HOME} again: if the administrator was made, it leads to the sign-in."
        return super().show(request, status, refusal, **values)


ERRORS: Final[ErrorFormat] = _Errors()


def page(console: Console) -> Page:
    """GET /console/setup."""

    async def serve(ctx: PageContext) -> Response:
        ctx.anonymous()
        if not console.setup_code or not await awaits_first_administrator(ctx.env):
            return redirect(HOME)
        return _page(ctx)

    return serve


def create(console: Console) -> Page:
    """POST /console/setup/create: then the person is signed in, at the first steps."""

    async def serve(ctx: PageContext) -> Response:
        call, form = ctx.anonymous(), ctx.form()
        new = FirstAdministrator(
            form.get("account", "").strip(), form.get("user", "").strip(), form.get("password", "")
        )
        try:
            if new.password != form.get("repeated", ""):
                raise DaypassError(ErrorKind.VALIDATION, "The two passwords are different.")
            await create_first_administrator(ctx.env, call, console.setup_code, form.get("code", "").strip(), new)
        except DaypassError as error:
            if error.kind.family not in _SHOWN_AGAIN:
                raise
            return _page(ctx, await ctx.refused(error), account=new.account, user=new.user)
        await console.setup_done()
        progress = await password.with_password(ctx.env, call, Browser(ctx.cookie), new.account, new.user, new.password)
        return ctx.signed_in(progress.cookie, START)

    return serve


def _page(ctx: PageContext, problem: str = "", account: str = "", user: str = "admin") -> Response:
    shown = {"problem": problem, "account": account, "user": user}
    return ctx.page("setup", title="Set up Daypass", action=f"{SETUP}/create", person=None, **shown)
