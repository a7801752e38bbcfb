"""Roles: the list, and one role with its trust in plain language, its users and what the linter says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

from daypass.domain.policy.document import PolicyKind, compile_stored
from daypass.domain.policy.plain import PlainStatement, plain
from daypass.domain.trust import ASSUME_ROLE
from daypass.operations import heavy
from daypass.operations.access import lint, what_can, who_can
from daypass.operations.sessions import list_sessions
from daypass.ports import SessionFilter
from daypass.wire.console.iam import iam, iam_part, page_marker
from daypass.wire.console.visit import ConsoleVisit, Part, address, to
from daypass.wire.http import Response

_ROWS: Final = 50
_ROLE: Final = "/console/role"


async def listed(visit: ConsoleVisit) -> Response:
    """GET /console/roles: by name, below a path."""
    prefix = visit.value("path", 512)
    found = await iam(visit, "ListRoles", PathPrefix=prefix, Marker=page_marker(visit, "roles"), MaxItems=_ROWS)
    return visit.page(
        "roles",
        "Roles",
        rows=found["Roles"],
        following=found.get("Marker", ""),
        path=prefix,
        here=address("/console/roles", path=prefix),
        start=visit.value("start", 64),
        first=bool(visit.value("after") or visit.value("start")),
    )


async def one(visit: ConsoleVisit) -> Response:
    """GET /console/role?name=… `job`: a report on the use of its permissions that was made before."""
    name = visit.value("name", 64)
    role = (await iam(visit, "GetRole", RoleName=name))["Role"]
    text = _text(role["AssumeRolePolicyDocument"])
    trust = await heavy.parse(visit.env, visit.call.caller.account, _plain, text)
    findings = await visit.attempt("daypass:LintPolicies", lint.lint_document, text, PolicyKind.TRUST, name)
    who = await visit.attempt("daypass:WhoCanAccess", who_can.who_can, ASSUME_ROLE, role["Arn"], limit=_ROWS)
    can = await visit.attempt("daypass:WhatCanAccess", what_can.what_can, role["Arn"], limit=1)
    used = await visit.attempt(
        "daypass:ListSessions", list_sessions.list_sessions, SessionFilter(principal_id=role["RoleId"], limit=10)
    )
    job = visit.value("job", 64)
    report: Part[Mapping[str, Any]] = Part()
    if job:
        report = await iam_part(visit, "GetServiceLastAccessedDetails", JobId=job)
    return visit.page(
        "role",
        role["RoleName"],
        role=role,
        text=text,
        trust=trust,
        findings=findings,
        who=who,
        can=can,
        used=used,
        report=report,
        job=job,
    )


async def report(visit: ConsoleVisit) -> Response:
    """POST /console/role/report: makes a report on which of the role's permissions were used, and when."""
    made = await iam(visit, "GenerateServiceLastAccessedDetails", Arn=visit.value("arn"), Granularity="ACTION_LEVEL")
    return to(_ROLE, name=visit.value("name", 64), job=made["JobId"])


def _text(document: str) -> str:
    """IAM returns documents percent-encoded (RFC 3986)."""
    return unquote(document)


def _plain(text: str) -> tuple[bool, tuple[PlainStatement, ...]]:
    """Whether the document can be read, and its statements."""
    document = compile_stored(text, PolicyKind.TRUST)
    return not document.broken, () if document.broken else plain(document)
