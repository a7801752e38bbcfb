"""Who can perform an action on a resource: every user and role of the account is evaluated and, for assuming a role of
the account, every principal outside it that the trust policy names.

A result that depends on the request's context is `allowed_if`, with its conditions. The evaluator is the runtime's.
Principals are read in batches off the event loop. Nothing is loaded whole, and nothing enters the cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from daypass.domain import trust
from daypass.domain.arn import account_of, is_account_id, is_session_arn, root_arn
from daypass.domain.claims import PrincipalKind
from daypass.domain.directory import Group, PasswordPolicy, Role, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.budget import charge, metered, within_budget
from daypass.domain.policy.document import PrincipalValue, managed_kind
from daypass.domain.policy.model import PrincipalFacts
from daypass.domain.policy.partial_evaluation import Known, PartialEvaluation, PartialOutcome
from daypass.domain.policy.pattern import fold
from daypass.domain.question import Principal, decide_partially, hypothetical_facts
from daypass.domain.trust import ASSUME_ROLE, AssumedRole, CallerPolicies
from daypass.operations.access.snapshot import AskedAction, ResultPage, asked_in, check_question, context_in, in_batches
from daypass.operations.access.subject import certainly_denied, certainly_not_admitted, may_allow
from daypass.operations.blocks import NO_CREDENTIALS, without_credentials
from daypass.operations.iam import builtin
from daypass.operations.iam.context import ReadContext
from daypass.operations.iam.holdings import Gatherer, Holdings, policies_in
from daypass.operations.management import allow
from daypass.operations.outcome import served
from daypass.operations.principals import compiled, find_by_id, refresh_if_changed
from daypass.ports import Call, Env, Scene

_KINDS: Mapping[str, type[User | Role]] = {"user": User, "role": Role}
_ACCOUNT = ("aws:principalaccount",)
_FEDERATED = ("sts:AssumeRoleWithWebIdentity", "sts:AssumeRoleWithSAML")


class Access(Struct, frozen=True):
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


async def who_can(
    env: Env, call: Call, action: str, resource: str, *, after: str = "", limit: int = 100, denied: bool = False
) -> ResultPage[Access]:
    """daypass:WhoCanAccess, within the caller's account. Evaluates up to `limit` principals after the cursor `after`.

    Denied principals are omitted unless `denied`. A page may be empty and still have a next page. It ends early when
    the budget of an operation is used up. Raises DaypassError: ACCESS_DENIED, NOT_FOUND (no such role in the account),
    VALIDATION, LIMIT_EXCEEDED (one principal takes more than the budget).
    """
    decision = await allow(env, call, "WhoCanAccess", "access", "*")
    check_question(action, resource)
    _place(after)
    await refresh_if_changed(env)
    page = await in_batches(env, call, _read, (action, resource, denied), after, limit)
    kept = tuple(entry for entry in page.entries if denied or entry.evaluation.outcome is not PartialOutcome.DENIED)
    detail = {"action": action[:256], "resource": resource[:2048], "looked_at": page.looked_at, "found": len(kept)}
    await env.journal.commit(served(call, decision=decision, detail=detail))
    return replace(page, entries=kept)


def _place(after: str) -> tuple[str, str]:
    """(kind, name) after which to continue. Raises DaypassError(VALIDATION)."""
    if not after:
        return "start", ""
    kind, colon, name = after.partition(":")
    if not colon or kind not in _KINDS:
        raise DaypassError(ErrorKind.VALIDATION, "The cursor is not valid.")
    return kind, name


# --- A batch, as heavy work ----------------------------------------------------------------------------------------------


def _read(
    scene: Scene,
    call: Call,
    action: str,
    resource: str,
    denied: bool,  # noqa: FBT001 (heavy work)
    place: str,
    size: int,
    steps: int,
) -> ResultPage[Access]:
    with metered(steps) as meter:
        page = _batch(context_in(scene, call), (action, resource, denied), *_place(place), size)
        return replace(page, steps=meter.left)


def _batch(ctx: ReadContext, query: tuple[str, str, bool], kind: str, after: str, size: int) -> ResultPage[Access]:
    action, resource, denied = query
    gatherer = Gatherer(ctx, blocks=True)
    asked = asked_in(ctx, gatherer, action, resource)
    if kind == "start":  # the root and the principals of the trust policy: always few
        return ResultPage((*_root(asked), *_outsiders(ctx, asked)), 1, "user:")
    entities: list[User | Role]
    if not denied and not _needs_no_policy(ctx, asked, kind):
        order, least = "id", 1  # a page without any holder is a step forward, too
        entities, upto = _holders(ctx, gatherer, asked, kind, after)
    else:
        order, least = "name", 0
        entities = [*ctx.tx.find(_KINDS[kind], account=ctx.account, order=order, after=after, limit=size + 1)]
        upto = entities[size - 1].name if len(entities) > size else ""
        del entities[size:]
    gatherer.read_ahead(entities)

    def one(entity: User | Role) -> Access | None:
        holdings = gatherer.of(entity)
        if not denied and _is_denied(asked, entity, holdings):
            return None
        return Access(entity.arn, kind, action, decide_partially(asked.of(entity, holdings)), asked.open_with)

    entries, exhausted = within_budget(entities, one)
    last = getattr(entities[len(entries) - 1], order) if exhausted else upto
    following = f"{kind}:{last}" if last else "role:" if kind == "user" else ""
    return ResultPage(_noted(ctx, zip(entities, entries, strict=False)), max(least, len(entries)), following)


def _needs_no_policy(ctx: ReadContext, asked: AskedAction, kind: str) -> bool:
    """Whether principals without any policy of their own may be allowed: then all have to be looked at."""
    if kind == "user":
        of_every_user = trust.of_every_user(ctx.tx.get(PasswordPolicy, account=ctx.account))
        if not certainly_denied(of_every_user, asked.action):
            return True
    if asked.target is None:
        return False
    anybody = hypothetical_facts(User("AIDA" + "0" * 17, ctx.account, "\N{REPLACEMENT CHARACTER}", "/", 0))
    return not certainly_not_admitted(replace(asked.target, bindings={}), anybody, ())


def _holders(
    ctx: ReadContext, gatherer: Gatherer, asked: AskedAction, kind: str, after: str
) -> tuple[list[User | Role], str]:
    """The next users or roles who hold a statement that may allow it, or whom the trust policy names, in the order of their
    ids; and up to which id.
    """
    holding = (_words(asked.action), _arns(ctx, asked.action), _groups(ctx, gatherer, asked.action))
    held, upto = ctx.tx.holders(_KINDS[kind], ctx.account, *holding, after=after)
    named = [each for each in _named(ctx, asked, _KINDS[kind]) if after < each.id and (not upto or each.id <= upto)]
    return sorted({each.id: each for each in (*held, *named)}.values(), key=lambda each: each.id), upto


def _words(action: str) -> list[str]:
    """Texts in lower case, one of which is in every document with a statement that may allow the action. A pattern has the action's
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
        gatherer.read_ahead(found)
        groups += [g.id for g in found if not certainly_denied(policies_in(gatherer.of(g).identity), action)]
        after = found[-1].name
    return groups


def _named(ctx: ReadContext, asked: AskedAction, kind: type[User | Role]) -> Sequence[User | Role]:
    """The users or roles of the account that the trust policy of the role names."""
    if asked.target is None:
        return ()
    ids = {*(asked.target.bindings or {}).values()}
    ids |= {named.value for named in _named_by(asked.target) if named.type == "AWS"}
    return ctx.tx.find_among(kind, "id", sorted(ids), order="id", account=ctx.account)


def _noted(ctx: ReadContext, found: Iterable[tuple[User | Role, Access | None]]) -> tuple[Access, ...]:
    """The entries, those of users without an active credential with a note."""
    kept = [(entity, entry) for entity, entry in found if entry is not None]
    without = without_credentials(ctx.tx, [entity for entity, _ in kept if isinstance(entity, User)])
    return tuple(replace(entry, note=NO_CREDENTIALS) if entity.id in without else entry for entity, entry in kept)


def _is_denied(asked: AskedAction, entity: User | Role, holdings: Holdings) -> bool:
    """Whether no evaluation is needed. It counts as one decision."""
    charge(0)
    identity = policies_in(holdings.identity)
    if asked.target is None:
        return certainly_denied(identity, asked.action)
    return certainly_not_admitted(asked.target, hypothetical_facts(entity), identity)


# --- Principals other than the account's users and roles -------------------------------------------------------------


def _root(asked: AskedAction) -> Iterator[Access]:
    """The account's root may do everything but assume roles, within the guardrails."""
    if asked.target is not None:
        return
    arn = root_arn(asked.account)
    keys = {
        "aws:principalarn": arn,
        "aws:principalaccount": asked.account,
        "aws:principaltype": PrincipalKind.ROOT.value,
        "aws:userid": asked.account,
    }
    known = Known(frozenset({*keys, "aws:username", "aws:resourceaccount"}), ("aws:principaltag/",))
    facts = PrincipalFacts(PrincipalKind.ROOT, asked.account, ((arn, asked.account),))
    root = Principal(facts, keys, CallerPolicies(None, guardrails=asked.guardrails), known)
    evaluation = decide_partially(root.asks(asked.action, asked.resource, own_side=True))
    yield Access(arn, "root", asked.action, evaluation, asked.open_with)


def _outsiders(ctx: ReadContext, asked: AskedAction) -> Iterator[Access]:
    """The principals in a role's trust policy that are not users or roles of its account."""
    if asked.target is None:
        return
    for named in {(each.type, each.value): each for each in _named_by(asked.target)}.values():
        if named.type == "Federated":
            yield _federated(asked, asked.target, named.value)
        elif named.type == "Service":
            facts = PrincipalFacts("Service", "", (), service=named.value)
            yield _by_trust(asked, asked.target, named.value, "service", facts)
        elif named.type == "AWS":
            yield from _aws(ctx, asked, asked.target, named.value)


def _named_by(target: AssumedRole) -> Iterable[PrincipalValue]:
    """The principals that the trust policy names."""
    return target.trust.document.principals() if target.trust is not None else ()


def _aws(ctx: ReadContext, asked: AskedAction, target: AssumedRole, value: str) -> Iterator[Access]:
    """Nothing for the account itself and its users and roles: each of them is evaluated separately."""
    bound = (target.bindings or {}).get(value, "")
    if value == "*":
        yield _by_trust(asked, target, "*", "anyone", PrincipalFacts(PrincipalKind.ANONYMOUS, "", ()))
        return
    account = value if is_account_id(value) else account_of(value)
    if not account:  # a unique id
        entity = find_by_id(ctx.tx, value)
        if entity is None or entity.account != target.account:
            facts = PrincipalFacts(PrincipalKind.USER, "", (("", value),))
            yield _by_trust(asked, target, value, "principal", facts, open_with="another account")
    elif is_session_arn(value):
        facts = PrincipalFacts(PrincipalKind.ROLE_SESSION, account, ((value, bound),))
        open_with = account if account != target.account else ""
        yield _by_trust(asked, target, value, "session", facts, _ACCOUNT, open_with=open_with)
    elif account != target.account and value in (account, root_arn(account)):
        facts = PrincipalFacts(PrincipalKind.USER, account, ())
        yield _by_trust(asked, target, root_arn(account), "account", facts, _ACCOUNT, open_with=account)
    elif account != target.account:
        facts = PrincipalFacts(PrincipalKind.USER, account, ((value, bound),))
        known = (*_ACCOUNT, "aws:principalarn")
        yield _by_trust(asked, target, value, "principal", facts, known, open_with=account)


def _federated(asked: AskedAction, target: AssumedRole, provider: str) -> Access:
    """A provider, with whichever of its two actions the trust policy allows."""
    facts = PrincipalFacts("Federated", "", (), federated=provider)
    found = [_by_trust(asked, target, provider, "provider", facts, action=action) for action in _FEDERATED]
    return max(found, key=lambda entry: entry.evaluation.outcome is not PartialOutcome.DENIED)


def _by_trust(
    asked: AskedAction,
    target: AssumedRole,
    shown: str,
    kind: str,
    facts: PrincipalFacts,
    known: tuple[str, ...] = (),
    *,
    action: str = ASSUME_ROLE,
    open_with: str = "",
) -> Access:
    """The result of the trust policy alone. The principal's own account decides separately."""
    keys = {"aws:principalaccount": facts.account} if facts.account else {}
    if "aws:principalarn" in known:
        keys["aws:principalarn"] = shown
    policies = CallerPolicies(identity=None, guardrails=asked.blocks)
    principal = Principal(facts, keys, policies, Known(frozenset({*known, "aws:resourceaccount"})))
    evaluation = decide_partially(principal.asks(action, target.arn, target))
    return Access(shown, kind, action, evaluation, open_with)
