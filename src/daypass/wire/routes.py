"""All routes of a server, in one table. A new path takes a handler and a row in its wire's part of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.guardrails import ShownSettings
from daypass.wire import rolesanywhere_model
from daypass.wire.api import ManagementApi
from daypass.wire.authzen import authzen_routes
from daypass.wire.aws import models
from daypass.wire.aws.sts import aws_routes
from daypass.wire.chat import chat_routes
from daypass.wire.console.context import Console, SetupDone, not_stored
from daypass.wire.console.navigation import HOME
from daypass.wire.console.routes import console_routes
from daypass.wire.endpoints.table import endpoints
from daypass.wire.front import Front
from daypass.wire.gateway import gateway_routes, token_review_route
from daypass.wire.health import METRICS, Health, health_routes
from daypass.wire.oauth.metadata import oauth_routes
from daypass.wire.revocations import FOLLOW, STREAMS, RevocationStream, StreamLimits, status_list_route
from daypass.wire.rolesanywhere import pod_identity_routes, rolesanywhere_routes
from daypass.wire.routing import Mount, Route, Routes
from daypass.wire.saml import saml_routes
from daypass.wire.scim import scim_routes
from daypass.wire.ssf import ssf_routes
from daypass.wire.web.context import Site
from daypass.wire.web.routes import web_routes


@dataclass(frozen=True, slots=True)
class RouteSettings:
    """Settings that handlers obey."""

    public_url: str = ""  # the installation's address for browsers; "" for none
    region: str = "us-east-1"  # the region shown with credentials in a browser
    certificate_header: str = ""  # the header in which trusted proxies forward a client's certificate; "" for none
    metrics_token: str = ""  # "": the metrics are public
    metrics: bool = True  # False when they have a separate port
    streams: StreamLimits = field(default_factory=StreamLimits)  # limits of the streams of revocations
    shown: ShownSettings = field(default_factory=dict)  # the settings that the console shows, without secrets
    # setup_code: with which a browser may make the first administrator; "": none. setup_done: called when it was used.
    setup_code: str = field(default="", repr=False)
    setup_done: SetupDone = not_stored


def routes(front: Front, health: Health, settings: RouteSettings) -> Routes:
    """The table."""
    operations = endpoints(settings.shown)
    site = Site(front, settings.public_url.rstrip("/"))
    return Routes(
        (
            *aws_routes(front, HOME if site.cookies.allowed else ""),
            status_list_route(front),
            *web_routes(site, check_parameters),
            *console_routes(
                Console(
                    site, check_parameters, settings.region, settings.shown, settings.setup_code, settings.setup_done
                ),
                operations,
            ),
            *oauth_routes(front, site, settings.certificate_header),
            *authzen_routes(front, settings.certificate_header),
            *gateway_routes(front, settings.certificate_header),
            token_review_route(front),
            *ssf_routes(front, settings.certificate_header),
            *saml_routes(front, settings.public_url, settings.region),
            *rolesanywhere_routes(front, settings.certificate_header),
            *pod_identity_routes(front),
            Mount(
                STREAMS,
                RevocationStream(front, settings.streams, health, settings.certificate_header),
                "Revocations as server-sent events (`/events/revocations`)",
                operation=FOLLOW,
            ),
            *scim_routes(front),
            *chat_routes(front),
            Route("/api/", ManagementApi(front, operations), "The management API", frozenset()),
            *(row for row in health_routes(health, settings.metrics_token) if settings.metrics or row.path != METRICS),
        )
    )


def check_parameters(service: str, operation: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """For the forms of the console: the parameters, which satisfy the model of "iam" or "rolesanywhere".

    The checks and their messages are those of the services' own wires. Raises DaypassError(VALIDATION).
    """
    if service == "rolesanywhere":
        return rolesanywhere_model.load().operations[operation].checked(params)
    model = models.load(service).operation(operation)
    if model is None:
        raise ValueError(f"{service} has no operation {operation}")
    if not model.check(params):
        raise DaypassError(ErrorKind.VALIDATION, model.explain(params))
    return params
