"""The policies of a user, group or role, read from one snapshot, each with its source.

They are the same as in the directory's views (a test compares the two): inline and attached policies, those of a user's
groups, what the account's password policy permits, the boundary, the account's guardrails. Only the rows of this principal are read. This module decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from daypass.domain import trust
from daypass.domain.directory import Attachment, Group, Guardrail, InlinePolicy, Membership, PasswordPolicy, Role, User
from daypass.domain.policy.document import PolicyDocument, PolicyKind, managed_kind
from daypass.domain.policy.layers import NamedPolicy
from daypass.domain.trust import CallerPolicies
from daypass.operations import blocks
from daypass.operations.blocks import Levels
from daypass.operations.iam import attachments, builtin
from daypass.operations.iam import attachments as inline
from daypass.operations.iam.context import ReadContext
from daypass.operations.iam.owners import Owner
from daypass.operations.principals import compiled, groups_of

E = TypeVar("E")

INLINE: Final = "inline"
AWS_MANAGED: Final = "aws-managed"
USER_MANAGED: Final = "user-managed"
BOUNDARY: Final = "permission-boundary"
GUARDRAIL: Final = "scp"
ACCOUNT: Final = "none"
GIVEN: Final = ""
"""The kinds of sources, as in AWS's PolicyIdentifier and, for the settings of the account, PolicySourceType; a policy in
the request has none."""

_WORDS: Final = {User: "user", Group: "group", Role: "role"}


@dataclass(frozen=True, slots=True)
class PolicySource:
    """A policy and its source.

    `policy.name` is unique among the policies of one principal. `id` is its name in AWS's simulator. `owner` is the
    (user | group | role, name) that an inline policy belongs to; `arn` is a managed policy's.
    """

    policy: NamedPolicy
    id: str
    kind: str = GIVEN
    owner: tuple[str, str] = ("", "")
    name: str = ""
    arn: str = ""


@dataclass(frozen=True, slots=True)
class Holdings:
    """The policies of a principal. `boundary` is None when none is set; one that is set but missing denies. `blocks` are
    further levels of guardrails.
    """

    identity: tuple[PolicySource, ...]
    boundary: tuple[PolicySource, ...] | None = None
    blocks: Levels = ()

    def policies(self, guardrails: tuple[tuple[NamedPolicy, ...], ...]) -> CallerPolicies:
        """The policies, without their sources, below the account's guardrails."""
        boundary = policies_in(self.boundary) if self.boundary is not None else None
        return CallerPolicies(policies_in(self.identity), boundary, guardrails=(*guardrails, *self.blocks))


def policies_in(sources: Iterable[PolicySource]) -> tuple[NamedPolicy, ...]:
    """The policies of these sources."""
    return tuple(source.policy for source in sources)


class _RowsByOwner(NamedTuple):
    """Rows that were read together, by owner or user, for the owners with these ids."""

    ids: frozenset[str] = frozenset()
    inline: Mapping[str, Sequence[InlinePolicy]] = {}
    attached: Mapping[str, Sequence[Attachment]] = {}
    memberships: Mapping[str, Sequence[Membership]] = {}


class Gatherer:
    """Reads the holdings of any number of principals of one account; shared policies are read once.

    Use it within one snapshot, on a store thread. `blocks`: what blocks them is part of their holdings, and what blocks
    the account of its guardrails.
    """

    def __init__(self, ctx: ReadContext, *, blocks: bool = False) -> None:
        self._ctx = ctx
        self._with_blocks = blocks
        self._blocks: dict[str, Levels] = {}
        self._managed: dict[str, PolicyDocument | None] = {}
        self._groups: dict[str, tuple[PolicySource, ...]] = {}
        self._of_account: dict[str, tuple[PolicySource, ...]] = {}
        self._prefetched = _RowsByOwner()
        self._guardrails: tuple[tuple[PolicySource, ...], ...] | None = None

    def read_ahead(self, entities: Sequence[Owner]) -> None:
        """Reads the rows of these users, groups or roles together: one query for many takes as long as one for each of a few."""
        ids = [entity.id for entity in entities]
        users = [entity.id for entity in entities if isinstance(entity, User)]
        tx = self._ctx.tx
        self._read_blocks(ids)
        self._prefetched = _RowsByOwner(
            frozenset(ids),
            _by(tx.find_among(InlinePolicy, "owner_id", ids, order="name"), lambda policy: policy.owner_id),
            _by(tx.find_among(Attachment, "owner_id", ids, order="policy_arn"), lambda attached: attached.owner_id),
            _by(tx.find_among(Membership, "user_id", users, order="group_id"), lambda member: member.user_id),
        )

    def of(self, entity: Owner) -> Holdings:
        """The holdings; a user's include those of its groups and of every user."""
        sources = [*self._of_owner(entity)]
        if isinstance(entity, Group):
            return Holdings(tuple(sources))
        if isinstance(entity, User):
            for group_id in self._group_ids(entity):
                if group_id not in self._groups:
                    group = self._ctx.tx.get(Group, id=group_id)
                    self._groups[group_id] = tuple(self._of_owner(group)) if group is not None else ()
                sources += self._groups[group_id]
            sources += self._of_every_user(entity.account)
        unique = {source.policy.name: source for source in sources}  # one policy, even if attached several times
        return Holdings(tuple(unique.values()), self._boundary(entity.boundary_arn), self.blocks_of(entity.id))

    def blocks_of(self, principal_id: str) -> Levels:
        """The block of a user or role, or with the account's own id that of the account."""
        if principal_id not in self._blocks:
            self._read_blocks([principal_id])
        return self._blocks.get(principal_id, ())

    def _read_blocks(self, ids: Sequence[str]) -> None:
        if self._with_blocks:
            found = blocks.stored(self._ctx.tx, self._ctx.account, ids, self._ctx.now)
            self._blocks |= {**dict.fromkeys(ids, ()), **found}

    def guardrails(self) -> tuple[tuple[PolicySource, ...], ...]:
        """The account's guardrails: one level, or none without guardrails."""
        if self._guardrails is None:
            guardrails = self._ctx.tx.find(Guardrail, account=self._ctx.account, order="name")
            level = tuple(
                PolicySource(
                    NamedPolicy(g.name, compiled(g.document, PolicyKind.GUARDRAIL)), g.name, GUARDRAIL, name=g.name
                )
                for g in guardrails
            )
            self._guardrails = (level,) if level else ()
        return self._guardrails

    def guardrail_policies(self) -> tuple[tuple[NamedPolicy, ...], ...]:
        """The account's guardrails, without their sources."""
        return (*map(policies_in, self.guardrails()), *self.blocks_of(self._ctx.account))

    def _of_every_user(self, account: str) -> tuple[PolicySource, ...]:
        if account not in self._of_account:
            policies = trust.of_every_user(self._ctx.tx.get(PasswordPolicy, account=account))
            self._of_account[account] = tuple(PolicySource(policy, policy.name, ACCOUNT) for policy in policies)
        return self._of_account[account]

    def _group_ids(self, user: User) -> list[str]:
        if user.id in self._prefetched.ids:
            return [membership.group_id for membership in self._prefetched.memberships.get(user.id, ())]
        return [group.id for group in groups_of(self._ctx.tx, user.id)]

    def _of_owner(self, owner: Owner) -> Iterator[PolicySource]:
        word, ahead = _WORDS[type(owner)], self._prefetched if owner.id in self._prefetched.ids else None
        own = ahead.inline.get(owner.id, ()) if ahead is not None else inline.inline_of(self._ctx, owner)
        for policy in own:
            yield PolicySource(
                NamedPolicy(f"{word}/{owner.name}/{policy.name}", compiled(policy.document, PolicyKind.IDENTITY)),
                f"{word}_{owner.name}_{policy.name}",
                INLINE,
                (word, owner.name),
                policy.name,
            )
        if ahead is not None:
            arns = [attached.policy_arn for attached in ahead.attached.get(owner.id, ())]
        else:
            arns = attachments.of_owner(self._ctx, owner)
        for arn in arns:
            document = self._document(arn)
            if document is not None:  # a missing policy allows nothing
                yield _attached(arn, document)

    def _boundary(self, arn: str | None) -> tuple[PolicySource, ...] | None:
        if arn is None:
            return None
        document = self._document(arn) or compiled("", PolicyKind.IDENTITY)
        return (PolicySource(NamedPolicy(arn, document), arn.rpartition("/")[2], BOUNDARY, arn=arn),)

    def _document(self, arn: str) -> PolicyDocument | None:
        if arn not in self._managed:
            text = builtin.policy_text(self._ctx.tx, self._ctx.builtin.texts, arn)
            self._managed[arn] = compiled(text, managed_kind(arn)) if text else None
        return self._managed[arn]


def _by(rows: Iterable[E], owner_of: Callable[[E], str]) -> Mapping[str, Sequence[E]]:
    """The rows of each owner, in order."""
    entities: dict[str, list[E]] = {}
    for row in rows:
        entities.setdefault(owner_of(row), []).append(row)
    return entities


def _attached(arn: str, document: PolicyDocument) -> PolicySource:
    kind = AWS_MANAGED if arn.split(":")[4] == builtin.ACCOUNT else USER_MANAGED
    return PolicySource(NamedPolicy(arn, document), arn.rpartition("/")[2], kind, name=arn.rpartition("/")[2], arn=arn)
