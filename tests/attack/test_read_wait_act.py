"""Read, wait, act: what decides is checked again in the transaction that acts. Something changes while a password hash is
computed or a person is asked for a second factor; the sign-in that began before it must not end well.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.attack.installation import ALPHA, ROOT, Installation, document, form, trust
from tests.attack.meanwhile import EXPENSIVE, Meanwhile, change, slowly
from tests.attack.tokens import bring, provider, trust_in
from tests.browser import Browser, forms, refused
from tests.directory_service import directory_of
from tests.issuer import Issuer
from tests.oauth import EXCHANGE, FORM, ID_TOKEN, PRESIGNED, presigned
from tests.oauth_client import api, register
from tests.sign_in import (
    PASSWORD,
    allowed,
    members,
    redeemed,
    signed_in,
    site_with_pages,
    target,
    user,
    web_client,
    with_device,
)

from daypass.domain.claims import RequestFacts
from daypass.domain.directory import BrowserSession, LoginProfile, MfaDevice, OAuthClient, Revocation, ScimToken, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.oauth.client import ClientSettings
from daypass.operations import crud_engine as engine
from daypass.operations.iam import login_profiles
from daypass.operations.oauth.client_authentication import AuthenticatedClient, check_current
from daypass.ports import Tx

POD = "system:serviceaccount:shop:orders"
ANOTHER = "Another-Passw0rd-of-9"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with site_with_pages(tmp_path_factory.mktemp("waiting")) as made:
        yield made


def meanwhile(site: Installation, monkeypatch: pytest.MonkeyPatch, act: Meanwhile) -> None:
    """`act` happens once, while a right password waits to be compared with its hash."""
    heavy = site.runtime.env.heavy
    compute, done = heavy.compute, list[bool]()

    async def waiting(account: str, work: Callable[..., Any], *args: Any, quick: bool = False) -> Any:
        result = await compute(account, work, *args, quick=quick)
        if work is login_profiles.matches and result and not done:
            done.append(True)
            await act()
        return result

    monkeypatch.setattr(heavy, "compute", waiting)


def profile_of(tx: Tx, name: str) -> LoginProfile:
    found = tx.get(User, account=ALPHA, name=name)
    assert found is not None
    profile = tx.get(LoginProfile, user_id=found.id)
    assert profile is not None
    return profile


async def iam(site: Installation, action: str, **params: str) -> None:
    body = form(action, params, "iam")
    assert (await site.ask("POST", site.signed(ROOT, body, "iam"), body)).status == 200


def not_signed_in(site: Installation, browser: Browser, name: str) -> str:
    """Signs in with the right password; the reason of the refusal."""
    answer = browser.sign_in(ALPHA, name, PASSWORD)
    assert browser.get("/account").status == 303
    return str(refused(site, answer, answer.status)["detail"]["private"]["reason"])


def test_sign_in_with_the_right_password_after_a_burst_of_wrong_ones_has_locked_the_account_refused(
    site: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, guesser = user(site), Browser(site)
    page = forms(guesser.get("/login"))["/login/password"].fields

    async def guess() -> None:
        for _ in range(login_profiles.MAX_FAILURES):
            headers, body = guesser.posted({**page, "account": ALPHA, "user": name, "password": "wrong"})
            assert (await site.ask("POST", headers, body, path=b"/login/password")).status != 303

    meanwhile(site, monkeypatch, guess)
    assert not_signed_in(site, Browser(site), name) == "locked after wrong passwords"


def test_sign_in_with_a_password_that_is_replaced_while_its_hash_waits_refused(
    site: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = user(site)
    meanwhile(site, monkeypatch, lambda: iam(site, "UpdateLoginProfile", UserName=name, Password=ANOTHER))
    assert not_signed_in(site, Browser(site), name) == "changed meanwhile"


def test_sign_in_of_a_user_whose_password_is_removed_while_its_hash_waits_refused(
    site: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = user(site)
    meanwhile(site, monkeypatch, lambda: iam(site, "DeleteLoginProfile", UserName=name))
    assert not_signed_in(site, Browser(site), name) == "changed meanwhile"


def test_sign_in_without_mfa_of_a_user_who_gets_a_device_meanwhile_refused(
    site: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = user(site)

    def enable(tx: Tx) -> None:
        found = tx.get(User, account=ALPHA, name=name)
        assert found is not None
        device = MfaDevice(
            serial=f"arn:aws:iam::{ALPHA}:mfa/{name}",
            account=ALPHA,
            name=name,
            path="/",
            created_at=1,
            sealed_seed=b"x",
            owner_id=found.id,
            enabled_at=1,
        )
        tx.insert(device)

    meanwhile(site, monkeypatch, lambda: change(site, enable))
    assert not_signed_in(site, Browser(site), name) == "changed meanwhile"


@pytest.mark.parametrize("what", ["lock", "device"])
def test_second_factor_after_a_lock_or_the_removal_of_the_device_signs_nobody_in(site: Installation, what: str) -> None:
    name, browser = user(site), Browser(site)
    code = with_device(site, name)
    page = browser.sign_in(ALPHA, name, PASSWORD)
    if what == "lock":
        until = site.now() + 900_000
        site.run(change(site, lambda tx: tx.replace(replace(profile_of(tx, name), locked_until=until))))
    else:
        site.iam("DeactivateMFADevice", UserName=name, SerialNumber=f"arn:aws:iam::{ALPHA}:mfa/{name}")
    answer = browser.submit(page, "/login/code", code=code.at(site.now() // 1000))
    refused(site, answer, answer.status)
    assert browser.get("/account").status == 303


def test_sign_in_while_nothing_changes_still_works(site: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing() -> None:
        return

    meanwhile(site, monkeypatch, nothing)
    assert signed_in(site, user(site)).get("/account").status == 200


# --- Sources -----------------------------------------------------------------------------------------------------------


def test_guesses_from_addresses_of_one_ipv6_network_wait_in_one_lane(
    site: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes, compute = set[str](), site.runtime.env.heavy.compute

    async def noting(account: str, work: Callable[..., Any], *args: Any, quick: bool = False) -> Any:
        lanes.add(account)
        return await compute(account, work, *args, quick=quick)

    monkeypatch.setattr(site.runtime.env.heavy, "compute", noting)
    monkeypatch.setattr("daypass.wire.app.ClientAddress.of", lambda *_: (next(addresses), True, False))
    addresses = (f"2001:db8:1:2::{number:x}" for number in range(1, 100))
    for _ in range(5):
        assert Browser(site).sign_in(ALPHA, "nobody", "guess").status != 303
    assert lanes == {"2001:db8:1:2::/64"}


def test_source_of_a_request_is_its_network() -> None:
    def lane(address: str) -> str:
        return RequestFacts("r", 0, "", address, "").source.lane

    assert lane("2001:db8:1:2::1") == lane("2001:db8:1:2:ffff::9") != lane("2001:db8:1:3::1")
    assert lane("192.0.2.1") == lane("::ffff:192.0.2.1") != lane("192.0.2.2")


@pytest.mark.parametrize("path", ["/oauth2/device_authorization", "/oauth2/par"])
def test_requests_of_a_public_client_that_store_something_are_charged_to_their_network(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    address = ["192.0.2.1"]
    monkeypatch.setattr("daypass.wire.app.ClientAddress.of", lambda *_: (address[0], True, False))
    rates = {"failures_per_second": 1, "failures_burst": 5}
    with site_with_pages(tmp_path, rates=rates) as site:
        grants = ["authorization_code", "urn:ietf:params:oauth:grant-type:device_code"]
        client = web_client(site, grant_types=grants)
        sent = {"client_id": client.id, "scope": "openid"}
        if path == "/oauth2/par":
            sent |= {
                "response_type": "code",
                "redirect_uri": "https://app.example/callback",
                "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
                "code_challenge_method": "S256",
            }

        def ask() -> int:
            return site.send("POST", FORM, urlencode(sent).encode(), path=path.encode()).status

        statuses = [ask() for _ in range(12)]
        assert statuses[0] in (200, 201)
        assert statuses.count(429) >= 6
        address[0] = "192.0.2.2"
        assert ask() == statuses[0]


@pytest.mark.parametrize("what", ["permission", "key", "session"])
def test_a617_password_is_not_set_by_who_has_lost_permission_or_credentials_while_it_was_hashed(
    site: Installation, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    name = f"setter-{what}"
    _, key = site.user(name, policy=document({"Action": ["iam:*", "sts:*"], "Resource": "*"}))
    site.user(f"victim-{what}")
    caller = key
    if what == "session":
        role = site.role("setters", trust(ALPHA), policy=document({"Action": "iam:*", "Resource": "*"}))
        given = site.call(key, "AssumeRole", {"RoleArn": role, "RoleSessionName": "shift"})
        assert given.status == 200, given.body
        caller = given.key
    run = engine._Request._run

    async def slowly(request: Any, work: Any, *args: Any, **more: Any) -> Any:
        result = await run(request, work, *args, **more)
        if work is engine._gather and request.call.caller.name != "root":
            if what == "permission":
                await iam(site, "DeleteUserPolicy", UserName=name, PolicyName="p")
            elif what == "key":
                await iam(site, "UpdateAccessKey", UserName=name, AccessKeyId=key[0], Status="Inactive")
            else:
                session = request.call.caller.session.session_id
                ended = Revocation("r", ALPHA, "session", session, issued_before=site.now(), created_at=site.now())
                await change(site, lambda tx: tx.insert(ended))
        return result

    monkeypatch.setattr(engine._Request, "_run", slowly)
    asked = {"UserName": f"victim-{what}", "Password": PASSWORD}
    answer = site.call(caller, "CreateLoginProfile", asked, service="iam")
    monkeypatch.undo()
    assert answer.status == 403, answer.body
    reasons = {"permission": None, "key": "access key is inactive", "session": "revoked"}
    (record,) = site.records(answer.request_id)
    assert record["detail"]["private"].get("reason") == reasons[what]
    assert site.call(ROOT, "GetLoginProfile", {"UserName": f"victim-{what}"}, service="iam").code == "NoSuchEntity"


@pytest.mark.parametrize("action", ["AssumeRole", "CreateGroup"])
@pytest.mark.parametrize("what", ["key", "revoked", "expired", "deleted"])
def test_a617_decision_that_takes_long_allows_nothing_to_who_has_lost_the_credentials_meanwhile(
    site: Installation, monkeypatch: pytest.MonkeyPatch, what: str, action: str
) -> None:
    name = f"slow-{what}-{action}"
    policy = document({"Action": ["iam:*", "sts:*"], "Resource": "*", **EXPENSIVE})
    _, caller = site.user(name, policy=policy)
    role = site.role(name, trust(ALPHA), policy=policy)
    if what in {"revoked", "expired"}:
        caller = site.assume(caller, role).key
    env = site.runtime.env
    heavy, compute = env.heavy, env.heavy.compute

    async def slowly(account: str, work: Any, *args: Any, **more: Any) -> Any:
        result = await compute(account, work, *args, **more)
        monkeypatch.setattr(heavy, "compute", compute)
        if what == "key":
            await iam(site, "UpdateAccessKey", UserName=name, AccessKeyId=caller[0], Status="Inactive")
        elif what == "deleted":
            await iam(site, "DeleteAccessKey", UserName=name, AccessKeyId=caller[0])
        elif what == "revoked":
            view = await env.directory.role(ALPHA, name)
            assert view is not None
            ended = Revocation(name, ALPHA, "role", view.role.id, issued_before=site.now(), created_at=site.now())
            await change(site, lambda tx: tx.insert(ended))
        else:
            site.wall.time += 3_601_000
        return result

    monkeypatch.setattr("daypass.operations.authorize.INLINE", 0)
    monkeypatch.setattr(heavy, "compute", slowly)
    asked = {"RoleArn": role, "RoleSessionName": "late"} if action == "AssumeRole" else {"GroupName": name}
    answer = site.call(caller, action, asked, service="sts" if action == "AssumeRole" else "iam")
    assert heavy.compute is not slowly
    assert answer.status == 403, answer.body
    reasons = {"key": "access key is inactive", "deleted": "access key is inactive"}
    (record,) = site.records(answer.request_id)
    assert record["detail"]["private"]["reason"] == reasons.get(what, what)
    monkeypatch.undo()
    assert site.call(ROOT, "GetGroup", {"GroupName": name}, service="iam").code == "NoSuchEntity"


LOST = {
    "nothing": (200, "", ""),
    "key of the actor": (400, "invalid_request", "access key is inactive"),
    "actor": (400, "invalid_request", "revoked"),
    "client": (401, "invalid_client", "the client was disabled, or its secret removed, meanwhile"),
    "provider": (400, "invalid_request", "the provider was changed or deleted meanwhile"),
}


@pytest.mark.parametrize("what", LOST)
def test_a617_exchange_whose_actor_client_or_provider_ends_while_it_is_decided_gives_no_token(
    site: Installation, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    name = what.replace(" ", "-")
    issuer = Issuer(f"{name}.example.com", alg="ES256")
    arn = provider(site, issuer).arn
    audience = {"StringEquals": {f"{issuer.url}:aud": issuer.audience}, "StringLike": {"sts:RoleSessionName": "*n*n*"}}
    role = site.role(f"acted-{name}", trust_in(arn, **audience))
    _, key = site.user(f"actor-{name}", policy=document({"Action": "*", "Resource": "*"}))
    actor = key
    if what == "actor":
        own = site.role("acting", trust(ALPHA), policy=document({"Action": "*", "Resource": "*"}))
        actor = site.assume(key, own).key
    client = register(site, grant_types=[EXCHANGE], roles=["*"], fapi_exceptions=["bearer_tokens"])

    async def lose() -> None:
        env = site.runtime.env
        if what == "key of the actor":
            await iam(site, "UpdateAccessKey", UserName=f"actor-{name}", AccessKeyId=key[0], Status="Inactive")
        elif what == "provider":
            await iam(site, "DeleteOpenIDConnectProvider", OpenIDConnectProviderArn=arn)
        elif what == "actor":
            view = await env.directory.role(ALPHA, "acting")
            assert view is not None
            ended = Revocation(name, ALPHA, "role", view.role.id, issued_before=site.now(), created_at=site.now())
            await change(site, lambda tx: tx.insert(ended))
        elif what == "client":
            await change(site, lambda tx: tx.replace(replace(tx.get(OAuthClient, id=client.id), enabled=False)))

    slowly(site, monkeypatch, "_admitted", lose)
    sent = {
        "subject_token": issuer.token(site.now(), sub="ann"),
        "subject_token_type": ID_TOKEN,
        "actor_token": presigned(site, actor),
        "actor_token_type": PRESIGNED,
        "role": role,
    }
    answer = client.token(grant=EXCHANGE, **sent)
    status, code, reason = LOST[what]
    assert (answer.status, members(answer).get("error", "")) == (status, code), answer.body
    records = site.records(answer.request_id)
    assert [each["detail"].get("private", {}).get("reason", "") for each in records] == [reason]
    assert [bool(each.get("session_id")) for each in records] == [status == 200]


@pytest.mark.parametrize("act", ["request", "vote", "simulate"])
def test_a617_request_or_vote_of_a_person_whose_key_ends_while_it_is_checked_counts_for_nothing(
    site: Installation, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    people = {
        each: site.user(f"{each}-{act}", policy=document({"Action": "*", "Resource": "*"})) for each in ("a", "b")
    }
    gated = {"Condition": {"Bool": {"daypass:Approved": "true"}}}
    role = site.role(f"gated-{act}", trust(f"arn:aws:iam::{ALPHA}:root", **gated))
    stages = [{"name": "lead", "approvers": {"principals": [f"user/b-{act}"]}}]
    rule = {"roles": [f"role/gated-{act}"], "requesters": {"principals": [f"user/a-{act}"]}, "stages": stages}
    assert api(site, "PUT", f"/approval-rules/{act}", {"document": json.dumps(rule)}).status == 200
    asked: dict[str, Any] = {"roles": [role], "reason": "a good reason"}
    long = document(*({"Action": f"s3:{act}{number}", "Resource": "*"} for number in range(25)))
    who = "b" if act == "vote" else "a"
    _, key = people[who]
    path = "/simulate" if act == "simulate" else "/access-requests"
    if act == "vote":
        made = members(api(site, "POST", path, asked, people["a"][1]))
        seen = members(api(site, "GET", f"{path}/{made['id']}", key=key))
        path, asked = f"{path}/{made['id']}/approve", {"binding": seen["binding"]}
    asked = (
        {"actions": ["s3:GetObject"], "principal": f"arn:aws:iam::{ALPHA}:user/a-simulate"}
        if act == "simulate"
        else asked | {"policy": long}
    )
    end = {"UserName": f"{who}-{act}", "AccessKeyId": key[0], "Status": "Inactive"}
    work = "_answers" if act == "simulate" else "_check"
    slowly(site, monkeypatch, work, lambda: iam(site, "UpdateAccessKey", **end))
    answer = api(site, "POST", path, asked, key)
    assert answer.status == 403, answer.body
    (record,) = site.records(answer.request_id)
    assert record["detail"]["private"]["reason"] == "access key is inactive"
    waiting = members(api(site, "GET", "/access-requests?state=pending"))["access_requests"]
    assert [each["missing"] for each in waiting if role in str(each)] == [{f"{act}/lead": 1}] * (act == "vote")


@pytest.mark.parametrize("what", ["deleted", "expired"])
def test_a617_search_by_a_scim_token_that_ends_meanwhile_shows_nothing(
    site: Installation, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    directory = directory_of(site, f"scim-{what}", days=1)
    directory.user(f"someone-{what}")

    def delete(tx: Tx) -> None:
        found = tx.get(ScimToken, account=ALPHA, name=f"scim-{what}")
        assert found is not None
        tx.delete(found)

    async def lose() -> None:
        if what == "deleted":
            await change(site, delete)
        else:
            site.wall.time += 86_400_000

    path = "Users?filter=title%20eq%20%22x%22"
    assert directory.ok("GET", path)["totalResults"] == 0
    slowly(site, monkeypatch, "_scan", lose)
    answer = directory.send("GET", path)
    assert answer.status == 401, answer.body
    (record,) = site.records(answer.request_id)
    assert record["detail"]["private"]["reason"] == "SCIM token has ended"


# --- Proofs and clients --------------------------------------------------------------------------------------------------


def test_token_of_a_provider_that_is_deleted_while_it_is_verified_gives_no_session(
    site: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer = Issuer("slow.example.com", alg="ES256")
    arn = provider(site, issuer).arn
    role = site.role("slow", trust_in(arn, StringEquals={f"{issuer.url}:aud": issuer.audience}))
    token = issuer.token(site.now(), sub="ann")
    assert bring(site, role, token).status == 200
    verify = site.runtime.env.tokens.verify

    async def slowly(*args: Any, **more: Any) -> Any:
        proof = await verify(*args, **more)
        await iam(site, "DeleteOpenIDConnectProvider", OpenIDConnectProviderArn=arn)
        return proof

    monkeypatch.setattr(site.runtime.env.tokens, "verify", slowly)
    answer = bring(site, role, token)
    assert (answer.status, answer.code) == (400, "InvalidIdentityToken")


@pytest.mark.parametrize("what", ["permission", "key"])
def test_a616_node_that_loses_permission_or_key_while_a_pod_is_admitted_gets_no_session(
    site: Installation, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    issuer = Issuer(f"cluster-{what}.example.com", alg="ES256", audience="pods.eks.amazonaws.com")
    provider(site, issuer)
    actions = ["sts:AssumeRole", "sts:TagSession"]
    role = site.role(
        f"pod-{what}", document({"Principal": {"Service": issuer.audience}, "Action": actions, **EXPENSIVE})
    )
    subject = {"subject": f"{what}/shop/orders", "role": role, "issuer": f"https://{issuer.url}"}
    assert api(site, "POST", "/pod-identity-associations", subject).status == 201
    permission = document({"Action": "eks-auth:AssumeRoleForPodIdentity", "Resource": "*"})
    _, node = site.user(f"node-{what}", policy=permission)
    path, body = f"/clusters/{what}/assume-role-for-pod-identity", {"token": issuer.token(site.now(), sub=POD)}

    def asked() -> int:
        raw = json.dumps(body).encode()
        headers = site.signed(node, raw, "eks-auth", method="POST", path=path)
        return site.send("POST", headers, raw, path=path.encode()).status

    if what == "key":
        ended = {"UserName": "node-key", "AccessKeyId": node[0], "Status": "Inactive"}
        slowly(site, monkeypatch, "_admitted", lambda: iam(site, "UpdateAccessKey", **ended))
        assert asked() == 403
        return
    assert asked() == 200
    verify, denied = site.runtime.env.tokens.verify, document({"Effect": "Deny", "Action": "*", "Resource": "*"})

    async def verified(*args: Any, **more: Any) -> Any:
        proof = await verify(*args, **more)
        await iam(site, "PutUserPolicy", UserName=f"node-{what}", PolicyName="own", PolicyDocument=denied)
        return proof

    monkeypatch.setattr(site.runtime.env.tokens, "verify", verified)
    assert asked() == 403


@pytest.mark.parametrize("what", ["disabled", "deleted", "person signed out"])
def test_code_of_a_client_or_person_that_changes_while_it_is_redeemed_gives_no_token(
    site: Installation, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    client = web_client(site)
    name = user(site)
    code = allowed(signed_in(site, name), target(client))["code"]
    commit = site.runtime.env.journal.write

    async def slowly(change: Any, *args: Any, **more: Any) -> Any:
        monkeypatch.setattr(site.runtime.env.journal, "write", commit)

        def act(tx: Tx) -> None:
            if what == "person signed out":
                person = profile_of(tx, name).user_id
                tx.delete(tx.find(BrowserSession, account=ALPHA, principal_id=person)[0])
                return
            found = tx.get(OAuthClient, account=ALPHA, id=client.id)
            assert found is not None
            tx.delete(found) if what == "deleted" else tx.replace(replace(found, enabled=False))

        event = Event(EventType.DIRECTORY_CHANGED, site.now(), ALPHA)
        await commit(lambda tx: (act(tx), event), account=ALPHA)
        return await commit(change, *args, **more)

    monkeypatch.setattr(site.runtime.env.journal, "write", slowly)
    answer = redeemed(client, code)
    assert answer.status in (400, 401)
    assert members(answer)["error"] == ("invalid_grant" if what == "person signed out" else "invalid_client")


KNOWN = OAuthClient("DPCLAAAAAAAAAAAAAAAAA", ALPHA, "app", 1, 1, settings="{}", secrets=(("a", 1, "x"), ("b", 2, "y")))


@pytest.mark.parametrize(
    ("now", "kind"),
    [
        (KNOWN, None),
        (replace(KNOWN, secrets=(*KNOWN.secrets, ("c", 3, "z"))), None),
        (replace(KNOWN, secrets=KNOWN.secrets[:1]), ErrorKind.INVALID_CLIENT),
        (replace(KNOWN, enabled=False), ErrorKind.INVALID_CLIENT),
        (None, ErrorKind.INVALID_CLIENT),
        (replace(KNOWN, settings='{"roles":[]}'), ErrorKind.UNAVAILABLE),
    ],
)
def test_client_that_acts_must_be_the_one_that_authenticated(now: OAuthClient | None, kind: ErrorKind | None) -> None:
    """A secret that is added meanwhile changes nothing: rotation refuses nobody."""
    client = AuthenticatedClient(KNOWN, ClientSettings())
    if kind is None:
        check_current(client, now)
        return
    with pytest.raises(DaypassError) as caught:
        check_current(client, now)
    assert caught.value.kind is kind
