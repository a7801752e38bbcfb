"""Roles that are made and changed by forms, and what helps to write a document: findings while one types, and pickers.

The document is the form's field. The browser shows it in parts beside it (builder.js); without script it is edited as text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Final
from urllib.parse import unquote

from daypass.domain.policy.compiled import PolicyKind
from daypass.domain.policy.lint.grants import KNOWN
from daypass.operations.access.actions import describe_actions, find_actions
from daypass.operations.access.find import find, find_policies
from daypass.operations.access.trust_test import lint_document
from daypass.wire.console.change import FormChange
from daypass.wire.console.context import ConsoleContext, to
from daypass.wire.console.iam import iam
from daypass.wire.console.policies import Holder, empty, policy_changes
from daypass.wire.http import Response
from daypass.wire.web.render import HEADERS, pretty

_ROLES: Final = "/console/roles"
_ROLE: Final = "/console/role"
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
    findings = await ctx.attempt(_LINT, lint_document, values["document"], PolicyKind.TRUST)
    title = f"Edit {name}" if name else "New role"
    new_name = ctx.value("new_name", 64)
    return ctx.page(
        "role_edit",
        title,
        name=name,
        new_name=new_name,
        values=values,
        seconds=seconds,
        findings=findings,
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
    """POST /console/lint: what the linter says about the field `document`. Nothing is stored."""
    kind = PolicyKind.TRUST if ctx.value("lint", 8) == "trust" else PolicyKind.IDENTITY
    part = await ctx.attempt(_LINT, lint_document, ctx.value("document", 65_536), kind)
    return ctx.page("findings", "Findings", findings=part)


async def pick(ctx: ConsoleContext) -> Response:
    """GET /console/pick: values that begin a field, with what they are. `kind`: action, policy, key, arn, or about, for
    what the actions in `text` do; `text`: what is typed.
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
        found = [(each.arn, f"{each.kind} {each.name}") for each in listed.value or () if each.arn]
    body = json.dumps(found[:50]).encode("ascii")
    return Response(200, body, b"application/json", HEADERS)
