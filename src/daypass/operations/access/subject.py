"""The subject of a question about access, and principals that are certainly denied, found without an evaluation.

An access token contains the whole session. By a name or ARN only the facts that the directory has are known: MFA, session
tags and session policies are not, and are never invented.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from msgspec.structs import replace

from daypass.domain.arn import account_of, parse_arn, read_arn
from daypass.domain.authzen import Entity, Evaluation
from daypass.domain.claims import Caller, RequestFacts
from daypass.domain.context import principal_facts, request_context, time_keys
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.compiled import PolicyDocument
from daypass.domain.policy.layers import NamedPolicy
from daypass.domain.policy.model import Context, Effect, PrincipalFacts
from daypass.domain.policy.pattern import fold
from daypass.domain.policy.principal import GrantScope
from daypass.domain.question import Principal, hypothetical
from daypass.domain.session import Hop
from daypass.domain.trust import ASSUME_ROLE, AssumedRole
from daypass.operations.assume.applicant import target_of
from daypass.operations.authenticate import caller_of_session
from daypass.operations.authorize import authorize, layers_for
from daypass.operations.blocks import Levels, in_force
from daypass.operations.oauth.access_token import open_access_token
from daypass.operations.outcome import served, unpack
from daypass.operations.principals import find_current
from daypass.ports import Call, Env, PrincipalView

ACCESS_TOKEN: Final = "access_token"  # a name
AUDIENCE: Final = "audience"
"""The property of a subject of that type that names the service which received the token: one of its audiences."""
_OF_THE_CALL: Final = ("aws:securetransport", "aws:requestedregion", "aws:sourceip", "aws:useragent", "aws:referer")


def account_named(entity: Entity, own: str) -> str:
    """The account that an id names; "" when only an access token says so. Nothing is read."""
    return "" if entity.type == ACCESS_TOKEN else account_of(entity.id) or own


async def subject_of(env: Env, call: Call, entity: Entity) -> Principal | None:
    """The subject; None when it does not exist, its token is not valid, or its principal is blocked.

    Names are those of the caller's account. Raises DaypassError(UNAVAILABLE).
    """
    if entity.type == ACCESS_TOKEN:
        return await _by_token(env, call, entity)
    if entity.type not in ("user", "role", "session", "principal"):
        return None
    return await find_current(env, lambda: _by_name(env, call, entity.type, entity.id))


# --- By access token -------------------------------------------------------------------------------------------------


async def _by_token(env: Env, call: Call, entity: Entity) -> Principal | None:
    try:
        token = await open_access_token(env, entity.id, call.now)
        caller = await caller_of_session(env, token.session, call.now)
    except DaypassError as error:
        if error.kind is ErrorKind.UNAVAILABLE:
            raise
        return None
    if AUDIENCE in entity.properties and entity.properties[AUDIENCE] not in token.audiences:
        return None
    return Principal(principal_facts(caller), _keys_of(caller, call), await layers_for(env, caller))


def _keys_of(caller: Caller, call: Call) -> Context:
    """The keys of the session. Network and time of the question are not those of the subject's own request."""
    context = request_context(caller, RequestFacts("", call.now, "", "", ""), call.now)
    for key in _OF_THE_CALL:
        context.pop(key, None)
    return context


# --- By name or ARN --------------------------------------------------------------------------------------------------


async def _by_name(env: Env, call: Call, kind: str, text: str) -> Principal | None:
    """A user or role by its ARN, name or unique id. A session of a role by its ARN, or by its aws:userid, which is `sub` of
    its access tokens. A principal by any of these ARNs.
    """
    own, session, in_arn = call.caller.account, "", _named_in(text)
    view: PrincipalView | None = None
    if in_arn is not None and kind in (in_arn[0], "principal"):
        found, own, name, session = in_arn
        view = await view_named(env, own, "role" if session else found, name, "" if session else text)
    elif kind == "session":
        role_id, _, session = text.partition(":")
        role = await env.directory.role_by_id(role_id) if role_id.startswith("AROA") and session else None
        view = role.principal if role is not None else None
    elif kind == "user" and text.startswith("AIDA"):
        view = await env.directory.user(text)
    elif kind != "principal":
        view = await view_named(env, own, kind, text)
    if view is None or view.entity.account != own:
        return None
    entity, account = view.entity, await env.directory.account(own)
    hop = Hop("", own, entity.id, call.now, env.directory.seen(), "", session or entity.name)
    if account is None or env.directory.blocked((hop,), "", call.now) is not None:
        return None
    principal = hypothetical(entity, view.layers.under(account.guardrails), session)
    return replace(principal, keys={**principal.keys, **time_keys(call.now)})


def _named_in(text: str) -> tuple[str, str, str, str] | None:
    """Kind, account, name and session in the ARN of a user, role or role session."""
    arn = read_arn(text)
    if arn is None:
        return None
    match arn.service, arn.resource.split("/"):
        case "iam", ["user" | "role" as kind, _, *_]:
            return kind, arn.account, arn.name, ""
        case "sts", ["assumed-role", role, session] if session:
            return "session", arn.account, role, session
    return None


async def view_named(env: Env, account: str, kind: str, name: str, arn: str = "") -> PrincipalView | None:
    """A user or role with its policies, as at runtime. `arn`: that it must have, "" for any."""
    if kind == "role":
        role = await env.directory.role(account, name)
        view = role.principal if role is not None else None
    else:
        view = await env.directory.user_by_name(account, name)
    return view if view is not None and arn in ("", view.entity.arn) else None


async def role_to_assume(env: Env, now: int, arn: str) -> tuple[AssumedRole, Levels]:
    """The role of this ARN, and what blocks it."""
    account = account_of(arn)
    view = await env.directory.role(account, parse_arn(arn).name)
    if view is None or view.role.arn != arn:
        return AssumedRole(arn, account), ()
    return target_of(arn, account, view), in_force(env, now, view.role)


def question_shown(question: Evaluation, subject: Principal | None) -> dict[str, Any]:
    """A question about a subject (None: it was not found) as the record shows it. An access token is never shown."""
    entity, resource = question.subject, question.resource
    named = subject.arn if subject else "" if entity.type == ACCESS_TOKEN else entity.id[:512]
    return {
        "subject": {"type": entity.type[:64], "id": named},
        "action": question.action[:256],
        "resource": f"{resource.type[:64]} {resource.id[:512]}",
    }


# --- Denials


def certainly_denied(identity: Iterable[NamedPolicy], action: str) -> bool:
    """Whether no identity policy has an Allow that may match the action, for an action that needs one."""
    folded = fold(action)
    return not any(may_allow(policy.document, folded) for policy in identity)


def certainly_not_admitted(target: AssumedRole, facts: PrincipalFacts, identity: Iterable[NamedPolicy]) -> bool:
    """The same for assuming a role of the principal's account. A trust policy that names the principal itself allows it
    without its identity policies; one that names its account does not.
    """
    scope = GrantScope.NONE
    for statement in target.trust.document.statements if target.trust is not None else ():
        if statement.effect is Effect.ALLOW:
            if statement.not_principal or statement.principals is None:
                return False
            scope = max(scope, statement.principals.grant_scope(facts, target.bindings))
    if scope is GrantScope.NONE:
        return True
    return scope is GrantScope.ACCOUNT and certainly_denied(identity, ASSUME_ROLE)


@lru_cache(maxsize=4096)
def may_allow(document: PolicyDocument, action: str) -> bool:
    """Whether a statement allows an action (folded) for some resource, in some circumstances."""
    return any(
        statement.effect is Effect.ALLOW
        and (bool(statement.actions.keys) or statement.actions.matches(action, {}) is not statement.not_action)
        for statement in document.index.concerned(action)
    )


# --- Decode authorization message


async def decode_authorization_message(env: Env, call: Call, unverified_message: str) -> Mapping[str, Any]:
    """DecodeAuthorizationMessage (AWS STS API): the explanation in an encoded authorization message.

    A message of another account is refused like an invalid one: the caller learns nothing from the refusal.
    """
    decision = await authorize(env, call, "sts:DecodeAuthorizationMessage", "*")
    account, payload = await env.sealer.open_message(unverified_message)
    try:
        explanation = unpack(payload)
    except ValueError:
        raise _invalid("not packed here") from None
    if account != call.caller.account:
        raise _invalid("belongs to another account")
    await env.journal.commit(served(call, decision=decision))
    return explanation


def _invalid(reason: str) -> DaypassError:
    return DaypassError(
        ErrorKind.INVALID_AUTHORIZATION_MESSAGE,
        "Encoded authorization message is not valid.",
        private={"reason": reason},
    )
