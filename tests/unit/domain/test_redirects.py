"""Redirect URIs are compared as text; only the port of a loopback address may differ (attack A66)."""

from __future__ import annotations

import pytest

from daypass.domain.oauth.redirects import is_registered, redirect_uri_fault

REGISTERED = ("https://a.example/cb", "http://127.0.0.1/cb", "http://[::1]:8400/cb")


@pytest.mark.parametrize("uri", [*REGISTERED, "http://127.0.0.1:51234/cb", "http://[::1]:1/cb", "http://[::1]/cb"])
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
