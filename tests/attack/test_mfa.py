"""Attacks on MFA codes: used twice, somebody else's, old, guessed, or brought where they must not reach.

Every refusal reads as AWS's, is on the record, and tells nothing of whether a code was right.
"""

from __future__ import annotations

import asyncio
import base64
import json

import pyotp
import pytest
from tests.attack.installation import (
    ALPHA,
    BETA,
    EVERYTHING,
    ROOT,
    ROOT_OF_BETA,
    Answer,
    Installation,
    Key,
    form,
    installed,
    trust,
)

from daypass.operations.assume.mfa_code import LOCK_MS, MAX_FAILURES

UNKNOWN = (
    "MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is valid "
    "and associated with this user."
)
WRONG = "MultiFactorAuthentication failed with invalid MFA one time pass code. "
NEEDS_MFA = {"Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}
FRESH_MFA = {"Condition": {"NumericLessThan": {"aws:MultiFactorAuthAge": "300"}}}
SESSION = "GetSessionToken"


class Phone:
    """A user's device and its app. Each code is taken for a step of its own: the clock goes on to it."""

    def __init__(self, site: Installation, user: str, root: Key = ROOT) -> None:
        made = site.iam("CreateVirtualMFADevice", root, VirtualMFADeviceName=user)
        self.site, self.serial = site, made.text("SerialNumber")
        self.seed = base64.b64decode(made.text("Base32StringSeed")).decode()
        self.app = pyotp.TOTP(self.seed)
        self.first, second = self.code(), self.code()
        codes = {"AuthenticationCode1": self.first, "AuthenticationCode2": second}
        site.iam("EnableMFADevice", root, UserName=user, SerialNumber=self.serial, **codes)

    def at(self, off: int = 0) -> str:
        return self.app.at(self.site.wall.time // 1000 + off * 30)

    def code(self) -> str:
        """A code that has not been used."""
        self.site.wall.time += 30_000
        return self.at()

    def wrong(self) -> str:
        """A code that is none of those near now."""
        near = {self.at(off) for off in range(-3, 4)}
        return next(text for text in (f"{n:06}" for n in range(10)) if text not in near)

    def with_code(self, code: str) -> dict[str, str]:
        return {"SerialNumber": self.serial, "TokenCode": code}


def denied(site: Installation, answer: Answer, message: str, private: str) -> None:
    """Refused with this text alone; the record says why."""
    assert (answer.code, answer.status, answer.text("Message")) == ("AccessDenied", 403, message), answer.body
    assert not answer.text("EncodedAuthorizationMessage")
    [record] = [body for body in site.records(answer.request_id) if body["type"] == "request.denied"]
    assert record["detail"]["private"]["mfa"] == private
    assert all("TokenCode" not in json.dumps(body) or '"***"' in json.dumps(body) for body in (record,))


@pytest.fixture(scope="module")
def ann(site: Installation) -> tuple[Key, Phone]:
    _, key = site.user("ann", policy=EVERYTHING)
    return key, Phone(site, "ann")


@pytest.fixture(scope="module")
def guarded(site: Installation, ann: tuple[Key, Phone]) -> str:
    """A role for whoever has just shown a device."""
    return site.role("guarded", trust(f"arn:aws:iam::{ALPHA}:root", **NEEDS_MFA), policy=EVERYTHING)


def test_assume_role_with_a_code_passes_where_the_trust_policy_asks_for_mfa(
    site: Installation, ann: tuple[Key, Phone], guarded: str
) -> None:
    key, phone = ann
    assert site.assume(key, guarded).code == "AccessDenied"
    answer = site.assume(key, guarded, **phone.with_code(phone.code()))
    assert answer.status == 200, answer.body
    accepted = [body["detail"] for body in site.records(answer.request_id) if body["type"] == "directory.changed"]
    assert (accepted[0]["mfa"], accepted[0]["mfa_device"]) == ("code accepted", phone.serial)
    fresh = site.role("fresh", trust(f"arn:aws:iam::{ALPHA}:root", **FRESH_MFA))
    assert site.assume(key, fresh, **phone.with_code(phone.code())).status == 200


def test_get_session_token_with_a_code_vouches_for_its_session_until_it_is_old(
    site: Installation, ann: tuple[Key, Phone], guarded: str
) -> None:
    key, phone = ann
    plain = site.call(key, SESSION).key
    assert site.call(plain, "ListUsers", service="iam").code == "InvalidClientTokenId"
    assert site.assume(plain, guarded).code == "AccessDenied"
    session = site.call(key, SESSION, phone.with_code(phone.code())).key
    assert site.call(session, "ListUsers", service="iam").status == 200
    assert site.assume(session, guarded).status == 200
    fresh = site.role("fresh2", trust(f"arn:aws:iam::{ALPHA}:root", **FRESH_MFA))
    assert site.assume(session, fresh).status == 200
    site.wall.time += 301_000
    assert site.assume(session, fresh).code == "AccessDenied"


def test_a81_mfa_of_an_assumption_does_not_survive_into_its_session_or_beyond(
    site: Installation, ann: tuple[Key, Phone], guarded: str
) -> None:
    key, phone = ann
    role_session = site.assume(key, guarded, **phone.with_code(phone.code())).key
    second = site.role("second", trust(guarded, **NEEDS_MFA))
    assert site.assume(role_session, second).code == "AccessDenied"
    user_session = site.call(key, SESSION, phone.with_code(phone.code())).key
    through_user = site.assume(user_session, guarded).key
    assert site.assume(through_user, second).code == "AccessDenied"
    denied(site, site.assume(role_session, second, **phone.with_code(phone.code())), UNKNOWN, "caller has no devices")


def test_a82_replayed_code_is_refused_wherever_it_is_brought(
    site: Installation, ann: tuple[Key, Phone], guarded: str
) -> None:
    key, phone = ann
    code = phone.code()
    assert site.call(key, SESSION, phone.with_code(code)).status == 200
    denied(site, site.call(key, SESSION, phone.with_code(code)), WRONG, "replay")
    denied(site, site.assume(key, guarded, **phone.with_code(code)), WRONG, "replay")
    resync = {"UserName": "ann", "SerialNumber": phone.serial}
    codes = {"AuthenticationCode1": code, "AuthenticationCode2": phone.at(1)}
    assert site.call(ROOT, "ResyncMFADevice", {**resync, **codes}, service="iam").status == 200
    denied(site, site.call(key, SESSION, phone.with_code(code)), WRONG, "replay")
    assert site.call(ROOT, "ResyncMFADevice", {**resync, **codes}, service="iam").code == "InvalidAuthenticationCode"


async def _together(site: Installation, key: Key, params: dict[str, str], count: int) -> list[Answer]:
    body = form(SESSION, params)
    return list(await asyncio.gather(*(site.ask("POST", site.signed(key, body), body) for _ in range(count))))


def test_a82_one_code_brought_twenty_times_at_once_gives_one_session(
    site: Installation, ann: tuple[Key, Phone]
) -> None:
    key, phone = ann
    answers = site.run(_together(site, key, phone.with_code(phone.code()), 20))
    assert sorted(answer.status for answer in answers) == [200] + [403] * 19


@pytest.mark.parametrize("off", [-40, -3, -2, 2, 3])
def test_a82_code_of_another_time_is_refused(site: Installation, ann: tuple[Key, Phone], off: int) -> None:
    key, phone = ann
    assert site.call(key, SESSION, phone.with_code(phone.code())).status == 200  # nothing is counted before
    site.wall.time += 200_000
    denied(site, site.call(key, SESSION, phone.with_code(phone.at(off))), WRONG, "wrong code")


def test_a82_device_of_somebody_else_is_unknown(site: Installation, ann: tuple[Key, Phone]) -> None:
    key, _ = ann
    site.user("bob")
    colleague = Phone(site, "bob")
    stranger = Phone(site, "root", ROOT_OF_BETA)
    spare = site.iam("CreateVirtualMFADevice", VirtualMFADeviceName="spare").text("SerialNumber")
    for serial, code in (
        (colleague.serial, colleague.code()),
        (stranger.serial, stranger.code()),
        (spare, "123456"),
        (f"arn:aws:iam::{BETA}:mfa/nothing", "123456"),
        ("GAHT12345678", "123456"),
    ):
        answer = site.call(key, SESSION, {"SerialNumber": serial, "TokenCode": code})
        denied(site, answer, UNKNOWN, "no such device of the caller")
    assert site.call(ROOT_OF_BETA, SESSION, stranger.with_code(stranger.code())).status == 200


def test_a82_guessing_locks_the_device_for_right_codes_too(site: Installation) -> None:
    _, key = site.user("guessed")
    phone = Phone(site, "guessed")
    for _ in range(MAX_FAILURES):
        denied(site, site.call(key, SESSION, phone.with_code(phone.wrong())), WRONG, "wrong code")
    denied(site, site.call(key, SESSION, phone.with_code(phone.code())), UNKNOWN, "locked after wrong codes")
    site.wall.time += LOCK_MS
    assert site.call(key, SESSION, phone.with_code(phone.code())).status == 200


def test_a82_guesses_side_by_side_are_counted_one_by_one(site: Installation) -> None:
    _, key = site.user("hurried")
    phone = Phone(site, "hurried")
    answers = site.run(_together(site, key, phone.with_code(phone.wrong()), 30))
    assert {answer.text("Message") for answer in answers} == {WRONG, UNKNOWN}
    reasons = [site.records(answer.request_id)[-1]["detail"]["private"]["mfa"] for answer in answers]
    assert reasons.count("wrong code") == MAX_FAILURES
    assert reasons.count("locked after wrong codes") == 30 - MAX_FAILURES


def test_right_code_ends_the_count_of_wrong_ones(site: Installation) -> None:
    _, key = site.user("clumsy")
    phone = Phone(site, "clumsy")
    for _ in range(3):
        for _ in range(MAX_FAILURES - 1):
            assert site.call(key, SESSION, phone.with_code(phone.wrong())).code == "AccessDenied"
        assert site.call(key, SESSION, phone.with_code(phone.code())).status == 200


def test_a82_code_of_a_device_that_was_taken_back_is_unknown(site: Installation) -> None:
    _, key = site.user("left")
    phone = Phone(site, "left")
    site.iam("DeactivateMFADevice", UserName="left", SerialNumber=phone.serial)
    denied(site, site.call(key, SESSION, phone.with_code(phone.code())), UNKNOWN, "no such device of the caller")


def test_seeds_and_codes_are_in_no_record_log_or_other_answer(site: Installation) -> None:
    _, key = site.user("secretive")
    site.keep_answers = True
    phone = Phone(site, "secretive")
    code, wrong = phone.code(), phone.wrong()
    site.call(key, SESSION, phone.with_code(code))
    site.call(key, SESSION, phone.with_code(wrong))
    site.iam("ListVirtualMFADevices")
    site.iam("GetMFADevice", SerialNumber=phone.serial)
    site.keep_answers = False
    kept = b"".join(site.record_bytes()) + site.log.getvalue().encode()
    assert phone.seed.encode() not in kept
    assert base64.b32decode(phone.seed).hex().encode() not in kept
    assert b'"TokenCode":"***"' in kept
    assert f'"{code}"'.encode() not in kept
    assert b'"AuthenticationCode1":"***"' in kept
    assert f'"{phone.first}"'.encode() not in kept
    shown = [body for body in site.answers if base64.b64encode(phone.seed.encode()) in body]
    assert len(shown) == 1


def test_a82_code_and_count_are_shared_by_every_process(
    site: Installation, ann: tuple[Key, Phone], guarded: str
) -> None:
    key, phone = ann
    with installed(site.data, site.wall) as other:
        code = phone.code()
        assert other.call(key, SESSION, phone.with_code(code)).status == 200
        denied(site, site.assume(key, guarded, **phone.with_code(code)), WRONG, "replay")
        for at in range(MAX_FAILURES):
            assert (site, other)[at % 2].call(key, SESSION, phone.with_code(phone.wrong())).code == "AccessDenied"
        denied(other, other.call(key, SESSION, phone.with_code(phone.code())), UNKNOWN, "locked after wrong codes")
        denied(site, site.call(key, SESSION, phone.with_code(phone.code())), UNKNOWN, "locked after wrong codes")
    site.wall.time += LOCK_MS
