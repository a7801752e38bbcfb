"""The policies that a user, group or role holds, read from one snapshot, each with where it comes from.

It sees what the directory's views see (a test compares the two): inline and attached policies, those of a user's groups,
the boundary, the account's guardrails. It reads the rows of the one principal and nothing else. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from daypass.domain.directory import Group, Guardrail, ManagedPolicy, PolicyVersion, Role, User
from daypass.domain.policy.document import PolicyDocument, PolicyKind, compile_stored
from daypass.domain.policy.model import NamedPolicy
from daypass.operations.iam import attachments, builtin, groups, inline
from daypass.operations.iam.owners import Owner
from daypass.operations.iam.work import Look

INLINE: Final = "inline"
AWS_MANAGED: Final = "aws-managed"
USER_MANAGED: Final = "user-managed"
BOUNDARY: Final = "permission-boundary"
GUARDRAIL: Final = "scp"
GIVEN: Final = ""
"""The kinds of sources, as AWS's PolicyIdentifier names them; a policy given with the request has none."""

_WORDS: Final = {User: "user", Group: "group", Role: "role"}


@dataclass(frozen=True, slots=True)
class Source:
    """A policy and where it comes from.

    `policy.name` is unique among the policies of one principal. `id` is how AWS's simulator calls it. `owner` is
    (user | group | role, name) of whom it is inline in; `arn` is a managed policy's.
    """

    policy: NamedPolicy
    id: str
    kind: str = GIVEN
    owner: tuple[str, str] = ("", "")
    name: str = ""
    arn: str = ""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a principal has. `boundary` is None when none is set; a set one that is missing denies."""

    identity: tuple[Source, ...]
    boundary: tuple[Source, ...] | None = None


@lru_cache(maxsize=4096)
def compiled(text: str, kind: PolicyKind) -> PolicyDocument:
    """A stored document, by its content."""
    return compile_stored(text, kind)


class Gatherer:
    """Gathers the holdings of any number of principals of one account; what they share is read once.

    Use it within one snapshot, on a store thread.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._managed: dict[str, PolicyDocument | None] = {}
        self._groups: dict[str, tuple[Source, ...]] = {}

    def of(self, entity: Owner) -> Holdings:
        """The holdings; a user's include those of its groups."""
        sources = [*self._of_owner(entity)]
        if isinstance(entity, Group):
            return Holdings(tuple(sources))
        if isinstance(entity, User):
            for group in groups.of_user(self._look, entity):
                if group.id not in self._groups:
                    self._groups[group.id] = tuple(self._of_owner(group))
                sources += self._groups[group.id]
        unique = {source.policy.name: source for source in sources}  # one policy, however often it is attached
        return Holdings(tuple(unique.values()), self._boundary(entity.boundary_arn))

    def guardrails(self) -> tuple[tuple[Source, ...], ...]:
        """The account's guardrails: one level, none when there are none."""
        found = self._look.tx.find(Guardrail, account=self._look.account, order="name")
        level = tuple(
            Source(NamedPolicy(g.name, compiled(g.document, PolicyKind.GUARDRAIL)), g.name, GUARDRAIL, name=g.name)
            for g in found
        )
        return (level,) if level else ()

    def _of_owner(self, owner: Owner) -> Iterator[Source]:
        word = _WORDS[type(owner)]
        for policy in inline.of_owner(self._look, owner):
            yield Source(
                NamedPolicy(f"{word}/{owner.name}/{policy.name}", compiled(policy.document, PolicyKind.IDENTITY)),
                f"{word}_{owner.name}_{policy.name}",
                INLINE,
                (word, owner.name),
                policy.name,
            )
        for arn in attachments.of_owner(self._look, owner):
            document = self._document(arn)
            if document is not None:  # a policy that is gone allows nothing
                yield _attached(arn, document)

    def _boundary(self, arn: str | None) -> tuple[Source, ...] | None:
        if arn is None:
            return None
        document = self._document(arn) or compiled("", PolicyKind.IDENTITY)
        return (Source(NamedPolicy(arn, document), arn.rpartition("/")[2], BOUNDARY, arn=arn),)

    def _document(self, arn: str) -> PolicyDocument | None:
        if arn not in self._managed:
            version = self._version(arn)
            self._managed[arn] = compiled(version.document, PolicyKind.IDENTITY) if version is not None else None
        return self._managed[arn]

    def _version(self, arn: str) -> PolicyVersion | None:
        shipped = self._look.builtin.version(arn)
        if shipped is not None:
            return shipped
        policy = self._look.tx.get(ManagedPolicy, arn=arn)
        if policy is None:
            return None
        return self._look.tx.get(PolicyVersion, policy_id=policy.id, version=policy.default_version)


def _attached(arn: str, document: PolicyDocument) -> Source:
    kind = AWS_MANAGED if arn.split(":")[4] == builtin.ACCOUNT else USER_MANAGED
    return Source(NamedPolicy(arn, document), arn.rpartition("/")[2], kind, name=arn.rpartition("/")[2], arn=arn)
