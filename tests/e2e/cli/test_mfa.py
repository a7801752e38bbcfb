"""A role that requires MFA, with a virtual device of the server: by options, by a prompt, by the profile."""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path

import pyotp
import pytest
from tests.e2e.cli.conftest import DAYPASS, Command, policy
from tests.e2e.conftest import OPERATOR, ROOT_KEYS, Server
from tests.terminal import Terminal

STEP = 30


class Device:
    """A virtual MFA device. Each of its codes is accepted once, so it gives each once: within the server's tolerance of one
    step, or of the next one.
    """

    def __init__(self, user: str, serial: str, seed: str) -> None:
        self.user, self.serial, self._totp, self._used = user, serial, pyotp.TOTP(seed), 0

    def at(self, step: int) -> str:
        return str(self._totp.at(step * STEP))

    def code(self) -> str:
        step = max(int(time.time()) // STEP - 1, self._used + 1)
        while step > int(time.time()) // STEP + 1:  # at most every third code has to wait
            time.sleep(0.5)
        self._used = step
        return self.at(step)


@pytest.fixture
def device(server: Server) -> Device:
    """A device of a new user."""
    iam = server.client("iam", ROOT_KEYS[OPERATOR])
    name = f"mfa-{secrets.token_hex(4)}"
    iam.create_user(UserName=name)
    made = iam.create_virtual_mfa_device(VirtualMFADeviceName=name)["VirtualMFADevice"]
    found = Device(name, made["SerialNumber"], made["Base32StringSeed"].decode())
    now = int(time.time()) // STEP
    codes = [found.at(now + n) for n in (-3, -2)]
    iam.enable_mfa_device(
        UserName=name, SerialNumber=found.serial, AuthenticationCode1=codes[0], AuthenticationCode2=codes[1]
    )
    return found


@pytest.fixture
def guarded(server: Server, device: Device) -> str:
    """A role that the device's user may assume with MFA alone."""
    iam = server.client("iam", ROOT_KEYS[OPERATOR])
    name = f"guarded-{secrets.token_hex(4)}"
    iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=policy(
            Action="sts:AssumeRole",
            Principal={"AWS": f"arn:aws:iam::{OPERATOR}:user/{device.user}"},
            Condition={"Bool": {"aws:MultiFactorAuthPresent": "true"}},
        ),
    )
    return name


@pytest.fixture
def user(server: Server, device: Device, tmp_path: Path) -> Command:
    """The device's user, whose profile does not name the device."""
    iam = server.client("iam", ROOT_KEYS[OPERATOR])
    key = iam.create_access_key(UserName=device.user)["AccessKey"]
    command = Command(server, tmp_path / "home")
    assert command.login((key["AccessKeyId"], key["SecretAccessKey"])).status == 0
    return command


def test_role_that_requires_mfa_is_assumed_with_a_code_and_not_without(
    user: Command, device: Device, guarded: str
) -> None:
    assert user("assume", guarded).status == 4
    given = ("--mfa-serial", device.serial)
    assert user("assume", guarded, *given, "--mfa-code", "000000").status == 4
    code = device.code()
    ran = user("credential-process", guarded, *given, "--mfa-code", code)
    assert ran.status == 0, ran.err
    assert json.loads(ran.out)["AccessKeyId"].startswith("ASIA")
    again = user("credential-process", guarded, *given)
    assert (again.out, again.err) == (ran.out, ""), "the cached session needs no code"
    assert user("assume", guarded, *given, "--mfa-code", code).status == 4, "a code is good once"


def test_prompt_on_a_terminal_asks_for_the_code_of_the_profiles_device(
    user: Command, device: Device, guarded: str
) -> None:
    stored = user.home / "profiles.json"
    content = json.loads(stored.read_text())
    content["profiles"]["default"]["mfa_serial"] = device.serial
    stored.write_text(json.dumps(content))
    refused = user("credential-process", guarded)
    assert (refused.status, refused.out) == (6, "")
    assert "there is no terminal to ask on. Give --mfa-code" in refused.err
    command = [*DAYPASS, "exec", guarded, "--", "sh", "-c", "echo as $DAYPASS_ROLE"]
    with Terminal(command, user.environment) as terminal:
        terminal.wait_for(f"MFA code of {device.serial}: ")
        terminal.type(f"{device.code()}\n")
        terminal.wait_for(f"as {guarded}")
        assert terminal.status() == 0
    assert user("credential-process", guarded).status == 0, "the session is in the cache"


def test_own_device_is_removed_with_a_code_of_it_and_not_with_the_key_alone(
    server: Server, user: Command, device: Device
) -> None:
    server.client("iam", ROOT_KEYS[OPERATOR]).put_user_policy(
        UserName=device.user, PolicyName="own", PolicyDocument=policy(Action="iam:*MFADevice", Resource="*")
    )
    refused = user("mfa", "rm", device.serial, "--yes")
    assert refused.status == 4
    assert "give a code of one: --mfa-serial ARN" in refused.err
    ran = user("mfa", "rm", device.serial, "--yes", "--mfa-serial", device.serial, "--mfa-code", device.code())
    assert ran.status == 0, ran.err
    assert device.serial not in user("mfa", "ls").out
