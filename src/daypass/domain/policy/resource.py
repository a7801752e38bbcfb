"""The form of Resource elements: which texts AWS accepts, and how it completes a short ARN.

This module never checks that a resource exists.
Source: IAM User Guide, "IAM JSON policy elements: Resource", and the refusals that IAM returns.
"""

from __future__ import annotations

from daypass.domain.arn import PARTITIONS
from daypass.domain.policy.pattern import replace_braces, tokenize

_IAM_PATHS = (
    "user/",
    "federated-user/",
    "role/",
    "group/",
    "instance-profile/",
    "mfa/",
    "server-certificate/",
    "policy/",
    "sms-mfa/",
    "saml-provider/",
    "oidc-provider/",
    "report/",
    "access-report/",
)
_S3_REGIONAL = ("accesspoint/", "job/", "storage-lens", "access-grants/")


def fields(text: str) -> list[str]:
    """The fields of an ARN pattern, six at most. The colons of a variable are not separators."""
    parts: list[str] = []
    at = 0
    masked = replace_braces(text, lambda variable: "_" * len(variable))
    for part in masked.split(":", 5):
        parts.append(text[at : at + len(part)])
        at += len(part) + 1
    return parts


def completed(text: str) -> str:
    """The pattern with `*` for every missing field of a short ARN, as AWS completes it."""
    if text == "*" or (text.count(":") > 4 and "${" not in text):
        return text
    return text + ":*" * (6 - len(fields(text)))


def refusal(text: str) -> str | None:
    """AWS's message for a text that is neither `*` nor a valid ARN; None when AWS accepts it."""
    if text == "*":
        return None
    parts = fields(text)
    if len(parts) == 1:
        return f'Resource {text} must be in ARN format or "*".'
    if parts[1] != "*" and parts[1] not in PARTITIONS:
        padded = ":".join((parts[1], *(part for part in parts[2:]), *["*"] * (6 - len(parts))))
        return f'Partition "{parts[1]}" is not valid for resource "arn:{padded}".'
    if parts[0] != "arn":
        return f'Resource {text} must be in ARN format or "*".'
    if len(parts) == 2 or "*" in parts[2] or "?" in parts[2]:
        return "Resource vendor must be fully qualified and cannot contain regexes."
    return _service_refusal(text, parts) if len(parts) == 6 else None


def _service_refusal(text: str, parts: list[str]) -> str | None:
    _, _, service, region, _, name = parts
    if service == "s3" and region and not name.startswith(_S3_REGIONAL):
        return f"Resource {text} can not contain region information."
    if service == "iam" and region:
        return f"IAM resource {text} cannot contain region information."
    if service == "iam" and name not in ("*", "root") and not name.startswith(_IAM_PATHS):
        return f'IAM resource path must either be "*", root, or start with {", ".join(_IAM_PATHS)}.'
    return None


def is_legacy(text: str, *, variables: bool) -> bool:
    """Whether AWS's older parser accepts it: it requires a service name, and accepts ARNs with empty fields and variables."""
    if text == "*":
        return True
    parts = fields(text)
    if not parts[2] or (len(parts) < 6 and "" in parts):
        return False
    try:
        tokenize(text, variables=variables, wildcards=True)
    except ValueError:
        return False
    return True
