"""Searches of AuthZEN: which subjects, resources or actions a question would be allowed for.

Every result is one that the evaluator has allowed in the context of the request. Subjects are the users and roles of the
account. Resources are roles and users (type `iam`), otherwise those that the subject's policies name without wildcards;
actions are those that they name without wildcards. Those that only a wildcard allows cannot be listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

from msgspec.structs import replace

from daypass.domain.authzen import (
    Entity,
    Evaluation,
    KeyReader,
    action_of,
    checked_type,
    resource_arn,
    resource_entity,
    service_of,
)
from daypass.domain.context import time_keys
from daypass.domain.directory import ReplayEntry, Role, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.budget import metered
from daypass.domain.policy.model import Decision, Effect, Value
from daypass.domain.policy.pattern import fold
from daypass.domain.question import Principal, Question, decide
from daypass.domain.trust import CallerPolicies
from daypass.operations import heavy
from daypass.operations.access.evaluate_access import SLICE, permitted_subject, prepare
from daypass.operations.access.snapshot import ResultPage, asked_in, by_name, context_in, in_batches
from daypass.operations.access.subject import question_shown
from daypass.operations.assume.request import commit_once
from daypass.operations.iam.holdings import Gatherer
from daypass.operations.management import allow
from daypass.operations.outcome import served
from daypass.operations.principals import refresh_if_changed
from daypass.ports import Call, Env, Scene

V = TypeVar("V")
R = TypeVar("R")

ACTION: Final = "SearchAccess"
MAX_LIMIT: Final = 1_000

Replays: TypeAlias = "Sequence[ReplayEntry]"
"""The one-time proofs of the request, which its event consumes."""

_KINDS: Final[Mapping[str, type[User | Role]]] = {"user": User, "role": Role}
_IAM: Final = "iam"


# --- Subjects --------------------------------------------------------------------------------------------------------


async def search_subjects(
    env: Env, call: Call, question: Evaluation, after: str, limit: int, replays: Replays = ()
) -> ResultPage[str]:
    """daypass:SearchAccess. Names of the users or roles of the caller's account, by the type of the subject; none of
    another type. A page covers `limit` principals, so that it may have fewer results and still a next page.

    Raises DaypassError: ACCESS_DENIED, VALIDATION, LIMIT_EXCEEDED.
    """
    permission = await allow(env, call, ACTION, "access", "*")
    kind = question.subject.type
    _valid(lambda one: resource_arn(one.resource, call.caller.account), question)
    _valid(lambda one: action_of(one.action, one.resource), question)
    keys = _valid(KeyReader().keys_of, question)
    await refresh_if_changed(env)
    page = ResultPage[str](())
    if kind in _KINDS:
        page = await in_batches(env, call, _subjects, (question, keys), after, limit)
    return await _recorded(env, call, permission, question, page, replays)


def _subjects(
    scene: Scene, call: Call, question: Evaluation, keys: Mapping[str, Value], after: str, size: int, steps: int
) -> ResultPage[str]:
    """One batch, as heavy work."""
    ctx = context_in(scene, call)
    gatherer = Gatherer(ctx, blocks=True)
    action = action_of(question.action, question.resource)
    asked = asked_in(ctx, gatherer, action, resource_arn(question.resource, ctx.account), absent=True)
    approved = {"daypass:approved": "false"} if asked.target is not None else {}
    asked = replace(asked, context={**keys, **time_keys(call.now), **approved}, own_side=False)

    def allowed(entity: User | Role) -> str | None:
        return entity.name if decide(asked.of(entity, gatherer.of(entity))).decision.allowed else None

    return by_name(ctx.tx, _KINDS[question.subject.type], ctx.account, after, size, steps, allowed)


# --- Resources -------------------------------------------------------------------------------------------------------


async def search_resources(
    env: Env, call: Call, question: Evaluation, after: str, limit: int, replays: Replays = ()
) -> ResultPage[str]:
    """daypass:SearchAccess. Ids of resources of the requested type. Raises DaypassError."""
    permission = await allow(env, call, ACTION, "access", "*")
    keys = _valid(KeyReader().keys_of, question)
    subject = await permitted_subject(env, call, question, ACTION)
    page = ResultPage[str](())
    if subject is not None:
        service = _valid(checked_type, question.resource.type)
        entities, following = await _candidates(env, call, subject, service, after, limit)
        page = await _allowed(env, call, [(replace(question, resource=one), one.id) for one in entities], subject, keys)
        page = replace(page, following=following)
    return await _recorded(env, call, permission, question, page, replays, subject)


async def _candidates(
    env: Env, call: Call, subject: Principal, service: str, after: str, limit: int
) -> tuple[list[Entity], str]:
    """Resources of the service that the directory or the subject's policies name, and the cursor of the next page."""
    if service == _IAM:
        if subject.account != call.caller.account:
            return [], ""
        names, following = await heavy.read(env, call, _principals, call, after, limit)
        return [Entity(service, name) for name in names], following
    named, following = _page_of(_literal_resources(subject.policies, service, subject.account), after, limit)
    return [Entity(service, name) for name in named], following


def _principals(scene: Scene, call: Call, after: str, limit: int) -> tuple[list[str], str]:
    """The resource part of the ARNs of users, then roles. The cursor is a kind and a name."""
    ctx = context_in(scene, call)
    kind, _, name = after.partition(":") if after else ("user", "", "")
    found: list[str] = []
    while kind in _KINDS:
        left = limit - len(found)
        entities = ctx.tx.find(_KINDS[kind], account=ctx.account, order="name", after=name, limit=left + 1)
        found += [entity.arn.split(":", 5)[5] for entity in entities[:left]]
        if len(entities) > left:
            return found, f"{kind}:{entities[left - 1].name}" if left else f"{kind}:{name}"
        kind, name = ("role", "") if kind == "user" else ("", "")
    return found, ""


# --- Actions ---------------------------------------------------------------------------------------------------------


async def search_actions(
    env: Env, call: Call, question: Evaluation, after: str, limit: int, replays: Replays = ()
) -> ResultPage[str]:
    """daypass:SearchAccess. Names of actions on the resource. Raises DaypassError."""
    permission = await allow(env, call, ACTION, "access", "*")
    keys = _valid(KeyReader().keys_of, question)
    subject = await permitted_subject(env, call, question, ACTION)
    page = ResultPage[str](())
    if subject is not None:
        _valid(lambda resource: resource_arn(resource, subject.account), question.resource)
        named = _literal_actions(subject.policies, fold(service_of(question.resource)))
        names, following = _page_of(named, after, limit)
        page = await _allowed(env, call, [(replace(question, action=name), name) for name in names], subject, keys)
        page = replace(page, following=following)
    return await _recorded(env, call, permission, question, page, replays, subject)


# --- Shared ----------------------------------------------------------------------------------------------------------


def _page_of(names: Iterable[str], after: str, limit: int) -> tuple[list[str], str]:
    """Up to `limit` different names after `after`, and the cursor of the next page."""
    found = sorted({name for name in names if name > after})
    return found[:limit], found[limit - 1] if len(found) > limit else ""


def _valid(check: Callable[[V], R], value: V) -> R:
    try:
        return check(value)
    except ValueError as error:
        raise DaypassError(ErrorKind.VALIDATION, f"{error}.") from None


async def _allowed(
    env: Env, call: Call, questions: Sequence[tuple[Evaluation, str]], subject: Principal, keys: Mapping[str, Value]
) -> ResultPage[str]:
    """The names of the questions that are allowed."""
    items = []
    for number, (question, name) in enumerate(questions):
        if number and number % SLICE == 0:
            await env.slices.turn(call.caller.account)
        try:
            items.append((await prepare(env, subject, question, keys), name))
        except ValueError:  # a name that no request can have
            continue
    decisions = await heavy.compute_for(env, call, _decisions, [item for item, _ in items])
    return ResultPage(tuple(name for (_, name), one in zip(items, decisions, strict=True) if one))


def _decisions(items: Sequence[Question]) -> list[bool]:
    with metered():
        return [decide(item).decision.allowed for item in items]


def _literal_resources(policies: CallerPolicies, service: str, account: str) -> Iterator[str]:
    for text in _written(policies, "Resource"):
        fields = text.split(":", 5)
        if len(fields) != 6 or fields[2] != service or any(mark in text for mark in "*?$"):
            continue
        yield resource_entity(text, account).id


def _literal_actions(policies: CallerPolicies, service: str) -> Iterator[str]:
    for text in _written(policies, "Action"):
        prefix, colon, name = text.partition(":")
        if colon and fold(prefix) == service and "*" not in text and "?" not in text:
            yield name


def _written(policies: CallerPolicies, element: str) -> Iterator[str]:
    """The values of an element in the Allow statements of identity and session policies."""
    levels: Iterable[Any] = (policies.identity or (), *policies.session)
    for level in levels:
        for policy in level:
            for statement in policy.document.statements:
                if statement.effect is Effect.ALLOW:
                    yield from statement.written.get(element, ())


async def _recorded(
    env: Env,
    call: Call,
    permission: Decision,
    question: Evaluation,
    page: ResultPage[str],
    replays: Replays,
    subject: Principal | None = None,
) -> ResultPage[str]:
    detail = {**question_shown(question, subject), "results": len(page.entries)}
    await commit_once(env, served(call, decision=permission, detail=detail), replays)
    return page
