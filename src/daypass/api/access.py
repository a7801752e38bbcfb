"""Questions about permissions: simulation, who-can, what-can."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from msgspec import Meta, field

from daypass.api.operation import (
    After,
    Command,
    Input,
    Limit,
    Operation,
    OptionalMillis,
    Output,
    PageInput,
    ResourcePages,
)

Note = Annotated[
    str,
    Meta(
        description="A fact beyond policies: the user has no active credential. Its sessions continue until they end."
    ),
]


class AssumptionIn(Input):
    session_name: Annotated[str, Meta(pattern="^[A-Za-z0-9_+=,.@-]{2,64}$")] = "simulation"
    external_id: Annotated[str, Meta(max_length=1224)] = ""
    source_identity: Annotated[str, Meta(max_length=64)] = ""
    tags: Annotated[
        dict[Annotated[str, Meta(min_length=1, max_length=128)], Annotated[str, Meta(max_length=256)]],
        Meta(max_length=50),
    ] = {}
    transitive_keys: Annotated[list[Annotated[str, Meta(min_length=1, max_length=128)]], Meta(max_length=50)] = []


class SimulateAccessInput(Input):
    actions: Annotated[list[Annotated[str, Meta(min_length=3, max_length=128)]], Meta(min_length=1, max_length=100)]
    principal: Annotated[
        str, Meta(max_length=2048, description="ARN of a user or role; empty: the policies given, alone.")
    ] = ""
    resources: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=2048)]], Meta(min_length=1, max_length=100)
    ] = field(default_factory=lambda: ["*"])
    policies: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=20480)]],
        Meta(max_length=20, description="On top of the principal's own."),
    ] = []
    boundary: Annotated[str, Meta(max_length=20480, description="In place of the principal's own boundary.")] = ""
    session_policies: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=20480)]], Meta(max_length=4, description="Each must allow.")
    ] = []
    resource_policy: Annotated[str, Meta(max_length=20480)] = ""
    resource_account: Annotated[
        str, Meta(pattern="^([0-9]{12})?$", description="Owner of resources that name none.")
    ] = ""
    session_name: Annotated[
        str, Meta(pattern="^([A-Za-z0-9_+=,.@-]{2,64})?$", description="Makes it a role's session.")
    ] = ""
    context: Annotated[
        dict[
            Annotated[str, Meta(min_length=1, max_length=256)],
            Annotated[str, Meta(max_length=2048)] | list[Annotated[str, Meta(max_length=2048)]],
        ],
        Meta(max_length=100, description="A text is a single value, a list is multivalued."),
    ] = {}
    assumption: Annotated[AssumptionIn | None, Meta(description="Parameters of sts:AssumeRole on a role.")] = None


class SimulatedOut(Output):
    action: str
    resource: str
    decision: Annotated[str, Meta(description="allowed, explicit_deny or implicit_deny.")]
    open_with: Annotated[
        str, Meta(description="Another account that must allow it too and was not asked; empty: none.")
    ]
    explanation: Annotated[
        dict[str, Any] | None, Meta(description="Layers, statements, conditions, and what is missing.")
    ]
    note: Note


class WhoCanAccessInput(Input):
    action: Annotated[str, Meta(min_length=3, max_length=128)]
    resource: Annotated[str, Meta(min_length=1, max_length=2048, description="An ARN, or `*`.")] = "*"
    denied: Annotated[bool, Meta(description="Include denied principals.")] = False
    after: Annotated[str, Meta(max_length=160, description="`next` of the page before.")] = ""
    limit: Limit = 100


class AccessOut(Output):
    principal: str
    kind: Annotated[
        str, Meta(description="root, user, role, session, account, principal, provider, service or anyone.")
    ]
    action: str
    outcome: Annotated[str, Meta(description="allowed, allowed_if (see `conditions`) or denied.")]
    conditions: Annotated[list[dict[str, Any]], Meta(description="Allow: must hold. Deny: must not hold.")]
    open_with: Annotated[
        str, Meta(description="Another account that must allow it too and was not asked; empty: none.")
    ]
    because: Annotated[list[str], Meta(description="If it is denied: the policies and blocks that deny it.")]
    note: Note


class WhoCanOut(Output):
    access: list[AccessOut]
    looked_at: Annotated[int, Meta(description="Principals that this page has asked about.")]
    next: Annotated[str, Meta(description="`after` of the next page; empty at the end.")] = ""


class WhatCanAccessInput(Input):
    principal: Annotated[str, Meta(min_length=1, max_length=2048, description="ARN of a user or role of yours.")]
    after: After = ""
    limit: Limit = 100


class PermissionOut(Output):
    action: str
    not_action: Annotated[bool, Meta(description="Whether `action` is one that is excepted.")]
    resources: list[str]
    not_resource: Annotated[bool, Meta(description="Whether `resources` are those that are excepted.")]
    policy: str
    sid: str
    line: int
    extent: Annotated[str, Meta(description="allowed, allowed_if, partly (see `limits`) or denied.")]
    conditions: list[dict[str, Any]]
    limits: Annotated[list[str], Meta(description="Layers and policies that deny a part of it, or all of it.")]


class WhatCanOut(Output):
    principal: str
    grants: Annotated[list[PermissionOut], Meta(description="On the first page alone.")]
    more_grants: Annotated[bool, Meta(description="Whether there are more grants than one answer shows.")]
    roles: Annotated[list[AccessOut], Meta(description="Roles of the account that it can assume.")]
    note: Note
    next: Annotated[str, Meta(description="`after` of the next page of roles; empty at the end.")] = ""


class GetPolicyBundleInput(Input):
    service: Annotated[
        str, Meta(pattern="^[a-z0-9][a-z0-9_-]{0,62}$", description="The prefix of the actions: `orders`.")
    ]
    known: Annotated[
        str, Meta(max_length=512, description="The beginnings of the digests of the buckets that the verifier has.")
    ] = ""


class PolicyBundleOut(Output):
    signed: Annotated[str, Meta(description="A JWS: account, service, position, guardrails, digests of the buckets.")]
    buckets: Annotated[dict[str, str], Meta(description="Users and roles with their policies: what `known` lacks.")]
    policies: Annotated[dict[str, str], Meta(description="Texts of policies by their SHA-256.")]


operation = partial(Operation, section="access")

GET_POLICY_BUNDLE = operation(
    "GetPolicyBundle",
    "GET /access/policy-bundle",
    "The policies of your account that decide about one service, signed, for verifiers that decide locally.",
    GetPolicyBundleInput,
    PolicyBundleOut,
)
SIMULATE_ACCESS = operation(
    "SimulateAccess",
    "POST /simulate",
    "The decision, and its reason, for each action on each resource. Context keys of the principal are known; pass those of the request in `context`. For assuming a role, its trust policy is evaluated too.",
    SimulateAccessInput,
    SimulatedOut,
    items="results",
)
WHO_CAN_ACCESS = operation(
    "WhoCanAccess",
    "GET /access/who-can",
    "Which principals of your account can do this: its root, users and roles; for sts:AssumeRole on a role of yours, also the external principals that the trust policy admits. `limit` principals are evaluated for each page; a page may be empty and still have a `next`.",
    WhoCanAccessInput,
    WhoCanOut,
)


class LongLivedKeyOut(Output):
    access_key_id: str
    owner: str
    who: Annotated[str, Meta(description="The owner without its account.")]
    created_at: int
    age_days: int
    used_at: OptionalMillis
    used_for: Annotated[str, Meta(description="The service that it was last used for.")]
    reach: Annotated[str, Meta(description="everything, whole services, named actions, or nothing.")]
    advice: str
    role: Annotated[str, Meta(description="The role that would replace it; empty for a person.")]
    trust_policy: Annotated[str, Meta(description="The trust policy of that role.")]


LIST_LONG_LIVED_KEYS = operation(
    "ListLongLivedKeys",
    "GET /long-lived-keys",
    "Active access keys of your account: age, last use, reach, and the role that would replace each.",
    PageInput,
    LongLivedKeyOut,
    items="keys",
    paged=True,
    command=Command(
        "key inventory",
        "List active access keys with age, last use and reach, and the role that would replace each.",
        help="With --output json, the answer has the trust policy of that role.",
        columns=("OWNER=who", "KEY=access_key_id", "DAYS=age_days", "USED=used_at", "REACH", "ADVICE"),
        empty="No active access keys.",
    ),
)


class FindInput(Input):
    text: Annotated[
        str, Meta(min_length=1, max_length=512, description="A part of a name, an ARN, or the whole of an id.")
    ]


class FoundOut(Output):
    kind: Annotated[
        str,
        Meta(
            description="user, role, group, approval-rule, client, resource-server, provider, session, access-request, request or access-key."
        ),
    ]
    id: str
    name: str
    arn: str


FIND = operation(
    "Find",
    "GET /find",
    "Principals, approval rules, clients, resource servers, providers, sessions, access requests and records by a part of a name, an ARN or an id. It needs no permission itself: each kind is found by callers who may list it.",
    FindInput,
    FoundOut,
    items="found",
    command=Command(
        "find TEXT",
        "Find people, roles, groups, providers, sessions and requests by TEXT.",
        columns=("KIND", "NAME", "ID", "ARN"),
        empty="No match that you may see.",
    ),
)
WHAT_CAN_ACCESS = operation(
    "WhatCanAccess",
    "GET /access/what-can",
    "Everything that a user or role can do: each grant, limited by its other policies, and the roles that it can assume.",
    WhatCanAccessInput,
    WhatCanOut,
)
KEY_PAGES = ResourcePages(
    "/console/keys",
    "Access keys",
    "access key",
    LIST_LONG_LIVED_KEYS,
    "access_key_id",
    ("No active access keys.", "People and workloads here use roles."),
)
