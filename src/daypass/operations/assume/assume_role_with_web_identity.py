"""sts:AssumeRoleWithWebIdentity: the holder of an issuer's token assumes a role.

The call is unsigned: the token is the proof. The role's account must have a provider for the token's issuer, whose keys
verify it; then the role's trust policy decides over its claims. The sender of a token without a valid signature learns
nothing of the account, not even whether it exists.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from daypass.domain.claims import Proof
from daypass.domain.directory import OidcProvider
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.web_identity import no_provider
from daypass.operations.assume.applicant import proven_applicant, snapshot
from daypass.operations.assume.assume import assume
from daypass.operations.assume.forms import Form
from daypass.operations.assume.issue import Issued
from daypass.operations.assume.request import AssumeRequest, SessionRequest, requested_role
from daypass.operations.outcome import OWNER
from daypass.operations.principals import find_current, refresh_if_changed
from daypass.operations.providers.settings import may_be_trusted
from daypass.ports import Call, Env

C = TypeVar("C")

ACTION: Final = "sts:AssumeRoleWithWebIdentity"


class Federated(Struct, Generic[C], frozen=True):
    """A session, and the proof for which it was issued."""

    issued: Issued[C]
    proof: Proof


async def assume_role_with_web_identity(
    env: Env,
    call: Call,
    role_arn: str,
    unverified_token: str,
    session: SessionRequest,
    form: Form[C],
    provider_id: str = "",
) -> Federated[C]:
    """AssumeRoleWithWebIdentity (AWS STS API). The token determines the session's tags and source identity."""
    role = requested_role(role_arn)
    start = snapshot(env)
    try:
        proof = await verified_proof(env, role.account, unverified_token, start.now, provider_id)
    except DaypassError as error:
        raise owned(error, role.account) from None
    request = AssumeRequest(role_arn, with_attributes(session, proof), action=ACTION)
    return Federated(await assume(env, proven_applicant(call, proof, start), request, form), proof)


async def verified_proof(
    env: Env,
    account: str,
    unverified_token: str,
    now: int,
    provider_id: str = "",
    *,
    identity_assertion: bool = False,
) -> Proof:
    """The content of a token of a provider of `account` (12 digits), at `now` (ms).

    `identity_assertion`: see `federation.oidc.OidcVerifier.verify`.

    Raises DaypassError: INVALID_IDENTITY_TOKEN, EXPIRED_IDENTITY_TOKEN, IDP_REJECTED_CLAIM, IDP_COMMUNICATION.
    """
    if provider_id:  # access tokens of AWS's two built-in issuers, which do not exist here
        raise no_provider(provider_id, account, "the request names an OAuth 2.0 provider, and there are none")
    token = env.tokens.read(unverified_token)
    if token.unverified_issuer == env.oauth.issuer:  # a new chain would evade revocations (A131)
        message = "Access tokens of this server are exchanged at its token endpoint, and nowhere else."
        raise DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, message)
    provider = await _provider(env, account, token.unverified_url)
    if provider is None:
        raise no_provider(token.unverified_issuer, account, "the account has no provider with this URL")
    if not await may_be_trusted(env, account, provider.url):
        raise no_provider(token.unverified_issuer, account, "the issuer is not on the account's allow-list")
    try:
        proof = await env.tokens.verify(provider, token, now, identity_assertion=identity_assertion)
    except DaypassError:  # never refuse by an earlier version of the provider
        moved = await refresh_if_changed(env)
        again = await env.directory.entity(OidcProvider, account, token.unverified_url) if moved else provider
        if again is None or again == provider:
            raise
        provider, proof = again, await env.tokens.verify(again, token, now, identity_assertion=identity_assertion)
    if (
        await env.directory.entity(OidcProvider, account, token.unverified_url) != provider
    ):  # keys may be fetched for long
        raise no_provider(token.unverified_issuer, account, "the provider was changed or deleted meanwhile")
    return proof


def with_attributes(session: SessionRequest, proof: Proof) -> SessionRequest:
    """The request with the tags and source identity of the proof."""
    return replace(
        session, tags=proof.tags, transitive_keys=proof.transitive_keys, source_identity=proof.source_identity
    )


def owned(error: DaypassError, account: str) -> DaypassError:
    """The same refusal, on the record of the account that owns the requested role."""
    return DaypassError(error.kind, error.public, private={"reason": error.public, **error.private, OWNER: account})


async def _provider(env: Env, account: str, unverified_url: str) -> OidcProvider | None:
    return await find_current(env, lambda: env.directory.entity(OidcProvider, account, unverified_url))
