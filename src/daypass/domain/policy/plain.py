"""Statements of a policy in plain language, for people. It describes; it decides nothing."""

from __future__ import annotations

from typing import Final, NamedTuple

from daypass.domain.policy.compiled import PolicyDocument, PrincipalValue, Statement
from daypass.domain.policy.condition import Condition
from daypass.domain.policy.model import Effect

_ACTIONS: Final = {
    "sts:assumerole": "assume the role",
    "sts:assumerolewithwebidentity": "assume the role with a token",
    "sts:assumerolewithsaml": "assume the role with a SAML assertion",
    "sts:tagsession": "set session tags",
    "sts:setsourceidentity": "set a source identity",
    "sts:setcontext": "set a context",
    "sts:*": "do everything that STS has for the role",
    "*": "do everything that STS has for the role",
}
_OPERATORS: Final = {
    "StringEquals": "is",
    "StringNotEquals": "is not",
    "StringEqualsIgnoreCase": "is (in any case of letters)",
    "StringNotEqualsIgnoreCase": "is not (in any case of letters)",
    "StringLike": "matches",
    "StringNotLike": "does not match",
    "ArnEquals": "matches",
    "ArnLike": "matches",
    "ArnNotEquals": "does not match",
    "ArnNotLike": "does not match",
    "IpAddress": "is in",
    "NotIpAddress": "is not in",
    "NumericEquals": "is",
    "NumericNotEquals": "is not",
    "NumericLessThan": "is less than",
    "NumericLessThanEquals": "is at most",
    "NumericGreaterThan": "is more than",
    "NumericGreaterThanEquals": "is at least",
    "DateEquals": "is",
    "DateNotEquals": "is not",
    "DateLessThan": "is before",
    "DateLessThanEquals": "is not after",
    "DateGreaterThan": "is after",
    "DateGreaterThanEquals": "is not before",
    "BinaryEquals": "is",
}
_SENTENCES: Final = {
    ("Bool", "daypass:approved", "true"): "an approved access request exists",
    ("Bool", "aws:multifactorauthpresent", "true"): "the caller has used MFA",
    ("Bool", "aws:securetransport", "true"): "the connection is encrypted",
    ("Bool", "daypass:oncall", "true"): "the person is on call",
}


class PlainStatement(NamedTuple):
    """A statement in words: "Users of account 1 may assume the role, if all of these hold: …". A trust policy has no
    `resources`; another one has no `principals`.
    """

    sid: str
    allows: bool
    line: int
    end_line: int
    principals: tuple[str, ...]
    actions: tuple[str, ...]
    conditions: tuple[str, ...]
    resources: tuple[str, ...] = ()


def plain(document: PolicyDocument) -> tuple[PlainStatement, ...]:
    """The statements of a policy, in their order."""
    return tuple(_statement(statement) for statement in document.statements)


def _statement(statement: Statement) -> PlainStatement:
    excepted = "everyone except " if statement.not_principal else ""
    principals = [f"{excepted}{_principal(value)}" for value in statement.principal_values]
    named = statement.written.get("NotAction" if statement.not_action else "Action", ())
    words = _ACTIONS if statement.principal_values else {"*": "do everything"}
    actions = [words.get(action.lower(), action) for action in named]
    if statement.not_action:
        actions = [f"everything except: {', '.join(actions)}"]
    resources = statement.written.get("NotResource" if statement.not_resource else "Resource", ())
    if "*" in resources and not statement.not_resource:
        resources = ("every resource",)
    elif statement.not_resource:
        resources = (f"everything except: {', '.join(resources)}",)
    return PlainStatement(
        statement.sid,
        statement.effect is Effect.ALLOW,
        statement.line,
        statement.end_line,
        tuple(dict.fromkeys(principals)),
        tuple(dict.fromkeys(actions)),
        tuple(_condition(condition) for condition in statement.conditions),
        resources,
    )


def _principal(principal_value: PrincipalValue) -> str:
    value = principal_value.value
    if value == "*":
        return "everyone"
    if principal_value.type == "Service":
        return f"the service {value}"
    if principal_value.type == "Federated":
        return f"people and workloads of the identity provider {value.rpartition('provider/')[2] or value}"
    if value.isdigit():
        return f"principals of account {value} whose own policies allow it"
    account, _, resource = value.partition("::")[2].partition(":")
    kind, _, name = resource.partition("/")
    match kind:
        case "root":
            return f"principals of account {account} whose own policies allow it"
        case "user" | "role":
            return f"the {kind} {name} of account {account}"
        case "assumed-role":
            return f"the session {name.partition('/')[2]} of the role {name.partition('/')[0]} of account {account}"
        case _:
            return value


def _condition(condition: Condition) -> str:
    return plain_condition(condition.written, condition.key, condition.values)


def plain_condition(written: str, key: str, values: tuple[str, ...]) -> str:
    """A condition in words. `written`: its operator, for example "ForAnyValue:StringLikeIfExists"."""
    quantifier, _, name = written.removesuffix("IfExists").rpartition(":")
    sentence = _SENTENCES.get((name, key.lower(), values[0].lower())) if len(values) == 1 else None
    if sentence is None and name == "Null":
        sentence = f"{key} {'is absent' if values[:1] == ('true',) else 'is present'}"
    if sentence is None:
        which = {"ForAllValues": "each value of ", "ForAnyValue": "one value of "}.get(quantifier, "")
        sentence = f"{which}{key} {_OPERATORS.get(name, 'is')} {_listed(values, negated='Not' in name)}"
    return f"{sentence}, or it is absent" if written.endswith("IfExists") else sentence


def _listed(values: tuple[str, ...], *, negated: bool) -> str:
    return (" and not " if negated else " or ").join(values)
