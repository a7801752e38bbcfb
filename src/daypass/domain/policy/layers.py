"""The policies of a request, by layer, as the evaluator receives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from msgspec import Struct

from daypass.domain.policy.compiled import PolicyDocument
from daypass.domain.policy.model import Layer

BLOCK: Final = "block by revocation "
"""The name of a policy that stands for a block begins with this, followed by the id of the revocation."""


@dataclass(frozen=True, slots=True)
class NamedPolicy:
    """A compiled policy with its name in explanations."""

    name: str  # a managed policy's ARN, an inline policy's name, "trust", "session", …
    document: PolicyDocument


class Layers(Struct, frozen=True):
    """The policies that apply to one query.

    A layer that does not apply is None. A layer that applies but has no policies is (), and allows nothing. `identity`
    is None only without an identity layer (an anonymous or federated caller in a trust decision). `guardrails` and
    `session` are lists of levels, each a tuple of policies; each level must allow. The last `scope_downs` levels of
    `session` also limit what a resource policy grants to the session directly. `bindings` maps principal ARNs in
    the resource policy to the unique ids that they were bound to when written.
    """

    same_account: bool
    identity: tuple[NamedPolicy, ...] | None
    resource: NamedPolicy | None = None
    bindings: Mapping[str, str] | None = None
    boundary: tuple[NamedPolicy, ...] | None = None
    session: tuple[tuple[NamedPolicy, ...], ...] = ()
    guardrails: tuple[tuple[NamedPolicy, ...], ...] = ()
    scope_downs: int = 0

    def policies(self) -> Iterator[tuple[Layer, NamedPolicy]]:
        """Every policy with its layer."""
        yield from ((Layer.GUARDRAIL, policy) for level in self.guardrails for policy in level)
        if self.resource is not None:
            yield Layer.RESOURCE, self.resource
        yield from ((Layer.IDENTITY, policy) for policy in self.identity or ())
        yield from ((Layer.BOUNDARY, policy) for policy in self.boundary or ())
        yield from ((Layer.SESSION, policy) for level in self.session for policy in level)

    def limits(self, level: int) -> bool:
        """Whether this level of `session` must allow even what a resource policy grants directly (attack A197)."""
        return level >= len(self.session) - self.scope_downs
