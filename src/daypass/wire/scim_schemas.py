"""The service's description: ServiceProviderConfig, ResourceTypes and Schemas (RFC 7643, 5 to 7)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from daypass.domain.errors import ErrorKind as Kind
from daypass.domain.errors import Family
from daypass.domain.scim import GROUP_SCHEMA, USER_SCHEMA
from daypass.operations.scim import GROUP, MAX_PAGE, SCIM_TYPE
from daypass.operations.scim_tokens import USER
from daypass.wire.front import ErrorFormat, RecordedRefusal
from daypass.wire.http import Header, Request, Response
from daypass.wire.json_errors import INTERNAL, INTERNAL_CODE, wire_error

_CORE: Final = "urn:ietf:params:scim:schemas:core:2.0:"


def _attribute(name: str, kind: str = "string", **changes: Any) -> dict[str, Any]:
    attribute = {
        "name": name,
        "type": kind,
        "multiValued": False,
        "description": changes.pop("description", name),
        "required": False,
        "mutability": "readWrite",
        "returned": "default",
    }
    if kind == "string":
        attribute |= {"caseExact": False, "uniqueness": "none"}
    return {**attribute, **changes}


_READ_ONLY: Final = {"mutability": "readOnly"}
_REFERENCES: Final = (
    _attribute("value", description="Id.", mutability="immutable", caseExact=True),
    _attribute("display", description="Name.", **_READ_ONLY),
    _attribute("type", description="Kind of the reference.", mutability="immutable"),
)


def _references(kind: str) -> list[dict[str, Any]]:
    kinds = {"canonicalValues": ["direct" if kind == GROUP else USER]}  # RFC 7643, 4.1.2 and 4.2
    named = [{**each, **kinds} if each["name"] == "type" else each for each in _REFERENCES]
    uri = _attribute("$ref", "reference", description="URL.", mutability="immutable", referenceTypes=[kind])
    return [*named, uri]


_USER_ATTRIBUTES: Final = (
    _attribute("userName", description="Name of the user in IAM.", required=True, uniqueness="server"),
    _attribute(
        "name",
        "complex",
        description="The parts of the person's name.",
        subAttributes=[_attribute("formatted"), _attribute("familyName"), _attribute("givenName")],
    ),
    _attribute("displayName", description="The person's name."),
    _attribute(
        "emails",
        "complex",
        description="E-mail addresses.",
        multiValued=True,
        subAttributes=[_attribute("value"), _attribute("type"), _attribute("primary", "boolean")],
    ),
    _attribute("active", "boolean", description="False: every session has ended, and no new one is issued."),
    _attribute(
        "groups",
        "complex",
        description="Groups of the user.",
        multiValued=True,
        subAttributes=[{**each, **_READ_ONLY} for each in _references(GROUP)],
        **_READ_ONLY,
    ),
)
_GROUP_ATTRIBUTES: Final = (
    _attribute("displayName", description="Name of the group in IAM.", required=True, uniqueness="server"),
    _attribute(
        "members",
        "complex",
        description="Users.",
        multiValued=True,
        subAttributes=[
            {**each, "returned": "request"} if each["name"] == "display" else each for each in _references(USER)
        ],
    ),
)


def service_provider_config(base: str) -> dict[str, Any]:
    """The supported features. `base`: the URL of the protocol."""
    return {
        "schemas": [_CORE + "ServiceProviderConfig"],
        "documentationUri": "https://www.rfc-editor.org/rfc/rfc7644",
        "patch": {"supported": True},
        "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": True, "maxResults": MAX_PAGE},
        "changePassword": {"supported": False},
        "sort": {"supported": False},
        "etag": {"supported": True},
        "authenticationSchemes": [
            {"type": "oauthbearertoken", "name": "Bearer token", "description": "daypass scim create", "primary": True}
        ],
        "meta": {"resourceType": "ServiceProviderConfig", "location": f"{base}/ServiceProviderConfig"},
    }


def resource_types(base: str) -> list[dict[str, Any]]:
    """Users and groups."""
    return [
        {
            "schemas": [_CORE + "ResourceType"],
            "id": kind,
            "name": kind,
            "endpoint": f"/{kind}s",
            "description": f"{kind}s of the account that the directory manages.",
            "schema": schema,
            "meta": {"resourceType": "ResourceType", "location": f"{base}/ResourceTypes/{kind}"},
        }
        for kind, schema in ((USER, USER_SCHEMA), (GROUP, GROUP_SCHEMA))
    ]


def schemas(base: str) -> list[dict[str, Any]]:
    """The attributes that are stored. Others are ignored."""
    return [
        {
            "schemas": [_CORE + "Schema"],
            "id": schema,
            "name": kind,
            "description": f"{kind} account" if kind == USER else kind,
            "attributes": list(attributes),
            "meta": {"resourceType": "Schema", "location": f"{base}/Schemas/{schema}"},
        }
        for kind, schema, attributes in (
            (USER, USER_SCHEMA, _USER_ATTRIBUTES),
            (GROUP, GROUP_SCHEMA, _GROUP_ATTRIBUTES),
        )
    ]


# --- ErrorKind to SCIM errors (RFC 7644, 3.12)


MEDIA_TYPE: Final = b"application/scim+json"
HEADERS: Final[tuple[Header, ...]] = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
STATUS: Final = "status"
"""The private fact with the status of a refusal, where its kind does not determine it."""
_SCHEMA: Final = "urn:ietf:params:scim:api:messages:2.0:Error"
_STATUS: Final[Mapping[Kind, int]] = {
    Kind.ALREADY_EXISTS: 409,
    Kind.CONCURRENT_MODIFICATION: 412,
    Kind.UNKNOWN_CREDENTIALS: 401,
    Kind.EXPIRED_CREDENTIALS: 401,
    Kind.MISSING_CREDENTIALS: 401,
    Kind.UNKNOWN_OPERATION: 404,
    Kind.OVERLOADED: 503,
}


class ScimErrors:
    """`front.ErrorFormat`."""

    def refused(self, request: Request, refusal: RecordedRefusal) -> Response:
        """See `front.ErrorFormat`."""
        error = refusal.error
        code, status = wire_error(error.kind)
        status = int(error.private.get(STATUS, _STATUS.get(error.kind, status)))
        kind = str(error.private.get(SCIM_TYPE, "uniqueness" if error.kind is Kind.ALREADY_EXISTS else ""))
        if not kind and error.kind.family is Family.CONTENT and status == 400:
            kind = "invalidValue"
        del request
        headers = (*HEADERS, (b"www-authenticate", b"Bearer")) if status == 401 else HEADERS
        body = _body(status, error.public, kind)
        return Response(status, body, MEDIA_TYPE, headers, refusal.operation, code)

    def broken(self, request: Request) -> Response:
        """See `front.ErrorFormat`."""
        del request
        return Response(500, _body(500, INTERNAL), MEDIA_TYPE, HEADERS, code=INTERNAL_CODE)


def _body(status: int, detail: str, kind: str = "") -> bytes:
    error = {"schemas": [_SCHEMA], "status": str(status), "detail": detail}
    if kind:
        error["scimType"] = kind
    return json.dumps(error).encode("ascii")


SCIM_ERRORS: Final[ErrorFormat] = ScimErrors()
