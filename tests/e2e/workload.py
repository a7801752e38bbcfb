"""A workload as pods and CI jobs are: boto3 with a token in a file and the variables that every AWS SDK knows, no more."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest
from tests.e2e.conftest import OPERATOR, Server

SESSION = "job"


class Workload:
    """It has the environment of this process, but nothing of AWS in it that was not put there for it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.token = folder / "token"
        self._missing = str(folder / "none")
        self._patch = monkeypatch

    def environment(self, server: Server, role: str) -> dict[str, str]:
        return {
            "AWS_ROLE_ARN": role,
            "AWS_ROLE_SESSION_NAME": SESSION,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(self.token),
            "AWS_ENDPOINT_URL_STS": server.url,
            "AWS_REGION": "eu-central-1",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": self._missing,
            "AWS_SHARED_CREDENTIALS_FILE": self._missing,
            "AWS_MAX_ATTEMPTS": "1",
        }

    def who(self, server: Server, role: str, token: str) -> str:
        """Who it is with this token, by a session of its own. Raises ClientError."""
        self.token.write_text(token)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
            self._patch.delenv(name, raising=False)
        for name, value in self.environment(server, role).items():
            self._patch.setenv(name, value)
        arn: str = boto3.Session().client("sts").get_caller_identity()["Arn"]
        return arn


def session_of(role: str) -> str:
    """The ARN of a workload that has this role of the operator's account."""
    return f"arn:aws:sts::{OPERATOR}:assumed-role/{role.rpartition('/')[2]}/{SESSION}"
