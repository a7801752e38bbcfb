"""The paths of IAM Roles Anywhere."""

from __future__ import annotations

from daypass.wire.front import Front
from daypass.wire.rolesanywhere.dispatch import PATHS, RolesAnywhereEndpoint
from daypass.wire.rolesanywhere.errors import ERRORS
from daypass.wire.rolesanywhere.sessions import OPERATION, SessionsEndpoint
from daypass.wire.routing import POST, Route


def rolesanywhere_routes(front: Front, certificate_header: str = "") -> tuple[Route, ...]:
    """Every path with its handler. The service model determines the methods. `certificate_header`: see
    SessionsEndpoint.
    """
    endpoint, sessions = RolesAnywhereEndpoint(front), SessionsEndpoint(front, certificate_header)
    summary = "IAM Roles Anywhere, by its service model"
    return (
        Route("/sessions", sessions, "IAM Roles Anywhere: CreateSession", POST, ERRORS, OPERATION),
        *(Route(path, endpoint, summary, frozenset(), ERRORS) for path in PATHS),
    )
