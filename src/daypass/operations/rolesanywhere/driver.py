"""Runs one operation of IAM Roles Anywhere: may the caller, do it, record it. The same few lines for all of them.

Nothing is read for the answer, or written, before the caller is authorized; and what was authorized is what is acted on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from daypass.domain.context import tag_keys
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.policy.model import Decision, Value
from daypass.operations.authorize import authorize
from daypass.operations.outcome import served
from daypass.operations.rolesanywhere.work import Answer, Look, Operation, Params, Subject, Work
from daypass.ports import Call, CertificateVerifier, Env, Reader, Tx

_ATTEMPTS = 5


class _Moved(DaypassError):
    """What was authorized is no longer what would be acted on."""

    def __init__(self) -> None:
        super().__init__(ErrorKind.CONCURRENT_MODIFICATION, "The resource is being changed by another request.")


async def perform(env: Env, call: Call, operation: Operation, params: Params) -> Answer:
    """The operation's answer, on the record. Raises DaypassError; the caller records refusals."""
    certificates = env.certificates
    if certificates is None:
        raise DaypassError(ErrorKind.UNSUPPORTED_OPERATION, "X.509 sessions are not served here.")
    for _ in range(_ATTEMPTS):
        subject, fault = await env.directory.read(
            lambda tx: _prepare(Look(tx, call.caller, call.facts, call.now, certificates), operation, params)
        )
        decision = await _authorize(env, call, operation, params, subject)
        if fault is not None:
            raise fault
        try:
            if operation.write is not None:
                return await _write(env, call, operation, params, subject, decision, certificates)
            return await _read(env, call, operation, params, subject, decision, certificates)
        except _Moved:
            continue
    raise _Moved


def _prepare(look: Look, operation: Operation, params: Params) -> tuple[Subject, DaypassError | None]:
    subject = operation.subject(look, params)
    if operation.check is not None:
        try:
            operation.check(look, params)
        except DaypassError as fault:
            return subject, fault
    return subject, None


async def _authorize(env: Env, call: Call, operation: Operation, params: Params, subject: Subject) -> Decision:
    context: dict[str, Value] = tag_keys("aws:resourcetag/", subject.tags)
    for keys in operation.keys:
        context.update(keys(params))
    decision = await authorize(env, call, operation.action, subject.arn, context=context)
    for also in subject.also:
        await authorize(env, call, also.action, also.arn, context=also.context)
    return decision


async def _read(
    env: Env,
    call: Call,
    operation: Operation,
    params: Params,
    subject: Subject,
    decision: Decision,
    certificates: CertificateVerifier,
) -> Answer:
    def query(tx: Reader) -> Answer:
        look = Look(tx, call.caller, call.facts, call.now, certificates)
        _same(operation, look, params, subject)
        assert operation.read is not None
        return operation.read(look, params)

    answer = await env.directory.read(query)
    await env.journal.commit(served(call, decision=decision, detail=_detail(params, subject)))
    return answer


async def _write(
    env: Env,
    call: Call,
    operation: Operation,
    params: Params,
    subject: Subject,
    decision: Decision,
    certificates: CertificateVerifier,
) -> Answer:
    def change(tx: Tx) -> tuple[Answer, Event]:
        work = Work(tx, call.caller, call.facts, call.now, certificates, env.ids)
        _same(operation, work, params, subject)
        assert operation.write is not None
        answer = operation.write(work, params)
        detail = {**_detail(params, subject), "result": _ids(answer)}
        return answer, served(call, kind=EventType.DIRECTORY_CHANGED, decision=decision, detail=detail)

    return await env.journal.write(change)


def _same(operation: Operation, look: Look, params: Params, authorized: Subject) -> None:
    if operation.subject(look, params) != authorized:
        raise _Moved


def _detail(params: Params, subject: Subject) -> dict[str, Any]:
    return {"resource": subject.arn, "parameters": recordable(params)}


def recordable(value: Any) -> Any:
    """Parameters for the record: what is no JSON, a blob, is there as its digest."""
    if isinstance(value, Mapping):
        return {key: recordable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [recordable(item) for item in value]
    return f"sha256:{hashlib.sha256(value).hexdigest()}" if isinstance(value, bytes) else value


def _ids(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The identifiers of what was made or changed."""
    return {
        name: value
        for member in answer.values()
        if isinstance(member, Mapping)
        for name, value in member.items()
        if name.endswith(("Arn", "Id")) and isinstance(value, str)
    }
