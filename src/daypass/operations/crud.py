"""The inputs of an operation on the directory, and the type of a row in a service's table.

Operations are synchronous and pure except for the reader or transaction that they receive. They run on a store thread,
a write possibly more than once (when its batch is retried), so they must have no effect other than their answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

from daypass.domain.claims import Caller, RequestFacts
from daypass.domain.directory import Tags
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.policy.document import PolicyKind
from daypass.domain.policy.lint.finding import LintFinding
from daypass.domain.policy.model import Decision, Value
from daypass.domain.ssf import CredentialChange
from daypass.operations.management import allow, read_page, read_recorded
from daypass.operations.outcome import served
from daypass.ports import Call, Env, Ids, Reader, Tx

Params: TypeAlias = Mapping[str, Any]
"""A request's parameters by the member names of the service model; times are integers of milliseconds, blobs bytes."""

Answer: TypeAlias = Mapping[str, Any]
"""An answer by the output member names of the service model; times are integers of milliseconds, blobs bytes."""

LINT: Final = "x-daypass-lint"
"""The key of an answer under which a write returns the linter's findings; on the wire it is a header."""

REFUSED: Final = "x-daypass-refused"
"""The key of an answer that gives, only for the record, the reason why `Operation.after_commit` will refuse."""


@dataclass(frozen=True, slots=True)
class Context:
    """The context of every operation. Each service's ReadContext and WriteContext add what it needs."""

    tx: Reader
    caller: Caller
    facts: RequestFacts
    now: int  # ms

    @property
    def account(self) -> str:
        return self.caller.account


R = TypeVar("R", bound=Context)
"""A service's ReadContext."""
W = TypeVar("W", bound=Context)
"""A service's WriteContext."""


@dataclass(frozen=True, slots=True)
class Permission:
    """An additional permission that a request needs.

    `action`: "" for the operation's own one. `context`: context keys that replace the request's.
    """

    arn: str
    action: str = ""
    context: Mapping[str, Value] | None = None


@dataclass(frozen=True, slots=True)
class AuthorizedResource:
    """The resource of an operation, as policies see it.

    `arn` is that of the entity if it exists, and `tags` are its current ones. `also` lists further permissions: on the
    new name of a renamed user, or iam:PassRole on a role that is passed to a machine. `shown` is the name of the
    resource in a denial where AWS does not use its ARN ("role deployer").
    """

    arn: str
    also: tuple[Permission, ...] = ()
    tags: Tags = ()
    boundary_arn: str | None = None
    shown: str = ""


@dataclass(frozen=True)  # without slots: a generic alias could not create an instance
class DirectoryOperation(Generic[R, W]):
    """One row of a service's table.

    Exactly one of `read` and `write` is given.
    """

    name: str  # as in the API
    resource: Callable[[R, Params], AuthorizedResource]  # what to authorize
    # read, write: executes the operation and returns the answer.
    read: Callable[[R, Params], Answer] | None = None
    write: Callable[[W, Params], Answer] | None = None
    # Further context keys of the request.
    keys: tuple[Callable[[Params, AuthorizedResource], Mapping[str, Value]], ...] = ()
    # A parameter with a policy, which must parse before anything else is tried.
    document: tuple[str, PolicyKind] | None = None
    # Off the writer's thread, refuses what takes time to check, or returns the linter's findings. Only authorized
    # callers see the refusal.
    check: Callable[[R, Params], Sequence[LintFinding] | None] | None = None
    # Does slow work before a write, after authorization and on another thread or process, because all share the
    # writer's thread.
    gather: Callable[[R, Params, Ids], Any] | None = None
    # May refuse after the write is durable, for example because of a failure that was counted.
    after_commit: Callable[[Answer], None] | None = None
    # The changes of credentials that a write was, for event streams.
    credential: Callable[[W, Params, Answer], Sequence[CredentialChange]] | None = field(default=None, kw_only=True)
    tagging: str = field(default="", kw_only=True)  # the additional action of a request with Tags
    # Its `read` or `gather` is heavy work: evaluation, hashing, a report (see `operations.heavy`).
    heavy: bool = field(default=False, kw_only=True)
    urgent: bool = field(default=False, kw_only=True)  # it removes permissions, so it may use the reserved capacity


# --- Details of events


_SECRET_PARAMETERS: Final = frozenset(
    {"Password", "OldPassword", "NewPassword", "AuthenticationCode1", "AuthenticationCode2", "AddPrivateKey"}
)
_MAX_FINDINGS: Final = 20


def detail_of(params: Params, resource: AuthorizedResource) -> dict[str, Any]:
    """The detail of an event."""
    shown = {name: "***" if name in _SECRET_PARAMETERS else recordable(value) for name, value in params.items()}
    return {"resource": resource.arn, "parameters": shown}


def recordable(value: Any) -> Any:
    """Parameters for the record. A blob, which JSON does not have, is replaced by its digest."""
    if isinstance(value, Mapping):
        return {key: recordable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [recordable(item) for item in value]
    return f"sha256:{hashlib.sha256(value).hexdigest()}" if isinstance(value, bytes) else value


def identifiers(answer: Answer, members: Iterable[str]) -> dict[str, Any]:
    """The identifiers of a created entity, from the only entity in the answer. Only `members` are copied, never a secret."""
    detail: dict[str, Any] = {"refused": answer[REFUSED]} if REFUSED in answer else {}
    for member in answer.values():
        if isinstance(member, Mapping):
            detail.update({name: member[name] for name in members if name in member})
    return detail


def findings_shown(findings: Iterable[LintFinding]) -> list[str]:
    """Findings in short form, for the record and a response header. `daypass lint` shows all of them."""
    shown = [f"{finding.severity.value} {finding.id} {finding.line}:{finding.column}" for finding in findings]
    return shown[:_MAX_FINDINGS]


# --- Operations of the management API on one kind of entity


class Owned(Protocol):
    """An entity that belongs to an account."""

    @property
    def account(self) -> str: ...


E = TypeVar("E", bound=Owned)


@dataclass(frozen=True, slots=True)
class Collection(Generic[E]):
    """The entities of one class in each account.

    Args:
        entity: their class. It has the field `key`.
        action: the noun in the names of actions: "Guardrail" gives `daypass:GetGuardrail`, `daypass:ListGuardrails`.
        resource: the kind in their ARNs, "guardrail".
        noun: in messages, "guardrail".
        limit: how many an account can have; 0: the module checks it.
        key: the field that identifies one in its account.
        identity: the field that the record names; default: `key`.
    """

    entity: type[E]
    action: str
    resource: str
    noun: str
    limit: int = 0
    key: str = "name"
    identity: str = ""

    def existing(self, tx: Reader, account: str, key: str) -> E:
        """Raises DaypassError(NOT_FOUND)."""
        entity = tx.get(self.entity, account=account, **{self.key: key})
        if entity is None:
            named = "with name " if self.key == "name" else ""
            raise DaypassError(ErrorKind.NOT_FOUND, f"The {self.noun} {named}{key[:300]} cannot be found.")
        return entity

    async def authorized(self, env: Env, call: Call, action: str, key: str, account: str) -> tuple[E, Decision]:
        """The entity, for an action on it. `account`: "" is the caller's. Raises DaypassError: ACCESS_DENIED, NOT_FOUND."""
        owner = account or call.caller.account
        decision = await allow(env, call, action, self.resource, key, owner)
        entity = await env.directory.read(lambda tx: self.existing(tx, owner, key), account=call.caller.account)
        return entity, decision

    async def get(self, env: Env, call: Call, key: str, account: str = "") -> E:
        """Get…, recorded. Raises DaypassError: ACCESS_DENIED, NOT_FOUND."""
        entity, decision = await self.authorized(env, call, f"Get{self.action}", key, account)
        await env.journal.commit(
            served(call, account=account or call.caller.account, decision=decision, detail=self._named(entity))
        )
        return entity

    async def every(self, env: Env, call: Call, account: str = "") -> list[E]:
        """List…, recorded, of a kind of which an account has few."""
        return (await self.page(env, call, account))[0]

    async def page(
        self, env: Env, call: Call, account: str = "", after: str = "", limit: int = 999
    ) -> tuple[list[E], str]:
        """List…, recorded: one page by key, and `after` of the next page ("" at the end). Raises
        DaypassError(ACCESS_DENIED).
        """

        def query(tx: Reader, owner: str) -> tuple[list[E], str]:
            return read_page(tx, self.entity, self.key, after, limit, account=owner)

        return await read_recorded(env, call, f"List{self.action}s", self.resource, "*", account, query)

    def put(self, tx: Tx, old: E | None, made: E) -> None:
        """Stores `made` in the place of `old`. Raises DaypassError(LIMIT_EXCEEDED) when the account has too many."""
        if old is not None:
            tx.replace(made)
            return
        if self.limit and tx.count(self.entity, account=made.account) >= self.limit:
            raise DaypassError(ErrorKind.LIMIT_EXCEEDED, f"An account has at most {self.limit} {self.noun}s.")
        tx.insert(made)

    async def delete(self, env: Env, call: Call, key: str, account: str = "", decision: Decision | None = None) -> None:
        """Delete…, recorded. `decision`: when the caller has authorized it. Raises DaypassError: ACCESS_DENIED,
        NOT_FOUND.
        """
        owner = account or call.caller.account
        decided = decision or await allow(env, call, f"Delete{self.action}", self.resource, key, owner)

        def change(tx: Tx) -> tuple[None, Event]:
            old = self.existing(tx, owner, key)
            tx.delete(old)
            return None, self.changed(call, old, decided, deleted=True)

        await env.journal.write(change, account=call.caller.account)

    def changed(self, call: Call, entity: E, decision: Decision, **detail: Any) -> Event:
        """The event of a change. `detail`: what else it says."""
        return served(
            call,
            kind=EventType.DIRECTORY_CHANGED,
            account=entity.account,
            decision=decision,
            detail={**self._named(entity), **detail},
        )

    def _named(self, entity: E) -> dict[str, Any]:
        """How the record names the entity: `{"approval_rule": "prod"}`."""
        return {self.resource.replace("-", "_"): getattr(entity, self.identity or self.key)}
