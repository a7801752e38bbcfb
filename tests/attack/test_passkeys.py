"""Attacks on passkeys: other origins and RP ids, replayed challenges, missing user verification, foreign credentials, copies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator

import pytest
from tests.attack.installation import ALPHA, Answer, Installation
from tests.authenticator import UP, UV, Authenticator
from tests.browser import Browser, forms, refused, text
from tests.passkeys import DEVICES, new_passkey, registered, sign_in_with
from tests.sign_in import PASSWORD, signed_in, site_with_pages, user

from daypass.domain.jws import base64url, from_base64url

PASSKEY = "/login/passkey"
SECOND = "/login/second-passkey"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with site_with_pages(tmp_path_factory.mktemp("passkeys")) as made:
        yield made


@pytest.fixture(scope="module")
def ann(site: Installation) -> str:
    return user(site)


@pytest.fixture(scope="module")
def key(site: Installation, ann: str) -> Authenticator:
    return registered(site, signed_in(site, ann))


def denied(site: Installation, answer: Answer, reason: str, status: int = 403) -> None:
    """The refusal of a sign-in: recorded with its reason, which the page does not show, and nobody is signed in."""
    private = refused(site, answer, status)["detail"]["private"]
    assert reason in json.dumps(private), private
    assert reason not in text(answer)
    assert "location" not in answer.headers


def changed(original: Authenticator, **changes: object) -> Authenticator:
    values = {
        name: getattr(original, name) for name in ("origin", "rp_id", "key", "credential", "user", "flags", "client")
    }
    return Authenticator(**{**values, "count": (original.count or 0) + 100, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"origin": "https://evil.example"}, "Invalid origin"),
        ({"origin": "http://daypass.test"}, "Invalid origin"),
        ({"origin": "https://daypass.test:8443"}, "Invalid origin"),
        ({"origin": "https://login.daypass.test"}, "Invalid origin"),
        ({"origin": "https://daypass.test.evil.example"}, "Invalid origin"),
        ({"origin": "https://daypass.test/"}, "Invalid origin"),
        ({"origin": "https://DAYPASS.test"}, "Invalid origin"),
        ({"rp_id": "test"}, "Wrong RP ID"),
        ({"rp_id": "evil.example"}, "Wrong RP ID"),
        ({"flags": UP}, "User Verified flag".lower()),
        ({"flags": UV}, "User Present"),
        ({"client": {"type": "webauthn.create"}}, "Incorrect type"),
        ({"client": {"cross_origin": True}}, "frame of another origin"),
        ({"client": {"challenge": bytes(32)}}, "Wrong challenge"),
        ({"user": b"AIDAOTHERUSER"}, "user handle"),
        ({"key": new_passkey().key}, "Invalid signature"),
        ({"credential": bytes(32)}, "unknown passkey"),
    ],
)
def test_a79_assertion_of_the_wrong_origin_rp_challenge_or_user_is_refused(
    site: Installation, key: Authenticator, changes: dict[str, object], reason: str
) -> None:
    wrong = changed(key, **changes)
    page = Browser(site).get("/login")
    browser = Browser(site)
    page = browser.get("/login")
    answer = browser.submit(page, PASSKEY, response=wrong.assertion(forms(page)[PASSKEY].options))
    private = refused(site, answer, 403)["detail"]["private"]
    assert reason.lower() in json.dumps(private).lower(), private
    assert "was not accepted" in text(answer)
    assert browser.get("/account").status == 303


def test_a79_answer_is_accepted_once_in_the_browser_that_was_asked(site: Installation, key: Authenticator) -> None:
    browser, thief = Browser(site), Browser(site)
    page = browser.get("/login?again=age")
    form = forms(page)[PASSKEY]
    response = key.assertion(form.options)
    thief.get("/login")
    stolen = {**forms(thief.get("/login"))[PASSKEY].fields, "ceremony": form.fields["ceremony"], "response": response}
    denied(site, thief.post(PASSKEY, stolen), "ceremony", 400)
    cookies = dict(browser.cookies)
    assert browser.submit(page, PASSKEY, response=response).status == 303
    browser.cookies = cookies  # as it was: only the challenge tells the two requests apart
    denied(site, browser.submit(page, PASSKEY, response=response), "replay")


def test_a79_one_of_many_parallel_replays_is_accepted(site: Installation, key: Authenticator) -> None:
    browser = Browser(site)
    page = browser.get("/login?again=age")
    response = key.assertion(forms(page)[PASSKEY].options)
    headers, body = browser.posted({**forms(page)[PASSKEY].fields, "response": response})

    async def together() -> list[Answer]:
        return await asyncio.gather(*(site.ask("POST", headers, body, path=PASSKEY.encode()) for _ in range(8)))

    assert sorted(answer.status for answer in site.run(together())) == [303, *[403] * 7]


def test_a79_challenge_of_one_purpose_is_not_accepted_for_another(
    site: Installation, ann: str, key: Authenticator
) -> None:
    browser = Browser(site)
    second = forms(browser.sign_in(ALPHA, ann, PASSWORD))[SECOND]
    response = key.assertion(second.options)
    fields = {**second.fields, "response": response}
    denied(site, browser.post(PASSKEY, fields), "ceremony", 400)
    page = browser.get("/login?again=age")
    own = forms(page)[PASSKEY]
    mixed = {**own.fields, "response": key.assertion(second.options)}
    denied(site, browser.post(PASSKEY, mixed), "Wrong challenge")


def test_a79_second_factor_of_another_user_is_refused(site: Installation, ann: str, key: Authenticator) -> None:
    bob = user(site)
    bobs = registered(site, signed_in(site, bob))
    browser = Browser(site)
    page = browser.sign_in(ALPHA, ann, PASSWORD)
    denied(site, browser.submit(page, SECOND, response=bobs.assertion(forms(page)[SECOND].options)), "another user")
    theirs = Browser(site)
    form = forms(theirs.sign_in(ALPHA, bob, PASSWORD))[SECOND]
    mixed = {**forms(page)[SECOND].fields, "ceremony": form.fields["ceremony"]}
    answer = browser.post(SECOND, {**mixed, "response": bobs.assertion(form.options)})
    assert refused(site, answer, 400)["error"] == "invalid_identity_token"
    assert browser.get("/account").status == 303
    assert key.id not in bobs.id


def test_a79_credential_of_another_user_cannot_be_registered_again(site: Installation, key: Authenticator) -> None:
    mallory = signed_in(site, user(site))
    page = mallory.get(DEVICES)
    copy = changed(key)
    response = copy.register(forms(page)[f"{DEVICES}/add"].options)
    answer = mallory.submit(page, f"{DEVICES}/add", name="mine", response=response)
    assert "credential exists" in json.dumps(refused(site, answer, 403)["detail"]["private"])
    assert "You have none" in text(mallory.get(DEVICES))
    assert sign_in_with(Browser(site), key).status == 303


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"origin": "https://evil.example"}, "Invalid origin"),
        ({"rp_id": "evil.example"}, "Wrong RP ID"),
        ({"flags": UP}, "user verified"),
        ({"client": {"cross_origin": True}}, "frame of another origin"),
        ({"client": {"type": "webauthn.get"}}, "Incorrect type"),
    ],
)
def test_a79_registration_for_another_origin_or_without_verification_is_refused(
    site: Installation, changes: dict[str, object], reason: str
) -> None:
    browser = signed_in(site, user(site))
    page = browser.get(DEVICES)
    wrong = new_passkey(**changes)
    answer = browser.submit(
        page, f"{DEVICES}/add", name="x", response=wrong.register(forms(page)[f"{DEVICES}/add"].options)
    )
    assert reason.lower() in json.dumps(refused(site, answer, 403)["detail"]["private"]).lower()
    assert "You have none" in text(browser.get(DEVICES))


_HOSTILE: dict[str, Callable[[str], str]] = {
    "empty": lambda _: "",
    "not JSON": lambda _: "{",
    "deep JSON": lambda _: "[" * 15_000,
    "a list": lambda _: "[]",
    "long": lambda good: good[:-1] + ',"x":"' + "a" * 17_000 + '"}',
    "no members": lambda good: json.dumps({"id": json.loads(good)["id"]}),
    "numbers": lambda good: json.dumps({**json.loads(good), "response": 1}),
    "a number as id": lambda good: json.dumps({**json.loads(good), "id": 1}),
    "junk data": lambda good: _with(good, authenticatorData=base64url(b"\x00" * 36)),
    "deep CBOR": lambda good: _with(
        good, authenticatorData=base64url(from_base64url(json.loads(good)["response"]["authenticatorData"])[:32] + b"\x85\0\0\0\1" + b"\x81" * 5000)
    ),
    "junk client data": lambda good: _with(good, clientDataJSON=base64url(b"\xff")),
    "no signature": lambda good: _with(good, signature=""),
}  # fmt: skip


def _with(good: str, **members: str) -> str:
    answer = json.loads(good)
    answer["response"].update(members)
    return json.dumps(answer)


@pytest.mark.parametrize("name", _HOSTILE)
def test_a79_hostile_answer_is_refused_and_never_an_error(site: Installation, key: Authenticator, name: str) -> None:
    browser = Browser(site)
    page = browser.get("/login")
    good = changed(key).assertion(forms(page)[PASSKEY].options)
    answer = browser.submit(page, PASSKEY, response=_HOSTILE[name](good))
    refused(site, answer, 403)


def test_a80_counter_that_does_not_rise_blocks_the_passkey_and_alerts(site: Installation) -> None:
    name = user(site)
    original = registered(site, signed_in(site, name))
    copy = changed(original, count=original.count)
    assert sign_in_with(Browser(site), original).status == 303
    assert sign_in_with(Browser(site), original).status == 303
    answer = sign_in_with(Browser(site), copy)
    assert answer.status == 403
    assert "seems to have been copied" in text(answer)
    (event,) = [r for r in site.records(answer.request_id) if r["type"] == "mfa.passkey_copied"]
    assert (event["detail"]["counter"], event["detail"]["expected_over"]) == (1, 2)
    refused_later = sign_in_with(Browser(site), original)
    denied(site, refused_later, "blocked")
    page = Browser(site).sign_in(ALPHA, name, PASSWORD)
    assert page.status == 200, "a copy does not remove the requirement of MFA"
    assert SECOND not in forms(page)


def test_passkey_that_does_not_count_is_accepted_again_and_again(site: Installation) -> None:
    silent = registered(site, signed_in(site, user(site)), count=None)
    assert [sign_in_with(Browser(site), silent).status for _ in range(3)] == [303, 303, 303]


def test_a87_name_of_a_passkey_is_text_on_the_page(site: Installation) -> None:
    browser = signed_in(site, user(site))
    registered(site, browser, name="<script>alert(1)</script>")
    body = browser.get(DEVICES).body
    assert b"<script>alert" not in body
    assert b"&lt;script&gt;alert" in body
