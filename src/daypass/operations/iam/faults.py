"""IAM's errors, with AWS's messages, in one place. A message never reveals more about an entity than the caller's own input.

Source: IAM API Reference, "Errors" of each operation, and the messages that the service sends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from daypass.domain.errors import DaypassError, ErrorKind

CONCURRENT: Final = (
    "The request was rejected because multiple requests to change this object were submitted simultaneously. "
    "Wait a few minutes and submit your request again."
)


def no_such(kind: str, name: str) -> DaypassError:
    """`kind` is "user", "group", "role", "user policy", …"""
    return DaypassError(ErrorKind.NOT_FOUND, f"The {kind} with name {name} cannot be found.")


def no_policy_source() -> DaypassError:
    """A user, group or role whose policies are requested."""
    return DaypassError(ErrorKind.NOT_FOUND, "Unable to retrieve specified IAM entity.")


def no_such_key(key_id: str) -> DaypassError:
    return DaypassError(ErrorKind.NOT_FOUND, f"The Access Key with id {key_id} cannot be found.")


def no_such_policy(arn: str) -> DaypassError:
    return DaypassError(ErrorKind.NOT_FOUND, f"Policy {arn} was not found.")


def not_attachable(arn: str) -> DaypassError:
    return DaypassError(ErrorKind.NOT_FOUND, f"Policy {arn} does not exist or is not attachable.")


def scope_not_attachable(arn: str) -> DaypassError:
    """A boundary that does not exist."""
    return DaypassError(ErrorKind.NOT_FOUND, f"Scope ARN: {arn} does not exist or is not attachable.")


def no_such_version(arn: str, version: str) -> DaypassError:
    return DaypassError(ErrorKind.NOT_FOUND, f"Policy {arn} version {version} does not exist or is not attachable.")


def exists(kind: str, name: str) -> DaypassError:
    """`kind` is "User", "Group" or "Role"."""
    return DaypassError(ErrorKind.ALREADY_EXISTS, f"{kind} with name {name} already exists.")


def instance_profile_exists(name: str) -> DaypassError:
    return DaypassError(ErrorKind.ALREADY_EXISTS, f"Instance Profile {name} already exists.")


def no_such_instance_profile(name: str) -> DaypassError:
    return DaypassError(ErrorKind.NOT_FOUND, f"Instance Profile {name} cannot be found.")


def not_in_instance_profile(role: str, profile: str) -> DaypassError:
    return DaypassError(ErrorKind.NOT_FOUND, f"Role {role} in Instance Profile {profile} cannot be found.")


def provider_exists(what: str, value: str) -> DaypassError:
    """`what` is "url" or "name"."""
    return DaypassError(ErrorKind.ALREADY_EXISTS, f"Provider with {what} {value} already exists.")


def no_oidc_provider(arn: str) -> DaypassError:
    return DaypassError(ErrorKind.NOT_FOUND, f"OpenIDConnect Provider not found for arn {arn}")


def no_oidc_provider_to_delete(arn: str) -> DaypassError:
    return DaypassError(ErrorKind.NOT_FOUND, f"OpenId connect Provider {arn} cannot be found.")


def no_saml_provider(arn: str) -> DaypassError:
    return DaypassError(ErrorKind.NOT_FOUND, f"Manifest not found for arn {arn}")


def no_such_private_key(key_id: str) -> DaypassError:
    return DaypassError(ErrorKind.NOT_FOUND, f"The private key with id {key_id} cannot be found.")


def alias_exists(alias: str) -> DaypassError:
    return DaypassError(ErrorKind.ALREADY_EXISTS, f"The account alias {alias} already exists.")


def no_such_alias(alias: str) -> DaypassError:
    return DaypassError(ErrorKind.NOT_FOUND, f"The account alias {alias} cannot be found.")


def no_password_policy(account: str) -> DaypassError:
    return DaypassError(ErrorKind.NOT_FOUND, f"The Password Policy with domain name {account} cannot be found.")


def no_password_policy_to_delete() -> DaypassError:
    return DaypassError(ErrorKind.NOT_FOUND, "The account policy with name PasswordPolicy cannot be found.")


def login_profile_exists(user: str) -> DaypassError:
    return DaypassError(ErrorKind.ALREADY_EXISTS, f"Login Profile for user {user} already exists.")


def no_login_profile(user: str) -> DaypassError:
    return DaypassError(ErrorKind.NOT_FOUND, f"Login Profile for User {user} cannot be found.")


def password_policy() -> DaypassError:
    """The same message for every rule, because the failed rule would help an attacker to guess."""
    return DaypassError(ErrorKind.PASSWORD_POLICY, "Password does not conform to the account password policy.")


def wrong_old_password() -> DaypassError:
    return DaypassError(ErrorKind.ACCESS_DENIED, "The old password was incorrect.")


def not_a_user() -> DaypassError:
    message = "The request was rejected because the type of user for the transaction was incorrect."
    return DaypassError(ErrorKind.INVALID_USER_TYPE, message)


def policy_exists(name: str) -> DaypassError:
    return DaypassError(
        ErrorKind.ALREADY_EXISTS, f"A policy called {name} already exists. Duplicate names are not allowed."
    )


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


def refuse_unsupported(params: Mapping[str, Any], names: Iterable[str]) -> None:
    """Refuses a value that would otherwise be ignored."""
    given = [name for name in names if params.get(name)]
    if given:
        raise invalid_input(f"{given[0]} is not supported by this service.")


def unreadable_arn(arn: str) -> DaypassError:
    """A provider's ARN that is not an ARN."""
    return invalid(f"ARN {arn} is not valid.")


def unreadable_policy_arn() -> DaypassError:
    """A policy's ARN that is not an ARN. The two spaces are AWS's."""
    return invalid("Invalid ARN:  Could not be parsed!")


def invalid_arn(arn: str) -> DaypassError:
    """The ARN of something else."""
    return invalid_input(f"ARN {arn} is not valid.")


def malformed_policy(message: str) -> DaypassError:
    return DaypassError(ErrorKind.MALFORMED_POLICY, message)


def not_own(intent: str) -> DaypassError:
    """Not allowed by any policy: changing a managed policy that does not belong to the caller's account."""
    return DaypassError(ErrorKind.ACCESS_DENIED, f"Cannot {intent} outside your own account.")


def tags_not_supported() -> DaypassError:
    """The tags of a policy that does not belong to the account."""
    return invalid_input("Tags not supported for policies in this domain")


def not_own_key(caller_arn: str, action: str, key_id: str) -> DaypassError:
    """An access key that does not exist or belongs to another account. It lacks the colon of other denials."""
    return DaypassError(
        ErrorKind.ACCESS_DENIED,
        f"User: {caller_arn} is not authorized to perform {action} on resource: access key {key_id}",
    )


def denied(caller_arn: str, action: str, resource: str, reason: str) -> DaypassError:
    """Refused by a rule of the service, not by a policy. `reason` is for the record."""
    return DaypassError(
        ErrorKind.ACCESS_DENIED,
        f"User: {caller_arn} is not authorized to perform: {action} on resource: {resource}",
        private={"reason": reason},
    )
