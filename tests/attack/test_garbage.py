"""Attack A432: refusals leave nothing to the collector of garbage, whose runs hold up all accounts."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.cost import only_new_garbage
from tests.integration.api.conftest import ROOT, UNTOUCHED, Server, untouched

__all__ = ["untouched"]
pytestmark = UNTOUCHED
CALLS = 12
WRONG = ROOT._replace(secret="wrong")
KINDS: dict[str, tuple[Any, str, str, int]] = {
    "signature": (WRONG, "GET", "/grants", 403),
    "parameter": (ROOT, "GET", "/grants?limit=x", 400),
    "body": (ROOT, "POST", "/access-requests", 400),
    "absent": (ROOT, "GET", "/grants/none", 404),
    "path": (ROOT, "GET", "/nothing", 404),
    "method": (ROOT, "DELETE", "/grants", 405),
}
FORM = {"host": "daypass.test", "content-type": "application/x-www-form-urlencoded"}
WEB = (
    b"Action=AssumeRoleWithWebIdentity&Version=2011-06-15",
    b"RoleArn=arn:aws:iam::222222222222:role/r&RoleSessionName=s1",
)
STRANGERS: dict[str, tuple[str, str, str, dict[str, str], bytes, int]] = {
    "unsigned": ("POST", "/", "", FORM, b"Action=GetCallerIdentity&Version=2011-06-15", 403),
    "malformed": ("POST", "/", "", FORM, b"Action=%", 400),
    "web identity": ("POST", "/", "", FORM, b"&".join((*WEB, b"WebIdentityToken=aaaa.bbbb.cccc")), 400),
    "scim": ("GET", "/scim/v2/Users", "", {"host": "daypass.test", "authorization": "Bearer dp_x"}, b"", 401),
    "console": ("GET", "/console/nothing", "", {"host": "daypass.test"}, b"", 404),
    "events": ("GET", "/events/revocations", "", {"host": "daypass.test"}, b"", 403),
    "authzen": ("POST", "/access/v1/evaluation", "", {"host": "daypass.test"}, b"{}", 401),
}


async def garbage_of(call: Callable[[], Awaitable[Any]], status: int) -> int:
    """The objects that calls leave to the collector."""
    await call()
    with only_new_garbage():
        for _ in range(CALLS):
            answer = await call()
            assert answer.status == status, answer
        return gc.collect()


@pytest.mark.parametrize("kind", KINDS)
async def test_a432_refusals_of_the_management_api_leave_no_cycles(untouched: Server, kind: str) -> None:
    key, method, path, status = KINDS[kind]
    path, _, query = path.partition("?")
    assert await garbage_of(lambda: untouched.api(key, method, path, query), status) < CALLS


@pytest.mark.parametrize("kind", STRANGERS)
async def test_a432_refusals_of_strangers_leave_no_cycles(untouched: Server, kind: str) -> None:
    *request, status = STRANGERS[kind]
    assert await garbage_of(lambda: untouched.send(*request), status) < CALLS
