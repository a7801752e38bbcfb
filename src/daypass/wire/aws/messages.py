"""How one service's messages about broken constraints differ from another's. Data and two small functions: it checks nothing.

Source: answers of AWS's own endpoints, recorded in 2025 and 2026. IAM no longer repeats the values that it refuses, and says of
names, paths and documents in a sentence what STS says with a pattern.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

REPEATS_VALUES = {"sts": True, "iam": False}

PATTERN_FIRST = {"sts": True, "iam": False}  # of several constraints that one value breaks

NAMES_ENUM_VALUES = {"sts": True, "iam": False}

_NAME = "It must contain only alphanumeric characters and/or the following: +=,.@_-"
_PATH = "It must begin and end with / and contain only alphanumeric characters and/or / characters."
_PREFIX = "It must begin with the / character and contain only alphanumeric characters and/or / characters."
_DOCUMENT = "It must contain only printable ASCII characters."
_KEY_ID = "It must contain only alphanumeric characters."

# By shape: the sentence about a value that breaks nothing but the shape's pattern.
_SENTENCES: Mapping[str, Mapping[str, str]] = {
    "iam": {
        "existingUserNameType": _NAME,
        "groupNameType": _NAME,
        "instanceProfileNameType": _NAME,
        "policyNameType": _NAME,
        "roleNameType": _NAME,
        "userNameType": _NAME,
        "virtualMFADeviceName": _NAME,
        "pathType": _PATH,
        "policyPathType": _PATH,
        "pathPrefixType": _PREFIX,
        "policyDocumentType": _DOCUMENT,
        "accessKeyIdType": _KEY_ID,
    }
}

# By shape of a list's member: whether its constraints, written out, say that it may not be null.
MEMBER_NOT_NULL = frozenset({("iam", "tagKeyType")})


def sentence(service: str, shape: str, member: str) -> str | None:
    """What a service says of a pattern that a member breaks, instead of showing the pattern; None where it shows it."""
    text = _SENTENCES.get(service, {}).get(shape)
    return _PREFIX if text is _PATH and member == "PathPrefix" else text


def reported(members: Iterable[str]) -> list[str]:
    """Members (lower camel case) in the order in which AWS reports them: that of a Java hash map of sixteen buckets."""
    return sorted(members, key=_bucket)


def _bucket(name: str) -> int:
    code = 0
    for character in name:
        code = (31 * code + ord(character)) & 0xFFFFFFFF
    return (code ^ (code >> 16)) & 15
