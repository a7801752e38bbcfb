"""sts:AssumeRoleWithWebIdentity: the bearer of an issuer's token borrows a role. It is the whole story, in order.

The call is unsigned: the token is the proof. The role's account must have a provider for the token's issuer, whose keys
verify it; then the role's trust policy decides over its claims. Whoever brings a token that nobody signed learns nothing
of the account, not even whether it exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from daypass.domain.arn import assumed_role_arn
from daypass.domain.directory import OidcProvider
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.proof import Proof
from daypass.domain.web_identity import no_provider
from daypass.operations.assume_role import requested_role, session_request
from daypass.operations.authorize import feed_moved
from daypass.operations.federate import assume_with_proof
from daypass.operations.issue import Issued, SessionRequest, start
from daypass.operations.issuers import may_be_trusted
from daypass.operations.outcome import OWNER
from daypass.ports import Call, Env, RoleView, TokenVerifier

ACTION: Final = "sts:AssumeRoleWithWebIdentity"


async def assume_role_with_web_identity(env: Env, call: Call, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """AssumeRoleWithWebIdentity (AWS STS API 2011-06-15). `params` and the answer are in the service model's member names."""
    role = requested_role(params["RoleArn"])
    request = session_request(params, params["RoleSessionName"])
    started = start(env)
    try:
        proof = await verified_proof(env, role.account, params, started.now)
    except DaypassError as error:
        raise _owned(error, role.account) from None
    asked = _with_wishes(request, proof)
    issued, view = await assume_with_proof(env, call, proof, role, asked, started, action=ACTION)
    return _answer(issued, view, proof)


async def verified_proof(env: Env, account: str, params: Mapping[str, Any], now: int) -> Proof:
    """What a provider of `account` (12 digits) says in the token of `params`, at `now` (ms).

    Raises DaypassError: INVALID_IDENTITY_TOKEN, EXPIRED_IDENTITY_TOKEN, IDP_REJECTED_CLAIM, IDP_COMMUNICATION.
    """
    tokens = _verifier(env)
    if provider_id := params.get("ProviderId"):  # access tokens of AWS's two built-in issuers; they are not here
        raise no_provider(provider_id, account, "ProviderId names an OAuth 2.0 issuer, of which there are none")
    token = tokens.read(params["WebIdentityToken"])
    provider = await _provider(env, account, token.unverified_url)
    if provider is None:
        raise no_provider(token.unverified_issuer, account, "the account has no provider with this URL")
    if not await may_be_trusted(env, account, provider.url):
        raise no_provider(token.unverified_issuer, account, "the issuer is not on the account's allow-list")
    try:
        return await tokens.verify(provider, token, now)
    except DaypassError:  # never a refusal by what a provider was a second ago
        moved = await feed_moved(env)
        again = await env.directory.oidc_provider(account, token.unverified_url) if moved else provider
        if again is None or again == provider:
            raise
        return await tokens.verify(again, token, now)


def _verifier(env: Env) -> TokenVerifier:
    if env.tokens is None:
        raise DaypassError(ErrorKind.UNSUPPORTED_OPERATION, "Tokens of identity providers are not taken here.")
    return env.tokens


async def _provider(env: Env, account: str, unverified_url: str) -> OidcProvider | None:
    provider = await env.directory.oidc_provider(account, unverified_url)
    if provider is None and await feed_moved(env):
        provider = await env.directory.oidc_provider(account, unverified_url)
    return provider


def _owned(error: DaypassError, account: str) -> DaypassError:
    """The same refusal on the record of the account whose role was asked for."""
    return DaypassError(error.kind, error.public, private={"reason": error.public, **error.private, OWNER: account})


def _with_wishes(request: SessionRequest, proof: Proof) -> SessionRequest:
    return replace(
        request, tags=proof.tags, transitive_keys=proof.transitive_keys, source_identity=proof.source_identity
    )


def _answer(issued: Issued, view: RoleView, proof: Proof) -> dict[str, Any]:
    claims, role = issued.claims, view.role
    answer: dict[str, Any] = {
        "Credentials": issued.credentials(),
        "SubjectFromWebIdentityToken": proof.subject,
        "AssumedRoleUser": {
            "AssumedRoleId": f"{role.id}:{claims.name}",
            "Arn": assumed_role_arn(role.account, role.name, claims.name),
        },
        "PackedPolicySize": issued.utilization,
        "Provider": proof.provider,
        "Audience": proof.audience,
        **issued.sizes(),
    }
    if claims.source_identity:
        answer["SourceIdentity"] = claims.source_identity
    return answer
