"""What every router of the management API has in common: signed routes below `/api/v1`, and the form of refusals."""

from __future__ import annotations

from fastapi import APIRouter

from daypass.wire.api.gate import SignedRoute
from daypass.wire.api.shapes import ErrorOut


def new_router() -> APIRouter:
    """A router whose every route is a signed call, named as its action is."""
    return APIRouter(
        prefix="/api/v1",
        route_class=SignedRoute,
        responses={
            "4XX": {"model": ErrorOut, "description": "Refused."},
            "5XX": {"model": ErrorOut, "description": "Failed."},
        },
    )
