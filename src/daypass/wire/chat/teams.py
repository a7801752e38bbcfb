"""Reads messages of a Teams outgoing webhook: their signature, and the command that follows the mention. It decides nothing.

Teams signs the body with the security token that it showed when the webhook was made. The time, the tenant and the user's
id in Microsoft Entra are members of the signed body. Everyone in the channel sees the message and the answer.
Source: Microsoft, "Create Outgoing Webhooks" and the Activity object of the Bot Connector.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.strict_json import read_json
from daypass.wire.chat.message import MAX_NAME, Message, SignedMessage, check_age, malformed, object_at
from daypass.wire.http import Request, only_value

_AUTHORIZATION: Final = re.compile(rb"HMAC ([A-Za-z0-9+/]{43}=)")
_TIME: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]{1,9})?Z")
_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")  # of a tenant, or of a user
_MENTION: Final = re.compile(r"<at(?: [^<>]*)?>[^<>]*</at>")
_TAG: Final = re.compile(r"<[^<>]*>")
_MAX_TEXT: Final = 4096


class Teams:
    """`message.Service`. Its answers are plain text for the channel."""

    kind: str = "teams"
    summary: str = "Messages to an outgoing webhook of Teams"
    bound_codes: bool = True
    how: str = (
        "Send `link` to learn your chat user, `link CODE` with a code that you made for it in Daypass, or the line that a "
        "request shows to approve it."
    )

    def signed(self, request: Request, now: int) -> SignedMessage:
        """See `message.Service`. The time is in the body, which is read when its signature is right."""
        del now
        match = _AUTHORIZATION.fullmatch(only_value(request.headers, b"authorization"))
        if match is None:
            raise DaypassError(ErrorKind.MISSING_CREDENTIALS, "The request is not signed by Teams.")
        body = request.body
        return SignedMessage(match[1], lambda key: base64.b64encode(hmac.new(key, body, hashlib.sha256).digest()))

    def message_of(self, request: Request, now: int) -> Message:
        try:
            data = read_json(request.body)
        except ValueError:
            raise malformed() from None
        if not isinstance(data, dict) or data.get("type") != "message":
            raise malformed()
        at = _seconds(data.get("timestamp"))
        check_age(at, now)
        sender = object_at(data, "from")
        name = str(sender.get("name") or "")[:MAX_NAME]
        message = Message(at, _tenant(data), _id(sender.get("aadObjectId")), name)
        return _command(message, _words(data.get("text")))

    def answer(self, text: str) -> bytes:
        return json.dumps({"type": "message", "textFormat": "plain", "text": text}).encode()


def _command(message: Message, words: list[str]) -> Message:
    match words:
        case [word, *rest] if word.lower() == "link" and len(rest) <= 1:
            return message._replace(link=True, code="".join(rest))
        case [word, vote] if word.lower() == "approve":
            return message.approving(vote)
        case _:
            return message


def _words(text: object) -> list[str]:
    """The words of a message without mentions and markup."""
    if not isinstance(text, str) or len(text) > _MAX_TEXT:
        raise malformed()
    return html.unescape(_TAG.sub(" ", _MENTION.sub(" ", text))).split()


def _tenant(data: Mapping[str, Any]) -> str:
    """The tenant. A message that names two is refused."""
    given = (
        object_at(object_at(data, "channelData"), "tenant").get("id"),
        object_at(data, "conversation").get("tenantId"),
    )
    named = {_id(value) for value in given if value is not None}
    if len(named) != 1:
        raise malformed()
    return named.pop()


def _seconds(value: object) -> int:
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise malformed()
    try:
        return int(datetime.fromisoformat(match[1]).replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise malformed() from None


def _id(value: object) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value.lower()):
        raise malformed()
    return value.lower()
