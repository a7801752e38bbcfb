"""What the management API takes and gives. Times are milliseconds since the epoch, UTC, or null; unknown members are refused."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Annotated, Any, Self

from fastapi import Depends, Path, Query, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from daypass.domain.directory import Role
from daypass.domain.session import SessionClaims
from daypass.operations.record.summarize import Summary
from daypass.ports import Call, Env, RecordView, SessionView

_MAX_MS = 2**53 - 1
_MAX_SEQ = 2**63 - 1


def _env(request: Request) -> Env:
    env: Env = request.app.state.env
    return env


def _call(request: Request) -> Call:
    call: Call = request.state.call
    return call


EnvDep = Annotated[Env, Depends(_env)]
CallDep = Annotated[Call, Depends(_call)]
"""The authenticated call; set by SignedRoute."""

_ACCOUNT = r"^([0-9]{12}|\*)?$"
_ACCOUNT_IS = "Account id; empty: your own; `*`: every one (operator only)."
AccountQuery = Annotated[str, Query(pattern=_ACCOUNT, description=_ACCOUNT_IS)]
LimitQuery = Annotated[int, Query(ge=1, le=1000, description="Items in one page, at most.")]
TimeQuery = Annotated[int, Query(ge=0, le=_MAX_MS, description="Milliseconds since the epoch, UTC.")]
AfterQuery = Annotated[str, Query(max_length=128, description="`next` of the page before.")]
AccountPath = Annotated[str, Path(pattern=r"^[0-9]{12}$")]
IdPath = Annotated[str, Path(max_length=128)]
SeqPath = Annotated[int, Path(ge=0, le=_MAX_SEQ)]
Millis = Annotated[int, Field(strict=True, ge=0, le=_MAX_MS)]
OptionalMillis = Annotated[int | None, BeforeValidator(lambda at: at or None)]
"""A time in an answer; null while it has not come. Entities store 0."""
Seq = Annotated[int, Field(strict=True, ge=-1, le=_MAX_SEQ)]


def members(most: int) -> BeforeValidator:
    """Refuses an object with more members before any of them is looked at: each invalid one is a fault of its own, which
    costs microseconds (attack A227). `max_length` is checked after that, and describes the limit.
    """

    def check(value: object) -> object:
        if isinstance(value, dict) and len(value) > most:
            raise ValueError(f"an object with at most {most} members is needed")
        return value

    return BeforeValidator(check)


class In(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    def fields(self, *without: str) -> dict[str, Any]:
        """The members except `without`, for the request of an operation whose fields have the same names. Lists are tuples."""
        members = self.model_dump(exclude=set(without))
        return {name: tuple(value) if isinstance(value, list) else value for name, value in members.items()}


class QueryIn(BaseModel):
    """Query parameters: text that is read as what it must be."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Out(BaseModel):
    model_config = ConfigDict(frozen=True)

    @classmethod
    def copied(cls, source: object, /, **members: Any) -> Self:
        """The answer with these members, and every other one from the attribute of `source` that has its name."""
        return cls(**members, **{name: getattr(source, name) for name in cls.model_fields if name not in members})


class EntityOut(Out):
    """The answer about an entity whose fields have the same names."""

    @classmethod
    def of(cls, entity: object) -> Self:
        return cls.copied(entity)


class DeliveryOut(EntityOut):
    """Something in a queue of deliveries: a notification or a security event."""

    id: str
    outcome: str = Field(description="Empty while it waits; delivered or dead.")
    attempts: int
    created_at: int
    error: str


# --- Errors


class ErrorBody(Out):
    code: str = Field(examples=["AccessDenied"])
    message: str
    request_id: str
    encoded_authorization_message: str | None = None


class ErrorOut(Out):
    error: ErrorBody


# --- Accounts


class AccountIn(In):
    name: str = Field(min_length=1, max_length=50)
    id: str = Field("", max_length=12, description="12 digits; empty: a free number is chosen.")
    root_key: bool = Field(False, description="Also make a root access key; its secret is shown this once.")


class AccountOut(EntityOut):
    id: str
    name: str
    operator: bool
    created_at: int


class RootKeyOut(Out):
    access_key_id: str
    secret_access_key: str


class NewAccountOut(AccountOut):
    root_key: RootKeyOut | None = None


class AccountsOut(Out):
    accounts: list[AccountOut]
    next: str = Field("", description="`after` of the next page; empty at the end.")


# --- Sessions and revocations


class SessionQuery(QueryIn):
    account: str = Field("", pattern=_ACCOUNT, description=_ACCOUNT_IS)
    principal_id: str = Field("", max_length=2048, description="A role or user, by unique id, name or ARN.")
    root_principal_id: str = Field("", max_length=2048, description="Whoever began the chain, likewise.")
    active: bool | None = None
    revoked: bool | None = None
    after: str = Field("", max_length=128, description="`next` of the page before.")
    limit: int = Field(100, ge=1, le=1000)


class HopOut(EntityOut):
    session_id: str
    account: str
    principal_id: str
    access_key_id: str
    name: str
    issued_at: int


class SessionOut(Out):
    session_id: str
    kind: str
    state: str = Field(description="active, expired or revoked.")
    account: str
    access_key_id: str
    principal_id: str
    arn: str
    name: str
    issued_at: int
    expires_at: int
    source_identity: str
    depth: int
    revoked_by: str = Field(description="Id of the revocation that ended it; empty if none did.")
    hops: list[HopOut] = Field(description="The chain of custody, from the original principal to the session itself.")
    log: str
    seq: int

    @classmethod
    def of(cls, view: SessionView) -> SessionOut:
        claims, ended = view.claims, "revoked" if view.revoked_by is not None else "expired"
        return cls.copied(
            claims,
            kind=claims.kind.value,
            state="active" if view.active else ended,
            access_key_id=claims.hops[-1].access_key_id,
            depth=view.depth,
            revoked_by=view.revoked_by.id if view.revoked_by is not None else "",
            hops=_chain(claims),
            log=view.log,
            seq=view.seq,
        )


class CallerSessionOut(Out):
    session_id: str
    account: str
    principal_id: str
    arn: str
    name: str
    issued_at: int
    expires_at: int
    source_identity: str
    hops: list[HopOut] = Field(description="The chain of custody, from the original principal to the session itself.")

    @classmethod
    def of(cls, claims: SessionClaims) -> CallerSessionOut:
        return cls.copied(claims, hops=_chain(claims))


def _chain(claims: SessionClaims) -> list[HopOut]:
    return [HopOut.of(hop) for hop in claims.hops]


class SessionsOut(Out):
    sessions: list[SessionOut]
    next: str = ""


class RoleOut(Out):
    arn: str
    name: str
    id: str
    description: str
    max_session_seconds: int

    @classmethod
    def of(cls, role: Role) -> RoleOut:
        return cls.copied(role, description=role.description or "")


class RolesOut(Out):
    roles: list[RoleOut]
    next: str = ""


# --- Guardrails


class GuardrailIn(In):
    document: str = Field(min_length=1, max_length=5120, description="The policy, as text.")


class GuardrailOut(EntityOut):
    account: str
    name: str
    document: str
    created_at: int


class GuardrailsOut(Out):
    guardrails: list[GuardrailOut]


# --- The record


class RecordQuery(QueryIn):
    account: str = Field("", pattern=_ACCOUNT, description=_ACCOUNT_IS)
    type: str = Field("", max_length=64)
    operation: str = Field("", max_length=128)
    request_id: str = Field("", max_length=128)
    session_id: str = Field("", max_length=128, description="Of the session issued or acted on.")
    access_key_id: str = Field("", max_length=128, description="The actor's.")
    error: str = Field("", max_length=64)
    since: int | None = Field(None, ge=0, le=_MAX_MS)
    until: int | None = Field(None, ge=0, le=_MAX_MS, description="Exclusive.")
    after: str = Field("", max_length=128, description="`next` of the page before.")
    limit: int = Field(100, ge=1, le=1000)


class EventQuery(RecordQuery):
    person: str = Field("", max_length=256, description="A part of the actor's ARN, ids or source identity.")
    role: str = Field("", max_length=256, description="A part of an ARN in the event's detail or decision.")
    chain: str = Field("", max_length=64, description="Id of a session that was issued, acted on, or acted.")
    source: str = Field("", max_length=64, description="The beginning of the source address.")
    decision: str = Field("", pattern="^(allowed|refused)?$")


class CauseOut(EntityOut):
    name: str
    count: int


class SummaryOut(Out):
    since: int
    until: int
    complete: bool = Field(description="Whether all records of the period were read.")
    times: list[int] = Field(description="The beginnings of the buckets of `series`.")
    series: dict[str, list[int]]
    assumed: int
    not_assumed: int
    unavailable: int
    approval_ms: int = Field(description="Median time from a request to its vote; 0 without a vote.")
    failures: list[CauseOut]
    callers: list[CauseOut]
    operations: list[CauseOut]
    durations: list[CauseOut]

    @classmethod
    def of(cls, summary: Summary) -> SummaryOut:
        causes = {
            name: [CauseOut.of(cause) for cause in getattr(summary, name)]
            for name in ("failures", "callers", "operations", "durations")
        }
        return cls.copied(summary, **causes)


class RecordOut(Out):
    log: str
    seq: int
    at: int
    leaf: str
    chain: str
    event: dict[str, Any] | None = Field(description="The event, as far as you may see it.")

    @staticmethod
    def members_of(view: RecordView) -> dict[str, Any]:
        """The members of the answer about this record."""
        event = dict(view.body) if isinstance(view.body, Mapping) else None
        at = {"log": view.log, "seq": view.seq, "at": view.at}
        return {**at, "leaf": view.leaf, "chain": view.chain, "event": event}


class RecordsOut(Out):
    records: list[RecordOut]
    next: str = ""


class TailIn(In):
    cursor: Annotated[dict[Annotated[str, Field(max_length=64)], Seq] | None, members(5000)] = Field(
        None, max_length=5000, description="`cursor` of the last answer; absent: the newest records."
    )
    account: str = Field("", pattern=_ACCOUNT, description=_ACCOUNT_IS)
    limit: Annotated[int, Field(strict=True, ge=1, le=1000)] = 100
    wait: Annotated[int, Field(strict=True, ge=0, le=15)] = Field(
        0, description="Seconds to wait for something to come."
    )


class TailOut(Out):
    records: list[RecordOut]
    cursor: dict[str, int]


class LogOut(EntityOut):
    log: str
    installation: str
    node: str
    opened_at: int
    seq: int
    chain: str
    closed: bool


class LogsOut(Out):
    logs: list[LogOut]


class LeafOut(Out):
    """A record as verification takes it: hashes in hex, the event's bytes in base64, absent where you may not see them."""

    log: str
    seq: int
    leaf: str
    chain: str
    bytes: str | None = None

    @staticmethod
    def members_of(view: RecordView) -> dict[str, Any]:
        """The members of the answer about this record."""
        leaf = {"log": view.log, "seq": view.seq, "leaf": view.leaf, "chain": view.chain}
        return leaf if view.bytes is None else {**leaf, "bytes": base64.b64encode(view.bytes).decode("ascii")}


class LeavesOut(Out):
    records: list[LeafOut]


class ExplanationOut(Out):
    explanation: dict[str, Any] = Field(description="Layers, statements, conditions, and what is missing.")
