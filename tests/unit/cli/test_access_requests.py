"""`request`, `elevate` and `rule`, over a scripted server."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.test_main import IDENTITY
from tests.unit.client.servers import as_json, error

from daypass.cli import elevate, output
from daypass.client.credentials import Credentials
from daypass.client.http import Connection

ROLE = "arn:aws:iam::111122223333:role/prod"
pytestmark = pytest.mark.usefixtures("key")


def request(state: str, **more: Any) -> dict[str, Any]:
    shown = {
        "id": "ab" * 16, "state": state, "end_reason": "", "requester": "arn:aws:iam::111122223333:user/ann",
        "beneficiary": "arn:aws:iam::111122223333:user/ann", "roles": [ROLE], "reason": "why", "ticket": "",
        "seconds": 600, "starts_at": 0, "deadline": 1_800_000_000_000, "risk": 7, "risk_reasons": [{"text": "unusual"}], "break_glass": False,
        "missing": {"prod/lead": 1}, "votes": [], "grants": [], "binding": "cd" * 32,
    }  # fmt: skip
    return {**shown, **more}


def vote(**more: Any) -> dict[str, Any]:
    return {
        "approver": "arn:lee",
        "approve": False,
        "reason": "not \x1b[31mtoday",
        "at": 1,
        "mfa_at": 0,
        "void": False,
        "why": "",
        "seconds": 0,
        "policy": "",
        **more,
    }


def grant(**more: Any) -> dict[str, Any]:
    shown = {
        "id": "ef" * 16,
        "role": ROLE,
        "state": "claimed",
        "end_reason": "",
        "uses": 0,
        "max_uses": 0,
        "seconds": 600,
        "approvers": 1,
        "break_glass": False,
    }
    return {**shown, "ends_at": 1_800_000_000_000, "ended_at": 0, **more}


def test_request_show_says_what_an_approver_took_away(cli, serve) -> None:
    votes = [vote(approve=True, seconds=900, policy="{}", reason=""), vote(approve=True, reason="")]
    serve(as_json(request("approved", votes=votes)))
    narrowed, plain = cli("request", "show", "ab" * 16).out.splitlines()[-2:]
    assert narrowed.endswith(", for at most 15m, narrowed by a policy")
    assert plain.endswith("Z")


def test_request_show_and_ls_say_whose_session_requested_and_voted(cli, serve) -> None:
    session, ann, lee = (
        "arn:aws:sts::111122223333:assumed-role/eng/boss",
        "arn:aws:iam::1:user/ann",
        "arn:aws:iam::1:user/lee",
    )
    votes = [vote(approver=session, principal=lee)]
    found = request("pending", requester=session, beneficiary=session, principal=ann, votes=votes)
    serve(as_json(found))
    shown = cli("request", "show", "ab" * 16).out
    assert f"session of{ann}" in shown.replace(" ", "").replace("sessionof", "session of")
    assert f"denied by {session}, a session of {lee}, at" in shown
    serve(as_json({"access_requests": [found], "next": ""}))
    assert "assumed-role/eng/boss of user/ann" in cli("request", "ls").out


def test_request_show_says_when_access_ended_and_how_often_it_was_used(cli, serve) -> None:
    ended = grant(state="ended", ended_at=1_700_000_000_000, end_reason="done", uses=1, max_uses=2)
    serve(as_json(request("ended", grants=[ended, grant()], break_glass=True)))
    shown = cli("request", "show", "ab" * 16).out
    assert "ended at 2023-11-14 22:13:20Z (done), 1 of 2 sessions used" in shown
    assert "claimed until 2027-01-15 08:00:00Z" in shown
    assert "approved automatically" not in shown
    serve(as_json(request("approved", grants=[grant(state="open", ends_at=0, seconds=900, approvers=0)])))
    assert "role/prod, approved automatically: open for 15m" in cli("request", "show", "ab" * 16).out
    assert "is open" not in shown  # the request does not say whether the review is closed


@pytest.mark.parametrize(("stages", "text"), [(0, "automatic"), (1, "1 stage\n"), (2, "2 stages")])
def test_request_suggest_counts_stages(cli, serve, stages: int, text: str) -> None:
    found = {"role": ROLE, "stages": stages, "grant_id": "", "beyond": [], "more": False}
    serve(as_json({"suggestions": [found]}))
    ran = cli("request", "suggest", "orders:Read")
    assert text in "\n".join(line.rstrip() for line in ran.out.splitlines()) + "\n"


def test_elevate_denied_says_why_and_runs_nothing(cli, serve) -> None:
    server = serve(as_json(request("denied", votes=[vote()])))
    ran = cli("elevate", ROLE, "--reason", "why", "--", "false")
    assert ran.status == 4
    assert ran.err == "daypass: the request is denied: not \\u001b[31mtoday\n"
    assert len(server.sent) == 1


def test_elevate_interrupted_while_it_waits_cancels_the_request(cli, serve, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(elevate._await_decision, "__defaults__", (interrupted,))
    server = serve(as_json(request("pending")), as_json(request("cancelled")))
    ran = cli("elevate", ROLE, "--reason", "why", "--", "false")
    assert ran.status == 130
    assert "waits for 1 × prod/lead" in ran.err
    assert server.sent[-1].target.endswith(f"/access-requests/{'ab' * 16}/cancel")


def test_elevate_interrupted_on_a_terminal_leaves_no_status_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    with pytest.raises(KeyboardInterrupt):
        elevate._await_decision(None, "", request("pending"), interrupted)  # type: ignore[arg-type]
    assert "waits for 1 × prod/lead" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_elevate_interrupted_before_the_answer_finds_its_request_and_cancels_it(
    cli, serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(as_json(request("pending")), as_json(request("cancelled")))
    real, calls = Connection.api, []

    def interrupted(self: Connection, *given: Any, **options: Any) -> Any:
        calls.append(options.get("body"))
        if len(calls) == 1:
            raise KeyboardInterrupt
        return real(self, *given, **options)

    monkeypatch.setattr(Connection, "api", interrupted)
    assert cli("elevate", ROLE, "--reason", "why", "--", "false").status == 130
    assert calls[1] == calls[0]
    assert calls[0]["client_token"]
    assert server.sent[-1].target.endswith("/cancel")


@pytest.fixture(params=[signal.SIGTERM, signal.SIGHUP])
def number(request: pytest.FixtureRequest) -> Iterator[signal.Signals]:
    """A signal with its default disposition: it is ignored where the tests run under nohup."""
    before = signal.signal(request.param, signal.SIG_DFL)
    yield request.param
    signal.signal(request.param, before)


def test_elevate_ended_by_a_signal_ends_the_command_and_the_access(
    cli, serve, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, tmp_path: Path
) -> None:
    """The command says that it has started by a file, and would not end by itself."""
    started = tmp_path / "started"
    issued = Credentials("ASIAEXAMPLE", "secret", "token", 1_900_000_000.0)
    monkeypatch.setattr(elevate, "assume_role", lambda *_: issued)
    server = serve(as_json(request("approved", missing={})), as_json(request("ended")))

    def end() -> None:
        while not started.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    threading.Thread(target=end).start()
    command = ("sh", "-c", f"touch {started}; exec sleep 600")
    assert cli("elevate", ROLE, "--reason", "why", "--", *command).status == 128 + number
    assert server.sent[-1].target.endswith("/done")
    assert signal.getsignal(number) == signal.SIG_DFL


def test_elevate_signal_while_the_command_starts_ends_the_command_and_the_access(
    cli, serve, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    issued = Credentials("ASIAEXAMPLE", "secret", "token", 1_900_000_000.0)
    monkeypatch.setattr(elevate, "assume_role", lambda *_: issued)
    server = serve(as_json(request("approved", missing={})), as_json(request("ended")))
    start = subprocess.Popen

    def interrupted(*given: Any, **options: Any) -> subprocess.Popen[bytes]:
        process = start(*given, **options)
        os.kill(os.getpid(), number)
        return process

    monkeypatch.setattr(elevate.subprocess, "Popen", interrupted)
    assert cli("elevate", ROLE, "--reason", "why", "--", "sleep", "600").status == 128 + number
    assert server.sent[-1].target.endswith("/done")


@pytest.mark.parametrize(("left", "warned"), [(900, [600]), (300, []), (1e12, [])])
def test_elevate_warns_five_minutes_before_the_access_ends(
    cli, serve, monkeypatch: pytest.MonkeyPatch, left: float, warned: list[float]
) -> None:
    """A timer that is over at once: the warning is there when the command has run."""
    started: list[float] = []

    class Timer(threading.Timer):
        def start(self) -> None:
            started.append(round(self.interval))
            self.function(*self.args)

    monkeypatch.setattr(elevate.threading, "Timer", Timer)
    server = serve(as_json(request("approved", missing={})), as_json(request("ended")))
    issued = Credentials("ASIAEXAMPLE", "secret", "token", server.clock() + left)
    monkeypatch.setattr(elevate, "assume_role", lambda *_: issued)
    monkeypatch.setattr(Credentials, "expiration_text", lambda _: "the end")
    ran = cli("elevate", ROLE, "--reason", "why", "--", "true")
    assert started == warned
    assert ran.err.count("daypass: the access ends at the end\n") == len(warned)


def test_elevate_with_access_that_exists_runs_and_does_not_end_it(cli, serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elevate, "_run", lambda _connection, role, _command: 0 if role == ROLE else 1)
    server = serve(as_json(request("claimed", reused=True, roles=["arn:aws:iam::111122223333:role/other", ROLE])))
    ran = cli("elevate", ROLE, "--reason", "why", "--", "true")
    assert (ran.status, len(server.sent)) == (0, 1)
    assert json.loads(server.sent[0].body)["reuse"] is True
    assert "you have this access already" in ran.err


def test_request_create_offers_access_that_exists(cli, serve) -> None:
    server = serve(as_json(request("approved", reused=True, missing={})))
    ran = cli("request", "create", ROLE, "--reason", "why")
    assert json.loads(server.sent[0].body)["reuse"] is True
    assert "--new requests it again" in ran.err
    server = serve(as_json(request("pending")))
    cli("request", "create", ROLE, "--reason", "why", "--new")
    assert "reuse" not in json.loads(server.sent[0].body)


def test_request_create_for_a_role_that_can_be_assumed_at_once_says_so(cli, serve) -> None:
    other = "arn:aws:iam::111122223333:role/other"
    server = serve(as_json(request("pending")), as_json({"roles": [{"arn": other}, {"arn": ROLE}], "next": ""}))
    ran = cli("request", "create", ROLE, "--reason", "why")
    assert (ran.status, ran.err) == (0, "daypass: you may assume prod now, without this request: daypass assume prod\n")
    assert server.sent[1].target.startswith("/api/v1/roles/assumable")
    serve(as_json(request("pending")), as_json({"error": {"code": "AccessDenied", "message": "no"}}, 403))
    ran = cli("request", "create", ROLE, "--reason", "why")
    assert (ran.status, ran.err) == (0, "")


def test_request_create_for_later_does_not_offer_the_access_of_now(cli, serve) -> None:
    server = serve(as_json(request("pending")))
    ran = cli("request", "create", ROLE, "--reason", "why", "--start", "+2h")
    assert (ran.status, ran.err, len(server.sent)) == (0, "", 1)


@pytest.mark.parametrize(
    ("state", "grants", "shown"),
    [
        ("draft", [], "decide by"),
        ("pending", [], "decide by"),
        ("approved", [grant(state="open", ends_at=None)], "use by"),
        ("claimed", [grant(), grant(state="open", ends_at=None)], "use by"),
        ("claimed", [grant()], ""),
        ("denied", [], ""),
    ],
)
def test_request_show_names_the_deadline_only_while_it_matters(
    cli, serve, state: str, grants: list[dict[str, Any]], shown: str
) -> None:
    serve(as_json(request(state, grants=grants)))
    lines = cli("request", "show", "ab" * 16).out.splitlines()
    assert [line[:9].strip() for line in lines if " by " in line[:12]] == ([shown] if shown else [])


def test_request_approve_of_an_extension_says_that_it_is_approved(cli, serve) -> None:
    extension = request("pending", extends="12" * 16)
    server = serve(as_json(extension), as_json({**extension, "state": "ended", "missing": {}}))
    ran = cli("request", "approve", "ab" * 16)
    assert ran.out.endswith("Approved.\n")
    assert f"extends     {'12' * 16}" in ran.out or f"extends    {'12' * 16}" in ran.out
    assert len(server.sent) == 2


@pytest.mark.parametrize(
    ("more", "says"), [(["arn:aws:orders:::eu/1"], "on arn:aws:orders:::eu/1"), ([], "name a RESOURCE")]
)
def test_request_suggest_without_a_result_says_for_which_need(cli, serve, more: list[str], says: str) -> None:
    serve(as_json({"suggestions": []}))
    ran = cli("request", "suggest", "orders:Read", *more)
    assert ran.status == 0
    assert says in ran.err


@pytest.mark.parametrize("role", ["prod", ROLE])
def test_assume_denied_on_a_terminal_offers_to_request_the_role(
    cli, serve, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    monkeypatch.setattr(output, "interactive", lambda: True)
    denied, offer = (
        error("AccessDenied", "no", 403),
        "you may request it: daypass elevate prod --reason TEXT -- COMMAND",
    )
    serve(*([IDENTITY] if role == "prod" else []), denied, as_json({"roles": [{"arn": ROLE}], "next": ""}))
    assert offer in cli("assume", role).err
    serve(*([IDENTITY] if role == "prod" else []), denied, as_json({"roles": [], "next": ""}))
    assert offer not in cli("assume", role).err


def test_request_create_sends_what_the_options_say(cli, serve, tmp_path: Path) -> None:
    policy = tmp_path / "narrow.json"
    policy.write_text("{}")
    server = serve(as_json(request("pending")))
    options = ("--ticket", "INC-1", "--for", "10m", "--policy", str(policy), "--uses", "1", "--token", "t")
    ran = cli("request", "create", ROLE, "--reason", "why", *options)
    assert ran.status == 0
    assert json.loads(server.sent[0].body) == {
        "roles": [ROLE], "reason": "why", "ticket": "INC-1", "seconds": 600, "policy": "{}", "max_uses": 1,
        "client_token": "t",
    }  # fmt: skip
    assert "1 × prod/lead" in ran.out


def test_request_approve_sends_the_binding_that_was_shown(cli, serve) -> None:
    server = serve(as_json(request("pending")), as_json(request("approved", missing={})))
    ran = cli("request", "approve", "ab" * 16, "--reason", "fine", "--for", "5m")
    assert ran.out.endswith("Approved.\n")
    assert json.loads(server.sent[1].body) == {"binding": "cd" * 32, "reason": "fine", "seconds": 300}


@pytest.mark.parametrize(("document", "status"), [('{"roles": ["role/a"]}', 0), ('{"roles": ["role/b"]}', 1)])
def test_rule_diff_compares_the_content_and_exits_by_it(cli, serve, tmp_path: Path, document: str, status: int) -> None:
    (tmp_path / "a.json").write_text('{\n  "roles": ["role/a"]\n}')
    serve(as_json({"approval_rules": [{"name": "a", "document": document}]}))
    ran = cli("rule", "diff", str(tmp_path))
    assert ran.status == status
    assert ("role/b" in ran.out) is bool(status)


def test_rule_apply_stores_changes_and_prunes_on_request(cli, serve, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"roles": ["role/a"]}')
    stored = {"approval_rules": [{"name": "old", "document": "{}"}]}
    server = serve(as_json(stored), as_json({}), as_json({}))
    ran = cli("rule", "apply", str(tmp_path), "--prune", "--yes")
    assert ran.out == "a: created\nold: deleted\n"
    assert [(sent.method, sent.target.partition("?")[0].rpartition("/")[2]) for sent in server.sent[1:]] == [
        ("PUT", "a"),
        ("DELETE", "old"),
    ]


def test_rule_apply_refuses_a_file_that_is_not_json(cli, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    assert cli("rule", "diff", str(tmp_path)).status == 6


def test_request_show_examined_prints_what_it_adds_and_earlier_requests(cli, serve) -> None:
    added = {
        "role": ROLE, "action": "orders:\x1b[31m*", "resources": ["*"], "policy": "work", "excepted": False, "partly": True,
    }  # fmt: skip
    earlier = {**request("denied", reason="an earlier reason"), "created_at": 1_700_000_000_000}
    examined = {"access_request": request("pending"), "added": [added], "more": True, "history": [earlier]}
    server = serve(as_json(examined))
    ran = cli("request", "show", "ab" * 16, "--examine")
    assert server.sent[0].target.endswith("/examination")
    assert "orders:\\u001b[31m* (partly)" in ran.out
    assert "There are more than these." in ran.out
    assert "an earlier reason" in ran.out
    serve(as_json({**examined, "added": [], "history": []}))
    assert "adds nothing" in cli("request", "show", "ab" * 16, "--examine").out
    serve(as_json({**examined, "added": None}))
    assert "another account" in cli("request", "show", "ab" * 16, "--examine").out


def test_request_show_says_why_an_approval_does_not_count_and_that_its_grant_is_refused(cli, serve) -> None:
    why = "the rule no longer names the approver"
    refused = {"g1": f"An approval does not count any more: {why}."}
    votes = [vote(approve=True, void=True, why=why)]
    serve(as_json(request("approved", votes=votes, refused=refused)))
    shown = cli("request", "show", "ab" * 16).out
    assert f"does not count: {why}" in shown
    assert refused["g1"] in " ".join(shown.split())
