"""The managed policies under the ARN of AWS: AWS's own, two of Daypass, and further ones of the operator. And the roles
that services of AWS use.

AWS's are a compressed list (`tools/aws_policies.py` makes it) that is read when the first of them is needed. They hold
nothing of any installation.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final, NamedTuple

_PREFIX: Final = "arn:aws:iam::aws:policy/"
_OWN: Final = ("DaypassAdministratorAccess", "DaypassOperatorAccess")
_SINCE: Final = 1_423_247_992_000  # 2015-02-06, when AWS created its first managed policies


class Dates(NamedTuple):
    """When a policy was created and last updated (ms), and the number of its default version."""

    created_at: int = _SINCE
    updated_at: int = _SINCE
    version: int = 1


class BuiltinPolicies(Mapping[str, str]):
    """The text of every managed policy that is not stored, by its ARN. `further`: those of the operator, which come first.

    Nothing is read for an ARN of another form.
    """

    def __init__(self, further: Mapping[str, str] | None = None) -> None:
        self._further = dict(further or {})

    def __getitem__(self, arn: str) -> str:
        if arn in self._further:
            return self._further[arn]
        if not arn.startswith(_PREFIX):
            raise KeyError(arn)
        name = arn.removeprefix(_PREFIX)
        if name in _OWN:
            return _own_text(name)
        text, start, end, _ = _listed()[name]
        return text[start:end].decode()

    def __contains__(self, arn: object) -> bool:
        if not isinstance(arn, str) or not arn.startswith(_PREFIX):
            return arn in self._further
        name = arn.removeprefix(_PREFIX)
        return arn in self._further or name in _OWN or name in _listed()

    def __iter__(self) -> Iterator[str]:
        shipped = (_PREFIX + name for name in (*_OWN, *_listed()))
        return iter(dict.fromkeys((*self._further, *shipped)))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def dates(self, arn: str) -> Dates:
        """The dates of a policy that exists."""
        name = arn.removeprefix(_PREFIX)
        return Dates() if arn in self._further or name in _OWN else _listed()[name][3]


@cache
def _own_text(name: str) -> str:
    return (files(__name__) / "policies" / f"{name}.json").read_text("utf-8")


@cache
def _listed() -> Mapping[str, tuple[bytes, int, int, Dates]]:
    """For each policy of AWS, by path and name: the whole list, the place of its document in it, and its dates."""
    text = lzma.decompress((files(__name__) / "aws_policies.xz").read_bytes())
    found: dict[str, tuple[bytes, int, int, Dates]] = {}
    start = text.index(b"\n") + 1  # after the line about the list
    while start < len(text):
        end = text.index(b"\n", start)
        name, created, updated, version, document = text[start:end].split(b"\t", 4)
        dates = Dates(int(created), int(updated), int(version))
        found[name.decode()] = (text, end - len(document), end, dates)
        start = end + 1
    return found


class ServiceLinkedRole(NamedTuple):
    """The role of a service of AWS. `policy`: the ARN of its policy; "": AWS has withdrawn it."""

    service: str
    name: str
    policy: str
    suffixes: bool


@cache
def service_linked_roles() -> Mapping[str, ServiceLinkedRole]:
    """Service-linked roles by the name of the service: `autoscaling.amazonaws.com`."""
    rows = (files(__name__) / "service_linked_roles.tsv").read_text("utf-8").splitlines()[1:]
    found = {}
    for row in rows:
        service, name, policy, *suffixes = row.split("\t")
        arn = f"{_PREFIX}aws-service-role/{policy}" if policy else ""
        found[service] = ServiceLinkedRole(service, f"AWSServiceRoleFor{name}", arn, bool(suffixes))
    return found


def policies_in(directory: Path) -> Mapping[str, str]:
    """The text of every file of a directory by the ARN of the AWS-named policy that it holds.

    NAME.json, or PATH/NAME.json for a policy with a path: `service-role/AWSLambdaBasicExecutionRole.json`. Raises
    OSError, and ValueError for a file that is not text.
    """
    return {
        _PREFIX + file.relative_to(directory).with_suffix("").as_posix(): file.read_text("utf-8")
        for file in sorted(directory.rglob("*.json"))
    }
