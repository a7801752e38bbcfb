"""Replays Project Wycheproof's vectors of signed tokens: where the algorithm can be allowed, the verdicts agree."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.vectors.place import jws_file

from daypass.crypto import jose
from daypass.domain.jws import JoseError
from daypass.domain.provider_settings import ALGORITHMS

pytestmark = pytest.mark.skipif(not jws_file().exists(), reason="the vectors are not here: docs/how-to/develop.md")

# Vectors that hold good only if a key serves for another algorithm than the one that it is marked with.
_OTHERWISE_MARKED = {"Figure20", "Figure27"}


def vectors() -> Iterator[Any]:
    if not jws_file().exists():
        return
    for group in json.loads(jws_file().read_text())["testGroups"]:
        key = group.get("public") or group["private"]
        keys = json.dumps(key if "keys" in key else {"keys": [key]}).encode()
        for test in group["tests"]:
            yield pytest.param(keys, test, id=f"{test['tcId']}-{test['comment'][:40]}")


@pytest.mark.parametrize(("keys", "test"), [*vectors()])
def test_vectors_of_signed_tokens_agree(keys: bytes, test: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    real = jose._object

    def any_payload(part: str, what: str) -> dict[str, Any]:  # theirs are not JSON
        return real(part, what) if what == "header" else {"read": jose._decode(part, what)}

    monkeypatch.setattr(jose, "_object", any_payload)
    try:
        jose.verify(jose.read(test["jws"]), keys, ALGORITHMS)
    except JoseError:
        symmetric = b'"oct"' in keys
        assert test["result"] == "invalid" or symmetric or test["comment"] in _OTHERWISE_MARKED
    else:
        assert test["result"] == "valid"
