"""The public documents of the authorization server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.attack.installation import Installation, installed

DOCUMENTS = [
    b"/.well-known/jwks.json",
    b"/.well-known/oauth-authorization-server",
    b"/.well-known/openid-configuration",
]
ISSUER = "https://daypass.test"
OWN = {"x-amzn-requestid", "date"}
"""Headers that each answer has of its own."""
_STATUS_OF_GET = {"jwks_uri": 200, "authorization_endpoint": 400, "userinfo_endpoint": 401, "end_session_endpoint": 303}
"""A GET without parameters; the other endpoints take POST alone."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("site"), server={"public_url": ISSUER}) as made:
        yield made


def test_get_metadata_lists_only_paths_that_are_served(site: Installation) -> None:
    for path in DOCUMENTS[1:]:
        answer = site.send("GET", path=path)
        assert answer.status == 200, answer.body
        found = json.loads(answer.body)
        assert found["issuer"] == ISSUER
        assert found["response_types_supported"] == ["code"]
        urls = {name: url for name, url in found.items() if name.endswith(("_endpoint", "_uri"))}
        assert "jwks_uri" in urls
        for name, url in urls.items():
            answer = site.send("GET", path=url.removeprefix(ISSUER).encode())
            assert answer.status == _STATUS_OF_GET.get(name, 405), name
            if name == "authorization_endpoint":  # a page, and no redirect, because the client is not known
                assert answer.headers["content-type"].startswith("text/html")
                assert b"ValidationError" in answer.body


def test_get_document_with_its_entity_tag_is_not_modified(site: Installation) -> None:
    for path in DOCUMENTS:
        first = site.send("GET", path=path)
        assert first.headers["cache-control"] == "public, max-age=3600"
        again = site.send("GET", [(b"if-none-match", f'"x", W/{first.headers["etag"]}'.encode())], path=path)
        assert (again.status, again.body) == (304, b"")
        other = site.send("GET", [(b"if-none-match", b'"x"')], path=path)
        assert (other.status, other.body) == (200, first.body)


def test_get_document_while_the_database_is_unavailable_is_served(
    site: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise OSError("the database is away")

    monkeypatch.setattr(type(site.runtime.database), "read", away)
    for path in DOCUMENTS:
        assert site.send("GET", path=path).status == 200


def test_get_document_without_a_public_url_says_what_is_missing(tmp_path: Path) -> None:
    with installed(tmp_path / "site") as site:
        for path in DOCUMENTS:
            answer = site.send("GET", path=path)
            assert answer.status == 404
            assert "server.public_url" in json.loads(answer.body)["error_description"]
            assert site.records(answer.request_id)[0]["error"] == "not_found"


def test_jwks_with_rs256_in_the_settings_has_a_key_of_it(tmp_path: Path) -> None:
    chosen = {"audience_algorithms": ("https://old.example.com=RS256",)}
    with installed(tmp_path / "site", server={"public_url": ISSUER}, oauth=chosen) as site:
        keys = json.loads(site.send("GET", path=DOCUMENTS[0]).body)["keys"]
        assert {key["alg"] for key in keys} == {"ES256", "EdDSA", "RS256", "ES384"}  # the last one: GetWebIdentityToken


@pytest.mark.parametrize("proxies", [(), ("127.0.0.1/32",)])
def test_a173_no_request_changes_a_document_that_caches_store(tmp_path: Path, proxies: tuple[str, ...]) -> None:
    """Cache poisoning: what a shared cache stores under the address must not depend on the request."""
    server = {"public_url": ISSUER, "trusted_proxies": proxies}
    forged = [
        [(b"host", b"evil.example")],
        [(b"host", b"daypass.test"), (b"host", b"evil.example")],
        [(b"x-forwarded-host", b"evil.example"), (b"x-forwarded-proto", b"http")],
        [(b"x-forwarded-prefix", b"/evil"), (b"x-forwarded-port", b"1")],
        [(b"forwarded", b"host=evil.example;proto=http")],
        [(b"x-original-url", b"/evil"), (b"x-rewrite-url", b"/evil")],
        [(b"x-http-method-override", b"POST")],
        [(b"origin", b"https://evil.example")],
        [(b"accept", b"application/jwt"), (b"accept-language", b"evil")],
        [(b"authorization", b"Bearer evil"), (b"cookie", b"__Host-daypass=evil")],
        [(b"range", b"bytes=0-1")],
    ]
    with installed(tmp_path / "site", server=server) as site:
        for path in (*DOCUMENTS, b"/.well-known/oauth-protected-resource", b"/.well-known/authzen-configuration"):
            plain = site.send("GET", path=path)
            assert plain.status == 200, path
            kept = {name: value for name, value in plain.headers.items() if name not in OWN}
            for headers in forged:
                answer = site.send("GET", headers, path=path)
                assert (answer.status, answer.body) == (plain.status, plain.body), (path, headers)
                assert {name: value for name, value in answer.headers.items() if name not in OWN} == kept
            answer = site.send("GET", path=path, query=b"issuer=https://evil.example&_method=POST")
            assert (answer.status, b"evil" in answer.body) in ((200, False), (400, False), (404, False))


def test_a173_refusals_below_well_known_are_not_stored_by_caches(site: Installation) -> None:
    for path in (b"/.well-known/oauth-authorization-server/evil", b"/.well-known/jwks.json/x", b"/outbound/x/y"):
        answer = site.send("GET", path=path)
        assert answer.status == 404
        assert "public" not in answer.headers.get("cache-control", "")
