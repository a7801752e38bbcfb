"""Reads messages of Slack: their signature, a click on a button, a command. It decides nothing.

Source: Slack, "Verifying requests from Slack", "Handling user interaction", "Enabling interactivity with slash commands".
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from typing import Final

from daypass.domain.access.message import APPROVE
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.strict_json import read_json
from daypass.wire import content
from daypass.wire.chat.message import MAX_NAME, Message, SignedMessage, check_age, malformed, object_at
from daypass.wire.http import Request, only_value

_TIME: Final = b"x-slack-request-timestamp"
_SIGNATURE: Final = re.compile(rb"v0=[0-9a-f]{64}")
_TIMESTAMP: Final = re.compile(rb"[0-9]{1,12}")
_ID: Final = re.compile(r"[A-Z0-9]{2,32}")  # of a team, or of a user
_MAX_FIELDS: Final = 40


class Slack:
    """`message.Service`. Its answers are shown to the sender alone."""

    kind: str = "slack"
    summary: str = "Clicks and commands in Slack"
    bound_codes: bool = False
    how: str = "Send `link CODE` with a code from Daypass to link this chat user with you."

    def signed(self, request: Request, now: int) -> SignedMessage:
        at, signature = _sent_at(request), only_value(request.headers, b"x-slack-signature")
        if at is None or not _SIGNATURE.fullmatch(signature):
            raise DaypassError(ErrorKind.MISSING_CREDENTIALS, "The request is not signed by Slack.")
        check_age(at, now)
        text = b"v0:%d:%s" % (at, request.body)
        return SignedMessage(signature, lambda key: b"v0=" + hmac.new(key, text, hashlib.sha256).hexdigest().encode())

    def message_of(self, request: Request, now: int) -> Message:
        del now  # `signed` has checked the time, which the signature covers
        content.check_media_type(request.headers)
        given = content.unique(content.pairs_of(request.body, _MAX_FIELDS))
        at = _sent_at(request) or 0
        if "payload" in given:
            return _click(at, given["payload"])
        message = Message(
            at, _id(given.get("team_id")), _id(given.get("user_id")), given.get("user_name", "")[:MAX_NAME]
        )
        word, _, code = given.get("text", "").strip().partition(" ")
        return message._replace(link=word == "link", code=code.strip() if word == "link" else "")

    def answer(self, text: str) -> bytes:
        return json.dumps({"response_type": "ephemeral", "replace_original": False, "text": text}).encode()


def _sent_at(request: Request) -> int | None:
    stamp = only_value(request.headers, _TIME)
    return int(stamp) if _TIMESTAMP.fullmatch(stamp) else None


def _click(at: int, payload: str) -> Message:
    try:
        data = read_json(payload)
    except ValueError:
        raise malformed() from None
    user, actions = object_at(data, "user"), data.get("actions") if isinstance(data, dict) else None
    if data.get("type") != "block_actions" or not isinstance(actions, list) or len(actions) != 1:
        raise malformed()
    action = actions[0] if isinstance(actions[0], dict) else {}
    team = user.get("team_id") or object_at(data, "team").get("id")
    name = str(user.get("username") or user.get("name") or "")[:MAX_NAME]
    message = Message(at, _id(team), _id(user.get("id")), name, answer_url=str(data.get("response_url") or ""))
    if str(action.get("action_id", "")) != APPROVE:
        return message._replace(silent=True)
    return message.approving(str(action.get("value", "")))


def _id(value: object) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise malformed()
    return value
