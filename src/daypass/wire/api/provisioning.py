"""The paths of SCIM tokens. SCIM itself is at /scim/v2/."""

from __future__ import annotations

from pydantic import Field

from daypass.operations.scim import tokens
from daypass.wire.api import schemas as s
from daypass.wire.api.router import new_router

router = new_router()


class ScimTokenIn(s.In):
    name: str = Field(min_length=1, max_length=64)
    user: str = Field(min_length=1, max_length=64, description="The user who is the principal of SCIM requests.")
    days: int = Field(180, strict=True, ge=1, le=tokens.MAX_DAYS)


class ScimTokenOut(s.EntityOut):
    name: str
    user_id: str
    created_at: int
    expires_at: int


class NewScimTokenOut(s.Out):
    scim_token: ScimTokenOut
    token: str = Field(description="Only this answer has it.")
    url: str = Field(description="The base URL for the directory's settings.")


class ScimTokensOut(s.Out):
    scim_tokens: list[ScimTokenOut]


@router.post("/scim-tokens", name="CreateScimToken", tags=["SCIM"], status_code=201)
async def create_scim_token(env: s.EnvDep, call: s.CallDep, body: ScimTokenIn) -> NewScimTokenOut:
    """Makes a bearer token. Its user needs daypass:Provision on `directory/scim`."""
    token, secret = await tokens.create_token(env, call, body.name, body.user, body.days)
    url = env.limits.public_url.rstrip("/") + "/scim/v2"
    return NewScimTokenOut(scim_token=ScimTokenOut.of(token), token=secret, url=url)


@router.get("/scim-tokens", name="ListScimTokens", tags=["SCIM"])
async def list_scim_tokens(env: s.EnvDep, call: s.CallDep) -> ScimTokensOut:
    """The tokens of your account, by name."""
    return ScimTokensOut(scim_tokens=[ScimTokenOut.of(each) for each in await tokens.list_tokens(env, call)])


@router.delete("/scim-tokens/{name}", name="DeleteScimToken", tags=["SCIM"], status_code=204)
async def delete_scim_token(env: s.EnvDep, call: s.CallDep, name: s.IdPath) -> None:
    """Deletes a token. It is refused within a second everywhere."""
    await tokens.delete_token(env, call, name)
