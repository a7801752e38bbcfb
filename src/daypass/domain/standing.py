"""A principal that is not here: what policies may know of a user or role that is only spoken of.

The simulator and "who can" speak of principals; nobody has authenticated as them. Only what follows from the entity
itself becomes a context key; when, whence and how a request would come is not made up.
"""

from __future__ import annotations

from collections.abc import Iterable

from daypass.domain.arn import assumed_role_arn
from daypass.domain.claims import PrincipalKind
from daypass.domain.context import tag_keys
from daypass.domain.directory import Role, User
from daypass.domain.policy.model import PrincipalFacts, Value
from daypass.domain.policy.prospect import Known

_OF_ANY = ("aws:principalarn", "aws:principalaccount", "aws:principaltype", "aws:username")
_ALWAYS = {"aws:principalisawsservice": "false", "aws:viaawsservice": "false"}


def standing_facts(entity: User | Role, session_name: str = "") -> PrincipalFacts:
    """The entity as Principal elements would see it; of a role without `session_name`, whatever the session."""
    if isinstance(entity, User):
        return PrincipalFacts(PrincipalKind.USER, entity.account, ((entity.arn, entity.id),))
    arns: tuple[tuple[str, str], ...] = ((entity.arn, entity.id),)
    if session_name:
        arns = ((assumed_role_arn(entity.account, entity.name, session_name), entity.id), *arns)
    return PrincipalFacts(PrincipalKind.ROLE_SESSION, entity.account, arns)


def standing_keys(entity: User | Role, session_name: str = "") -> dict[str, Value]:
    """The context keys that follow from the entity: those of `context.request_context` that no request changes."""
    keys: dict[str, Value] = {
        **_ALWAYS,
        "aws:principalarn": entity.arn,
        "aws:principalaccount": entity.account,
        **tag_keys("aws:principaltag/", entity.tags),
    }
    if isinstance(entity, User):
        return {
            **keys,
            "aws:principaltype": PrincipalKind.USER.value,
            "aws:userid": entity.id,
            "aws:username": entity.name,
        }
    keys["aws:principaltype"] = PrincipalKind.ROLE_SESSION.value
    if session_name:
        keys["aws:userid"] = f"{entity.id}:{session_name}"
    return keys


def standing_known(entity: User | Role, keys: Iterable[str] = (), families: Iterable[str] = ()) -> Known:
    """Which keys are certain of the entity, present or absent. A role's sessions may bring tags; a user's bring none.

    `keys` and `families` (prefixes) are further ones, folded, whose value or absence is certain.
    """
    if isinstance(entity, User):
        return Known(frozenset({*_OF_ANY, *_ALWAYS, "aws:userid", *keys}), ("aws:principaltag/", *families))
    return Known(frozenset({*_OF_ANY, *_ALWAYS, *keys}), tuple(families))
