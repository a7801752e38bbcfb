"""Approval rules, reviews of emergency access, and notifications."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from daypass.domain.directory import ApprovalRule
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.broker import read, rules
from daypass.operations.grants.facts import compiled
from daypass.operations.notifications import channels
from daypass.operations.notifications.channels import NewChannel
from daypass.wire.console.change import Change
from daypass.wire.console.context import ConsoleContext, to
from daypass.wire.console.table import Cell, TableView, columns, link
from daypass.wire.http import Response
from daypass.wire.web.render import arn_name

_ROWS: Final = 50
_RULES: Final = "/console/rules"
_NOTIFICATIONS: Final = "/console/notifications"
_PUT_CHANNEL: Final = "daypass:PutNotificationChannel"
_DELETE_CHANNEL: Final = "daypass:DeleteNotificationChannel"
_OUTCOMES: Final = {"dead": "Not delivered", "waiting": "Waiting", "delivered": "Delivered", "all": "All notifications"}
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


def rule_changes() -> Sequence[Change]:
    """Every change of an approval rule. Each is confirmed: a rule decides who gets access (attack A208)."""
    save, delete = "daypass:PutApprovalRule", "daypass:DeleteApprovalRule"
    return (
        Change("/console/rule/save", save, "Write an approval rule", _put, _as_written, confirmed=True),
        Change(
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


# --- Notifications ---------------------------------------------------------------------------------------------------


async def notifications(ctx: ConsoleContext, problem: str = "", *, secret: str = "", exists: bool = False) -> Response:
    """GET /console/notifications: channels, and what could not be delivered. `secret`: a new one, which no other page shows."""
    found = await ctx.perform("daypass:ListNotificationChannels", channels.CHANNELS.every)
    outcome = ctx.value("outcome", 16)
    outcome = outcome if outcome in _OUTCOMES else "dead"
    sent = await ctx.attempt(
        "daypass:ListNotifications",
        channels.list_notifications,
        "",
        outcome="" if outcome == "all" else outcome,
        after=ctx.value("after", 64),
        limit=_ROWS,
    )
    return ctx.page(
        "notifications",
        "Notifications",
        channels=found,
        sent=sent,
        outcome=outcome,
        outcomes=_OUTCOMES,
        exists=exists,
        first=bool(ctx.value("after")),
        kinds=[(kind, kind) for kind in channels.KINDS],
        events=channels.EVENTS,
        values=ctx.values,
        problem=problem,
        secret=secret,
    )


async def _put_channel(ctx: ConsoleContext) -> Response:
    """A new secret of a webhook is shown once. A channel is replaced only when `replace` says so."""
    name = ctx.value("name", 64)
    chosen = tuple(event for event in channels.EVENTS if ctx.value(event, 8) == "yes") or channels.EVENTS
    new = NewChannel(ctx.value("kind", 16), ctx.value("target"), chosen, ctx.value("secret"))
    replaces = ctx.value("replace", 8) == "yes"
    try:
        _, secret = await ctx.perform(_PUT_CHANNEL, channels.put_channel, "", name, new, replace_existing=replaces)
    except DaypassError as error:
        exists = error.kind is ErrorKind.ALREADY_EXISTS
        return await notifications(ctx, await ctx.problem(error), exists=exists)
    return await notifications(ctx, secret=secret)


async def test_channel(ctx: ConsoleContext) -> Response:
    """POST /console/notifications/test: queues a notification that tests a channel."""
    await ctx.perform("daypass:TestNotificationChannel", channels.send_test, "", ctx.required("name", 64))
    return to(_NOTIFICATIONS, done="tested", outcome="all")


async def _delete_channel(ctx: ConsoleContext) -> Response:
    await ctx.perform(_DELETE_CHANNEL, channels.CHANNELS.delete, ctx.value("name", 64))
    return to(_NOTIFICATIONS, done="deleted")


def channel_changes() -> Sequence[Change]:
    """Both are confirmed: with the secret of a chat, votes can be sent (attack A217), and a deleted channel notifies nobody."""
    save, delete = f"{_NOTIFICATIONS}/save", f"{_NOTIFICATIONS}/delete"
    return (
        Change(save, _PUT_CHANNEL, "Write a notification channel", _put_channel, notifications, confirmed=True),
        Change(
            delete, _DELETE_CHANNEL, "Delete a notification channel", _delete_channel, notifications, True, True, "name"
        ),
    )


async def retry(ctx: ConsoleContext) -> Response:
    """POST /console/notifications/retry: delivers a notification again that could not be delivered."""
    await ctx.perform("daypass:RetryNotification", channels.retry_notification, "", ctx.required("id", 64))
    return to(_NOTIFICATIONS, done="queued", outcome="all")
