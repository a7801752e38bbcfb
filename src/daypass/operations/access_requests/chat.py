"""Votes from a chat: which user of a chat service is which user of Daypass.

A chat user is known by the key of the application that signs its messages, its workspace, and its id there. Another key
gives another user: whoever can replace the key of a channel cannot speak for those who were linked before. A person links
a chat user with a one-time code, which Daypass shows after MFA and the person sends from the chat. A vote from a chat proves no MFA;
`vote` accepts it only for requests whose rules allow it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from daypass.domain.arn import Source
from daypass.domain.claims import Caller
from daypass.domain.directory import ChatLink, NotificationChannel, ReplayEntry, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.policy.model import Decision
from daypass.operations import notifications
from daypass.operations.access_requests.view import RequestView
from daypass.operations.access_requests.vote import ChatVote, Vote, vote
from daypass.operations.assume.request import consume
from daypass.operations.authenticate import caller_of_sign_in
from daypass.operations.grants.persons import is_disabled
from daypass.operations.management import allow_own
from daypass.operations.outcome import OWNER, served
from daypass.operations.sign_in.devices import OWN, Whose, user_of
from daypass.operations.sign_in.ticket import seal, unseal
from daypass.ports import Call, Env, Reader, Tx

SERVICES: Final = ("slack", "teams")
"""The kinds of channels over which people can vote."""
METHOD: Final = "chat"
CODE_MS: Final = 600_000
MAX_LINKS: Final = 10
_PURPOSE: Final = "chat-code"
_DAY_MS: Final = 86_400_000
_NOT_LINKED: Final = "Your chat user is not linked with a user of Daypass, or that user is disabled. Make a code in Daypass, and send it here."
_CHAT_USER: Final = re.compile(rf"(?:{'|'.join(SERVICES)}):[0-9a-f]{{16}}:[0-9A-Za-z-]{{2,64}}:[0-9A-Za-z-]{{2,64}}")
_OTHERS_CODE: Final = (
    "The code was not made for this chat user. Send `link` here, and make a code for the chat user that is shown."
)
_BAD_CODE: Final = "The code is not valid any more. Make a new one in Daypass."


class ChatUser(NamedTuple):
    """A chat user whose message was verified. `id`: see `ChatLink`; `name`: as the chat service says."""

    account: str
    id: str
    name: str


class SentCode(NamedTuple):
    """A code as a chat user sent it. `bound`: others can read it, so it must have been made for its sender."""

    unverified: str
    bound: bool


class _Code(Struct, frozen=True):
    """Who made a code. Sealed in it. `chat_user`: who alone can use it; "": whoever sends it."""

    account: str
    user_id: str
    nonce: str
    expires_at: int  # ms
    chat_user: str = ""


_read_code = msgspec.json.Decoder(_Code).decode


def chat_user(channel: NotificationChannel, key: bytes, team: str, user: str, name: str) -> ChatUser:
    """The user of a workspace, in messages that are signed with `key`."""
    fingerprint = hashlib.sha256(b"daypass chat key\0" + key).hexdigest()[:16]
    return ChatUser(channel.account, f"{channel.kind}:{fingerprint}:{team}:{user}", name)


async def channel_of(
    env: Env, source: Source, kind: str, account: str, name: str
) -> tuple[NotificationChannel, bytes] | None:
    """A channel of this kind that takes votes, with the key that signs its messages; None for any other."""
    channel = await env.directory.read(
        lambda tx: tx.get(NotificationChannel, account=account, name=name), account=source.lane
    )
    if channel is None or channel.kind != kind or not channel.sealed_secret:
        return None
    return channel, notifications.secret_of(env, channel)


# --- Links -------------------------------------------------------------------------------------------------------------


async def create_code(env: Env, call: Call, for_chat_user: str = "") -> str:
    """daypass:CreateChatCode: a code that links the chat user who sends it, once, with the caller.

    A caller needs no permission, but MFA at most 15 minutes old. `for_chat_user`: who alone can use it; "": anyone, where
    messages are private. Raises DaypassError: ACCESS_DENIED, VALIDATION.
    """
    user, decision = await user_of(env, call, OWN, "CreateChatCode")
    if for_chat_user and not _CHAT_USER.fullmatch(for_chat_user):
        raise DaypassError(ErrorKind.VALIDATION, "A chat user is SERVICE:KEY:WORKSPACE:USER, as the chat shows it.")
    detail = {"chat_user": for_chat_user} if for_chat_user else {}
    await env.journal.commit(served(call, decision=decision, detail=detail))
    return seal(env, _PURPOSE, _Code(user.account, user.id, env.ids.session(), call.now + CODE_MS, for_chat_user))


async def services_of(env: Env, account: str) -> frozenset[str]:
    """The chat services of the account's channels that take votes."""
    channels = await env.directory.read(
        lambda tx: tx.find(NotificationChannel, account=account, order="name"), account=account
    )
    return frozenset(each.kind for each in channels if each.kind in SERVICES and each.sealed_secret)


async def list_links(env: Env, call: Call, whose: Whose = OWN) -> list[ChatLink]:
    """daypass:ListChatLinks on `user/NAME`; one's own need no permission. Raises DaypassError: ACCESS_DENIED, NOT_FOUND."""
    user, decision = await user_of(env, call, whose, "ListChatLinks", fresh=False)
    links = await env.directory.read(lambda tx: links_of(tx, user), account=call.caller.account)
    await env.journal.commit(served(call, account=user.account, decision=decision, detail={"user": user.arn}))
    return links


async def delete_link(env: Env, call: Call, link_id: str, whose: Whose = OWN) -> None:
    """daypass:DeleteChatLink on `user/NAME`; one's own needs no permission. Raises DaypassError: ACCESS_DENIED, NOT_FOUND."""
    user, decision = await user_of(env, call, whose, "DeleteChatLink", fresh=False)

    def change(tx: Tx) -> tuple[None, Event]:
        found = tx.get(ChatLink, account=user.account, id=link_id)
        if found is None or found.user_id != user.id:
            raise DaypassError(ErrorKind.NOT_FOUND, "The chat user is not linked.")
        tx.delete(found)
        detail = {"user": user.arn, "chat_user": link_id, "deleted": True}
        return None, _changed(call, user.account, detail, decision)

    await env.journal.write(change, account=call.caller.account)


def links_of(tx: Reader, user: User) -> list[ChatLink]:
    """The chat users of a user, by id."""
    return tx.find(ChatLink, account=user.account, user_id=user.id, order="id", limit=MAX_LINKS)


async def maker_of(env: Env, sender: ChatUser, sent: SentCode, now: int) -> Caller:
    """The user who made a code. Raises DaypassError(INVALID_IDENTITY_TOKEN)."""
    code = _opened(env, sender, sent, now)
    return await _caller(env, sender, lambda tx: tx.get(User, id=code.user_id), now)


def _opened(env: Env, sender: ChatUser, sent: SentCode, now: int) -> _Code:
    code = unseal(env, _PURPOSE, sent.unverified, _read_code)
    private = {OWNER: sender.account, "chat_user": sender.id}
    if code is None or code.account != sender.account or now >= code.expires_at:
        raise DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, _BAD_CODE, private={**private, "reason": "chat code"})
    if code.chat_user not in ((sender.id,) if sent.bound else ("", sender.id)):
        private["reason"] = "chat code for another chat user"
        raise DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, _OTHERS_CODE, private=private)
    return code


async def link(env: Env, call: Call, sender: ChatUser, sent: SentCode, replay: ReplayEntry) -> None:
    """daypass:LinkChatUser: links the sender of a code with its maker, the caller. `replay`: consumed with it.

    Raises DaypassError: ACCESS_DENIED, INVALID_IDENTITY_TOKEN, ALREADY_EXISTS when the sender is another user's, LIMIT_EXCEEDED.
    """
    code = _opened(env, sender, sent, call.now)
    if code.user_id != call.caller.principal_id:
        raise DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, _BAD_CODE, private={"reason": "chat code"})
    decision = await allow_own(env, call, "LinkChatUser", "user", call.caller.name)

    def change(tx: Tx) -> tuple[None, Event]:
        consume(tx, replay)
        consume(tx, ReplayEntry(_PURPOSE, code.nonce, sender.account, call.now, code.expires_at + _DAY_MS))
        if tx.get(ChatLink, account=sender.account, id=sender.id) is not None:
            raise DaypassError(
                ErrorKind.ALREADY_EXISTS, "This chat user is linked already. Its link can be removed in Daypass."
            )
        if tx.count(ChatLink, account=sender.account, user_id=code.user_id) >= MAX_LINKS:
            raise DaypassError(ErrorKind.LIMIT_EXCEEDED, f"A user has at most {MAX_LINKS} chat users.")
        tx.insert(ChatLink(sender.account, sender.id, code.user_id, sender.name, call.now))
        return None, _changed(call, sender.account, {"user": call.caller.arn, "chat_user": sender.id}, decision)

    await env.journal.write(change, account=sender.account)


def _changed(call: Call, account: str, detail: Mapping[str, Any], decision: Decision) -> Event:
    return served(call, kind=EventType.DIRECTORY_CHANGED, account=account, decision=decision, detail=detail)


# --- Votes -------------------------------------------------------------------------------------------------------------


async def caller_of_chat(env: Env, sender: ChatUser, now: int) -> Caller:
    """The user who is linked with the sender. Raises DaypassError(ACCESS_DENIED)."""

    def linked(tx: Reader) -> User | None:
        found = tx.get(ChatLink, account=sender.account, id=sender.id)
        return tx.get(User, id=found.user_id) if found is not None else None

    return await _caller(env, sender, linked, now)


async def _caller(env: Env, sender: ChatUser, find: Callable[[Reader], User | None], now: int) -> Caller:
    seen = env.directory.seen()
    user = await env.directory.read(lambda tx: _enabled(tx, find(tx)), account=sender.account)
    private = {OWNER: sender.account, "chat_user": sender.id}
    if user is None or user.account != sender.account:
        raise DaypassError(ErrorKind.ACCESS_DENIED, _NOT_LINKED, private={**private, "reason": "not linked"})
    caller = caller_of_sign_in(user, now, seen, METHOD)
    block = env.directory.blocked(caller.hops, "", now)
    if block is not None:
        private |= {"reason": "blocked", "revocation": block.id}
        raise DaypassError(ErrorKind.ACCESS_DENIED, _NOT_LINKED, private=private)
    return caller


def _enabled(tx: Reader, user: User | None) -> User | None:
    return None if user is None or is_disabled(tx, (user.id,)) else user


async def approve(
    env: Env, call: Call, sender: ChatUser, request_id: str, binding: str, replay: ReplayEntry
) -> RequestView:
    """The caller approves in the chat what the message showed. `replay`: consumed with the vote. Errors: see `vote`."""
    sent = Vote(binding, approve=True, chat=ChatVote(sender.id, replay))
    return await vote(env, call, sender.account, request_id, sent)
