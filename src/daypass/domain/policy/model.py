"""The shapes that the evaluator takes and gives: requests, layers, decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from daypass.domain.value import value

if TYPE_CHECKING:
    from daypass.domain.policy.document import PolicyDocument

Value: TypeAlias = "str | tuple[str, ...]"
"""A context value: a str is single-valued, a tuple is multi-valued (even with one member, or none)."""

Context: TypeAlias = Mapping[str, Value]
"""Context keys, lower-cased, with their values. A key that is not there is absent, never empty."""


class Layer(StrEnum):
    """The kinds of policy, in the order in which AWS evaluates them."""

    GUARDRAIL = "guardrail"
    RESOURCE = "resource"  # a role's trust policy is the resource policy of the role
    IDENTITY = "identity"
    BOUNDARY = "boundary"
    SESSION = "session"


class Effect(StrEnum):
    ALLOW = "Allow"
    DENY = "Deny"


@value
class PrincipalFacts:
    """The calling principal as Principal and NotPrincipal elements see it.

    Every name by which a policy may mean this principal is in `arns` (the role session's own ARN and the role's ARN,
    say), with the unique id behind each; the account stands for `arn:aws:iam::ACCOUNT:root` and the bare number.
    """

    kind: str  # a claims.PrincipalKind value
    account: str
    arns: tuple[tuple[str, str], ...]  # (ARN, unique id it is bound to, or ""), most specific first
    federated: str = ""  # provider ARN or name, for federated calls
    service: str = ""
    canonical_id: str = ""


@value
class AccessQuery:
    """May `principal` do `action` on `resource`, in this context?"""

    principal: PrincipalFacts
    action: str  # "sts:AssumeRole"
    resource: str  # an ARN
    context: Context


@dataclass(frozen=True, slots=True)
class NamedPolicy:
    """A compiled policy with the name by which explanations speak of it."""

    name: str  # a managed policy's ARN, an inline policy's name, "trust", "session", …
    document: PolicyDocument


@value
class Layers:
    """The policies that bear on one query.

    A layer that does not apply is None; a layer that applies but holds no policy is (), and allows nothing. `identity`
    is None only when there is no identity layer at all (an anonymous or federated caller in a trust decision).
    `guardrails` and `session` are lists of layers each of which must allow: one tuple of policies a level.
    `bindings` maps principal ARNs in the resource policy to the unique ids they were bound to when written.
    """

    same_account: bool
    identity: tuple[NamedPolicy, ...] | None
    resource: NamedPolicy | None = None
    bindings: Mapping[str, str] | None = None
    boundary: tuple[NamedPolicy, ...] | None = None
    session: tuple[tuple[NamedPolicy, ...], ...] = ()
    guardrails: tuple[tuple[NamedPolicy, ...], ...] = ()


@value
class Determining:
    """A statement that determined the decision."""

    layer: Layer
    policy: str
    statement: int  # 0-based index in its document
    sid: str
    effect: Effect
    line: int  # 1-based position of the statement in the document as written
    column: int


@value
class Decision:
    """The evaluator's answer.

    `blocked_by` is the layer that denied (explicitly, or by allowing nothing), None when allowed. `explicit` tells an
    explicit deny from an implicit one. `determining` lists the statements that allowed (when allowed) or denied
    (explicit deny). `consulted` are the context keys that matching statements looked at, sorted.
    """

    allowed: bool
    blocked_by: Layer | None = None
    explicit: bool = False
    determining: tuple[Determining, ...] = ()
    consulted: tuple[str, ...] = ()
    # Worked out from this decision alone.
    memo: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)
