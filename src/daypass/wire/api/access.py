"""The paths that answer "what would be decided": simulate, who can, what can. They map schemas to operations and
back.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import Query
from fastapi.responses import Response
from pydantic import Field

from daypass.domain.assumption import Assumption
from daypass.domain.policy.pattern import fold
from daypass.operations.access.simulate import Simulated, SimulationRequest, simulate
from daypass.operations.access.what_can import Grant, what_can
from daypass.operations.access.who_can import Access, who_can
from daypass.wire.api import schemas as s
from daypass.wire.api.router import new_router

_Document = Annotated[str, Field(min_length=1, max_length=20_480)]
_Arn = Annotated[str, Field(min_length=1, max_length=2048)]
_Action = Annotated[str, Field(min_length=3, max_length=128)]
_Text = Annotated[str, Field(max_length=2048)]
_TagKey = Annotated[str, Field(min_length=1, max_length=128)]
_ContextKey = Annotated[str, Field(min_length=1, max_length=256)]

router = new_router()

# --- Simulate


class AssumptionIn(s.In):
    session_name: str = Field("simulation", pattern=r"^[A-Za-z0-9_+=,.@-]{2,64}$")
    external_id: str = Field("", max_length=1224)
    source_identity: str = Field("", max_length=64)
    tags: Annotated[dict[_TagKey, Annotated[str, Field(max_length=256)]], s.members(50)] = Field(
        default_factory=dict, max_length=50
    )
    transitive_keys: list[_TagKey] = Field(default_factory=list, max_length=50)


class SimulationIn(s.In):
    principal: str = Field("", max_length=2048, description="ARN of a user or role; empty: the policies given, alone.")
    actions: list[_Action] = Field(min_length=1, max_length=100)
    resources: list[_Arn] = Field(default_factory=lambda: ["*"], min_length=1, max_length=100)
    policies: list[_Document] = Field(default_factory=list, max_length=20, description="On top of the principal's own.")
    boundary: str = Field("", max_length=20_480, description="In place of the principal's own boundary.")
    session_policies: list[_Document] = Field(default_factory=list, max_length=4, description="Each must allow.")
    resource_policy: str = Field("", max_length=20_480)
    resource_account: str = Field("", pattern=r"^([0-9]{12})?$", description="Owner of resources that name none.")
    session_name: str = Field("", pattern=r"^([A-Za-z0-9_+=,.@-]{2,64})?$", description="Makes it a role's session.")
    context: Annotated[dict[_ContextKey, _Text | list[_Text]], s.members(100)] = Field(
        default_factory=dict, max_length=100, description="A text is a single value, a list is multivalued."
    )
    assumption: AssumptionIn | None = Field(None, description="What to ask for with sts:AssumeRole on a role.")

    def request(self) -> SimulationRequest:
        asked = self.assumption or AssumptionIn.model_validate({})
        return SimulationRequest(
            **self.fields("context", "assumption"),
            context={fold(k): tuple(v) if isinstance(v, list) else v for k, v in self.context.items()},
            assumption=Assumption(**asked.fields("tags"), tags=tuple(asked.tags.items())),
        )


class SimulatedOut(s.Out):
    action: str
    resource: str
    decision: str = Field(description="allowed, explicit_deny or implicit_deny.")
    open_with: str = Field(description="Another account that must allow it too and was not asked; empty: none.")
    explanation: dict[str, Any] | None = Field(description="Layers, statements, conditions, and what is missing.")


class SimulationOut(s.Out):
    results: list[SimulatedOut]


@router.post("/simulate", name="SimulateAccess", tags=["access"], response_model=SimulationOut)
async def simulate_access(env: s.EnvDep, call: s.CallDep, body: SimulationIn) -> Response:
    """What would be decided, and why, for each action on each resource. Context keys of the principal are known; pass
    those of the request in `context`. For assuming a role, its trust policy is evaluated too.
    """
    answers = await simulate(env, call, body.request())
    return Response(msgspec.json.encode({"results": [*map(_simulated_json, answers)]}), media_type="application/json")


def _simulated_json(answer: Simulated) -> dict[str, Any]:
    """A `SimulatedOut`. Its explanation is JSON already, so that the event loop has nothing to render."""
    return {
        "action": answer.action,
        "resource": answer.resource,
        "decision": answer.decision,
        "open_with": answer.open_with,
        "explanation": msgspec.Raw(answer.explanation) if answer.explanation else None,
    }


# --- Who can, what can


class AccessOut(s.Out):
    principal: str
    kind: str = Field(description="root, user, role, session, account, principal, provider, service or anyone.")
    action: str
    outcome: str = Field(description="allowed, allowed_if (see `conditions`) or denied.")
    conditions: list[dict[str, Any]] = Field(description="Allow: must hold. Deny: must not hold.")
    open_with: str = Field(description="Another account that must allow it too and was not asked; empty: none.")

    @classmethod
    def of(cls, entry: Access) -> AccessOut:
        return cls.copied(
            entry,
            outcome=entry.evaluation.outcome.value,
            conditions=[proviso.to_json() for proviso in entry.evaluation.provisos],
        )


class WhoCanOut(s.Out):
    access: list[AccessOut]
    looked_at: int = Field(description="Principals that this page has asked about.")
    next: str = Field("", description="`after` of the next page; empty at the end.")


class GrantOut(s.Out):
    action: str
    not_action: bool = Field(description="Whether `action` is one that is excepted.")
    resources: list[str]
    not_resource: bool = Field(description="Whether `resources` are those that are excepted.")
    policy: str
    sid: str
    line: int
    extent: str = Field(description="allowed, allowed_if, partly (see `limits`) or denied.")
    conditions: list[dict[str, Any]]
    limits: list[str] = Field(description="Layers and policies that deny a part of it, or all of it.")

    @classmethod
    def of(cls, grant: Grant) -> GrantOut:
        conditions = [proviso.to_json() for proviso in grant.provisos]
        return cls.copied(grant, extent=grant.extent.value, conditions=conditions)


class WhatCanOut(s.Out):
    principal: str
    grants: list[GrantOut] = Field(description="On the first page alone.")
    more_grants: bool = Field(description="Whether there are more grants than one answer shows.")
    roles: list[AccessOut] = Field(description="Roles of the account that it can assume.")
    next: str = Field("", description="`after` of the next page of roles; empty at the end.")


@router.get("/access/who-can", name="WhoCanAccess", tags=["access"])
async def who_can_access(
    env: s.EnvDep,
    call: s.CallDep,
    action: Annotated[str, Query(min_length=3, max_length=128)],
    resource: Annotated[str, Query(min_length=1, max_length=2048, description="An ARN, or `*`.")] = "*",
    denied: Annotated[bool, Query(description="Also those who are denied.")] = False,  # noqa: FBT002  # by name, in a query
    after: Annotated[str, Query(max_length=160, description="`next` of the page before.")] = "",
    limit: s.LimitQuery = 100,
) -> WhoCanOut:
    """Which principals of your account can do this: its root, users and roles; for sts:AssumeRole on a role of yours,
    also the external principals that the trust policy admits. `limit` principals are evaluated for each page; a page
    may be empty and still have a `next`.
    """
    page = await who_can(env, call, action, resource, after=after, limit=limit, denied=denied)
    return WhoCanOut(
        access=[AccessOut.of(entry) for entry in page.entries], looked_at=page.looked_at, next=page.following
    )


@router.get("/access/what-can", name="WhatCanAccess", tags=["access"])
async def what_can_access(
    env: s.EnvDep,
    call: s.CallDep,
    principal: Annotated[str, Query(min_length=1, max_length=2048, description="ARN of a user or role of yours.")],
    after: s.AfterQuery = "",
    limit: s.LimitQuery = 100,
) -> WhatCanOut:
    """What a user or role can do: each grant, limited by its other policies, and the roles that it can assume."""
    page = await what_can(env, call, principal, after=after, limit=limit)
    return WhatCanOut(
        principal=page.principal,
        grants=[GrantOut.of(grant) for grant in page.grants],
        more_grants=page.more_grants,
        roles=[AccessOut.of(entry) for entry in page.roles],
        next=page.following,
    )
