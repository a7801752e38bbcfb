"""Roles: the list, and one role with its trust in plain language, its users and what the linter says."""

from __future__ import annotations

from asyncio import gather
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

from daypass.domain.policy.document import PolicyKind, compile_stored
from daypass.domain.policy.plain import PlainStatement, plain, plain_condition
from daypass.domain.trust import ASSUME_ROLE
from daypass.operations import heavy
from daypass.operations.access import trust_test, what_can, who_can
from daypass.operations.sessions import list_sessions
from daypass.ports import SessionFilter
from daypass.wire.console.context import ConsoleContext, Part, address, to
from daypass.wire.console.editor import HOLDER
from daypass.wire.console.iam import iam, iam_part, page_marker
from daypass.wire.console.policies import policies_of
from daypass.wire.console.table import FormView
from daypass.wire.http import Response

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
    """GET /console/role?name=… `job`: a report on the use of its permissions that was made before. `part`: who, for the part
    with those who can assume it, which the page loads after the rest.
    """
    name = ctx.value("name", 64)
    role = (await iam(ctx, "GetRole", RoleName=name))["Role"]
    if ctx.value("part", 8) == "who":
        who = await ctx.attempt("daypass:WhoCanAccess", who_can.who_can, ASSUME_ROLE, role["Arn"], limit=_ROWS)
        return ctx.page("role_who", f"Who can assume {role['RoleName']}", who=who, plain_condition=plain_condition)
    text = _text(role["AssumeRolePolicyDocument"])
    trust = await heavy.parse(ctx.env, ctx.call, _plain, text)
    latest = SessionFilter(principal_id=role["RoleId"], limit=10)
    findings, can, used, policies = await gather(
        ctx.attempt("daypass:LintPolicies", trust_test.lint_document, text, PolicyKind.TRUST, name),
        ctx.attempt("daypass:WhatCanAccess", what_can.what_can, role["Arn"], limit=1),
        ctx.attempt("daypass:ListSessions", list_sessions.list_sessions, latest),
        policies_of(ctx, HOLDER, name),
    )
    job = ctx.value("job", 64)
    report: Part[Mapping[str, Any]] = Part()
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
        can=can,
        limit_in_words=limit_in_words,
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


def _plain(text: str) -> tuple[bool, tuple[PlainStatement, ...]]:
    """Whether the document can be read, and its statements."""
    document = compile_stored(text, PolicyKind.TRUST)
    return not document.broken, () if document.broken else plain(document)
