"""Who can do an action on a resource: every user and role of the account, asked one by one; and for assuming a role of
the account, whomever its trust policy lets in from outside.

What depends on the circumstances of a request is said to depend on them: `allowed_if`, with the conditions. The evaluator
is the runtime's. Principals are read in batches on store threads; nothing is loaded whole, and nothing enters the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from daypass.domain.arn import account_of, is_account_id, is_session_arn, parse_arn, root_arn
from daypass.domain.claims import PrincipalKind
from daypass.domain.context import merged, resource_context
from daypass.domain.directory import Role, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.document import PolicyKind, PrincipalValue
from daypass.domain.policy.evaluate import evaluate
from daypass.domain.policy.model import AccessQuery, Context, Decision, Layers, NamedPolicy, PrincipalFacts
from daypass.domain.policy.pattern import fold
from daypass.domain.policy.prospect import Known, Outcome, Prospect, Variant, each, foresee, policies_of, varied
from daypass.domain.standing import standing_facts, standing_keys, standing_known
from daypass.domain.trust import ASSUME_ROLE, CallerPolicies, Target, admit
from daypass.operations.authorize import feed_moved
from daypass.operations.iam import builtin
from daypass.operations.iam.holdings import Gatherer, Holdings, compiled
from daypass.operations.iam.work import Look
from daypass.operations.management import allow
from daypass.operations.outcome import served
from daypass.operations.simulate import is_role_arn
from daypass.ports import Call, Env, Reader

BATCH = 100
"""Principals that are read and decided about in one go; between two batches others have their turn."""

_KINDS: tuple[tuple[str, type[User | Role]], ...] = (("user", User), ("role", Role))
_FEDERATED = ("sts:AssumeRoleWithWebIdentity", "sts:AssumeRoleWithSAML")
_RESOURCE_TAGS = ("aws:resourcetag/", "iam:resourcetag/")


@dataclass(frozen=True, slots=True)
class Access:
    """One principal and what it comes to. `kind`: root, user, role, session, account, principal, provider, service or
    anyone. `action` is the one that it takes (a provider's may be another). `open_with` is another account that must
    allow it too, and was not asked; "" when there is none.
    """

    principal: str
    kind: str
    action: str
    prospect: Prospect
    open_with: str = ""


@dataclass(frozen=True, slots=True)
class AccessPage:
    """One page. `looked_at` counts the principals asked about; `following` is the place of the next page or ""."""

    entries: tuple[Access, ...]
    looked_at: int
    following: str


@dataclass(frozen=True, slots=True)
class Question:
    """An action on a resource, with the role that is asked for when it is about assuming one of the account's."""

    account: str
    action: str
    resource: str
    role: Role | None = None
    guardrails: tuple[tuple[NamedPolicy, ...], ...] = ()

    @property
    def owner(self) -> str:
        return account_of(self.resource) or self.account

    @property
    def open_with(self) -> str:
        """Whoever owns the resource, if that is another account."""
        return self.owner if self.owner != self.account else ""


async def who_can(
    env: Env, call: Call, action: str, resource: str, *, after: str = "", limit: int = 100, denied: bool = False
) -> AccessPage:
    """daypass:WhoCanAccess, within the caller's account. Asks about up to `limit` principals behind the place `after`.

    Those who are denied are left out unless `denied`; a page may be empty and still have a next one. Raises
    DaypassError: ACCESS_DENIED, NOT_FOUND (no such role in the account), VALIDATION.
    """
    decision = await allow(env, call, "WhoCanAccess", "access", "*")
    check_question(action, resource)
    await feed_moved(env)
    kind, place = _place(after)
    entries: list[Access] = []
    looked_at = 0
    while kind and looked_at < limit:
        size = min(BATCH, limit - looked_at)
        batch = await env.directory.read(partial(_read, env, call, (action, resource), (kind, place), size))
        entries += batch.entries
        looked_at += batch.looked_at
        kind, place = _place(batch.following) if batch.following else ("", "")
    kept = tuple(entry for entry in entries if denied or entry.prospect.outcome is not Outcome.DENIED)
    detail = {"action": action[:256], "resource": resource[:2048], "looked_at": looked_at, "found": len(kept)}
    await env.journal.commit(served(call, decision=decision, detail=detail))
    return AccessPage(kept, looked_at, f"{kind}:{place}" if kind else "")


def check_question(action: str, resource: str) -> None:
    """Raises DaypassError(VALIDATION) for what is no action or no resource."""
    service, colon, name = action.partition(":")
    if not (service and colon and name) or ":" in name or "*" in action or "?" in action:
        raise DaypassError(ErrorKind.VALIDATION, f"An action is SERVICE:NAME, without wildcards: {action}")
    if resource != "*":
        try:
            parse_arn(resource)
        except ValueError:
            raise DaypassError(ErrorKind.VALIDATION, f"A resource is an ARN or *: {resource}") from None


def _place(after: str) -> tuple[str, str]:
    """(kind, name) to go on behind. Raises DaypassError(VALIDATION)."""
    if not after:
        return "start", ""
    kind, colon, name = after.partition(":")
    if not colon or kind not in dict(_KINDS):
        raise DaypassError(ErrorKind.VALIDATION, "This is no place in a list.")
    return kind, name


def look_of(env: Env, tx: Reader, call: Call) -> Look:
    """What reads of the caller's account need, in this snapshot."""
    return Look(tx, call.caller, call.facts, call.now, builtin.catalog(env.builtin))


def _read(env: Env, call: Call, asked: tuple[str, str], place: tuple[str, str], size: int, tx: Reader) -> AccessPage:
    return _batch(look_of(env, tx, call), *asked, *place, size)


# --- A batch, on a store thread ------------------------------------------------------------------------------------------


def _batch(look: Look, action: str, resource: str, kind: str, after: str, size: int) -> AccessPage:
    gatherer = Gatherer(look)
    question = question_of(look, gatherer, action, resource)
    if kind == "start":  # the root, and those of the trust policy: never many
        return AccessPage((*_root(question), *_outsiders(look, question)), 1, "user:")
    entities: list[User | Role] = [
        *look.tx.find(dict(_KINDS)[kind], account=look.account, order="name", after=after, limit=size + 1)
    ]
    entries = tuple(
        Access(entity.arn, kind, action, prospect_of(question, entity, gatherer.of(entity)), question.open_with)
        for entity in entities[:size]
    )
    following = f"{kind}:{entities[size - 1].name}" if len(entities) > size else "role:" if kind == "user" else ""
    return AccessPage(entries, len(entries), following)


def question_of(look: Look, gatherer: Gatherer, action: str, resource: str) -> Question:
    """The question in this snapshot. Raises DaypassError(NOT_FOUND) for a role of the account that is not there."""
    role = None
    if fold(action) == fold(ASSUME_ROLE) and is_role_arn(resource) and account_of(resource) == look.account:
        role = look.tx.get(Role, account=look.account, name=parse_arn(resource).name)
        if role is None or role.arn != resource:
            raise DaypassError(ErrorKind.NOT_FOUND, f"There is no role {resource}.")
    levels = tuple(tuple(source.policy for source in level) for level in gatherer.guardrails())
    return Question(look.account, action, resource, role, levels)


def prospect_of(question: Question, entity: User | Role, holdings: Holdings) -> Prospect:
    """What the question comes to for a user or role of the account."""
    facts, keys = standing_facts(entity), standing_keys(entity)
    identity = tuple(source.policy for source in holdings.identity)
    boundary = tuple(source.policy for source in holdings.boundary) if holdings.boundary is not None else None
    if question.role is not None:
        policies = CallerPolicies(identity, boundary, guardrails=question.guardrails)
        known = standing_known(entity, ("aws:resourceaccount",), _RESOURCE_TAGS)
        return _assuming(question.role, facts, keys, policies, known)
    layers = Layers(same_account=True, identity=identity, boundary=boundary, guardrails=question.guardrails)
    return _doing(question, facts, keys, layers, standing_known(entity, ("aws:resourceaccount",)))


def _doing(question: Question, facts: PrincipalFacts, keys: Context, layers: Layers, known: Known) -> Prospect:
    query = AccessQuery(facts, question.action, question.resource, merged(keys, resource_context(question.owner)))
    return foresee(known, policies_of(layers), lambda variant: evaluate(query, varied(layers, variant)))


def _assuming(
    role: Role, facts: PrincipalFacts, keys: Context, policies: CallerPolicies, known: Known, action: str = ASSUME_ROLE
) -> Prospect:
    trust = trust_of(role)
    bindings = dict(role.trust_bindings)

    def decide(variant: Variant) -> Decision:
        target = Target(role.arn, role.account, variant(trust), bindings, role.tags)
        varied_policies = CallerPolicies(
            each(policies.identity, variant),
            each(policies.boundary, variant),
            guardrails=tuple(tuple(map(variant, level)) for level in policies.guardrails),
        )
        return admit(facts, varied_policies, target, (action,), keys).decision

    layers = Layers(True, policies.identity, trust, bindings, policies.boundary, (), policies.guardrails)
    return foresee(known, policies_of(layers), decide)


def trust_of(role: Role) -> NamedPolicy:
    return NamedPolicy("trust", compiled(role.trust_document, PolicyKind.TRUST))


# --- Who is no user or role of the account ---------------------------------------------------------------------------------


def _root(question: Question) -> Iterator[Access]:
    """The account's root: all but roles is open to it, within the guardrails."""
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


def _outsiders(look: Look, question: Question) -> Iterator[Access]:
    """Whomever a role's trust policy names that is no user or role of its account."""
    if question.role is None:
        return
    named = trust_of(question.role).document.principals()
    for value in {(principal.type, principal.value): principal for principal in named}.values():
        entry = _outsider(look, question.role, value)
        if entry is not None:
            yield entry


def _outsider(look: Look, role: Role, named: PrincipalValue) -> Access | None:
    if named.type == "Federated":
        return _federated(role, named.value)
    if named.type == "Service":
        facts = PrincipalFacts("Service", "", (), service=named.value)
        return Access(named.value, "service", ASSUME_ROLE, _by_trust(role, facts))
    if named.type != "AWS":
        return None
    return _aws(look, role, named.value)


def _aws(look: Look, role: Role, value: str) -> Access | None:
    """None for the account itself and its users and roles: each of those is asked about on its own."""
    bound = dict(role.trust_bindings).get(value, "")
    if value == "*":
        facts = PrincipalFacts(PrincipalKind.ANONYMOUS, "", ())
        return Access("*", "anyone", ASSUME_ROLE, _by_trust(role, facts), "")
    account = value if is_account_id(value) else account_of(value)
    if not account:  # a unique id
        if any(
            e is not None and e.account == role.account
            for e in (look.tx.get(User, id=value), look.tx.get(Role, id=value))
        ):
            return None
        facts = PrincipalFacts(PrincipalKind.USER, "", (("", value),))
        return Access(value, "principal", ASSUME_ROLE, _by_trust(role, facts), "another account")
    if is_session_arn(value):
        facts = PrincipalFacts(PrincipalKind.ROLE_SESSION, account, ((value, bound),))
        open_with = account if account != role.account else ""
        return Access(value, "session", ASSUME_ROLE, _by_trust(role, facts, ("aws:principalaccount",)), open_with)
    if account == role.account:
        return None
    if value in (account, root_arn(account)):
        facts = PrincipalFacts(PrincipalKind.USER, account, ())
        return Access(
            root_arn(account), "account", ASSUME_ROLE, _by_trust(role, facts, ("aws:principalaccount",)), account
        )
    facts = PrincipalFacts(PrincipalKind.USER, account, ((value, bound),))
    known = ("aws:principalaccount", "aws:principalarn")
    return Access(value, "principal", ASSUME_ROLE, _by_trust(role, facts, known), account)


def _federated(role: Role, provider: str) -> Access:
    """A provider, by whichever of its two ways the trust policy opens."""
    facts = PrincipalFacts("Federated", "", (), federated=provider)
    found = [Access(provider, "provider", action, _by_trust(role, facts, action=action)) for action in _FEDERATED]
    return max(found, key=lambda entry: entry.prospect.outcome is not Outcome.DENIED)


def _by_trust(role: Role, facts: PrincipalFacts, known: tuple[str, ...] = (), action: str = ASSUME_ROLE) -> Prospect:
    """What the trust policy alone says; the principal's own account decides for itself."""
    keys = {"aws:principalaccount": facts.account} if facts.account else {}
    if facts.arns and facts.arns[0][0] and "aws:principalarn" in known:
        keys["aws:principalarn"] = facts.arns[0][0]
    certain = Known(frozenset({*known, "aws:resourceaccount"}), _RESOURCE_TAGS)
    return _assuming(role, facts, keys, CallerPolicies(identity=None), certain, action)
