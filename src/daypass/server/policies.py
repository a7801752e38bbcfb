"""Managed policies of the operator, from the files in the directory `aws.policies`."""

from __future__ import annotations

from pathlib import Path

from daypass.config import ConfigError
from daypass.data import policies_in
from daypass.domain.policy.document import PolicyKind, parse
from daypass.domain.policy.source import PolicyError


def further_policies(directory: Path | None) -> dict[str, str]:
    """An operator's own AWS-named managed policies by ARN. Raises ConfigError for a file without a valid policy."""
    if directory is None:
        return {}
    try:
        if not directory.is_dir():
            raise ConfigError(f"aws.policies: {directory} is not a directory.")
        texts = policies_in(directory)
    except (OSError, ValueError) as error:
        raise ConfigError(f"aws.policies: {error}") from None
    for arn, text in texts.items():
        try:
            parse(text, PolicyKind.MANAGED)
        except PolicyError as error:
            raise ConfigError(f"aws.policies: {arn}: {error.message}") from None
    return dict(texts)
