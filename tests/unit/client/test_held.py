from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.servers import PROFILE, Clock, Script, error, issued, parameters

from daypass.client.boto import CeilingReached, HeldSession
from daypass.client.credentials import AssumeRole
from daypass.client.errors import ClientError
from daypass.client.provider import CredentialProvider
from daypass.client.state import iso_time
from daypass.client.transport import ClientRequest, ClientResponse, NoAnswer

REQUEST = AssumeRole("111122223333/etl", "job", 3600)


def held(tmp_path: Path, server: Script, ceiling: float) -> HeldSession:
    connection = server.connection()

    def make(*given: Any) -> CredentialProvider:
        return CredentialProvider(*given, connect=lambda: connection, cache=tmp_path, clock=server.clock)

    return HeldSession(PROFILE, REQUEST, ceiling, make=make, clock=server.clock)


def server_that_issues() -> Script:
    clock, count = Clock(), iter(range(1, 100))

    def issue(request: ClientRequest) -> ClientResponse:
        return issued(next(count), iso_time(clock.now + float(parameters(request)["DurationSeconds"])))

    return Script(issue, clock=clock)


def test_job_is_never_without_a_session_until_the_ceiling_and_then_for_good(tmp_path: Path) -> None:
    server = server_that_issues()
    session = held(tmp_path, server, 9_000)
    began = server.clock.now
    while server.clock.now < began + 9_000:
        found = session.get()
        assert found.expiration > server.clock.now + 5
        assert found.expiration <= began + 9_000 + 900
        server.clock.now += 97
    durations = [int(parameters(request)["DurationSeconds"]) for request in server.sent]
    assert durations[0] == 3600
    assert durations[-1] < 3600
    assert session.renewals == len(durations) - 1
    with pytest.raises(CeilingReached, match="ceiling"):
        session.get()
    session.close()
    server.clock.now = began
    with pytest.raises(CeilingReached):
        session.get()


def test_job_goes_on_with_a_valid_session_while_renewals_fail_and_is_told_why_when_it_ends(tmp_path: Path) -> None:
    server = server_that_issues()
    session = held(tmp_path, server, 40_000)
    first = session.get()
    server.steps = [NoAnswer("connection refused", sent=False)]
    server.clock.now += 3_000
    session._kept = True  # a thread renews: `get` itself does not
    sent = len(server.sent)
    assert session.get() == first
    assert len(server.sent) == sent
    server.clock.now += 700
    with pytest.raises(ClientError, match="connection refused"):
        session.get()


def test_session_that_is_refused_at_the_start_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="no trust"):
        held(tmp_path, Script(error("AccessDenied", "no trust", 403)), 900).get()
    with pytest.raises(ValueError, match="900"):
        held(tmp_path, Script(issued()), 899)
