"""The table of what each SDK reads, in docs/how-to/use-aws-tools.md, measured: each cell is one run of a stock client.

The client's code names no region, endpoint or key, and its environment holds only what the cell's row says. A server on the
loopback notes the calls that reach it; a call that goes to AWS instead ends at a proxy that refuses it.
"""

from __future__ import annotations

import re
import ssl
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from tests.e2e.cli.sdks import CLIENTS, command
from tests.e2e.pki import Pki
from tests.packaging.machine import ROOT

pytestmark = pytest.mark.slow

_PAGE = ROOT / "docs/how-to/use-aws-tools.md"
_KEY = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE000000000", "AWS_SECRET_ACCESS_KEY": "secret"}
_STATIC = "aws_access_key_id = AKIAEXAMPLE000000000\naws_secret_access_key = secret\n"
_SERVICES = "[services local]\nsts =\n  endpoint_url = {url}\n"
_ANSWERS = {
    "GetCallerIdentity": "<Arn>arn:aws:iam::111122223333:user/a</Arn><UserId>AIDA</UserId><Account>111122223333</Account>",
    "AssumeRole": "<Credentials><AccessKeyId>ASIAEXAMPLE000000000</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
    "<SessionToken>t</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration></Credentials>"
    "<AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/r/s</Arn><AssumedRoleId>A:s</AssumedRoleId></AssumedRoleUser>",
}  # fmt: skip


@dataclass(frozen=True)
class Form:
    """One row: the environment and the configuration file of a client, and the call that must arrive."""

    environment: dict[str, str]
    profile: str = ""  # the section that AWS_PROFILE names; without one, the environment has the key
    sections: str = ""
    call: str = "GetCallerIdentity"
    tls: bool = False

    def config(self, url: str, ca: Path) -> str:
        text = f"[profile p]\n{self.profile}" if self.profile else ""
        return (text + "\n" + self.sections).format(url=url, ca=ca)

    def variables(self, url: str, ca: Path) -> dict[str, str]:
        found = {name: value.format(url=url, ca=ca) for name, value in self.environment.items()}
        return {**found, "AWS_PROFILE": "p"} if self.profile else {**_KEY, **found}


_REGION = {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}
_URL = {"AWS_ENDPOINT_URL": "{url}"}
_ROLE = "role_arn = arn:aws:iam::111122223333:role/r\nsource_profile = s\n"
_SOURCE = f"[profile s]\n{_STATIC}"


def _role(environment: dict[str, str], profile: str = "", sections: str = "") -> Form:
    return Form({**_REGION, **environment}, _ROLE + profile, _SOURCE + sections, "AssumeRole")


_PROCESS = 'credential_process = /bin/echo \'{{"Version": 1, "AccessKeyId": "AKIAX", "SecretAccessKey": "s"}}\'\n'
FORMS: dict[str, Form] = {
    "region: `AWS_REGION`": Form({**_URL, "AWS_REGION": "us-east-1"}),
    "region: `AWS_DEFAULT_REGION`": Form({**_URL, "AWS_DEFAULT_REGION": "us-east-1"}),
    "region: `region` of the profile": Form(_URL, f"{_STATIC}region = us-east-1\n"),
    "endpoint: `AWS_ENDPOINT_URL`": Form({**_REGION, **_URL}),
    "endpoint: `AWS_ENDPOINT_URL_STS`": Form({**_REGION, "AWS_ENDPOINT_URL_STS": "{url}"}),
    "endpoint: `endpoint_url` of the profile": Form(_REGION, _STATIC + "endpoint_url = {url}\n"),
    "endpoint: `services` of the profile": Form(_REGION, _STATIC + "services = local\n", _SERVICES),
    "`role_arn` profile: `AWS_ENDPOINT_URL`": _role(_URL),
    "`role_arn` profile: `AWS_ENDPOINT_URL_STS`": _role({"AWS_ENDPOINT_URL_STS": "{url}"}),
    "`role_arn` profile: its `endpoint_url`": _role({}, "endpoint_url = {url}\n"),
    "`role_arn` profile: its `services`": _role({}, "services = local\n", _SERVICES),
    "`credential_process` profile": Form(_REGION, f"{_PROCESS}endpoint_url = {{url}}\n"),
    "CA certificate: `AWS_CA_BUNDLE`": Form({**_REGION, **_URL, "AWS_CA_BUNDLE": "{ca}"}, tls=True),
    "CA certificate: `ca_bundle` of the profile": Form({**_REGION, **_URL}, _STATIC + "ca_bundle = {ca}\n", tls=True),
    "CA certificate: `NODE_EXTRA_CA_CERTS`": Form({**_REGION, **_URL, "NODE_EXTRA_CA_CERTS": "{ca}"}, tls=True),
}
"""Name of a row of the table → what is set."""


@dataclass
class Sts:
    """A server that notes the actions that it is asked for."""

    url: str
    seen: list[str] = field(default_factory=list)


def _handler(seen: list[str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the library calls it so
            body = self.rfile.read(int(self.headers.get("content-length", "0"))).decode()
            [action] = parse_qs(body)["Action"]
            seen.append(action)
            text = (
                f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>{_ANSWERS[action]}'
                f"</{action}Result><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{action}Response>"
            )
            self.send_response(200)
            self.send_header("content-type", "text/xml")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def do_CONNECT(self) -> None:  # a client that goes to AWS, through the proxy that it was told
            self.send_error(502)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    return Handler


def _served(certificate: Pki | None) -> Iterator[Sts]:
    found = Sts("")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(found.seen))
    found.url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_address[1]}"
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.server_cert, certificate.server_key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def _is_read(client: str, form: Form, folder: Path) -> bool:
    """Whether the client's call arrives at the endpoint when exactly this is set."""
    folder.mkdir()
    pki = Pki(folder)
    for proxy in _served(None):
        for sts in _served(pki if form.tls else None):
            config = folder / "config"
            config.write_text(form.config(sts.url, pki.ca))
            environment = {
                "PATH": "/usr/bin:/bin", "HOME": str(folder), "AWS_CONFIG_FILE": str(config), "AWS_MAX_ATTEMPTS": "1",
                "AWS_EC2_METADATA_DISABLED": "true", "HTTPS_PROXY": proxy.url, "NO_PROXY": "127.0.0.1",
                "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"),
            }  # fmt: skip
            subprocess.run(
                command(client), env={**environment, **form.variables(sts.url, pki.ca)}, capture_output=True, timeout=60,
                check=False,
            )  # fmt: skip
            return form.call in sts.seen
    raise AssertionError


def table() -> dict[str, dict[str, str]]:
    """Row → client → cell, of the page."""
    lines = [line.strip().strip("|").split("|") for line in _PAGE.read_text().splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line] for line in lines]
    start = next(number for number, row in enumerate(rows) if row[1:] == list(CLIENTS))
    return {row[0]: dict(zip(CLIENTS, row[1:], strict=True)) for row in rows[start + 2 :] if row[0] in FORMS}


def test_table_has_every_row_and_says_yes_or_no() -> None:
    assert list(table()) == list(FORMS)
    assert {cell for row in table().values() for cell in row.values()} == {"yes", "no"}


@pytest.mark.parametrize("client", CLIENTS)
def test_cells_of_a_client_are_as_measured(client: str, tmp_path: Path) -> None:
    command(client)  # skips where it is not there
    with ThreadPoolExecutor(2) as pool:
        folders = [tmp_path / re.sub(r"\W+", "-", name) for name in FORMS]
        found = dict(zip(FORMS, pool.map(_is_read, [client] * len(FORMS), FORMS.values(), folders), strict=True))
    measured = {name: "yes" if read else "no" for name, read in found.items()}
    assert measured == {name: row[client] for name, row in table().items()}
