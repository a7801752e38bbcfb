"""Reads messages of Slack: their signature, a click on a button, a command. It decides nothing.

Source: Slack, "Verifying requests from Slack", "Handling user interaction", "Enabling interactivity with slash commands".
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from daypass.domain.access.message import APPROVE
from daypass.domain.directory import ReplayEntry
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.strict_json import read_json
from daypass.wire import form
from daypass.wire.http import Request

WINDOW_SECONDS: Final = 300
_VERSION: Final = "v0"
_SIGNATURE: Final = re.compile(rb"v0=[0-9a-f]{64}")
_TIMESTAMP: Final = re.compile(rb"[0-9]{1,12}")
_ID: Final = re.compile(r"[A-Z0-9]{2,32}")  # of a team, or of a user
_VOTE: Final = re.compile(r"(?P<request>[0-9a-f]{32})\.(?P<binding>[0-9a-f]{64})")
_MOST_FIELDS: Final = 40
_MAX_NAME: Final = 80


class Signed(NamedTuple):
    """A signature as it was sent. `at`: in seconds."""

    at: int
    signature: bytes
    body: bytes

    def is_by(self, key: bytes) -> bool:
        """Whether the key made it."""
        text = b"%s:%d:%s" % (_VERSION.encode(), self.at, self.body)
        made = f"{_VERSION}={hmac.new(key, text, hashlib.sha256).hexdigest()}".encode()
        return hmac.compare_digest(made, self.signature)

    def replay(self, account: str, now: int) -> ReplayEntry:
        """What consumes the message. It outlives the time in which the signature is accepted."""
        identity = hashlib.sha256(self.signature).hexdigest()
        return ReplayEntry("slack", identity, account, now, (self.at + 2 * WINDOW_SECONDS) * 1000)


class Message(NamedTuple):
    """A message of a chat user.

    Attributes:
        text: of a command; "" for a click.
        action: the name of the button; "" for a command.
        request, binding: of a click on the button to approve.
        response_url: where an answer to a click is sent.
    """

    team: str
    user: str
    name: str
    text: str = ""
    action: str = ""
    request: str = ""
    binding: str = ""
    response_url: str = ""


def signed(request: Request, now: int) -> Signed:
    """The signature of a request; `now` in ms. Raises DaypassError: MISSING_CREDENTIALS, EXPIRED_CREDENTIALS."""
    stamps = [value for name, value in request.headers if name == b"x-slack-request-timestamp"]
    signatures = [value for name, value in request.headers if name == b"x-slack-signature"]
    if len(stamps) != 1 or not _TIMESTAMP.fullmatch(stamps[0]):
        raise DaypassError(ErrorKind.MISSING_CREDENTIALS, "The request is not signed by Slack.")
    if len(signatures) != 1 or not _SIGNATURE.fullmatch(signatures[0]):
        raise DaypassError(ErrorKind.MISSING_CREDENTIALS, "The request is not signed by Slack.")
    at = int(stamps[0])
    if abs(now // 1000 - at) > WINDOW_SECONDS:
        raise DaypassError(ErrorKind.EXPIRED_CREDENTIALS, "The time of the request is too far from the server's.")
    return Signed(at, signatures[0], request.body)


def message_of(request: Request) -> Message:
    """The message in a signed request. Raises DaypassError(MALFORMED_REQUEST)."""
    form.check_media_type(request.headers)
    given = form.unique(form.pairs_of(request.body, _MOST_FIELDS))
    if "payload" in given:
        return _click(given["payload"])
    name = given.get("user_name", "")[:_MAX_NAME]
    return Message(_id(given.get("team_id")), _id(given.get("user_id")), name, text=given.get("text", "").strip())


def _click(payload: str) -> Message:
    try:
        data = read_json(payload)
    except ValueError:
        raise _malformed() from None
    user, actions = _object(data, "user"), data.get("actions") if isinstance(data, dict) else None
    if data.get("type") != "block_actions" or not isinstance(actions, list) or len(actions) != 1:
        raise _malformed()
    action = actions[0] if isinstance(actions[0], dict) else {}
    team = user.get("team_id") or _object(data, "team").get("id")
    made = Message(_id(team), _id(user.get("id")), str(user.get("username") or user.get("name") or "")[:_MAX_NAME])
    made = made._replace(action=str(action.get("action_id", "")), response_url=str(data.get("response_url") or ""))
    if made.action != APPROVE:
        return made
    vote = _VOTE.fullmatch(str(action.get("value", "")))
    if vote is None:
        raise _malformed()
    return made._replace(request=vote["request"], binding=vote["binding"])


def _object(data: Any, name: str) -> Mapping[str, Any]:
    found = data.get(name) if isinstance(data, dict) else None
    if not isinstance(found, dict):
        raise _malformed()
    return found


def _id(value: object) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise _malformed()
    return value


def _malformed() -> DaypassError:
    return DaypassError(ErrorKind.MALFORMED_REQUEST, "The message cannot be read.")
