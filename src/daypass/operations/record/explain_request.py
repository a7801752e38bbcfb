"""Explains a denial by request id: the same content as DecodeAuthorizationMessage, without the encoded message.

It needs the same permission and reveals no more: the explanation of a decision of the caller's own account.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.authorize import authorize
from daypass.operations.outcome import served
from daypass.ports import Call, Env, RecordFilter, Viewer

_MAX_RECORDS = 16  # records read for one request


async def explain_request(env: Env, call: Call, request_id: str) -> Mapping[str, Any]:
    """sts:DecodeAuthorizationMessage: the recorded explanation of a denied request.

    Raises DaypassError: ACCESS_DENIED; NOT_FOUND, also for a request that another account decided.
    """
    decision = await authorize(env, call, "sts:DecodeAuthorizationMessage", "*")
    account = call.caller.account
    query = RecordFilter(request_id=request_id, limit=_MAX_RECORDS)
    for record in await env.records.search(Viewer(account), query):
        body = record.body or {}
        explanation = body.get("decision")
        if body.get("account") == account and body.get("error") and isinstance(explanation, Mapping):
            await env.journal.commit(served(call, decision=decision, detail={"explained": request_id}))
            return explanation
    raise DaypassError(ErrorKind.NOT_FOUND, f"The record has no denied request with id {request_id}.")
