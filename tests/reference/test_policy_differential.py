"""The evaluator against the independent reference: the same answer for every policy and request that chance finds."""

import json
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.reference import policy_cases as cases
from tests.reference import policy_reference as reference

from daypass.domain.policy.condition import OPERATORS, compile_condition
from daypass.domain.policy.document import PolicyError, PolicyKind, compile_stored, parse
from daypass.domain.policy.evaluate import evaluate
from daypass.domain.policy.explain import explain
from daypass.domain.policy.pattern import Patterns

CHUNKS, CHUNK = 16, 6_250  # 100,000 together
QUICK = 4  # of the chunks; the others are in the slow set


def examples(count):
    return settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize(
    "seed", [*range(QUICK), *(pytest.param(n, marks=pytest.mark.slow) for n in range(QUICK, CHUNKS))]
)
def test_evaluate_random_cases_equals_reference(seed):
    pool = cases.Pool(random.Random(seed))
    outcomes = set()
    for _ in range(CHUNK):
        case = pool.case()
        wanted = reference.decide(case)
        assert cases.answer(evaluate(*cases.to_query(case))) == wanted, json.dumps(case, indent=1)
        outcomes.add(wanted)
    assert len(outcomes) >= 9  # every effect, and nearly every layer: the cases exercise the whole order of evaluation


@st.composite
def whole_cases(draw):
    """A case whose choices are all Hypothesis's own, so that a failure shrinks."""
    number = draw(st.integers(0, 2**32))
    case = cases.Pool(random.Random(number), size=2).case()
    case["context"] = draw(st.fixed_dictionaries({}, optional={k: st.sampled_from(v) for k, v in cases.VALUES.items()}))
    case["action"] = case["action"] if case["trust"] else draw(st.sampled_from(cases.ACTIONS))
    case["resource"] = draw(st.sampled_from(cases.RESOURCES))
    case["principal"] = draw(st.sampled_from(cases.CALLERS))
    case["same_account"] = draw(st.booleans())
    case["bindings"] = draw(st.sampled_from(cases.BINDINGS))
    return case


@examples(200)
@given(whole_cases())
def test_evaluate_and_explain_hypothesis_cases_equal_reference(case):
    evaluated_and_explained(case)


@pytest.mark.slow
@examples(2_000)
@given(whole_cases())
def test_evaluate_and_explain_many_hypothesis_cases_equal_reference(case):
    evaluated_and_explained(case)


def evaluated_and_explained(case):
    query, layers = cases.to_query(case)
    wanted = reference.decide(case)
    assert cases.answer(evaluate(query, layers)) == wanted
    explanation = explain(query, layers)
    assert cases.answer(explanation.decision) == wanted
    assert len(json.dumps(explanation.to_json())) < 100_000


ATOMS = st.sampled_from(
    ["a", "b", "al", "*", "?", "${k:v}", "${k:w, 'b'}", "${*}", "${?}", "${$}", ":", "/", "\u212a", "\u017f", "\n", "["]
)
PATTERN = st.lists(ATOMS, max_size=8).map("".join)
TEXT = st.lists(
    st.sampled_from(["a", "b", "al", ":", "/", "*", "?", "$", "k", "s", "\n", "[", "\u212a"]), max_size=8
).map("".join)
CONTEXT = st.fixed_dictionaries({}, optional={"k:v": st.one_of(TEXT, st.lists(TEXT, max_size=2)), "k:w": TEXT})


def evaluator_context(context):
    return {key: tuple(value) if isinstance(value, list) else value for key, value in context.items()}


PATTERN_CASE = st.tuples(
    st.lists(PATTERN, min_size=1, max_size=3), TEXT, CONTEXT, st.booleans(), st.booleans(), st.booleans()
)


@examples(200)
@given(PATTERN_CASE)
def test_patterns_any_text_equal_reference(case):
    matched(*case)


@pytest.mark.slow
@examples(1_000)
@given(PATTERN_CASE)
def test_patterns_many_texts_equal_reference(case):
    matched(*case)


def matched(patterns, text, context, variables, wildcards, ignore_case):
    compiled = Patterns(patterns, variables=variables, wildcards=wildcards, folded=ignore_case)
    wanted = any(
        reference.glob(spelled, reference.ascii_lower(text) if ignore_case else text)
        for spelled in (
            _lowered(reference.filled(reference.spelled(p, variables, wildcards), context), ignore_case)
            for p in patterns
        )
        if spelled is not None
    )
    assert compiled.matches(text, evaluator_context(context)) is wanted
    if wanted and not ignore_case:
        assert text.startswith(compiled.prefix)


def _lowered(items, ignore_case):
    if items is None or not ignore_case:
        return items
    return [reference.ascii_lower(item) if isinstance(item, str) else item for item in items]


@st.composite
def conditions(draw):
    family = draw(st.sampled_from(sorted(cases.OPERATORS)))
    operator = family + draw(st.sampled_from(cases.OPERATORS[family]))
    suffix = "" if family == "Null" else draw(st.sampled_from(["", "IfExists"]))
    written = draw(st.sampled_from(["", "ForAllValues:", "ForAnyValue:"])) + operator + suffix
    key = draw(st.sampled_from(cases.WANTED[family][0]))
    wanted = draw(st.lists(st.sampled_from(cases.WANTED[family][1]), max_size=3))
    values = [value for group in cases.VALUES.values() for value in group if isinstance(value, str)]
    found = st.one_of(st.none(), st.sampled_from(values), st.lists(st.sampled_from(values), max_size=3))
    context = {} if (value := draw(found)) is None else {key.lower(): value}
    if draw(st.booleans()):
        context.setdefault("aws:username", "al")
    return written, key, wanted, context


@examples(300)
@given(conditions())
def test_conditions_any_values_equal_reference(condition):
    held(*condition)


@pytest.mark.slow
@examples(1_000)
@given(conditions())
def test_conditions_many_values_equal_reference(condition):
    held(*condition)


def held(written, key, wanted, context):
    compiled = compile_condition(written, key, [reference.as_text(value) for value in wanted], "2012-10-17")
    assert compiled.holds(evaluator_context(context)) is reference.condition_holds(written, key, wanted, context, True)


def test_operators_table_equals_reference():
    assert set(OPERATORS) == {*reference.TESTS, "Null"}


@examples(500)
@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.sampled_from(["Allow", "*", "a:b"])),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(
                    ["Version", "Statement", "Effect", "Action", "Resource", "Principal", "Condition", "AWS"]
                ),
                inner,
                max_size=4,
            ),
        ),
        max_leaves=12,
    ),
    st.sampled_from(PolicyKind),
)
def test_parse_any_json_gives_policy_or_policy_error(value, kind):
    text = json.dumps(value)
    try:
        document = parse(text, kind)
    except PolicyError as error:
        refusal = error
    else:
        assert document.statements
        return
    assert refusal.message
    assert (refusal.line, refusal.column) >= (1, 1)
    assert compile_stored(text, kind).broken
