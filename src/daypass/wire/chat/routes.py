"""The path to which Slack posts clicks and commands: from a verified message to an operation and back.

Slack signs each message with the key of the channel's application. What cannot be verified is refused as any request. What
is refused later is answered with 200 and a text for the sender alone, because Slack shows nothing else.
"""

from __future__ import annotations

import asyncio
import json
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from daypass.domain.access.message import APPROVE
from daypass.domain.arn import is_account_id
from daypass.domain.directory import NotificationChannel, ReplayEntry, RequestState
from daypass.domain.errors import DaypassError, ErrorKind, Family
from daypass.operations.broker import chat
from daypass.operations.broker.chat import ChatUser
from daypass.operations.outcome import OWNER
from daypass.ports import Env, OutboundFailed
from daypass.wire.chat.message import Message, Signed, message_of, signed
from daypass.wire.front import Front, Progress, Refusal
from daypass.wire.http import Request, Response
from daypass.wire.json_errors import JSON_ERRORS, MEDIA_TYPE
from daypass.wire.routing import POST, Route

PREFIX: Final = "/chat/slack/"
RECEIVE: Final = "daypass:ReceiveChatMessage"
_APPROVE: Final = "daypass:ApproveAccessRequest"
_LINK: Final = "daypass:LinkChatUser"
_HOW: Final = "Send `link CODE` with a code from Daypass to link this chat user with you."
_ANSWER_SECONDS: Final = 2.0  # Slack shows an error after three
_LATER: Final = frozenset({Family.THROTTLED, Family.UNAVAILABLE})
_NO_KEY: Final = bytes(32)


def chat_routes(front: Front) -> tuple[Route, ...]:
    """One row: the path names the account and the channel."""
    return (Route(PREFIX, _Handler(front), "Clicks and commands in Slack", POST, JSON_ERRORS, RECEIVE),)


class _Verified(NamedTuple):
    """A message whose signature is right."""

    channel: NotificationChannel
    sender: ChatUser
    message: Message
    replay: ReplayEntry


class _Handler:
    def __init__(self, front: Front) -> None:
        self._front = front

    async def __call__(self, request: Request) -> Response:
        front, progress = self._front, Progress(request, RECEIVE)
        try:
            front.anonymous(progress)
            found = await _verified(front.env, request)
        except DaypassError as error:
            return await front.refuse(progress, error, JSON_ERRORS)
        progress.replays, progress.detail = (found.replay,), _detail(found)
        replayed = False
        try:
            text = await self._serve(progress, found)
            response = _shown(text, progress.operation)
        except DaypassError as error:
            if error.kind.family in _LATER:
                return await front.refuse(progress, error, JSON_ERRORS)
            replayed = error.private.get("reason") == "replay"
            error.private = {OWNER: found.channel.account, **error.private}
            text = error.public
            response = await front.refuse(progress, error, _EPHEMERAL)
        if response.status == 200 and not replayed:
            await _tell(front.env, found, text)
        return response

    async def _serve(self, progress: Progress, found: _Verified) -> str:
        """Does what the message says, and returns the answer."""
        message = found.message
        word, _, code = message.text.partition(" ")
        if message.action == APPROVE:
            progress.operation = _APPROVE
            return await self._approve(progress, found)
        if word == "link" and code:
            progress.operation = _LINK
            return await self._link(progress, found, code.strip())
        return "" if message.action else _HOW

    async def _approve(self, progress: Progress, found: _Verified) -> str:
        env, message = self._front.env, found.message
        caller = await chat.caller_of_chat(env, found.sender, env.clock.now())
        call = self._front.proven(progress, caller, 1.0)
        view = await chat.approve(env, call, found.sender, message.request, message.binding, found.replay)
        done = view.request.state is RequestState.APPROVED
        return "You approved the request. " + ("Access is granted." if done else "It needs a further approval.")

    async def _link(self, progress: Progress, found: _Verified, code: str) -> str:
        env = self._front.env
        caller = await chat.maker_of(env, found.sender, code, env.clock.now())
        call = self._front.proven(progress, caller, 1.0)
        await chat.link(env, call, found.sender, code, found.replay)
        return f"This chat user is linked with {caller.arn}."


async def _verified(env: Env, request: Request) -> _Verified:
    """Raises DaypassError: MISSING_CREDENTIALS, EXPIRED_CREDENTIALS, SIGNATURE_MISMATCH also for a channel that does not
    exist, MALFORMED_REQUEST.
    """
    proof = signed(request, env.clock.wall())
    account, _, name = request.raw_path[len(PREFIX) :].decode("latin-1").partition("/")
    known = await chat.channel_of(env, account, name) if is_account_id(account) and 0 < len(name) <= 64 else None
    right = proof.is_by(known[1] if known is not None else _NO_KEY)
    if known is None or not right:
        private = {OWNER: known[0].account} if known is not None else {}
        raise DaypassError(ErrorKind.SIGNATURE_MISMATCH, "The signature is not valid.", private=private)
    return _sent(env, known[0], known[1], proof, message_of(request))


def _sent(env: Env, channel: NotificationChannel, key: bytes, proof: Signed, message: Message) -> _Verified:
    sender = chat.chat_user(channel, key, message.team, message.user, message.name)
    return _Verified(channel, sender, message, proof.replay(channel.account, env.clock.now()))


def _detail(found: _Verified) -> dict[str, str]:
    detail = {"notification_channel": found.channel.name, "chat_user": found.sender.id}
    return {**detail, "request": found.message.request} if found.message.request else detail


# --- Answers -----------------------------------------------------------------------------------------------------------


def _shown(text: str, operation: str, code: str = "") -> Response:
    return Response(200, _ephemeral(text) if text else b"", MEDIA_TYPE, operation=operation, code=code)


def _ephemeral(text: str) -> bytes:
    return json.dumps({"response_type": "ephemeral", "replace_original": False, "text": text}).encode()


class _Ephemeral:
    """`front.ErrorFormat` of verified messages: only their sender sees the text. What can be tried again has a status."""

    def refused(self, request: Request, refusal: Refusal) -> Response:
        """See `front.ErrorFormat`."""
        if refusal.error.kind.family in _LATER:
            return JSON_ERRORS.refused(request, refusal)
        return _shown(refusal.error.public, refusal.operation, refusal.error.kind.value)

    def broken(self, request: Request) -> Response:
        """See `front.ErrorFormat`."""
        return JSON_ERRORS.broken(request)


_EPHEMERAL: Final = _Ephemeral()


async def _tell(env: Env, found: _Verified, text: str) -> None:
    """Sends the answer to a click, which Slack takes at another address. Nothing depends on its arrival."""
    url = found.message.response_url
    if not text or not url or urlsplit(url).netloc != urlsplit(found.channel.target).netloc:
        return
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            headers = {"content-type": "application/json"}
            await env.outbound.post(url, _ephemeral(text), headers, owner=found.channel.account)
    except (OutboundFailed, TimeoutError):
        return
