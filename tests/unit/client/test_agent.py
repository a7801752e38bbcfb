from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.servers import NOW, PROFILE, Clock, Script, error, issued

from daypass.client.agent.config import AgentRole, File
from daypass.client.agent.endpoints import Endpoints, FailoverConnection
from daypass.client.agent.keeper import Keeper
from daypass.client.agent.sealed import Sealed
from daypass.client.credentials import AssumeRole, Credentials, assume_role_with_web_identity
from daypass.client.errors import ClientError
from daypass.client.provider import CredentialProvider
from daypass.client.transport import ClientResponse, LoginServer, NoAnswer

AWAY = NoAnswer("connection refused", sent=False)
ONE, TWO = "http://127.0.0.1:8701", "http://127.0.0.1:8702"


def pair(server: Script, **more: Any) -> FailoverConnection:
    endpoints = Endpoints([ONE, TWO], monotonic=server.clock, jitter=lambda: 1.0)
    return FailoverConnection(
        PROFILE, clock=server.clock, monotonic=server.clock, sleep=server.clock.sleep, jitter=lambda: 1.0,
        transport=server, endpoints=endpoints, **more,
    )  # fmt: skip


def by_endpoint(answers: Mapping[str, Any]) -> Script:
    def answer(request: Any) -> ClientResponse:
        found = answers[request.endpoint]
        if isinstance(found, NoAnswer):
            raise found
        assert isinstance(found, ClientResponse)
        return found

    return Script(answer)


def called(server: Script) -> list[str]:
    return [request.endpoint for request in server.sent]


def test_call_goes_to_the_second_endpoint_when_the_first_does_not_answer() -> None:
    for bad in (AWAY, error("ServiceUnavailable", "busy", 503), ClientResponse(404, {}, b"")):
        server = by_endpoint({ONE: bad, TWO: issued()})
        connection = pair(server)
        assert connection.sts("AssumeRole").findtext("Credentials/AccessKeyId") == "ASIA0000000000000001"
        assert (called(server)[0], called(server)[-1]) == (ONE, TWO)


def test_refusal_of_the_first_endpoint_is_the_answer() -> None:
    server = by_endpoint({ONE: error("AccessDenied", "no", 403), TWO: issued()})
    with pytest.raises(ClientError, match="no"):
        pair(server).sts("AssumeRole")
    assert called(server) == [ONE]


def test_endpoint_that_fails_three_times_is_left_alone_and_tried_again_later() -> None:
    server = by_endpoint({ONE: AWAY, TWO: issued()})
    connection = pair(server)
    for _ in range(3):
        connection.sts("AssumeRole")
    server.sent.clear()
    connection.sts("AssumeRole")
    assert set(called(server)) == {TWO}
    server.clock.now += 10.1
    connection.sts("AssumeRole")
    assert ONE in called(server)
    server.sent.clear()
    server.clock.now += 10.1  # the second rest is twice as long
    connection.sts("AssumeRole")
    assert set(called(server)) == {TWO}


def test_call_says_why_when_every_endpoint_is_left_alone_and_never_outlasts_its_deadline() -> None:
    clock = Clock()
    server = Script(AWAY, takes=3.0, clock=clock)
    connection = pair(server, deadline=4.0)
    for _ in range(3):
        began = clock.now
        with pytest.raises(ClientError, match="does not answer: connection refused"):
            connection.sts("AssumeRole")
        assert clock.now - began <= 4.5
    sent = len(server.sent)
    with pytest.raises(ClientError, match=f"each failed repeatedly .*{ONE}.*{TWO}"):
        connection.sts("AssumeRole")
    assert len(server.sent) == sent


def kept(
    tmp_path: Path, server: Script, files: tuple[File, ...] = (), tokens: Any = None, jitter: float = 1.0
) -> Keeper:
    connection = server.connection()
    request = AssumeRole("111122223333/app", "host")
    provider = CredentialProvider(
        PROFILE, request, connect=lambda: connection, cache=tmp_path / "cache", clock=server.clock
    )
    role = AgentRole(arn=request.role, file=files)
    return Keeper(
        "app", role, provider, tokens or (lambda *_: {}), check=3600.0, clock=server.clock, jitter=lambda: jitter
    )


def test_session_is_renewed_early_and_kept_while_the_server_is_away(tmp_path: Path) -> None:
    server = Script(issued(1))
    keeper = kept(tmp_path, server)
    pause = keeper.keep()
    assert 0.75 * 3600 <= pause <= 0.80 * 3600 + 1
    server.steps = [AWAY]
    server.clock.now = NOW + 2900
    assert 1 <= keeper.keep() <= 31
    assert (keeper.held or Credentials("", "", "", 0)).access_key_id.endswith("1")
    server.clock.now = NOW + 3700
    assert keeper.held is None
    server.steps = [issued(2, "2027-01-15T10:00:00Z")]
    keeper.keep()
    assert (keeper.held or Credentials("", "", "", 0)).access_key_id.endswith("2")


def test_attempts_for_a_first_session_are_spread_and_their_reason_is_kept(tmp_path: Path) -> None:
    keeper = kept(tmp_path, Script(error("AccessDenied", "the role does not trust you", 403)), jitter=0.0)
    assert [keeper.keep() for _ in range(7)] == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
    assert (keeper.report()["problem"], keeper.report()["valid"]) == ("the role does not trust you", False)


def test_fault_of_the_agent_does_not_end_the_renewal(tmp_path: Path) -> None:
    file = File(path=str(tmp_path / "jwt"), form="jwt", audience="https://a")
    keeper = kept(tmp_path, Script(issued()), (file,), lambda *_: 1 / 0)
    stop = threading.Event()
    thread = threading.Thread(target=keeper.run, args=(stop,))
    thread.start()
    assert keeper.attempted.wait(30)
    for _ in range(600):
        if keeper.why:
            break
        time.sleep(0.01)
    assert thread.is_alive()
    assert "ZeroDivisionError" in keeper.why
    assert keeper.held is not None
    stop.set()
    thread.join(30)


def test_token_of_an_api_is_renewed_before_it_ends_and_with_the_session(tmp_path: Path) -> None:
    given: list[str] = []

    def tokens(held: Credentials, audience: str) -> Mapping[str, Any]:
        given.append(held.access_key_id + audience)
        return {"access_token": f"token-{len(given)}", "expires_in": 300}

    server = Script(issued(1), issued(2, "2027-01-15T10:00:00Z"))
    file = File(path=str(tmp_path / "jwt"), form="jwt", audience="https://a")
    keeper = kept(tmp_path, server, (file,), tokens)
    assert keeper.keep() == pytest.approx(225.0)
    server.clock.now += 100
    keeper.keep()
    assert (tmp_path / "jwt").read_text() == "token-1"
    server.clock.now += 126
    keeper.keep()
    assert (tmp_path / "jwt").read_text() == "token-2"
    server.clock.now = NOW + 3000
    keeper.keep()
    assert given[-1] == "ASIA0000000000000002https://a"


@pytest.mark.parametrize(
    ("answer", "template", "reload", "why"),
    [
        ({}, "", (), "no access token"),
        ({"access_token": "a\nb", "expires_in": 9}, "", (), "no access token"),
        ({"access_token": "a", "expires_in": 900}, "$Nothing", (), "names 'Nothing'"),
        ({"access_token": "a", "expires_in": 900}, "$", (), "cannot be used"),
        ({"access_token": "a", "expires_in": 900}, "x", ("/bin/false",), "status 1"),
        ({"access_token": "a", "expires_in": 900}, "x", ("/no/program",), "cannot be run"),
    ],
)
def test_file_that_cannot_be_written_is_reported_and_tried_again(
    tmp_path: Path, answer: Any, template: str, reload: tuple[str, ...], why: str
) -> None:
    (tmp_path / "in").write_text(template)
    file = File(path=str(tmp_path / "out"), form="template", audience="a", template=str(tmp_path / "in"), reload=reload)
    keeper = kept(tmp_path, Script(issued()), (file,), lambda *_: answer)
    assert keeper.keep() <= 30
    assert why in keeper.problems[file.path]
    assert keeper.held is not None


def test_reload_that_failed_is_run_again(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("x")
    command = ("/bin/sh", "-c", f"echo x >> {tmp_path}/runs; test $(wc -l < {tmp_path}/runs) -gt 1")
    file = File(path=str(tmp_path / "out"), form="template", template=str(tmp_path / "in"), reload=command)
    keeper = kept(tmp_path, Script(issued()), (file,))
    keeper.keep()
    assert keeper.problems
    keeper.keep()
    assert not keeper.problems
    keeper.keep()
    assert (tmp_path / "runs").read_text() == "x\nx\n"


def test_sealed_text_is_opened_by_its_key_for_its_file_alone() -> None:
    seal = Sealed(b"k" * 32)
    text = seal.close("secret", "a.json")
    assert seal.open(text, "a.json") == "secret"
    for other, name in ((text, "b.json"), (text[:-4] + "AAA=", "a.json"), ("secret", "a.json"), ("", "a.json")):
        with pytest.raises(ValueError, match="changed"):
            seal.open(other, name)
    with pytest.raises(ValueError, match="changed"):
        Sealed(b"l" * 32).open(text, "a.json")
    assert seal.refused == 4


def test_clock_that_is_wrong_is_corrected_by_the_servers_date() -> None:
    body = issued(1, "2020-01-01T01:00:00Z").body.replace(b"AssumeRoleResult", b"AssumeRoleWithWebIdentityResult")
    answer = ClientResponse(200, {"date": "Wed, 01 Jan 2020 00:00:00 GMT"}, body)
    server = LoginServer(ONE, transport=lambda *_: answer)
    found = assume_role_with_web_identity(server, "token", "arn:aws:iam::111122223333:role/app", "host")
    assert found.offset == pytest.approx(1_577_836_800 - time.time(), abs=5)
    assert found.issued_at == pytest.approx(found.expiration - 3600, abs=5)


def test_kill_9_at_any_time_leaves_a_whole_file(tmp_path: Path) -> None:
    """A program replaces a file without pause, and is killed at different moments."""
    path = tmp_path / "credentials"
    program = (
        "import itertools, sys\nfrom daypass.client.agent.files import put\n"
        "for n in itertools.count():\n"
        "    put(sys.argv[1], str(n % 10) * 200000 + '\\n', (-1, -1, 0o600), lambda _: True)\n"
        "    print(n, flush=True)\n"
    )
    for round_ in range(8):
        command = [sys.executable, "-c", program, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(1 + round_):
                process.stdout.readline()
            process.kill()
        text = path.read_text()
        assert (len(text), len(set(text))) == (200_001, 2)
    assert len(list(tmp_path.iterdir())) <= 2  # at most one unfinished file is left, which the next agent replaces
