"""The hashes of the record, as docs/reference/record-format.md defines them, and how the bytes of events are packed. They
must never change, because old logs must stay verifiable.

leaf = SHA-256(00 || event bytes), the leaf hash of RFC 9162 section 2.1.1. chain = SHA-256(02 || previous chain || leaf
|| seq), which starts from SHA-256(03 || log id). The first bytes keep the kinds of hash apart (01 is the tree's inner
node).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from hashlib import sha256

HASH_BYTES = 32
LOG_ID_DIGITS = 32


def leaf_hash(event_bytes: bytes) -> bytes:
    """The leaf hash of a record. It is all that a viewer without permission to read the record may see."""
    return sha256(b"\x00" + event_bytes).digest()


def chain_seed(log: str) -> bytes:
    """The initial chain hash of a log, before its record 0. `log`: 32 hex digits, hashed as ASCII text."""
    return sha256(b"\x03" + log.encode("ascii")).digest()


def chain_hash(previous: bytes, leaf: bytes, seq: int) -> bytes:
    """The chain at record `seq`. Verification needs only leaves, not event bytes."""
    return sha256(b"\x02" + previous + leaf + seq.to_bytes(8, "big")).digest()


# --- Packing: several records of a batch are deflated together, because they are similar


CHUNK_RECORDS = 64
"""Maximum number of records in one chunk, and so the number of records read to find its first one."""
_CHUNK_BYTES = 131_072  # before deflating; a single record may be larger
_MAX_BYTES = 4_194_304  # after inflating; Daypass never writes a larger chunk
_LEVEL = 1
_VERSION = b"\x01"  # version of the format and its dictionary; an event begins with {
# Text common to nearly all events, the most frequent last. It must never change, because chunks of this version need
# it.
_DICTIONARY = (
    b'"blocked_by":"identity","effect":"Deny","explicit":false,"error":"access_denied","operation":"sts:GetCallerIdentity"'
    b'"parent_session_id":"source_identity":"user_id":"tags":{},"transitive_keys":[],"policy":"origin":{"access_key_id":"'
    b'"principal_id":"AIDA"},"session_id":"trace_id":"Boto3/1.40 md/Botocore#1.40 ua/2.1 os/linux md/arch#x86_64 '
    b'lang/python#3.13 md/pyimpl#CPython cfg/retry-mode#legacy","type":"request.allowed","v":1}"type":"request.denied"'
    b'{"account":"000000000000","actor":{"access_key_id":"AKIA","account":"000000000000","arn":"arn:aws:iam::000000000000:'
    b'user/","kind":"User","principal_id":"AIDA"},"at":17,"decision":{"allowed":true,"determining":[{"effect":"Allow",'
    b'"layer":"resource","policy":"trust","sid":"","statement":0},{"effect":"Allow","layer":"identity","policy":'
    b'"arn:aws:iam::aws:policy/AdministratorAccess","sid":"","statement":0}]},"detail":{"access_key_id":"ASIA","expires_at":'
    b'17,"hops":2,"kind":"role","name":"","principal":"arn:aws:iam::000000000000:role/","principal_id":"AROA"},"operation":'
    b'"sts:AssumeRole","request_id":"","session":{"arn":"arn:aws:iam::000000000000:role/","expires_at":17,"hops":[["",'
    b'"000000000000","AIDA",17,["",8],"AKIA",""],["","000000000000","AROA",17,["",8],"ASIA",""]],"issued_at":17,"kind":'
    b'"role"},"session_id":"","source":{"ip":"127.0.0.1","region":"us-east-1","user_agent":""},"type":"session.issued","v":1}'
)


def pack(events: Sequence[bytes]) -> list[bytes]:
    """The bytes to store for each of several consecutive records, from the bytes of their events."""
    packed: list[bytes] = []
    for chunk in _chunks(events):
        deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zdict=_DICTIONARY)
        packed.append(_VERSION + deflater.compress(b"\n".join(chunk)) + deflater.flush())
        packed += [b""] * (len(chunk) - 1)
    return packed


def _chunks(events: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    start = size = 0
    for at, event in enumerate(events):
        if at > start and (at - start == CHUNK_RECORDS or size + len(event) > _CHUNK_BYTES):
            yield events[start:at]
            start, size = at, 0
        size += len(event)
    if events:
        yield events[start:]


def unpack(stored: bytes) -> list[bytes]:
    """The bytes of the events in a stored record, its own first; [] when they cannot be read."""
    if not stored.startswith(_VERSION):
        return []
    inflater = zlib.decompressobj(-zlib.MAX_WBITS, zdict=_DICTIONARY)
    try:
        content = inflater.decompress(stored[1:], _MAX_BYTES)
    except zlib.error:
        return []
    whole = inflater.eof and not inflater.unused_data
    return content.split(b"\n") if whole else []


class Unpacker:
    """Returns the event bytes of one log's records. Records must be passed in order and without a gap, beginning with
    the first one of a chunk.
    """

    def __init__(self) -> None:
        self._start = 0
        self._events: list[bytes] = []

    def data(self, seq: int, stored: bytes) -> bytes:
        """The bytes of the event of record `seq`; b"" when they cannot be read."""
        if stored:
            self._start, self._events = seq, unpack(stored)
        at = seq - self._start
        return self._events[at] if 0 <= at < len(self._events) else b""
