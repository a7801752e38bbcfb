"""A hypothetical principal: what policies may know of a user or role that has not authenticated.

The simulator and "who can" evaluate requests of hypothetical principals. Only facts that follow from the entity itself
become context keys. The time, network and form of a request are never invented.
"""

from __future__ import annotations

from collections.abc import Iterable

from daypass.domain.arn import assumed_role_arn
from daypass.domain.claims import PrincipalKind
from daypass.domain.context import tag_keys
from daypass.domain.directory import Role, User
from daypass.domain.policy.model import PrincipalFacts, Value
from daypass.domain.policy.partial_evaluation import Known

_OF_ANY = ("aws:principalarn", "aws:principalaccount", "aws:principaltype", "aws:username")
_ALWAYS = {"aws:principalisawsservice": "false", "aws:viaawsservice": "false"}


def hypothetical_facts(entity: User | Role, session_name: str = "") -> PrincipalFacts:
    """The entity as Principal elements match it; for a role without `session_name`, as any of its sessions."""
    if isinstance(entity, User):
        return PrincipalFacts(PrincipalKind.USER, entity.account, ((entity.arn, entity.id),))
    arns: tuple[tuple[str, str], ...] = ((entity.arn, entity.id),)
    if session_name:
        arns = ((assumed_role_arn(entity.account, entity.name, session_name), entity.id), *arns)
    return PrincipalFacts(PrincipalKind.ROLE_SESSION, entity.account, arns)


def hypothetical_keys(entity: User | Role, session_name: str = "") -> dict[str, Value]:
    """The context keys that follow from the entity: those of `context.request_context` that are the same in every request."""
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


def hypothetical_known(entity: User | Role, keys: Iterable[str] = (), families: Iterable[str] = ()) -> Known:
    """The context keys whose value or absence is certain. A role's sessions may have tags; a user has no session tags.

    `keys` and `families` (prefixes) are further certain keys, folded.
    """
    if isinstance(entity, User):
        return Known(frozenset({*_OF_ANY, *_ALWAYS, "aws:userid", *keys}), ("aws:principaltag/", *families))
    return Known(frozenset({*_OF_ANY, *_ALWAYS, *keys}), tuple(families))
