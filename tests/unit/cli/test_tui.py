"""`daypass tui` by Textual's pilot, over a scripted server."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.unit.client.servers import NOW, Script, as_json, error, result
from textual.widgets import DataTable, Label, Static

from daypass.cli import tui_app
from daypass.cli.tui_app import AccessApp
from daypass.cli.tui_view import view_of
from daypass.client.credentials import Credentials
from daypass.client.profiles import home
from daypass.client.transport import ClientRequest, ClientResponse, NoAnswer

ROLE = "arn:aws:iam::111122223333:role/prod"
ANNA = result(
    "GetCallerIdentity",
    "<Arn>arn:aws:iam::111122223333:user/anna</Arn><UserId>AIDA1</UserId><Account>111122223333</Account>",
)
GRANT = {"role": ROLE, "state": "claimed", "request_id": "q1", "ends_at": int((NOW + 3600) * 1000)}
REQUEST = {
    "id": "q2",
    "roles": [ROLE],
    "state": "pending",
    "reason": "[red]\x1b[2Jincident[/red]",
    "deadline": int((NOW + 90) * 1000),
}
SESSION = {"session_id": "ab12", "arn": ROLE, "state": "active", "name": "anna", "expires_at": int((NOW + 30) * 1000)}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [NOW]
    monkeypatch.setattr(tui_app.time, "time", lambda: now[0])
    return now


def anna(sessions: ClientResponse, down: list[bool] | None = None, **own: Any) -> Script:
    def answer(request: ClientRequest) -> ClientResponse:
        if down and down[0]:
            return error("AccessDenied", "the key is \x1b[31mdisabled", 403)
        path = urlsplit(request.target).path
        if path == "/api/v1/own-access":
            return as_json(
                {"grants": [GRANT], "access_requests": [REQUEST], "mfa_devices": [], "waiting": ["q9"], **own}
            )
        return sessions if path == "/api/v1/sessions" else ANNA

    return Script(answer)


def rows(app: AccessApp, name: str) -> list[list[str]]:
    table = app.query_one(f"#{name}", DataTable)
    return [[str(cell) for cell in table.get_row_at(number)] for number in range(table.row_count)]


def text(app: AccessApp, name: str) -> str:
    return str(app.query_one(f"#{name}", Static).content)


async def test_screen_shows_access_requests_and_sessions_and_counts_down(clock: list[float]) -> None:
    server = anna(as_json({"sessions": [SESSION], "next": ""}))
    app = AccessApp(server.connection(), view_of)
    async with app.run_test() as pilot:
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert rows(app, "access") == [["role/prod", "claimed", "q1", "1h 00m"]]
        assert rows(app, "requests") == [["role/prod", "pending", r"[red]\u001b[2Jincident[/red]", "1m"]]
        assert rows(app, "sessions") == [["role/prod", "active", "anna", "30s"]]
        assert text(app, "who").startswith("arn:aws:iam::111122223333:user/anna   1 request for your decision")
        clock[0] += 31
        app.count_down()
        assert [rows(app, name)[0][3] for name in ("access", "requests", "sessions")] == ["59m", "59s", "expired"]
        assert text(app, "said") == f"daypass exec {ROLE}"
        await pilot.press("tab")
        assert text(app, "said") == "daypass request show q2"
        await pilot.press("tab")
        assert text(app, "said") == "daypass sessions show ab12"
        sent = len(server.sent)
        await pilot.press("r")
        await app.workers.wait_for_complete()
        assert len(server.sent) == sent + 3
        await pilot.press("q")
    assert not app.is_running
    assert "root_principal_id=AIDA1" in next(each.target for each in server.sent if "/sessions" in each.target)


async def test_without_permission_the_sessions_are_those_of_the_cache(tmp_path: Path) -> None:
    held = Credentials("ASIA1", "s", "t", NOW + 700, NOW, role=ROLE, source_key="AKIA1", endpoint="http://x")
    (home() / "cache").mkdir(parents=True)
    (home() / "cache/a.json").write_text(json.dumps(asdict(held)))
    denied = as_json({"error": {"code": "AccessDenied", "message": "no"}}, 403)
    app = AccessApp(anna(denied, grants=[], access_requests=[]).connection(), view_of)
    async with app.run_test() as pilot:
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert rows(app, "sessions") == [["role/prod", "cached", "http://x", "11m"]]
        assert "cache" in str(app.query_one("#title-sessions", Label).content)
        assert str(app.query_one("#title-access", Label).content) == "Access: none"
        assert text(app, "said") == f"daypass exec {ROLE}"


@pytest.mark.parametrize("failure", [error("AccessDenied", "the key is \x1b[31mdisabled", 403), NoAnswer("refused")])
async def test_server_that_fails_is_named_and_what_was_shown_stays(failure: ClientResponse | NoAnswer) -> None:
    server = anna(as_json({"sessions": [], "next": ""}))
    app = AccessApp(server.connection(), view_of)
    async with app.run_test() as pilot:
        await app.workers.wait_for_complete()
        server.steps[:] = [failure]
        await pilot.press("r")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert text(app, "said").startswith("daypass: ")
        assert "\x1b" not in text(app, "said")
        assert rows(app, "access")[0][0] == "role/prod"


def test_command_needs_a_terminal(cli: Any, key: None) -> None:
    ran = cli("tui")
    assert (ran.status, "daypass access own" in ran.err) == (2, True)
