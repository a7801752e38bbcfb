from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tests.unit.cli.test_main import IDENTITY
from tests.unit.client.servers import Script, error, issued, parameters

from daypass.cli import login
from daypass.client.transport import LoginServer

PROVIDER = "arn:aws:iam::111122223333:saml-provider/idp"
READER, WRITER = (f"arn:aws:iam::111122223333:role/{name}" for name in ("reader", "writer"))


def assertion(*values: str) -> str:
    """A response saved from a browser; only the server judges it."""
    text = "".join(f"<s:AttributeValue>{value}</s:AttributeValue>" for value in values)
    return (
        '<p:Response xmlns:p="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:s="urn:oasis:names:tc:SAML:2.0:assertion">'
        f'<s:Assertion><s:AttributeStatement><s:Attribute Name="https://aws.amazon.com/SAML/Attributes/Role">{text}'
        "</s:Attribute></s:AttributeStatement></s:Assertion></p:Response>"
    )


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Script]:
    def start(*steps: object) -> Script:
        server = Script(*steps)  # type: ignore[arg-type]
        monkeypatch.setattr(login, "LoginServer", partial(LoginServer, transport=server))
        return server

    return start


def saved(tmp_path: Path, text: str) -> str:
    path = tmp_path / "response.txt"
    path.write_text(text)
    return str(path)


def run(cli, tmp_path: Path, text: str, *more: str):
    return cli(
        "login", "--saml", "--endpoint", "http://127.0.0.1:8700", "--assertion-file", saved(tmp_path, text), *more
    )


@pytest.mark.parametrize("value", [f"{READER},{PROVIDER}", f" {PROVIDER} , {READER} "])
@pytest.mark.parametrize("form", ["xml", "base64", "folded"])
def test_login_saml_with_an_assertion_stores_the_roles_session(
    cli, serve, sts, tmp_path: Path, value: str, form: str
) -> None:
    server = sts(issued())
    serve(IDENTITY)
    xml = assertion(value)
    encoded = base64.b64encode(xml.encode()).decode()
    text = {"xml": xml, "base64": encoded, "folded": "\n".join(encoded[i : i + 60] for i in range(0, len(encoded), 60))}
    ran = run(cli, tmp_path, text[form])
    assert ran.status == 0, ran.err
    (request,) = server.sent
    given = parameters(request)
    assert (given["Action"], given["RoleArn"], given["PrincipalArn"]) == ("AssumeRoleWithSAML", READER, PROVIDER)
    assert base64.b64decode(given["SAMLAssertion"]).decode() == xml
    assert "authorization" not in {name.lower() for name in request.headers}
    stored = json.loads((tmp_path / "home" / "profiles.json").read_text())["profiles"]["default"]
    assert stored["access_key_id"] == f"ASIA{1:016d}"
    assert stored["session_token"]


def test_login_saml_with_several_roles_asks_which(cli, serve, sts, tmp_path: Path) -> None:
    server = sts(issued())
    serve(IDENTITY)
    text = assertion(f"{READER},{PROVIDER}", f"{WRITER},{PROVIDER}")
    ran = run(cli, tmp_path, text)
    assert ran.status == 6
    assert READER in ran.err
    assert WRITER in ran.err
    assert not server.sent
    assert run(cli, tmp_path, text, "--role", WRITER).status == 0
    assert parameters(server.sent[0])["RoleArn"] == WRITER


def test_login_saml_with_an_unreadable_response_needs_role_and_provider(cli, serve, sts, tmp_path: Path) -> None:
    server = sts(issued())
    serve(IDENTITY)
    for text in ("AAAA", "<!DOCTYPE a><a/>", assertion("x,y"), "<a"):
        assert run(cli, tmp_path, text).status == 6
        assert run(cli, tmp_path, text, "--role", READER).status == 6
    assert not server.sent
    assert run(cli, tmp_path, "AAAA", "--role", READER, "--provider", PROVIDER).status == 0


def test_login_saml_refused_stores_nothing_and_asks_once(cli, serve, sts, tmp_path: Path) -> None:
    server = sts(error("InvalidIdentityToken", "used before\u202e", 400))
    serve(IDENTITY)
    ran = run(cli, tmp_path, assertion(f"{READER},{PROVIDER}"))
    assert ran.status == 7
    assert "\u202e" not in ran.err
    assert len(server.sent) == 1
    assert not (tmp_path / "home").exists()


def test_login_saml_server_away_is_asked_once(cli, serve, sts, tmp_path: Path) -> None:
    server = sts(error("ServiceUnavailable", "later", 503))
    assert run(cli, tmp_path, assertion(f"{READER},{PROVIDER}")).status == 5
    assert len(server.sent) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("--saml",),
        ("--saml", "--access-key-id", "AKIAX"),
        ("--saml", "--provider", PROVIDER, "--role", READER),
        ("--provider", PROVIDER),
        ("--no-browser",),
    ],
)
def test_login_saml_options_that_do_not_go_together_are_refused(cli, arguments: tuple[str, ...]) -> None:
    assert cli("login", "--endpoint", "http://127.0.0.1:8700", *arguments).status == 2
