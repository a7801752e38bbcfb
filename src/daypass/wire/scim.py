"""The paths of SCIM: from requests to operations and back. They decide nothing.

A request has a bearer token of SCIM and nothing else. Source: RFC 7644, 3.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.scim import GROUP_SCHEMA, USER_SCHEMA, ScimError, parse_filter
from daypass.domain.strict_json import read_json
from daypass.operations import scim
from daypass.operations.scim import GROUP
from daypass.operations.scim_tokens import USER, Resource, caller_of_token, etag
from daypass.ports import Call, Env
from daypass.wire.access_token import authorization_of
from daypass.wire.content import pairs_of
from daypass.wire.front import Front, RequestProgress
from daypass.wire.http import Header, Request, Response, has_entity, media_type
from daypass.wire.routing import Route
from daypass.wire.scim_schemas import (
    HEADERS,
    MEDIA_TYPE,
    SCIM_ERRORS,
    STATUS,
    resource_types,
    schemas,
    service_provider_config,
)

BASE: Final = "/scim/v2"
OPERATION: Final = "daypass:Provision"
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_SCHEMAS: Final[Mapping[str, str]] = {USER: USER_SCHEMA, GROUP: GROUP_SCHEMA}
_LIST: Final = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
_SEARCH: Final = ".search"
_ALWAYS: Final = frozenset({"id", "schemas"})
_TOKENS: Final = 5.0  # that a request costs, relative to an STS request
_USUAL_PAGE: Final = 100
_MAX_FIELDS: Final = 16  # parameters of a query
_MAX_BODY: Final = 1_048_576
_MAX_TOKEN: Final = 256
_TYPES: Final = (b"application/scim+json", b"application/json")


def scim_routes(front: Front) -> tuple[Route, ...]:
    """One row for all paths: the handler reads the resource type and the id from the path."""
    summary = "Provisioning of users and groups by a directory (SCIM 2.0)"
    return (Route(f"{BASE}/", _Handler(front), summary, _METHODS, SCIM_ERRORS, OPERATION),)


class _ResourceRequest(NamedTuple):
    """A request on a resource type. `identity` is "" for the collection."""

    env: Env
    call: Call
    http: Request
    kind: str
    identity: str
    if_match: str

    @property
    def url(self) -> str:
        """The base URL in locations."""
        return self.env.limits.public_url.rstrip("/") + BASE


class _Handler:
    def __init__(self, front: Front) -> None:
        self._front = front

    async def __call__(self, request: Request) -> Response:
        front, progress = self._front, RequestProgress(request, OPERATION)
        try:
            caller = await caller_of_token(front.env, _bearer(request), front.env.clock.now())
            call = front.proven(progress, caller, _TOKENS)
            return await _serve(front.env, call, request)
        except ScimError as error:
            return await front.refuse(progress, scim.refusal_of(error), SCIM_ERRORS)
        except DaypassError as error:
            return await front.refuse(progress, error, SCIM_ERRORS)


def _bearer(request: Request) -> str:
    scheme, token = authorization_of(request)
    if scheme != "bearer" or not 0 < len(token) <= _MAX_TOKEN:
        raise DaypassError(ErrorKind.MISSING_CREDENTIALS, "Send a bearer token of SCIM.")
    return token


async def _serve(env: Env, call: Call, request: Request) -> Response:
    if request.raw_path == f"{BASE}/{_SEARCH}".encode("ascii"):
        return await _search_all(env, call, request)
    parts = [unquote(part) for part in request.raw_path.decode("latin-1")[len(BASE) + 1 :].split("/") if part]
    if not parts or len(parts) > 2:
        raise _unknown()
    name, identity = parts[0], parts[1] if len(parts) == 2 else ""
    described = _description(env, name, identity)
    kind = {"Users": USER, "Groups": GROUP}.get(name)
    way = (request.method, _SEARCH if identity == _SEARCH else "{id}" if identity else "")
    serve = _RESOURCE.get(way)
    if described is None and kind is None:
        raise _unknown()
    if serve is None or (described is not None and request.method != "GET"):
        raise DaypassError(ErrorKind.UNKNOWN_OPERATION, "The path does not take this method.", private={STATUS: 405})
    if described is not None:
        return _answer(described)
    if kind is None:
        raise _unknown()
    matching = [value for header, value in request.headers if header == b"if-match"]
    if_match = b",".join(matching).decode("latin-1")[:1024]
    return await serve(_ResourceRequest(env, call, request, kind, identity, if_match))


def _unknown() -> DaypassError:
    return DaypassError(ErrorKind.UNKNOWN_OPERATION, "This path does not exist.")


def _description(env: Env, name: str, identity: str) -> Mapping[str, Any] | None:
    """The configuration endpoints; None for other paths. Raises DaypassError(NOT_FOUND)."""
    url = env.limits.public_url.rstrip("/") + BASE
    if name == "ServiceProviderConfig" and not identity:
        return service_provider_config(url)
    listed = {"ResourceTypes": resource_types, "Schemas": schemas}.get(name)
    if listed is None:
        return None
    found = listed(url)
    if not identity:
        return _list([dict(each) for each in found], len(found), 1)
    for each in found:
        if each["id"] == identity:
            return each
    raise DaypassError(ErrorKind.NOT_FOUND, "The schema or resource type does not exist.")


# --- Resources ---------------------------------------------------------------------------------------------------------


async def _search(request: _ResourceRequest) -> Response:
    return await _search_page(request, _query(request.http))


async def _search_by_post(request: _ResourceRequest) -> Response:
    """POST /.search of a type (RFC 7644, 3.4.3)."""
    return await _search_page(request, _in_body(request.http))


async def _search_all(env: Env, call: Call, request: Request) -> Response:
    """POST /.search of both types: users, then groups."""
    if request.method != "POST":
        raise DaypassError(ErrorKind.UNKNOWN_OPERATION, "The path does not take this method.", private={STATUS: 405})
    query = _in_body(request)
    wanted = parse_filter(query["filter"]) if "filter" in query else None
    start = max(1, _number(query, "startIndex", 1))
    left, skipped, total, shown = _number(query, "count", _USUAL_PAGE), start - 1, 0, list[dict[str, Any]]()
    for kind in (USER, GROUP):
        page = await scim.find(env, call, kind, wanted, skipped + 1, max(0, left - len(shown)))
        of_kind = _ResourceRequest(env, call, request, kind, "", "")
        shown += [_selected(query, _resource_json(of_kind, each)) for each in page.resources]
        total, skipped = total + page.total, max(0, skipped - page.total)
    return _answer(_list(shown, total, start))


def _in_body(request: Request) -> dict[str, str]:
    """The parameters of a search, which are in the body."""
    body = _body(request)
    given = {name: body.get(name) for name in ("filter", "startIndex", "count", "attributes", "excludedAttributes")}
    return {
        name: ",".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in given.items()
        if value is not None
    }


async def _search_page(request: _ResourceRequest, query: Mapping[str, str]) -> Response:
    wanted = parse_filter(query["filter"]) if "filter" in query else None
    start, count = _number(query, "startIndex", 1), _number(query, "count", _USUAL_PAGE)
    page = await scim.find(request.env, request.call, request.kind, wanted, start, count)
    resources = [_selected(query, _resource_json(request, each)) for each in page.resources]
    return _answer(_list(resources, page.total, max(1, start)))


def _selected(query: Mapping[str, str], shown: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that the client wants (RFC 7644, 3.9): whole ones, `id` and `schemas` always. The names of members come
    with `attributes=members` alone: who changes members gets back what it sent.
    """
    wanted, without = (
        {name.strip().rpartition(":")[2].partition(".")[0].lower() for name in query.get(each, "").split(",")} - {""}
        for each in ("attributes", "excludedAttributes")
    )
    found = {
        name: value
        for name, value in shown.items()
        if name in _ALWAYS or (name.lower() in wanted if wanted else name.lower() not in without)
    }
    if "members" in found and "members" not in wanted:
        found["members"] = [{name: each[name] for name in each if name != "display"} for each in found["members"]]
    return found


async def _get(request: _ResourceRequest) -> Response:
    resource = await scim.get(request.env, request.call, request.kind, request.identity)
    if has_entity(request.http, (tag := etag(resource)).removeprefix("W/").encode("ascii")):
        return Response(304, b"", MEDIA_TYPE, (*HEADERS, (b"etag", tag.encode("ascii"))), OPERATION)
    return _resource(request, resource)


async def _create(request: _ResourceRequest) -> Response:
    resource = await scim.create(request.env, request.call, request.kind, _body(request.http))
    return _resource(request, resource, 201)


async def _replace(request: _ResourceRequest) -> Response:
    body = _body(request.http)
    changed = await scim.replace_resource(
        request.env, request.call, request.kind, request.identity, body, request.if_match
    )
    return _resource(request, changed)


async def _patch(request: _ResourceRequest) -> Response:
    body = _body(request.http)
    changed = await scim.patch(request.env, request.call, request.kind, request.identity, body, request.if_match)
    return _resource(request, changed)


async def _delete(request: _ResourceRequest) -> Response:
    await scim.delete(request.env, request.call, request.kind, request.identity, request.if_match)
    return Response(204, b"", MEDIA_TYPE, HEADERS, OPERATION)


_RESOURCE: Final[Mapping[tuple[str, str], Callable[[_ResourceRequest], Awaitable[Response]]]] = {
    ("GET", ""): _search,
    ("POST", ""): _create,
    ("POST", _SEARCH): _search_by_post,
    ("GET", "{id}"): _get,
    ("PUT", "{id}"): _replace,
    ("PATCH", "{id}"): _patch,
    ("DELETE", "{id}"): _delete,
}
"""Handlers by method, and by the rest of the path after the resource type."""


def _body(request: Request) -> Mapping[str, Any]:
    if media_type(request.headers) not in _TYPES:
        raise ScimError("invalidSyntax", "The media type of the body is application/scim+json or application/json.")
    if len(request.body) > _MAX_BODY:
        raise DaypassError(ErrorKind.REQUEST_TOO_LARGE, f"The request body is over {_MAX_BODY} bytes.")
    try:
        body = read_json(request.body)
    except ValueError as error:
        raise ScimError("invalidSyntax", f"The body cannot be read: {error}.") from None
    if not isinstance(body, dict):
        raise ScimError("invalidSyntax", "The body is a JSON object.")
    return body


def _query(request: Request) -> dict[str, str]:
    try:
        return dict(pairs_of(request.raw_query, _MAX_FIELDS))
    except DaypassError as error:
        raise ScimError("invalidValue", error.public) from None


def _number(query: Mapping[str, str], name: str, usual: int) -> int:
    text = query.get(name, "")
    if not text:
        return usual
    if not text.removeprefix("-").isdecimal() or not text.isascii() or len(text) > 7:
        raise ScimError("invalidValue", f"{name} is a number.")
    return int(text)


def _resource(request: _ResourceRequest, resource: Resource, status: int = 200) -> Response:
    content = _resource_json(request, resource)
    headers = ((b"etag", "version"), (b"location", "location"))
    return _answer(
        _selected(_query(request.http), content),
        status,
        *((name, content["meta"][member].encode("ascii")) for name, member in headers),
    )


def _resource_json(request: _ResourceRequest, resource: Resource) -> dict[str, Any]:
    row = resource.row
    meta = {
        "resourceType": request.kind,
        "created": _moment(row.created_at),
        "lastModified": _moment(row.updated_at),
        "location": f"{request.url}/{request.kind}s/{row.id}",
        "version": etag(resource),
    }
    document = dict(resource.document)
    for name, kind in (("members", USER), ("groups", GROUP)):
        if name in document:
            document[name] = [{**each, "$ref": f"{request.url}/{kind}s/{each['value']}"} for each in document[name]]
    return {"schemas": [_SCHEMAS[request.kind]], "id": row.id, **document, "meta": meta}


def _moment(ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000)) + f".{ms % 1000:03}Z"


def _list(resources: list[dict[str, Any]], total: int, start: int) -> dict[str, Any]:
    return {
        "schemas": [_LIST],
        "totalResults": total,
        "startIndex": start,
        "itemsPerPage": len(resources),
        "Resources": resources,
    }


def _answer(content: Mapping[str, Any], status: int = 200, *headers: Header) -> Response:
    body = json.dumps(content).encode("ascii")
    return Response(status, body, MEDIA_TYPE, (*HEADERS, *headers), OPERATION)
