"""Access decisions for other services (AuthZEN): may this subject perform this action on this resource?

The one evaluator decides, over the subject's policies as they are now; for sts:AssumeRole on a role of the subject's
account, the role's trust policy too. The subject does not act here, so nothing is changed. Another account's resource
needs that account's policy, which is not known here: it is denied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import islice
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from daypass.domain.arn import account_of, parse_arn
from daypass.domain.authzen import KeyReader, Question, action_of, resource_arn
from daypass.domain.context import merged, resource_context
from daypass.domain.directory import ReplayEntry
from daypass.domain.errors import DaypassError, ErrorKind, ignored
from daypass.domain.policy.budget import metered
from daypass.domain.policy.evaluate import evaluate
from daypass.domain.policy.explain import denial_message, explain
from daypass.domain.policy.layers import Layers
from daypass.domain.policy.model import AccessQuery, Decision, Value
from daypass.domain.policy.pattern import fold
from daypass.domain.trust import ASSUME_ROLE, CallerPolicies, Target, admit
from daypass.operations import heavy
from daypass.operations.access.subject import ACCESS_TOKEN, AUDIENCE, Subject, account_named, question_shown, subject_of
from daypass.operations.assume.admission import target_of
from daypass.operations.assume.request import commit_once
from daypass.operations.authorize import authorize
from daypass.operations.blocks import in_force, under
from daypass.operations.decide import admission_is_large
from daypass.operations.management import allow
from daypass.operations.outcome import pack, served
from daypass.ports import Call, Env

ACTION: Final = "EvaluateAccess"
MAX_QUESTIONS: Final = 1_000
"""Maximum number of questions in one request."""

SLICE: Final = 64
"""Questions that are prepared or decided on the event loop before other requests have their turn."""

_EXPLAINED: Final = 16  # reasons that are written on the event loop; more are heavy work
_ON_RECORD: Final = 20  # decisions that one event contains
_ASSUME = fold(ASSUME_ROLE)


class Semantic(StrEnum):
    """Which of several questions are decided (AuthZEN, 7.1.2.1)."""

    EXECUTE_ALL = "execute_all"
    DENY_ON_FIRST_DENY = "deny_on_first_deny"
    PERMIT_ON_FIRST_PERMIT = "permit_on_first_permit"

    def ends(self, *, allowed: bool) -> bool:
        """Whether a decision is the last one."""
        return self is (Semantic.PERMIT_ON_FIRST_PERMIT if allowed else Semantic.DENY_ON_FIRST_DENY)


class Unreadable(Struct, frozen=True):
    """A question that cannot be decided, with the reason. It is answered by a denial."""

    message: str


class Answer(Struct, frozen=True):
    """A decision, and what the caller may know of it. `status` and `error`: the question could not be decided."""

    allowed: bool
    explanation: Mapping[str, Any] | None = None
    message: str = ""
    encoded: str = ""
    status: int = 0
    error: str = ""


class Prepared(Struct, frozen=True):
    """A question with everything that decides it. `target`: the role, where the question is whether to assume one."""

    query: AccessQuery
    layers: Layers
    policies: CallerPolicies
    arn: str  # of the subject
    target: Target | None = None


class Outcome(Struct, frozen=True):
    """A decision; for a denial its message and explanation, if they were asked for."""

    decision: Decision
    message: str = ""
    explanation: Mapping[str, Any] | None = None


async def evaluate_access(
    env: Env,
    call: Call,
    questions: Sequence[Question | Unreadable],
    semantic: Semantic = Semantic.EXECUTE_ALL,
    *,
    reasons: bool = True,
    replays: Sequence[ReplayEntry] = (),
) -> list[Answer]:
    """daypass:EvaluateAccess on the account of each subject. The answers are in the order of `questions`, and end where
    `semantic` says.

    `reasons`: denials are explained; encoded, for a caller who may not call sts:DecodeAuthorizationMessage.
    Raises DaypassError: ACCESS_DENIED, VALIDATION (too many questions), LIMIT_EXCEEDED (steps), UNAVAILABLE.
    """
    account = call.caller.account
    permission = await allow(env, call, ACTION, "access", "*")
    if len(questions) > MAX_QUESTIONS:
        raise DaypassError(ErrorKind.VALIDATION, f"A request may contain at most {MAX_QUESTIONS} evaluations.")
    subjects = await _subjects(env, call, questions)
    work = await _prepared_in_slices(env, account, subjects, questions)
    ready = [item for item in work if isinstance(item, Prepared)]
    if _is_heavy(ready, reasons=reasons):
        outcomes = await heavy.compute(env, account, decided, ready, semantic, reasons)
    else:
        outcomes = await _in_slices(env, account, ready, semantic, reasons=reasons)
    if len(work) > SLICE:
        await env.slices.turn(account)
    answers = await _answers(env, call, work, outcomes, semantic)
    recorded = env.limits.record_decisions
    if replays or recorded == "all" or (recorded == "denied" and not all(answer.allowed for answer in answers)):
        detail = _detail(questions, subjects, answers)
        await commit_once(env, served(call, decision=permission, detail=detail), replays)
    return answers


# --- Preparing -------------------------------------------------------------------------------------------------------


Subjects = Mapping[tuple[str, str, str], Subject | None]


async def _subjects(env: Env, call: Call, questions: Iterable[Question | Unreadable]) -> Subjects:
    """Every subject once, by its type and id."""
    found: dict[tuple[str, str, str], Subject | None] = {}
    for question in questions:
        if isinstance(question, Question) and (key := _key_of(question)) not in found:
            found[key] = await permitted_subject(env, call, question, ACTION)
    return found


def _key_of(question: Question) -> tuple[str, str, str]:
    entity = question.subject
    return entity.type, entity.id, str(entity.properties.get(AUDIENCE, ""))


async def permitted_subject(env: Env, call: Call, question: Question, action: str) -> Subject | None:
    """The subject, if the caller may ask about its account; see `subject_of`. A token of another account is answered like
    an invalid one, as by introspection. Raises DaypassError(ACCESS_DENIED).
    """
    own, entity = call.caller.account, question.subject
    named = account_named(entity, own)
    if named not in ("", own):  # before anything is read: the refusal must not depend on it
        await allow(env, call, action, "access", "*", named)
    subject = await subject_of(env, call, entity)
    if subject is not None and subject.account not in (own, named):
        try:
            await allow(env, call, action, "access", "*", subject.account)
        except DaypassError as error:
            if entity.type != ACCESS_TOKEN or error.kind is not ErrorKind.ACCESS_DENIED:
                raise
            return None
    return subject


async def _prepared_in_slices(
    env: Env, account: str, subjects: Subjects, questions: Sequence[Question | Unreadable]
) -> list[Prepared | Answer]:
    work: list[Prepared | Answer] = []
    reader = KeyReader()
    for number, question in enumerate(questions):
        if number and number % SLICE == 0:
            await env.slices.turn(account)
        work.append(await _prepared(env, subjects, question, reader))
    return work


async def _prepared(
    env: Env, subjects: Subjects, question: Question | Unreadable, reader: KeyReader
) -> Prepared | Answer:
    """The question with its policies, or the answer to one that cannot be decided."""
    if isinstance(question, Unreadable):
        return Answer(False, status=400, error=question.message)
    subject = subjects[_key_of(question)]
    if subject is None:
        return Answer(False, status=404, error="The subject does not exist, or may not act now.")
    try:
        return await prepare(env, subject, question, reader.keys_of(question))
    except ValueError as error:
        return Answer(False, status=400, error=f"{error}.")


async def prepare(env: Env, subject: Subject, question: Question, keys: Mapping[str, Value]) -> Prepared:
    """The question with its policies and its context keys. Raises ValueError with the reason for a question that
    cannot be read.
    """
    resource = resource_arn(question.resource, subject.account)
    action = action_of(question.action, question.resource)
    target = None
    if is_assumption(action, resource, subject.account):
        view = await env.directory.role(subject.account, parse_arn(resource).name)
        found = view if view is not None and view.role.arn == resource else None
        target = target_of(resource, subject.account, found)
        if found is not None:
            subject = replace(subject, policies=under(subject.policies, in_force(env, env.clock.now(), found.role)))
    return of_subject(subject, keys, resource, action, target)


def is_assumption(action: str, resource: str, account: str) -> bool:
    """Whether a role of the account would be assumed: then its trust policy decides too."""
    return fold(action) == _ASSUME and account_of(resource) == account


def of_subject(
    subject: Subject, keys: Mapping[str, Value], resource: str, action: str, target: Target | None
) -> Prepared:
    """A question with these context keys, with this subject's policies."""
    owner, policies = account_of(resource) or subject.account, subject.policies
    context = merged(keys, subject.keys, resource_context(owner))
    if target is not None:
        context["daypass:approved"] = "false"
    query = AccessQuery(subject.facts, action, resource, context)
    return Prepared(query, policies.layers(same_account=owner == subject.account), policies, subject.arn, target)


# --- Deciding --------------------------------------------------------------------------------------------------------


def _is_heavy(ready: Sequence[Prepared], *, reasons: bool) -> bool:
    if reasons and len(ready) > _EXPLAINED:
        return True
    return any(map(_is_large, ready))


def _is_large(item: Prepared) -> bool:
    trust = item.target.trust if item.target is not None else None
    return admission_is_large(item.policies, trust, lambda: item.query.context)


async def _in_slices(
    env: Env, account: str, ready: Sequence[Prepared], semantic: Semantic, *, reasons: bool
) -> list[Outcome]:
    """The decisions on the event loop, in slices of a millisecond or two. Raises DaypassError(LIMIT_EXCEEDED)."""
    outcomes: list[Outcome] = []
    with metered():
        for outcome in _outcomes(ready, semantic, reasons=reasons):
            outcomes.append(outcome)
            if len(outcomes) % SLICE == 0:
                await env.slices.turn(account)
    return outcomes


def decided(ready: Sequence[Prepared], semantic: Semantic, reasons: bool) -> list[Outcome]:  # noqa: FBT001 (heavy work)
    """The decisions, as heavy work. Raises DaypassError(LIMIT_EXCEEDED)."""
    with metered():
        return list(_outcomes(ready, semantic, reasons=reasons))


def _outcomes(ready: Sequence[Prepared], semantic: Semantic, *, reasons: bool) -> Iterator[Outcome]:
    """The decisions in order, up to the one that ends the request."""
    for item in ready:
        outcome = outcome_of(item, reasons=reasons)
        yield outcome
        if semantic.ends(allowed=outcome.decision.allowed):
            return


def outcome_of(item: Prepared, *, reasons: bool) -> Outcome:
    """The decision. Raises OperationOverBudget."""
    query, layers = item.query, item.layers
    if item.target is None:
        decision = evaluate(query, layers)
    else:
        admission = admit(query.principal, item.policies, item.target, (query.action,), query.context)
        decision, query, layers = admission.decision, admission.query, admission.layers
    if decision.allowed or not reasons:
        return Outcome(decision)
    return Outcome(decision, denial_message(query, decision, item.arn), explain(query, layers).to_json())


# --- Answering -------------------------------------------------------------------------------------------------------


async def _answers(
    env: Env,
    call: Call,
    work: Sequence[Prepared | Answer],
    outcomes: Sequence[Outcome],
    semantic: Semantic,
) -> list[Answer]:
    answers: list[Answer] = []
    following, visible = iter(outcomes), None
    for item in work:
        if isinstance(item, Answer):
            answers.append(item)
        else:
            outcome = next(following)
            if outcome.explanation is not None and visible is None:
                visible = await may_see_reasons(env, call)
            answers.append(_answer(env, call, item, outcome, visible=bool(visible)))
        if semantic.ends(allowed=answers[-1].allowed):
            break
    return answers


def _answer(env: Env, call: Call, item: Prepared, outcome: Outcome, *, visible: bool) -> Answer:
    allowed, explanation = outcome.decision.allowed, outcome.explanation
    if explanation is None:
        return Answer(allowed)
    account = item.query.principal.account
    if visible and account == call.caller.account:
        return Answer(allowed, explanation, outcome.message)
    return Answer(allowed, encoded=env.sealer.seal_message(account, pack(explanation, call.facts.request_id, 1)))


async def may_see_reasons(env: Env, call: Call) -> bool:
    """Whether the caller may know why its account's policies deny something."""
    with ignored(ErrorKind.ACCESS_DENIED):
        await authorize(env, call, "sts:DecodeAuthorizationMessage", "*")
        return True
    return False


def _detail(
    questions: Sequence[Question | Unreadable], subjects: Subjects, answers: Sequence[Answer]
) -> Mapping[str, Any]:
    denied = sum(not answer.allowed for answer in answers)
    listed = (
        {
            **question_shown(question, subjects[_key_of(question)]),
            "allowed": answer.allowed,
        }
        for question, answer in zip(questions, answers, strict=False)
        if isinstance(question, Question)
    )
    return {"evaluations": len(answers), "denied": denied, "decisions": list(islice(listed, _ON_RECORD))}
