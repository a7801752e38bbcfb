"""What an IAM operation is given, and what a row of the operation table says about one.

Operations are synchronous and pure but for the reader or transaction they are given: they run on a store thread, a
write perhaps more than once (when its batch is retried), so nothing may escape from them but their answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from daypass.domain.claims import Caller, PrincipalKind, RequestFacts
from daypass.domain.directory import Tags
from daypass.domain.policy.document import PolicyKind
from daypass.domain.policy.lint.finding import Finding
from daypass.domain.policy.model import Value
from daypass.operations.iam import faults
from daypass.operations.iam.builtin import Catalog
from daypass.ports import Ids, Reader, SamlMetadata, Sealer, Tx

Params: TypeAlias = Mapping[str, Any]
"""A request's parameters as the service model types them; times are integers of milliseconds."""

Answer: TypeAlias = Mapping[str, Any]
"""An answer by the output member names of the service model; times are integers of milliseconds."""


LINT: Final = "x-daypass-lint"
"""The key of an answer under which a write says what the linter finds in its document; on the wire it is a header."""

REFUSED: Final = "x-daypass-refused"
"""The key of an answer that says, for the record alone, why `Operation.conclude` will refuse."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a read may use. Every look-up is limited to `account`, except where AWS resolves foreign principals."""

    tx: Reader
    caller: Caller
    facts: RequestFacts
    now: int  # ms
    builtin: Catalog
    saml_metadata: SamlMetadata | None = field(default=None, kw_only=True)
    public_url: str = field(default="", kw_only=True)  # of the installation; for reads and `gather` alone

    @property
    def account(self) -> str:
        return self.caller.account

    def own_user_id(self) -> str:
        """The unique id of the calling user, where the request names none; the account id for the root.

        Raises VALIDATION when the caller is neither.
        """
        if self.caller.kind in (PrincipalKind.USER, PrincipalKind.ROOT):
            return self.caller.principal_id
        raise faults.invalid("Must specify userName when calling with non-User credentials")


@dataclass(frozen=True, slots=True)
class Work(Look):
    """What a write may use."""

    tx: Tx
    ids: Ids
    sealer: Sealer
    gathered: Any = None  # what the operation's `gather` found


@dataclass(frozen=True, slots=True)
class Subject:
    """What is acted on, as policies see it.

    `arn` is the entity's real one when it exists; `also` are further resources that must be allowed too (the new name
    of a renamed user). `tags` are those that it has now. `passes` is a role that is handed to a machine by it: that
    takes iam:PassRole too. `shown` is how a denial names it, where AWS does not write the ARN ("role deployer").
    """

    arn: str
    also: tuple[str, ...] = ()
    tags: Tags = ()
    boundary_arn: str | None = None
    passes: str = ""
    shown: str = ""


SubjectOf: TypeAlias = Callable[[Look, Params], Subject]
KeysOf: TypeAlias = Callable[[Params, Subject], Mapping[str, Value]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the table.

    Exactly one of `read` and `write` is given. `subject` says what to authorize, `keys` add context keys; `document`
    names a parameter that holds a policy, which must parse before anything else is tried. `gather` does what takes
    long before a write, on a store thread and once authorized: the writer's thread is everyone's.
    `conclude` may refuse once the write is durable: a failure that was counted. `tagging` is the action that a request
    with Tags takes besides. `warn` says what else the linter has to say.
    """

    name: str
    subject: SubjectOf
    read: Callable[[Look, Params], Answer] | None = None
    write: Callable[[Work, Params], Answer] | None = None
    keys: tuple[KeysOf, ...] = ()
    document: tuple[str, PolicyKind] | None = None
    gather: Callable[[Look, Params, Ids], Any] | None = None
    conclude: Callable[[Answer], None] | None = None
    tagging: str = ""
    warn: Callable[[Look, Params], tuple[Finding, ...]] | None = None

    @property
    def action(self) -> str:
        return f"iam:{self.name}"
