"""IAM's refusals, in AWS's words, in one place. Never says more about an entity than its caller named itself.

Source: IAM API Reference, "Errors" of each operation, and the messages that the service sends.
"""

from __future__ import annotations

from typing import Final

from daypass.domain.errors import DaypassError, ErrorKind

MOVED: Final = (
    "The request was rejected because multiple requests to change this object were submitted simultaneously. "
    "Wait a few minutes and submit your request again."
)


def no_such(kind: str, name: str) -> DaypassError:
    """`kind` is "user", "group", "role", "user policy", …"""
    return DaypassError(ErrorKind.NOT_FOUND, f"The {kind} with name {name} cannot be found.")


def no_such_key(key_id: str) -> DaypassError:
    return DaypassError(ErrorKind.NOT_FOUND, f"The Access Key with id {key_id} cannot be found.")


def no_such_policy(arn: str) -> DaypassError:
    return DaypassError(ErrorKind.NOT_FOUND, f"Policy {arn} was not found.")


def not_attachable(arn: str) -> DaypassError:
    return DaypassError(ErrorKind.NOT_FOUND, f"Policy {arn} does not exist or is not attachable.")


def no_such_version(arn: str, version: str) -> DaypassError:
    return DaypassError(ErrorKind.NOT_FOUND, f"Policy {arn} version {version} does not exist or is not attachable.")


def exists(kind: str, name: str) -> DaypassError:
    """`kind` is "User", "Group" or "Role"."""
    return DaypassError(ErrorKind.ALREADY_EXISTS, f"{kind} with name {name} already exists.")


def policy_exists(name: str) -> DaypassError:
    return DaypassError(
        ErrorKind.ALREADY_EXISTS, f"A policy called {name} already exists. Duplicate names are not allowed."
    )


def must_first(what: str) -> DaypassError:
    """`what` must be done before the entity can go: "detach all policies"."""
    return DaypassError(ErrorKind.DELETE_CONFLICT, f"Cannot delete entity, must {what} first.")


def delete_conflict(message: str) -> DaypassError:
    return DaypassError(ErrorKind.DELETE_CONFLICT, message)


def over_quota(quota: str, limit: int) -> DaypassError:
    return DaypassError(ErrorKind.LIMIT_EXCEEDED, f"Cannot exceed quota for {quota}: {limit}")


def over_limit(message: str) -> DaypassError:
    return DaypassError(ErrorKind.LIMIT_EXCEEDED, message)


def invalid_input(message: str) -> DaypassError:
    return DaypassError(ErrorKind.INVALID_INPUT, message)


def invalid(message: str) -> DaypassError:
    return DaypassError(ErrorKind.VALIDATION, message)


def invalid_arn(arn: str) -> DaypassError:
    return invalid_input(f"ARN {arn} is not valid.")


def malformed_policy(message: str) -> DaypassError:
    return DaypassError(ErrorKind.MALFORMED_POLICY, message)


def denied(caller_arn: str, action: str, resource: str) -> DaypassError:
    """What no policy can allow: a managed policy that is not the caller's account's own."""
    return DaypassError(
        ErrorKind.ACCESS_DENIED, f"User: {caller_arn} is not authorized to perform: {action} on resource: {resource}"
    )
