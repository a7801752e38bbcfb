"""Described commands, mistyped names, and dashboards of the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec import inspect
from tests.unit.client.servers import Script, actions, as_json, error, parameters, result

from daypass.api.operation import Operation, bare_type
from daypass.cli import dashboard
from daypass.wire.endpoints.table import OPERATIONS

DESCRIBED = [each for each in OPERATIONS if each.command is not None]


def example(found: inspect.Type) -> Any:
    """A value of this type."""
    kind, _ = bare_type(found)
    match kind:
        case inspect.StructType(cls=cls):
            return {field.name: example(field.type) for field in inspect.type_info(cls).fields}
        case inspect.ListType(item_type=item):
            return [example(item)]
        case inspect.DictType():
            return {"a-key": "a value"}
        case inspect.LiteralType(values=values):
            return values[-1]
        case inspect.BoolType():
            return True
        case inspect.IntType() | inspect.FloatType():
            return 1_800_000_000_000
    return "a value"


def words(operation: Operation) -> list[str]:
    """The command with its arguments, and with the options that it needs."""
    assert operation.command is not None
    found = []
    for word in operation.command.usage.split():
        part = operation.parts.get(word.lower()) if word.isupper() else None
        found.append(word if part is None else str(example(part.type)))
    arguments = [word.lower() for word in operation.command.usage.split() if word.isupper()]
    for part in operation.parts.values():
        if part.required and part.name not in arguments:
            found += ["--" + part.name.replace("_", "-"), str(example(part.type))]
    confirms = operation.command.confirm or operation.command.replaces
    return [*found, "--yes"] if confirms else found


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("operation", DESCRIBED, ids=lambda each: each.operation_id)
@pytest.mark.parametrize("form", ["text", "json"])
def test_described_command_sends_what_its_operation_takes_and_prints_the_answer(
    cli: Any, serve: Any, operation: Operation, form: str
) -> None:
    answer = {} if operation.answer is None else example(msgspec.inspect.type_info(operation.answer))
    answer = {**answer, **({"next": ""} if operation.paged else {})}
    steps = [as_json(answer, operation.status if operation.answer is not None else 204)]
    assert operation.command is not None
    replaced = operation.command.replaces
    if replaced is not None and replaced.answer is not None:
        steps.insert(0, as_json(example(msgspec.inspect.type_info(replaced.answer))))
    server = serve(*steps)
    ran = cli(*words(operation), "--output", form)
    assert ran.status == 0, ran.err
    sent = server.sent[-1]
    assert sent.method == operation.method
    assert operation.pattern.fullmatch(sent.target.partition("?")[0].removeprefix("/api/v1"))
    if form == "json":
        json.loads(ran.out)
    elif operation.command.prints or operation.items or operation.command.says:
        assert ran.out


# --- A name that does not exist is corrected from those that do


pytestmark = pytest.mark.usefixtures("key")


def _listed(action: str, kind: str, *names: str) -> Any:
    tag = "Arn" if kind == "Policy" else f"{kind}Name"
    members = "".join(f"<member><{tag}>{name}</{tag}></member>" for name in names)
    plural = "Policies" if kind == "Policy" else f"{kind}s"
    return result(action, f"<{plural}>{members}</{plural}>")


def _absent(kind: str, name: str) -> Any:
    return error("NoSuchEntity", f"The {kind} with name {name} cannot be found.", 404)


@pytest.mark.parametrize(
    ("command", "refusal", "names", "wanted"),
    [
        (["user", "show", "ana"], _absent("user", "ana"), ("ListUsers", "User", "anna", "bob"), "anna"),
        (["group", "show", "devs"], _absent("group", "devs"), ("ListGroups", "Group", "dev", "ops"), "dev"),
        (["role", "trust", "raeder", "-"], _absent("role", "raeder"), ("ListRoles", "Role", "reader"), "reader"),
        (
            ["role", "attach", "reader", "arn:aws:iam::111122223333:policy/x/borow"],
            error("NoSuchEntity", "Policy arn:aws:iam::111122223333:policy/x/borow does not exist or is not attachable.", 404),
            ("ListPolicies", "Policy", "arn:aws:iam::111122223333:policy/x/borrow"),
            "borrow",
        ),
        (
            ["role", "attach", "reader", "IAMReadOnlyAccess"],
            error("NoSuchEntity", "Policy arn:aws:iam::111122223333:policy/IAMReadOnlyAccess does not exist or is not attachable.", 404),
            ("ListPolicies", "Policy", "arn:aws:iam::aws:policy/IAMReadOnlyAccess"),
            "aws/IAMReadOnlyAccess",
        ),
    ],
)  # fmt: skip
def test_command_name_absent_suggests_the_nearest(
    cli: Callable[..., Any], serve: Callable[..., Script], monkeypatch: pytest.MonkeyPatch,
    command: list[str], refusal: Any, names: tuple[str, ...], wanted: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("sys.stdin", __import__("io").StringIO("{}"))
    server = serve(refusal, _listed(*names))
    ran = cli(*command)
    assert ran.status == 1
    assert ran.err.splitlines()[1:] == [f"daypass: Did you mean '{wanted}'?"]
    assert actions(server.sent)[-1] == names[0]
    assert parameters(server.sent[-1])["MaxItems"] == "1000"


@pytest.mark.parametrize("step", [error("AccessDenied", "no", 403), _listed("ListUsers", "User", "somebody-else")])
def test_command_name_absent_and_nothing_near_is_reported_alone(
    cli: Callable[..., Any], serve: Callable[..., Script], step: Any
) -> None:
    serve(_absent("user", "ana"), step)
    ran = cli("user", "show", "ana")
    line, *link = ran.err.splitlines()
    assert all(each.endswith("/help/errors/NoSuchEntity") for each in link)
    assert (ran.status, line.startswith("daypass: NoSuchEntity: The user with name ana cannot be found.")) == (1, True)


def test_command_name_of_the_management_api_absent_suggests_the_nearest(
    cli: Callable[..., Any], serve: Callable[..., Script]
) -> None:
    body = {
        "error": {"code": "NoSuchEntity", "message": "The role with name raeder cannot be found.", "request_id": ""}
    }
    first = result("ListRoles", "<Roles/><IsTruncated>true</IsTruncated><Marker>m</Marker>")
    serve(as_json(body, 404), first, _listed("ListRoles", "Role", "reader"))
    assert "Did you mean 'reader'?" in cli("revoke", "role", "raeder").err


def test_command_name_near_one_with_control_characters_shows_them_escaped(
    cli: Callable[..., Any], serve: Callable[..., Script]
) -> None:
    serve(_absent("user", "anna"), _listed("ListUsers", "User", "anna\u202e"))
    assert "\u202e" not in cli("user", "show", "anna").err


# --- The figures that `daypass dashboard` computes itself


def test_active_grants_of_which_one_is_refused_counts_the_others() -> None:
    series = {name: [0] for name in ("issued", "refused", "requested", "approved", "high_risk")}
    summary = {"since": 0, "until": 0, "complete": True, "success": None}
    grants = [{"refused": ""}, {"refused": "The role or its policies have changed since the approval."}]
    figures = dashboard._figures({**summary, "approval_ms": 0, "series": series}, grants)
    assert figures["active grants"] == "1"


# --- `oncall`, over a scripted server


def rule(name: str, **document: object) -> dict[str, object]:
    return {"name": name, "document": json.dumps({"roles": ["role/prod"], **document})}


def test_oncall_ls_lists_rules_that_have_a_schedule(cli, serve) -> None:
    rules = [rule("plain"), rule("prod", on_call={"calendar": "ops.ics"})]
    serve(as_json({"approval_rules": rules}), as_json({"approval_rules": rules}))
    assert cli("oncall", "ls").out.splitlines()[1:] == ["prod  icalendar  ops.ics"]
    listed = json.loads(cli("oncall", "ls", "--output", "json").out)
    assert listed == [{"rule": "prod", "kind": "icalendar", "calendar": "ops.ics"}]


@pytest.mark.parametrize(
    ("people", "shown"), [(["ann", "l\x1b[31mee"], "ann\nl\\u001b[31mee\n"), ([], "Nobody is on call.\n")]
)
def test_oncall_show_prints_the_people_of_a_rule(cli, serve, people: list[str], shown: str) -> None:
    server = serve(as_json({"people": people}), as_json({"people": people}))
    assert cli("oncall", "show", "prod/eu").out == shown
    assert server.sent[0].target.startswith("/api/v1/approval-rules/prod%2Feu/on-call")
    assert json.loads(cli("oncall", "show", "prod", "--output", "json").out) == {"people": people}
