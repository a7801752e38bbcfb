"""`POST /clusters/NAME/assume-role-for-pod-identity`: the eks-auth API, by its service model. The caller is a node's agent."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from daypass.domain.arn import assumed_role_arn
from daypass.domain.errors import DaypassError, Family
from daypass.domain.errors import ErrorKind as Kind
from daypass.operations.assume.forms import AWS_FORM, AwsCredentials
from daypass.operations.assume.pod_identity import SERVICE, SIGNING_NAME, PodSession, assume_role_for_pod_identity
from daypass.wire.front import ErrorFormat, Front, Progress, Refusal, target_of
from daypass.wire.http import Request, Response
from daypass.wire.rolesanywhere.model import (
    Model,
    RolesAnywhereErrors,
    json_response,
    segments_of,
    wire_error,
)
from daypass.wire.routing import Route
from daypass.wire.service_models import description_of

OPERATION: Final = f"{SIGNING_NAME}:AssumeRoleForPodIdentity"
_CODES: Final[Mapping[Kind, tuple[str, int]]] = {
    Kind.EXPIRED_IDENTITY_TOKEN: ("ExpiredTokenException", 400),
    Kind.VALIDATION: ("InvalidParameterException", 400),
    Kind.MALFORMED_REQUEST: ("InvalidRequestException", 400),
}


@cache
def _model() -> Model:
    return Model(description_of(SIGNING_NAME, "2023-11-26"))


class PodIdentityErrors(RolesAnywhereErrors):
    """`front.ErrorFormat`, with the codes of eks-auth."""

    def refused(self, request: Request, refusal: Refusal) -> Response:
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
        progress = Progress(request, OPERATION, detail=target_of(request))
        try:
            segments = segments_of(request.raw_path)
            operation = _model().find(request.method, segments)
            call = await self._front.authenticated(progress, (SIGNING_NAME,), 1.0)
            given = operation.parse(segments, request.raw_query, request.body)
            answer = await assume_role_for_pod_identity(
                self._front.env, call, given["clusterName"], given["token"], AWS_FORM
            )
            return json_response(200, _rendered(answer, call.facts.region), OPERATION)
        except DaypassError as error:
            return await self._front.refuse(progress, error, POD_IDENTITY_ERRORS)


def _rendered(answer: PodSession[AwsCredentials], region: str) -> dict[str, Any]:
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
    return (Route("/clusters/", PodIdentityEndpoint(front), summary, frozenset(), POD_IDENTITY_ERRORS, OPERATION),)
