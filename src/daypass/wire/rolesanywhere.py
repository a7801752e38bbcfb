"""IAM Roles Anywhere and EKS Pod Identity on the wire: CreateSession, AssumeRoleForPodIdentity, and their paths."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from daypass import sigv4
from daypass.domain.arn import assumed_role_arn
from daypass.domain.errors import DaypassError, ErrorKind, Family
from daypass.domain.errors import ErrorKind as Kind
from daypass.domain.jws import iso_time
from daypass.domain.session import has_policies_or_tags
from daypass.operations.assume.forms import AWS_FORM, AwsCredentials
from daypass.operations.assume.pod_identity import EKS_AUTH, SERVICE, PodSession, assume_role_for_pod_identity
from daypass.operations.crud import recordable
from daypass.operations.crud_engine import perform
from daypass.operations.rolesanywhere.create_session import (
    SIGNING_NAME,
    CertificateSession,
    ProvenCertificate,
    SessionFor,
    TlsCertificate,
    create_session,
    prove,
)
from daypass.operations.rolesanywhere.table import OPERATIONS, ROLES_ANYWHERE
from daypass.ports import Call
from daypass.sigv4.verifying import UnverifiedX509, chain_of, parse_x509, unique_fields
from daypass.wire.client_certificate import PresentedCertificate, presented_certificate
from daypass.wire.content import json_object_of
from daypass.wire.front import ErrorFormat, Front, RecordedRefusal, RequestProgress, signature_error, target_of
from daypass.wire.http import Request, Response
from daypass.wire.rolesanywhere_model import (
    ERRORS,
    Model,
    RolesAnywhereErrors,
    Shapes,
    from_text,
    json_response,
    load,
    query_of,
    segments_of,
    typed,
    wire_error,
)
from daypass.wire.routing import POST, Route
from daypass.wire.service_models import description_of


def rolesanywhere_routes(front: Front, certificate_header: str = "") -> tuple[Route, ...]:
    """Every path with its handler. The service model determines the methods. `certificate_header`: see
    SessionsEndpoint.
    """
    endpoint, sessions = RolesAnywhereEndpoint(front), SessionsEndpoint(front, certificate_header)
    summary = "IAM Roles Anywhere, by its service model"
    return (
        Route("/sessions", sessions, "IAM Roles Anywhere: CreateSession", POST, ERRORS, CREATE_SESSION),
        *(Route(path, endpoint, summary, frozenset(), ERRORS) for path in PATHS),
    )


# --- One request of the REST wire to an operation and back: find, authenticate, parse, run, answer


PATHS: Final = (
    "/trustanchors",
    "/trustanchor/",
    "/profiles",
    "/profiles/",
    "/profile/",
    "/crls",
    "/crl/",
    "/subjects",
    "/subject/",
    "/TagResource",
    "/UntagResource",
    "/ListTagsForResource",
    "/put-notifications-settings",
    "/reset-notifications-settings",
)
"""The paths of the service model. One that ends with "/" is followed by an id."""

_OF_USES: Final = frozenset({"ListSubjects", "GetSubject"})
_TOKENS: Final = 5.0  # that a call costs, relative to an STS request


class RolesAnywhereEndpoint:
    """The wire of the operations that the service model describes: call it with a request."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def __call__(self, request: Request) -> Response:
        """The answer. Anything but a DaypassError goes up to the error boundary."""
        progress = RequestProgress(request, detail={**target_of(request), "parameters": {}})
        try:
            return await self._serve(progress)
        except DaypassError as error:
            return await self._front.refuse(progress, error, ERRORS)

    async def _serve(self, progress: RequestProgress) -> Response:
        request = progress.request
        segments = segments_of(request.raw_path)
        operation = load().find(request.method, segments)
        progress.operation = f"{SIGNING_NAME}:{operation.name}"
        call = await self._front.authenticated(progress, (SIGNING_NAME,), _TOKENS)
        params = operation.parse(segments, request.raw_query, request.body)
        progress.detail = {**target_of(request), "parameters": recordable(params)}
        if operation.name in _OF_USES:
            await self._front.env.certificate_uses.flush()  # a use of this process is shown at once
        answer = await perform(self._front.env, call, ROLES_ANYWHERE, OPERATIONS[operation.name], params)
        return json_response(operation.status, operation.render(answer), progress.operation)


# --- `POST /sessions`: CreateSession over the wire


CREATE_SESSION: Final = f"{SIGNING_NAME}:CreateSession"
_ARN: Final = {"type": "string", "min": 1, "max": 1011}
_SHAPES: Final[Shapes] = {
    "CreateSessionRequest": {
        "type": "structure",
        "required": ["profileArn", "roleArn", "trustAnchorArn"],
        "members": {
            "cert": {"shape": "Certificate"},
            "durationSeconds": {"shape": "Seconds"},
            "instanceProperties": {"shape": "Properties"},
            "profileArn": {"shape": "Arn"},
            "roleArn": {"shape": "Arn"},
            "roleSessionName": {"shape": "SessionName"},
            "trustAnchorArn": {"shape": "Arn"},
        },
    },
    "Arn": _ARN,
    "Certificate": {"type": "blob", "max": 16_384},
    "Seconds": {"type": "integer", "min": 900, "max": 43_200},
    "SessionName": {"type": "string", "min": 2, "max": 64, "pattern": r"[\w+=,.@-]*"},
    "Properties": {"type": "map", "max": 50, "key": {"shape": "Property"}, "value": {"shape": "Property"}},
    "Property": {"type": "string", "min": 1, "max": 200},
}
_MEMBERS: Final = _SHAPES["CreateSessionRequest"]["members"]


class SessionsEndpoint:
    """Call it with a request. `header`: the header in which trusted proxies forward the client's certificate, "" for
    none.
    """

    def __init__(self, front: Front, header: str = "") -> None:
        self._front = front
        self._header = header.lower()

    async def __call__(self, request: Request) -> Response:
        """The answer. Anything but a DaypassError goes up to the error boundary."""
        progress, params, seen = RequestProgress(request, CREATE_SESSION), {}, PresentedCertificate()
        try:
            call = self._front.anonymous(progress)
            seen = presented_certificate(request, self._header)
            presented = _presented(request, seen)
            if isinstance(presented, UnverifiedX509) and sigv4.is_region(presented.claimed.region):
                progress.region = presented.claimed.region
                call = Call(call.caller, progress.facts(), call.now)
            proven = await prove(self._front.env, call, presented, seen.remarks)
            params = _parameters(request)
            answer = await create_session(self._front.env, call, proven, _session_request(params, proven), AWS_FORM)
            return json_response(201, _rendered(answer), CREATE_SESSION)
        except DaypassError as error:
            progress.detail = {"parameters": recordable(params), **seen.remarks}
            return await self._front.refuse(progress, error, ERRORS)


def _presented(request: Request, seen: PresentedCertificate) -> UnverifiedX509 | TlsCertificate:
    """The signature over the request, if there is one, or else the certificate that the TLS endpoint verified.

    Raises DaypassError: MISSING_CREDENTIALS when there is neither, INCOMPLETE_SIGNATURE, SIGNATURE_MISMATCH.
    """
    try:
        fields = unique_fields(request.headers)
        if seen.certificate and b"authorization" not in fields:
            brought = tuple(base64.b64encode(der).decode("ascii") for der in seen.chain)
            return TlsCertificate(seen.certificate, (*brought, *chain_of(fields)), seen.source)
        return parse_x509(request.method, request.raw_path, request.raw_query, request.headers, request.body)
    except sigv4.SigV4Error as error:
        raise signature_error(error) from None


def _parameters(request: Request) -> dict[str, Any]:
    """Members of the body and of the query string together; one that is in both must not differ."""
    content = json_object_of(request.body)
    given: dict[str, Any] = {name: value for name, value in content.items() if name in _MEMBERS}
    for name, texts in query_of(request.raw_query).items():
        if name not in _MEMBERS:
            continue
        value = from_text(_SHAPES, _MEMBERS[name]["shape"], texts[0])
        if len(texts) > 1 or given.setdefault(name, value) != value:
            raise DaypassError(ErrorKind.MALFORMED_REQUEST, f"{name} must be there once.")
    made: dict[str, Any] = typed(_SHAPES, "CreateSessionRequest", given)
    return made


def _session_request(params: Mapping[str, Any], proven: ProvenCertificate) -> SessionFor:
    if params.get("cert", proven.unverified_der) != proven.unverified_der:
        raise DaypassError(ErrorKind.VALIDATION, "cert is not the certificate whose key was proved.")
    return SessionFor(
        params["roleArn"],
        params["profileArn"],
        params["trustAnchorArn"],
        params.get("durationSeconds"),
        params.get("roleSessionName") or "",
        tuple((params.get("instanceProperties") or {}).items()),
    )


def _rendered(answer: CertificateSession[AwsCredentials]) -> dict[str, Any]:
    session, credentials = answer.issued.session, answer.issued.credential
    name = session.arn.rpartition("/")[2]
    given = {
        "assumedRoleUser": {
            "arn": assumed_role_arn(session.account, name, session.name),
            "assumedRoleId": f"{session.principal_id}:{session.name}",
        },
        "credentials": {
            "accessKeyId": credentials.access_key_id,
            "expiration": iso_time(session.expires_at // 1000),
            "secretAccessKey": credentials.secret,
            "sessionToken": credentials.token,
        },
        "packedPolicySize": credentials.utilization if has_policies_or_tags(session) else 0,
        "roleArn": session.arn,
        "sourceIdentity": session.source_identity,
    }
    return {"credentialSet": [given], "subjectArn": answer.subject_arn}


# --- `POST /clusters/NAME/assume-role-for-pod-identity`: the eks-auth API, by its service model


ASSUME_FOR_POD: Final = f"{EKS_AUTH}:AssumeRoleForPodIdentity"
_CODES: Final[Mapping[Kind, tuple[str, int]]] = {
    Kind.EXPIRED_IDENTITY_TOKEN: ("ExpiredTokenException", 400),
    Kind.VALIDATION: ("InvalidParameterException", 400),
    Kind.MALFORMED_REQUEST: ("InvalidRequestException", 400),
}


@cache
def _model() -> Model:
    return Model(description_of(EKS_AUTH, "2023-11-26"))


class PodIdentityErrors(RolesAnywhereErrors):
    """`front.ErrorFormat`, with the codes of eks-auth."""

    def refused(self, request: Request, refusal: RecordedRefusal) -> Response:
        kind = refusal.error.kind
        found = _CODES.get(kind) or (
            ("InvalidTokenException", 400) if kind.family is Family.PROOF else wire_error(kind)
        )
        usual = super().refused(request, refusal)
        headers = tuple(
            (name, found[0].encode("ascii") if name == b"x-amzn-errortype" else value) for name, value in usual.headers
        )
        return Response(found[1], usual.body, usual.content_type, headers, usual.operation, found[0])


POD_IDENTITY_ERRORS: Final[ErrorFormat] = PodIdentityErrors()


class PodIdentityEndpoint:
    """Call it with a request."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def __call__(self, request: Request) -> Response:
        """The answer. Anything but a DaypassError goes up to the error boundary."""
        progress = RequestProgress(request, ASSUME_FOR_POD, detail=target_of(request))
        try:
            segments = segments_of(request.raw_path)
            operation = _model().find(request.method, segments)
            call = await self._front.authenticated(progress, (EKS_AUTH,), 1.0)
            given = operation.parse(segments, request.raw_query, request.body)
            answer = await assume_role_for_pod_identity(
                self._front.env, call, given["clusterName"], given["token"], AWS_FORM
            )
            return json_response(200, _pod_rendered(answer, call.facts.region), ASSUME_FOR_POD)
        except DaypassError as error:
            return await self._front.refuse(progress, error, POD_IDENTITY_ERRORS)


def _pod_rendered(answer: PodSession[AwsCredentials], region: str) -> dict[str, Any]:
    session, credentials, association = answer.issued.session, answer.issued.credential, answer.association
    cluster, namespace, name = association.subject.split("/")
    role = session.arn.rpartition("/")[2]
    arn = f"arn:aws:eks:{region}:{session.account}:podidentityassociation/{cluster}/{association.id}"
    return {
        "subject": {"namespace": namespace, "serviceAccount": name},
        "audience": SERVICE,
        "podIdentityAssociation": {"associationArn": arn, "associationId": association.id},
        "assumedRoleUser": {
            "arn": assumed_role_arn(session.account, role, session.name),
            "assumeRoleId": f"{session.principal_id}:{session.name}",
        },
        "credentials": {
            "sessionToken": credentials.token,
            "secretAccessKey": credentials.secret,
            "accessKeyId": credentials.access_key_id,
            "expiration": session.expires_at // 1000,
        },
    }


def pod_identity_routes(front: Front) -> tuple[Route, ...]:
    """The path of the API."""
    summary = "EKS Pod Identity: AssumeRoleForPodIdentity, by its service model"
    return (Route("/clusters/", PodIdentityEndpoint(front), summary, frozenset(), POD_IDENTITY_ERRORS, ASSUME_FOR_POD),)
