"""Replays the public SigV4 vectors, verifying and signing, with the clock of the vectors."""

from __future__ import annotations

import re
from calendar import timegm
from pathlib import Path

import pytest
from tests.vectors.place import target

from daypass import sigv4

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOW = timegm((2015, 8, 30, 12, 36, 0)) * 1000
KEY = sigv4.SigningKey("AKIDEXAMPLE", SECRET, "us-east-1", "service")
VECTORS = sorted(target().rglob("*.sreq"))
UNSIGNED_TOKEN = "post-sts-header-after"  # adds X-Amz-Security-Token after signing: attack A2 to us

pytestmark = pytest.mark.skipif(not VECTORS, reason="the SigV4 vectors are not here: `make vectors` fetches them")
each_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda path: path.stem)


def _read(path: Path) -> tuple[str, bytes, bytes, list[tuple[bytes, bytes]], bytes]:
    """Method, path, query, headers and body of an HTTP request as text; folded header lines are joined."""
    head, _, body = path.read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")
    first, *lines = re.sub(rb"\n[ \t]+", b" ", head).rstrip(b"\n").split(b"\n")
    method, raw_target = first.rsplit(b" ", 1)[0].split(b" ", 1)
    raw_path, _, query = raw_target.partition(b"?")
    headers = [(name.lower(), value) for name, _, value in (line.partition(b":") for line in lines)]
    # One .sreq of the suite carries a signature that its own .authz belies: the .authz is what the suite documents.
    authorization = path.with_suffix(".authz").read_bytes().strip()
    headers = [(name, authorization if name == b"authorization" else value) for name, value in headers]
    return method.decode(), raw_path, query, headers, body


@each_vector
def test_vectors_verify_signed_request_accepts(vector: Path) -> None:
    method, raw_path, query, headers, body = _read(vector)
    if vector.stem == UNSIGNED_TOKEN:
        with pytest.raises(sigv4.SigV4Error, match="x-amz-security-token"):
            sigv4.parse_request(method, raw_path, query, headers, body)
        headers = [(n, v) for n, v in headers if n != b"x-amz-security-token"]
    claimed = sigv4.parse_request(method, raw_path, query, headers, body)
    assert claimed.canonical_request == vector.with_suffix(".creq").read_bytes().replace(b"\r\n", b"\n")
    sigv4.verify(claimed, SECRET, NOW, skew_ms=300_000, services=("service",))


@each_vector
def test_vectors_altered_signed_request_refused(vector: Path) -> None:
    method, raw_path, query, headers, body = _read(vector)
    headers = [(n, v) for n, v in headers if vector.stem != UNSIGNED_TOKEN or n != b"x-amz-security-token"]
    claimed = sigv4.parse_request(method, raw_path, query + b"&x=y", headers, body)
    with pytest.raises(sigv4.SigV4Error):
        sigv4.verify(claimed, SECRET, NOW, skew_ms=300_000, services=("service",))


@each_vector
def test_vectors_sign_gives_the_same_authorization(vector: Path) -> None:
    method, raw_path, query, headers, body = _read(vector.with_suffix(".req"))
    names = [name for name, _ in headers]
    if len(set(names)) < len(names):
        pytest.skip("`sign` takes each header once")
    key = KEY
    for name, value in _read(vector)[3]:
        if name == b"x-amz-security-token" and vector.stem != UNSIGNED_TOKEN:
            key = KEY._replace(session_token=value.decode().strip())
    given = {n.decode(): v.decode() for n, v in headers if n != b"x-amz-date"}
    signed = sigv4.sign(key, method, raw_path.decode(), query.decode(), given, body, NOW)
    assert signed["Authorization"] == vector.with_suffix(".authz").read_text().strip()
