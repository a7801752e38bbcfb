"""Tests trust policies over the management API: would this token be admitted? Nothing is decided or stored here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from daypass.operations.access.trust_test import try_token
from daypass.wire.api import schemas as s
from daypass.wire.api.router import new_router

router = new_router()


class TrustTestIn(s.In):
    role: str = Field(min_length=1, max_length=64, description="The role's name.")
    token: str = Field(min_length=4, max_length=20_000, description="A JWT of an identity provider. It is not kept.")


class TrustTestOut(s.EntityOut):
    let_in: bool = Field(description="Whether the token can assume the role.")
    role: str
    provider: str = Field(description="The ARN that the token's issuer has, or would have, in the account.")
    problem: str = Field(description="Why the token itself is refused; empty if it is accepted.")
    reason: str = Field(description="More about that, which otherwise only the record has.")
    admitted: bool = Field(description="Whether the trust policy admits these claims, verified or not.")
    keys: Mapping[str, str | list[str]]
    explanation: Mapping[str, Any]


@router.post("/trust/test", name="TestTrust", tags=["policies"])
async def test_trust(env: s.EnvDep, call: s.CallDep, body: TrustTestIn) -> TrustTestOut:
    """Compares a token with a role's trust policy, claim by claim. No session is issued, and no one-time token is
    consumed.
    """
    return TrustTestOut.of(await try_token(env, call, body.role, body.token))
