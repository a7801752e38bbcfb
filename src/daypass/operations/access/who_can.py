"""Who can perform an action on a resource: every user and role of the account is evaluated and, for assuming a role of
the account, every principal outside it that the trust policy names.

A result that depends on the request's context is `allowed_if`, with its conditions. The evaluator is the runtime's.
Principals are read in batches off the event loop. Nothing is loaded whole, and nothing enters the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from daypass.domain import trust as account_policy
from daypass.domain.arn import account_of, is_account_id, is_session_arn, read_arn, root_arn
from daypass.domain.claims import PrincipalKind
from daypass.domain.context import merged, resource_context
from daypass.domain.directory import Group, PasswordPolicy, Role, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.hypothetical_principal import hypothetical_facts, hypothetical_keys, hypothetical_known
from daypass.domain.policy.budget import OPERATION, OperationOverBudget, charge, metered
from daypass.domain.policy.document import PrincipalValue, managed_kind
from daypass.domain.policy.evaluate import evaluate
from daypass.domain.policy.layers import Layers
from daypass.domain.policy.model import AccessQuery, Context, PrincipalFacts
from daypass.domain.policy.partial_evaluation import (
    Known,
    Outcome,
    PartialEvaluation,
    evaluate_partially,
    varied,
)
from daypass.domain.policy.pattern import fold
from daypass.domain.trust import ASSUME_ROLE, CallerPolicies
from daypass.operations import heavy
from daypass.operations.access.denials import certainly_denied, certainly_not_admitted, may_allow
from daypass.operations.access.simulate import check_action, is_role_arn
from daypass.operations.authorize import refresh_if_changed
from daypass.operations.blocks import NO_CREDENTIALS, Levels, without_credentials
from daypass.operations.iam import builtin
from daypass.operations.iam.assuming import assuming, trust_of
from daypass.operations.iam.context import ReadContext
from daypass.operations.iam.holdings import Gatherer, Holdings, policies_in
from daypass.operations.management import allow
from daypass.operations.outcome import served
from daypass.operations.principals import find_by_arn, find_by_id
from daypass.operations.stored_policies import compiled
from daypass.ports import Call, Env, Scene

E = TypeVar("E")
T = TypeVar("T")

BATCH = 250
"""Principals that are read and evaluated in one batch. Other work runs between batches."""

_KINDS: tuple[tuple[str, type[User | Role]], ...] = (("user", User), ("role", Role))
_FEDERATED = ("sts:AssumeRoleWithWebIdentity", "sts:AssumeRoleWithSAML")
_RESOURCE_TAGS = ("aws:resourcetag/", "iam:resourcetag/")


@dataclass(frozen=True, slots=True)
class Access:
    """One principal and its result. `kind`: root, user, role, session, account, principal, provider, service or anyone.
    `action` is the action that it uses (a provider may use another one). `open_with` is another account that must also
    allow it and was not evaluated; "" when there is none. `note` is what no policy says.
    """

    principal: str
    kind: str
    action: str
    evaluation: PartialEvaluation
    open_with: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class AccessPage:
    """One page. `looked_at` counts the principals evaluated; `following` is the cursor of the next page or "".

    `steps`: what is left of the operation's budget; the page ends when nothing is.
    """

    entries: tuple[Access, ...]
    looked_at: int
    following: str
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Question:
    """An action on a resource, with the role when the question is about assuming a role of the account. `blocks` are those
    of that role and the account; they are among the guardrails too.
    """

    account: str
    action: str
    resource: str
    role: Role | None = None
    guardrails: Levels = ()
    blocks: Levels = ()

    @property
    def owner(self) -> str:
        return account_of(self.resource) or self.account

    @property
    def open_with(self) -> str:
        """The owner of the resource, if it is another account."""
        return self.owner if self.owner != self.account else ""


async def who_can(
    env: Env, call: Call, action: str, resource: str, *, after: str = "", limit: int = 100, denied: bool = False
) -> AccessPage:
    """daypass:WhoCanAccess, within the caller's account. Evaluates up to `limit` principals after the cursor `after`.

    Denied principals are omitted unless `denied`. A page may be empty and still have a next page. It ends early when
    the budget of an operation is used up. Raises DaypassError: ACCESS_DENIED, NOT_FOUND (no such role in the account),
    VALIDATION, LIMIT_EXCEEDED (one principal takes more than the budget).
    """
    decision = await allow(env, call, "WhoCanAccess", "access", "*")
    check_question(action, resource)
    await refresh_if_changed(env)
    kind, place = _place(after)
    entries: list[Access] = []
    looked_at, steps = 0, OPERATION
    while kind and looked_at < limit and steps > 0:
        size = min(BATCH, limit - looked_at)
        query = (action, resource, denied)
        batch = await heavy.read(env, call, _read, call, query, (kind, place), size, steps)
        entries += batch.entries
        looked_at += batch.looked_at
        steps = batch.steps
        kind, place = _place(batch.following) if batch.following else ("", "")
    kept = tuple(entry for entry in entries if denied or entry.evaluation.outcome is not Outcome.DENIED)
    detail = {"action": action[:256], "resource": resource[:2048], "looked_at": looked_at, "found": len(kept)}
    await env.journal.commit(served(call, decision=decision, detail=detail))
    return AccessPage(kept, looked_at, f"{kind}:{place}" if kind else "")


def check_question(action: str, resource: str) -> None:
    """Raises DaypassError(VALIDATION) unless these are a valid action and resource."""
    check_action(action)
    if resource != "*" and read_arn(resource) is None:
        raise DaypassError(ErrorKind.VALIDATION, f"A resource is an ARN or *: {resource}")


def _place(after: str) -> tuple[str, str]:
    """(kind, name) after which to continue. Raises DaypassError(VALIDATION)."""
    if not after:
        return "start", ""
    kind, colon, name = after.partition(":")
    if not colon or kind not in dict(_KINDS):
        raise DaypassError(ErrorKind.VALIDATION, "The cursor is not valid.")
    return kind, name


def context_in(scene: Scene, call: Call) -> ReadContext:
    """What reads of the caller's account need, in this snapshot."""
    return ReadContext(scene.tx, call.caller, call.facts, call.now, builtin.Catalog(scene.builtin), scene.saml_metadata)


def _read(
    scene: Scene, call: Call, query: tuple[str, str, bool], place: tuple[str, str], size: int, steps: int
) -> AccessPage:
    """`query`: action, resource, and whether denied principals are wanted."""
    with metered(steps) as meter:
        page = _batch(context_in(scene, call), query, *place, size)
        return replace(page, steps=meter.left)


# --- A batch, as heavy work ----------------------------------------------------------------------------------------------


def _batch(ctx: ReadContext, query: tuple[str, str, bool], kind: str, after: str, size: int) -> AccessPage:
    action, resource, denied = query
    gatherer = Gatherer(ctx, blocks=True)
    question = question_of(ctx, gatherer, action, resource)
    if kind == "start":  # the root and the principals of the trust policy: always few
        return AccessPage((*_root(question), *_outsiders(ctx, question)), 1, "user:")
    if not denied and not _needs_no_policy(ctx, question, kind):
        return _by_statements(ctx, gatherer, question, kind, after)
    entities: list[User | Role] = [
        *ctx.tx.find(dict(_KINDS)[kind], account=ctx.account, order="name", after=after, limit=size + 1)
    ]
    gatherer.read_ahead(entities[:size])

    def one(entity: User | Role) -> Access | None:
        holdings = gatherer.of(entity)
        if not denied and _is_denied(question, entity, holdings):
            return None
        return Access(entity.arn, kind, action, evaluation_of(question, entity, holdings), question.open_with)

    entries, exhausted = evaluated(entities[:size], one)
    last = len(entries)
    more = f"{kind}:{entities[last - 1].name}" if exhausted or len(entities) > size else ""
    kept = _noted(ctx, zip(entities, entries, strict=False))
    return AccessPage(kept, last, more or ("role:" if kind == "user" else ""))


def _needs_no_policy(ctx: ReadContext, question: Question, kind: str) -> bool:
    """Whether principals without any policy of their own may be allowed: then all have to be looked at."""
    if kind == "user":
        of_every_user = account_policy.of_every_user(ctx.tx.get(PasswordPolicy, account=ctx.account))
        if not certainly_denied(of_every_user, question.action):
            return True
    if question.role is None:
        return False
    anybody = hypothetical_facts(User("AIDA" + "0" * 17, ctx.account, "\N{REPLACEMENT CHARACTER}", "/", 0))
    return not certainly_not_admitted(trust_of(question.role), {}, anybody, (), ASSUME_ROLE)


def _by_statements(ctx: ReadContext, gatherer: Gatherer, question: Question, kind: str, after: str) -> AccessPage:
    """Of the users or roles, only those who hold a statement that may allow it, or whom the trust policy names."""
    holding = (_words(question.action), _arns(ctx, question.action), _groups(ctx, gatherer, question.action))
    held, upto = ctx.tx.holders(dict(_KINDS)[kind], ctx.account, *holding, after=after)
    named = [
        each for each in _named(ctx, question, dict(_KINDS)[kind]) if after < each.id and (not upto or each.id <= upto)
    ]
    entities: list[User | Role] = sorted({each.id: each for each in (*held, *named)}.values(), key=lambda each: each.id)
    gatherer.read_ahead(entities)

    def one(entity: User | Role) -> Access | None:
        holdings = gatherer.of(entity)
        if _is_denied(question, entity, holdings):
            return None
        return Access(entity.arn, kind, question.action, evaluation_of(question, entity, holdings), question.open_with)

    entries, exhausted = evaluated(entities, one)
    more = f"{kind}:{entities[len(entries) - 1].id if exhausted else upto}" if exhausted or upto else ""
    kept = _noted(ctx, zip(entities, entries, strict=False))
    return AccessPage(kept, max(1, len(entries)), more or ("role:" if kind == "user" else ""))


def _words(action: str) -> list[str]:
    """In lower case: one of them is in every document with a statement that may allow the action. A pattern has the action's
    service, or a wildcard in its place; a letter may be written as an escape.
    """
    service = action.partition(":")[0].lower()
    starts = [service[:end] + wildcard for end in range(len(service) + 1) for wildcard in "*?"]
    return [f'"{service}:', *(f'"{start}' for start in starts), "notaction", "\\u"]


def _arns(ctx: ReadContext, action: str) -> list[str]:
    """The managed policies that may allow the action."""
    folded = fold(action)
    used = ctx.tx.attached_policies(ctx.account)
    texts = ((arn, builtin.policy_text(ctx.tx, ctx.builtin.texts, arn)) for arn in used)
    return [arn for arn, text in texts if text and may_allow(compiled(text, managed_kind(arn)), folded)]


def _groups(ctx: ReadContext, gatherer: Gatherer, action: str) -> list[str]:
    """The groups of the account whose policies may allow the action."""
    groups, after = [], ""
    while found := ctx.tx.find(Group, account=ctx.account, order="name", after=after):
        groups += [g.id for g in found if not certainly_denied(policies_in(gatherer.of(g).identity), action)]
        after = found[-1].name
    return groups


def _named(ctx: ReadContext, question: Question, kind: type[User | Role]) -> Sequence[User | Role]:
    """The users or roles of the account that the trust policy of the role names."""
    if question.role is None:
        return ()
    ids = {principal_id for _, principal_id in question.role.trust_bindings}
    ids |= {named.value for named in trust_of(question.role).document.principals() if named.type == "AWS"}
    return ctx.tx.find_among(kind, "id", sorted(ids), order="id", account=ctx.account)


def _noted(ctx: ReadContext, found: Iterable[tuple[User | Role, Access | None]]) -> tuple[Access, ...]:
    """The entries, those of users without an active credential with a note."""
    kept = [(entity, entry) for entity, entry in found if entry is not None]
    without = without_credentials(ctx.tx, [entity for entity, _ in kept if isinstance(entity, User)])
    return tuple(replace(entry, note=NO_CREDENTIALS) if entity.id in without else entry for entity, entry in kept)


def _is_denied(question: Question, entity: User | Role, holdings: Holdings) -> bool:
    """Whether no evaluation is needed. It counts as one decision."""
    charge(0)
    identity, role = policies_in(holdings.identity), question.role
    if role is None:
        return certainly_denied(identity, question.action)
    facts = hypothetical_facts(entity)
    return certainly_not_admitted(trust_of(role), dict(role.trust_bindings), facts, identity, ASSUME_ROLE)


def evaluated(entities: Sequence[E], evaluate_one: Callable[[E], T]) -> tuple[tuple[T, ...], bool]:
    """The results of the entities that the budget is enough for, and whether it is used up.

    Raises OperationOverBudget when it is not enough for the first one.
    """
    results: list[T] = []
    for entity in entities:
        try:
            results.append(evaluate_one(entity))
        except OperationOverBudget:
            if not results:
                raise
            return tuple(results), True
    return tuple(results), False


def question_of(ctx: ReadContext, gatherer: Gatherer, action: str, resource: str) -> Question:
    """The question in this snapshot. Raises DaypassError(NOT_FOUND) when a role of the account does not exist."""
    role = None
    if fold(action) == fold(ASSUME_ROLE) and is_role_arn(resource) and account_of(resource) == ctx.account:
        role = find_by_arn(ctx.tx, Role, resource)
        if role is None:
            raise DaypassError(ErrorKind.NOT_FOUND, f"The role {resource} does not exist.")
    blocks = (*gatherer.blocks_of(ctx.account), *(gatherer.blocks_of(role.id) if role is not None else ()))
    guardrails = (*gatherer.guardrail_policies(), *(gatherer.blocks_of(role.id) if role is not None else ()))
    return Question(ctx.account, action, resource, role, guardrails, blocks)


def evaluation_of(question: Question, entity: User | Role, holdings: Holdings) -> PartialEvaluation:
    """The result for a user or role of the account."""
    facts, keys = hypothetical_facts(entity), hypothetical_keys(entity)
    if question.role is not None:
        known = hypothetical_known(entity, ("aws:resourceaccount",), _RESOURCE_TAGS)
        return assuming(question.role, facts, keys, holdings.policies(question.guardrails), known)
    layers = holdings.layers(question.guardrails)
    return _doing(question, facts, keys, layers, hypothetical_known(entity, ("aws:resourceaccount",)))


def _doing(question: Question, facts: PrincipalFacts, keys: Context, layers: Layers, known: Known) -> PartialEvaluation:
    query = AccessQuery(facts, question.action, question.resource, merged(keys, resource_context(question.owner)))
    return evaluate_partially(known, layers.policies(), lambda variant: evaluate(query, varied(layers, variant)))


# --- Principals other than the account's users and roles -------------------------------------------------------------


def _root(question: Question) -> Iterator[Access]:
    """The account's root may do everything but assume roles, within the guardrails."""
    if question.role is not None:
        return
    arn = root_arn(question.account)
    facts = PrincipalFacts(PrincipalKind.ROOT, question.account, ((arn, question.account),))
    keys = {
        "aws:principalarn": arn,
        "aws:principalaccount": question.account,
        "aws:principaltype": PrincipalKind.ROOT.value,
        "aws:userid": question.account,
    }
    known = Known(frozenset({*keys, "aws:username", "aws:resourceaccount"}), ("aws:principaltag/",))
    layers = Layers(same_account=True, identity=None, guardrails=question.guardrails)
    yield Access(arn, "root", question.action, _doing(question, facts, keys, layers, known), question.open_with)


def _outsiders(ctx: ReadContext, question: Question) -> Iterator[Access]:
    """The principals in a role's trust policy that are not users or roles of its account."""
    if question.role is None:
        return
    named = trust_of(question.role).document.principals()
    for value in {(principal.type, principal.value): principal for principal in named}.values():
        entry = _foreign_principal(ctx, question, question.role, value)
        if entry is not None:
            yield entry


def _foreign_principal(ctx: ReadContext, question: Question, role: Role, named: PrincipalValue) -> Access | None:
    if named.type == "Federated":
        return _federated(question, role, named.value)
    if named.type == "Service":
        facts = PrincipalFacts("Service", "", (), service=named.value)
        return Access(named.value, "service", ASSUME_ROLE, _by_trust(question, role, facts))
    if named.type != "AWS":
        return None
    return _aws(ctx, question, role, named.value)


def _aws(ctx: ReadContext, question: Question, role: Role, value: str) -> Access | None:
    """None for the account itself and its users and roles: each of them is evaluated separately."""
    bound = dict(role.trust_bindings).get(value, "")
    if value == "*":
        facts = PrincipalFacts(PrincipalKind.ANONYMOUS, "", ())
        return Access("*", "anyone", ASSUME_ROLE, _by_trust(question, role, facts), "")
    account = value if is_account_id(value) else account_of(value)
    if not account:  # a unique id
        entity = find_by_id(ctx.tx, value)
        if entity is not None and entity.account == role.account:
            return None
        facts = PrincipalFacts(PrincipalKind.USER, "", (("", value),))
        return Access(value, "principal", ASSUME_ROLE, _by_trust(question, role, facts), "another account")
    if is_session_arn(value):
        facts = PrincipalFacts(PrincipalKind.ROLE_SESSION, account, ((value, bound),))
        open_with = account if account != role.account else ""
        return Access(
            value, "session", ASSUME_ROLE, _by_trust(question, role, facts, ("aws:principalaccount",)), open_with
        )
    if account == role.account:
        return None
    if value in (account, root_arn(account)):
        facts = PrincipalFacts(PrincipalKind.USER, account, ())
        return Access(
            root_arn(account),
            "account",
            ASSUME_ROLE,
            _by_trust(question, role, facts, ("aws:principalaccount",)),
            account,
        )
    facts = PrincipalFacts(PrincipalKind.USER, account, ((value, bound),))
    known = ("aws:principalaccount", "aws:principalarn")
    return Access(value, "principal", ASSUME_ROLE, _by_trust(question, role, facts, known), account)


def _federated(question: Question, role: Role, provider: str) -> Access:
    """A provider, with whichever of its two actions the trust policy allows."""
    facts = PrincipalFacts("Federated", "", (), federated=provider)
    found = [
        Access(provider, "provider", action, _by_trust(question, role, facts, action=action)) for action in _FEDERATED
    ]
    return max(found, key=lambda entry: entry.evaluation.outcome is not Outcome.DENIED)


def _by_trust(
    question: Question, role: Role, facts: PrincipalFacts, known: tuple[str, ...] = (), action: str = ASSUME_ROLE
) -> PartialEvaluation:
    """The result of the trust policy alone. The principal's own account decides separately."""
    keys = {"aws:principalaccount": facts.account} if facts.account else {}
    if facts.arns and facts.arns[0][0] and "aws:principalarn" in known:
        keys["aws:principalarn"] = facts.arns[0][0]
    certain = Known(frozenset({*known, "aws:resourceaccount"}), _RESOURCE_TAGS)
    return assuming(role, facts, keys, CallerPolicies(identity=None, guardrails=question.blocks), certain, action)
