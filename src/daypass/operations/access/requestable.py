"""Denials that a person may have lifted: a role that an approval rule lets the subject request.

The token that binds a request to its denial is signed, and good for the caller that asked. An approval is presented again as a
reference; the grant behind it decides, as when the role is assumed. Neither gives anything by itself.
Source: AuthZEN Access Request and Approval Profile, draft 1, 7, 9 and 11.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from msgspec import Struct

from daypass.domain.access.request import is_usable, keys_of, original_principal
from daypass.domain.arn import account_of, parse_arn
from daypass.domain.authzen import Entity, Evaluation, action_of, resource_arn
from daypass.domain.claims import Caller, PrincipalKind
from daypass.domain.directory import ReplayEntry, ResourceServer, Role, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.gateway import Meaning, meaning_of, read_path
from daypass.domain.jws import JoseError, base64url
from daypass.domain.oauth.resource_server import ResourceServerSettings, parse_resource_server, resource_policy_of
from daypass.domain.policy.model import Value
from daypass.domain.question import Principal
from daypass.operations.access.snapshot import assumes
from daypass.operations.access.subject import ACCESS_TOKEN, view_named
from daypass.operations.assume.request import commit_once
from daypass.operations.authenticate import caller_of_session
from daypass.operations.authorize import authorize
from daypass.operations.grants.persons import person_of, person_of_user
from daypass.operations.grants.targets import Snapshot, rule_for
from daypass.operations.grants.void import why_void
from daypass.operations.oauth.access_token import open_access_token
from daypass.operations.oauth.targets import TokenTarget, check_permission, registered
from daypass.operations.outcome import OWNER, served
from daypass.operations.principals import find_by_arn
from daypass.ports import Call, Env, Reader

TYPE: Final = "daypass-denial+jwt"
SECONDS: Final = 600
_MAX_CONTEXT: Final = 2_048  # characters of the context of a question, which the token holds


class Denial(NamedTuple):
    """The binding of a request to its denial. `expires_at` in seconds."""

    evaluation_id: str
    expires_at: int
    token: str


class WantedRole(NamedTuple):
    """The role of a denial. `beneficiary`: the ARN of the user who gets the access, "" for the caller."""

    role: str
    beneficiary: str


async def requestable(env: Env, call: Call, asked: Evaluation) -> Denial | None:
    """The binding of a denied question that may be requested; None when it may not."""
    if not env.oauth.enabled:
        return None
    wanted = await _wanted(env, call, asked)
    if wanted is None:
        return None
    context = json.dumps(asked.context, sort_keys=True, default=str)
    if len(context) > _MAX_CONTEXT:
        return None
    now = call.now // 1000
    claims = {
        "iss": env.oauth.issuer,
        "aud": env.oauth.issuer,
        "iat": now,
        "exp": now + SECONDS,
        "jti": call.facts.request_id,
        "pep": call.caller.principal_id,
        "question": _digest(asked),
        "context": context,
    }
    token = env.oauth.signer.sign(claims, env.oauth.algorithm, TYPE)
    return Denial(call.facts.request_id, now + SECONDS, token)


async def check_denial(env: Env, call: Call, unverified_token: str, asked: Evaluation) -> WantedRole:
    """The terms of a request for this question, if the token binds it to a denial of the same caller.

    `asked.context` may have more members than that of the denial. Raises DaypassError: INVALID_GRANT (the token does not bind
    it), EXPIRED_IDENTITY_TOKEN, ACCESS_DENIED (it may no longer be requested).
    """
    try:
        claims = await env.oauth.signer.verify(unverified_token, TYPE)
    except JoseError as error:
        raise _unbound(str(error)) from None
    original = json.loads(claims["context"])
    sent = {name: asked.context.get(name) for name in original}
    if claims["iss"] != env.oauth.issuer or claims["pep"] != call.caller.principal_id:
        raise _unbound("it was given to another caller")
    if claims["question"] != _digest(asked) or json.dumps(sent, sort_keys=True, default=str) != claims["context"]:
        raise _unbound("it is for another question")
    if claims["exp"] <= call.now // 1000:
        raise DaypassError(ErrorKind.EXPIRED_IDENTITY_TOKEN, "The denial has expired: ask for a new decision.")
    wanted = await _wanted(env, call, asked)
    if wanted is None:
        raise DaypassError(ErrorKind.ACCESS_DENIED, "This access may not be requested.")
    return wanted


def _unbound(reason: str) -> DaypassError:
    message = "The denial does not bind this request."
    return DaypassError(ErrorKind.INVALID_GRANT, message, private={"reason": reason})


def _digest(asked: Evaluation) -> str:
    entities = [(each.type, each.id, each.properties) for each in (asked.subject, asked.resource)]
    text = json.dumps([*entities, asked.action, asked.action_properties], sort_keys=True, default=str)
    return base64url(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())


async def _wanted(env: Env, call: Call, asked: Evaluation) -> WantedRole | None:
    """The role that the question is about, if a rule of the caller's account lets the subject request it."""
    account = call.caller.account
    try:
        arn = resource_arn(asked.resource, account)
        if not assumes(action_of(asked.action, asked.resource), arn, account):
            return None
    except ValueError:
        return None
    subject = await _subject(env, call, asked.subject)
    if subject is None:
        return None

    def query(tx: Reader) -> bool:
        """Whoever requests needs a rule; for a user who accepts it, both need one that allows this."""
        role, persons = find_by_arn(tx, Role, arn), [person_of(tx, call.caller)]
        if role is None or not persons[0].id:
            return False
        if isinstance(subject, User):
            persons.append(person_of_user(tx, subject))
        rules = [rule_for(tx, role, person.names, None) for person in persons]
        return all(rule is not None and (len(rules) == 1 or rule.rule.on_behalf) for rule in rules)

    if not await env.directory.read(query, account=account):
        return None
    return WantedRole(arn, "" if isinstance(subject, Caller) else subject.arn)


async def _subject(env: Env, call: Call, entity: Entity) -> User | Caller | None:
    """A user of the caller's account, or the caller itself: whoever has another person's token requests nothing with it."""
    caller = call.caller
    if entity.type == ACCESS_TOKEN:
        try:
            token = await open_access_token(env, entity.id, call.now)
            found = await caller_of_session(env, token.session, call.now)
        except DaypassError as error:
            if error.kind is ErrorKind.UNAVAILABLE:
                raise
            return None
        return caller if original_principal(found.hops) == original_principal(caller.hops) else None
    if entity.type != "user":
        return None
    name, arn = (parse_arn(entity.id).name, entity.id) if entity.id.startswith("arn:") else (entity.id, "")
    if account_of(arn) not in ("", caller.account):
        return None
    view = await view_named(env, caller.account, "user", name, arn)
    if view is None or isinstance(view.entity, Role):
        return None
    return caller if original_principal(caller.hops) == view.entity.id else view.entity


async def approval_keys(env: Env, subject: Principal, role: str, context: Mapping[str, Any]) -> Mapping[str, Value]:
    """The context keys of an approval that the question presents and that is in force for this subject and role; {} otherwise.

    `context.approval.id` is the id of a request. The grant is compared with the role, rule and request as they are now.
    """
    given = context.get("approval")
    presented = given.get("id") if isinstance(given, Mapping) else None
    if not isinstance(presented, str) or subject.facts.kind is not PrincipalKind.USER:
        return {}
    now, view = env.clock.now(), await env.directory.role(account_of(role), parse_arn(role).name)
    if view is None or view.role.arn != role:
        return {}
    for grant in view.grants_of.get(subject.facts.arns[0][1], ()):
        if grant.request_id == presented and is_usable(grant, now):
            found = grant

            def is_void(tx: Reader) -> bool:
                return why_void(env, Snapshot(tx), found, now) is not None  # noqa: B023  # called before the next turn

            if not await env.directory.read(is_void, account=subject.account):
                return keys_of(grant)
    return {}


# --- Check request


ACTION: Final = "CheckRequest"


class Protected(Struct, frozen=True):
    """A resource server whose proxy asks. `origin`: scheme and host as its clients know them."""

    server: ResourceServer
    settings: ResourceServerSettings
    origin: str


async def protected(env: Env, audience: str) -> Protected:
    """The resource server of this identifier. Raises DaypassError(ACCESS_DENIED) for one that is unknown or has no routes."""
    server = await registered(env, audience) if audience else None
    settings = parse_resource_server(server.settings) if server is not None else None
    if server is None or settings is None or not settings.routes:
        raise _refused("no resource server of this name has routes", audience=audience[:512])
    named = urlsplit(server.identifier)
    return Protected(server, settings, settings.origin or f"{named.scheme}://{named.netloc}".lower())


def meaning(target: Protected, method: str, unverified_path: bytes, unverified_query: bytes = b"") -> Meaning:
    """The action and resource of a request. Raises DaypassError(ACCESS_DENIED): its path or query is ambiguous, or no route fits."""
    account = target.server.account
    try:
        segments = read_path(unverified_path)
        found = meaning_of(target.settings.routes, method, segments, account, unverified_query)
    except ValueError as error:
        raise _refused(f"the target is ambiguous: {error}", **{OWNER: account}) from None
    if found is None:
        raise _refused("no route fits", **{OWNER: account})
    return found


async def check_request(
    env: Env, call: Call, target: Protected, wanted: Meaning, replays: tuple[ReplayEntry, ...] = ()
) -> None:
    """Returns if the caller may do what its request means. Raises DaypassError(ACCESS_DENIED), UNAVAILABLE."""
    session = call.caller.session
    if session is not None:
        ceiling = session.audiences
        if session.may_act is not None or (ceiling is not None and target.server.identifier not in ceiling):
            raise _refused("the session is for other audiences", session_id=session.session_id)
    policy = resource_policy_of(target.server.settings)
    decision = await authorize(env, call, wanted.action, wanted.resource, resource_policy=policy)
    if replays or env.limits.record_decisions == "all":
        detail = {"action": wanted.action, "resource": wanted.resource, "audience": target.server.identifier}
        await commit_once(env, served(call, decision=decision, detail=detail), replays)


async def check_cluster(env: Env, call: Call, server: ResourceServer) -> None:
    """Returns if the caller of an access token for a cluster may still have one. Raises DaypassError(ACCESS_DENIED), UNAVAILABLE."""
    target = TokenTarget((server.identifier,), (), (server,))
    await check_permission(env, call, target, "")
    if env.limits.record_decisions == "all":
        await env.journal.commit(served(call, detail={"audience": server.identifier}))


def _refused(reason: str, **private: str) -> DaypassError:
    return DaypassError(ErrorKind.ACCESS_DENIED, "The request is not allowed.", private={"reason": reason, **private})
