"""Parameters for every operation of the service models: well-formed ones, and the same with something wrong in them."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape

HOSTILE = (
    "", " ", "*", "?", "0", "-1", "1", "3601", "99999999999999999999", "\uff11\uff12", "1e3", "NaN", "true", "None", "null", "\0", "a\0b",
    "x\n", "\r\nX: y", "\x1b[31m", "\ud800", "\udfff\ud800", "\ufffe\uffff", "\u202e", "\u212a", "\u017f", "e\u0301", "\U0010ffff", "${aws:username}",
    "${", "${}", "${a", "${a,'b'}", "../..", "%00", "%", "+", "&a=b", "<a>&amp;]]>", "'; DROP TABLE x; --", "/", "//", "/a", "a/", "/a//b/",
    "a" * 63, "a" * 64, "a" * 65, "a" * 128, "a" * 129, "a" * 2049, "\u00e9" * 600, "\U0001f511" * 300, "a" * 20_000, "=", "AAAA", "AQ==", "A" * 500,
    "arn:aws:iam::111122223333:role/", "arn:aws:iam::111122223333:user/\n", "arn:aws:iam::aws:policy/AdministratorAccess",
    "arn:aws:iam::999999999999:policy/x", "arn:::::", "arn:aws:iam::111122223333:root", "arn:aws:sts::111122223333:assumed-role/a/b",
    "{}", "[]", '"', "{", "[" * 3000, '{"Version":"2012-10-17","Statement":[]}', "1" * 5000,
)  # fmt: skip
NODES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 1e308, 10**30, "", "*", "a", "\ud800", "\0", "${", "${aws:username", "${a,'}", [], {}, [[]], [{}], {"": ""},
    ["*", "*"], {"AWS": "*"}, {"AWS": ["1" * 12, "x"]}, {"Federated": "*"}, {"Service": 3}, {"StringLike": {"a": "${b}"}}, "::", ":", "a:b:c",
    {"ForAllValues:StringEqualsIfExists": {"aws:TagKeys": []}}, {"NumericLessThan": {"a": "1" * 4000}}, {"Bool": {"a": 3}}, {"Null": {"a": "x"}},
    {"IpAddress": {"aws:SourceIp": ["::ffff:10.0.0.1/104", "10.0.0.0/33", "x"]}}, {"DateLessThan": {"aws:CurrentTime": "9" * 30}}, "k" * 5000,
    {"BinaryEquals": {"a": "!"}}, {"ArnLike": {"aws:PrincipalArn": "arn:*:\u212a"}}, "2012-10-17", "2008-10-17", "Allow", "Deny", ["x"] * 300,
)  # fmt: skip
STATEMENTS: tuple[dict[str, Any], ...] = (
    {"Sid": "A", "Effect": "Allow", "Action": ["iam:*", "sts:*"], "Resource": "*"},
    {"Effect": "Deny", "NotAction": "iam:Get*", "NotResource": ["arn:aws:iam::*:user/${aws:username}"],
     "Condition": {"StringLikeIfExists": {"aws:PrincipalTag/a": ["b*", "${aws:username, 'x'}"]}, "Bool": {"aws:SecureTransport": "true"}}},
    {"Effect": "Allow", "Action": "orders:Read*", "Resource": "arn:aws:orders:::*",
     "Condition": {"ForAnyValue:StringEquals": {"aws:TagKeys": ["a"]}, "DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"},
                   "NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}, "NumericEquals": {"sts:DurationSeconds": "3600"}}},
    {"Effect": "Allow", "Principal": {"AWS": ["111122223333"]}, "Action": ["sts:AssumeRole", "sts:TagSession"]},
    {"Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole", "Condition": {"Null": {"sts:ExternalId": "true"}}},
)  # fmt: skip


def operations(service: str, served: Mapping[str, Any]) -> Iterator[tuple[str, Shape | None]]:
    """The served operations of a service with their input shapes, by the model that every stock SDK has."""
    model = ServiceModel(Loader().load_service_model(service, "service-2"), service)
    for name in sorted(served):
        yield name, model.operation_model(name).input_shape


class Junk:
    """A seeded source of parameters. `names` are lists of what exists, by member name: half of all values are theirs."""

    def __init__(self, seed: int, names: Mapping[str, list[str]]) -> None:
        self.rng = random.Random(seed)
        self._names = names

    def form(self, shape: Shape | None) -> dict[str, str]:
        """The flat parameters of one call."""
        rng = self.rng
        out: dict[str, str] = {}
        wrong = rng.choice((0.0, 0.0, 0.05, 0.3))  # half of all calls are well-formed and get to the operation itself
        optional = rng.choice((0.05, 0.4))
        for name, member in shape.members.items() if shape is not None else ():
            required = name in shape.required_members
            if (required and (not wrong or rng.random() > 0.05)) or rng.random() < optional:
                self._put(out, name, name, member, wrong)
        while wrong > 0.1 and rng.random() < 0.4:
            out[self._bad_name(list(out))] = rng.choice(HOSTILE)
        return out

    def _put(self, out: dict[str, str], path: str, name: str, shape: Shape, wrong: float) -> None:
        rng = self.rng
        if rng.random() < wrong:
            out[path] = rng.choice(HOSTILE)
        elif shape.type_name == "structure":
            for below, member in shape.members.items():
                if below in shape.required_members or rng.random() < 0.8:
                    self._put(out, f"{path}.{below}", below, member, wrong)
        elif shape.type_name == "list":
            for at in range(1, 1 + rng.choice((0, 1, 2, 2, 3, 51 if wrong else 4))):
                self._put(out, f"{path}.member.{at}", name, shape.member, wrong)
        else:
            out[path] = self._scalar(name, shape)

    def _scalar(self, name: str, shape: Shape) -> str:
        rng = self.rng
        if shape.type_name in ("integer", "long"):
            low, high = int(shape.metadata.get("min", 0)), int(shape.metadata.get("max", 43_200))
            return str(rng.choice((low, high, 900, 3600, rng.randint(low, high))))
        if shape.type_name == "boolean":
            return rng.choice(("true", "false"))
        if getattr(shape, "enum", None):
            return str(rng.choice(shape.enum))
        if name not in self._names and ("Document" in name or name == "Policy"):
            return self.document()
        return rng.choice(self._names.get(name) or self._names[""])

    def _bad_name(self, names: list[str]) -> str:
        spoil: tuple[Callable[[str], str], ...] = (
            lambda n: n + ".member", lambda n: n + ".member.0", lambda n: n + ".member.x", lambda n: n + ".", lambda n: "." + n,
            lambda n: n + ".entry.1.key", lambda n: n.lower(), lambda n: n + ".member.1.Key", lambda n: n + "\0", lambda n: n + ".a" * 20,
            lambda n: n.rpartition(".")[0] or "..", lambda n: n + ".member.9999", lambda n: n + ".member.\u0661",
        )  # fmt: skip
        return self.rng.choice(spoil)(self.rng.choice(names or ["Tags"]))

    def document(self) -> str:
        """A policy document: as often as not with a wrong node, or with wrong bytes."""
        rng = self.rng
        made: Any = {"Version": rng.choice(("2012-10-17", "2012-10-17", "2008-10-17")), "Statement": []}
        trusting = rng.random() < 0.4
        for _ in range(rng.choice((1, 1, 2, 3))):
            made["Statement"].append(copy.deepcopy(rng.choice(STATEMENTS[3:] if trusting else STATEMENTS[:3])))
        if rng.random() < 0.5:
            for _ in range(rng.choice((1, 1, 2))):
                self._spoil(made)
        text = json.dumps(made)
        if rng.random() < 0.1:
            at = rng.randrange(len(text))
            text = text[:at] + rng.choice(HOSTILE[:60]) + text[at + rng.randrange(3) :]
        return text

    def _spoil(self, node: Any) -> None:
        """Puts something else in place of one node somewhere below."""
        rng = self.rng
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                return
            key = rng.choice(keys)
            if isinstance(node[key], (dict, list)) and node[key] and rng.random() < 0.8:
                node = node[key]
                continue
            if isinstance(node, dict) and rng.random() < 0.3:
                node[
                    rng.choice(("Principal", "NotPrincipal", "Condition", "NotAction", "Id", "Sid", key.lower(), "x"))
                ] = rng.choice(NODES)
            else:
                node[key] = copy.deepcopy(rng.choice(NODES))
            return
