"""Questions about the principals and roles of one account, asked in a snapshot: what decides is read from it, batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from msgspec import Struct

from daypass.domain.arn import account_of, entity_named, is_role_arn, read_arn
from daypass.domain.directory import Role, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.budget import OPERATION, metered, within_budget
from daypass.domain.policy.document import PolicyKind
from daypass.domain.policy.layers import NamedPolicy
from daypass.domain.policy.model import Context
from daypass.domain.policy.pattern import fold
from daypass.domain.question import Question, hypothetical
from daypass.domain.trust import ASSUME_ROLE, AssumedRole
from daypass.operations import heavy
from daypass.operations.blocks import NO_CREDENTIALS, Levels, without_credentials
from daypass.operations.iam import builtin
from daypass.operations.iam.context import ReadContext
from daypass.operations.iam.holdings import Gatherer, Holdings
from daypass.operations.principals import compiled, find_by_arn
from daypass.ports import Call, Env, Reader, Scene

N = TypeVar("N", bound=User | Role)
T = TypeVar("T")

BATCH = 250
"""Principals that are read and evaluated in one batch. Other work runs between batches."""

_ASSUME: Final = fold(ASSUME_ROLE)


class AskedAction(Struct, frozen=True):
    """An action on a resource, which is asked of any principal of the account.

    `target`: the role, if the action is to assume a role of the account. `blocks` are those of that role and the account;
    they are among the guardrails too. `context`: further keys. `own_side`: see `Principal.asks`.
    """

    account: str
    action: str
    resource: str
    target: AssumedRole | None
    guardrails: Levels
    blocks: Levels
    context: Context = {}
    own_side: bool = True

    @property
    def open_with(self) -> str:
        """The owner of the resource, if it is another account."""
        owner = account_of(self.resource) or self.account
        return owner if owner != self.account else ""

    def of(self, entity: User | Role, holdings: Holdings) -> Question:
        """The question for this user or role."""
        principal = hypothetical(entity, holdings.policies(self.guardrails))
        return principal.asks(self.action, self.resource, self.target, own_side=self.own_side, context=self.context)


def asked_in(ctx: ReadContext, gatherer: Gatherer, action: str, resource: str, *, absent: bool = False) -> AskedAction:
    """The question in this snapshot. `absent`: a role that does not exist admits nobody. Raises DaypassError(NOT_FOUND) for
    one otherwise.
    """
    if assumes(action, resource, ctx.account) and (absent or is_role_arn(resource)):
        role = find_by_arn(ctx.tx, Role, resource)
        if role is not None:
            return assumption_of(gatherer, role)
        if not absent:
            raise DaypassError(ErrorKind.NOT_FOUND, f"The role {resource} does not exist.")
        target = AssumedRole(resource, ctx.account)
    else:
        target = None
    blocks = gatherer.blocks_of(ctx.account)
    return AskedAction(ctx.account, action, resource, target, gatherer.guardrail_policies(), blocks)


def assumption_of(gatherer: Gatherer, role: Role) -> AskedAction:
    """The question who may assume the role."""
    blocks = gatherer.blocks_of(role.id)
    guardrails = (*gatherer.guardrail_policies(), *blocks)
    own = (*gatherer.blocks_of(role.account), *blocks)
    return AskedAction(role.account, ASSUME_ROLE, role.arn, target_in(role), guardrails, own)


def assumes(action: str, resource: str, account: str) -> bool:
    """Whether a role of the account would be assumed: then its trust policy decides too."""
    return fold(action) == _ASSUME and account_of(resource) == account


def target_in(role: Role) -> AssumedRole:
    trust = NamedPolicy("trust", compiled(role.trust_document, PolicyKind.TRUST))
    return AssumedRole(role.arn, role.account, trust, dict(role.trust_bindings), role.tags)


def check_question(action: str, resource: str) -> None:
    """Raises DaypassError(VALIDATION) unless these are a valid action and resource."""
    check_action(action)
    if resource != "*" and read_arn(resource) is None:
        raise DaypassError(ErrorKind.VALIDATION, f"A resource is an ARN or *: {resource}")


def check_action(action: str) -> None:
    """Raises DaypassError(VALIDATION) unless this is one action."""
    service, _, name = action.partition(":")
    if not (service and name) or ":" in name or "*" in action or "?" in action:
        raise DaypassError(ErrorKind.VALIDATION, f"An action is SERVICE:NAME, without wildcards: {action}")


def principal_name(arn: str) -> tuple[str, str]:
    """("user" | "role", name) of a principal's ARN. Raises DaypassError(VALIDATION)."""
    named = entity_named(arn, ("user", "role"))
    if named is not None:
        return named
    raise DaypassError(ErrorKind.VALIDATION, f"This is not the ARN of a user or role: {arn}")


def note_on(tx: Reader, entity: User | Role) -> str:
    """Facts about this principal's requests that no policy contains."""
    return NO_CREDENTIALS if isinstance(entity, User) and without_credentials(tx, [entity]) else ""


def principal_in(tx: Reader, account: str, arn: str) -> User | Role:
    """The user or role of this ARN. Raises DaypassError: VALIDATION, NOT_FOUND."""
    word, name = principal_name(arn)
    kind: type[User | Role] = User if word == "user" else Role
    entity = tx.get(kind, account=account, name=name)
    if entity is None or entity.arn != arn:
        raise DaypassError(ErrorKind.NOT_FOUND, f"The {word} with name {name} cannot be found.")
    return entity


def context_in(scene: Scene, call: Call) -> ReadContext:
    """The context of reads of the caller's account, in this snapshot."""
    return ReadContext(scene.tx, call.caller, call.facts, call.now, builtin.Catalog(scene.builtin), scene.saml_metadata)


# --- Batches ---------------------------------------------------------------------------------------------------------


class ResultPage(Struct, Generic[T], frozen=True):
    """Results. `looked_at` counts the principals or roles evaluated; `following` is the cursor of the next page or "".

    `steps`: what is left of the operation's budget; a page ends when nothing is.
    """

    entries: tuple[T, ...]
    looked_at: int = 0
    following: str = ""
    steps: int = 0


async def in_batches(
    env: Env, call: Call, read: Callable[..., ResultPage[T]], given: tuple[Any, ...], after: str, limit: int
) -> ResultPage[T]:
    """One page of `read(scene, call, *given, after, size, steps)`, as heavy work: `limit` principals or roles after the
    cursor, or fewer when the budget of an operation is used up.
    """
    entries: list[T] = []
    looked_at, steps, place = 0, OPERATION, after
    while looked_at < limit and steps > 0:
        batch = await heavy.read(env, call, read, call, *given, place, min(BATCH, limit - looked_at), steps)
        entries += batch.entries
        looked_at, place, steps = looked_at + batch.looked_at, batch.following, batch.steps
        if not place:
            break
    return ResultPage(tuple(entries), looked_at, place)


def by_name(
    tx: Reader, kind: type[N], account: str, after: str, size: int, steps: int, evaluate_one: Callable[[N], T | None]
) -> ResultPage[T]:
    """The findings for the next `size` users or roles, in the order of their names."""
    entities = tx.find(kind, account=account, order="name", after=after, limit=size + 1)
    with metered(steps) as meter:
        results, exhausted = within_budget(entities[:size], evaluate_one)
    following = entities[len(results) - 1].name if exhausted or len(entities) > size else ""
    found = tuple(each for each in results if each is not None)
    return ResultPage(found, size, following, meter.left)
