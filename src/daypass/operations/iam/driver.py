"""Runs one IAM operation: what is acted on, may the caller, do it, record it. The same few lines for all of them.

Nothing is read for the answer, or written, before the caller is authorized; and what was authorized is what is acted on:
if the entity's ARN, tags or boundary changed in between, the decision is taken again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.policy.lint.finding import Finding
from daypass.domain.policy.model import Decision, Value
from daypass.operations.authorize import authorize
from daypass.operations.iam import builtin, documents, faults, subjects
from daypass.operations.iam.work import LINT, REFUSED, Answer, Look, Operation, Params, Subject, Work
from daypass.operations.lint import findings_of
from daypass.operations.outcome import served
from daypass.ports import Call, Env, Reader, Tx

_ATTEMPTS = 20  # of those who change one entity at once, one gets on each time: tools do so ten at a time
_MOST_TOLD = 20
_SECRET_PARAMETERS = frozenset(
    {"Password", "OldPassword", "NewPassword", "AuthenticationCode1", "AuthenticationCode2", "AddPrivateKey"}
)
_RESULT_IDS = (
    *("UserId", "GroupId", "RoleId", "PolicyId", "InstanceProfileId", "AccessKeyId", "VersionId", "Arn"),
    "SerialNumber",
)
_PASSED_TO_MACHINE: Mapping[str, Value] = {"iam:passedtoservice": "ec2.amazonaws.com"}


class _Moved(DaypassError):
    """What was authorized is no longer what would be acted on."""

    def __init__(self) -> None:
        super().__init__(ErrorKind.CONCURRENT_MODIFICATION, faults.MOVED)


async def perform(env: Env, call: Call, operation: Operation, params: Params) -> Answer:
    """The operation's answer, on the record. Raises DaypassError; the caller records refusals."""
    for _ in range(_ATTEMPTS):
        subject, found = await env.directory.read(lambda tx: _prepare(_look(env, tx, call), operation, params))
        decision = await _authorize(env, call, operation, params, subject)
        if isinstance(found, DaypassError):
            raise found
        try:
            if operation.write is not None:
                return await _write(env, call, operation, params, subject, decision, found)
            return await _read(env, call, operation, params, subject, decision)
        except _Moved:
            continue
    raise _Moved


def _look(env: Env, tx: Reader, call: Call) -> Look:
    known = builtin.catalog(env.builtin)
    url = env.limits.public_url
    return Look(tx, call.caller, call.facts, call.now, known, saml_metadata=env.saml_metadata, public_url=url)


def _prepare(look: Look, operation: Operation, params: Params) -> tuple[Subject, DaypassError | tuple[Finding, ...]]:
    """What to authorize; and, found out on this thread and kept for later, what is to say of the request's document."""
    subject = operation.subject(look, params)
    warnings = operation.warn(look, params) if operation.warn else ()
    if operation.document is None:
        return subject, warnings
    name, kind = operation.document
    try:
        documents.parsed(params[name], kind)
    except DaypassError as fault:
        return subject, fault
    role = params.get("RoleName", "")
    return subject, (*findings_of(look.tx, look.account, look.builtin, params[name], kind, role), *warnings)


async def _authorize(env: Env, call: Call, operation: Operation, params: Params, subject: Subject) -> Decision:
    context: dict[str, Value] = dict(subjects.resource_tags(params, subject))
    for keys in operation.keys:
        context.update(keys(params, subject))
    decision = await authorize(env, call, operation.action, subject.arn, context=context, shown=subject.shown)
    for arn in subject.also:
        decision = await authorize(env, call, operation.action, arn, context=context)
    if operation.tagging and params.get("Tags"):
        await authorize(env, call, operation.tagging, subject.arn, context=context, shown=subject.shown)
    if subject.passes:
        await authorize(env, call, "iam:PassRole", subject.passes, context=_PASSED_TO_MACHINE)
    return decision


async def _read(
    env: Env, call: Call, operation: Operation, params: Params, subject: Subject, decision: Decision
) -> Answer:
    def query(tx: Reader) -> Answer:
        look = _look(env, tx, call)
        _same(operation, look, params, subject)
        assert operation.read is not None
        return operation.read(look, params)

    answer = await env.directory.read(query)
    await env.journal.commit(served(call, decision=decision, detail=_detail(params, subject)))
    return answer


async def _write(  # what was asked, and what was found out about it
    env: Env,
    call: Call,
    operation: Operation,
    params: Params,
    subject: Subject,
    decision: Decision,
    findings: tuple[Finding, ...],
) -> Answer:
    gathered = await _gathered(env, call, operation, params)

    def change(tx: Tx) -> tuple[Answer, Event]:
        work = Work(tx, call.caller, call.facts, call.now, builtin.catalog(env.builtin), env.ids, env.sealer, gathered)
        _same(operation, work, params, subject)
        assert operation.write is not None
        answer = operation.write(work, params)
        detail = {**_detail(params, subject), "result": _ids(answer)}
        if findings:
            detail["lint"] = _told(findings)
            answer = {**answer, LINT: "; ".join(detail["lint"])}
        return answer, served(call, kind=EventType.DIRECTORY_CHANGED, decision=decision, detail=detail)

    answer = await env.journal.write(change)
    if operation.conclude is not None:
        operation.conclude(answer)
    return answer


async def _gathered(env: Env, call: Call, operation: Operation, params: Params) -> Any:
    gather = operation.gather
    if gather is None:
        return None
    return await env.directory.read(lambda tx: gather(_look(env, tx, call), params, env.ids))


def _same(operation: Operation, look: Look, params: Params, authorized: Subject) -> None:
    if operation.subject(look, params) != authorized:
        raise _Moved


def _detail(params: Params, subject: Subject) -> dict[str, Any]:
    parameters = {name: "***" if name in _SECRET_PARAMETERS else value for name, value in params.items()}
    return {"resource": subject.arn, "parameters": parameters}


def _told(findings: tuple[Finding, ...]) -> list[str]:
    """Findings as a write tells them: few words, fit for a header. `daypass lint` has the rest."""
    return [f"{found.severity.value} {found.id} {found.line}:{found.column}" for found in findings[:_MOST_TOLD]]


def _ids(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The identifiers of what was made, from the answer's one entity. Never a secret: only these members are taken."""
    ids: dict[str, Any] = {"refused": answer[REFUSED]} if REFUSED in answer else {}
    for member in answer.values():
        if isinstance(member, Mapping):
            ids.update({name: member[name] for name in _RESULT_IDS if name in member})
    return ids
