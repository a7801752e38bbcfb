"""Runs one operation on the directory: find the resource, authorize, execute, record.

The caller is authorized before anything is read for the answer, or written. The operation applies to the resource that
was authorized: if the entity's ARN, tags or boundary changed meanwhile, the decision is made again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, TypeAlias, TypeVar

from daypass.domain.context import tag_keys
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.policy.lint.finding import LintFinding
from daypass.domain.policy.model import Decision, Value
from daypass.operations import heavy
from daypass.operations.authorize import authorize
from daypass.operations.crud import (
    LINT,
    Answer,
    AuthorizedResource,
    DirectoryOperation,
    Params,
    R,
    W,
    detail_of,
    findings_shown,
    identifiers,
)
from daypass.operations.outcome import served
from daypass.operations.ssf.push import announce
from daypass.ports import Call, Env, Scene, Tx

Prepared: TypeAlias = "tuple[AuthorizedResource, DaypassError | tuple[LintFinding, ...]]"
"""The resource to authorize, and the refusal or the linter's findings that follow from the request."""

T = TypeVar("T")

_ATTEMPTS: Final = 20  # concurrent writers of an entity succeed one at a time; tools send ten at once


class ResourceChanged(DaypassError):
    """The authorized resource is no longer the current one."""

    def __init__(self, public: str) -> None:
        super().__init__(ErrorKind.CONCURRENT_MODIFICATION, public)


class Service(ABC, Generic[R, W]):
    """The properties of one service. Each service has one instance, which heavy work finds by its name."""

    prefix: ClassVar[str]
    """The prefix of its actions: "iam"."""
    instance: ClassVar[str]
    """The name of the instance in the module of its class."""
    tag_prefixes: ClassVar[tuple[str, ...]] = ("aws:resourcetag/",)
    """The prefix of the context keys for the resource's tags."""
    identifiers: ClassVar[tuple[str, ...]]
    """The members of an answer's entity that are recorded."""
    changed: ClassVar[str]
    """The error when others change the resource repeatedly."""

    def __reduce__(self) -> str:
        return self.instance

    @property
    @abstractmethod
    def operations(self) -> Mapping[str, DirectoryOperation[R, W]]:
        """The table."""

    @abstractmethod
    def reading(self, scene: Scene, call: Call) -> R: ...

    @abstractmethod
    def writing(self, env: Env, tx: Tx, call: Call, gathered: Any) -> W:
        """`gathered`: the result of the operation's `gather`."""

    def check(self, context: R, operation: DirectoryOperation[R, W], params: Params) -> tuple[LintFinding, ...]:
        """The linter's findings. Raises DaypassError for an invalid document."""
        findings = operation.check(context, params) if operation.check is not None else None
        return tuple(findings or ())

    def checked(self, operation: DirectoryOperation[R, W], params: Params) -> Any:  # noqa: ARG002  # for services that check documents
        """The result of `check` for a document in this process, for `remember` in another."""
        return None

    def remember(self, operation: DirectoryOperation[R, W], params: Params, checked: Any) -> None:
        """Caches what `check` computed in another process, so that the writer's thread need not."""


@dataclass(frozen=True, slots=True)
class _Authorized:
    resource: AuthorizedResource
    decision: Decision
    findings: tuple[LintFinding, ...]


async def perform(
    env: Env, call: Call, service: Service[R, W], operation: DirectoryOperation[R, W], params: Params
) -> Answer:
    """The operation's answer, after it is recorded. Raises DaypassError; the caller records refusals."""
    answer: Answer = await _Request(env, call, service, operation, params).perform()
    return answer


async def perform_rendered(
    env: Env,
    call: Call,
    service: Service[R, W],
    operation: DirectoryOperation[R, W],
    params: Params,
    render: Callable[[Answer], bytes],
) -> bytes:
    """The rendered answer of an operation that reads as heavy work. An answer may have tens of thousands of members,
    so it is rendered where it is made. `render` is a function of a module, or a `partial` of one.
    """
    if operation.read is None or not operation.heavy:
        raise ValueError(f"{operation.name} does not read as heavy work")
    rendered: bytes = await _Request(env, call, service, operation, params, render).perform()
    return rendered


@dataclass(frozen=True)  # without slots: a generic alias could not create an instance
class _Request(Generic[R, W]):
    """One request for an operation. `render`: see `perform_rendered`."""

    env: Env
    call: Call
    service: Service[R, W]
    operation: DirectoryOperation[R, W]
    params: Params
    render: Callable[[Answer], bytes] | None = None

    async def perform(self) -> Any:
        for _ in range(_ATTEMPTS):
            resource, found = await self._prepared()
            decision = await self._authorize(resource)
            if isinstance(found, DaypassError):
                raise found
            authorized = _Authorized(resource, decision, found)
            try:
                if self.operation.write is not None:
                    return await self._write(authorized)
                return await self._read(authorized)
            except ResourceChanged:
                continue
        raise ResourceChanged(self.service.changed)

    async def _prepared(self) -> Prepared:
        """See `_prepare`. A document is not checked again on the writer's thread."""
        document = self.operation.document
        size = len(self.params[document[0]]) if document is not None else 0
        prepared, checked = await self._run(_prepare, size=size, urgent=self.operation.urgent)
        self.service.remember(self.operation, self.params, checked)
        return prepared

    async def _authorize(self, resource: AuthorizedResource) -> Decision:
        """The last decision on the operation's own action. All the other decisions must allow too."""
        env, call, operation = self.env, self.call, self.operation
        context: dict[str, Value] = {}
        for prefix in self.service.tag_prefixes:
            context.update(tag_keys(prefix, resource.tags))
        for keys in operation.keys:
            context.update(keys(self.params, resource))
        action = f"{self.service.prefix}:{operation.name}"
        decision = await authorize(env, call, action, resource.arn, context=context, shown=resource.shown)
        for also in resource.also:
            wanted, known = also.action or action, context if also.context is None else also.context
            further = await authorize(env, call, wanted, also.arn, context=known)
            decision = further if wanted == action else decision
        if operation.tagging and self.params.get("Tags"):
            await authorize(env, call, operation.tagging, resource.arn, context=context, shown=resource.shown)
        return decision

    async def _read(self, authorized: _Authorized) -> Answer | bytes:
        resource = authorized.resource
        answer = await self._run(_read, resource, self.render, size=self._size)
        if answer is None:
            raise ResourceChanged(self.service.changed)
        detail = detail_of(self.params, resource)
        await self.env.journal.commit(served(self.call, decision=authorized.decision, detail=detail))
        return answer

    async def _write(self, authorized: _Authorized) -> Answer:
        env, call, service, operation, params = self.env, self.call, self.service, self.operation, self.params
        gathered = None
        if operation.gather is not None:
            gathered = await self._run(_gather, size=self._size)
            await self._authorize(authorized.resource)  # it waited its turn, for seconds under load

        def change(tx: Tx) -> tuple[Answer, Event]:
            if operation.resource(service.reading(env.scene(tx), call), params) != authorized.resource:
                raise ResourceChanged(service.changed)
            assert operation.write is not None
            context = service.writing(env, tx, call, gathered)
            answer = operation.write(context, params)
            if operation.credential is not None:
                changed = operation.credential(context, params, answer)
                announce(env, tx, changed, call.now, actor_id=call.caller.principal_id)
            detail = {**detail_of(params, authorized.resource), "result": identifiers(answer, service.identifiers)}
            if authorized.findings:
                detail["lint"] = findings_shown(authorized.findings)
                answer = {**answer, LINT: "; ".join(detail["lint"])}
            return answer, served(call, kind=EventType.DIRECTORY_CHANGED, decision=authorized.decision, detail=detail)

        answer = await env.journal.write(change, account=call.caller.account, urgent=operation.urgent)
        if operation.after_commit is not None:
            operation.after_commit(answer)
        return answer

    @property
    def _size(self) -> int | None:
        """The size of `read` and `gather`, as in `heavy.read`."""
        return None if self.operation.heavy else 0

    async def _run(self, work: Callable[..., T], *args: Any, size: int | None, urgent: bool = False) -> T:
        named = (self.service, self.operation.name, self.call, self.params)
        return await heavy.read(self.env, self.call, work, *named, *args, size=size, urgent=urgent)


# --- Work that reads, in this process or another: a service and an operation are passed by name -------------------------


def _prepare(scene: Scene, service: Service[R, W], name: str, call: Call, params: Params) -> tuple[Prepared, Any]:
    """The resource to authorize and the linter's findings, and what the check computed, for the write."""
    operation, context = service.operations[name], service.reading(scene, call)
    resource = operation.resource(context, params)
    found: DaypassError | tuple[LintFinding, ...]
    try:
        found = service.check(context, operation, params)
    except DaypassError as fault:
        found = fault
    return (resource, found), service.checked(operation, params)


def _read(
    scene: Scene,
    service: Service[R, W],
    name: str,
    call: Call,
    params: Params,
    authorized: AuthorizedResource,
    render: Callable[[Answer], bytes] | None,
) -> Answer | bytes | None:
    """The answer; None when the authorized resource is no longer the current one."""
    operation, context = service.operations[name], service.reading(scene, call)
    if operation.resource(context, params) != authorized:
        return None
    assert operation.read is not None
    answer = operation.read(context, params)
    return answer if render is None else render(answer)


def _gather(scene: Scene, service: Service[R, W], name: str, call: Call, params: Params) -> Any:
    gather = service.operations[name].gather
    assert gather is not None
    return gather(service.reading(scene, call), params, scene.ids)
