"""The path of the AWS query protocol."""

from __future__ import annotations

from daypass.wire.aws import iam, sts
from daypass.wire.aws.dispatch import METHODS, AwsEndpoint, services_from
from daypass.wire.aws.models import load
from daypass.wire.front import Front
from daypass.wire.routing import Route


def aws_routes(front: Front, home: str = "") -> tuple[Route, ...]:
    """The one path. The operation follows from Version and Action. `home`: see `AwsEndpoint`."""
    endpoint = AwsEndpoint(front, services_from(load, {"sts": sts.OPERATIONS, "iam": iam.OPERATIONS}), home)
    return (Route("/", endpoint, "The AWS query protocol: STS and IAM", METHODS, endpoint.errors),)
