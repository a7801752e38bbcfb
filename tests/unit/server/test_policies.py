"""The managed policies that an operator adds from files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daypass.config import ConfigError
from daypass.server.from_settings import further_policies

STATEMENT = {"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "*"}
DOCUMENT = json.dumps({"Version": "2012-10-17", "Statement": [STATEMENT]})


def test_further_policies_have_the_paths_of_their_files(tmp_path: Path) -> None:
    (tmp_path / "service-role").mkdir()
    (tmp_path / "service-role" / "AWSLambdaBasicExecutionRole.json").write_text(DOCUMENT)
    (tmp_path / "Billing.json").write_text(DOCUMENT)
    (tmp_path / "README.md").write_text("no policy")
    assert further_policies(tmp_path) == {
        "arn:aws:iam::aws:policy/Billing": DOCUMENT,
        "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole": DOCUMENT,
    }
    assert further_policies(None) == {}


@pytest.mark.parametrize("content", [b"{", b'{"PolicyVersion": {}}', b"\xff"])
def test_further_policies_that_are_none_keep_the_server_from_starting(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "Broken.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"^aws\.policies: .*(policy/Broken|utf-8)"):
        further_policies(tmp_path)


def test_further_policies_need_their_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a directory"):
        further_policies(tmp_path / "none")
