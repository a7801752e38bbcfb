"""The OAuth reference names all that is served: grants, methods, settings, token types, errors and paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from daypass.domain.oauth.client import ClientSettings
from daypass.domain.oauth.resource_server import ResourceServerSettings, ScopeSettings
from daypass.operations.oauth.request import TokenType
from daypass.ports import Env
from daypass.wire.front import Front
from daypass.wire.oauth.metadata import AUTH_METHODS, oauth_routes
from daypass.wire.oauth.token import GRANTS
from daypass.wire.web.context import Site

PAGE = (Path(__file__).parents[2] / "docs/reference/oauth.md").read_text("utf-8")


def fields(kind: type[Any]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(kind)]


@pytest.mark.parametrize(
    "name",
    [
        *GRANTS,
        *AUTH_METHODS,
        *fields(ClientSettings),
        *fields(ResourceServerSettings),
        *fields(ScopeSettings),
        *(kind.rpartition(":")[2] for kind in TokenType),
    ],
)
def test_oauth_reference_names_what_is_served(name: str) -> None:
    assert f"`{name}`" in PAGE or f":{name}`" in PAGE or f"`{name}" in PAGE


def test_oauth_reference_names_every_path() -> None:
    front = Front(cast("Env", None))
    ours = [row.path for row in oauth_routes(front, Site(front, ""))]
    assert len(ours) > 6
    assert [path for path in ours if path not in PAGE] == []
