"""Roles: the list, and one role with its trust in plain language, its users and what the linter says; the editor."""

from __future__ import annotations

import json
from asyncio import gather
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import unquote

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.document import PolicyKind
from daypass.domain.policy.lint.grants import KNOWN
from daypass.domain.policy.plain import plain_condition
from daypass.domain.trust import ASSUME_ROLE
from daypass.operations.access import what_can, who_can
from daypass.operations.access.actions import describe_actions, find_actions
from daypass.operations.access.find import find, find_policies
from daypass.operations.access.lint import KINDS, lint_document
from daypass.operations.sessions import list_sessions
from daypass.ports import SessionFilter
from daypass.wire.console.change import FormChange
from daypass.wire.console.context import ConsoleContext, PagePart, address, to
from daypass.wire.console.iam import iam, iam_part, page_marker
from daypass.wire.console.policies import Holder, empty, in_words, policies_of, policy_changes
from daypass.wire.console.table import FormView
from daypass.wire.http import Response
from daypass.wire.web.render import HEADERS, pretty

_ROWS: Final = 50
_ROLE: Final = "/console/role"
_LIMITS: Final[Mapping[str, str]] = {
    "resource trust": "if the trust policy of the role that is assumed allows it",
    "resource account": "if account {} allows it",
    "identity": "within the policy {}",
    "boundary": "within the boundary {}",
    "session": "within the session policy {}",
    "guardrail": "within the guardrail {}",
    "administration": "without {}",
}
"""The meaning of a limit of `what_can`, by its prefix; "{}" is the rest of it."""


async def listed(ctx: ConsoleContext) -> Response:
    """GET /console/roles: by name, below a path."""
    prefix = ctx.value("path", 512)
    found = await iam(ctx, "ListRoles", PathPrefix=prefix, Marker=page_marker(ctx, "roles"), MaxItems=_ROWS)
    return ctx.page(
        "roles",
        "Roles",
        rows=found["Roles"],
        blocked={role["RoleId"] for role in found["Roles"] if ctx.block_on(role["RoleId"])},
        following=found.get("Marker", ""),
        path=prefix,
        here=address("/console/roles", path=prefix),
        start=ctx.value("start", 64),
        first=bool(ctx.value("after") or ctx.value("start")),
    )


async def one(ctx: ConsoleContext, problem: str = "") -> Response:
    """GET /console/role?name=… `job`: a report on the use of its permissions that was made before. `part`: who, for those
    who can assume it, or can, for what it may do. The page loads these parts after the rest.
    """
    name = ctx.value("name", 64)
    role = (await iam(ctx, "GetRole", RoleName=name))["Role"]
    part = ctx.value("part", 8)
    if part == "who":
        who = await ctx.attempt("daypass:WhoCanAccess", who_can.who_can, ASSUME_ROLE, role["Arn"], limit=_ROWS)
        return ctx.page("role_part", f"Who can assume {role['RoleName']}", who=who, plain_condition=plain_condition)
    if part == "can":
        can = await ctx.attempt("daypass:WhatCanAccess", what_can.what_can, role["Arn"], limit=1)
        return ctx.page("role_part", f"Permissions of {role['RoleName']}", can=can, limit_in_words=limit_in_words)
    text = _text(role["AssumeRolePolicyDocument"])
    trust = await in_words(ctx, text, PolicyKind.TRUST)
    latest = SessionFilter(principal_id=role["RoleId"], limit=10)
    findings, used, policies = await gather(
        ctx.attempt("daypass:LintPolicies", lint_document, text, PolicyKind.TRUST, name),
        ctx.attempt("daypass:ListSessions", list_sessions.list_sessions, latest),
        policies_of(ctx, HOLDER, name),
    )
    job = ctx.value("job", 64)
    report: PagePart[Mapping[str, Any]] = PagePart()
    if job:
        report = await iam_part(ctx, "GetServiceLastAccessedDetails", JobId=job)
    return ctx.page(
        "role",
        role["RoleName"],
        role=role,
        block=ctx.block_on(role["RoleId"]),
        text=text,
        trust=trust,
        findings=findings,
        used=used,
        report=report,
        job=job,
        policies=policies,
        delete=FormView(f"{_ROLE}/delete", "Delete the role", hidden={"name": name}, danger=True),
        problem=problem,
    )


async def report(ctx: ConsoleContext) -> Response:
    """POST /console/role/report: makes a report on which of the role's permissions were used, and when."""
    made = await iam(ctx, "GenerateServiceLastAccessedDetails", Arn=ctx.value("arn"), Granularity="ACTION_LEVEL")
    return to(_ROLE, name=ctx.value("name", 64), job=made["JobId"])


def limit_in_words(limit: str) -> str:
    """The limit of a permission in words; an unknown one unchanged."""
    found = next((begin for begin in _LIMITS if limit.startswith(begin)), "")
    return _LIMITS[found].format(limit[len(found) :].strip()) if found else limit


def _text(document: str) -> str:
    """IAM returns documents percent-encoded (RFC 3986)."""
    return unquote(document)


# --- The editor of roles and their policies


_ROLES: Final = "/console/roles"
EDIT: Final = "/console/role/edit"
HOLDER: Final = Holder("Role", _ROLE, 64)
_LONGEST: Final = 20_480
_LINT: Final = "daypass:LintPolicies"
_HOURS: Final = (1, 2, 4, 8, 12)
_TRUST: Final = """{{
  "Version": "2012-10-17",
  "Statement": [
    {{
      "Sid": "People",
      "Effect": "Allow",
      "Principal": {{"AWS": "arn:aws:iam::{}:root"}},
      "Action": ["sts:AssumeRole", "sts:SetSourceIdentity"],
      "Condition": {{"Bool": {{"daypass:Approved": "true"}}}}
    }}
  ]
}}"""
"""A new role admits people of the account who have an approved request: nobody, before there is a rule."""


async def page(ctx: ConsoleContext, problem: str = "") -> Response:
    """GET /console/role/edit?name=… Without a name, the form for a new role. `values`: what was typed before."""
    name, given = ctx.value("name", 64), ctx.values
    stored = {"document": _TRUST.format(ctx.call.caller.account), "description": "", "seconds": "3600"}
    if name and "document" not in given:
        role = (await iam(ctx, "GetRole", RoleName=name))["Role"]
        document = pretty(unquote(role["AssumeRolePolicyDocument"]))
        stored = {
            "document": document,
            "description": role.get("Description", ""),
            "seconds": str(role["MaxSessionDuration"]),
        }
    values = {key: given.get(key, value) for key, value in stored.items()}
    typed = values["seconds"]
    chosen = int(typed) if typed.isascii() and typed.isdigit() and len(typed) <= 9 else 3600
    seconds = sorted({*(hours * 3600 for hours in _HOURS), chosen})
    title = f"Edit {name}" if name else "New role"
    new_name = ctx.value("new_name", 64)
    return ctx.page(
        "role_edit",
        title,
        name=name,
        new_name=new_name,
        values=values,
        seconds=seconds,
        problem=problem,
    )


async def _create(ctx: ConsoleContext) -> Response:
    name = ctx.value("new_name", 64)
    document, seconds = ctx.value("document", _LONGEST), ctx.number("seconds", 3600)
    await iam(
        ctx,
        "CreateRole",
        RoleName=name,
        AssumeRolePolicyDocument=document,
        Description=ctx.value("description", 1000),
        MaxSessionDuration=seconds,
    )
    return to(_ROLE, name=name, done="saved")


async def _save(ctx: ConsoleContext) -> Response:
    """The trust policy first: when it is refused, nothing has changed."""
    name, description = ctx.value("name", 64), ctx.value("description", 1000)
    await iam(ctx, "UpdateAssumeRolePolicy", RoleName=name, PolicyDocument=ctx.value("document", _LONGEST))
    await iam(ctx, "UpdateRole", RoleName=name, Description=description, MaxSessionDuration=ctx.number("seconds", 3600))
    return to(_ROLE, name=name, done="saved")


async def _delete(ctx: ConsoleContext) -> Response:
    name = ctx.value("name", 64)
    await empty(ctx, HOLDER, name)
    await iam(ctx, "DeleteRole", RoleName=name)
    return to(_ROLES, done="deleted")


def role_changes(again: object) -> Sequence[FormChange]:
    """Every change of a role. Each is confirmed: a role decides what its sessions may do. `again`: the page of a role."""
    sensitive = partial(FormChange, again=page, confirmed=True)
    return (
        sensitive(f"{_ROLES}/create", "iam:CreateRole", "Create a role", _create),
        sensitive(f"{EDIT}/save", "iam:UpdateAssumeRolePolicy", "Change a role", _save, of="name"),
        sensitive(
            f"{_ROLE}/delete", "iam:DeleteRole", "Delete a role and end its sessions", _delete, of="name", asks=True
        ),
        *policy_changes(HOLDER, again),  # type: ignore[arg-type]  # a page of a role
    )


# --- Help for those who write


async def findings(ctx: ConsoleContext) -> Response:
    """POST /console/lint: the linter's findings about the field `document` or `settings`, which is of the kind `lint`. Nothing
    is stored.
    """
    kind, text = ctx.value("lint", 16), ctx.value("document", 65_536) or ctx.value("settings", 65_536)
    if kind not in KINDS:
        raise DaypassError(ErrorKind.VALIDATION, f"The kind of the document is one of: {', '.join(KINDS)}.")
    part = await ctx.attempt(_LINT, lint_document, text, kind)
    return ctx.page("findings", "Findings", findings=part)


async def pick(ctx: ConsoleContext) -> Response:
    """GET /console/pick: values that begin a field, with what they are. `kind`: action, policy, key, arn, user, group, or about,
    for what the actions in `text` do; `text`: what is typed.
    """
    kind, text = ctx.value("kind", 8), ctx.value("text", 4096)
    found: Sequence[tuple[str, str]] = ()
    if kind == "action":
        found = await find_actions(ctx.env, ctx.call, text)
    elif kind == "about":
        found = await describe_actions(ctx.env, ctx.call, text.split())
    elif kind == "policy":
        found = [(arn, arn.rpartition("/")[2]) for arn in await find_policies(ctx.env, ctx.call, text)]
    elif kind == "key":
        found = [(key, "") for key in sorted(KNOWN) if text.lower() in key]
    elif text:
        listed = await ctx.attempt("daypass:Find", find, text)
        arns = [each for each in listed.value or () if each.arn]
        if kind in ("user", "group"):
            found = [(each.name, each.arn) for each in arns if f":{kind}/" in each.arn]
        else:
            found = [(each.arn, f"{each.kind} {each.name}") for each in arns]
    body = json.dumps(found[:50]).encode("ascii")
    return Response(200, body, b"application/json", HEADERS)
