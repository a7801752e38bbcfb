"""The only outbound HTTP of the product: small requests to identity providers, within limits.

Every address of a name is checked, and the connection is made to exactly the checked address, so that a second answer
of a name server has no effect. It must never follow a redirect, decompress, use a proxy from the environment, reuse a
connection, or exceed its size and time limits.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import StrEnum
from itertools import zip_longest
from typing import NamedTuple
from urllib.parse import urlsplit

import h11

from daypass import __version__
from daypass.federation.network import (
    LookupsBusyError,
    OutboundNetwork,
    SystemNetwork,
    host_refused,
    refused,
    tls_context,
)

MAX_URL = 2048
_MAX_HEADERS = 16_384  # bytes
_CHUNK = 65_536
_MAX_ADDRESSES = 16
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,252}[a-z0-9])?\.?|[0-9a-f:.]{2,45}", re.IGNORECASE)
_TARGET = re.compile(r"[!-~]*")
_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=([0-9]{1,10})(?:$|[,\s])", re.IGNORECASE)
_CONTENT_TYPES = frozenset(
    {
        "application/json",
        "application/jwk-set+json",
        "application/octet-stream",  # object stores, for a file without a known ending
        "binary/octet-stream",
        "text/json",
        "text/plain",
    }
)


class FetchReason(StrEnum):
    """Why a fetch failed: the closed set of labels of the metric."""

    URL = "url"  # not a URL that may be fetched
    ADDRESS = "address"  # the host is in a range that may not be connected to
    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    REDIRECT = "redirect"
    STATUS = "status"
    CONTENT = "content"  # type or encoding
    SIZE = "size"
    PROTOCOL = "protocol"
    BUSY = "busy"  # other fetches hinder it: says nothing about the host
    SECRET = "secret"  # the bearer token does not open


class FetchError(Exception):
    """A fetch failed. The message is for an operator, never for an anonymous caller. It contains no address.

    `status`: of an answer that is not a success, else 0.
    """

    def __init__(self, reason: FetchReason, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.reason = reason
        self.status = status


@dataclass(frozen=True, slots=True)
class Order:
    """A request to fetch, with its rules."""

    url: str  # https; http only with `allow_http`
    body: bytes = b""  # a JSON document to POST; b"": a GET
    bearer: str = field(default="", repr=False)  # the token of the Authorization header, "" for none
    ca_pem: str = field(default="", repr=False)  # roots that are trusted in addition to the system's
    allow_private: bool = False  # private ranges and loopback are allowed
    allow_http: bool = False
    owner: str = ""  # the account for which it is fetched; each account has a limited share
    # headers: further headers. any_content: the answer may have any content type and any status of success.
    headers: tuple[tuple[str, str], ...] = ()
    any_content: bool = False
    method: str = ""  # of a request with a body, if it is not POST


class Fetched(NamedTuple):
    """A successful response. `max_age` is that of Cache-Control in seconds, `date` the server's clock in ms; None: it
    says none.
    """

    body: bytes
    max_age: int | None = None
    date: int | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of a fetcher."""

    seconds: float = 1.8  # for a whole fetch, waiting for its turn included
    max_bytes: int = 262_144  # of a body
    # at_once, for_owner: fetches in flight, of everyone and of one owner.
    at_once: int = 64
    for_owner: int = 8
    waiting: int = 256  # maximum number of waiting fetches; more are refused


class _Url(NamedTuple):
    tls: bool
    host: str
    port: int
    target: str
    authority: str


@dataclass(slots=True)
class _Share:
    slots: asyncio.Semaphore
    users: int = 0


class Fetcher:
    """Fetches. Use it from one event loop."""

    def __init__(self, bounds: Bounds | None = None, network: OutboundNetwork | None = None) -> None:
        self.bounds = bounds or Bounds()
        self._network = network or SystemNetwork()
        self._turns = asyncio.Semaphore(self.bounds.at_once)
        self._shares: dict[str, _Share] = {}
        self._present = 0

    def deadline(self) -> float:
        """When a fetch that begins now must end, in the time of the event loop."""
        return asyncio.get_running_loop().time() + self.bounds.seconds

    async def fetch(self, order: Order, deadline: float | None = None) -> Fetched:
        """The answer to `order`. Raises FetchError, by `deadline` or within the time that `bounds` give, and nothing else."""
        url = parse_url(order.url, allow_http=order.allow_http)
        waits = False
        try:
            async with asyncio.timeout_at(self.deadline() if deadline is None else deadline):
                async with self._share(order.owner) as share:
                    waits = share.slots.locked() or self._turns.locked()
                    async with share.slots, self._turns:
                        return await self._fetch(order, url)
        except TimeoutError:
            if waits:
                raise FetchError(FetchReason.BUSY, "other fetches take too long") from None
            raise FetchError(FetchReason.TIMEOUT, f"no complete answer within {self.bounds.seconds:g} s") from None
        except (OSError, ssl.SSLError, EOFError) as error:
            raise FetchError(FetchReason.CONNECT, f"the connection failed: {type(error).__name__}") from None
        except h11.ProtocolError:
            raise FetchError(FetchReason.PROTOCOL, "the answer is not well-formed HTTP") from None

    @asynccontextmanager
    async def _share(self, owner: str) -> AsyncIterator[_Share]:
        """The owner's slots. A slow account delays only its own fetches."""
        if self._present >= self.bounds.at_once + self.bounds.waiting:
            raise FetchError(FetchReason.BUSY, "too many fetches are under way")
        share = self._shares.setdefault(owner, _Share(asyncio.Semaphore(self.bounds.for_owner)))
        self._present += 1
        share.users += 1
        try:
            yield share
        finally:
            self._present -= 1
            share.users -= 1
            if not share.users:
                del self._shares[owner]

    async def _fetch(self, order: Order, url: _Url) -> Fetched:
        addresses = await self._addresses(order, url)
        tls = None
        if url.tls:
            try:
                tls = await asyncio.to_thread(tls_context, order.ca_pem)
            except ValueError as error:
                raise FetchError(FetchReason.TLS, f"the configured certificates cannot be used: {error}") from None
        reader, writer = await self._connect(addresses, url, tls)
        try:
            return await _exchange(reader, writer, order, _request(order, url), self.bounds.max_bytes)
        finally:
            writer.transport.abort()  # nothing is left to say, and the other side need not agree

    async def _addresses(self, order: Order, url: _Url) -> list[str]:
        """The addresses of the host. A forbidden host gives the same error as an unknown one. Otherwise errors would
        reveal to an account which names exist in the server's network.
        """
        unknown = f"the host {url.host} has no address that may be fetched from"
        try:
            addresses = await self._network.resolve(url.host, url.port, order.owner)
        except LookupsBusyError as error:
            raise FetchError(FetchReason.BUSY, str(error)) from None
        except OSError:
            raise FetchError(FetchReason.RESOLVE, unknown) from None
        if not addresses:
            raise FetchError(FetchReason.RESOLVE, unknown)
        # One forbidden address makes the name forbidden: legitimate names do not mix them.
        if any(refused(address, allow_private=order.allow_private) for address in addresses):
            raise FetchError(FetchReason.ADDRESS, unknown)
        return _alternating(addresses)[:_MAX_ADDRESSES]

    async def _connect(
        self, addresses: list[str], url: _Url, tls: ssl.SSLContext | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        last = ""
        for number, address in enumerate(addresses, 1):
            # An address that drops packets must leave time for the next one (RFC 8305, in sequence).
            limit = self.bounds.seconds / 4 if number < len(addresses) else None
            try:
                async with asyncio.timeout(limit):
                    return await self._network.open(address, url.port, tls, url.host)
            except ssl.SSLCertVerificationError as error:
                raise FetchError(FetchReason.TLS, f"the certificate is not accepted: {error.verify_message}") from None
            except ssl.SSLError as error:
                raise FetchError(FetchReason.TLS, f"TLS failed: {error.reason}") from None
            except OSError as error:
                last = type(error).__name__
        raise FetchError(FetchReason.CONNECT, f"no connection to {url.host}: {last}")


def _alternating(addresses: Sequence[str]) -> list[str]:
    """Addresses of both families in turn, the system's first choice first."""
    families = ([a for a in addresses if ":" in a], [a for a in addresses if ":" not in a])
    first, second = families if addresses[0] in families[0] else reversed(families)
    return [a for pair in zip_longest(first, second) for a in pair if a is not None]


def parse_url(url: str, *, allow_http: bool) -> _Url:
    """The parts of a URL that may be fetched. Raises FetchError(URL).

    Names that are encoded numbers need no rule here, because the resolved addresses are checked.
    """
    bad = FetchError(FetchReason.URL, "not an https URL with a plain host and without user, fragment or spaces")
    if len(url) > MAX_URL or not _TARGET.fullmatch(url) or "\\" in url or "#" in url:
        raise bad
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        raise bad from None
    schemes = ("https", "http") if allow_http else ("https",)
    if parts.scheme not in schemes or "@" in parts.netloc or not _HOST.fullmatch(host) or port == 0:
        raise bad
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    tls = parts.scheme == "https"
    return _Url(tls, host, port or (443 if tls else 80), target, parts.netloc)


def check_url(url: str, *, allow_http: bool, allow_private: bool) -> None:
    """For a URL that is stored: raises FetchError if it can never be fetched. Names are checked when they are resolved."""
    if host_refused(parse_url(url, allow_http=allow_http).host, allow_private=allow_private):
        raise FetchError(FetchReason.ADDRESS, "the host is an address in a private or reserved range")


def _request(order: Order, url: _Url) -> h11.Request:
    headers = [
        ("host", url.authority),
        ("user-agent", f"daypass/{__version__}"),
        ("accept", "application/json, application/jwk-set+json"),
        ("accept-encoding", "identity"),
        ("connection", "close"),
    ]
    if order.bearer:
        headers.append(("authorization", f"Bearer {order.bearer}"))
    if order.body:
        headers.append(("content-length", str(len(order.body))))
        if not order.headers:
            headers.append(("content-type", "application/json"))
    headers += order.headers
    try:
        return h11.Request(method=order.method or ("POST" if order.body else "GET"), target=url.target, headers=headers)
    except (h11.LocalProtocolError, UnicodeError):
        raise FetchError(
            FetchReason.URL, "the request cannot be written: look for line ends in the bearer token"
        ) from None


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, order: Order, request: h11.Request, limit: int
) -> Fetched:
    body = order.body
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEADERS)
    events = (request, h11.Data(body), h11.EndOfMessage()) if body else (request, h11.EndOfMessage())
    writer.write(b"".join(connection.send(event) or b"" for event in events))
    await writer.drain()
    parts: list[bytes] = []
    size, head = 0, Fetched(b"")
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_CHUNK))
        elif isinstance(event, h11.Response):
            head = _checked(event, limit, any_content=order.any_content)
        elif isinstance(event, h11.Data):
            size += len(event.data)
            if size > limit:
                raise FetchError(FetchReason.SIZE, f"the answer is over {limit} bytes")
            parts.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            return head._replace(body=b"".join(parts))
        elif not isinstance(event, h11.InformationalResponse):
            raise FetchError(FetchReason.PROTOCOL, "the connection ended without an answer")


def _checked(response: h11.Response, limit: int, *, any_content: bool = False) -> Fetched:
    """Refuses a response that is not a plain JSON document, or not a success. Returns the facts from its head."""
    status = response.status_code
    if 300 <= status < 400:
        raise FetchError(FetchReason.REDIRECT, f"the answer is a redirect ({status}), which is never followed")
    if status not in (200, 201) and not (any_content and 200 <= status < 300):
        raise FetchError(FetchReason.STATUS, f"the answer has the status {status}", status)
    headers = {bytes(name): bytes(value).decode("latin-1") for name, value in response.headers}
    kind = headers.get(b"content-type", "").partition(";")[0].strip().lower()
    if kind not in _CONTENT_TYPES and not any_content:
        raise FetchError(FetchReason.CONTENT, "the answer's content type is not that of JSON")
    if headers.get(b"content-encoding", "identity").strip().lower() != "identity":
        raise FetchError(FetchReason.CONTENT, "the answer is compressed, which was not asked for")
    length = headers.get(b"content-length", "")
    if length and int(length) > limit:
        raise FetchError(FetchReason.SIZE, f"the answer is over {limit} bytes")
    match = _MAX_AGE.search(headers.get(b"cache-control", ""))
    return Fetched(b"", int(match[1]) if match else None, _date(headers.get(b"date", "")))


def _date(text: str) -> int | None:
    try:
        return int(parsedate_to_datetime(text).timestamp() * 1000)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
