"""Redirect URIs are compared as text; only the port of a loopback address may differ (attack A66)."""

from __future__ import annotations

import json

import pytest

from daypass.domain.oauth.client import parse_client
from daypass.domain.oauth.urls import has_usable_authority, is_registered, redirect_uri_fault, web_origins

REGISTERED = ("https://a.example/cb", "http://127.0.0.1/cb", "http://[::1]:8400/cb")


@pytest.mark.parametrize(
    "uri",
    [*REGISTERED, "http://127.0.0.1:51234/cb", "http://[::1]:1/cb", "http://127.0.0.1:65535/cb", "http://[::1]/cb"],
)
def test_is_registered_accepts_the_same_uri_and_any_loopback_port(uri: str) -> None:
    assert is_registered(uri, REGISTERED)


@pytest.mark.parametrize(
    "uri",
    [
        "https://a.example/cb/",
        "https://a.example/cb?x=1",
        "https://a.example/cb/../evil",
        "https://a.example:443/cb",
        "https://A.example/cb",
        "https://a.example.evil/cb",
        "https://a.example@evil/cb",
        "https://evil/https://a.example/cb",
        "https://a.example\\.evil/cb",
        "https://a.example/cb#",
        "https://a.example/cb\n",
        "https://a.example/c%62",
        "http://a.example/cb",
        "http://127.0.0.1:51234/other",
        "http://127.0.0.1:51234@evil/cb",
        "http://127.0.0.1.evil/cb",
        "http://localhost/cb",
        "http://127.0.0.1:999999/cb",
        "http://127.0.0.1:99999/cb",
        "http://127.0.0.1:65536/cb",
        "http://127.0.0.1:0/cb",
        "http://127.0.0.1:007/cb",
        "http://127.0.0.1:/cb",
        "http://127.0.0.1:+80/cb",
        "http://127.1/cb",
        "http://127.0.0.2/cb",
        "http://0177.0.0.1/cb",
        "http://2130706433/cb",
        "http://127.0.0.1./cb",
        "http://[0:0:0:0:0:0:0:1]/cb",
        "http://[::ffff:127.0.0.1]/cb",
        "http://user@127.0.0.1/cb",
        "HTTP://127.0.0.1/cb",
        "https://127.0.0.1/cb",
        "",
        "https://a.example/" + "x" * 3000,
    ],
)
def test_a66_is_registered_refuses_everything_else(uri: str) -> None:
    assert not is_registered(uri, REGISTERED)


def test_private_use_scheme_is_for_native_clients_alone() -> None:
    assert redirect_uri_fault("com.example.app:/cb", native=True) == ""
    assert redirect_uri_fault("com.example.app:/cb", native=False)
    for uri in ("app:/cb", "com.example.app://host/cb", "javascript:x"):
        assert redirect_uri_fault(uri, native=True)


def test_web_origins_are_written_as_browsers_do() -> None:
    uris = ("https://A.example:443/cb?x=/", "https://a.example/2", "http://127.0.0.1:5173/", "http://[::1]:80/cb")
    assert web_origins((*uris, "com.example.app:/cb")) == {
        "https://a.example",
        "http://127.0.0.1:5173",
        "http://[::1]",
    }


@pytest.mark.parametrize("port", [0, 65536, 99999, "007", "080", ""])
@pytest.mark.parametrize("host", ["http://127.0.0.1", "http://[::1]", "https://a.example"])
def test_uri_with_a_port_that_cannot_exist_is_not_usable(host: str, port: object) -> None:
    assert has_usable_authority(f"{host}:1/cb")
    assert has_usable_authority(f"{host}:65535")
    assert not has_usable_authority(f"{host}:{port}/cb")


@pytest.mark.parametrize("host", ["-a.example", "a..example", ".a.example", "a-.example", "a.example.", "a" * 64])
def test_uri_with_a_host_that_cannot_exist_is_not_usable(host: str) -> None:
    assert has_usable_authority("https://xn--bcher-kva.example/cb")
    assert has_usable_authority("com.example.app:/cb")
    assert not has_usable_authority(f"https://{host}/cb")


def test_client_with_an_odd_port_is_refused() -> None:
    members = {"token_endpoint_auth_method": "none", "grant_types": ["authorization_code"]}
    with pytest.raises(ValueError, match="redirect_uris: 'http"):
        parse_client(json.dumps({**members, "redirect_uris": ["http://127.0.0.1:0/cb"]}))


def test_loopback_uri_stored_with_an_odd_port_admits_usable_ports_alone() -> None:
    assert is_registered("http://127.0.0.1:51234/cb", ["http://127.0.0.1:0/cb"])
    assert not is_registered("http://127.0.0.1:99999/cb", ["http://127.0.0.1:0/cb"])
