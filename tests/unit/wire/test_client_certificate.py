"""The client's certificate as proxies write it into a header: read strictly, and only from whom we were told to trust."""

from __future__ import annotations

import contextlib
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.x509 import Authority, Holder

from daypass.wire.client_certificate import (
    ENVOY,
    RFC9440,
    MalformedCertificateHeader,
    PresentedCertificate,
    read_headers,
)
from daypass.wire.http import Request

ROOT = Authority.make()
HOST = ROOT.host()
NGINX = "ssl-client-cert"


def request(*headers: tuple[str, bytes], via_proxy: bool = True, peer: bytes = b"") -> Request:
    raw = [(name.encode(), value) for name, value in headers]
    return Request("POST", b"/sessions", b"", raw, b"", "192.0.2.1", True, "id", 0, peer, via_proxy)


def escaped(*holders: Holder) -> str:
    return quote("".join(holder.pem for holder in holders), safe="")


FORMS = {
    NGINX: escaped(HOST),
    ENVOY: f'By=spiffe://acme.example/x;Hash=0a;Cert="{escaped(HOST)}";Chain="{escaped(HOST, ROOT)}";DNS=a;DNS=b',
    RFC9440: f":{HOST.base64}:",
}


@pytest.mark.parametrize("header", FORMS)
def test_shown_by_a_trusted_proxy_is_the_certificate_of_its_client(header: str) -> None:
    chain = ((RFC9440 + "-chain", f":{ROOT.base64}:".encode()),) if header == RFC9440 else ()
    found = read_headers(request((header, FORMS[header].encode()), *chain), header)
    assert (found.certificate, found.source, found.dropped) == (HOST.der, "proxy", ())
    assert found.chain == (() if header == NGINX else (ROOT.der,))


@pytest.mark.parametrize("header", FORMS)
@pytest.mark.parametrize("configured", ["", *FORMS])
def test_shown_by_anyone_else_is_dropped_and_named(header: str, configured: str) -> None:
    asked = request((header, FORMS[header].encode()), via_proxy=False)
    assert read_headers(asked, configured) == PresentedCertificate(dropped=(header,))


def test_shown_in_a_header_that_is_not_the_configured_one_is_dropped() -> None:
    both = request((NGINX, FORMS[NGINX].encode()), (ENVOY, b"x"))
    assert read_headers(both, NGINX) == PresentedCertificate(HOST.der, source="proxy", dropped=(ENVOY,))
    assert read_headers(request((ENVOY, FORMS[ENVOY].encode())), "") == PresentedCertificate(dropped=(ENVOY,))


def test_shown_by_tls_is_the_peers_own_and_a_proxys_own_is_not() -> None:
    assert read_headers(request(via_proxy=False, peer=HOST.der), "") == PresentedCertificate(HOST.der, source="tls")
    assert read_headers(request(via_proxy=True, peer=HOST.der), NGINX) == PresentedCertificate()
    assert read_headers(request(via_proxy=True, peer=HOST.der), "") == PresentedCertificate()


@pytest.mark.parametrize(
    ("header", "value"),
    [
        (NGINX, ""),
        (NGINX, "-----BEGIN CERTIFICATE-----"),
        (NGINX, HOST.base64),
        (NGINX, escaped(HOST) + "x"),
        (NGINX, escaped(HOST).replace("M", "!", 1)),
        (RFC9440, HOST.base64),
        (RFC9440, ":"),
        (RFC9440, ":A:"),
        (ENVOY, ""),
        (ENVOY, "Hash=0a"),
        (ENVOY, f'Cert="{escaped(HOST)}";Cert="{escaped(ROOT)}"'),
        (ENVOY, f'Cert="{escaped(HOST)}",Cert="{escaped(ROOT)}"'),
        (ENVOY, f'Cert="{escaped(HOST)}'),
        (ENVOY, 'Cert="' + "A" * 70_000 + '"'),
    ],
)
def test_shown_in_a_header_that_is_not_exactly_one_certificate_is_refused(header: str, value: str) -> None:
    with pytest.raises(MalformedCertificateHeader):
        read_headers(request((header, value.encode())), header)


def test_shown_twice_is_refused() -> None:
    value = FORMS[NGINX].encode()
    with pytest.raises(MalformedCertificateHeader):
        read_headers(request((NGINX, value), (NGINX, value)), NGINX)


@given(st.sampled_from(list(FORMS)), st.text(max_size=40) | st.binary(max_size=40).map(lambda b: b.decode("latin-1")))
def test_shown_of_anything_is_an_answer_or_a_refusal(header: str, junk: str) -> None:
    for value in (junk, FORMS[header] + junk, junk + FORMS[header], FORMS[header].replace("=", junk, 1)):
        with contextlib.suppress(MalformedCertificateHeader):
            read_headers(request((header, value.encode("utf-8", "surrogatepass"))), header)
