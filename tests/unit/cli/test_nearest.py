"""A name that does not exist is corrected from those that do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.client.servers import Script, actions, as_json, error, parameters, result

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
    serve(as_json(body, 404), _listed("ListRoles", "Role", "reader"))
    assert "Did you mean 'reader'?" in cli("revoke", "role", "raeder").err


def test_command_name_near_one_with_control_characters_shows_them_escaped(
    cli: Callable[..., Any], serve: Callable[..., Script]
) -> None:
    serve(_absent("user", "anna"), _listed("ListUsers", "User", "anna\u202e"))
    assert "\u202e" not in cli("user", "show", "anna").err
