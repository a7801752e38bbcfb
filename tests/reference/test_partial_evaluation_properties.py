"""A partial decision holds for each full request that fits, on random cases."""

import random
from dataclasses import replace

import pytest
from tests.reference import policy_cases as cases

from daypass.domain.claims import PrincipalKind
from daypass.domain.policy.cover import Coverage, coverage, over_pattern, overlap
from daypass.domain.policy.document import PolicyKind, compile_stored
from daypass.domain.policy.evaluate import evaluate
from daypass.domain.policy.model import AccessQuery
from daypass.domain.policy.partial_evaluation import Known, PartialOutcome, evaluate_partially, varied
from daypass.domain.policy.pattern import Patterns, fold
from daypass.domain.trust import AssumedRole
from daypass.operations.access.subject import certainly_denied, certainly_not_admitted


def renamed(layers):
    """Every policy with a name of its own, as `evaluate_partially` demands."""
    numbers = iter(range(1000))
    return varied(layers, lambda policy: replace(policy, name=f"p{next(numbers)}"))


def contexts(rng, known_keys, fixed, count):
    """Contexts that agree with `fixed` on the known keys."""
    for _ in range(count):
        drawn = cases.context(rng)
        merged = {k: v for k, v in drawn.items() if k not in known_keys} | fixed
        yield {k: tuple(v) if isinstance(v, list) else v for k, v in merged.items()}


@pytest.mark.parametrize("seed", range(4))
def test_foresee_outcome_holds_in_every_circumstance(seed):
    rng = random.Random(seed)
    pool = cases.Pool(rng)
    seen = dict.fromkeys(PartialOutcome, 0)
    both = 0
    for _ in range(800):
        query, layers = cases.to_query(pool.case())
        layers = renamed(layers)
        known_keys = set(rng.sample(sorted(cases.VALUES), rng.randint(0, 6))) | {"k:none"}
        fixed = {k: v for k, v in query.context.items() if k in known_keys}
        asked = AccessQuery(query.principal, query.action, query.resource, fixed)
        known = Known(frozenset(known_keys))
        found = evaluate_partially(known, layers.policies(), lambda v, q=asked, la=layers: evaluate(q, varied(la, v)))
        seen[found.outcome] += 1
        decisions = set()
        for context in contexts(rng, known_keys, fixed, 8):
            decision = evaluate(AccessQuery(query.principal, query.action, query.resource, context), layers)
            decisions.add(decision.allowed)
            assert decision.allowed or found.outcome is not PartialOutcome.ALLOWED
            assert not decision.allowed or found.outcome is not PartialOutcome.DENIED
        both += len(decisions) == 2
        assert bool(found.provisos) == (found.outcome is PartialOutcome.ALLOWED_IF)
    assert min(seen.values()) > 20
    assert both > 5  # circumstances do decide some of them


@pytest.mark.parametrize("seed", range(4))
def test_certainly_denied_holds_in_every_circumstance(seed):
    rng = random.Random(seed)
    pool = cases.Pool(rng)
    counts = {True: 0, False: 0}
    for _ in range(2_000):
        query, layers = cases.to_query({**pool.case(), "same_account": True})
        if query.principal.kind == PrincipalKind.ROOT or layers.identity is None:
            continue
        if layers.resource is None:
            denied = certainly_denied(layers.identity, query.action)
        elif layers.resource.document.kind is PolicyKind.TRUST:
            target = AssumedRole(query.resource, query.principal.account, layers.resource, layers.bindings)
            denied = certainly_not_admitted(target, query.principal, layers.identity)
        else:
            continue
        counts[denied] += 1
        if denied:
            found = evaluate_partially(
                Known(frozenset()), layers.policies(), lambda v, q=query, la=layers: evaluate(q, varied(la, v))
            )
            assert found.outcome is PartialOutcome.DENIED
    assert min(counts.values()) > 50


def test_overlap_is_whether_some_text_matches_both():
    rng = random.Random(7)
    texts = ["".join(rng.choice("ab") for _ in range(n)) for n in range(6) for _ in range(40)]
    for _ in range(3_000):
        one, other = ("".join(rng.choice("ab*?") for _ in range(rng.randint(1, 4))) for _ in range(2))
        first, second = Patterns([one]), Patterns([other])
        if any(first.matches(t, {}) and second.matches(t, {}) for t in texts):
            assert overlap(one, other)
    for one, other, wanted in (("a*", "*b", True), ("a?", "b*", False), ("a", "a*", True), ("?", "ab", False)):
        assert overlap(one, other) is wanted
    assert overlap("arn:aws:x:::${aws:username}/*", "arn:aws:x:::al/home")


@pytest.mark.parametrize("seed", range(4))
def test_over_pattern_bounds_every_request_that_the_pattern_stands_for(seed):
    rng = random.Random(seed)
    pool = cases.Pool(rng)
    tried = 0
    for _ in range(300):
        query, layers = cases.to_query(pool.case())
        layers = renamed(layers)
        action = rng.choice(cases.ACTION_PATTERNS)
        resource = rng.choice([r for r in cases.RESOURCE_PATTERNS if "$" not in r and r.count(":") >= 5])
        region = AccessQuery(query.principal, action, resource, query.context)
        worst, best = (
            evaluate(
                region,
                varied(layers, lambda p, h=h: over_pattern(p, action, resource, query.context, at_best=h)),  # noqa: B023
            )
            for h in (False, True)
        )
        assert best.allowed or not worst.allowed
        actions, resources = Patterns([fold(action)]), Patterns([resource])
        for one in cases.ACTIONS:
            for other in cases.RESOURCES:
                if other == "*" or not (actions.matches(fold(one), {}) and resources.matches(other, {})):
                    continue
                tried += 1
                decision = evaluate(AccessQuery(query.principal, one, other, query.context), layers)
                assert decision.allowed or not worst.allowed
                assert not decision.allowed or best.allowed
    assert tried > 500


def test_coverage_tells_whole_part_and_none_apart():
    made = cases.compiled(
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"a:Get*","Resource":"arn:aws:a:::x/*"},'
        '{"Effect":"Deny","NotAction":"a:Get*","NotResource":"arn:aws:a:::x/*"}]}',
        PolicyKind.IDENTITY,
    )
    allowing, denying = made.document.statements
    for action, resource, allowed, denied in (
        ("a:GetOne", "arn:aws:a:::x/1", Coverage.WHOLE, Coverage.NONE),
        ("a:Get*", "arn:aws:a:::x/*", Coverage.WHOLE, Coverage.NONE),
        ("a:*", "arn:aws:a:::x/1", Coverage.PART, Coverage.NONE),
        ("a:*", "arn:aws:a:::*", Coverage.PART, Coverage.PART),
        ("a:Put", "arn:aws:a:::y", Coverage.NONE, Coverage.WHOLE),
        ("a:Put*", "arn:aws:a:::*", Coverage.NONE, Coverage.PART),
    ):
        assert coverage(allowing, action, resource, {}, variables=True) is allowed
        assert coverage(denying, action, resource, {}, variables=True) is denied


def test_coverage_errs_on_the_side_of_a_part():
    broken = compile_stored("{", PolicyKind.IDENTITY).statements[0]
    assert coverage(broken, "a:b", "*", {}, variables=False) is Coverage.WHOLE
    assert overlap("a" * 600, "b")
    assert overlap("${bad", "x")
    text = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"a:b","Resource":"arn:aws:a:::${k:v}"}]}'
    statement = cases.compiled(text, PolicyKind.IDENTITY).document.statements[0]
    for context, wanted in (({}, Coverage.PART), ({"k:v": "x"}, Coverage.WHOLE), ({"k:v": "y"}, Coverage.NONE)):
        assert coverage(statement, "a:b", "arn:aws:a:::x", context, variables=True) is wanted
    assert coverage(statement, "a:b", f"arn:aws:a:::{'x' * 600}", {"k:v": "x"}, variables=True) is Coverage.PART
