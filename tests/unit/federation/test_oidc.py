"""The verifier of tokens: what it lets through becomes a proof, and every refusal says what would help."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.issuer import Issuer

from daypass.domain.claims import PrincipalKind, Proof
from daypass.domain.directory import OidcProvider
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.provider_settings import ProviderSettings
from daypass.federation.oidc import OidcVerifier
from daypass.ports import KeySet

NOW = 1_764_000_000_000
SECONDS = NOW // 1000
ACCOUNT = "111111111111"


class Published:
    """The keys that an issuer has published; it counts who asked for which."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.asked: list[str] = []

    async def keys(self, provider: OidcProvider, kid: str, now: int) -> KeySet:
        assert now == NOW
        self.asked.append(kid)
        return KeySet(json.dumps(self.issuer.jwks()).encode(), "")


class Bench:
    """A verifier, an issuer, and a provider for it."""

    def __init__(self, source: Issuer | None = None, checks: Any = (), **settings: Any) -> None:
        self.issuer = source or Issuer(alg="ES256")
        self.keys = Published(self.issuer)
        self.skews: list[tuple[str, float]] = []
        self.verifier = OidcVerifier(
            self.keys, checks=checks, observe_skew=lambda url, skew: self.skews.append((url, skew))
        )
        self.provider = OidcProvider(
            ACCOUNT, self.issuer.url, NOW, (self.issuer.audience, "app"), settings=json.dumps(settings)
        )

    async def verify(self, text: str = "", now: int = NOW, **claims: Any) -> Proof:
        token = self.verifier.read(text or self.issuer.token(now, **claims))
        return await self.verifier.verify(self.provider, token, NOW)

    async def refusal(self, text: str = "", **claims: Any) -> DaypassError:
        with pytest.raises(DaypassError) as caught:
            await self.verify(text, **claims)
        return caught.value


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_verify_honest_token_becomes_a_proof(bench: Bench) -> None:
    proof = await bench.verify(jti="7", groups=["a", "b"])
    assert (proof.kind, proof.method, proof.account) == (PrincipalKind.WEB_IDENTITY, "oidc", ACCOUNT)
    assert proof.provider == f"arn:aws:iam::{ACCOUNT}:oidc-provider/idp.example.com"
    assert (proof.subject, proof.issuer) == ("repo:org/name:ref:refs/heads/main", "https://idp.example.com")
    assert proof.audience == "daypass"
    assert proof.keys["idp.example.com:sub"] == proof.subject
    assert proof.keys["idp.example.com:aud"] == "daypass"
    assert proof.keys["idp.example.com:groups"] == ("a", "b")
    assert (proof.one_time, proof.not_after) == (None, 0)
    assert proof.record["jti"] == "7"
    assert bench.keys.asked == ["key-1"]
    assert bench.skews == [("idp.example.com", 0.0)]


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
async def test_verify_keys_that_were_rotated_serve_as_long_as_they_are_published(alg: str) -> None:
    bench = Bench(Issuer(alg=alg))
    old = bench.issuer.token(NOW)
    bench.issuer.rotate()
    assert await bench.verify(old)
    assert await bench.verify()
    bench.issuer.rotate(keep=False)
    error = await bench.refusal(old)
    assert "no key named 'key-1'" in error.private["reason"]


# --- Before the signature is known to be good ------------------------------------------------------------------------


async def test_verify_every_unsigned_refusal_reads_alike(bench: Bench) -> None:
    forger = Issuer(alg="ES256")
    texts = [
        forger.token(NOW),
        forger.token(NOW, header={"kid": "other"}),
        forger.token(NOW, aud="nobody"),
        forger.token(NOW, exp=1),
        Issuer(alg="EdDSA").token(NOW),
    ]
    errors = [await bench.refusal(text) for text in texts]
    assert {error.kind for error in errors} == {ErrorKind.INVALID_IDENTITY_TOKEN}
    assert len({error.public for error in errors}) == 1
    assert errors[0].public.startswith("No OpenIDConnect provider found in your account for https://idp.example.com")
    assert not bench.skews


async def test_verify_algorithm_that_the_provider_does_not_allow_is_refused_in_the_same_words() -> None:
    bench = Bench(algorithms=["RS256"])
    error = await bench.refusal()
    assert error.public.startswith("No OpenIDConnect provider found")
    assert "ES256" in error.private["reason"]


@pytest.mark.parametrize("settings", ["", "[]", '{"one_time":1}', '{"leeway_seconds":10000}'])
async def test_verify_settings_that_cannot_be_read_fail_closed(bench: Bench, settings: str) -> None:
    bench.provider = OidcProvider(ACCOUNT, bench.issuer.url, NOW, ("daypass",), settings=settings)
    assert (await bench.refusal()).kind is ErrorKind.INVALID_IDENTITY_TOKEN


async def test_verify_provider_whose_url_could_be_a_service_prefix_is_refused() -> None:
    bench = Bench(Issuer("aws", alg="ES256"))
    error = await bench.refusal(SourceIp="10.0.0.1")
    assert "condition keys" in error.private["reason"]


async def test_read_malformed_token_says_what_is_wrong_with_it(bench: Bench) -> None:
    for text, part in (
        ("x", "compact"),
        ("a.b.c.d.e", "encrypted"),
        (bench.issuer.token(NOW, header={"crit": []}), "crit"),
    ):
        with pytest.raises(DaypassError) as caught:
            bench.verifier.read(text)
        assert caught.value.kind is ErrorKind.INVALID_IDENTITY_TOKEN
        assert part in caught.value.public
    assert not bench.keys.asked


@pytest.mark.parametrize("issuer", [None, 7, "", ["https://idp.example.com"], "https://" + "x" * 256])
def test_read_token_without_an_issuer_is_refused(bench: Bench, issuer: Any) -> None:
    with pytest.raises(DaypassError, match="iss"):
        bench.verifier.read(bench.issuer.token(NOW, iss=issuer))


def test_read_gives_the_issuer_as_the_token_writes_it(bench: Bench) -> None:
    for issuer, url in (
        ("https://A.example/", "A.example/"),
        ("http://a.example", "a.example"),
        ("a.example", "a.example"),
    ):
        token = bench.verifier.read(bench.issuer.token(NOW, iss=issuer))
        assert (token.unverified_issuer, token.unverified_url) == (issuer, url)


# --- Issuer, kind, audience, subject ---------------------------------------------------------------------------------


async def test_verify_issuer_of_the_settings_is_the_only_one() -> None:
    bench = Bench(Issuer(issuer="http://idp.example.com", alg="ES256"), issuer="http://idp.example.com")
    assert (await bench.verify()).issuer == "http://idp.example.com"
    assert "issuer" in (await bench.refusal(iss="https://idp.example.com")).public


@pytest.mark.parametrize("typ", [None, "JWT", "jwt", "application/jwt", "JOSE"])
async def test_verify_type_of_an_identity_token_is_taken(bench: Bench, typ: str | None) -> None:
    assert await bench.verify(bench.issuer.token(NOW, header={"typ": typ}))


async def test_verify_access_tokens_are_taken_when_the_settings_say_so() -> None:
    bench = Bench(token_types=["JWT", "at+jwt"])
    assert await bench.verify(bench.issuer.token(NOW, header={"typ": "at+jwt"}, typ="Bearer"))
    assert await bench.refusal(typ="Refresh")


async def test_verify_audience_is_named_in_the_refusal(bench: Bench) -> None:
    message = "Incorrect token audience: audience 'x' is not among this provider's client ids"
    assert (await bench.refusal(aud="x")).public == message


async def test_verify_audiences_that_are_all_client_ids_are_taken(bench: Bench) -> None:
    proof = await bench.verify(aud=["daypass", "app"])
    assert (proof.audience, proof.keys["idp.example.com:aud"]) == ("daypass", ("daypass", "app"))


async def test_verify_authorized_party_takes_the_place_of_the_audience(bench: Bench) -> None:
    proof = await bench.verify(azp="app")
    assert proof.audience == "app"
    assert (proof.keys["idp.example.com:aud"], proof.keys["idp.example.com:oaud"]) == ("app", "daypass")
    assert proof.keys["idp.example.com:azp"] == "app"


@pytest.mark.parametrize("azp", ["other", "", 7, ["app"]])
async def test_verify_authorized_party_that_is_no_client_id_is_refused(bench: Bench, azp: Any) -> None:
    assert "authorized party" in (await bench.refusal(azp=azp)).public


@pytest.mark.parametrize("subject", ["8443:ann", "1:", "443/realms/a:ann"])
async def test_a221_verify_subject_that_could_be_of_an_issuer_at_a_port_of_the_host_is_refused(
    bench: Bench, subject: str
) -> None:
    """`…:oidc-provider/idp.example.com:8443:ann` is ann of the issuer `idp.example.com:8443`, also as an actor."""
    assert "port" in (await bench.refusal(sub=subject)).public


@pytest.mark.parametrize("subject", ["8443", "844300:ann", "a:8443:ann", ":8443:ann", "8443a:ann"])
async def test_verify_subject_with_colons_that_names_nobody_else_is_accepted(bench: Bench, subject: str) -> None:
    assert (await bench.verify(sub=subject)).subject == subject


@pytest.mark.parametrize("subject", [None, "", "x" * 256, "a\x00b", "a\nb", 7, ["a"], True])
async def test_verify_subject_that_is_no_printable_name_is_refused(bench: Bench, subject: Any) -> None:
    assert "sub" in (await bench.refusal(sub=subject)).public


# --- Times -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [True, "1764000300", 1764000300.5, -1, 10**12, [1764000300], {}])
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
async def test_a18_verify_time_that_is_no_whole_number_of_seconds_is_refused(
    bench: Bench, name: str, value: Any
) -> None:
    error = await bench.refusal(**{name: value})
    assert (error.kind, name in error.public) == (ErrorKind.INVALID_IDENTITY_TOKEN, True)


async def test_a18_verify_token_that_never_ends_is_refused(bench: Bench) -> None:
    assert (await bench.refusal(exp=None)).public == "Missing a required claim: exp"


async def test_verify_times_hold_to_the_second_of_the_leeway() -> None:
    bench = Bench(leeway_seconds=30)
    assert await bench.verify(exp=SECONDS - 29)
    assert (await bench.refusal(exp=SECONDS - 30)).kind is ErrorKind.EXPIRED_IDENTITY_TOKEN
    for name in ("nbf", "iat"):
        assert await bench.verify(**{name: SECONDS + 30})
        assert (await bench.refusal(**{name: SECONDS + 31})).kind is ErrorKind.INVALID_IDENTITY_TOKEN


async def test_f3_refusals_by_time_name_both_clocks_and_the_leeway(bench: Bench) -> None:
    expired = await bench.refusal(exp=SECONDS - 3600)
    assert expired.public == (
        "Token expired: it was valid until 2025-11-24T15:00:00Z (exp); this server's time is 2025-11-24T16:00:00Z, "
        "and 60 seconds of leeway are given"
    )
    early = await bench.refusal(nbf=SECONDS + 3600)
    assert "2025-11-24T17:00:00Z (nbf)" in early.public
    assert "2025-11-24T16:00:00Z" in early.public
    assert early.private["times"]["nbf"] == SECONDS + 3600


async def test_verify_skew_is_told_even_of_a_token_that_time_refuses(bench: Bench) -> None:
    await bench.refusal(iat=SECONDS + 3600)
    assert bench.skews == [("idp.example.com", -3600.0)]


async def test_verify_age_is_limited_where_the_settings_say_so() -> None:
    bench = Bench(max_age_seconds=300)
    assert await bench.verify(iat=SECONDS - 359)
    assert "300 seconds ago" in (await bench.refusal(iat=SECONDS - 360)).public
    assert (await bench.refusal(iat=None)).public == "Missing a required claim: iat"


# --- What else comes of it -------------------------------------------------------------------------------------------


async def test_verify_one_time_tokens_have_an_id_of_account_provider_and_jti() -> None:
    bench = Bench(one_time=True, leeway_seconds=10)
    first = (await bench.verify(jti="a")).one_time
    assert first is not None
    assert (first.purpose, first.expires_at) == ("jwt", (SECONDS + 310) * 1000)
    ids = {first.id, (await bench.verify(jti="b")).one_time.id}  # type: ignore[union-attr]
    bench.provider = OidcProvider(
        "222222222222", bench.provider.url, NOW, bench.provider.client_ids, settings=bench.provider.settings
    )
    ids.add((await bench.verify(jti="a")).one_time.id)  # type: ignore[union-attr]
    assert len(ids) == 3
    for jti in (None, "", 7):
        assert "jti" in (await bench.refusal(jti=jti)).public


async def test_verify_tags_and_source_identity_come_with_the_proof() -> None:
    bench = Bench(tag_claims={"repository": "Repo"}, transitive_tags=["Repo"], source_identity_claim="actor")
    proof = await bench.verify(repository="org/name", actor="ann")
    assert (proof.tags, proof.transitive_keys, proof.source_identity) == ((("Repo", "org/name"),), ("Repo",), "ann")
    error = await bench.refusal(repository=["a", "b"])
    assert (error.kind, "repository" in error.public) == (ErrorKind.INVALID_IDENTITY_TOKEN, True)


async def test_verify_further_checks_have_the_last_word(bench: Bench) -> None:
    seen: list[tuple[str, int]] = []

    async def check(
        provider: OidcProvider, settings: ProviderSettings, token: str, claims: Mapping[str, Any], now: int
    ) -> None:
        seen.append((token, now))
        if claims["sub"] == "gone":
            raise DaypassError(ErrorKind.IDP_REJECTED_CLAIM, "The pod is gone.")

    bench = Bench(checks=[check])
    text = bench.issuer.token(NOW)
    assert await bench.verify(text)
    assert seen == [(text, NOW)]
    assert (await bench.refusal(sub="gone")).kind is ErrorKind.IDP_REJECTED_CLAIM
    await bench.refusal(aud="other", sub="gone")
    assert len(seen) == 2  # a token that is bad by itself is asked about nowhere


async def test_verify_refusals_tell_the_record_which_token_it_was(bench: Bench) -> None:
    error = await bench.refusal(aud="x" * 1000, jti="7")
    assert error.private["token"]["jti"] == "7"
    assert error.private["token"]["kid"] == "key-1"
    assert len(error.private["token"]["aud"]) == 255
    assert error.private["reason"] == error.public


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
_NAMES = st.sampled_from(
    [
        "iss",
        "sub",
        "aud",
        "azp",
        "exp",
        "nbf",
        "iat",
        "jti",
        "typ",
        "events",
        "amr",
        "actor",
        "team",
        "https://aws.amazon.com/tags",
        "https://aws.amazon.com/source_identity",
        "https://aws.amazon.com/tags/principal_tags/a",
        "https://aws.amazon.com/tags/transitive_tag_keys",
    ]
)
_STRICT = Bench(
    one_time=True,
    max_age_seconds=900,
    tag_claims={"team": "Team"},
    transitive_tags=["Team"],
    source_identity_claim="actor",
)


_CLAIMS = (_NAMES | st.text(max_size=6)).filter(
    lambda name: name not in {"kid", "header", "now_ms"}
)  # of `token` itself


@given(st.dictionaries(_CLAIMS, _ANY, max_size=4), st.dictionaries(_NAMES, _ANY, max_size=2))
async def test_verify_any_signed_claims_and_header_are_a_proof_or_a_refusal(
    claims: dict[str, Any], header: dict[str, Any]
) -> None:
    text = _STRICT.issuer.token(NOW, header=header, **{"jti": "7", **claims})
    try:
        proof = await _STRICT.verifier.verify(_STRICT.provider, _STRICT.verifier.read(text), NOW)
    except DaypassError as error:
        json.dumps(error.private)  # the record takes it
        assert error.public.isprintable()  # noqa: PT017  # most examples are refused
    else:
        assert all(key.startswith("idp.example.com:") for key in proof.keys)
        assert proof.one_time is not None


# --- SPIFFE ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def svids() -> Bench:
    return Bench(Issuer("example.org", alg="ES256"), spiffe_trust_domain="example.org")


async def test_verify_svid_needs_no_issuer(svids: Bench) -> None:
    text = svids.issuer.token(NOW, iss=None, sub="spiffe://example.org/ns/shop", header={"typ": "JOSE"})
    token = svids.verifier.read(text)
    assert token.unverified_url == "example.org"
    proof = await svids.verify(text)
    assert (proof.subject, proof.issuer) == ("spiffe://example.org/ns/shop", "https://example.org")


@pytest.mark.parametrize(
    "subject",
    [
        "spiffe://other.org/ns/shop",
        "spiffe://example.org",
        "spiffe://example.org/",
        "spiffe://example.org/a/../b",
        "spiffe://example.org/a//b",
        "spiffe://example.org/a?b",
        "SPIFFE://example.org/a",
        "somebody",
    ],
)
async def test_verify_svid_of_another_trust_domain_or_form_is_refused(svids: Bench, subject: str) -> None:
    assert "SPIFFE" in (await svids.refusal(sub=subject)).public
    assert "audience" in (await svids.refusal(sub="spiffe://example.org/a", aud="other")).public


async def test_verify_token_without_issuer_is_refused_by_a_provider_that_is_no_trust_domain() -> None:
    bench = Bench(Issuer("example.org", alg="ES256"))
    assert "issuer" in (await bench.refusal(iss=None, sub="spiffe://example.org/a")).public
