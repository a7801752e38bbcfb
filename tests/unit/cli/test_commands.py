"""Rules for every command: it takes --output, and it asks before it takes something away or replaces it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from tests.unit.cli.conftest import Run
from tests.unit.cli.parser import WITHOUT_JSON, every_command
from tests.unit.client.servers import Script, Step, as_json, error, parameters, result, xml

from daypass.cli import output

pytestmark = pytest.mark.usefixtures("key")

Serve = Callable[..., Script]
COMMANDS = dict(every_command())

REMOVES = {
    "pod-identity rm": ["prod/shop/orders"],
    "anchor rm": ["a1"],
    "anchor set": ["a1", "--name", "ours"],
    "client rm": ["DPCL1"],
    "client secret rm": ["DPCL1", "ab12"],
    "clock reset": [],
    "consent rm": ["c1"],
    "group detach": ["g", "aws/ReadOnlyAccess"],
    "group remove": ["g", "ann"],
    "group rm": ["g"],
    "guardrail rm": ["111122223333", "g"],
    "iam": ["DeleteUser", "UserName=ann"],
    "key rm": ["AKIAEXAMPLE000000001"],
    "mfa recovery-codes": [],
    "mfa rm": ["a1"],
    "notify chat-unlink": ["slack:ab:T1:U1"],
    "notify rm": ["ops"],
    "offboard": ["ann", "--delete"],
    "policy rm": ["p"],
    "provider allow off": [],
    "provider rm": ["ci.example.com"],
    "resource-server rm": ["https://api.example.com"],
    "role detach": ["r", "aws/ReadOnlyAccess"],
    "role rm": ["r"],
    "rule rm": ["r"],
    "scim rm": ["t"],
    "server-keys rewrap": [],
    "server-keys rotate": ["--emergency"],
    "stream rm": ["s1"],
    "stream set": ["s1", "disabled"],
    "user detach": ["u", "aws/ReadOnlyAccess"],
    "user rm": ["u"],
}
"""Commands that ask before they call the server, with arguments."""

CHANNEL = {"name": "ops", "kind": "webhook", "target": "https://old.example", "events": ["access.requested"]}
CLIENT = {"client_id": "DPCL1", "name": "app", "settings": {"roles": ["a"]}}
PROVIDER = {"url": "ci.example.com", "settings": {"leeway_seconds": 5, "jwks_bearer": "***"}}
SERVICE = {"identifier": "https://a", "name": "https://a", "settings": {"scopes": {"read": {}}}}
SETS: dict[str, tuple[list[str], Any]] = {
    "client set": (["DPCL1", 'roles=["b"]'], CLIENT),
    "notify set": (["ops", "webhook", "https://new.example"], {"notification_channels": [CHANNEL]}),
    "provider set": (["ci.example.com", "leeway_seconds=7"], PROVIDER),
    "resource-server put": (["https://a", "--scope", "write"], SERVICE),
}
"""Commands that read what is stored, and ask before they replace some of it: arguments, and the stored answer."""

REPLACES_A_DOCUMENT = {
    *("group put", "role put", "user put", "policy update", "role trust"),
    *("guardrail put", "provider allow set", "rule apply", "trust new", "monitoring"),
}
"""Commands of `test_replacing` and `test_trust`."""

REMOVES_LOCALLY = {"profile rm"}

ASKS_NOTHING = {
    "anchor disable": "`enable` undoes it, and it must be quick when an authority is compromised",
    "backup restore": "it refuses a database that is not empty",
    "key disable": "`enable` undoes it, and it must be quick when a key leaks",
    "logout": "its name says it, and one logs in again",
    "profile use": "nothing is lost",
    "request cancel": "one's own request",
    "request deny": "it needs a reason",
    "request done": "one's own access",
    "review close": "it needs a finding",
    "revocations lift": "it gives something back",
    "revoke": "it must be quick; --dry-run shows what would end",
    "role set": "it sets one number, which the answer repeats",
}
"""Commands whose names say that something ends or is replaced, and why they do not ask."""

_ENDING = frozenset(
    [
        "rm",
        "remove",
        "detach",
        "off",
        "unlink",
        "chat-unlink",
        "put",
        "set",
        "update",
        "trust",
        "apply",
        "reset",
        "rotate",
        "rewrap",
        "delete",
        "disable",
        "logout",
        "revoke",
        "offboard",
        "close",
        "deny",
        "cancel",
        "done",
        "lift",
        "restore",
        "use",
        "recovery-codes",
    ]
)


def takes(name: str, option: str) -> bool:
    return any(option in parameter.opts for parameter in COMMANDS[name].params)


def test_every_command_takes_output_but_those_that_run_something() -> None:
    assert {name for name in COMMANDS if not takes(name, "--output")} == set(WITHOUT_JSON)


def test_every_option_of_a_command_has_help_and_an_argument_with_a_name() -> None:
    options = [(name, each) for name, command in COMMANDS.items() for each in command.params if not takes_none(each)]
    assert [f"{name} {each.opts[0]}" for name, each in options if not getattr(each, "help", None)] == []
    assert [f"{name} {each.opts[0]}" for name, each in options if (each.metavar or each.type.name).count(" ")] == []


def takes_none(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Argument) or getattr(parameter, "hidden", False)


def test_every_command_that_ends_or_replaces_something_asks_or_has_a_reason_not_to() -> None:
    asks = {*REMOVES, *SETS, *REPLACES_A_DOCUMENT, *REMOVES_LOCALLY}
    assert {name for name in COMMANDS if takes(name, "--yes")} == asks
    ending = {name for name in COMMANDS if name.rpartition(" ")[2] in _ENDING}
    assert ending - asks == set(ASKS_NOTHING)


@pytest.fixture
def installation(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Modules of the server that commands ask for: none may be called."""
    called: list[str] = []

    class Nothing:
        def __init__(self, name: str) -> None:
            self.name = name

        def __getattr__(self, operation: str) -> Callable[..., Any]:
            return lambda *_: called.append(f"{self.name}.{operation}")

    monkeypatch.setattr("daypass.cli.installation.server_module", Nothing)
    return called


@pytest.mark.parametrize("name", REMOVES)
def test_remove_without_a_terminal_and_yes_is_refused_before_any_call(
    cli: Run, serve: Serve, installation: list[str], name: str
) -> None:
    server = serve(as_json({}))
    ran = cli(*name.split(), *REMOVES[name])
    assert (ran.status, ran.out, server.sent, installation) == (2, "", [], [])
    assert "daypass: Give --yes: " in ran.err


@pytest.mark.parametrize("name", REMOVES)
@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_remove_that_is_not_confirmed_on_a_terminal_changes_nothing(  # fixtures and parameters
    cli: Run, serve: Serve, installation: list[str], monkeypatch: pytest.MonkeyPatch, name: str, answer: str
) -> None:
    monkeypatch.setattr(output, "interactive", lambda: True)
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    server = serve(as_json({}))
    ran = cli(*name.split(), *REMOVES[name])
    assert (ran.status, ran.out, server.sent, installation) == (130, "", [], [])
    assert "[y/N]" in ran.err


@pytest.mark.parametrize("name", SETS)
def test_set_without_a_terminal_and_yes_shows_the_change_and_only_reads(cli: Run, serve: Serve, name: str) -> None:
    arguments, stored = SETS[name]
    server = serve(as_json(stored))
    ran = cli(*name.split(), *arguments)
    assert (ran.status, ran.out, [request.method for request in server.sent]) == (2, "", ["GET"])
    assert {"+", "-"} <= {line[:1] for line in ran.err.splitlines()}
    assert "daypass: Give --yes: " in ran.err


def test_set_that_only_adds_asks_nothing(cli: Run, serve: Serve) -> None:
    server = serve(as_json(CLIENT))
    assert cli("client", "set", "DPCL1", 'grant_types=["client_credentials"]').status == 0
    assert [request.method for request in server.sent] == ["GET", "PUT"]


def test_set_of_a_secret_shows_that_it_changes_and_not_its_value(cli: Run, serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2")
    serve(as_json(PROVIDER))
    ran = cli("provider", "set", "ci.example.com", f"jwks_bearer=@{tmp_path}/secret")
    assert ran.status == 2
    assert '+  "jwks_bearer": "(new secret)"' in ran.err
    assert "hunter2" not in ran.err + ran.out


def test_profile_rm_without_a_terminal_and_yes_keeps_the_profile(cli: Run, serve: Serve) -> None:
    serve(result("GetCallerIdentity", "<Arn>arn:x</Arn><UserId>u</UserId><Account>111122223333</Account>"))
    assert cli("login", "--profile", "work").status == 0
    assert cli("profile", "rm", "work").status == 2
    assert [each["name"] for each in json.loads(cli("profile", "ls", "--output", "json").out)] == ["work"]
    assert json.loads(cli("profile", "rm", "work", "--yes", "--output", "json").out) == [
        {"profile": "work", "cached_sessions": 0, "login_ended": False}
    ]


PASSKEY = {"id": "a1", "name": "blue", "created_at": 1_800_000_000_000}
JSON: dict[str, tuple[list[str], list[Step], Any]] = {
    "browser end": (["b1"], [as_json({}, 204)], {"result": "deleted", "session_id": "b1"}),
    "consent rm": (["c1", "--yes"], [as_json({}, 204)], {"result": "deleted", "consent_id": "c1"}),
    "mfa rename": (["a1", "blue"], [as_json(PASSKEY)], {**PASSKEY, "created_at": "2027-01-15T08:00:00.000Z"}),
    "mfa rm": (["a1", "--yes"], [as_json({}, 204)], {"result": "deleted", "device": "a1"}),
    "notify chat-unlink": (["u", "--yes"], [as_json({}, 204)], {"result": "deleted", "chat_user": "u"}),
    "notify retry": (["n1"], [as_json({"id": "n1", "outcome": ""})], {"id": "n1", "outcome": ""}),
    "oncall show": (["r"], [as_json({"people": ["ann"]})], {"people": ["ann"]}),
    "stream retry": (["s", "e"], [as_json({"id": "e", "outcome": ""})], {"id": "e", "outcome": ""}),
}


@pytest.mark.parametrize("name", JSON)
def test_output_json_is_one_document(cli: Run, serve: Serve, name: str) -> None:
    arguments, steps, expected = JSON[name]
    serve(*steps)
    ran = cli(*name.split(), *arguments, "--output", "json")
    assert (ran.status, ran.err) == (0, "")
    assert json.loads(ran.out) == expected


def test_number_that_is_none_is_a_usage_error_in_words(cli: Run) -> None:
    said = "daypass: Invalid value for '--limit': 'x' is not a whole number. See: daypass sessions ls --help\n"
    assert cli("sessions", "ls", "--limit", "x").err == said


@pytest.mark.parametrize("name", ["revoke", "notify set ops"])
def test_command_without_an_argument_of_few_values_lists_them_once(cli: Run, name: str) -> None:
    ran = cli(*name.split())
    assert ran.err.startswith("daypass: Missing argument. Choose from: ")
    assert "|" not in ran.err


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in WITHOUT_JSON])
def test_unknown_format_is_a_usage_error_with_a_suggestion(cli: Run, serve: Serve, name: str) -> None:
    server = serve(as_json({}))
    ran = cli(*name.split(), "--output", "jsn")
    assert (ran.status, ran.out, server.sent) == (2, "", [])
    assert "Did you mean 'json'?" in ran.err or "Missing argument" in ran.err


def test_output_json_of_several_steps_that_fail_midway_says_what_was_done(cli: Run, serve: Serve) -> None:
    serve(xml("<AddUserToGroupResponse/>"), error("NoSuchEntity", "no bob", 404))
    ran = cli("group", "add", "g", "ann", "bob", "--output", "json")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.splitlines() == ["daypass: NoSuchEntity: no bob (request r-1)", "daypass: done before that: ann"]


def test_result_text_cannot_control_a_terminal(cli: Run, serve: Serve) -> None:
    serve(as_json({"id": "\x1b[2Jx\nfake line"}))
    ran = cli("notify", "test", "ops")
    assert "\x1b" not in ran.out
    assert len(ran.out.splitlines()) == 1


def arguments_of(name: str) -> list[click.Argument]:
    """The required arguments of a command that takes no file: the system refuses a file without a name in words."""
    found = [each for each in COMMANDS[name].params if isinstance(each, click.Argument) and each.required]
    return [] if any(isinstance(each.type, click.Path) for each in found) else found


@pytest.mark.parametrize("name", [name for name in COMMANDS if " " in name and arguments_of(name)])
def test_command_with_empty_arguments_is_refused_before_the_server_is_asked(name: str, cli: Run, serve: Serve) -> None:
    server = serve()
    ran = cli(*name.split(), *("" for _ in arguments_of(name)))
    assert (ran.status, server.sent) == (2, [])


def test_role_create_with_an_empty_principal_is_refused_before_the_server_is_asked(cli: Run, serve: Serve) -> None:
    server = serve()
    ran = cli("role", "create", "deploy", "--principal", "")
    assert (ran.status, server.sent) == (2, [])
    assert "--principal" in ran.err
    assert "it is empty" in ran.err


def test_role_create_with_a_bare_name_as_principal_is_refused_before_the_server_is_asked(
    cli: Run, serve: Serve
) -> None:
    server = serve()
    ran = cli("role", "create", "deploy", "--principal", "ann")
    assert (ran.status, server.sent) == (2, [])
    assert "user/NAME" in ran.err


def test_role_create_with_a_client_as_principal_trusts_its_tokens(cli: Run, serve: Serve) -> None:
    trust = "<AssumeRolePolicyDocument>%7B%7D</AssumeRolePolicyDocument>"
    server = serve(result("CreateRole", f"<Role><Arn>arn:aws:iam::111122223333:role/app</Arn>{trust}</Role>"))
    client, account = "arn:aws:daypass::111122223333:client/DPCLEXAMPLEEXAMPLEEXA", "111122223333"
    ran = cli("role", "create", "app", "--principal", client, "--principal", account, "--output", "json")
    assert (ran.status, json.loads(ran.out)["AssumeRolePolicyDocument"]) == (0, "{}"), ran.err
    statements = json.loads(parameters(server.sent[0])["AssumeRolePolicyDocument"])["Statement"]
    assert [(each["Principal"], each["Action"]) for each in statements] == [
        ({"AWS": account}, ["sts:AssumeRole", "sts:TagSession"]),
        ({"Federated": client}, ["sts:AssumeRoleWithWebIdentity"]),
    ]


def test_bridge_gcp_quotes_the_subject_in_the_condition(cli: Run, serve: Serve) -> None:
    issuer = "<IssuerIdentifier>https://d.example/a</IssuerIdentifier>"
    serve(result("GetOutboundWebIdentityFederationInfo", issuer))
    ran = cli("bridge", "gcp", "--subject", 'a" || "" == "', "--output", "json")
    assert ran.status == 0, ran.err
    assert json.loads(ran.out)["provider"]["attribute_condition"] == r'assertion.sub == "a\" || \"\" == \""'
