"""Which roles satisfy a need: of those that the caller may request, the ones that permit an action on a resource.

The evaluator is that of who-can. Roles that permit less come first, and each lists what it permits beyond the need. A
role for which the caller has a grant already is offered with that grant.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from daypass.domain.access.grant import is_usable
from daypass.domain.access.risk import breadth_of
from daypass.domain.directory import Grant, Role
from daypass.domain.policy.model import Effect
from daypass.domain.policy.partial_evaluation import Outcome
from daypass.domain.policy.pattern import fold
from daypass.operations import heavy
from daypass.operations.access.who_can import check_question, context_in, evaluation_of, question_of
from daypass.operations.grants.persons import Person, person_of
from daypass.operations.grants.targets import requestable_roles
from daypass.operations.grants.void import why_void
from daypass.operations.iam.holdings import Gatherer, Holdings
from daypass.operations.management import allow_own
from daypass.operations.outcome import served
from daypass.ports import Call, Env, Scene

_EXAMINED: Final = 1_000  # roles that the caller may request
_BEYOND: Final = 50


class Suggestion(NamedTuple):
    """A role that satisfies the need.

    Attributes:
        conditional: it depends on conditions of its policies.
        stages: stages of approval that the rule has; 0: automatic or emergency access only.
        beyond: further actions that the role's policies allow, as they are written; `more`: there are more of them.
        grant_id: a grant of the caller's that can be used now, or "".
    """

    role_arn: str
    rule: str
    conditional: bool
    stages: int
    beyond: tuple[str, ...]
    more: bool
    grant_id: str


async def suggest_roles(env: Env, call: Call, action: str, resource: str, limit: int = 10) -> list[Suggestion]:
    """The roles of the caller's account that the caller may request for this need, least privileged first.

    It needs no permission, because it shows only roles that the caller may request; a Deny of daypass:SuggestRoles
    applies. Raises DaypassError: ACCESS_DENIED, VALIDATION.
    """
    decision = await allow_own(env, call, "SuggestRoles", "role")
    check_question(action, resource)
    suggestions: list[Suggestion] = await heavy.read(env, call, _suggest, call, action, resource, limit)
    detail = {"action": action[:256], "resource": resource[:2048], "found": len(suggestions)}
    await env.journal.commit(served(call, decision=decision, detail=detail))
    return suggestions


def _suggest(scene: Scene, call: Call, action: str, resource: str, limit: int) -> list[Suggestion]:
    ctx = context_in(scene, call)
    gatherer = Gatherer(ctx, blocks=True)
    question = question_of(ctx, gatherer, action, resource)
    person = person_of(scene.tx, call.caller)
    found: list[tuple[tuple[float, int, str], Suggestion]] = []
    for role, rule in requestable_roles(scene.tx, ctx.account, person.names, "", _EXAMINED)[0]:
        holdings = gatherer.of(role)
        evaluation = evaluation_of(question, role, holdings)
        if evaluation.outcome is Outcome.DENIED:
            continue
        actions = _actions(holdings)
        beyond = [each for each in actions if fold(each) != fold(action)]
        suggestion = Suggestion(
            role.arn,
            rule.name,
            evaluation.outcome is Outcome.ALLOWED_IF,
            len(rule.rule.stages),
            tuple(beyond[:_BEYOND]),
            len(beyond) > _BEYOND,
            _grant_for(scene, role, person, call.now),
        )
        found.append(((breadth_of(actions), len(beyond), role.arn), suggestion))
    return [suggestion for _, suggestion in sorted(found)[:limit]]


def _actions(holdings: Holdings) -> list[str]:
    """The actions that the role's policies allow, as they are written."""
    actions: dict[str, None] = {}
    for source in holdings.identity:
        for statement in source.policy.document.statements:
            if statement.effect is Effect.ALLOW:
                written = ("*",) if statement.not_action else statement.written["Action"]
                actions.update(dict.fromkeys(written))
    return list(actions)


def _grant_for(scene: Scene, role: Role, person: Person, now: int) -> str:
    tx, ids = scene.tx, person.principal_ids
    grants = [
        each for each in tx.find(Grant, role_id=role.id, principal_id=person.id, ended_at=0) if is_usable(each, now)
    ]
    return next((grant.id for grant in grants if not why_void(scene, tx, grant, now, ids)), "")
