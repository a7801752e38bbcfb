"""Approval rules, reviews of emergency access, and notifications."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.broker import channels, read, rules
from daypass.operations.broker.channels import NewChannel
from daypass.wire.console.change import Change
from daypass.wire.console.table import Cell, TableView, columns, link
from daypass.wire.console.visit import ConsoleVisit, to
from daypass.wire.http import Response

_ROWS: Final = 50
_RULES: Final = "/console/rules"
_NOTIFICATIONS: Final = "/console/notifications"
_DELETE_CHANNEL: Final = "daypass:DeleteNotificationChannel"
_OUTCOMES: Final = {"dead": "Not delivered", "waiting": "Waiting", "delivered": "Delivered", "all": "All notifications"}
_EXAMPLE: Final = """{
  "roles": ["role/prod-*"],
  "requesters": {"principals": ["group/engineers"]},
  "stages": [{"name": "lead", "approvers": {"principals": ["group/leads"]}}],
  "max_seconds": 14400
}"""


async def listed(visit: ConsoleVisit) -> Response:
    """GET /console/rules."""
    found = await visit.perform("daypass:ListApprovalRules", rules.list_rules, "")
    rows = [
        (
            link(rule.name, "/console/rule", name=rule.name),
            Cell(at=rule.updated_at),
            Cell(rule.updated_by.rpartition("/")[2]),
        )
        for rule in found
    ]
    empty = ("No approval rules.", "A role without a rule cannot be requested.")
    table = TableView(columns("Name", "Changed", "By"), rows, _RULES, empty=empty)
    return visit.page("rules", "Approval rules", table=table)


async def one(visit: ConsoleVisit) -> Response:
    """GET /console/rule?name=… Without a name, the form for a new rule."""
    name = visit.value("name", 64)
    document = _EXAMPLE
    if name:
        document = (await visit.perform("daypass:GetApprovalRule", rules.get_rule, "", name)).document
    return visit.page("rule", name or "New approval rule", name=name, document=document, problem="")


async def _put(visit: ConsoleVisit) -> Response:
    await visit.perform(
        "daypass:PutApprovalRule", rules.put_rule, "", visit.value("name", 64), visit.value("document", 16_384)
    )
    return to(_RULES, done="saved")


async def _delete(visit: ConsoleVisit) -> Response:
    await visit.perform("daypass:DeleteApprovalRule", rules.delete_rule, "", visit.value("name", 64))
    return to(_RULES, done="saved")


async def _as_written(visit: ConsoleVisit, problem: str) -> Response:
    """The form with what the person wrote, and the problem."""
    name, document = visit.value("name", 64), visit.value("document", 16_384)
    return visit.page("rule", name or "New approval rule", name=name, document=document, problem=problem)


async def _as_stored(visit: ConsoleVisit, problem: str) -> Response:
    """The page of the rule, and the problem."""
    name = visit.value("name", 64)
    found = await visit.attempt("daypass:GetApprovalRule", rules.get_rule, "", name)
    document = found.value.document if found.value is not None else _EXAMPLE
    return visit.page("rule", name, name=name, document=document, problem=problem)


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
            deletes=True,
        ),
    )


# --- Reviews ---------------------------------------------------------------------------------------------------------


async def reviews(visit: ConsoleVisit) -> Response:
    """GET /console/reviews: emergency access that nobody has reviewed yet."""
    return await _reviews_page(visit)


async def close_review(visit: ConsoleVisit) -> Response:
    """POST /console/reviews/close."""
    try:
        await visit.perform(
            "daypass:CloseAccessReview", read.close_review, "", visit.value("review", 64), visit.value("finding", 8192)
        )
    except DaypassError as error:
        return await _reviews_page(visit, await visit.problem(error))
    return to("/console/reviews", done="saved")


async def _reviews_page(visit: ConsoleVisit, problem: str = "") -> Response:
    found, following = await visit.perform(
        "daypass:ListAccessReviews", read.list_reviews, after=visit.value("after", 64), limit=_ROWS
    )
    return visit.page("reviews", "Reviews", rows=found, following=following, problem=problem, values=visit.values)


# --- Notifications ---------------------------------------------------------------------------------------------------


async def notifications(visit: ConsoleVisit) -> Response:
    """GET /console/notifications: channels, and what could not be delivered."""
    return await _notifications_page(visit)


async def put_channel(visit: ConsoleVisit) -> Response:
    """POST /console/notifications/save. A new secret of a webhook is shown once. A channel is replaced only when `replace`
    says so.
    """
    name = visit.value("name", 64)
    chosen = tuple(event for event in channels.EVENTS if visit.value(event, 8) == "yes") or channels.EVENTS
    new = NewChannel(visit.value("kind", 16), visit.value("target"), chosen, visit.value("secret"))
    put, replaces = "daypass:PutNotificationChannel", visit.value("replace", 8) == "yes"
    try:
        _, secret = await visit.perform(put, channels.put_channel, "", name, new, replace_existing=replaces)
    except DaypassError as error:
        exists = error.kind is ErrorKind.ALREADY_EXISTS
        return await _notifications_page(visit, await visit.problem(error), exists=exists)
    return await _notifications_page(visit, secret=secret)


async def test_channel(visit: ConsoleVisit) -> Response:
    """POST /console/notifications/test: queues a notification that tests a channel."""
    await visit.perform("daypass:TestNotificationChannel", channels.send_test, "", visit.value("name", 64))
    return to(_NOTIFICATIONS, done="tested", outcome="all")


async def _delete_channel(visit: ConsoleVisit) -> Response:
    await visit.perform(_DELETE_CHANNEL, channels.delete_channel, "", visit.value("name", 64))
    return to(_NOTIFICATIONS, done="deleted")


def channel_changes() -> Sequence[Change]:
    """The deletion of a channel is confirmed: nobody is told by it any more."""
    path, summary = f"{_NOTIFICATIONS}/delete", "Delete a notification channel"
    return (Change(path, _DELETE_CHANNEL, summary, _delete_channel, _notifications_page, confirmed=True, deletes=True),)


async def retry(visit: ConsoleVisit) -> Response:
    """POST /console/notifications/retry: delivers a dead notification again."""
    await visit.perform("daypass:RetryNotification", channels.retry_notification, "", visit.value("id", 64))
    return to(_NOTIFICATIONS, done="queued", outcome="all")


async def _notifications_page(
    visit: ConsoleVisit, problem: str = "", *, secret: str = "", exists: bool = False
) -> Response:
    found = await visit.perform("daypass:ListNotificationChannels", channels.list_channels, "")
    outcome = visit.value("outcome", 16)
    outcome = outcome if outcome in _OUTCOMES else "dead"
    sent = await visit.attempt(
        "daypass:ListNotifications",
        channels.list_notifications,
        "",
        outcome="" if outcome == "all" else outcome,
        after=visit.value("after", 64),
        limit=_ROWS,
    )
    return visit.page(
        "notifications",
        "Notifications",
        channels=found,
        sent=sent,
        outcome=outcome,
        outcomes=_OUTCOMES,
        exists=exists,
        first=bool(visit.value("after")),
        kinds=[(kind, kind) for kind in channels.KINDS],
        events=channels.EVENTS,
        values=visit.values,
        problem=problem,
        secret=secret,
    )
