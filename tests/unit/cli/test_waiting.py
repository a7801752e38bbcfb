"""A call that takes long is announced on a terminal; mistyped roles are corrected; error lines fit a terminal."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.cli.test_main import IDENTITY
from tests.unit.client.servers import Clock, Script, as_json, error

from daypass.cli.output import announced, expected_wait, working
from daypass.client.transport import ClientRequest, ClientResponse, NoAnswer

REQUEST = ClientRequest("http://server\x1b[31m:8700", "GET", "/", {}, b"")
ROLES = [{"arn": f"arn:aws:iam::111122223333:role/{n}", "max_session_seconds": 60} for n in ("deployer", "reader")]


class Taking(threading.Event):
    """The end of something that takes so many seconds."""

    takes = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        if timeout is not None and self.takes > timeout:
            self.takes -= timeout
            return False
        return super().wait()


def _waiting(takes: float, calls: int, monkeypatch: pytest.MonkeyPatch, *, terminal: bool = True) -> None:
    clock = Clock()
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(Taking, "takes", takes)

    def slow(_: ClientRequest, _seconds: float) -> ClientResponse:
        clock.sleep(takes)
        return ClientResponse(200, {}, b"")

    transport = announced(slow, Taking, clock)
    for _ in range(calls):
        transport(REQUEST, 20)


@pytest.mark.parametrize(("takes", "calls", "said"), [(0.9, 1, 0), (1.1, 1, 1), (0.6, 2, 1), (0.3, 3, 0)])
def test_waiting_longer_than_a_second_is_announced_and_taken_back(
    takes: float, calls: int, said: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _waiting(takes, calls, monkeypatch)
    shown = capsys.readouterr().err
    assert shown.count("waiting for http://server\\u001b[31m:8700") == said
    assert shown.count("\r\x1b[K") == 2 * said
    assert not said or shown.endswith("\r\x1b[K")


def test_waiting_is_not_announced_where_nobody_sees_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _waiting(9, 1, monkeypatch, terminal=False)
    assert capsys.readouterr().err == ""


def test_waiting_for_new_records_is_not_announced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with expected_wait():
        _waiting(9, 2, monkeypatch)
    assert capsys.readouterr().err == ""


def test_work_longer_than_a_second_shows_how_much_is_done_and_hides_the_waits_within(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    amounts = iter(("1 record", "20 records"))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr(Taking, "takes", 2.5)
    with working("verifying", lambda: next(amounts), event=Taking), working("waiting", after=0.0, event=Taking):
        pass
    clear = "\r\x1b[K"
    shown = f"{clear}daypass: verifying … 1 record, 1 s{clear}daypass: verifying … 20 records, 2 s{clear}"
    assert capsys.readouterr().err == shown


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("command", [["assume"], ["exec"], ["credential-process"]])
def test_role_that_is_mistyped_is_corrected_from_those_that_were_listed(
    cli: Callable[..., Any], serve: Callable[..., Script], command: list[str]
) -> None:
    serve(as_json({"roles": ROLES, "next": ""}))
    cli("roles")
    more = ["true"] if command == ["exec"] else []
    serve(IDENTITY, error("AccessDenied", "no", 403))
    lines = cli(*command, "deplyoer", *more).err.splitlines()
    assert lines[1] == "daypass: 'deplyoer' is not among the roles that you have listed. Did you mean 'deployer'?"
    for role, why in (("deployer", "no"), ("deplyoer", "no, because no role trust policy allows it")):
        serve(IDENTITY, error("AccessDenied", why, 403))
        assert "Did you mean" not in cli(*command, role, *more).err


@pytest.mark.usefixtures("key")
def test_server_that_is_down_is_reported_within_two_seconds_whatever_the_command(
    cli: Callable[..., Any], serve: Callable[..., Script]
) -> None:
    for command in (["whoami"], ["roles"], ["exec", "r", "true"], ["assume", "r"], ["credential-process", "r"]):
        server = serve(NoAnswer("connection refused", sent=False))
        began = server.clock()
        ran = cli(*command)
        assert (ran.status, ran.err.count("\n")) == (5, 1)
        assert "http://127.0.0.1:8700 does not answer" in ran.err
        assert server.clock() - began < 2, command


@pytest.mark.usefixtures("key")
def test_database_that_is_down_is_reported_within_a_second(
    cli: Callable[..., Any], serve: Callable[..., Script]
) -> None:
    server = serve(error("ServiceUnavailable", "The database is unavailable.", 503))
    began = server.clock()
    ran = cli("whoami")
    assert (ran.status, "The database is unavailable." in ran.err) == (5, True)
    assert server.clock() - began <= 1
