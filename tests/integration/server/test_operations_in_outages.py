"""While the database is unavailable, each way to a session works from memory or reports an error."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.attack.installation import ALPHA, EVERYTHING, ROOT, Answer, Installation, Key, document, installed, trust
from tests.attack.test_administration import api
from tests.attack.test_mfa import Phone
from tests.attack.test_saml import PROVIDER, saml_trust
from tests.attack.test_saml import assume as assume_with_saml
from tests.attack.test_saml import made as saml_response
from tests.attack.test_x509 import Plant, build
from tests.attack.tokens import bring, provider, trust_in
from tests.issuer import Issuer
from tests.oauth import ACCESS_TOKEN, ID_TOKEN, ISSUER, exchange, given
from tests.patience import eventually
from tests.saml_idp import ec_key, metadata, rsa_key
from tests.x509 import NOW

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import EventType
from daypass.ports.directory import StoredKey
from daypass.stores.directory import Directory
from daypass.stores.loading import keep_revokers_loaded, revokers

HOUR_MS = 3_600_000


@dataclass(frozen=True)
class World:
    """A user with a device, and a role for each kind of proof; everything has been used once, so it is in memory."""

    site: Installation
    key: Key
    phone: Phone
    role: str
    issuer: Issuer
    web_role: str
    once: Issuer
    once_role: str
    plant: Plant
    session: Key
    unused_id: str  # of a role

    def web_token(self) -> str:
        return self.issuer.token(self.site.now(), sub="ann")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    settings = {"server": {"public_url": ISSUER}, "journal": {"deadline_seconds": 5}}  # some wait for it
    with installed(tmp_path_factory.mktemp("site"), **settings) as site:
        site.wall.time = max(site.wall.time, int(NOW.timestamp() * 1000))
        arn, key = site.user("ann", policy=EVERYTHING)
        issuer, once = Issuer("idp.example.com", "ES256"), Issuer("once.example.com", "ES256")
        role = site.role("deploy", trust(arn), policy=EVERYTHING)
        trusted = document(
            {"Principal": {"Federated": provider(site, issuer).arn}, "Action": "sts:AssumeRoleWithWebIdentity"}
        )
        web_role = site.role("web", trusted, policy=EVERYTHING)
        once_role = site.role("once", trust_in(provider(site, once, one_time=True).arn))
        site.iam("CreateSAMLProvider", ROOT, Name="idp", SAMLMetadataDocument=metadata([rsa_key(), ec_key()]))
        site.role("federated", saml_trust(PROVIDER), ROOT)
        phone = Phone(site, "ann")
        site.role("unused", trust(ALPHA))
        unused_id = site.iam("GetRole", RoleName="unused").text("RoleId")
        plant = build(site, ROOT, "plant")
        made = World(site, key, phone, role, issuer, web_role, once, once_role, plant, ("", "", ""), unused_id)
        assumed = site.assume(key, role)
        assert assumed.status == 200
        made = replace(made, session=assumed.key)
        for name, use in {**WORKS, **NEEDS_DATABASE}.items():
            answer = use(made)
            assert answer.status in (200, 201), (name, answer.body)
        yield made


def _x509(world: World) -> Answer:
    return world.plant.ask(world.plant.authority.host("O=Acme/CN=host-1", serial=0xBEEF))


def _exchange(world: World) -> Answer:
    return exchange(world.site, world.web_token(), ID_TOKEN, role=world.web_role)


def _chained_exchange(world: World) -> Answer:
    answer = exchange(world.site, world.web_token(), ID_TOKEN, role=world.web_role)
    return exchange(world.site, str(given(answer)["access_token"]), ACCESS_TOKEN)


WORKS: dict[str, Callable[[World], Answer]] = {
    "AssumeRole": lambda w: w.site.assume(w.key, w.role),
    "AssumeRole, with a session policy": lambda w: w.site.assume(w.key, w.role, Policy=EVERYTHING),
    "AssumeRoleWithWebIdentity": lambda w: bring(w.site, w.web_role, w.web_token()),
    "CreateSession": _x509,
    "GetSessionToken": lambda w: w.site.call(w.key, "GetSessionToken"),
    "GetFederationToken": lambda w: w.site.call(w.key, "GetFederationToken", {"Name": "bob"}),
    "GetCallerIdentity": lambda w: w.site.call(w.session, "GetCallerIdentity"),
    "token exchange": _exchange,
    "token exchange of an access token": _chained_exchange,
}
NEEDS_DATABASE: dict[str, Callable[[World], Answer]] = {
    "AssumeRole, with an MFA code": lambda w: w.site.assume(w.key, w.role, **w.phone.with_code(w.phone.code())),
    "GetSessionToken, with an MFA code": lambda w: w.site.call(
        w.key, "GetSessionToken", w.phone.with_code(w.phone.code())
    ),
    "AssumeRoleWithWebIdentity, one-time": lambda w: bring(
        w.site, w.once_role, w.once.token(w.site.now(), sub="ann", jti=f"j{w.site.wall.time}")
    ),
    "AssumeRoleWithSAML": lambda w: assume_with_saml(w.site, saml_response(w.site).encoded()),
    "CreateUser": lambda w: w.site.call(w.key, "CreateUser", {"UserName": f"u{w.site.wall.time}"}, service="iam"),
}


@contextmanager
def outage(site: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing can be read from the database or written to it."""

    def unreadable(*_: Any, **__: Any) -> Any:
        raise DaypassError(ErrorKind.UNAVAILABLE, "The database is unavailable.", private={"database": "gone"})

    def unwritable(**_: Any) -> Any:
        raise OSError("the database is unavailable")

    with monkeypatch.context() as broken:
        broken.setattr(site.runtime.database, "read", unreadable)
        broken.setattr(site.runtime.database, "write_transaction", unwritable)
        yield


@pytest.mark.parametrize("name", WORKS)
def test_session_without_the_database_is_issued_from_memory(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with outage(world.site, monkeypatch):
        answer = WORKS[name](world)
        assert answer.status in (200, 201), answer.body
        journal = world.site.runtime.journal
        assert journal.outage is not None
        assert journal.spool is not None
        assert journal.spool.depth[0] > 0, "recorded before it was answered"


@pytest.mark.parametrize("name", NEEDS_DATABASE)
def test_one_time_proof_without_the_database_is_refused_with_the_reason(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with outage(world.site, monkeypatch):
        world.site.assume(world.key, world.role)  # the outage is known, so nothing waits for the database
        answer = NEEDS_DATABASE[name](world)
    assert answer.status == 503, answer.body
    assert answer.headers["retry-after"]
    assert b"database is unavailable" in answer.body
    assert b"AccessKeyId" not in answer.body


def test_revocation_without_the_database_takes_a_cached_name_or_an_id_and_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def revoke(value: str) -> tuple[int, str]:
        answer = api(world.site, world.key, "POST", "/revocations", body={"subject": "role", "value": value})
        return answer.status, answer.body.decode()

    with outage(world.site, monkeypatch):
        world.site.assume(world.key, world.role)
        assert revoke("federated")[0] == 201
        assert revoke(world.unused_id)[0] == 201
        status, told = revoke("nowhere")
        assert (status, "name the subject by its unique id" in told) == (503, True), told


@pytest.mark.parametrize("through", ["inline", "group", "attached"])
def test_h3_revocation_without_the_database_by_an_operator_who_has_not_asked_before_is_made(
    world: World, monkeypatch: pytest.MonkeyPatch, through: str
) -> None:
    _drained(world.site)
    site, name = world.site, f"operator-{through}"
    narrow = document({"Action": "daypass:RevokeSession", "Resource": "*"})
    _, key = site.user(name, policy=narrow if through == "inline" else "")
    if through == "group":
        site.iam("CreateGroup", GroupName=name)
        site.iam("PutGroupPolicy", GroupName=name, PolicyName="p", PolicyDocument=narrow)
        site.iam("AddUserToGroup", GroupName=name, UserName=name)
    if through == "attached":
        arn = site.iam("CreatePolicy", PolicyName=name, PolicyDocument=narrow).text("Arn")
        site.iam("AttachUserPolicy", UserName=name, PolicyArn=arn)
    directory = site.runtime.directory
    kept = site.runtime.database.read(revokers)
    assert f"access_key:{key[0]}" in kept
    site.run(_looked_up(directory, kept))
    with outage(site, monkeypatch):
        body = {"subject": "access_key", "value": world.session[0], "force": True}
        assert api(site, key, "POST", "/revocations", body=body).status == 201


async def _looked_up(directory: Directory, kept: list[str]) -> None:
    """A server's work of each five seconds."""
    async with asyncio.timeout(30):
        slept = asyncio.Event()

        async def sleep(_: float) -> None:
            slept.set()
            await asyncio.get_running_loop().create_future()

        async def listed(_: Any) -> list[str]:
            return kept

        keeping = asyncio.create_task(keep_revokers_loaded(directory, listed, directory.seen, sleep))
        await slept.wait()
        keeping.cancel()


def test_revocation_without_the_database_of_a_cached_role_sees_the_tags_of_the_role(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _drained(world.site)
    red = {"StringEquals": {"aws:ResourceTag/team": "red"}}
    deny = {"Effect": "Deny", "Action": "daypass:RevokeSession", "Resource": "*", "Condition": red}
    arn, key = world.site.user("eve", policy=document({"Action": "*", "Resource": "*"}, deny))
    answers = {}
    for name, team in (("guarded", "red"), ("open", "blue")):
        role = world.site.role(name, trust(arn))
        world.site.iam("TagRole", RoleName=name, **{"Tags.member.1.Key": "team", "Tags.member.1.Value": team})
        assert world.site.assume(key, role).status == 200
    with outage(world.site, monkeypatch):
        for name in ("guarded", "open"):
            body = {"subject": "role", "value": name}
            answers[name] = api(world.site, key, "POST", "/revocations", body=body).status
    assert answers == {"guarded": 403, "open": 201}


def test_everything_that_was_issued_is_recorded_once_afterwards(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with outage(world.site, monkeypatch):
        made = world.site.assume(world.key, world.role)
        refused = NEEDS_DATABASE["CreateUser"](world)
    _drained(world.site)
    [issued] = [r for r in world.site.records(made.request_id) if r["type"] == EventType.SESSION_ISSUED]
    assert issued["detail"]["access_key_id"] == made.key[0]
    [failed] = world.site.records(refused.request_id)
    assert failed["error"] == "unavailable"
    assert issued["account"] == ALPHA


def _drained(site: Installation) -> None:
    site.run(eventually(lambda: site.runtime.journal.outage is None))


# --- Ring keys whose time to sign ends


def _with_sign_until(world: World, sign_until: int) -> None:
    """The ring keys as they would be had they been made earlier: their time to sign ends then."""
    runtime = world.site.runtime
    kek, changed = runtime._rotation.kek, []
    for key in runtime.rings.stored:
        times = (min(key.not_before, sign_until - 1), sign_until, key.verify_until)
        wrapped = kek.wrap(key.ring, key.id, times, kek.unwrap(key))
        changed.append(StoredKey(key.ring, key.id, wrapped, *times, created_at=key.created_at))
    runtime.rings.adopt(changed)


@pytest.fixture
def _own_times(world: World) -> Iterator[None]:
    yield
    world.site.run(world.site.runtime.rings.load())


@pytest.mark.usefixtures("_own_times")
@pytest.mark.parametrize("name", WORKS)
def test_session_is_issued_with_a_warning_after_the_signing_keys_expired_in_an_outage(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    world = replace(world, session=world.site.assume(world.key, world.role).key)  # other tests have moved the clock
    assert WORKS[name](world).status in (200, 201)  # what it needs is in memory
    with outage(world.site, monkeypatch):
        _with_sign_until(world, world.site.now() - 12 * HOUR_MS)
        answer = WORKS[name](world)
        assert answer.status in (200, 201), answer.body
        ready = world.site.send("GET", path=b"/readyz")
        assert ready.status == 200
        (warning,) = [each for each in json.loads(ready.body)["warnings"] if "have expired" in each]
        assert "signing" in warning
        assert "sealing" in warning
        assert "the next ones need the database" in warning


@pytest.mark.usefixtures("_own_times")
def test_session_is_refused_with_the_reason_a_day_after_the_signing_keys_expired(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert WORKS["AssumeRole"](world).status == 200
    with outage(world.site, monkeypatch):
        _with_sign_until(world, world.site.now() - 25 * HOUR_MS)
        answer = world.site.assume(world.key, world.role)
    assert (answer.status, answer.code) == (503, "ServiceUnavailable"), answer.body
