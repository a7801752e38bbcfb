"""What every router of the management API has in common: signed routes below `/api/v1`, and the form of refusals."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.routing import APIRoute

from daypass.wire.api.schemas import ErrorOut
from daypass.wire.api.signed_route import SignedRoute


def new_router() -> APIRouter:
    """A router whose every route is a signed call, named as its action is."""
    return APIRouter(
        prefix="/api/v1",
        route_class=SignedRoute,
        generate_unique_id_function=_operation_id,
        responses={
            "4XX": {"model": ErrorOut, "description": "Refused."},
            "5XX": {"model": ErrorOut, "description": "Failed."},
        },
    )


def _operation_id(route: APIRoute) -> str:
    return "".join(word.title() for word in route.endpoint.__name__.split("_"))
