"""Authorizes one action: collects the caller's policy layers and decides.

Policies are read live, by unique id. A stale cache never causes a refusal: the change feed is polled once and, if it
moved, the decision is made again. A session is trusted only for what was sealed into it. If the text of a managed
session policy is no longer stored, its whole level allows nothing.

Every operation asks here, also one that needs no permission (`Own`): a policy can always deny it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum
from functools import cache
from typing import TypeVar

from msgspec import structs

from daypass.domain.arn import account_of
from daypass.domain.claims import Caller
from daypass.domain.context import merged, principal_facts, request_context, resource_context
from daypass.domain.errors import DaypassError, ErrorKind, ignored
from daypass.domain.oauth.client import BUILT_IN
from daypass.domain.policy.document import PolicyKind, compile_stored
from daypass.domain.policy.evaluate import evaluate
from daypass.domain.policy.explain import denial_message
from daypass.domain.policy.layers import Layers, NamedPolicy
from daypass.domain.policy.model import AccessQuery, Decision, Value
from daypass.domain.session import PASSWORD, SessionClaims, SessionKind, scope_downs
from daypass.domain.trust import CallerPolicies
from daypass.operations.decide import decide, explained, is_large, of_layers
from daypass.operations.outcome import OWNER
from daypass.operations.principals import SizedCache
from daypass.ports import Call, Env

T = TypeVar("T")

_SESSION_POLICIES = 2_000_000  # characters of cached session policies, per process
_INVALID_TOKEN = "The security token included in the request is invalid"

# AWS page "Compare AWS STS credentials": which STS operations each kind of temporary credentials may call.
_STS_FOR_ALL = frozenset({"sts:GetCallerIdentity", "sts:GetScopedCredentials", "sts:GetDelegatedAccessToken"})
_STS_OF: Mapping[SessionKind, frozenset[str]] = {
    SessionKind.USER: _STS_FOR_ALL | {"sts:AssumeRole", "sts:GetWebIdentityToken", "sts:TagGetWebIdentityToken"},
    SessionKind.FEDERATED: _STS_FOR_ALL,
}
_LONG_TERM_ONLY = frozenset({"sts:GetSessionToken", "sts:GetFederationToken"})
_DECODE = "sts:DecodeAuthorizationMessage"


class Own(Enum):
    """Why an operation needs no permission, and what can withhold it all the same."""

    RESOURCE = "resource"
    """It is on the caller's own resource: an implicit policy of the caller allows it. Denies, guardrails, boundary and session
    policies apply. Applications and actors have no such policy: who consents to a role, or delegates, gives nothing else.
    """
    RESTRICTED = "restricted"
    """Its result is bound by the policies of the caller, so they need not allow the operation itself: a session makes a
    narrower one. Denies and guardrails apply.
    """


async def authorize(
    env: Env,
    call: Call,
    action: str,
    resource: str,
    *,
    context: Mapping[str, Value] | None = None,
    resource_policy: NamedPolicy | None = None,
    bindings: Mapping[str, str] | None = None,
    shown: str = "",
) -> Decision:
    """Returns the decision if the caller may do `action` ("iam:CreateRole") on `resource` (an ARN, or "*").

    `context`: further context keys, lower-cased; they override the global ones. `resource_policy` and `bindings`: the
    policy of the resource, if it has one. `shown`: the name of the resource in a denial, if not its ARN. Raises
    DaypassError(ACCESS_DENIED) with AWS's message and the explanation.
    """
    account = account_of(resource) or call.caller.account
    same_account = account == call.caller.account

    def layers(policies: CallerPolicies) -> Layers:
        return policies.layers(same_account=same_account, resource=resource_policy, bindings=bindings)

    keys = merged(request_context(call.caller, call.facts, call.now), resource_context(account), context or {})
    return await _decided(env, call, AccessQuery(principal_facts(call.caller), action, resource, keys), layers, shown)


async def authorize_own(env: Env, call: Call, action: str, resource: str, own: Own = Own.RESOURCE) -> Decision:
    """As `authorize`, for an operation that needs no permission. `resource`: one of the caller's account, or "*"."""
    keys = merged(request_context(call.caller, call.facts, call.now), resource_context(call.caller.account))
    query = AccessQuery(principal_facts(call.caller), action, resource, keys)
    session = call.caller.session
    implicit = own is Own.RESTRICTED or session is None or session.client_id in ("", *BUILT_IN)

    def layers(policies: CallerPolicies) -> Layers:
        found = policies.layers(same_account=True)
        return _with_own(found, own) if implicit else found

    return await _decided(env, call, query, layers)


async def _decided(
    env: Env, call: Call, query: AccessQuery, layers: Callable[[CallerPolicies], Layers], shown: str = ""
) -> Decision:
    check_credentials(call.caller, query.action)
    used = layers(await layers_for(env, call.caller))
    decision, explanation = await decide(env, call.caller.account, query, used)
    if not decision.allowed and await refresh_if_changed(env):
        used = layers(await layers_for(env, call.caller))
        decision, explanation = await decide(env, call.caller.account, query, used)
    if decision.allowed:
        return decision
    message = denial_message(query, decision, call.caller.arn, shown)
    raise DaypassError(
        ErrorKind.ACCESS_DENIED,
        message.replace(" on resource: *", "", 1) if query.resource == "*" else message,  # AWS's wording
        private={OWNER: call.caller.account, "resource": query.resource},
        explanation=explanation or await explained(env, call.caller.account, query, used),
    )


def _with_own(layers: Layers, own: Own) -> Layers:
    allowed = _own()
    layers = structs.replace(layers, identity=(*(layers.identity or ()), allowed))
    if own is Own.RESOURCE:
        return layers
    boundary = layers.boundary if layers.boundary is None else (*layers.boundary, allowed)
    return structs.replace(layers, boundary=boundary, session=tuple((*level, allowed) for level in layers.session))


async def would_allow(env: Env, call: Call, questions: Sequence[tuple[str, str]]) -> list[bool]:
    """Whether the policies of the caller allow each action on its resource, for a menu: nobody relies on the answers, and
    they are not recorded. Policies that are expensive to match are not asked: all answers are then true.
    """
    caller, policies = call.caller, await layers_for(env, call.caller)
    layers, facts = policies.layers(same_account=True), principal_facts(caller)
    keys = merged(request_context(caller, call.facts, call.now), resource_context(caller.account))
    if is_large(of_layers(layers), lambda: keys):
        return [True] * len(questions)
    answers = []
    for action, resource in questions:
        await asyncio.sleep(0)  # lets other requests run between two decisions (attack A314)
        query = AccessQuery(facts, action, resource, keys)
        answers.append(_may_call(caller, action) and evaluate(query, layers).allowed)
    return answers


def _may_call(caller: Caller, action: str) -> bool:
    try:
        check_credentials(caller, action)
    except DaypassError:
        return False
    return True


def check_credentials(caller: Caller, action: str) -> None:
    """Refuses the operations that AWS does not let this kind of temporary credentials call, whatever the policies say.

    For GetSessionToken credentials without MFA, and those of federated users, IAM's error is the one for unknown
    credentials.
    """
    session = caller.session
    if session is None:
        return
    allowed = _STS_OF.get(session.kind)
    service, _, operation = action.partition(":")
    explains = action == _DECODE and session.auth_method == PASSWORD  # people read explanations in the console
    if action in _LONG_TERM_ONLY or (
        service == "sts" and allowed is not None and action not in allowed and not explains
    ):
        raise DaypassError(
            ErrorKind.ACCESS_DENIED,
            f"Cannot call {operation} with session credentials",
            private={"reason": "kind of credentials", "session_kind": session.kind.value},
        )
    signed_in = bool(caller.mfa_at) or session.auth_method == PASSWORD  # as in AWS's console
    if service == "iam" and allowed is not None and not (session.kind is SessionKind.USER and signed_in):
        raise DaypassError(
            ErrorKind.UNKNOWN_CREDENTIALS,
            _INVALID_TOKEN,
            private={"reason": "IAM takes these credentials only with MFA", "session_kind": session.kind.value},
        )


async def refresh_if_changed(env: Env) -> bool:
    """Polls the change feed before a refusal. While the database is unavailable, the cached state is used."""
    with ignored(ErrorKind.UNAVAILABLE):
        return await env.directory.refresh()
    return False


async def find_current(env: Env, find: Callable[[], Awaitable[T | None]]) -> T | None:
    """Looks up by `find` in the cached directory, and if nothing is found again after a poll: a stale cache refuses nothing."""
    found = await find()
    if found is None and await refresh_if_changed(env):
        found = await find()
    return found


async def layers_for(env: Env, caller: Caller) -> CallerPolicies:
    """The caller's own layers, as they are now. A deleted principal has no policies: nothing is allowed.

    While neither its policies nor the guardrails change, a caller without session policies gets the same object.
    """
    account, session = await env.directory.account(caller.account), caller.session
    guardrails = account.guardrails if account is not None else ((),)
    levels: tuple[tuple[NamedPolicy, ...], ...] = ()
    owner_id, narrowed = caller.principal_id, 0
    if session is not None:
        levels, narrowed = await _session_levels(env, session), len(scope_downs(session))
        if session.kind is SessionKind.FEDERATED:  # the policies of the user, or root, behind it apply
            owner_id = session.user_id
    if owner_id == caller.account:
        return CallerPolicies((_everything(),), None, levels, guardrails, narrowed)
    if session is not None and session.kind is SessionKind.ROLE:
        role = await env.directory.role_by_id(owner_id)
        view = role.principal if role is not None else None
    else:
        view = await env.directory.user(owner_id)
    if view is None:
        return CallerPolicies((), None, levels, guardrails, narrowed)
    if levels:
        return CallerPolicies(view.identity, view.boundary, levels, guardrails, narrowed)
    return view.layers.under(guardrails)


async def _session_levels(env: Env, session: SessionClaims) -> tuple[tuple[NamedPolicy, ...], ...]:
    """One level for the session policies of the issuing call, inline and managed together, and one for each scope-down.

    A federated user without a session policy has no permissions of its own, so its first level is present but empty.
    """
    levels: list[tuple[NamedPolicy, ...]] = []
    if session.base_policy or session.policy_hashes or session.kind is SessionKind.FEDERATED:
        inline = (_session_policy(session.policies[0]),) if session.base_policy else ()
        managed = await _managed(env, session.policy_hashes)
        levels.append((*inline, *managed) if managed is not None else (_nothing(),))
    levels.extend((_session_policy(text),) for text in scope_downs(session))
    return tuple(levels)


async def _managed(env: Env, hashes: tuple[str, ...]) -> tuple[NamedPolicy, ...] | None:
    """The stored managed session policies; None when one is missing (its denies are unknown, so nothing may be allowed)."""
    policies: list[NamedPolicy] = []
    for content_hash in hashes:
        content = await env.directory.policy_content(content_hash)
        if content is None and await refresh_if_changed(env):
            content = await env.directory.policy_content(content_hash)
        if content is None:
            return None
        policies.append(content.policy)
    return tuple(policies)


@cache
def _nothing() -> NamedPolicy:
    """Replaces a missing policy. It denies, because some grants override implicit denies and must not override this one."""
    return NamedPolicy("missing", compile_stored("", PolicyKind.SESSION))


_session_policy: SizedCache[NamedPolicy] = SizedCache(
    lambda text: NamedPolicy("session", compile_stored(text, PolicyKind.SESSION)), _SESSION_POLICIES
)


@cache
def _own() -> NamedPolicy:
    """Allows what needs no permission. Only queries on what is the caller's own see it."""
    text = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["daypass:*","iam:*","sts:*","signin:*"],"Resource":"*"}]}'
    return NamedPolicy("own", compile_stored(text, PolicyKind.IDENTITY))


@cache
def _everything() -> NamedPolicy:
    """The own policies of a root: everything is allowed, within the guardrails."""
    text = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
    return NamedPolicy("root", compile_stored(text, PolicyKind.IDENTITY))
