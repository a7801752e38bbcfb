"""Settings of sessions, of the ways to prove an identity (AWS, SAML, sign-in, OAuth), and of approvals."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from daypass.config.section import Port, Section


class SessionsSettings(Section):
    chain_depth: int = Field(4, ge=1, le=16, description="Most sessions in a chain of assumed roles.")
    token_bytes: int = Field(4096, ge=1024, le=8192, description="Largest session token.")
    skew_seconds: int = Field(
        300, ge=1, le=900, description="Accepted difference between a signature's time and the server's."
    )


class AwsSettings(Section):
    regions: tuple[str, ...] = Field((), description="Regions accepted in credential scopes. Empty: any.")
    policies: Path | None = Field(
        None, description="Directory of further AWS-named managed policies: NAME.json each, or PATH/NAME.json."
    )


class SamlSettings(Section):
    aws_addresses: bool = Field(
        True,
        description="Accept SAML assertions made for AWS (https://signin.aws.amazon.com/saml, "
        "urn:amazon:webservices), not only for `server.public_url`.",
    )


class SignInSettings(Section):
    idle_minutes: int = Field(30, ge=1, le=1440, description="An unused browser is signed out after this time.")
    session_hours: int = Field(
        12,
        ge=1,
        le=12,
        description="A browser is signed out this long after its sign-in, or after a login profile's "
        "MaxSigninSessionDuration.",
    )
    passkey_roots: Path | None = Field(
        None, description="PEM certificates of accepted makers of authenticators. Empty: all passkeys."
    )
    passkey_models: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")], ...] = Field(
        (), description="AAGUIDs of accepted authenticators; needs `passkey_roots`. Empty: all."
    )
    consent_days: int = Field(30, ge=0, le=365, description="How long a consent can be remembered. 0: never.")


Algorithm = Literal["ES256", "EdDSA", "RS256"]


class OAuthSettings(Section):
    algorithm: Algorithm = Field("ES256", description="Signs access tokens: ES256, EdDSA or RS256.")
    audience_algorithms: tuple[Annotated[str, Field(pattern=r"^[!-~]{1,512}=(ES256|EdDSA|RS256)$")], ...] = Field(
        (), description="Other algorithms for single audiences, AUDIENCE=ALGORITHM each."
    )

    web_identity_algorithms: tuple[Literal["ES256", "ES384", "EdDSA", "RS256"], ...] = Field(
        ("ES256", "ES384"),
        min_length=1,
        description="Algorithms of tokens for other clouds (GetWebIdentityToken). AWS offers RS256 and ES384; Microsoft "
        "Entra accepts RS256 only.",
    )
    registration: bool = Field(
        False,
        description="Lets applications register (RFC 7591) with an access token of a principal that may create "
        "clients.",
    )
    status_ttl_seconds: int = Field(
        10, ge=1, le=86_400, description="A verifier fetches a status list again after this time."
    )

    def algorithm_of(self) -> dict[str, str]:
        """The exceptions: algorithm by audience."""
        return {audience: name for audience, _, name in (text.rpartition("=") for text in self.audience_algorithms)}


class FederationSettings(Section):
    fetch_seconds: float = Field(1.8, gt=0, le=30, description="Time limit for an issuer's keys.")
    refresh_minutes: int = Field(
        60, ge=5, le=1440, description="Keys are fetched again after this time, unless the issuer names another."
    )
    stale_hours: int = Field(
        24, ge=1, le=720, description="Keys of an unavailable issuer are used this long after the last fetch."
    )
    allow_private_networks: bool = Field(
        False, description="Allow private and loopback addresses for keys of every issuer."
    )
    files: Path | None = Field(
        None,
        description="Directory of files (key sets, bearer tokens) that provider settings may name; in a Kubernetes "
        "pod /var/run/secrets/kubernetes.io/serviceaccount. Empty: none.",
    )


# --- Approval


AccountId = Annotated[str, Field(pattern=r"^[0-9]{12}$")]
HostName = Annotated[str, Field(pattern=r"^[a-z0-9.-]+$")]
"""As addresses are compared: in lower case, without a scheme or port. A token under another name would never be sent."""


def _host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]+|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*", text):
        raise ValueError(f"{text!r} is not a name or address alone: leave out scheme and port")
    return text


class AccessSettings(Section):
    sweep_seconds: float = Field(
        5.0, gt=0, le=300, description="Time between searches for access requests and grants to end."
    )
    private_hosts: tuple[Annotated[str, AfterValidator(_host)], ...] = Field(
        (), description="Hosts (without scheme and port) of webhooks in private networks, also by HTTP."
    )
    calendars: Path | None = Field(None, description="Directory of iCalendar files for approval rules.")
    schedule_tokens: dict[AccountId, dict[HostName, SecretStr]] = Field(
        {},
        description="Authorization headers for on-call systems, by account and host: "
        '`schedule_tokens.111122223333."api.pagerduty.com" = "Token token=…"`.',
    )
    smtp_host: str = Field("", description="SMTP server. Empty: no e-mail.")
    smtp_port: Port = Field(587, description="Its port.")
    smtp_starttls: bool = Field(True, description="Require STARTTLS.")
    smtp_user: str = Field("", description="Its user. Empty: no authentication.")
    smtp_password: SecretStr = Field(SecretStr(""), description="Its password.")
    smtp_from: str = Field("daypass@localhost", description="Sender.")


class ChecksSettings(Section):
    seconds: float = Field(
        0.0, ge=0, le=3600, description="Time between the server's synthetic checks of itself. 0: none."
    )
    url: str = Field("", description="Address to check. Empty: `server.public_url`, or the server's port on 127.0.0.1.")
    ca_bundle: Path | None = Field(None, description="PEM file with its CA, if the system lacks it.")
    access_key_id: str = Field("", description="Access key of the checking user. Empty: checks without credentials.")
    secret_access_key: SecretStr = Field(SecretStr(""), description="Its secret.")
    role: str = Field("", description="ARN of a role that this user can assume.")
    denied_role: str = Field("", description="ARN of a role that it must not be able to assume.")
    anomalies: bool = Field(
        True, description="Compare sessions with what is usual for their principals; takes up to 8 MB."
    )


class AuthzenSettings(Section):
    record: Literal["all", "denied", "none"] = Field(
        "all",
        description="Access decisions (AuthZEN) on the record: `all`, `denied` (requests with a denial) or `none`. Refused "
        "requests and searches are always recorded.",
    )
