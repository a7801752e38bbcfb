"""Replays aws-c-auth's v4 vectors, signed in headers and presigned, with the clock of the vectors.

Vectors that are not to be normalised have a canonical request of S3's form, with the path as it was sent. Of those the
signature is replayed from their canonical request; where their path differs from the normalised one, the request is
refused here, as STS and IAM refuse it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.vectors.place import c_auth_folder

from daypass import sigv4
from daypass.sigv4.canonical import presign, query_pairs, signature

NOW = 1_440_938_160_000  # 2015-08-30T12:36:00Z
AMZ_DATE = "20150830T123600Z"
FOLDERS = sorted(path.parent for path in c_auth_folder().glob("*/context.json"))
CASES = [(folder, kind) for folder in FOLDERS for kind in ("header", "query")]

pytestmark = pytest.mark.skipif(not FOLDERS, reason="aws-c-auth's vectors are not here: `make vectors` fetches them")
each_vector = pytest.mark.parametrize(("folder", "kind"), CASES, ids=lambda v: v.name if isinstance(v, Path) else v)


class Sent(NamedTuple):
    """A request as it goes over the wire."""

    method: str
    raw_path: bytes
    raw_query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


def _text(folder: Path, name: str) -> bytes:
    return (folder / f"{name}.txt").read_bytes().replace(b"\r\n", b"\n")


def _request(folder: Path, name: str) -> Sent:
    """An HTTP request from a file; folded header lines are joined."""
    head, _, body = _text(folder, name).partition(b"\n\n")
    first, *lines = re.sub(rb"\n[ \t]+", b" ", head).rstrip(b"\n").split(b"\n")
    method, rest = first.split(b" ", 1)
    raw_path, _, query = rest.removesuffix(b" HTTP/1.1").partition(b"?")
    headers = [(n.lower(), value) for n, _, value in (line.partition(b":") for line in lines)]
    return Sent(method.decode(), raw_path, query, headers, body)


def _context(folder: Path) -> dict[str, Any]:
    context: dict[str, Any] = json.loads((folder / "context.json").read_text())
    assert context["timestamp"] == "2015-08-30T12:36:00Z"
    return context


def _key(context: dict[str, Any]) -> sigv4.SigningKey:
    given = context["credentials"]
    return sigv4.SigningKey(
        given["access_key_id"],
        given["secret_access_key"],
        context["region"],
        context["service"],
        given.get("token", ""),
    )


def _is_unsigned_token(context: dict[str, Any]) -> bool:
    """The session token is added after signing: attack A2 to us."""
    return bool(context.get("omit_session_token"))


def _differs_from_normalised(folder: Path, context: dict[str, Any]) -> bool:
    """Whether the path of a vector that is not normalised is another one when it is."""
    if context["normalize"]:
        return False
    twin = folder.with_name(folder.name.replace("-unnormalized", "-normalized"))
    return _text(twin, "header-canonical-request") != _text(folder, "header-canonical-request")


@each_vector
def test_vectors_signed_request_is_accepted_or_refused_as_sts_does(folder: Path, kind: str) -> None:
    context, sent = _context(folder), _request(folder, f"{kind}-signed-request")
    key = _key(context)
    services = (context["service"],)
    if _is_unsigned_token(context):
        with pytest.raises(sigv4.SigV4Error):
            sigv4.verify(sigv4.parse_request(*sent), key.secret, NOW, skew_ms=300_000, services=services)
        return
    claimed = sigv4.parse_request(*sent)
    assert claimed.presigned is (kind == "query")
    assert claimed.security_token == key.session_token
    if _differs_from_normalised(folder, context):
        with pytest.raises(sigv4.SigV4Error):
            sigv4.verify(claimed, key.secret, NOW, skew_ms=300_000, services=services)
        return
    assert claimed.canonical_request == _text(folder, f"{kind}-canonical-request")
    sigv4.verify(claimed, key.secret, NOW, skew_ms=300_000, services=services)


@each_vector
def test_vectors_signature_of_the_canonical_request_is_the_same(folder: Path, kind: str) -> None:
    context = _context(folder)
    scope = (AMZ_DATE[:8], context["region"], context["service"])
    made = signature(_key(context).secret, _text(folder, f"{kind}-canonical-request"), AMZ_DATE, scope)
    assert made == _text(folder, f"{kind}-signature").decode().strip()


@each_vector
def test_vectors_altered_signed_request_is_refused(folder: Path, kind: str) -> None:
    context, sent = _context(folder), _request(folder, f"{kind}-signed-request")
    for altered in (sent._replace(raw_query=sent.raw_query + b"&x=y"), sent._replace(method="PUT")):
        with pytest.raises(sigv4.SigV4Error):
            sigv4.verify(
                sigv4.parse_request(*altered),
                _key(context).secret,
                NOW,
                skew_ms=300_000,
                services=(context["service"],),
            )


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_vectors_sign_gives_the_same_authorization(folder: Path) -> None:
    context, wanted = _context(folder), _request(folder, "header-signed-request")
    sent = _request(folder, "request")
    given = {name.decode(): value.decode() for name, value in sent.headers}
    if len(given) < len(sent.headers) or _differs_from_normalised(folder, context):
        pytest.skip("`sign` takes each header once, and normalises")
    key = _key(context)
    if _is_unsigned_token(context):
        key = key._replace(session_token="")
    if context["sign_body"]:
        given["x-amz-content-sha256"] = dict(wanted.headers)[b"x-amz-content-sha256"].decode()
    made = sigv4.sign(key, sent.method, sent.raw_path.decode(), sent.raw_query.decode(), given, sent.body, NOW)
    assert made["Authorization"].encode() == dict(wanted.headers)[b"authorization"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_vectors_presign_gives_the_same_signature(folder: Path) -> None:
    context, sent = _context(folder), _request(folder, "request")
    if [name for name, _ in sent.headers] != [b"host"] or _differs_from_normalised(folder, context):
        pytest.skip("`presign` signs the host alone, and normalises")
    key = _key(context)
    if _is_unsigned_token(context):
        key = key._replace(session_token="")
    pairs = [(name.decode(), value.decode()) for name, value in query_pairs(sent.raw_query)]
    host = dict(sent.headers)[b"host"].decode()
    made = presign(key, sent.method, host, sent.raw_path.decode(), pairs, context["expiration_in_seconds"], NOW)
    assert made.rpartition("X-Amz-Signature=")[2] == _text(folder, "query-signature").decode().strip()


def test_vectors_are_all_there() -> None:
    contexts = [_context(folder) for folder in FOLDERS]
    assert len(CASES) == 76
    assert sum(not context["normalize"] for context in contexts) == 7
