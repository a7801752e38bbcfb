"""The paths of chat users who may vote as a user. Chat services post their messages to /chat/."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import Field

from daypass.operations.broker import chat
from daypass.operations.sign_in.devices import Whose
from daypass.wire.api import schemas as s
from daypass.wire.api.router import new_router

router = new_router()
_UserQuery = Annotated[str, Query(max_length=64, description="Name of a user; empty: you.")]


class ChatCodeIn(s.In):
    chat_user: str = Field(
        "",
        max_length=256,
        description="The only chat user who can use the code; empty: whoever sends it. Teams takes only codes for its sender.",
    )


class ChatCodeOut(s.Out):
    code: str = Field(description="Send `link CODE` from the chat within ten minutes. Give it to nobody.")
    expires_at: int


class ChatUserOut(s.EntityOut):
    id: str = Field(description="The service, the key of its application, the workspace and the user there.")
    name: str = Field(description="As the chat service named the user.")
    created_at: int


class ChatUsersOut(s.Out):
    chat_users: list[ChatUserOut]


@router.post("/chat-codes", name="CreateChatCode", tags=["notifications"], status_code=201)
async def create_chat_code(env: s.EnvDep, call: s.CallDep, body: ChatCodeIn | None = None) -> ChatCodeOut:
    """Makes a code that links a chat user with you. Your session's MFA is at most 15 minutes old."""
    return ChatCodeOut(
        code=await chat.create_code(env, call, body.chat_user if body else ""), expires_at=call.now + chat.CODE_MS
    )


@router.get("/chat-users", name="ListChatLinks", tags=["notifications"])
async def list_chat_users(
    env: s.EnvDep, call: s.CallDep, user: _UserQuery = "", account: s.AccountQuery = ""
) -> ChatUsersOut:
    """The chat users who may vote as a user. Your own need no permission."""
    links = await chat.list_links(env, call, Whose(user, account))
    return ChatUsersOut(chat_users=[ChatUserOut.of(each) for each in links])


@router.delete("/chat-users/{chat_user_id}", name="DeleteChatLink", tags=["notifications"], status_code=204)
async def delete_chat_user(
    env: s.EnvDep, call: s.CallDep, chat_user_id: s.IdPath, user: _UserQuery = "", account: s.AccountQuery = ""
) -> None:
    """Removes the link of a chat user. Your own need no permission."""
    await chat.delete_link(env, call, chat_user_id, Whose(user, account))
