"""The paths to which chat services post clicks and commands: from a verified message to an operation and back.

A service signs each message with the key of the channel. Unverified messages are refused as any request. Later
refusals are answered with 200 and a text, because chat services show nothing else.
"""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from daypass.domain.arn import is_account_id
from daypass.domain.directory import NotificationChannel, ReplayEntry, RequestState
from daypass.domain.errors import DaypassError, ErrorKind, Family
from daypass.operations.access_requests import chat
from daypass.operations.access_requests.chat import ChatUser
from daypass.operations.outcome import OWNER
from daypass.ports import Env, OutboundFailed
from daypass.wire.chat_services import WINDOW_SECONDS, ChatMessage, ChatService, SignedMessage, Slack, Teams
from daypass.wire.front import ErrorFormat, Front, RecordedRefusal, RequestProgress
from daypass.wire.http import Request, Response
from daypass.wire.json_errors import JSON_ERRORS, MEDIA_TYPE
from daypass.wire.routing import POST, Route

RECEIVE: Final = "daypass:ReceiveChatMessage"
_SERVICES: Final[tuple[ChatService, ...]] = (Slack(), Teams())
_APPROVE: Final = "daypass:ApproveAccessRequest"
_LINK: Final = "daypass:LinkChatUser"
_ANSWER_SECONDS: Final = 2.0  # Slack shows an error after three
_LATER: Final = frozenset({Family.THROTTLED, Family.UNAVAILABLE})
_NO_KEY: Final = bytes(32)


def chat_routes(front: Front) -> tuple[Route, ...]:
    """A row for each service: the path names the account and the channel."""
    return tuple(
        Route(f"/chat/{service.kind}/", _Handler(front, service), service.summary, POST, JSON_ERRORS, RECEIVE)
        for service in _SERVICES
    )


class _Verified(NamedTuple):
    """A message whose signature is right."""

    channel: NotificationChannel
    sender: ChatUser
    message: ChatMessage
    replay: ReplayEntry


class _Handler:
    def __init__(self, front: Front, service: ChatService) -> None:
        self._front, self._service = front, service
        self._errors: ErrorFormat = _Answers(service)

    async def __call__(self, request: Request) -> Response:
        front, progress = self._front, RequestProgress(request, RECEIVE)
        try:
            front.anonymous(progress)
            found = await _verified(front.env, self._service, request)
        except DaypassError as error:
            return await front.refuse(progress, error, JSON_ERRORS)
        progress.replays, progress.detail = (found.replay,), _detail(found)
        replayed = False
        try:
            text = await self._serve(progress, found)
            response = _response(self._service, text, progress.operation)
        except DaypassError as error:
            if error.kind.family in _LATER:
                return await front.refuse(progress, error, JSON_ERRORS)
            replayed = error.private.get("reason") == "replay"
            error.private = {OWNER: found.channel.account, **error.private}
            text = error.public
            response = await front.refuse(progress, error, self._errors)
        if response.status == 200 and not replayed:
            await self._post_answer(found, text)
        return response

    async def _serve(self, progress: RequestProgress, found: _Verified) -> str:
        """Does what the message says, and returns the answer."""
        message = found.message
        if message.request:
            progress.operation = _APPROVE
            return await self._approve(progress, found)
        if message.link and message.code:
            progress.operation = _LINK
            return await self._link(progress, found, message.code)
        if message.link and self._service.bound_codes:
            return f"Your chat user is {found.sender.id}. Make a code for it in Daypass, and send `link CODE`."
        return "" if message.silent else self._service.how

    async def _approve(self, progress: RequestProgress, found: _Verified) -> str:
        env, message = self._front.env, found.message
        caller = await chat.caller_of_chat(env, found.sender, env.clock.now())
        call = self._front.proven(progress, caller, 1.0)
        view = await chat.approve(env, call, found.sender, message.request, message.binding, found.replay)
        done = view.request.state is RequestState.APPROVED
        return "You approved the request. " + ("Access is granted." if done else "It needs a further approval.")

    async def _link(self, progress: RequestProgress, found: _Verified, text: str) -> str:
        env = self._front.env
        code = chat.SentCode(text, bound=self._service.bound_codes)
        caller = await chat.maker_of(env, found.sender, code, env.clock.now())
        call = self._front.proven(progress, caller, 1.0)
        await chat.link(env, call, found.sender, code, found.replay)
        return f"This chat user is linked with {caller.arn}."

    async def _post_answer(self, found: _Verified, text: str) -> None:
        """Sends the answer to a click, which Slack takes at another address. Nothing depends on its arrival."""
        url = found.message.answer_url
        if not text or not url or urlsplit(url).netloc != urlsplit(found.channel.target).netloc:
            return
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                body, headers = self._service.answer(text), {"content-type": "application/json"}
                await self._front.env.outbound.post(url, body, headers, owner=found.channel.account)
        except (OutboundFailed, TimeoutError):
            return


async def _verified(env: Env, service: ChatService, request: Request) -> _Verified:
    """Raises DaypassError: MISSING_CREDENTIALS, EXPIRED_CREDENTIALS, SIGNATURE_MISMATCH also for a channel that does not
    exist, MALFORMED_REQUEST.
    """
    now = env.clock.wall()
    proof = service.signed(request, now)
    path = request.raw_path.decode("latin-1").removeprefix(f"/chat/{service.kind}/")
    account, _, name = path.partition("/")
    named = is_account_id(account) and 0 < len(name) <= 64
    known = await chat.channel_of(env, request.source, service.kind, account, name) if named else None
    right = proof.is_by(known[1] if known is not None else _NO_KEY)
    if known is None or not right:
        private = {OWNER: known[0].account} if known is not None else {}
        raise DaypassError(ErrorKind.SIGNATURE_MISMATCH, "The signature is not valid.", private=private)
    try:
        return _sent(env, known[0], known[1], proof, service.message_of(request, now))
    except DaypassError as error:
        error.private = {OWNER: known[0].account, **error.private}
        raise


def _sent(env: Env, channel: NotificationChannel, key: bytes, proof: SignedMessage, message: ChatMessage) -> _Verified:
    sender = chat.chat_user(channel, key, message.team, message.user, message.name)
    until = (message.at + 2 * WINDOW_SECONDS) * 1000  # longer than the message is accepted
    replay = ReplayEntry(channel.kind, proof.identity, channel.account, env.clock.now(), until)
    return _Verified(channel, sender, message, replay)


def _detail(found: _Verified) -> dict[str, str]:
    detail = {"notification_channel": found.channel.name, "chat_user": found.sender.id}
    return {**detail, "request": found.message.request} if found.message.request else detail


def _response(service: ChatService, text: str, operation: str, code: str = "") -> Response:
    return Response(200, service.answer(text) if text else b"", MEDIA_TYPE, operation=operation, code=code)


class _Answers:
    """`front.ErrorFormat` of verified messages: the text of a refusal. Refusals that can be tried again have a status."""

    def __init__(self, service: ChatService) -> None:
        self._service = service

    def refused(self, request: Request, refusal: RecordedRefusal) -> Response:
        if refusal.error.kind.family in _LATER:
            return JSON_ERRORS.refused(request, refusal)
        return _response(self._service, refusal.error.public, refusal.operation, refusal.error.kind.value)

    def broken(self, request: Request) -> Response:
        return JSON_ERRORS.broken(request)
