"""The certificate that a client presented to the TLS endpoint, which is this server or a configured trusted proxy.

Only the configured header is trusted, and only from a trusted proxy. From any other peer it is dropped, and the drop is
recorded (attack A76). It must never take a proxy's own certificate for that of its client.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.wire.http import Header, Request

ENVOY: Final = "x-forwarded-client-cert"
RFC9440: Final = "client-cert"
_CHAIN_OF_RFC9440: Final = b"client-cert-chain"
_OTHERS: Final = (b"ssl-client-cert", b"x-ssl-client-cert", b"x-client-cert", b"x-ssl-cert")
NAMES: Final = frozenset({ENVOY.encode(), RFC9440.encode(), *_OTHERS})
"""The supported headers."""
_LONGEST: Final = 65_536
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]{1,32768})-----END CERTIFICATE-----\s*")
_PAIR: Final = r'([A-Za-z]{1,16})=("(?:[^"\\]|\\.)*"|[^";,\\]*)'
_ELEMENT = re.compile(rf"{_PAIR}(?:;{_PAIR})*")
_PAIRS = re.compile(_PAIR)


class PresentedCertificate(NamedTuple):
    """The presented certificate (DER; b"" for none), further certificates, who verified it, and the headers not
    trusted.
    """

    certificate: bytes = b""
    chain: tuple[bytes, ...] = ()
    source: str = ""  # "tls" | "proxy"
    dropped: tuple[str, ...] = ()

    @property
    def remarks(self) -> dict[str, Any]:
        """Details of the event about untrusted headers."""
        return {"dropped_headers": list(self.dropped)} if self.dropped else {}


_NONE: Final = PresentedCertificate()


class MalformedCertificateHeader(Exception):
    """A trusted proxy's header that cannot be read as exactly one client's certificate."""


def presented_certificate(request: Request, header: str) -> PresentedCertificate:
    """The client's certificate. `header` is the configured name in lower case, "" for none.

    Raises DaypassError(MALFORMED_REQUEST).
    """
    try:
        return read_headers(request, header)
    except MalformedCertificateHeader as error:
        message = "The client certificate header of the proxy cannot be read."
        raise DaypassError(ErrorKind.MALFORMED_REQUEST, message, private={"reason": str(error)}) from None


def read_headers(request: Request, header: str) -> PresentedCertificate:
    """See `presented_certificate`. Raises MalformedCertificateHeader."""
    wanted = header.encode("latin-1", "replace")
    present = [(name, value) for name, value in request.headers if name in NAMES or name == wanted]
    if not (present or request.peer_certificate):
        return _NONE
    trusted = {wanted} if request.via_proxy else set()
    dropped = tuple(sorted([name.decode("latin-1") for name in {name for name, _ in present} - trusted]))
    if not request.via_proxy:
        return PresentedCertificate(
            request.peer_certificate, source="tls" if request.peer_certificate else "", dropped=dropped
        )
    own = [value for name, value in present if name == wanted]
    if not own:
        return PresentedCertificate(dropped=dropped)  # the certificate of the connection is the proxy's own
    if len(own) > 1 or len(own[0]) > _LONGEST:
        raise MalformedCertificateHeader("the header is given twice, or too long")
    certificate, *chain = _read(header, own[0].decode("latin-1").strip(), request.headers)
    return PresentedCertificate(certificate, tuple(chain), "proxy", dropped)


def _read(header: str, value: str, headers: Sequence[Header]) -> list[bytes]:
    """The certificates of a header, the client's first."""
    if header == ENVOY:
        return _envoy(value)
    if header == RFC9440:
        rest = b",".join(text for name, text in headers if name == _CHAIN_OF_RFC9440).decode("latin-1")
        return [_byte_sequence(value), *(_byte_sequence(part.strip()) for part in rest.split(",") if part.strip())]
    return _pem(unquote(value))[:1]


def _envoy(value: str) -> list[bytes]:
    """Envoy's XFCC: one element, with the certificate, and perhaps its chain, as URL-encoded PEM."""
    if not _ELEMENT.fullmatch(value):
        raise MalformedCertificateHeader("not exactly one element of XFCC")
    pairs = [(name.lower(), text) for name, text in _PAIRS.findall(value)]
    fields = dict(pairs)
    if any([name for name, _ in pairs].count(key) > 1 for key in ("cert", "chain")):
        raise MalformedCertificateHeader("two certificates in XFCC")
    if "cert" not in fields:
        raise MalformedCertificateHeader("XFCC without Cert")
    first = _pem(unquote(fields["cert"].strip('"')))[:1]
    chain = _pem(unquote(fields["chain"].strip('"'))) if "chain" in fields else []
    return [*first, *(der for der in chain if der not in first)]


def _byte_sequence(value: str) -> bytes:
    """A byte sequence of RFC 8941."""
    if len(value) < 3 or value[0] != ":" or value[-1] != ":":
        raise MalformedCertificateHeader("not a byte sequence")
    return _base64(value[1:-1])


def _pem(text: str) -> list[bytes]:
    """Concatenated certificates and nothing else."""
    found, at = [], 0
    text = text.strip()
    while at < len(text):
        match = _PEM.match(text, at)
        if match is None:
            raise MalformedCertificateHeader("not PEM certificates")
        found.append(_base64("".join(match[1].split())))
        at = match.end()
    if not found:
        raise MalformedCertificateHeader("no certificate")
    return found


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        raise MalformedCertificateHeader("not base64") from None


# --- The origin of a request: the peer, or the client reported by a configured trusted proxy


_MAX_HOPS = 32
_CLIENT_ADDRESS_LONGEST = 64  # characters of an IPv6 address with its zone
_WITH_PORT = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<v4>[0-9.]+))(?::[0-9]{1,5})?")
"""An address as load balancers of some clouds report it. To take it for none would make every client the proxy (attack A372)."""


class ClientAddress:
    """Finds the client's address and whether it used TLS.

    Args:
        trusted_proxies: networks in CIDR form whose X-Forwarded-For and X-Forwarded-Proto are believed. Empty: none.

    Raises:
        ValueError: one of them is not a network.
    """

    def __init__(self, trusted_proxies: Sequence[str] = ()) -> None:
        self._trusted = tuple(ip_network(network) for network in trusted_proxies)

    def of(self, client: Sequence[object] | None, scheme: str, headers: Sequence[Header]) -> tuple[str, bool, bool]:
        """(address, came over TLS, the peer is a proxy that is trusted). The address is "" when the peer has none (a
        Unix socket), and when a trusted proxy reports none: "unknown", text that is not an address, or more hops than are
        read. It is then not that of the proxy, to which a policy may give more (attack A390).
        """
        peer = _plain(str(client[0])) if client else ""
        secure = scheme == "https"
        if not self._trusted or not self._trusts(peer):
            return peer, secure, False
        reports = [value for name, value in headers if name == b"x-forwarded-for"]
        proto = [value for name, value in headers if name == b"x-forwarded-proto"]
        if proto:
            secure = proto[-1].rpartition(b",")[2].strip().lower() == b"https"
        hops = b",".join(reports).decode("latin-1").split(",") if reports else []
        for hop in reversed(hops[-_MAX_HOPS:]):
            peer = _reported(hop.strip())
            if not self._trusts(peer):
                return peer, secure, True
        return "" if len(hops) > _MAX_HOPS else peer, secure, True

    def _trusts(self, address: str) -> bool:
        parsed = _parse(address)
        return parsed is not None and any(parsed in network for network in self._trusted)


def _reported(hop: str) -> str:
    """The address that a proxy reports; "" if it is none."""
    parts = _WITH_PORT.fullmatch(hop)
    return _plain(parts["v6"] or parts["v4"] if parts else hop)


@lru_cache(maxsize=4096)
def _parse(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return mapped or parsed


def _plain(address: str) -> str:
    """An address in its canonical form: IPv4 in IPv6 as IPv4, no zone; "" for an invalid address."""
    return _written(address) if len(address) <= _CLIENT_ADDRESS_LONGEST else ""


@lru_cache(maxsize=4096)
def _written(address: str) -> str:
    parsed = _parse(address.partition("%")[0])
    return str(parsed) if parsed is not None else ""
