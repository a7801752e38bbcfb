"""The service models: what operations there are, and for each its compiled parser, checker and serializer.

The descriptions are read once, at first use. An operation is compiled when it is first called. Nothing here knows what an operation does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from daypass.wire.aws import json, query, validate
from daypass.wire.service_models import description_of

VERSIONS: Mapping[str, str] = {"sts": "2011-06-15", "iam": "2010-05-08"}
REDACTED = "***"

# Members that are secret whatever the models say of their shapes.
_SECRET_MEMBERS = frozenset(
    {
        "AuthenticationCode1",
        "AuthenticationCode2",
        "Base32StringSeed",
        "ContextAssertion",
        "NewPassword",
        "OldPassword",
        "Password",
        "PrivateKey",
        "SAMLAssertion",
        "SecretAccessKey",
        "ServicePassword",
        "SessionToken",
        "TokenCode",
        "TradeInToken",
        "WebIdentityToken",
    }
)


# Source: STS API reference, AssumeRole, Policy: "can't exceed 2,048 characters". The other operations' models say so.
_DOCUMENTED_LIMITS: Mapping[tuple[str, str], Mapping[str, int]] = {
    ("sts", "unrestrictedSessionPolicyDocumentType"): {"max": 2048}
}


@dataclass(frozen=True, slots=True)
class ModelOperation:
    """One operation, compiled."""

    name: str  # as the Action parameter has it
    anonymous: bool  # called without a signature, because the proof is in its parameters
    members: frozenset[str]  # names of its parameters
    parse: query.Parse  # form to typed parameters; raises DaypassError(MALFORMED_REQUEST)
    check: validate.Check  # whether typed parameters meet every constraint
    explain: Callable[[Mapping[str, Any]], str]  # AWS's message for those that do not
    render: Callable[[Mapping[str, Any], str], bytes]  # result and request id to the answer's XML
    render_json: Callable[[Mapping[str, Any], str], bytes]  # the same in AWS's JSON form
    secret_members: frozenset[str]

    def redact(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Typed parameters for the record, with `***` in place of every secret."""
        return {name: _redact(name, value, self.secret_members) for name, value in params.items()}

    def redact_text(self, name: str, text: str) -> str:
        """The same for one parameter that is not parsed yet, by its flat name (`Tags.member.1.Key`)."""
        return REDACTED if self.secret_members.intersection(name.split(".")) else text


def _redact(name: str, value: Any, secret: frozenset[str]) -> Any:
    if name in secret:
        return REDACTED
    if isinstance(value, Mapping):
        return {key: _redact(key, item, secret) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redact("", item, secret) for item in value]
    return REDACTED if isinstance(value, bytes) else value


class ServiceModel:
    """One service's description. `operation` compiles at first use."""

    def __init__(self, name: str, description: Mapping[str, Any]) -> None:
        self.name = name
        self.version: str = description["metadata"]["apiVersion"]
        self.namespace: str = description["metadata"]["xmlNamespace"]
        self._shapes: json.Shapes = _with_documented_limits(name, description["shapes"])
        self._operations: Mapping[str, Mapping[str, Any]] = description["operations"]
        self._checks = validate.Checks(name, self._shapes)
        self._compiled: dict[str, ModelOperation] = {}
        secret = {
            member
            for shape in self._shapes.values()
            for member, target in shape.get("members", {}).items()
            if self._shapes[target["shape"]].get("sensitive") or target.get("sensitive")
        }
        self._secret_members = frozenset(secret | _SECRET_MEMBERS)

    @property
    def names(self) -> frozenset[str]:
        """The names of all its operations, served or not."""
        return frozenset(self._operations)

    def operation(self, name: str) -> ModelOperation | None:
        """The operation with exactly this name; None when the service has none."""
        operation = self._compiled.get(name)
        if operation is None and name in self._operations:
            operation = self._compiled[name] = self._compile(self._operations[name])
        return operation

    def _compile(self, description: Mapping[str, Any]) -> ModelOperation:
        shape_name = description["input"]["shape"] if "input" in description else ""
        check: validate.Check = self._checks.compile(shape_name) if shape_name else (lambda _: True)
        return ModelOperation(
            name=description["name"],
            anonymous=description.get("authtype") == "none",
            members=frozenset(self._shapes[shape_name]["members"]) if shape_name else frozenset(),
            parse=query.compile_input(self._shapes, description),
            check=check,
            explain=lambda params: validate.explain(self.name, self._shapes, shape_name, params),
            render=json.compile_result(self._shapes, self.namespace, description),
            render_json=partial(json.result, self._shapes, description),
            secret_members=self._secret_members,
        )


def _with_documented_limits(service: str, shapes: json.Shapes) -> json.Shapes:
    """The shapes, with the limits that AWS documents but does not write into the model."""
    return {name: {**shape, **_DOCUMENTED_LIMITS.get((service, name), {})} for name, shape in shapes.items()}


@cache
def load(name: str) -> ServiceModel:
    """The model of `sts` or `iam`. Raises FileNotFoundError when botocore's data files are not installed."""
    return ServiceModel(name, description_of(name, VERSIONS[name]))
