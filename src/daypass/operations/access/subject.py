"""The subject of an AuthZEN question: a user, role or session of an account, with its policies as they are now.

An access token contains the whole session. By a name or ARN only the facts that the directory has are known: MFA, session
tags and session policies are not, and are never invented.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from msgspec.structs import replace

from daypass.domain.arn import Arn, account_of, parse_arn, read_arn
from daypass.domain.authzen import Entity, Question
from daypass.domain.claims import Caller, RequestFacts
from daypass.domain.context import principal_facts, request_context, time_keys
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.model import Context
from daypass.domain.question import Principal, hypothetical
from daypass.domain.session import Hop
from daypass.domain.trust import Target
from daypass.operations.assume.admission import target_of
from daypass.operations.authenticate import caller_of_session
from daypass.operations.authorize import find_current, layers_for
from daypass.operations.blocks import Levels, in_force
from daypass.operations.oauth.access_token import open_access_token
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
    find = _TYPES.get(entity.type)
    return None if find is None else await find_current(env, lambda: find(env, call, entity.id))


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


async def _user(env: Env, call: Call, text: str) -> Principal | None:
    account, name = call.caller.account, text
    if text.startswith("AIDA"):
        view = await env.directory.user(text)
        return await _named(env, call, view) if view is not None and view.entity.account == account else None
    arn = _arn(text, "iam", "user/")
    if arn is not None:
        account, name = arn.account, arn.name
    view = await view_named(env, account, "user", name, text if arn is not None else "")
    return await _named(env, call, view) if view is not None else None


async def _role(env: Env, call: Call, text: str) -> Principal | None:
    arn = _arn(text, "iam", "role/")
    account, name = (arn.account, arn.name) if arn else (call.caller.account, text)
    view = await view_named(env, account, "role", name, text if arn is not None else "")
    return await _named(env, call, view) if view is not None else None


async def _session(env: Env, call: Call, text: str) -> Principal | None:
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


async def _principal(env: Env, call: Call, text: str) -> Principal | None:
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


async def _named(env: Env, call: Call, view: PrincipalView, session: str = "") -> Principal | None:
    entity, account = view.entity, await env.directory.account(view.entity.account)
    hop = Hop("", entity.account, entity.id, call.now, env.directory.seen(), "", session or entity.name)
    if account is None or env.directory.blocked((hop,), "", call.now) is not None:
        return None
    principal = hypothetical(entity, view.layers.under(account.guardrails), session)
    return replace(principal, keys={**principal.keys, **time_keys(call.now)})


async def view_named(env: Env, account: str, kind: str, name: str, arn: str = "") -> PrincipalView | None:
    """A user or role with its policies, as at runtime. `arn`: that it must have, "" for any."""
    if kind == "role":
        role = await env.directory.role(account, name)
        view = role.principal if role is not None else None
    else:
        view = await env.directory.user_by_name(account, name)
    return view if view is not None and arn in ("", view.entity.arn) else None


async def role_to_assume(env: Env, now: int, arn: str) -> tuple[Target, Levels]:
    """The role of this ARN, and what blocks it."""
    account = account_of(arn)
    view = await env.directory.role(account, parse_arn(arn).name)
    if view is None or view.role.arn != arn:
        return Target(arn, account), ()
    return target_of(arn, account, view), in_force(env, now, view.role)


_Find = Callable[[Env, Call, str], Awaitable[Principal | None]]
_TYPES: Final[Mapping[str, _Find]] = {
    "user": _user,
    "role": _role,
    "session": _session,
    "principal": _principal,
}
"""The types of subjects besides ACCESS_TOKEN."""


def question_shown(question: Question, subject: Principal | None) -> dict[str, Any]:
    """A question about a subject (None: it was not found) as the record shows it. An access token is never shown."""
    entity, resource = question.subject, question.resource
    named = subject.arn if subject else "" if entity.type == ACCESS_TOKEN else entity.id[:512]
    return {
        "subject": {"type": entity.type[:64], "id": named},
        "action": question.action[:256],
        "resource": f"{resource.type[:64]} {resource.id[:512]}",
    }
