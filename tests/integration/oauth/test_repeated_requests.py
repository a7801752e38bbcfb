"""A token request that repeats one that was served: what is not read again, and everything that is decided again."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.attack.installation import Answer, Installation
from tests.oauth import FORM, authorization_server, given, refusal, verified
from tests.oauth_client import BEARER_TOKENS, Client, DpopKey, api, register, trusting

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.wire.oauth import registration as repeated
from daypass.wire.oauth import token

API = "https://api.example"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with authorization_server(tmp_path_factory.mktemp("site")) as made:
        yield made


@dataclass
class Machine:
    """A client with a secret, which always sends the same request."""

    site: Installation
    client: Client
    role: str
    secret: str
    read: list[str]

    @property
    def authorization(self) -> tuple[bytes, bytes]:
        return b"authorization", b"Basic " + base64.b64encode(f"{self.client.id}:{self.secret}".encode())

    def ask(self, *headers: tuple[bytes, bytes], body: bytes = b"grant_type=client_credentials", **more: Any) -> Answer:
        own = headers or (self.authorization, *FORM)
        return self.site.send("POST", list(own), body, path=b"/oauth2/token", **more)

    def served(self, *headers: tuple[bytes, bytes], **more: Any) -> dict[str, Any]:
        return given(self.ask(*headers, **more))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The clients of the requests that were read in full and served."""
    keep, found = repeated.RepeatedRequests.keep, list[str]()

    def noted(self: repeated.RepeatedRequests, ctx: Any, request: Any, *args: Any) -> None:
        found.append(request.sender.client.client.id)
        keep(self, ctx, request, *args)

    monkeypatch.setattr(repeated.RepeatedRequests, "keep", noted)
    return found


@pytest.fixture
def machine(site: Installation, read: list[str], request: pytest.FixtureRequest) -> Machine:
    client = register(
        site,
        token_endpoint_auth_method="client_secret_basic",
        fapi_exceptions=["client_secret", *BEARER_TOKENS],
        audiences=[API],
    )
    role = site.role(f"role-{client.id}", trusting(client))
    client.put(roles=[role])
    secret = json.loads(api(site, "POST", f"{client.path}/secrets").body)["client_secret"]
    made = Machine(site, client, role, secret, read)
    made.served()
    made.served()
    assert len(read) == 1, request.node.name
    return made


def test_repeated_request_gets_a_session_of_its_own_on_the_record(site: Installation, machine: Machine) -> None:
    answers = [machine.ask() for _ in range(3)]
    claims = [verified(site, given(answer)["access_token"], API) for answer in answers]
    assert len({one["jti"] for one in claims}) == len({one["urn:daypass:session"]["id"] for one in claims}) == 3
    for answer, one in zip(answers, claims, strict=True):
        [record] = site.records(answer.request_id)
        assert record["session_id"] == one["urn:daypass:session"]["id"]
        assert record["actor"]["federated"]["subject"] == machine.client.id
    assert machine.read == [machine.client.id]


def removed_secret(machine: Machine) -> None:
    [secret] = json.loads(api(machine.site, "GET", machine.client.path).body)["secrets"]
    assert api(machine.site, "DELETE", f"{machine.client.path}/secrets/{secret['id']}").status == 204


def disabled(machine: Machine) -> None:
    assert api(machine.site, "PUT", machine.client.path, {"enabled": False}).status == 200


def deleted(machine: Machine) -> None:
    assert api(machine.site, "DELETE", machine.client.path).status == 204


def put(**settings: Any) -> Callable[[Machine], None]:
    return lambda machine: machine.client.put(**settings)


def other_trust(machine: Machine) -> None:
    name, policy = machine.role.rpartition("/")[2], trusting(machine.client, StringEquals={"aws:SourceIp": "192.0.2.9"})
    assert machine.site.iam("UpdateAssumeRolePolicy", RoleName=name, PolicyDocument=policy).status == 200


def deleted_role(machine: Machine) -> None:
    name = machine.role.rpartition("/")[2]
    assert machine.site.iam("DeleteRole", RoleName=name).status == 200


def blocked(machine: Machine) -> None:
    body = {"subject": "client", "value": machine.client.id, "block": True, "reason": "stolen"}
    answer = api(machine.site, "POST", "/revocations", body)
    assert answer.status in (200, 201), answer.body


def scoped_server(machine: Machine) -> None:
    settings = {"scopes": {"read": {"description": "Reads"}}}
    answer = api(machine.site, "PUT", f"/resource-servers/{API}", {"name": "api", "settings": settings})
    assert answer.status in (200, 201), answer.body


CHANGES: dict[str, tuple[Callable[[Machine], None], str, int]] = {
    "the secret is removed": (removed_secret, "invalid_client", 401),
    "the client is disabled": (disabled, "invalid_client", 401),
    "the client is deleted": (deleted, "invalid_client", 401),
    "another method": (put(token_endpoint_auth_method="client_secret_post"), "invalid_client", 401),
    "the grant is removed": (put(grant_types=[]), "unauthorized_client", 400),
    "no role": (put(roles=[]), "invalid_request", 400),
    "tokens must be bound": (put(dpop_bound_access_tokens=True), "invalid_dpop_proof", 400),
    "the trust policy has a condition": (other_trust, "invalid_grant", 400),
    "the role is deleted": (deleted_role, "invalid_grant", 400),
    "the client is blocked": (blocked, "invalid_grant", 400),
    "its audience requires a scope": (scoped_server, "invalid_scope", 400),
}


@pytest.mark.parametrize("change", CHANGES)
def test_repeated_request_after_a_change_is_refused_at_once(site: Installation, machine: Machine, change: str) -> None:
    make, code, status = CHANGES[change]
    make(machine)
    for _ in range(2):
        refusal(site, machine.ask(), code, status)
    assert machine.read == [machine.client.id]
    api(site, "DELETE", f"/resource-servers/{API}")


def test_repeated_request_after_another_audience_is_registered_gets_a_token_for_it(
    site: Installation, machine: Machine
) -> None:
    machine.client.put(audiences=["https://other.example"])
    assert verified(site, machine.served()["access_token"], "https://other.example")


@pytest.mark.parametrize(
    "other", ["another secret", "another body", "a charset", "two headers", "DPoP", "a certificate"]
)
def test_request_with_anything_else_is_read_again(site: Installation, machine: Machine, other: str) -> None:
    own, (form,) = machine.authorization, FORM
    dpop = DpopKey(site)
    dpop.take(machine.ask(own, form, dpop.header()))
    machine.read.clear()
    if other == "another secret":
        machine.secret = machine.secret[:-1] + ("A" if machine.secret[-1] != "A" else "E")
        refusal(site, machine.ask(), "invalid_client", 401)
        return
    if other == "two headers":
        refusal(site, machine.ask(own, own, form), "invalid_request")
        return
    body = b"grant_type=client_credentials" + (b"&x=1" if other == "another body" else b"")
    headers = {
        "a charset": (own, (form[0], form[1] + b";charset=utf-8")),
        "DPoP": (own, form, dpop.header()),
        "a certificate": (own, form, (b"client-cert", b":AAAA:")),
    }
    answer = machine.served(*headers.get(other, (own, form)), body=body)
    assert answer["token_type"] == ("DPoP" if other == "DPoP" else "Bearer")
    assert machine.read == [machine.client.id]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> repeated.RepeatedRequests:
    made = repeated.RepeatedRequests(3)
    monkeypatch.setattr(token, "REPEATED", made)
    return made


def test_refused_request_is_not_kept(site: Installation, machine: Machine, few: repeated.RepeatedRequests) -> None:
    other_trust(machine)
    refusal(site, machine.ask(), "invalid_grant")
    assert len(few) == 0


def test_repeated_request_refused_has_the_same_record_as_the_first(site: Installation, machine: Machine) -> None:
    other_trust(machine)
    repeated_one = refusal(site, machine.ask(), "invalid_grant")
    first = refusal(
        site, machine.ask((b"authorization", b"basic " + machine.authorization[1][6:]), *FORM), "invalid_grant"
    )
    for one in (repeated_one, first):
        for member in ("at", "request_id", "hash", "seq", "decision"):
            one.pop(member, None)
    assert repeated_one == first


def test_repeated_request_over_the_rate_of_its_client_is_refused(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    charged = list[str]()

    def over(_env: Any, _source: Any, client: str) -> None:
        charged.append(client)
        raise DaypassError(ErrorKind.THROTTLED, "Rate exceeded")

    monkeypatch.setattr(repeated, "charge_client", over)
    assert machine.ask().status == 429
    assert charged == [machine.client.id]


def test_requests_are_kept_up_to_the_limit(machine: Machine, few: repeated.RepeatedRequests) -> None:
    machine.served(body=b"grant_type=client_credentials&n=" + b"1" * 1_024)
    assert len(few) == 0
    for number in range(8):
        machine.served(body=b"grant_type=client_credentials&n=%d" % number)
    assert len(few) == 3


def test_a320_request_of_a_client_with_large_settings_is_not_kept(
    site: Installation, machine: Machine, few: repeated.RepeatedRequests
) -> None:
    machine.client.put(audiences=[f"{API}/{number:0460}" for number in range(10)])
    assert machine.served(body=b"grant_type=client_credentials&resource=" + f"{API}/{1:0460}".encode())["access_token"]
    assert len(few) == 0
