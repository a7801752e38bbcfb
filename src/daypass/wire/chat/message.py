"""What all chat services have in common: a signature, a message, and what reads and answers them."""

from __future__ import annotations

import hashlib
import hmac
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.wire.http import Request

WINDOW_SECONDS: Final = 300
"""A message that was sent longer ago, or later, is refused."""
MAX_NAME: Final = 80
_VOTE: Final = re.compile(r"(?P<request>[0-9a-f]{32})\.(?P<binding>[0-9a-f]{64})")


class Message(NamedTuple):
    """A message of a chat user.

    Attributes:
        at: seconds; when it was sent.
        team: the workspace, or the tenant. user: the id there. name: as the service says.
        link: the user wants to be linked. code: with this code; "" without one.
        request, binding: of an approval; "" otherwise.
        silent: what was done needs no answer.
        answer_url: where the answer is sent; "": it is the response.
    """

    at: int
    team: str
    user: str
    name: str
    link: bool = False
    code: str = ""
    request: str = ""
    binding: str = ""
    silent: bool = False
    answer_url: str = ""

    def approving(self, vote: str) -> Message:
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
        """What identifies the message, so that it is taken once."""
        return hashlib.sha256(self.signature).hexdigest()


class Service(Protocol):
    """A chat service.

    Attributes:
        kind: of its channels, and a part of its path.
        bound_codes: a code links only the chat user for whom it was made, because others can read it in the chat.
        how: what can be sent.
    """

    kind: str
    summary: str
    bound_codes: bool
    how: str

    @abstractmethod
    def signed(self, request: Request, now: int) -> SignedMessage:
        """The signature of a request; `now` in ms. Raises DaypassError: MISSING_CREDENTIALS, EXPIRED_CREDENTIALS."""

    @abstractmethod
    def message_of(self, request: Request, now: int) -> Message:
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
