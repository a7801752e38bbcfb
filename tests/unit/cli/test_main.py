from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.client.servers import Script, as_json, error, issued, result

from daypass.cli import main, output
from daypass.cli.exits import EXIT_CODES
from daypass.client.transport import NoAnswer

IDENTITY = result("GetCallerIdentity", "<Arn>arn:aws:iam::1:user/a</Arn><Account>1</Account><UserId>AIDA</UserId>")
_FOREIGN = {"rich", "ssl", "http.client", "xml.etree.ElementTree", "sqlite3", "asyncio", "starlette", "fastapi", "pydantic",
            "sqlalchemy", "botocore", "cryptography", "uvicorn"}  # fmt: skip


def _imported(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stderr.split()
    )


def test_help_imports_nothing_heavy_and_nothing_of_the_server() -> None:
    found = _imported("from daypass.cli.main import run\nassert run(['--help']) == 0")
    assert not found & _FOREIGN
    assert {m for m in found if m.startswith("daypass")} == {"daypass", "daypass.cli", "daypass.cli.main"}


@pytest.mark.parametrize("command", ["credential-process", "exec", "whoami", "audit", "sessions"])
def test_commands_import_nothing_of_the_server(command: str) -> None:
    found = _imported(f"from daypass.cli.main import run\nassert run(['{command}', '--help']) == 0")
    assert not found & (_FOREIGN - {"ssl", "http.client", "xml.etree.ElementTree", "sqlite3"})
    of_ours = {m.split(".")[1] for m in found if m.startswith("daypass.")}
    assert of_ours <= {"cli", "client", "sigv4", "audit"}


def test_help_lists_every_command_with_a_summary(cli: Callable) -> None:
    assert set(main._SUMMARIES) == set(main.COMMANDS)
    shown = cli("--help")
    assert shown.status == 0
    for name in main.COMMANDS:
        assert name in shown.out


def test_every_command_has_help(cli: Callable) -> None:
    for name in main.COMMANDS:
        assert cli(name, "--help").status == 0


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    ("step", "status"),
    [
        (NoAnswer("connection refused"), 5),
        (error("ServiceUnavailable", "m", 503), 5),
        (error("InternalFailure", "m", 500), 5),
        (error("Throttling", "m", 429), 5),
        (error("InvalidClientTokenId", "m", 403), 3),
        (error("SignatureDoesNotMatch", "m", 403), 3),
        (error("ExpiredToken", "m", 403), 3),
        (error("AccessDenied", "m", 403), 4),
        (error("NoSuchEntity", "m", 404), 1),
        (error("ValidationError", "m", 400), 7),
        (result("Other", ""), 5),
    ],
)
def test_failure_has_its_documented_status_and_one_line(cli: Callable, serve: Callable, step, status: int) -> None:
    serve(step)
    ran = cli("whoami")
    assert (ran.status, ran.out) == (status, "")
    assert ran.err.startswith("daypass: ")
    assert ran.err.count("\n") == 1
    assert status in EXIT_CODES


@pytest.mark.usefixtures("key")
def test_failure_names_code_message_and_request(cli: Callable, serve: Callable) -> None:
    serve(error("AccessDenied", "You may not", 403))
    assert cli("whoami").err == "daypass: AccessDenied: You may not (request r-1)\n"


@pytest.mark.usefixtures("key")
def test_failure_with_an_encoded_message_says_how_to_explain_it(cli: Callable, serve: Callable) -> None:
    body = {"code": "AccessDenied", "message": "no", "request_id": "r", "encoded_authorization_message": "abc"}
    serve(as_json({"error": body}, 403))
    assert cli("sessions", "ls").err.splitlines()[1] == "daypass: to see why: daypass explain abc"


def test_nothing_known_is_a_local_failure(cli: Callable) -> None:
    ran = cli("whoami")
    assert (ran.status, ran.err.count("\n")) == (6, 1)


@pytest.mark.parametrize("arguments", [["nonesuch"], ["whoami", "--nonesuch"], ["exec", "r"], ["revoke", "x", "y"]])
def test_wrong_usage_has_status_2(cli: Callable, arguments: list[str]) -> None:
    assert cli(*arguments).status == 2


@pytest.mark.usefixtures("key")
def test_unexpected_failure_shows_no_traceback(cli: Callable, serve: Callable) -> None:
    serve(as_json({"accounts": 5, "next": ""}))
    ran = cli("account", "ls")
    assert ran.status == 6
    assert "internal error" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.usefixtures("key")
def test_interrupted_is_quiet(cli: Callable, serve: Callable) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    serve(interrupt)
    ran = cli("whoami")
    assert (ran.status, ran.out, ran.err.strip()) == (130, "", "")


def test_broken_pipe_is_quiet_and_has_the_shells_status() -> None:
    code = (
        "import os, sys; r, w = os.pipe(); os.dup2(w, 1); os.close(w); os.close(r)\n"
        "from daypass.cli.main import main; sys.argv = ['daypass', '--help']; main()"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    assert (ran.returncode, ran.stderr) == (141, "")


@pytest.mark.usefixtures("key")
def test_name_that_the_terminal_cannot_show_is_no_failure(tmp_path: Path) -> None:
    code = (
        "import sys; from daypass.cli.main import main; sys.argv = ['daypass', 'whoami', '--profile', '日本']; main()"
    )
    environment = {"PYTHONIOENCODING": "latin-1", "DAYPASS_HOME": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, env=environment)
    assert ran.returncode == 6
    assert b"\\u65e5" in ran.stderr


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "\\u001b[31mred\\u001b[0m"),
        ("a\r\nb", "a\\u000d\\u000ab"),
        ("\x00\x7f\x9b", "\\u0000\\u007f\\u009b"),
        ("user\u202egnp.exe", "user\\u202egnp.exe"),
        ("\u2066x\u2069\u200e\u061c", "\\u2066x\\u2069\\u200e\\u061c"),
        ("\ud800", "\\ud800"),
        ("Zoë 日本", "Zoë 日本"),
        (7, "7"),
    ],
)
def test_a99_text_from_the_server_is_shown_escaped(text: object, shown: str) -> None:
    assert output.safe(text) == shown


EVIL = "\x1b]0;x\x07\r\nfake \u202e"


@pytest.mark.usefixtures("key")
def test_explain_of_a_request_that_no_policy_was_asked_about_says_why_it_was_refused(
    cli: Callable, serve: Callable
) -> None:
    refusal = {
        "error": "invalid_identity_token",
        "operation": "sts:AssumeRoleWithWebIdentity",
        "actor": {},
        "decision": None,
        "detail": {"RoleArn": "arn:role", "private": {"reason": "its signature is wrong", "token": {"kid": "k"}}},
    }
    serve(as_json({"records": [{"event": None}, {"event": refusal}]}))
    ran = cli("explain", "00000000-0000-0000-0000-000000000000")
    assert ran.status == 0, ran.err
    assert ran.out.splitlines()[0] == "Refused: invalid_identity_token. No policy was asked."
    assert [line.split("  ")[-1] for line in ran.out.splitlines() if "reason" in line or "RoleArn" in line] == [
        "arn:role",
        "its signature is wrong",
    ]
    assert '  token   {"kid": "k"}' in ran.out.splitlines()


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["account", "ls"], {"accounts": [{"id": EVIL, "name": EVIL, "operator": False, "created_at": 1}], "next": ""}),
        (["account", "create", "x"], {"id": EVIL, "name": EVIL, "root_key": {"access_key_id": EVIL, "secret_access_key": EVIL}}),
        (["sessions", "ls"], {"sessions": [dict.fromkeys(["session_id", "state", "name", "arn", "depth"], EVIL) | {"expires_at": EVIL}], "next": ""}),
        (["sessions", "show", "x"], {EVIL: EVIL, "issued_at": EVIL, "expires_at": 1e30, "hops": [dict.fromkeys(["name", "principal_id", "account", "access_key_id", "issued_at"], EVIL)]}),
        (["revoke", "session", "x"], {"value": EVIL, "id": EVIL, "block": True}),
        (["revocations", "ls"], {"revocations": [dict.fromkeys(["created_at", "subject", "value", "block_until", "block", "created_by", "reason"], EVIL)], "next": ""}),
        (["guardrail", "ls", "1"], {"guardrails": [{"name": EVIL, "created_at": EVIL}]}),
        (["guardrail", "show", "1", "x"], {"document": EVIL}),
        (["roles"], {"roles": [{"arn": EVIL, "max_session_seconds": 60, "description": EVIL}], "next": ""}),
        (["audit", "tail"], {"records": [{"at": EVIL, "event": {"actor": {"arn": EVIL}, "operation": EVIL, "error": EVIL, "request_id": EVIL}}], "cursor": {}}),
        (["audit", "search"], {"records": [{"at": 10**30, "event": None}], "next": ""}),
        (["audit", "show", "a/1"], {"x": EVIL}),
        (["explain", "00000000-0000-0000-0000-000000000000"], {"records": [{"event": {"decision": {
            "allowed": False, "blocked_by": EVIL, "principal": EVIL, "action": EVIL, "resource": EVIL, "would_have_to_be_true": [EVIL],
            "layers": [{"layer": EVIL, "level": 0, "verdict": EVIL, "policies": [EVIL], "omitted": EVIL, "statements": [
                {"policy": EVIL, "sid": EVIL, "effect": EVIL, "line": EVIL, "matched": False, "failed_at": EVIL, "conditions": [
                    {"operator": EVIL, "key": EVIL, "wanted": [EVIL], "found": EVIL, "held": False}]}]}]}}}], "next": ""}),
        (["explain", "User: x is not authorized to perform: y"], {"records": [{"at": EVIL, "event": {"request_id": EVIL, "decision": {
            "principal": "x", "action": "y", "allowed": False, "blocked_by": EVIL}}}]}),
        (["explain", "00000000-0000-0000-0000-000000000000"], {"records": [{"event": {
            "error": EVIL, "operation": EVIL, "actor": {"arn": EVIL}, "detail": {EVIL: EVIL, "private": {EVIL: [EVIL]}}}}]}),
    ],
)  # fmt: skip
def test_a99_no_command_prints_what_could_act_on_a_terminal(
    cli: Callable, serve: Callable, arguments: list[str], answer: object
) -> None:
    for form in ([], ["--output", "json"]):
        if form and arguments[:2] == ["audit", "show"]:
            continue
        serve(as_json(answer))
        ran = cli(*arguments, *form)
        assert ran.status == 0, ran.err
        lines = (ran.out + ran.err).splitlines()
        assert all(line.isprintable() for line in lines), ran
        if arguments[0] != "guardrail":  # a document has lines of its own
            assert not [line for line in lines if line.startswith("fake")]


@pytest.mark.usefixtures("key")
def test_a99_error_of_the_server_is_one_escaped_line(cli: Callable, serve: Callable) -> None:
    body = {"code": EVIL, "message": EVIL * 100_000, "request_id": EVIL, "encoded_authorization_message": EVIL}
    serve(as_json({"error": body}, 400))
    ran = cli("sessions", "ls")
    assert all(line.isprintable() and line.startswith("daypass: ") for line in ran.err.splitlines())
    assert len(ran.err) < 100_000


@pytest.mark.usefixtures("key")
def test_list_whose_end_never_comes_ends(cli: Callable, serve: Callable) -> None:
    server = serve(as_json({"accounts": [], "next": "same"}))
    assert cli("account", "ls").status == 0
    assert len(server.sent) == 2


@pytest.mark.usefixtures("key")
def test_account_create_answer_lost_is_not_repeated(cli: Callable, serve: Callable) -> None:
    server: Script = serve(NoAnswer("connection reset"))
    ran = cli("account", "create", "x")
    assert (ran.status, len(server.sent)) == (5, 1)
    assert "look before you repeat it" in ran.err


@pytest.mark.usefixtures("key")
def test_secrets_are_in_no_error(cli: Callable, serve: Callable) -> None:
    serve(error("SignatureDoesNotMatch", "wrong", 403))
    assert "top-secret" not in cli("whoami").err
    serve(IDENTITY, issued())
    assert json.loads(cli("assume", "r", "--output", "json").out)["SecretAccessKey"] == "issued-secret-1"
