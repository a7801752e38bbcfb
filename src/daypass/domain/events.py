"""The closed set of events on the record, and their canonical bytes.

An event is encoded once, before it is queued: JSON with sorted keys, no spaces, ASCII only, so that control
characters, line ends and lone surrogates of hostile input are escapes and one event is always one line. It is
capped in size: over the cap, long strings are cut and marked. No secret may be put into an event; what looks like one is masked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from enum import StrEnum
from json.encoder import encode_basestring_ascii
from typing import Any

from daypass.domain.value import value

EVENT_VERSION = 1
MAX_EVENT_BYTES = 32_768
_CUT_STRING = 512


class EventType(StrEnum):
    """Every kind of event there is. Docs list each; a test fails when one is missing there."""

    LOG_OPENED = "log.opened"  # first event of a log: installation, node, heads of the other logs known then
    LOG_CLOSED = "log.closed"  # clean shutdown
    REQUEST_ALLOWED = "request.allowed"  # a request was served; it changed nothing
    REQUEST_DENIED = "request.denied"  # policy said no
    REQUEST_FAILED = "request.failed"  # authenticated, but refused for another reason (validation, not found, …)
    REQUEST_UNAUTHENTICATED = "request.unauthenticated"  # no proof, or a bad one
    REQUEST_MALFORMED = "request.malformed"  # could not even be parsed
    SESSION_ISSUED = "session.issued"  # credentials were given out; the session is in the same transaction
    DIRECTORY_CHANGED = "directory.changed"  # an IAM or management write
    SESSION_REVOKED = "session.revoked"  # a revocation was made
    ACCOUNT_CREATED = "account.created"  # an operator opened an account
    KEY_ADDED = "key.added"  # a ring key was made (never its material)
    ISSUER_KEYS = "issuer.keys"  # keys of an identity provider: fetched (new, or after an hour the same), or one sought
    BOOTSTRAPPED = "installation.bootstrapped"  # first start with a new database: accounts and keys it began with


@value
class Event:
    """One fact for the record.

    Attributes:
        type: what happened.
        at: milliseconds since the epoch.
        account: the account that owns what was acted on; "" when unknown.
        actor: who acted: kind, account, arn, principal_id, access_key_id, session_id, source_identity … or {}.
        source: how it came: ip, user_agent, region.
        request_id, trace_id: as on the wire.
        operation: "sts:AssumeRole", or "" when unknown.
        error: an ErrorKind value, "" when served.
        session_id: of the session issued or acted on, else "".
        decision: the `Decision` in JSON form with all layers, or None when none was taken.
        detail: everything else: request parameters (redacted), resource, private facts.
    """

    type: EventType
    at: int
    account: str = ""
    actor: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    request_id: str = ""
    trace_id: str = ""
    operation: str = ""
    error: str = ""
    session_id: str = ""
    decision: Mapping[str, Any] | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


_encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _refuse(value: object) -> Any:
    raise TypeError(f"{type(value).__name__} is no value of an event")


_make_encoder: Any = getattr(json.encoder, "c_make_encoder", None)
if _make_encoder is None:
    _dumps = _encoder.encode
else:
    # What `_encoder` makes for each call: made once. It does not look for circles; those end in a RecursionError.
    _encode_c = _make_encoder(
        None, _refuse, encode_basestring_ascii, None, ":", ",", _encoder.sort_keys, _encoder.skipkeys, False
    )

    def _dumps(o: Any) -> str:
        return "".join(_encode_c(o, 0))


# Secrets that somebody put where none belongs, a token into a name, say: private keys in PEM, and signed tokens (RFC 7515).
# The text is JSON in ASCII: a string goes on to its closing quotation mark.
_MISPLACED = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY-----(?:[^\"\\]|\\.)*"
    r"|(?:(?<![A-Za-z0-9_-])|(?<=\\[bfnrt]))e[yw][A-Za-z0-9_-]{8,}\.e[yw][A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,}"
)
_SIGNED_PART = re.compile(r"\.e[yw]")  # in every such token: found in a quarter of the time that two `in` take


class Canonical(dict[str, Any]):
    """A mapping that many events share, with its canonical text. Nobody may change it once it is in an event."""

    __slots__ = ("_text",)

    _text: str

    def text(self) -> str:
        """As it stands in an event; encoded once."""
        try:
            return self._text
        except AttributeError:
            self._text = text = _dumps(self)
            return text


class Written(Mapping[str, Any]):
    """A mapping that is known by its canonical text alone, because hardly anybody looks into it. It is not empty."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """`text`: what `_dumps` would make of the mapping."""
        self._text = text

    def _read(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(self._text)
        return read

    def __getitem__(self, key: str) -> Any:
        return self._read()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __bool__(self) -> bool:
        return True


def encode(event: Event) -> bytes:
    """The canonical bytes of an event: at most MAX_EVENT_BYTES of ASCII, on one line."""
    text = _text(event)
    if len(text) > MAX_EVENT_BYTES:
        text = _shortened(event)
    if "PRIVATE KEY-----" in text or _SIGNED_PART.search(text):
        text = _MISPLACED.sub("***", text)
    return text.encode("ascii")


def _text(e: Event) -> str:
    """What `_dumps` makes of `_body`, put together by hand: most of it is known, and some of it is encoded already."""
    quoted, known = encode_basestring_ascii, _known
    return "".join(
        (
            "{",
            f'"account":{quoted(e.account)},' if e.account else "",
            f'"actor":{known(e.actor)},' if e.actor else "",
            f'"at":{e.at},',
            f'"decision":{known(e.decision)},' if e.decision else "",
            f'"detail":{known(e.detail)},' if e.detail else "",
            f'"error":{quoted(e.error)},' if e.error else "",
            f'"operation":{quoted(e.operation)},' if e.operation else "",
            f'"request_id":{quoted(e.request_id)},' if e.request_id else "",
            f'"session_id":{quoted(e.session_id)},' if e.session_id else "",
            f'"source":{known(e.source)},' if e.source else "",
            f'"trace_id":{quoted(e.trace_id)},' if e.trace_id else "",
            f'"type":"{e.type._value_}","v":{EVENT_VERSION}}}',
        )
    )


def _known(value: Mapping[str, Any]) -> str:
    try:
        return value._text  # type: ignore[attr-defined,no-any-return]  # noqa: SLF001  # it has been written, nearly always
    except AttributeError:
        return value.text() if isinstance(value, Canonical) else _dumps(value)


_OPTIONAL = (
    "account",
    "actor",
    "source",
    "request_id",
    "trace_id",
    "operation",
    "error",
    "session_id",
    "decision",
    "detail",
)


def _body(event: Event) -> dict[str, Any]:
    present = {name: getattr(event, name) for name in _OPTIONAL if getattr(event, name)}
    return {"v": EVENT_VERSION, "type": event.type.value, "at": event.at, **present}


def _shortened(event: Event) -> str:
    body = _body(event)
    text = _dumps(_cut(body, _CUT_STRING))
    if len(text) > MAX_EVENT_BYTES:  # many short strings: keep who, what and when; say what was dropped
        dropped = {"dropped": "detail and decision were over the size limit", "bytes": len(text)}
        kept = {k: v for k, v in body.items() if k not in ("detail", "decision")}
        text = _dumps(_cut({**kept, "detail": dropped}, 128))
    return text


def decode(data: bytes) -> dict[str, Any]:
    """The body of an event from its canonical bytes. Raises ValueError if it is none."""
    body = json.loads(data)
    if not isinstance(body, dict) or body.get("v") != EVENT_VERSION:
        raise ValueError("not an event of a known version")
    return body


def _cut(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= limit else f"{value[:limit]}...(+{len(value) - limit})"
    if isinstance(value, Mapping):
        return {_cut(k, limit): _cut(v, limit) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cut(v, limit) for v in value]
    return value
