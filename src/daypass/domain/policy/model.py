"""The evaluator's input and output: requests and decisions. Its policies are in `layers`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeAlias

from msgspec import Struct

Value: TypeAlias = "str | tuple[str, ...]"
"""A context value: a str is single-valued, a tuple is multi-valued (even with one member or none)."""

Context: TypeAlias = Mapping[str, Value]
"""Context keys, lower-cased, with their values. A key that is not there is absent, never empty."""


class Layer(StrEnum):
    """The kinds of policies, in AWS's evaluation order."""

    GUARDRAIL = "guardrail"
    RESOURCE = "resource"  # a role's trust policy is its resource policy
    IDENTITY = "identity"
    BOUNDARY = "boundary"
    SESSION = "session"


class Effect(StrEnum):
    ALLOW = "Allow"
    DENY = "Deny"


class PrincipalFacts(Struct, frozen=True):
    """The calling principal as Principal and NotPrincipal elements match it.

    `arns` lists every name of this principal that a policy may contain (for example the ARNs of the role session and of
    the role), each with its unique id. `account` matches `arn:aws:iam::ACCOUNT:root` and the account id alone.
    """

    kind: str  # a claims.PrincipalKind value
    account: str
    arns: tuple[tuple[str, str], ...]  # (ARN, unique id it is bound to, or ""), most specific first
    federated: str = ""  # provider ARN or name, for federated calls
    service: str = ""
    canonical_id: str = ""


class AccessQuery(Struct, frozen=True):
    """May `principal` do `action` on `resource`, in this context?"""

    principal: PrincipalFacts
    action: str  # "sts:AssumeRole"
    resource: str  # an ARN
    context: Context


class Determining(Struct, frozen=True):
    """A statement that determined the decision."""

    layer: Layer
    policy: str
    statement: int  # 0-based index in its document
    sid: str
    effect: Effect
    line: int  # 1-based position of the statement in the document as written
    column: int


class Decision(Struct, frozen=True, dict=True):
    """The evaluator's decision.

    `blocked_by` is the layer that denied (explicitly, or by allowing nothing), None when allowed. `explicit`
    distinguishes an explicit deny from an implicit one. `determining` lists the statements that allowed (when allowed)
    or denied (explicit deny). `consulted` are the context keys that matching statements read, sorted. `over_budget`:
    denied by no layer, because the policies would have taken too many steps (see `budget`).
    """

    allowed: bool
    blocked_by: Layer | None = None
    explicit: bool = False
    determining: tuple[Determining, ...] = ()
    consulted: tuple[str, ...] = ()
    over_budget: bool = False

    @cached_property
    def recorded(self) -> Mapping[str, Any]:
        """The decision in JSON form, as events contain it. See `Event.decision`."""
        shown: dict[str, Any] = {
            "allowed": self.allowed,
            "determining": [
                {
                    "layer": d.layer._value_,  # before Python 3.12 `value` runs Python code
                    "policy": d.policy,
                    "statement": d.statement,
                    "sid": d.sid,
                    "effect": d.effect._value_,
                }
                for d in self.determining
            ],
        }
        if self.blocked_by is not None:
            shown["blocked_by"] = self.blocked_by.value
            shown["explicit"] = self.explicit
        if self.over_budget:
            shown["over_budget"] = True
        return shown
