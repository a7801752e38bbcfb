"""Issuers that are slow, hostile, away or not allowed, and floods of tokens: what the whole installation makes of them."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from tests.attack.installation import ALPHA, ROOT, Installation, installed
from tests.attack.tokens import FORM, bring, provider, trust_in, web_identity
from tests.fake_network import FakeNetwork, http
from tests.issuer import Issuer, public_jwk

from daypass.domain.directory import IssuerAllowList
from daypass.domain.events import Event, EventType
from daypass.federation.fetch import Bounds

COUNT = iter(range(1000))


@dataclasses.dataclass
class Case:
    """An issuer of its own for each test, on a network in memory; `role` trusts everyone of it."""

    site: Installation
    issuer: Issuer
    network: FakeNetwork
    role: str

    @property
    def discovery(self) -> str:
        return f"https://{self.issuer.url}/.well-known/openid-configuration"

    @property
    def jwks(self) -> str:
        return f"https://{self.issuer.url}/jwks"

    def publish(self, keys: Any = None) -> None:
        self.network.pages[self.discovery] = http(self.issuer.discovery())
        self.network.pages[self.jwks] = keys if isinstance(keys, (bytes, str)) else http(keys or self.issuer.jwks())

    def bring(self, **more: Any) -> Any:
        return bring(self.site, self.role, self.issuer.token(self.site.wall.time, **more))

    @property
    def fetches(self) -> int:
        return self.network.asked.count(self.jwks)


@pytest.fixture
def case(site: Installation) -> Case:
    number = next(COUNT)
    issuer = Issuer(f"ci-{number}.example.com", alg="ES256")
    network = FakeNetwork()
    fetcher = site.runtime.issuers._getter.fetcher
    assert fetcher.bounds.seconds == 1.8  # A21: the caller is refused within two seconds, all in all
    fetcher._network = network
    made = provider(site, issuer, static_jwks="")
    role = site.role(f"ci-{number}", trust_in(made.arn, StringLike={f"{issuer.url}:sub": "repo:org/*"}))
    found = Case(site, issuer, network, role)
    found.publish()
    return found


@pytest.fixture
def quick(site: Installation, request: pytest.FixtureRequest) -> Iterator[None]:
    """A fetch that hangs is given up after half a second, in place of two; all others have time on any machine."""
    fetcher = site.runtime.issuers._getter.fetcher
    slow = request.node.callspec.params["kind"] == "slow"
    usual, fetcher.bounds = fetcher.bounds, Bounds(seconds=0.5 if slow else 60)
    yield
    fetcher.bounds = usual


def hostile(name: str, issuer: Issuer) -> bytes | str:
    keys = issuer.jwks()["keys"]
    other = public_jwk(Issuer("x", alg="ES256").keys[0][2], kid=keys[0]["kid"])
    twins = json.dumps(issuer.jwks())[1:-1]
    return {
        "huge": http(b" " * 10_485_760),
        "slow": "hang",
        "duplicate kid": http({"keys": [*keys, other]}),
        "too many": http({"keys": [{**keys[0], "kid": f"k{i}"} for i in range(101)]}),
        "twin members": http(f"{{{twins},{twins}}}".encode()),
        "deep": http(b"[" * 100_000),
        "not JSON": http(b"\xff\xfe{"),
        "redirect": http(b"", "302 Found", location="http://169.254.169.254/"),
        "away": http(b"", "503 Service Unavailable"),
        "symmetric": http({"keys": [{"kty": "oct", "k": "AAAA", "kid": keys[0]["kid"]}]}),
    }[name]


KINDS = (
    *("huge", "slow", "duplicate kid", "too many", "twin members", "deep", "not JSON", "redirect", "away", "symmetric"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_a21_key_set_that_is_hostile_or_slow_is_idp_communication_error_and_cached_keys_serve(
    case: Case, quick: None, refused: Callable[..., Any], kind: str
) -> None:
    case.publish(hostile(kind, case.issuer))
    began = time.process_time()
    answer = case.bring()
    assert time.process_time() - began < 2
    record = refused(answer, "IDPCommunicationError", 400)
    assert record["account"] == ALPHA
    assert "169.254" not in answer.text("Message")
    case.publish()
    case.site.wall.time += 30_000
    assert case.bring().status == 200
    case.publish(hostile(kind, case.issuer))
    case.site.wall.time += 3_600_000
    assert case.bring().status == 200
    assert case.bring().status == 200


def test_a22_flood_of_unknown_kids_makes_one_fetch_in_thirty_seconds(case: Case) -> None:
    assert case.bring().status == 200
    assert case.fetches == 1
    began = case.site.wall.time
    for number in range(60):
        answer = case.bring(header={"kid": f"unknown-{number}"})
        assert answer.code == "InvalidIdentityToken"
        case.site.wall.time = began + number * 490
    assert case.fetches == 1  # thirty seconds after the first one there may be another
    case.site.wall.time = began + 60_000
    for number in range(20):
        case.bring(header={"kid": f"another-{number}"})
    assert case.fetches == 2


def test_a22_flood_at_once_is_one_fetch_and_honest_tokens_go_on(case: Case) -> None:
    site = case.site
    assert case.bring().status == 200
    site.wall.time += 60_000
    case.network.pages[case.discovery] = "hang"  # and the issuer does not answer either
    now = site.wall.time
    bad = [case.issuer.token(now, header={"kid": f"unknown-{n}"}) for n in range(50)]
    good = case.issuer.token(now)

    async def flood() -> tuple[bool, list[Any]]:
        waiting = [asyncio.create_task(site.ask("POST", FORM, web_identity(case.role, token))) for token in bad]
        await asyncio.sleep(0.05)
        answers = [await site.ask("POST", FORM, web_identity(case.role, good)) for _ in range(5)]
        still = not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return still, answers

    still, answers = site.run(flood())
    assert [answer.status for answer in answers] == [200] * 5
    assert still, "nobody honest has waited for what the flood waits for"
    assert case.network.asked.count(case.discovery) == 2


def test_rotated_key_is_taken_and_a_withdrawn_one_ends(case: Case) -> None:
    assert case.bring().status == 200
    old = case.issuer.keys[-1]
    case.issuer.rotate(keep=False)
    case.publish()
    case.site.wall.time += 30_000
    assert case.bring().status == 200
    case.issuer.keys.append(old)
    assert case.bring(kid="key-1").code == "InvalidIdentityToken"


async def _kept_keys(site: Installation) -> None:
    """Waits until the issuer's keys are in the database: they are written behind the answer."""
    count = text("SELECT count(*) FROM issuer_key_sets WHERE jwks <> ''")
    for _ in range(3_000):
        if site.runtime.database.read(lambda conn: conn.execute(count).scalar_one()):
            return
        await asyncio.sleep(0.02)
    pytest.fail("the keys were not kept")


def test_restart_while_the_issuer_is_away_takes_its_tokens(tmp_path: Path) -> None:
    issuer = Issuer("ci.example.com", alg="ES256")
    pages = {f"https://{issuer.url}/jwks": http(issuer.jwks())}
    pages[f"https://{issuer.url}/.well-known/openid-configuration"] = http(issuer.discovery())
    with installed(tmp_path) as first:
        first.runtime.issuers._getter.fetcher._network = FakeNetwork(pages)
        arn = provider(first, issuer, static_jwks="").arn
        role = first.role("ci", trust_in(arn, StringLike={f"{issuer.url}:sub": "repo:org/*"}))
        assert bring(first, role, issuer.token(first.wall.time)).status == 200
        first.run(_kept_keys(first))
    wall = first.wall
    wall.time += 20 * 3_600_000
    with installed(tmp_path, wall) as second:
        network = FakeNetwork({}, {issuer.url: []})
        second.runtime.issuers._getter.fetcher._network = network
        assert bring(second, role, issuer.token(wall.time)).status == 200
        assert network.looked_up[issuer.url] == 1
        wall.time += 5 * 3_600_000
        assert bring(second, role, issuer.token(wall.time)).code == "IDPCommunicationError"


# --- SPIFFE


@pytest.mark.parametrize("place", ["url", "file"])
def test_svid_of_the_trust_domain_gets_its_role_and_no_other(tmp_path: Path, place: str) -> None:
    domain = Issuer("example.org", alg="ES256")
    bundle = {"keys": [{**key, "use": "jwt-svid"} for key in domain.jwks()["keys"]], "spiffe_sequence": 1}
    (tmp_path / "bundle.json").write_text(json.dumps(bundle))
    bundle_url = "https://bundles.example.net/example.org"
    source = {"jwks_url": bundle_url} if place == "url" else {"jwks_file": "bundle.json"}
    with installed(tmp_path / "data", federation={"files": str(tmp_path)}) as site:
        site.runtime.issuers._getter.fetcher._network = FakeNetwork({bundle_url: http(bundle)})
        made = provider(site, domain, static_jwks="", spiffe_trust_domain="example.org", **source)
        role = site.role("web", trust_in(made.arn, StringEquals={"example.org:sub": "spiffe://example.org/web"}))
        now = site.wall.time

        def svid(sub: str, **more: Any) -> Any:
            return bring(site, role, domain.token(now, iss=None, sub=sub, **more))

        answer = svid("spiffe://example.org/web")
        assert answer.status == 200, answer.body
        assert answer.text("SubjectFromWebIdentityToken") == "spiffe://example.org/web"
        assert svid("spiffe://example.org/other").code == "AccessDenied"
        for sub in ("spiffe://example.org", "spiffe://other.org/web", "spiffe://example.org/../web", "web"):
            assert svid(sub).code == "InvalidIdentityToken", sub
        assert svid("spiffe://example.org/web", aud="another").code == "InvalidIdentityToken"
        assert svid("spiffe://example.org/web", aud=None).code == "InvalidIdentityToken"


# --- The allow-list


def allow_only(site: Installation, *issuers: str) -> None:
    def change(tx: Any) -> tuple[None, Event]:
        old = tx.get(IssuerAllowList, account=ALPHA)
        if old is not None:
            tx.delete(old)
        if issuers:
            tx.insert(IssuerAllowList(ALPHA, issuers, site.now()))
        return None, Event(EventType.DIRECTORY_CHANGED, site.now(), ALPHA)

    site.run(site.runtime.env.journal.write(change))


def test_issuer_off_the_allow_list_is_refused_at_once_and_reads_as_unknown(
    case: Case, refused: Callable[..., Any]
) -> None:
    site = case.site
    try:
        assert case.bring().status == 200
        allow_only(site, "elsewhere.example.com", f"{case.issuer.url}/*", f"{case.issuer.url}.evil.example")
        record = refused(case.bring(), "InvalidIdentityToken", 400)
        assert "allow-list" in str(record["detail"])
        assert "allow-list" not in case.bring().text("Message")
        params = {"Url": "https://new.example.com", "ClientIDList.member.1": "x"}
        answer = site.call(ROOT, "CreateOpenIDConnectProvider", params, service="iam")
        refused(answer, "InvalidInput", 400)
        allow_only(site, "forge.example.com/ours/*")
        for url in (
            "forge.example.com/ours/../theirs",
            "forge.example.com/ours/%2E%2e/theirs",
            "forge.example.com/ours/.",
        ):
            params["Url"] = f"https://{url}"
            assert site.call(ROOT, "CreateOpenIDConnectProvider", params, service="iam").code == "ValidationError"
        params["Url"] = "https://new.example.com"
        allow_only(site, case.issuer.url, "new.example.com")
        assert case.bring().status == 200
        assert site.call(ROOT, "CreateOpenIDConnectProvider", params, service="iam").status == 200
    finally:
        allow_only(site)
