"""Approval rules, reviews of emergency access, and notifications."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from daypass.domain.directory import ApprovalRule
from daypass.domain.errors import DaypassError
from daypass.operations.access_requests import read, rules
from daypass.operations.grants.targets import compiled
from daypass.wire.console.change import FormChange
from daypass.wire.console.context import ConsoleContext, to
from daypass.wire.console.table import Cell, TableView, columns, link
from daypass.wire.http import Response
from daypass.wire.web.render import arn_name

_ROWS: Final = 50
_RULES: Final = "/console/rules"
_EXAMPLE: Final = """{
  "roles": ["role/prod-*"],
  "requesters": {"principals": ["group/engineers"]},
  "stages": [{"name": "lead", "approvers": {"principals": ["group/leads"]}}],
  "max_seconds": 14400
}"""


async def listed(ctx: ConsoleContext) -> Response:
    """GET /console/rules."""
    found = await ctx.perform("daypass:ListApprovalRules", rules.RULES.every)
    rows = [
        (
            link(rule.name, "/console/rule", name=rule.name),
            Cell(_roles(rule)),
            Cell(at=rule.updated_at),
            Cell(arn_name(rule.updated_by)),
        )
        for rule in found
    ]
    empty = ("No approval rules.", "A role without a rule cannot be requested.")
    table = TableView(columns("Name", "Roles", "Changed", "By"), rows, _RULES, empty=empty)
    return ctx.page("rules", "Approval rules", table=table)


def _roles(rule: ApprovalRule) -> str:
    """The patterns of a rule's roles."""
    found = compiled(rule)
    return ", ".join(found.rule.roles) if found is not None else "cannot be read: it admits nobody"


async def one(ctx: ConsoleContext) -> Response:
    """GET /console/rule?name=… Without a name, the form for a new rule."""
    name = ctx.value("name", 64)
    document = _EXAMPLE
    if name:
        document = (await ctx.perform("daypass:GetApprovalRule", rules.RULES.get, name)).document
    return ctx.page("rule", name or "New approval rule", name=name, document=document, problem="")


async def _put(ctx: ConsoleContext) -> Response:
    await ctx.perform(
        "daypass:PutApprovalRule", rules.put_rule, "", ctx.value("name", 64), ctx.value("document", 16_384)
    )
    return to(_RULES, done="saved")


async def _delete(ctx: ConsoleContext) -> Response:
    await ctx.perform("daypass:DeleteApprovalRule", rules.RULES.delete, ctx.value("name", 64))
    return to(_RULES, done="saved")


async def _as_written(ctx: ConsoleContext, problem: str) -> Response:
    """The form with what the person wrote, and the problem."""
    name, document = ctx.value("name", 64), ctx.value("document", 16_384)
    return ctx.page("rule", name or "New approval rule", name=name, document=document, problem=problem)


async def _as_stored(ctx: ConsoleContext, problem: str) -> Response:
    """The page of the rule, and the problem."""
    name = ctx.value("name", 64)
    found = await ctx.attempt("daypass:GetApprovalRule", rules.RULES.get, name)
    document = found.value.document if found.value is not None else _EXAMPLE
    return ctx.page("rule", name, name=name, document=document, problem=problem)


def rule_changes() -> Sequence[FormChange]:
    """Every change of an approval rule. Each is confirmed: a rule decides who gets access (attack A208)."""
    save, delete = "daypass:PutApprovalRule", "daypass:DeleteApprovalRule"
    return (
        FormChange("/console/rule/save", save, "Write an approval rule", _put, _as_written, confirmed=True),
        FormChange(
            "/console/rule/delete",
            delete,
            "Delete an approval rule",
            _delete,
            _as_stored,
            confirmed=True,
            asks=True,
            of="name",
        ),
    )


# --- Reviews ---------------------------------------------------------------------------------------------------------


async def reviews(ctx: ConsoleContext, problem: str = "") -> Response:
    """GET /console/reviews: emergency access that nobody has reviewed yet."""
    found, following = await ctx.perform(
        "daypass:ListAccessReviews", read.list_reviews, after=ctx.value("after", 64), limit=_ROWS
    )
    return ctx.page("reviews", "Reviews", rows=found, following=following, problem=problem, values=ctx.values)


async def close_review(ctx: ConsoleContext) -> Response:
    """POST /console/reviews/close."""
    try:
        await ctx.perform(
            "daypass:CloseAccessReview", read.close_review, "", ctx.required("review", 64), ctx.value("finding", 8192)
        )
    except DaypassError as error:
        return await reviews(ctx, await ctx.problem(error))
    return to("/console/reviews", done="saved")
