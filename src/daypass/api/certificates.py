"""Certificates for sessions: OpenSSH and databases. JWT-SVIDs of SPIFFE."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from msgspec import Meta

from daypass.api.operation import Input, Millis, Operation, Output

Kind = Annotated[
    Literal["ssh-user", "ssh-host", "database"],
    Meta(description="For a person or program at sshd, for sshd itself, or for a client of a database."),
]
EXTENSIONS = ("pty", "user-rc", "port-forwarding", "agent-forwarding", "X11-forwarding")


class IssueCertificateInput(Input):
    kind: Kind
    public_key: Annotated[str, Meta(max_length=4096, description="A line as in a `.pub` file of ssh-keygen.")]
    names: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=253)]],
        Meta(min_length=1, max_length=20, description="Principals, host names, or the one user of the database."),
    ]
    seconds: (
        Annotated[int, Meta(ge=60, le=43_200, description="Never beyond the session. Default: an hour at most.")] | None
    ) = None
    extensions: Annotated[
        list[Literal["pty", "user-rc", "port-forwarding", "agent-forwarding", "X11-forwarding"]],
        Meta(max_length=5, description="Permissions for sshd. For ssh-user alone."),
    ] = []
    force_command: Annotated[
        str, Meta(max_length=1024, description="The only command that sshd runs. For ssh-user alone.")
    ] = ""
    source_addresses: Annotated[
        list[Annotated[str, Meta(max_length=64)]],
        Meta(max_length=16, description="Addresses or networks from which it is valid. For ssh-user alone."),
    ] = []


class CertificateOut(Output):
    certificate: Annotated[str, Meta(description="A line of OpenSSH, or PEM.")]
    serial: Annotated[str, Meta(description="In hexadecimal.")]
    expires_at: Millis


class AuthoritiesOut(Output):
    ssh_user: Annotated[list[str], Meta(description="For `TrustedUserCAKeys` of sshd. The last may sign only later.")]
    ssh_host: Annotated[list[str], Meta(description="For `@cert-authority` lines of `known_hosts`.")]
    database: Annotated[list[str], Meta(description="Certificates (PEM), for `ssl_ca_file` of PostgreSQL.")]
    number: Annotated[
        int, Meta(description="Of both lists. It never falls: an older list must not replace a newer one.")
    ]
    krl: Annotated[str, Meta(description="For `RevokedKeys` of sshd and `RevokedHostKeys` of ssh, in base64.")]
    crl: Annotated[str, Meta(description="For `ssl_crl_file` (PEM). It is valid for a day.")]


class IssueJwtSvidInput(Input):
    audiences: Annotated[list[Annotated[str, Meta(min_length=1, max_length=1000)]], Meta(min_length=1, max_length=10)]
    seconds: Annotated[int, Meta(ge=60, le=3600)] = 300


class JwtSvidOut(Output):
    svid: str
    spiffe_id: str
    expires_at: Millis


class JwtBundleOut(Output):
    trust_domain: Annotated[str, Meta(description="The host of `server.public_url`.")]
    jwks: Annotated[str, Meta(description="The keys that verify JWT-SVIDs, as JSON.")]


operation = partial(Operation, section="certificates")

ISSUE_CERTIFICATE = operation(
    "IssueCertificate",
    "POST /certificates",
    "Issues a certificate to the session that signs the request. Each name needs the permission on `certificate/KIND/NAME`. The certificate ends with the session, and a revocation of the session puts it on the lists.",
    IssueCertificateInput,
    CertificateOut,
    resource="certificate/KIND/NAME",
    status=201,
    query=(),
)
GET_CERTIFICATE_AUTHORITIES = operation(
    "GetCertificateAuthorities",
    "GET /certificate-authorities",
    "The authorities of your account, and the certificates that were revoked. No permission is needed.",
    output=AuthoritiesOut,
)
ISSUE_JWT_SVID = operation(
    "IssueJwtSvid",
    "POST /jwt-svids",
    "Issues a JWT-SVID with the SPIFFE ID of the session's role. It is a token of `sts:GetWebIdentityToken`, needs its permission, and ends with the session at the latest; no revocation reaches it.",
    IssueJwtSvidInput,
    JwtSvidOut,
    status=201,
    query=(),
)
GET_JWT_BUNDLE = operation(
    "GetJwtBundle",
    "GET /jwt-bundle",
    "The SPIFFE trust domain and its keys. No permission is needed.",
    output=JwtBundleOut,
)
