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

from daypass.domain.authzen import Evaluation, KeyReader, action_of, resource_arn
from daypass.domain.directory import ReplayEntry
from daypass.domain.errors import DaypassError, ErrorKind, ignored
from daypass.domain.policy.budget import metered
from daypass.domain.policy.explain import denial_message
from daypass.domain.policy.model import Value
from daypass.domain.question import Principal, Question, decide
from daypass.operations import heavy
from daypass.operations.access.requestable import approval_keys
from daypass.operations.access.snapshot import assumes
from daypass.operations.access.subject import (
    ACCESS_TOKEN,
    AUDIENCE,
    account_named,
    question_shown,
    role_to_assume,
    subject_of,
)
from daypass.operations.assume.request import commit_once
from daypass.operations.authorize import admission_is_large, authorize
from daypass.operations.blocks import under
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


class Semantic(StrEnum):
    """Which of several questions are decided (AuthZEN, 7.1.2.1)."""

    EXECUTE_ALL = "execute_all"
    DENY_ON_FIRST_DENY = "deny_on_first_deny"
    PERMIT_ON_FIRST_PERMIT = "permit_on_first_permit"

    def ends(self, *, allowed: bool) -> bool:
        """Whether a decision is the last one."""
        return self is (Semantic.PERMIT_ON_FIRST_PERMIT if allowed else Semantic.DENY_ON_FIRST_DENY)


class AccessAnswer(Struct, frozen=True):
    """A decision, and what the caller may know of it. `status` and `error`: the question could not be decided."""

    allowed: bool
    explanation: Mapping[str, Any] | None = None
    message: str = ""
    encoded: str = ""
    status: int = 0
    error: str = ""


def unreadable(reason: str) -> AccessAnswer:
    """The denial of a question that cannot be read."""
    return AccessAnswer(False, status=400, error=reason)


async def evaluate_access(
    env: Env,
    call: Call,
    questions: Sequence[Evaluation | AccessAnswer],
    semantic: Semantic = Semantic.EXECUTE_ALL,
    *,
    reasons: bool = True,
    replays: Sequence[ReplayEntry] = (),
) -> list[AccessAnswer]:
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
    ready = [item for item in work if isinstance(item, Question)]
    if _is_heavy(ready, reasons=reasons):
        decisions = await heavy.compute_for(env, call, decided, ready, semantic, reasons)
    else:
        decisions = await _in_slices(env, account, ready, semantic, reasons=reasons)
    if len(work) > SLICE:
        await env.slices.turn(account)
    answers = await _answers(env, call, work, decisions, semantic)
    recorded = env.limits.record_decisions
    if replays or recorded == "all" or (recorded == "denied" and not all(answer.allowed for answer in answers)):
        detail = _detail(questions, subjects, answers)
        await commit_once(env, served(call, decision=permission, detail=detail), replays)
    return answers


# --- Preparing -------------------------------------------------------------------------------------------------------


Subjects = Mapping[tuple[str, str, str], Principal | None]


async def _subjects(env: Env, call: Call, questions: Iterable[Evaluation | AccessAnswer]) -> Subjects:
    """Every subject once, by its type and id."""
    found: dict[tuple[str, str, str], Principal | None] = {}
    for question in questions:
        if isinstance(question, Evaluation) and (key := _key_of(question)) not in found:
            found[key] = await permitted_subject(env, call, question, ACTION)
    return found


def _key_of(question: Evaluation) -> tuple[str, str, str]:
    entity = question.subject
    return entity.type, entity.id, str(entity.properties.get(AUDIENCE, ""))


async def permitted_subject(env: Env, call: Call, question: Evaluation, action: str) -> Principal | None:
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
    env: Env, account: str, subjects: Subjects, questions: Sequence[Evaluation | AccessAnswer]
) -> list[Question | AccessAnswer]:
    work: list[Question | AccessAnswer] = []
    reader = KeyReader()
    for number, question in enumerate(questions):
        if number and number % SLICE == 0:
            await env.slices.turn(account)
        work.append(await _prepared(env, subjects, question, reader))
    return work


async def _prepared(
    env: Env, subjects: Subjects, question: Evaluation | AccessAnswer, reader: KeyReader
) -> Question | AccessAnswer:
    """The question with its policies, or the answer to one that cannot be decided."""
    if isinstance(question, AccessAnswer):
        return question
    subject = subjects[_key_of(question)]
    if subject is None:
        return AccessAnswer(False, status=404, error="The subject does not exist, or may not act now.")
    try:
        return await prepare(env, subject, question, reader.keys_of(question))
    except ValueError as error:
        return unreadable(f"{error}.")


async def prepare(env: Env, subject: Principal, asked: Evaluation, keys: Mapping[str, Value]) -> Question:
    """The question with its policies and its context keys. Raises ValueError with the reason for a question that
    cannot be read.
    """
    resource = resource_arn(asked.resource, subject.account)
    action = action_of(asked.action, asked.resource)
    if not assumes(action, resource, subject.account):
        return subject.asks(action, resource, context=keys)
    target, blocks = await role_to_assume(env, env.clock.now(), resource)
    approved = await approval_keys(env, subject, resource, asked.context)
    own = {**subject.keys, "daypass:approved": "false", **approved}
    blocked = replace(subject, keys=own, policies=under(subject.policies, blocks))
    return blocked.asks(action, resource, target, context=keys)


# --- Deciding --------------------------------------------------------------------------------------------------------


def _is_heavy(ready: Sequence[Question], *, reasons: bool) -> bool:
    if reasons and len(ready) > _EXPLAINED:
        return True
    return any(map(_is_large, ready))


def _is_large(item: Question) -> bool:
    trust = item.target.trust if item.target is not None else None
    return admission_is_large(item.policies, trust, lambda: item.query.context)


async def _in_slices(
    env: Env, account: str, ready: Sequence[Question], semantic: Semantic, *, reasons: bool
) -> list[AccessAnswer]:
    """The decisions on the event loop, in slices of a millisecond or two. Raises DaypassError(LIMIT_EXCEEDED)."""
    answers: list[AccessAnswer] = []
    with metered():
        for answer in _decisions(ready, semantic, reasons=reasons):
            answers.append(answer)
            if len(answers) % SLICE == 0:
                await env.slices.turn(account)
    return answers


def decided(ready: Sequence[Question], semantic: Semantic, reasons: bool) -> list[AccessAnswer]:  # noqa: FBT001 (heavy work)
    """The decisions, as heavy work. Raises DaypassError(LIMIT_EXCEEDED)."""
    with metered():
        return list(_decisions(ready, semantic, reasons=reasons))


def _decisions(ready: Sequence[Question], semantic: Semantic, *, reasons: bool) -> Iterator[AccessAnswer]:
    """The decisions in order, up to the one that ends the request. Raises OperationOverBudget."""
    for question in ready:
        found = decide(question)
        allowed = found.decision.allowed
        if allowed or not reasons:
            yield AccessAnswer(allowed)
        else:
            message = denial_message(found.query, found.decision, question.query.principal.arns[0][0])
            yield AccessAnswer(allowed, found.explained().to_json(), message)
        if semantic.ends(allowed=allowed):
            return


# --- Answering -------------------------------------------------------------------------------------------------------


async def _answers(
    env: Env, call: Call, work: Sequence[Question | AccessAnswer], decisions: Sequence[AccessAnswer], semantic: Semantic
) -> list[AccessAnswer]:
    """Answers to all questions, also undecidable ones, with the details that the caller may know."""
    answers: list[AccessAnswer] = []
    following, visible = iter(decisions), None
    for item in work:
        answer = item if isinstance(item, AccessAnswer) else next(following)
        if isinstance(item, Question) and answer.explanation is not None:
            if visible is None:
                visible = await may_see_reasons(env, call)
            account = item.query.principal.account
            if not visible or account != call.caller.account:
                packed = pack(answer.explanation, call.facts.request_id, 1)
                answer = AccessAnswer(answer.allowed, encoded=env.sealer.seal_message(account, packed))
        answers.append(answer)
        if semantic.ends(allowed=answer.allowed):
            break
    return answers


async def may_see_reasons(env: Env, call: Call) -> bool:
    """Whether the caller may know why its account's policies deny something."""
    with ignored(ErrorKind.ACCESS_DENIED):
        await authorize(env, call, "sts:DecodeAuthorizationMessage", "*")
        return True
    return False


def _detail(
    questions: Sequence[Evaluation | AccessAnswer], subjects: Subjects, answers: Sequence[AccessAnswer]
) -> Mapping[str, Any]:
    denied = sum(not answer.allowed for answer in answers)
    listed = (
        {**question_shown(question, subjects[_key_of(question)]), "allowed": answer.allowed}
        for question, answer in zip(questions, answers, strict=False)
        if isinstance(question, Evaluation)
    )
    return {"evaluations": len(answers), "denied": denied, "decisions": list(islice(listed, _ON_RECORD))}
