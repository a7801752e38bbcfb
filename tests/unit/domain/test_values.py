"""Values and texts of strangers: frozen at run time, shown escaped, and read as JSON in one way."""

from __future__ import annotations

import json
import pickle
from typing import Any

import msgspec
import pytest
from tests.cost import costs_less_than

from daypass.domain.claims import Caller, RequestFacts, nobody
from daypass.domain.context import principal_facts, request_context
from daypass.domain.directory import Role
from daypass.domain.policy.document import PolicyKind, compile_stored
from daypass.domain.policy.layers import Layers, NamedPolicy
from daypass.domain.policy.model import AccessQuery, Decision, Determining, Effect, Layer, PrincipalFacts
from daypass.domain.session import FeedPosition, Hop, SessionClaims, SessionKind
from daypass.domain.strict_json import MAX_DEPTH, MAX_VALUES, read_json, struct_reader
from daypass.domain.trust import Admission, AssumedRole, CallerPolicies
from daypass.domain.visible import visible
from daypass.operations.outcome import actor_of
from daypass.ports import Call, PrincipalView, RoleView

SEEN = FeedPosition("e", 1)
CALLER = nobody(SEEN)
FACTS = RequestFacts("r", 1, "sts:AssumeRole", "192.0.2.1", "agent")
FACT = PrincipalFacts("User", "1", (("arn", "AIDA"),))
LAYERS = Layers(same_account=True, identity=None)
QUERY = AccessQuery(FACT, "sts:AssumeRole", "arn", {"aws:sourceip": "192.0.2.1"})
DECISION = Decision(True, determining=(Determining(Layer.IDENTITY, "p", 0, "", Effect.ALLOW, 1, 1),))
SESSION = SessionClaims(
    SessionKind.ROLE, "a" * 32, "1", "AROA", "arn", "s", 1, 2, SEEN, (Hop("", "1", "AROA", 1, SEEN, "ASIA"),)
)
VALUES: list[Any] = [
    CALLER,
    FACTS,
    FACT,
    LAYERS,
    QUERY,
    DECISION,
    DECISION.determining[0],
    SESSION,
    CallerPolicies(),
    AssumedRole("arn", "1"),
    Admission(DECISION, QUERY, LAYERS, "1"),
    Call(CALLER, FACTS, 1),
]


@pytest.mark.parametrize("made", VALUES, ids=lambda made: type(made).__name__)
def test_value_cannot_be_changed_and_travels_as_it_is(made: Any) -> None:
    name = type(made).__struct_fields__[0]
    with pytest.raises(AttributeError):
        setattr(made, name, getattr(made, name))
    again = pickle.loads(pickle.dumps(made))
    assert again == made
    assert again is not made
    assert msgspec.structs.replace(made, **{name: object()}) != made


def test_caller_with_what_is_derived_from_it_equals_and_hashes_as_one_without() -> None:
    fresh, used = nobody(SEEN), nobody(SEEN)
    request_context(used, FACTS, 1)
    principal_facts(used)
    actor_of(used)
    assert (used.derived.context, used.derived.principal, used.derived.actor) != (None, None, None)
    assert used == fresh
    assert hash(used) == hash(fresh)
    again: Caller = pickle.loads(pickle.dumps(used))
    assert (again.derived.context, again.derived.principal, again.derived.actor) == (None, None, None)


def test_what_is_derived_from_a_view_is_not_part_of_its_value_and_does_not_travel() -> None:
    trust = NamedPolicy("trust", compile_stored("", PolicyKind.TRUST))
    role = Role(id="AROA", account="1", name="r", path="/", created_at=1, trust_document="")
    views = [RoleView(role, trust, {}, PrincipalView(role, (), None)) for _ in range(2)]
    kept, layers = views[0].decisions, views[0].principal.layers
    assert views[0].decisions is kept
    assert views[0].principal.layers is layers
    assert views[0].trust == views[1].trust
    assert DECISION.recorded is DECISION.recorded
    assert "recorded" not in vars(pickle.loads(pickle.dumps(DECISION)))
    assert "decisions" not in vars(pickle.loads(pickle.dumps(views[0])))
    assert msgspec.structs.replace(views[0], bindings={}).decisions is not kept


def test_layers_of_a_principal_are_the_same_object_until_the_guardrails_change() -> None:
    layers = PrincipalView(
        Role(id="AROA", account="1", name="r", path="/", created_at=1, trust_document=""), (), None
    ).layers
    first: tuple[Any, ...] = ((),)
    assert layers.under(first) is layers.under(first)
    kept = layers.under(first)
    assert layers.under((*first, ())) is not kept
    assert layers.under(first) is not kept  # only the last one is kept
    assert kept.guardrails is first


# --- Text of others for people to read: what could deceive becomes an escape, and nothing else does


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\x1b[2J", "a\\u000ab\\u001b[2J"),
        ("safe\u202egpj", "safe\\u202egpj"),
        ("l\u200bee", "l\\u200bee"),
        ("lee\u3164", "lee\\u3164"),  # Hangul filler
        ("lee\u2800", "lee\\u2800"),  # blank pattern of Braille
        ("lee\ufe0f", "lee\\ufe0f"),  # variation selector
        ("lee\u034f", "lee\\u034f"),  # grapheme joiner
        ("lee\U000e0101", "lee\\ue0101"),
        ("l\u0435e", "l\\u0435e"),  # Cyrillic in a word of ASCII
        ("l\u0301\u0435", "l\u0301\\u0435"),
        ("\uff4cee", "\\uff4cee"),  # wide
        ("\U0001d5c5ee", "\\u1d5c5ee"),  # mathematical
        ("arn:aws:iam::111122223333:oidc-provider/idp.example:\u0430\u0441\u0435", None),
        ("e" + "\u0301" * 40, "e" + "\u0301" * 4 + "\\u0301" * 36),
    ],
)
def test_text_that_hides_covers_or_poses_is_escaped(text: str, shown: str | None) -> None:
    assert visible(text) == (shown or text[:-3] + "\\u0430\\u0441\\u0435")
    assert visible(visible(text)) == visible(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Incident 42: orders are not written",
        "jürgen@example.com",
        "arn:aws:iam::111122223333:oidc-provider/idp.example:jürgen",
        "перезапуск nginx-сервера",
        "東京タワー",
        "שָׁלוֹם",
        "สวัสดีครับที่นี่",
        "1º, 50 µs, α = 2",
        "\U0001f525 production",
    ],
)
def test_text_of_any_language_is_shown_as_it_is(text: str) -> None:
    assert visible(text) == text


# --- JSON of strangers: one reading, and no more work than its length is worth


def test_read_json_twin_names_are_named() -> None:
    with pytest.raises(ValueError, match="'b' is given twice"):
        read_json('{"a":1,"b":2,"c":3,"b":2,"a":1}')


def test_a26_twin_behind_many_names_is_refused_without_work() -> None:
    text = "{" + "".join(f'"{number}":1,' for number in range(20_000)) + '"19999":1}'

    def refused() -> None:
        with pytest.raises(ValueError, match="given twice"):
            read_json(text)

    assert costs_less_than(2, refused)  # by comparing each with each it takes ten


def test_struct_reader_describes_the_struct_when_it_is_made() -> None:
    """Two threads that describe one at its first use crash the process."""

    class Incomplete(msgspec.Struct):
        member: NotDefined  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(NameError, match="NotDefined"):
        struct_reader(Incomplete)


def test_struct_reader_text_with_a_duplicate_or_unknown_member_is_refused() -> None:
    class Pair(msgspec.Struct, forbid_unknown_fields=True):
        left: int

    read = struct_reader(Pair)
    assert read('{"left": 1}') == Pair(1)
    for text, reason in (('{"left": 1, "left": 2}', "given twice"), ('{"left": 1, "right": 2}', "right")):
        with pytest.raises(ValueError, match=reason):
            read(text)


@pytest.mark.parametrize("value", ["{}", "[]", "1", "1.5"])
def test_a238_text_of_more_values_than_the_limit_is_refused_before_it_is_parsed(value: str) -> None:
    with pytest.raises(ValueError, match="too many values"):
        read_json("[" + ",".join([value] * (MAX_VALUES + 1)) + "!")  # the end would not parse
    accepted = "[" + ",".join([value] * (MAX_VALUES // 2)) + "]"
    assert len(read_json(accepted)) == MAX_VALUES // 2


@pytest.mark.parametrize("pair", ["[]", ('{"a":', "}")])
def test_read_json_depth_is_that_of_the_values_not_the_number_of_brackets(pair: str | tuple[str, str]) -> None:
    start, end = pair
    read_json(start * MAX_DEPTH + "1" + end * MAX_DEPTH)
    read_json(json.dumps(["[{" * MAX_DEPTH, *[[]] * MAX_DEPTH]))  # many brackets, little depth
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(start * (MAX_DEPTH + 1) + "1" + end * (MAX_DEPTH + 1))
