"""The text of notifications, and its form for each kind of channel. Text that people wrote is never markup."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

_TITLES: Final[Mapping[str, str]] = {
    "access.requested": "Access is requested",
    "access.emergency": "EMERGENCY access was taken",
    "access.accepted": "A request was accepted by its beneficiary",
    "access.approved": "A request was approved",
    "access.denied": "A request was denied",
    "access.cancelled": "A request was cancelled",
    "access.expired": "A request has expired",
    "access.escalated": "A request waits without a decision",
    "access.ending": "Access ends soon",
    "access.ended": "Access has ended",
    "access.reviewed": "The review of an emergency access was closed",
    "mfa.passkey_copied": "A passkey seems to have been copied, and is blocked",
    "mfa.recovery_code_used": "A recovery code was used to sign in",
    "notification.test": "This is a test of the channel",
}
_SHOWN: Final = (
    "request",
    "roles",
    "requester",
    "principal",
    "beneficiary",
    "reason",
    "ticket",
    "seconds",
    "risk",
    "state",
    "why",
    "grants",
    "user",
    "name",
    "left",
)
_LONGEST: Final = 300
_ROLES: Final = 3  # that a title names
_USER: Final = re.compile(r"arn:aws:iam::[0-9]{12}:user/(?:.*/)?([^/]+)")
APPROVE: Final = "daypass_approve"
OPEN: Final = "daypass_open"
"""Names of the buttons in a message of Slack. Slack reports a click on either."""


class Message(NamedTuple):
    """A title, lines of name and value, and a link, which may be ""."""

    title: str
    lines: tuple[tuple[str, str], ...]
    link: str


def message_of(document: Mapping[str, Any]) -> Message:
    """The message of a notification's document."""
    detail = document["detail"]
    lines = [("by", _plain(document["actor"]))]
    if document.get("principal"):  # whose session it is: people choose the names of sessions
        lines.append(("session of", _plain(document["principal"])))
    for name in _SHOWN:
        value = detail.get(name)
        if value not in (None, "", [], 0):
            lines.append((name, _plain(", ".join(map(str, value)) if isinstance(value, list) else value)))
    title = _TITLES.get(document["type"], document["type"])
    return Message(title + _about(detail), tuple(lines), document["link"])


def _about(detail: Mapping[str, Any]) -> str:
    """The end of a title, which distinguishes tickets and mails: the names of roles, and of the user who gets them.

    Others than users are left out: people choose the names of sessions.
    """
    names = [str(role).rpartition("/")[2] for role in detail.get("roles", ())]
    if not names:
        return ""
    more = f" and {len(names) - _ROLES} more" if len(names) > _ROLES else ""
    user = _USER.fullmatch(str(detail.get("beneficiary") or detail.get("requester", "")))
    return _plain(f": {', '.join(names[:_ROLES])}{more}" + (f", for {user[1]}" if user else ""))


def _plain(value: object) -> str:
    """Text on one line without control characters or bidirectional marks, shortened."""
    text = "".join(char if char.isprintable() else " " for char in str(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def slack_of(message: Message, vote: str = "") -> bytes:
    """The body of an incoming webhook of Slack, as plain text: no markup, links or mentions in what people wrote.

    `vote`: what a button to approve sends back; "": without one.
    """
    text = "\n".join((message.title, *(f"{name}: {value}" for name, value in message.lines)))
    blocks: list[dict[str, Any]] = [
        {"type": "section", "text": {"type": "plain_text", "text": text[:3000], "emoji": False}}
    ]
    buttons: list[dict[str, Any]] = []
    if vote:
        buttons.append({**_button("Approve"), "action_id": APPROVE, "value": vote})
    if message.link:
        buttons.append({**_button("Open in Daypass"), "action_id": OPEN, "url": message.link})
    if buttons:
        blocks.append({"type": "actions", "elements": buttons})
    return json.dumps({"text": message.title, "blocks": blocks}).encode()


def _button(label: str) -> dict[str, Any]:
    return {"type": "button", "text": {"type": "plain_text", "text": label}}


def teams_of(message: Message, vote: str = "") -> bytes:
    """The body of an incoming webhook of Teams: an adaptive card. Facts are escaped, because a card renders Markdown.

    `vote`: what an approver sends to the outgoing webhook, as a webhook's card can have no button for it; "": nothing.
    """
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            {"type": "TextBlock", "text": _without_markdown(message.title), "weight": "Bolder", "wrap": True},
            {
                "type": "FactSet",
                "facts": [{"title": name, "value": _without_markdown(value)} for name, value in message.lines],
            },
        ],
    }
    if vote:
        card["body"] += [
            {
                "type": "TextBlock",
                "text": "To approve, mention the webhook of Daypass and add this line:",
                "wrap": True,
            },
            {"type": "TextBlock", "text": f"approve {vote}", "fontType": "Monospace", "wrap": True},
        ]
    if message.link:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open in Daypass", "url": message.link}]
    content = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    return json.dumps({"type": "message", "attachments": [content]}).encode()


def _without_markdown(text: str) -> str:
    return "".join(f"\\{char}" if char in "\\`*_{}[]()#+-.!|<>~" else char for char in text)


def email_of(message: Message) -> tuple[str, str]:
    """Subject and text of an e-mail."""
    lines = [f"{name}: {value}" for name, value in message.lines]
    return f"[Daypass] {message.title}", "\n".join((message.title, "", *lines, "", message.link, ""))
