"""Whether the audience of an access token is a role or user of this installation, by ARN."""

from __future__ import annotations

from daypass.domain.claims import Caller, PrincipalKind
from daypass.operations.oauth.access_token import OwnToken
from daypass.ports import Env


async def is_for(env: Env, token: OwnToken, caller: Caller) -> bool:
    """Whether the ARN of the caller's role or user is an audience of the token.

    A role that was created after the token was issued is not its audience, even if it has the same ARN (attack A55).
    """
    if caller.principal_arn not in token.audiences:
        return False
    created_at = await _created_at(env, caller)
    return created_at is not None and created_at <= token.issued_at


async def _created_at(env: Env, caller: Caller) -> int | None:
    """When the caller's role or user was created (ms); None for other principals."""
    if caller.kind is PrincipalKind.ROLE_SESSION:
        role = await env.directory.role_by_id(caller.principal_id)
        return role.role.created_at if role is not None else None
    if caller.kind is PrincipalKind.USER:
        user = await env.directory.user(caller.principal_id)
        return user.entity.created_at if user is not None else None
    return None
