"""The record: search, summaries, export."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from daypass.api.operation import (
    Command,
    Empty,
    Id,
    InAccount,
    Limit,
    Millis,
    OnePage,
    Operation,
    Output,
    ResourcePages,
)


class ExplanationOut(Output):
    explanation: Annotated[dict[str, Any], Meta(description="Layers, statements, conditions, and what is missing.")]


class SearchRecordsInput(OnePage):
    type: Annotated[str, Meta(max_length=64)] = ""
    operation: Id = ""
    request_id: Id = ""
    session_id: Annotated[
        str, Meta(max_length=128, description="The id of the session that was issued or acted on.")
    ] = ""
    access_key_id: Annotated[str, Meta(max_length=128, description="The actor's.")] = ""
    error: Annotated[str, Meta(max_length=64)] = ""
    since: Annotated[int, Meta(ge=0, le=9007199254740991)] | None = None
    until: Annotated[Annotated[int, Meta(ge=0, le=9007199254740991)] | None, Meta(description="Exclusive.")] = None


class RecordOut(Output):
    log: str
    seq: int
    at: int
    leaf: str
    chain: str
    event: Annotated[dict[str, Any] | None, Meta(description="The event, as far as you may see it.")]


class ExploreRecordsInput(SearchRecordsInput):
    person: Annotated[
        str,
        Meta(max_length=256, description="A part of the ARN or ids of the actor, or of whom a revocation is about."),
    ] = ""
    role: Annotated[str, Meta(max_length=256, description="A part of an ARN in the event's detail or decision.")] = ""
    chain: Annotated[str, Meta(max_length=64, description="Id of a session that was issued, acted on, or acted.")] = ""
    source: Annotated[str, Meta(max_length=64, description="The beginning of the source address.")] = ""
    decision: Annotated[str, Meta(pattern="^(allowed|refused)?$")] = ""
    trace: Annotated[str, Meta(max_length=32, description="The id of a trace (W3C Trace Context).")] = ""
    cause: Annotated[str, Meta(max_length=32, description="The cause class of a refusal, as metrics name it.")] = ""
    region: Annotated[str, Meta(max_length=64, description="The region that the request named.")] = ""
    changes: Annotated[bool, Meta(description="Only what changed something or was refused.")] = False


class SummarizeRecordsInput(InAccount):
    since: Millis
    until: Millis
    region: Annotated[str, Meta(max_length=64, description="Only requests that named it.")] = ""


class CauseOut(Output):
    name: str
    count: int


class SummaryOut(Output):
    since: int
    until: int
    complete: Annotated[bool, Meta(description="Whether all records of the period were read.")]
    times: Annotated[list[int], Meta(description="The beginnings of the buckets of `series`.")]
    series: dict[str, list[int]]
    success: Annotated[
        float | None, Meta(description="The share of attempts that succeeded, without those denied by policies (M1).")
    ]
    approval_ms: Annotated[int, Meta(description="Median time from a request to its vote; 0 without a vote.")]
    failures: list[CauseOut]
    callers: list[CauseOut]
    operations: list[CauseOut]
    durations: list[CauseOut]


class GetRecordInput(InAccount):
    log: Id
    seq: Annotated[int, Meta(ge=0, le=9223372036854775807)]


class FollowRecordsInput(InAccount):
    cursor: Annotated[
        Annotated[
            dict[Annotated[str, Meta(max_length=64)], Annotated[int, Meta(ge=-1, le=9223372036854775807)]],
            Meta(max_length=5000),
        ]
        | None,
        Meta(description="`cursor` of the last answer; absent: the newest records."),
    ] = None
    limit: Limit = 100
    wait: Annotated[int, Meta(ge=0, le=15, description="Seconds to wait for something to come.")] = 0


class TailOut(Output):
    records: list[RecordOut]
    cursor: dict[str, int]


class AnomalyOut(Output):
    found_at: Annotated[int, Meta(extra={"from": "at"})]
    severity: Annotated[str, Meta(description="high: a large deviation, or a role of high privilege; low.")]
    score: Annotated[int, Meta(description="0 to 100.")]
    who: Annotated[str, Meta(description="The principal without its account.")]
    role_name: str
    principal: str
    role: str
    source_ip: str
    session_id: str
    why: Annotated[str, Meta(description="The reasons, the largest contribution first.")]


class LogOut(Output):
    log: str
    installation: str
    node: str
    opened_at: int
    seq: int
    chain: str
    closed: bool


class ExportLogInput(InAccount):
    after: Annotated[
        int, Meta(ge=-1, le=9223372036854775807, description="Sequence number of the last record you have.")
    ] = -1
    limit: Limit = 1000


class LeafOut(Output):
    """A record as verification takes it: hashes in hex, the event's bytes in base64, absent where you may not see them."""

    log: str
    seq: int
    leaf: str
    chain: str
    bytes: str | UnsetType = UNSET


operation = partial(Operation, section="audit")

EXPLAIN_REQUEST = operation(
    "ExplainRequest",
    "GET /explanations/{request_id}",
    "Why a request was denied, by its id: as sts:DecodeAuthorizationMessage returns it, with the same permission.",
    Empty,
    ExplanationOut,
)
SEARCH_RECORDS = operation(
    "ReadAudit",
    "GET /audit/records",
    "Records that you may see, newest first. A page may hold fewer than `limit` and still have a `next`.",
    SearchRecordsInput,
    RecordOut,
    items="records",
    paged=True,
    unique="SearchRecords",
)
EXPLORE_RECORDS = operation(
    "ReadAudit",
    "GET /audit/events",
    "Records by person, role, chain, source or decision, newest first. A page may hold fewer than `limit` and still have a `next`.",
    ExploreRecordsInput,
    RecordOut,
    items="records",
    paged=True,
    unique="ExploreRecords",
)
SUMMARIZE_RECORDS = operation(
    "ReadAudit",
    "GET /audit/summary",
    "Figures about a period: sessions, refusals and access requests, by time and by cause.",
    SummarizeRecordsInput,
    SummaryOut,
    unique="SummarizeRecords",
)
GET_RECORD = operation(
    "ReadAudit",
    "GET /audit/records/{log}/{seq}",
    "One record by its position.",
    GetRecordInput,
    RecordOut,
    unique="GetRecord",
)
FOLLOW_RECORDS = operation(
    "ReadAudit",
    "POST /audit/tail",
    "The records since the cursor of the last response, without calls that read the record.",
    FollowRecordsInput,
    TailOut,
    query=(),
    unique="FollowRecords",
)
LIST_ANOMALIES = operation(
    "ReadAudit",
    "GET /anomalies",
    "Sessions that deviate from what is usual for their principals, newest first.",
    OnePage,
    AnomalyOut,
    items="anomalies",
    paged=True,
    unique="ListAnomalies",
    command=Command(
        "audit anomalies",
        "List sessions that deviate from what is usual for their principals, newest first.",
        columns=(
            "FOUND=found_at",
            "SEVERITY",
            "SCORE",
            "WHO",
            "ROLE=role_name",
            "FROM=source_ip",
            "WHY",
        ),
        empty="No anomalies.",
    ),
)
LIST_LOGS = operation(
    "VerifyAudit",
    "GET /audit/logs",
    "Every log with its head, oldest first.",
    InAccount,
    LogOut,
    items="logs",
    unique="ListLogs",
)
EXPORT_LOG = operation(
    "VerifyAudit",
    "GET /audit/logs/{log}/records",
    "A log's records without a gap, to verify the chain yourself. Events of other accounts are returned as leaves. A page of large events holds fewer than `limit`: the log has been read when a page is empty.",
    ExportLogInput,
    LeafOut,
    items="records",
    unique="ExportLog",
)
ANOMALY_PAGES = ResourcePages(
    "/console/anomalies",
    "Anomalies",
    "anomaly",
    LIST_ANOMALIES,
    "session_id",
    (
        "No anomalies.",
        "A session that deviates from what is usual for its principal is listed here, with the reasons.",
    ),
)
