"""The paths of logins by browser."""

from __future__ import annotations

from daypass.wire.front import Front
from daypass.wire.routing import GET, POST, Route
from daypass.wire.saml.handlers import ASSUME, PAGE_ERRORS, SIGN_IN, TOKEN_ERRORS, SamlPages


def saml_routes(front: Front, public_url: str, region: str = "us-east-1") -> tuple[Route, ...]:
    """Every path with its handler; see SamlPages."""
    saml = SamlPages(front, public_url, region)
    metadata, acs = "Metadata of the service provider", "Takes a response of an identity provider"
    return (
        Route("/saml/metadata", saml.metadata, metadata, GET, PAGE_ERRORS),
        Route("/saml/metadata/", saml.metadata, f"{metadata}, of one provider", GET, PAGE_ERRORS),
        Route(
            "/saml/login", saml.login, "Begins a login: of a browser, or for a command line", GET, PAGE_ERRORS, SIGN_IN
        ),
        Route("/saml/acs", saml.acs, acs, POST, PAGE_ERRORS, SIGN_IN),
        Route("/saml/acs/", saml.acs, f"{acs}: the own address of one provider", POST, PAGE_ERRORS, SIGN_IN),
        Route("/saml/choose", saml.choose, "Assumes the role that was chosen", POST, PAGE_ERRORS, ASSUME),
        Route("/saml/token", saml.token, "Exchanges the code of a command line", POST, TOKEN_ERRORS, ASSUME),
        Route("/saml/style.css", saml.style, "The style sheet of the pages", GET, PAGE_ERRORS),
        Route("/saml/", saml.other, "Every other page: not found", frozenset(), PAGE_ERRORS),
    )
