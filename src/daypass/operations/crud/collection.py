"""The engine of the management API's collections: entities of an account that are shown, listed, stored and deleted.

Guardrails, approval rules, notification channels, OAuth clients and resource servers are each one `Collection`. The
module of its operations checks the content of an entity and further conditions of a change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.policy.model import Decision
from daypass.operations.management import allow, read_page, read_recorded
from daypass.operations.outcome import served
from daypass.ports import Call, Env, Reader, Tx


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
