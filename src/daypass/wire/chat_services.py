"""The chat services: a signed message, and how Slack and Teams write and answer one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import json
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Protocol

from daypass.domain.access.message import APPROVE
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.strict_json import read_json
from daypass.wire import content
from daypass.wire.http import Request, only_value

WINDOW_SECONDS: Final = 300
"""A message that was sent longer ago, or later, is refused."""
MAX_NAME: Final = 80
_VOTE: Final = re.compile(r"(?P<request>[0-9a-f]{32})\.(?P<binding>[0-9a-f]{64})")


class ChatMessage(NamedTuple):
    """A message of a chat user."""

    at: int  # seconds; when it was sent
    # team: the workspace, or the tenant. user: the id there. name: as the service says.
    team: str
    user: str
    name: str
    # link: the user wants to be linked. code: with this code; "" without one.
    link: bool = False
    code: str = ""
    # request, binding: of an approval; "" otherwise.
    request: str = ""
    binding: str = ""
    silent: bool = False  # what was done needs no answer
    answer_url: str = ""  # where the answer is sent; "": it is the response

    def approving(self, vote: str) -> ChatMessage:
        """The message with an approval. Raises DaypassError(MALFORMED_REQUEST)."""
        found = _VOTE.fullmatch(vote)
        if found is None:
            raise malformed()
        return self._replace(request=found["request"], binding=found["binding"])


class SignedMessage(NamedTuple):
    """A signature as it was sent, which differs for each message, and what a key makes of the message."""

    signature: bytes
    made: Callable[[bytes], bytes]

    def is_by(self, key: bytes) -> bool:
        """Whether the key made it."""
        return hmac.compare_digest(self.made(key), self.signature)

    @property
    def identity(self) -> str:
        """The id of the message, so that it is accepted once."""
        return hashlib.sha256(self.signature).hexdigest()


class ChatService(Protocol):
    """A chat service."""

    kind: str  # of its channels, and a part of its path
    summary: str
    bound_codes: bool  # a code links only the chat user for whom it was made, because others can read it in the chat
    how: str  # what can be sent

    @abstractmethod
    def signed(self, request: Request, now: int) -> SignedMessage:
        """The signature of a request; `now` in ms. Raises DaypassError: MISSING_CREDENTIALS, EXPIRED_CREDENTIALS."""

    @abstractmethod
    def message_of(self, request: Request, now: int) -> ChatMessage:
        """The message in a request whose signature is right. Raises DaypassError: MALFORMED_REQUEST, EXPIRED_CREDENTIALS."""

    @abstractmethod
    def answer(self, text: str) -> bytes:
        """The body of an answer."""


def check_age(at: int, now: int) -> None:
    """`at` in seconds, `now` in ms. Raises DaypassError(EXPIRED_CREDENTIALS)."""
    if abs(now // 1000 - at) > WINDOW_SECONDS:
        raise DaypassError(ErrorKind.EXPIRED_CREDENTIALS, "The time of the request is too far from the server's.")


def object_at(data: Any, name: str) -> Mapping[str, Any]:
    """The JSON object at a name of another one. Raises DaypassError(MALFORMED_REQUEST)."""
    found = data.get(name) if isinstance(data, dict) else None
    if not isinstance(found, dict):
        raise malformed()
    return found


def malformed() -> DaypassError:
    """A message that cannot be read."""
    return DaypassError(ErrorKind.MALFORMED_REQUEST, "The message cannot be read.")


# --- Reads messages of Slack: their signature, a click on a button, a command


_TIME: Final = b"x-slack-request-timestamp"
_SIGNATURE: Final = re.compile(rb"v0=[0-9a-f]{64}")
_TIMESTAMP: Final = re.compile(rb"[0-9]{1,12}")
_ID: Final = re.compile(r"[A-Z0-9]{2,32}")  # of a team, or of a user
_MAX_FIELDS: Final = 40


class Slack:
    """`ChatService`. Its answers are shown to the sender alone."""

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

    def message_of(self, request: Request, now: int) -> ChatMessage:
        del now  # `signed` has checked the time, which the signature covers
        content.check_media_type(request.headers)
        given = content.unique(content.pairs_of(request.body, _MAX_FIELDS))
        at = _sent_at(request) or 0
        if "payload" in given:
            return _click(at, given["payload"])
        message = ChatMessage(
            at, _id(given.get("team_id")), _id(given.get("user_id")), given.get("user_name", "")[:MAX_NAME]
        )
        word, _, code = given.get("text", "").strip().partition(" ")
        return message._replace(link=word == "link", code=code.strip() if word == "link" else "")

    def answer(self, text: str) -> bytes:
        return json.dumps({"response_type": "ephemeral", "replace_original": False, "text": text}).encode()


def _sent_at(request: Request) -> int | None:
    stamp = only_value(request.headers, _TIME)
    return int(stamp) if _TIMESTAMP.fullmatch(stamp) else None


def _click(at: int, payload: str) -> ChatMessage:
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
    message = ChatMessage(at, _id(team), _id(user.get("id")), name, answer_url=str(data.get("response_url") or ""))
    if str(action.get("action_id", "")) != APPROVE:
        return message._replace(silent=True)
    return message.approving(str(action.get("value", "")))


def _id(value: object) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise malformed()
    return value


# --- Teams


_AUTHORIZATION: Final = re.compile(rb"HMAC ([A-Za-z0-9+/]{43}=)")
_TEAMS_TIME: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]{1,9})?Z")
_TEAMS_ID: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
)  # of a tenant, or of a user
_MENTION: Final = re.compile(r"<at(?: [^<>]*)?>[^<>]*</at>")
_TAG: Final = re.compile(r"<[^<>]*>")
_MAX_TEXT: Final = 4096


class Teams:
    """`ChatService`. Its answers are plain text for the channel."""

    kind: str = "teams"
    summary: str = "Messages to an outgoing webhook of Teams"
    bound_codes: bool = True
    how: str = (
        "Send `link` to learn your chat user, `link CODE` with a code that you made for it in Daypass, or the line that a "
        "request shows to approve it."
    )

    def signed(self, request: Request, now: int) -> SignedMessage:
        """See `ChatService`. The time is in the body, which is read when its signature is right."""
        del now
        match = _AUTHORIZATION.fullmatch(only_value(request.headers, b"authorization"))
        if match is None:
            raise DaypassError(ErrorKind.MISSING_CREDENTIALS, "The request is not signed by Teams.")
        body = request.body
        return SignedMessage(match[1], lambda key: base64.b64encode(hmac.new(key, body, hashlib.sha256).digest()))

    def message_of(self, request: Request, now: int) -> ChatMessage:
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
        message = ChatMessage(at, _tenant(data), _teams_id(sender.get("aadObjectId")), name)
        return _command(message, _words(data.get("text")))

    def answer(self, text: str) -> bytes:
        return json.dumps({"type": "message", "textFormat": "plain", "text": text}).encode()


def _command(message: ChatMessage, words: list[str]) -> ChatMessage:
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
    named = {_teams_id(value) for value in given if value is not None}
    if len(named) != 1:
        raise malformed()
    return named.pop()


def _seconds(value: object) -> int:
    match = _TEAMS_TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise malformed()
    try:
        return int(datetime.fromisoformat(match[1]).replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise malformed() from None


def _teams_id(value: object) -> str:
    if not isinstance(value, str) or not _TEAMS_ID.fullmatch(value.lower()):
        raise malformed()
    return value.lower()
