"""The subject of an AuthZEN question: a user, role or session of an account, with its policies as they are now.

An access token contains the whole session. By a name or ARN only the facts that the directory has are known: MFA, session
tags and session policies are not, and are never invented.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from msgspec import Struct

from daypass.domain.arn import Arn, account_of, read_arn
from daypass.domain.authzen import Entity, Question
from daypass.domain.claims import Caller, RequestFacts
from daypass.domain.context import merged, principal_facts, request_context, time_keys
from daypass.domain.directory import Role, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.hypothetical_principal import hypothetical_facts, hypothetical_keys
from daypass.domain.policy.model import Context, PrincipalFacts
from daypass.domain.session import Hop
from daypass.domain.trust import CallerPolicies
from daypass.operations.authenticate import caller_of_session
from daypass.operations.authorize import find_current, layers_for
from daypass.operations.oauth.access_token import open_access_token
from daypass.ports import Call, Env, PrincipalView

ACCESS_TOKEN: Final = "access_token"  # a name
AUDIENCE: Final = "audience"
"""The property of a subject of that type that names the service which received the token: one of its audiences."""
_OF_THE_CALL: Final = ("aws:securetransport", "aws:requestedregion", "aws:sourceip", "aws:useragent", "aws:referer")


class Subject(Struct, frozen=True):
    """A principal and its policies. `arn`: for the record and for messages."""

    account: str
    arn: str
    facts: PrincipalFacts
    keys: Context
    policies: CallerPolicies


def account_named(entity: Entity, own: str) -> str:
    """The account that an id names; "" when only an access token says so. Nothing is read."""
    return "" if entity.type == ACCESS_TOKEN else account_of(entity.id) or own


async def subject_of(env: Env, call: Call, entity: Entity) -> Subject | None:
    """The subject; None when it does not exist, its token is not valid, or its principal is blocked.

    Names are those of the caller's account. Raises DaypassError(UNAVAILABLE).
    """
    if entity.type == ACCESS_TOKEN:
        return await _by_token(env, call, entity)
    find = _TYPES.get(entity.type)
    return None if find is None else await find_current(env, lambda: find(env, call, entity.id))


# --- By access token -------------------------------------------------------------------------------------------------


async def _by_token(env: Env, call: Call, entity: Entity) -> Subject | None:
    try:
        token = await open_access_token(env, entity.id, call.now)
        caller = await caller_of_session(env, token.session, call.now)
    except DaypassError as error:
        if error.kind is ErrorKind.UNAVAILABLE:
            raise
        return None
    if AUDIENCE in entity.properties and entity.properties[AUDIENCE] not in token.audiences:
        return None
    return Subject(
        caller.account, caller.arn, principal_facts(caller), _keys_of(caller, call), await layers_for(env, caller)
    )


def _keys_of(caller: Caller, call: Call) -> Context:
    """The keys of the session. Network and time of the question are not those of the subject's own request."""
    context = request_context(caller, RequestFacts("", call.now, "", "", ""), call.now)
    for key in _OF_THE_CALL:
        context.pop(key, None)
    return context


# --- By name or ARN --------------------------------------------------------------------------------------------------


async def _user(env: Env, call: Call, text: str) -> Subject | None:
    account, name = call.caller.account, text
    if text.startswith("AIDA"):
        view = await env.directory.user(text)
        return await _named(env, call, view) if view is not None and view.entity.account == account else None
    if arn := _arn(text, "iam", "user/"):
        account, name = arn.account, arn.name
    view = await env.directory.user_by_name(account, name)
    if view is None or (arn and view.entity.arn != text):
        return None
    return await _named(env, call, view)


async def _role(env: Env, call: Call, text: str) -> Subject | None:
    arn = _arn(text, "iam", "role/")
    account, name = (arn.account, arn.name) if arn else (call.caller.account, text)
    view = await env.directory.role(account, name)
    if view is None or (arn and view.role.arn != text):
        return None
    return await _named(env, call, view.principal)


async def _session(env: Env, call: Call, text: str) -> Subject | None:
    """By the ARN of a role session, or by its aws:userid, which is `sub` of its access tokens."""
    if arn := _arn(text, "sts", "assumed-role/"):
        _, role, *rest = arn.resource.split("/")
        view = await env.directory.role(arn.account, role)
    else:
        role_id, _, name = text.partition(":")
        rest = [name]
        view = await env.directory.role_by_id(role_id) if role_id.startswith("AROA") else None
        if view is not None and view.role.account != call.caller.account:
            view = None
    if view is None or len(rest) != 1 or not rest[0]:
        return None
    return await _named(env, call, view.principal, rest[0])


async def _principal(env: Env, call: Call, text: str) -> Subject | None:
    """By any ARN of the three."""
    for service, resource, find in (
        ("iam", "user/", _user),
        ("iam", "role/", _role),
        ("sts", "assumed-role/", _session),
    ):
        if _arn(text, service, resource):
            return await find(env, call, text)
    return None


def _arn(text: str, service: str, resource: str) -> Arn | None:
    """The ARN of a principal of this kind."""
    arn = read_arn(text)
    return arn if arn is not None and arn.service == service and arn.resource.startswith(resource) else None


async def _named(env: Env, call: Call, view: PrincipalView, session: str = "") -> Subject | None:
    entity, account = view.entity, await env.directory.account(view.entity.account)
    hop = Hop("", entity.account, entity.id, call.now, env.directory.seen(), "", session or entity.name)
    if account is None or env.directory.blocked((hop,), "", call.now) is not None:
        return None
    return named_subject(entity, view.layers.under(account.guardrails), call.now, session)


def named_subject(entity: User | Role, policies: CallerPolicies, now: int, session: str = "") -> Subject:
    """A user, a role, or a session of a role, at `now` (ms), with what policies may know of it."""
    facts, keys = hypothetical_facts(entity, session), merged(hypothetical_keys(entity, session), time_keys(now))
    return Subject(entity.account, facts.arns[0][0], facts, keys, policies)


_Find = Callable[[Env, Call, str], Awaitable[Subject | None]]
_TYPES: Final[Mapping[str, _Find]] = {
    "user": _user,
    "role": _role,
    "session": _session,
    "principal": _principal,
}
"""The types of subjects besides ACCESS_TOKEN."""


def question_shown(question: Question, subject: Subject | None) -> dict[str, Any]:
    """A question about a subject (None: it was not found) as the record shows it. An access token is never shown."""
    entity, resource = question.subject, question.resource
    named = subject.arn if subject else "" if entity.type == ACCESS_TOKEN else entity.id[:512]
    return {
        "subject": {"type": entity.type[:64], "id": named},
        "action": question.action[:256],
        "resource": f"{resource.type[:64]} {resource.id[:512]}",
    }
