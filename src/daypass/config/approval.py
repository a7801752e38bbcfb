"""Settings of access requests (sweeps, webhooks, on-call schedules, mail), of access decisions for other services, and of
synthetic checks.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from daypass.config.section import Port, Section

AccountId = Annotated[str, Field(pattern=r"^[0-9]{12}$")]
HostName = Annotated[str, Field(pattern=r"^[a-z0-9.-]+$")]
"""As addresses are compared: in lower case, without a scheme or port. A token under another name would never be sent."""


def _host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]+|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*", text):
        raise ValueError(f"{text!r} is not a name or address alone: leave out scheme and port")
    return text


class AccessSettings(Section):
    sweep_seconds: float = Field(
        5.0, gt=0, le=300, description="Pause between two looks for access requests and grants that have to end."
    )
    private_hosts: tuple[Annotated[str, AfterValidator(_host)], ...] = Field(
        (),
        description="Hosts (without scheme and port) of webhooks that may be in private networks, and may be reached by http.",
    )
    calendars: Path | None = Field(None, description="Directory of iCalendar files that approval rules may name.")
    schedule_tokens: dict[AccountId, dict[HostName, SecretStr]] = Field(
        {},
        description="Authorization headers for on-call systems, by account and host: "
        '`schedule_tokens.111122223333."api.pagerduty.com" = "Token token=…"`. Rules of other accounts do not use them.',
    )
    smtp_host: str = Field("", description="SMTP server for notifications by e-mail; empty: none is sent.")
    smtp_port: Port = Field(587, description="Its port.")
    smtp_starttls: bool = Field(True, description="Whether the connection must be encrypted by STARTTLS.")
    smtp_user: str = Field("", description="User at the SMTP server; empty: no authentication.")
    smtp_password: SecretStr = Field(SecretStr(""), description="Password at the SMTP server.")
    smtp_from: str = Field("daypass@localhost", description="Sender of e-mail.")


class ChecksSettings(Section):
    seconds: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="Pause between two runs of the synthetic checks of the server against itself; 0: none.",
    )
    url: str = Field(
        "",
        description="Address that the checks call. Empty: `server.public_url`, or else the server's port on 127.0.0.1.",
    )
    ca_bundle: Path | None = Field(None, description="PEM file with the CA of that address, if the system lacks it.")
    access_key_id: str = Field("", description="Access key of the user that checks. Empty: checks without credentials.")
    secret_access_key: SecretStr = Field(SecretStr(""), description="Its secret.")
    role: str = Field("", description="ARN of a role that this user can assume.")
    denied_role: str = Field("", description="ARN of a role that this user must not be able to assume.")
    anomalies: bool = Field(
        True, description="Whether sessions are compared with what is usual for their principals; takes 8 MB at most."
    )


class AuthzenSettings(Section):
    record: Literal["all", "denied", "none"] = Field(
        "all",
        description="Which access decisions for other services (AuthZEN) go on the record: all, only requests with a denial, "
        "or none. Refused requests and searches always do.",
    )
