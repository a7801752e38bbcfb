"""Accounts, their guardrails, the settings of roles and of the server."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from msgspec import Meta

from daypass.api.operation import AccountId, Command, InAccount, Input, Millis, Operation, Output, PageInput


class CreateAccountInput(Input):
    name: Annotated[str, Meta(min_length=1, max_length=50)]
    id: Annotated[str, Meta(max_length=12, description="12 digits; empty: a free number is chosen.")] = ""
    root_key: Annotated[bool, Meta(description="Also make a root access key; its secret is shown this once.")] = False


class AccountOut(Output):
    id: str
    name: str
    operator: bool
    created_at: int


class RootKeyOut(Output):
    access_key_id: str
    secret_access_key: str


class NewAccountOut(AccountOut):
    root_key: RootKeyOut | None = None


class ListGuardrailsInput(Input):
    account_id: AccountId


class GuardrailOut(Output):
    account: str
    name: str
    document: str
    created_at: int


class GetGuardrailInput(Input):
    account_id: AccountId


class PutGuardrailInput(Input):
    account_id: AccountId
    document: Annotated[str, Meta(min_length=1, max_length=5120, description="The policy, as text.")]


class RoleSettingsOut(Output):
    arn: str
    chained_max_seconds: int


class PutRoleSettingsInput(InAccount):
    chained_max_seconds: Annotated[
        int,
        Meta(
            description="Longest duration of a session of the role that is made from another session; 3600 by default."
        ),
    ]


class ReadMeasurementsInput(Input):
    since: Millis
    until: Millis


class LatencyOut(Output):
    count: int
    p50: Annotated[
        float | None, Meta(description="Milliseconds: half of the requests took at most this. Null: none, or more.")
    ]
    p95: float | None
    p99: float | None


class OperationLatencyOut(LatencyOut):
    operation: str


class CheckOut(Output):
    name: str
    passed: int
    failed: int
    last_at: Annotated[int | None, Meta(description="When the process that answers ran it last.")]
    last_ms: float | None
    problem: Annotated[str | None, Meta(description="The problem that it found; empty when it passed.")]


class MeasurementsOut(Output):
    since: Annotated[
        int, Meta(description="Later than requested if the figures do not go back so far: they are kept for six hours.")
    ]
    until: int
    times: Annotated[list[int], Meta(description="The beginnings of the buckets of `series`.")]
    series: Annotated[
        dict[str, list[float | None]], Meta(description="`faults` are answers that were the fault of the server.")
    ]
    latency: LatencyOut
    refused: int
    operations: list[OperationLatencyOut]
    checks: list[CheckOut]
    record_share: Annotated[
        float | None,
        Meta(description="Records in the database, of those that must be there (M9). Null: not compared yet."),
    ]
    auth_failing_seconds: Annotated[
        float, Meta(description="The longest time for which authentication failed without a break (M10).")
    ]
    alerts: Annotated[list[str], Meta(description="Alerts whose condition holds on this server now.")]


class SettingsOut(Output):
    sections: dict[str, dict[str, str]]


guardrail_operation = partial(Operation, section="guardrails")

CREATE_ACCOUNT = Operation(
    "CreateAccount",
    "POST /accounts",
    "Creates an account. Only the operator's principals may do this.",
    CreateAccountInput,
    NewAccountOut,
    status=201,
    command=Command("account create NAME", "Create an account called NAME."),
    section="accounts",
)
LIST_ACCOUNTS = Operation(
    "ListAccounts",
    "GET /accounts",
    "Accounts by id. Only the operator's principals may list them.",
    PageInput,
    AccountOut,
    items="accounts",
    paged=True,
    command=Command("account ls", "List accounts.", columns=("ACCOUNT=id", "NAME", "MADE=created_at", "OPERATOR")),
    section="accounts",
)
LIST_GUARDRAILS = guardrail_operation(
    "ListGuardrails",
    "GET /accounts/{account_id}/guardrails",
    "The guardrails of one account.",
    ListGuardrailsInput,
    GuardrailOut,
    items="guardrails",
    command=Command(
        "guardrail ls ACCOUNT_ID", "List the guardrails of ACCOUNT_ID.", columns=("NAME", "MADE=created_at")
    ),
)
GET_GUARDRAIL = guardrail_operation(
    "GetGuardrail",
    "GET /accounts/{account_id}/guardrails/{name}",
    "One guardrail, with its text as written.",
    GetGuardrailInput,
    GuardrailOut,
    command=Command("guardrail show ACCOUNT_ID NAME", "Print the policy of a guardrail.", prints="document"),
)
PUT_GUARDRAIL = guardrail_operation(
    "PutGuardrail",
    "PUT /accounts/{account_id}/guardrails/{name}",
    "Creates a guardrail or replaces its text. Only the operator's principals may do this.",
    PutGuardrailInput,
    GuardrailOut,
)
DELETE_GUARDRAIL = guardrail_operation(
    "DeleteGuardrail",
    "DELETE /accounts/{account_id}/guardrails/{name}",
    "Deletes a guardrail. Only the operator's principals may do this.",
    GetGuardrailInput,
    status=204,
    command=Command(
        "guardrail rm ACCOUNT_ID NAME",
        "Remove a guardrail.",
        says=("Guardrail {name} of {account_id} is removed.",),
        noun="account",
        confirm="Remove guardrail {name} of {account_id}?",
        why="this changes what every principal of the account may do",
    ),
)
GET_ROLE_SETTINGS = Operation(
    "GetRoleSettings",
    "GET /roles/{name}/settings",
    "The Daypass settings of a role.",
    InAccount,
    RoleSettingsOut,
    section="roles",
)
PUT_ROLE_SETTINGS = Operation(
    "PutRoleSettings",
    "PUT /roles/{name}/settings",
    "Sets the Daypass settings of a role. Existing sessions do not change.",
    PutRoleSettingsInput,
    RoleSettingsOut,
    section="roles",
)
READ_MEASUREMENTS = Operation(
    "ReadMeasurements",
    "GET /measurements",
    "Latency, errors and synthetic checks of the server that answers, with all its worker processes. Only the operator's principals may read them.",
    ReadMeasurementsInput,
    MeasurementsOut,
    section="installation",
)
READ_SETTINGS = Operation(
    "ReadSettings",
    "GET /settings",
    "The settings of the server by section, as text, without secrets. Only the operator's principals may read them.",
    output=SettingsOut,
    section="installation",
)
