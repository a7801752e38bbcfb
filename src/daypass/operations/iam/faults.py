"""IAM's errors, with AWS's messages: those that several operations send. A message never reveals more about an entity than the caller's own input.

Source: IAM API Reference, "Errors" of each operation, and the messages that the service sends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from daypass.domain.errors import DaypassError, ErrorKind

CONCURRENT: Final = (
    "The request was rejected because multiple requests to change this object were submitted simultaneously. "
    "Wait a few minutes and submit your request again."
)
_UNSUPPORTED: Final = (
    *("ContextProvider", "IdentityCenterInstanceArn"),
    *("RemoveContextProvider", "RemoveIdentityCenterInstance"),
)


def not_found(message: str) -> DaypassError:
    return DaypassError(ErrorKind.NOT_FOUND, message)


def already_exists(message: str) -> DaypassError:
    return DaypassError(ErrorKind.ALREADY_EXISTS, message)


def no_such(kind: str, name: str) -> DaypassError:
    """`kind` is "user", "group", "role", "user policy", …"""
    return not_found(f"The {kind} with name {name} cannot be found.")


def no_such_policy(arn: str) -> DaypassError:
    return not_found(f"Policy {arn} was not found.")


def no_such_version(arn: str, version: str) -> DaypassError:
    return not_found(f"Policy {arn} version {version} does not exist or is not attachable.")


def exists(kind: str, name: str) -> DaypassError:
    """`kind` is "User", "Group" or "Role"."""
    return already_exists(f"{kind} with name {name} already exists.")


def provider_exists(what: str, value: str) -> DaypassError:
    """`what` is "url" or "name"."""
    return already_exists(f"Provider with {what} {value} already exists.")


def login_profile_exists(user: str) -> DaypassError:
    return already_exists(f"Login Profile for user {user} already exists.")


def password_policy() -> DaypassError:
    """The same message for every rule, because the failed rule would help an attacker to guess."""
    return DaypassError(ErrorKind.PASSWORD_POLICY, "Password does not conform to the account password policy.")


def must_first(what: str) -> DaypassError:
    """`what` must be done before the entity can be deleted: "detach all policies"."""
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


def missing(member: str) -> DaypassError:
    """A member that the service model does not require, but this operation does."""
    return invalid(
        f"1 validation error detected: Value at '{member}' failed to satisfy constraint: Member must not be null"
    )


def refuse_unsupported(params: Mapping[str, Any]) -> None:
    """Refuses parameters of identity providers that would otherwise be ignored."""
    for name in _UNSUPPORTED:
        if params.get(name):
            raise invalid_input(f"{name} is not supported by this service.")


def invalid_arn(arn: str) -> DaypassError:
    """The ARN of something else."""
    return invalid_input(f"ARN {arn} is not valid.")


def malformed_policy(message: str) -> DaypassError:
    return DaypassError(ErrorKind.MALFORMED_POLICY, message)


def denied(caller_arn: str, action: str, resource: str, reason: str) -> DaypassError:
    """Refused by a rule of the service, not by a policy. `reason` is for the record."""
    return DaypassError(
        ErrorKind.ACCESS_DENIED,
        f"User: {caller_arn} is not authorized to perform: {action} on resource: {resource}",
        private={"reason": reason},
    )
