"""The hashes of the record, as docs/reference/record-format.md defines them. They must never change, because old logs
must stay verifiable.

leaf = SHA-256(00 || event bytes), the leaf hash of RFC 9162 section 2.1.1. chain = SHA-256(02 || previous chain || leaf
|| seq), which starts from SHA-256(03 || log id). The first bytes keep the kinds of hash apart (01 is the tree's inner
node).
"""

from __future__ import annotations

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
