"""`daypass mfa`, and the commands of `daypass notify` for chat users, over a scripted server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.client.servers import as_json

pytestmark = pytest.mark.usefixtures("key")

DEVICES: dict[str, Any] = {
    "user": "arn:aws:iam::1:user/ann",
    "passkeys": [
        {
            "id": "a1",
            "name": "laptop",
            "created_at": 1,
            "used_at": 0,
            "aaguid": "0",
            "backed_up": True,
            "blocked_at": 0,
        },
        {
            "id": "b2",
            "name": "blue\x1b[31m",
            "created_at": 1,
            "used_at": 1,
            "aaguid": "0",
            "backed_up": False,
            "blocked_at": 0,
        },
        {"id": "c3", "name": "old", "created_at": 1, "used_at": 1, "aaguid": "0", "backed_up": False, "blocked_at": 5},
    ],
    "virtual_devices": [{"serial_number": "arn:aws:iam::1:mfa/phone", "name": "phone", "enabled_at": 1}],
    "recovery_codes": 7,
}


def test_mfa_ls_shows_every_kind_of_device_and_no_escape_sequence(cli: Any, serve: Any) -> None:
    server = serve(as_json(DEVICES))
    ran = cli("mfa", "ls", "--user", "ann")
    assert ran.status == 0, ran.err
    assert server.sent[0].target == "/api/v1/mfa-devices?user=ann"
    rows = {line.split()[-1]: line for line in ran.out.splitlines() if line}
    assert "synchronised" in rows["a1"]
    assert "it was copied" in rows["c3"]
    assert "virtual device" in rows["arn:aws:iam::1:mfa/phone"]
    assert "7 recovery codes" in ran.out + ran.err
    assert "\x1b" not in ran.out


def test_mfa_ls_as_json_has_every_member_and_times_as_text(cli: Any, serve: Any) -> None:
    serve(as_json(DEVICES))
    shown = json.loads(cli("mfa", "ls", "--output", "json").out)
    assert shown.keys() == DEVICES.keys()
    assert shown["passkeys"][2] == {
        **DEVICES["passkeys"][2],
        "created_at": "1970-01-01T00:00:00.001Z",
        "used_at": "1970-01-01T00:00:00.001Z",
        "blocked_at": "1970-01-01T00:00:00.005Z",
    }


def test_mfa_rename_and_rm_name_the_passkey_in_the_path_and_the_user_in_the_query(cli: Any, serve: Any) -> None:
    server = serve(as_json(DEVICES["passkeys"][0]))
    ran = cli("mfa", "rename", "a1", "desk", "--user", "ann")
    assert ran.status == 0, ran.err
    (sent,) = server.sent
    assert (sent.method, sent.target) == ("PUT", "/api/v1/passkeys/a1?user=ann")
    assert json.loads(sent.body) == {"name": "desk"}
    server = serve(as_json({}, status=204))
    assert cli("mfa", "rm", "a/1", "--yes", "--account", "111122223333").status == 0
    assert server.sent[0].target == "/api/v1/passkeys/a%2F1?account=111122223333"
    assert server.sent[0].method == "DELETE"


def test_mfa_recovery_codes_prints_each_on_its_own_line(cli: Any, serve: Any) -> None:
    server = serve(as_json({"codes": ["aaaa-bbbb", "cccc-dddd"]}))
    ran = cli("mfa", "recovery-codes", "--yes")
    assert ran.out.splitlines()[-2:] == ["aaaa-bbbb", "cccc-dddd"]
    assert (server.sent[0].method, server.sent[0].target) == ("POST", "/api/v1/recovery-codes")


def test_mfa_add_without_a_browser_prints_the_address_of_the_page(cli: Any) -> None:
    ran = cli("mfa", "add", "--no-browser")
    assert "http://127.0.0.1:8700/account/devices" in ran.out + ran.err


def test_notify_chat_code_prints_the_command_to_send(cli: Any, serve: Any) -> None:
    server = serve(as_json({"code": "c0de", "expires_at": 1}))
    ran = cli("notify", "chat-code")
    assert "/daypass link c0de" in ran.out.splitlines()
    assert (server.sent[0].method, server.sent[0].target) == ("POST", "/api/v1/chat-codes")


def test_notify_chat_code_for_a_chat_user_of_teams_names_it_and_prints_what_to_send(cli: Any, serve: Any) -> None:
    server = serve(as_json({"code": "c0de", "expires_at": 1}))
    ran = cli("notify", "chat-code", "--for", "teams:ab:t:u")
    assert ran.out.splitlines()[-1] == "In Teams, mention the webhook with: link c0de"
    assert json.loads(server.sent[0].body) == {"chat_user": "teams:ab:t:u"}
