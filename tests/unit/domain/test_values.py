"""Values of a request are frozen at run time, compare by content, and travel to worker processes without what is derived."""

from __future__ import annotations

import pickle
from typing import Any

import msgspec
import pytest

from daypass.domain.claims import Caller, RequestFacts, nobody
from daypass.domain.context import principal_facts, request_context
from daypass.domain.directory import Role
from daypass.domain.policy.document import PolicyKind, compile_stored
from daypass.domain.policy.layers import Layers, NamedPolicy
from daypass.domain.policy.model import AccessQuery, Decision, Determining, Effect, Layer, PrincipalFacts
from daypass.domain.session import FeedPosition, Hop, SessionClaims, SessionKind
from daypass.domain.trust import Admission, AssumedRole, CallerPolicies
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
