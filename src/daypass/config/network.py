"""Settings of what clients connect to: addresses, limits of connections and bodies, rates, and the other nodes."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from daypass.config.section import Port, Section


def _network(text: str) -> str:
    try:
        ip_network(text)
    except ValueError as error:
        raise ValueError(f"{error}: give networks like 10.0.0.0/8") from None
    return text


class ServerSettings(Section):
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(8700, description="Port to listen on; 0: the system chooses and the server prints it.")
    workers: int = Field(1, ge=1, le=64, description="Worker processes that share the port.")
    data: Path = Field(
        Path(".daypass"), description="Directory of the SQLite database, the key-encryption key and sockets."
    )
    tls_cert: Path | None = Field(None, description="PEM certificate chain; with `tls_key`, HTTPS only.")
    tls_key: Path | None = Field(None, description="PEM private key.")
    client_ca: Path | None = Field(
        None, description="PEM bundle of client authorities and self-signed client certificates."
    )
    client_certificates: Literal["required", "optional"] = Field(
        "required",
        description="`required`, with `client_ca`: TLS refuses clients without a certificate. `optional`: it serves "
        "them too; without `client_ca`, it accepts every certificate, and OAuth clients and trust "
        "anchors decide.",
    )
    trusted_proxies: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(
        (), description="Networks (CIDR) whose X-Forwarded-For and X-Forwarded-Proto count."
    )
    client_certificate_header: str = Field(
        "",
        pattern=r"^[A-Za-z0-9-]{0,64}$",
        description="Header of trusted proxies with the client's certificate: X-Forwarded-Client-Cert (Envoy), "
        "Client-Cert (RFC 9440), or another with URL-encoded PEM (nginx).",
    )
    max_body_bytes: int = Field(1_048_576, ge=1024, le=16_777_216, description="Largest request body.")
    body_timeout_seconds: float = Field(10.0, gt=0, le=300, description="Time for a request body to arrive.")
    drain_seconds: int = Field(20, ge=0, le=600, description="Time for running requests after SIGTERM.")
    backlog: int = Field(2048, ge=1, le=65535, description="Connections that wait in the system.")
    connections: int = Field(
        16_384, ge=16, le=1_000_000, description="Connections of a process. Idle ones end before a new one is refused."
    )
    connections_per_address: int = Field(
        4_096, ge=1, le=1_000_000, description="Connections of a process from one address, except a trusted proxy's."
    )
    body_bytes_in_flight: int = Field(
        67_108_864,
        ge=1_048_576,
        le=17_179_869_184,
        description="Bytes of request bodies in a process at once, without the first 8 KiB of each; beyond that 503.",
    )
    body_bytes_per_address: int = Field(
        16_777_216, ge=1_048_576, le=17_179_869_184, description="The same for one address, except a trusted proxy's."
    )
    anonymous_body_bytes: int = Field(
        262_144,
        ge=1024,
        le=16_777_216,
        description="Largest body without known credentials, for example with a SAML assertion.",
    )
    queue_seconds: float = Field(
        0.5, gt=0, le=60, description="A request that has waited longer gets 503 and Retry-After."
    )
    request_seconds: float = Field(
        50.0, gt=0, le=600, description="A request without an answer by then gets 503. AWS SDKs wait for 60 s."
    )
    anonymous_refusals: int = Field(
        5,
        ge=1,
        le=1_000_000,
        description="Refusals of one kind from one unproven address that are recorded one by one in 15 s, and ten "
        "times as many of all kinds; one event counts the others.",
    )
    metrics_token: SecretStr = Field(
        SecretStr(""), description="Bearer token for /metrics, which names accounts and providers. Empty: open."
    )
    metrics_accounts: tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}=[0-9]{12}$")], ...] = Field(
        (),
        max_length=10,
        description="Accounts with a label of their own in metrics, NAME=ID each, for example shop=111122223333. "
        "Others are `other`.",
    )
    health_port: Port | None = Field(
        None,
        description="Port for /healthz, /readyz and /metrics, without TLS; 0: the system chooses. Empty: the main "
        "port.",
    )
    health_host: str = Field("", description="Address of `health_port`. Empty: `host`.")
    ext_authz_port: Port | None = Field(
        None, description="Port for Envoy's external authorization over gRPC, without TLS: only proxies may reach it."
    )
    ext_authz_host: str = Field("127.0.0.1", description="Address of `ext_authz_port`.")
    public_url: str = Field(
        "",
        pattern=r"^(https?://[A-Za-z0-9.\-\[\]:]{1,255})?$",
        description="Address for browsers and identity providers, for example https://daypass.example.com; the "
        "issuer of access tokens. Empty: no console, sign-in or OAuth.",
    )

    @property
    def account_labels(self) -> dict[str, str]:
        """The labels of `metrics_accounts`, by id."""
        return {account: name for name, _, account in (each.partition("=") for each in self.metrics_accounts)}

    @property
    def scheme(self) -> str:
        """The scheme of the URLs of the server itself."""
        return "https" if self.tls_cert is not None else "http"


class RatesSettings(Section):
    principal_per_second: float = Field(
        10_000,
        ge=0,
        description="Tokens a second of a principal, for each process; an STS request costs 1, IAM 5, the API 10. 0: "
        "any.",
    )
    principal_burst: float = Field(20_000, ge=1, description="Tokens that a principal can save.")
    account_per_second: float = Field(20_000, ge=0, description="The same for an account.")
    account_burst: float = Field(40_000, ge=1, description="Tokens that an account can save.")
    failures_per_second: float = Field(
        200,
        ge=0,
        description="Unproven requests a second of a source (an IPv4 address or IPv6 /64). Beyond, its new "
        "connections begin no request for a second. 0: any.",
    )
    failures_burst: float = Field(2_000, ge=1, description="Such requests that a source can save.")


class EventsSettings(Section):
    streams: int = Field(1000, ge=1, description="Streams of revocations of a process; as many again for other nodes.")
    per_account: int = Field(100, ge=1, description="Streams of one account.")
    heartbeat_seconds: float = Field(
        1.0, gt=0, le=60, description="Longest time between heartbeats of a stream, on which verifiers rely."
    )


class PeersSettings(Section):
    urls: tuple[Annotated[str, Field(pattern=r"^https?://[^/?#@]+/?$")], ...] = Field(
        (), description="Other nodes of the installation, for revocations while the database is unavailable."
    )
    ca_bundle: Path | None = Field(None, description="Their certificate authorities. Empty: the system's.")
