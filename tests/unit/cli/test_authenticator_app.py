"""`daypass mfa add --app` and `daypass mfa rm` of an authenticator app."""

from __future__ import annotations

import io
import re
from base64 import b64encode
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import segno
from tests.unit.client.servers import Script, actions, error, parameters, result

from daypass.cli import output
from daypass.client.profiles import LocalStateError

pytestmark = pytest.mark.usefixtures("key")

SERIAL = "arn:aws:iam::111122223333:mfa/anna"
SECRET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
ANNA = result("GetCallerIdentity", "<Arn>arn:aws:iam::111122223333:user/x/anna</Arn><Account>111122223333</Account>")
SESSION = result(
    "GetCallerIdentity", "<Arn>arn:aws:sts::111122223333:assumed-role/r/s</Arn><Account>111122223333</Account>"
)
MADE = result(
    "CreateVirtualMFADevice",
    f"<VirtualMFADevice><SerialNumber>{SERIAL}</SerialNumber>"
    f"<Base32StringSeed>{b64encode(SECRET.encode()).decode()}</Base32StringSeed></VirtualMFADevice>",
)  # fmt: skip
WRONG = error("InvalidAuthenticationCode", "no", 403)
DONE = result("EnableMFADevice", "")


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Somebody at a terminal who types this."""

    def typed(text: str) -> None:
        monkeypatch.setattr(output, "interactive", lambda: True)
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    return typed


def test_mfa_add_app_shows_the_secret_once_and_enables_with_both_codes(cli: Any, serve: Any, type_in: Any) -> None:
    type_in("111111\n222222\n")
    server: Script = serve(ANNA, MADE, DONE)
    ran = cli("mfa", "add", "--app")
    assert ran.status == 0, ran.err
    assert SECRET in ran.err.splitlines()[2].split()
    assert f"otpauth://totp/Daypass%3Aanna%40111122223333?secret={SECRET}&issuer=Daypass" in ran.err
    assert f"daypass exec ROLE --mfa-serial {SERIAL}" in ran.out
    sent = parameters(server.sent[-1])
    assert (sent["UserName"], sent["SerialNumber"]) == ("anna", SERIAL)
    assert (sent["AuthenticationCode1"], sent["AuthenticationCode2"]) == ("111111", "222222")


def test_mfa_add_app_draws_a_qr_code_of_the_address_on_a_terminal(
    cli: Any, serve: Any, type_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_in("111111\n222222\n")
    serve(ANNA, MADE, DONE)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    shown = cli("mfa", "add", "--app").err
    assert_drawn(shown, f"otpauth://totp/Daypass%3Aanna%40111122223333?secret={SECRET}&issuer=Daypass")


def test_login_by_device_draws_a_qr_code_of_the_address_on_a_terminal(
    cli: Any, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "http://127.0.0.1:8700/device?user_code=WDJB-MJHT"
    device = SimpleNamespace(user_code="WDJB-MJHT", address=address, wait=not_answered)
    monkeypatch.setattr("daypass.cli.login.DeviceLogin.begin", lambda _: device)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    serve()
    ran = cli("login", "--device", "--endpoint", "http://127.0.0.1:8700")
    assert "allow only the code WDJB-MJHT" in ran.err
    assert_drawn(ran.err, address)


def not_answered() -> Any:
    raise LocalStateError("The login was not completed in time. Try again.")


def assert_drawn(shown: str, address: str) -> None:
    """The QR code of an address is on the terminal."""
    halves = {"█": (1, 1), "▀": (1, 0), "▄": (0, 1), " ": (0, 0)}
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    drawn = [line for line in plain.splitlines() if line and set(line) <= set(halves) and set(line) & set("█▀▄")]
    code = segno.make(address, error="l", micro=False)
    light = [[1 - bit for bit in row] for row in code.matrix_iter(border=4)]
    rows = [[halves[mark][half] for mark in line] for line in drawn for half in (0, 1)]
    assert rows[: len(light)] == light


def test_mfa_add_app_wrong_codes_are_asked_again(cli: Any, serve: Any, type_in: Any) -> None:
    type_in("111111\n222222\n333333\n444 444\n")
    server: Script = serve(ANNA, MADE, error("ValidationError", "short", 400), DONE)
    ran = cli("mfa", "add", "--app")
    assert (ran.status, "try again" in ran.err) == (0, True)
    assert actions(server.sent)[-2:] == ["EnableMFADevice"] * 2


def test_mfa_add_app_code_without_six_digits_is_asked_again_before_a_call(cli: Any, serve: Any, type_in: Any) -> None:
    type_in("1234\n111111\nabcdef\n222222\n")
    server: Script = serve(ANNA, MADE, DONE)
    ran = cli("mfa", "add", "--app")
    assert (ran.status, ran.err.count("has six digits")) == (0, 2)
    assert actions(server.sent).count("EnableMFADevice") == 1


@pytest.mark.parametrize(("typed", "status"), [("111111\n222222\n" * 3, 6), ("111111\n", 130)])
def test_mfa_add_app_unconfirmed_leaves_no_device(cli: Any, serve: Any, type_in: Any, typed: str, status: int) -> None:
    type_in(typed)
    steps = [WRONG] * typed.count("222222")
    server: Script = serve(ANNA, MADE, *steps, result("DeleteVirtualMFADevice", ""))
    ran = cli("mfa", "add", "--app")
    assert ran.status == status
    assert actions(server.sent)[-1] == "DeleteVirtualMFADevice"
    assert parameters(server.sent[-1])["SerialNumber"] == SERIAL


def test_mfa_add_app_that_cannot_be_deleted_says_how_to_remove_it(cli: Any, serve: Any, type_in: Any) -> None:
    type_in("")
    serve(ANNA, MADE, error("AccessDenied", "no", 403))
    assert f"daypass mfa rm {SERIAL}" in cli("mfa", "add", "--app").err


def test_mfa_add_app_without_a_terminal_or_a_user_makes_nothing(cli: Any, serve: Any, type_in: Any) -> None:
    server: Script = serve(ANNA, MADE)
    assert (cli("mfa", "add", "--app").status, server.sent) == (2, [])
    type_in("")
    server = serve(SESSION, MADE)
    ran = cli("mfa", "add", "--app")
    assert (ran.status, "Only a user has MFA devices" in ran.err) == (2, True)
    assert actions(server.sent) == ["GetCallerIdentity"]


def test_mfa_rm_of_a_serial_number_deactivates_and_deletes(cli: Any, serve: Any) -> None:
    server: Script = serve(ANNA, result("DeactivateMFADevice", ""), result("DeleteVirtualMFADevice", ""))
    assert cli("mfa", "rm", SERIAL, "--yes").status == 0
    assert actions(server.sent)[1:] == ["DeactivateMFADevice", "DeleteVirtualMFADevice"]
    assert parameters(server.sent[1])["UserName"] == "anna"


def test_mfa_rm_of_another_users_device_that_was_never_activated_deletes_it(cli: Any, serve: Any) -> None:
    server: Script = serve(error("NoSuchEntity", "no", 404), result("DeleteVirtualMFADevice", ""))
    assert cli("mfa", "rm", SERIAL, "--user", "ben", "--yes").status == 0
    assert parameters(server.sent[0])["UserName"] == "ben"
    assert actions(server.sent)[-1] == "DeleteVirtualMFADevice"


def test_mfa_rm_that_is_denied_deletes_nothing(cli: Any, serve: Any) -> None:
    server: Script = serve(error("AccessDenied", "no", 403))
    assert cli("mfa", "rm", SERIAL, "--user", "ben", "--yes").status == 4
    assert actions(server.sent) == ["DeactivateMFADevice"]
