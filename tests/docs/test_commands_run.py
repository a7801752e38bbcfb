"""The commands of the pages, typed in order into a shell on a terminal: their exit status, and the form of what they show.

Each page has a server of its own, with the users, roles and files that its reader would have.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyotp
import pytest
from botocore.exceptions import ClientError
from tests.docs.reader import Ran, Reader, faults, shape, statements
from tests.docs.shell_blocks import Block, blocks
from tests.e2e.conftest import ADMIN_KEY, OPERATOR, Server, running
from tests.e2e.pki import Pki
from tests.issuer import Issuer
from tests.packaging.machine import ROOT
from tests.saml_idp import metadata
from tests.x509 import Authority

pytestmark = pytest.mark.slow

_BLOCKS = blocks()
_RUN = [block for block in _BLOCKS if not block.reason]
_BY_ANOTHER = re.compile(r"tests/(?:e2e|unit)/(?:cli/)?\w+\.py runs these$")
_PAGES = sorted({block.page for block in _RUN})
_ARN = f"arn:aws:iam::{OPERATOR}"
# The answer of these may be no (status 1): about policies of the reader, and about subjects of tokens that nobody has used here.
_NO = re.compile(r"^daypass (simulate|access|trust test|lint|explain|revoke principal|rule diff|request suggest)\b")
_AS_ROOT = "# without a user name: the root's own"
_PROGRAMS = ("curl", "jq", "openssl", "fish")  # of the system; a command that needs one that is missing is left out
_ENDLESS = {"--follow": "Z  ", "daypass serve": "listens on "}
_PEOPLE = ("ana", "ann")
_RULE = {
    "roles": ["role/prod/*"],
    "requesters": {"principals": ["group/on-call"]},
    "stages": [{"name": "lead", "approvers": {"principals": ["group/leads"]}}],
}


def document(**statement: object) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


class World:
    """A server with what the pages name, and a directory with their files."""

    def __init__(self, server: Server, directory: Path, ends: ExitStack) -> None:
        self.server, self.directory, self._ends = server, directory, ends
        self.issuer = Issuer("ci.example.com", "ES256", "daypass")
        self.issuer_arn = f"{_ARN}:oidc-provider/{self.issuer.url}"
        self.home = directory / "home"
        self.home.mkdir()
        (self.home / ".bashrc").write_text("PS1='[$?]reader> '\n")
        self._make_entities()
        self._make_files()

    def _make_entities(self) -> None:
        iam = self.server.client("iam")
        iam.create_open_id_connect_provider(Url=self.issuer.issuer, ClientIDList=["daypass"])
        settings = {"settings": {"static_jwks": json.dumps(self.issuer.jwks())}}
        self.server.api("PUT", f"/providers/oidc/{self.issuer.url}/settings", body=settings)
        actions = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
        own = {"Effect": "Allow", "Action": actions, "Principal": {"AWS": f"{_ARN}:user/admin"}}
        token = {
            "Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity", "Principal": {"Federated": self.issuer_arn},
            "Condition": {"StringEquals": {f"{self.issuer.url}:sub": "job"}},
        }  # fmt: skip
        trust = json.dumps({"Version": "2012-10-17", "Statement": [own, token]})
        for role in ("deployer", "admin", "thumbnails", "worker", "auditor"):
            iam.create_role(RoleName=role, AssumeRolePolicyDocument=trust)
        iam.attach_role_policy(RoleName="deployer", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
        fence = document(Action="iam:ListUsers", Resource="*").replace("Allow", "Deny")
        iam.put_role_policy(RoleName="deployer", PolicyName="fence", PolicyDocument=fence)
        iam.create_policy(PolicyName="partners", PolicyDocument=document(Action="s3:*", Resource="*"))
        for name in _PEOPLE:
            iam.create_user(UserName=name)
        self.key = iam.create_access_key(UserName="ana")["AccessKey"]["AccessKeyId"]
        self.server.client("sts").assume_role(RoleArn=f"{_ARN}:role/deployer", RoleSessionName="release")
        self.denied = self._denied()
        self.session = self.server.api("GET", "/sessions")["sessions"][0]["session_id"]

    def _denied(self) -> str:
        """The id of a request that was denied; its message is `message`."""
        with pytest.raises(ClientError) as refused:
            self.server.client("sts").assume_role(RoleArn=f"{_ARN}:role/nonesuch", RoleSessionName="release")
        self.message = str(refused.value)
        return str(refused.value.response["ResponseMetadata"]["RequestId"])

    def _make_files(self) -> None:
        token = self.issuer.token(time.time_ns() // 1_000_000, sub="job")
        authority = Authority.make("O=Acme/CN=plant root")
        policy = document(Action="sts:AssumeRole", Resource="*")
        trust = document(Action="sts:AssumeRole", Principal={"AWS": f"{_ARN}:user/ana"})
        host = document(
            Action=["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"],
            Principal={"Service": "rolesanywhere.amazonaws.com"},
        )
        files = {
            **dict.fromkeys(("borrow.json", "deny.json", "new.json", "guardrail.json", "narrower.json", "work.json", "read.json", "write.json"), policy),
            "policies/read.json": policy,
            "rules/prod.json": json.dumps(_RULE),
            "billing.jwks.json": json.dumps(self.issuer.jwks()),
            "secret": "client-secret-of-the-provider",
            "header.txt": "Bearer token-of-the-receiver",
            "signing-secret.txt": "0123456789abcdef0123456789abcdef",
            "trust.json": trust,
            "pods.json": document(
                Principal={"Service": "pods.eks.amazonaws.com"}, Action=["sts:AssumeRole", "sts:TagSession"]
            ),
            "host.json": host,
            "token.txt": token,
            "token": token,
            "reader.token": "reader",
            "reviewer.token": "reviewer",
            **dict.fromkeys(("ca.pem", "ca.crt", "cluster-ca.pem"), authority.pem),
            "metadata.xml": metadata(),
            "job.py": "import boto3\nprint(boto3.client('sts').get_caller_identity()['Arn'])\n",
            "release.sh": "#!/bin/sh\nexec aws sts get-caller-identity\n",
            "bin/daypass": f'#!/bin/sh\nexec {sys.executable} -m daypass.cli.main "$@"\n',
            "bin/aws": f'#!/bin/sh\nexec {Path(sys.executable).with_name("aws")} "$@"\n',
            "bin/python": f'#!/bin/sh\nexec {sys.executable} "$@"\n',
            "bin/pass": f"#!/bin/sh\necho {ADMIN_KEY[1]}\n",
        }  # fmt: skip
        for name, text in files.items():
            path = self.directory / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            if text.startswith("#!"):
                path.chmod(0o755)
        (self.directory / "crl.pem").write_bytes(authority.crl())
        self._make_certificate()
        shutil.copy(self.server.data / "daypass.db", self.directory / "copy.db")

    def _make_certificate(self) -> None:
        """The certificate and key of a server."""
        place = self.directory / "pki"
        place.mkdir()
        pki = Pki(place)
        shutil.copy(pki.server_cert, self.directory / "cert.pem")
        shutil.copy(pki.server_key, self.directory / "key.pem")

    def with_tls(self) -> str:
        """The address of another server, with the certificate that the page has made."""
        files = ("--tls-cert", str(self.directory / "cert.pem"), "--tls-key", str(self.directory / "key.pem"))
        tls = ssl.create_default_context(cafile=str(self.directory / "cert.pem"))
        first_key = {"DAYPASS_BOOTSTRAP": ":".join((*ADMIN_KEY, OPERATOR, "admin"))}
        other = running(self.directory / "other", *files, environment=first_key, tls=tls)
        return self._ends.enter_context(other).url

    def with_device(self) -> str:
        """The seed of an MFA device of the administrator, whose next code is unused."""
        iam = self.server.client("iam")
        made = iam.create_virtual_mfa_device(VirtualMFADeviceName="ann")["VirtualMFADevice"]
        seed = made["Base32StringSeed"].decode()
        codes = [pyotp.TOTP(seed).at(time.time() + 30 * steps) for steps in (-1, 0)]
        iam.enable_mfa_device(
            UserName="admin", SerialNumber=made["SerialNumber"], AuthenticationCode1=codes[0], AuthenticationCode2=codes[1]
        )  # fmt: skip
        return str(seed)

    def environment(self) -> dict[str, str]:
        """That of somebody who has pasted the variables of an administrator's key."""
        kept = {n: os.environ[n] for n in ("PATH", "LANG", "SSL_CERT_FILE") if n in os.environ}
        url = self.server.url
        key = {"AWS_ACCESS_KEY_ID": ADMIN_KEY[0], "AWS_SECRET_ACCESS_KEY": ADMIN_KEY[1]}
        endpoints = dict.fromkeys(("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_IAM"), url)
        endpoints["AWS_ENDPOINT_URL_ROLESANYWHERE"] = url
        return {
            **kept, **key, **endpoints, "AWS_DEFAULT_REGION": "us-east-1", "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true", "DAYPASS_BOOTSTRAP": "AKIAFIRSTKEY00000001:a-long-random-secret:111122223333", "PATH": f"{self.directory / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.home), "TOKEN_FILE": str(self.directory / "token.txt"), "PRESIGNED_URL": self._presigned(),
        }  # fmt: skip

    def _presigned(self) -> str:
        made: str = self.server.client("sts").generate_presigned_url("get_caller_identity", HttpMethod="GET")
        return made


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    environment = {
        "DAYPASS_BOOTSTRAP": ":".join((*ADMIN_KEY, OPERATOR, "admin")),
        "DAYPASS_SERVER__PUBLIC_URL": "{url}",
    }
    with running(tmp_path / "data", environment=environment) as started, ExitStack() as ends:
        yield World(started, tmp_path, ends)


class Page:
    """One page: what its reader puts into its commands, learned from what earlier ones have shown."""

    def __init__(self, world: World, seed: str) -> None:
        self.world, self.seed = world, seed
        self.root = ("", "")  # the key of the root of the account that the page has made
        self.known: dict[str, Any] = {
            "/tmp/": f"{world.directory}/",  # before the values that may be there
            "AWS_ACCESS_KEY_ID=AKIA… AWS_SECRET_ACCESS_KEY=…": "AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={}".format(*ADMIN_KEY),
            "SESSION_ID": world.session, r"\bID\b": world.session, "REQUEST_ID": world.denied, "AKIA…": world.key,
            "0f8fad5b-d9cb-469f-a165-70867728950e": world.denied, "mfa/anna": "mfa/ann",
            r"'An error occurred \(AccessDenied\) …'": shlex.quote(world.message), "0199c3f2a1b04c5d8e9f0a1b2c3d4e5f": world.session,
            "https://(daypass|staging)\\.example\\.com": world.server.url, "(?<!AWS_)ROLE_ARN": f"{_ARN}:role/deployer",
            r"--database /var/lib/daypass": f"--database {world.server.data}",
            r"--data /var/lib/daypass": f"--data {world.server.data}", "/var/run/secrets/token|/run/token": str(world.directory / "token"),
        }  # fmt: skip

    def filled(self, command: str) -> str:
        if "daypass login" in command:  # with the reader's own key
            command = command.replace("AKIA…", ADMIN_KEY[0])
        if command.startswith("daypass serve"):
            with socket.create_server(("127.0.0.1", 0)) as free:
                command = re.sub(
                    r"\s*(#.*)?$", f" --port {free.getsockname()[1]}", command.replace("0.0.0.0", "127.0.0.1")
                )
            command = command.replace("/var/lib/daypass", "FRESH")
            command += "" if "--data" in command else " --data FRESH"
        if "https://localhost:8700" in command:
            command = command.replace("https://localhost:8700", self.world.with_tls())
        if "| source" in command:
            command = f"fish -c {shlex.quote(command)}"
        if "--token-code 123456" in command:
            command = command.replace("123456", pyotp.TOTP(self.seed).at(time.time() + 30))
        for placeholder, value in self.known.items():
            command = re.sub(placeholder, lambda _, value=value: value, command)
        return command.replace("FRESH", str(self.world.directory / "fresh"))

    def learn(self, ran: Ran) -> None:
        """Takes the ids that the next commands of the page refer to."""
        if ran.command.startswith("daypass user create"):
            self.known["AKIA…"] = [self.world.key, *re.findall(r"AKIA[A-Z0-9]{16}", ran.shown)][-1]
        elif ran.command.startswith("daypass user rm"):
            self.known["AKIA…"] = self.world.key
        if ran.command.startswith("daypass client create") and (found := re.search(r"DPCL[A-Z0-9]+", ran.shown)):
            self.known["DPCLEXAMPLEEXAMPLEEXA"] = found[0]
        deletes = ran.command.startswith("daypass user rm")  # it revokes, too, and no page goes on with that revocation
        if not deletes and (found := re.search(r"\brevocation\s+(\w{32})\b", ran.shown)):
            self.known[r"\bID\b"] = found[1]
        if found := re.search(r"root key access key id\s+(\S+)\s+root key secret access key\s+(\S+)", ran.shown):
            self.root = (found[1], found[2])


def wanted(command: str, text: str) -> object:
    """The form of the JSON that a page shows under a command; None where it shows none."""
    after = text.partition(command)[2].lstrip("\n").partition("\n")[0]
    return json.loads(after.removeprefix("# ")) if after.startswith("# {") else None


def run_block(block: Block, page: Page, reader: Reader) -> list[str]:
    failed = []
    as_root = _AS_ROOT in block.text
    if as_root:
        become(reader, page.root)
        page.known["AKIA…"] = page.root[0]
    for command in statements(block.text):
        line = page.filled(command)
        if any(re.search(rf"(^|[|&;] *){name}\b", line) and not shutil.which(name) for name in _PROGRAMS):
            continue
        end = next((text for sign, text in _ENDLESS.items() if sign in line), "")
        ran = reader.run_until(line, end) if end else reader.run(line)
        page.learn(ran)
        found = faults(ran)
        if ran.status not in ({0, 1} if _NO.match(line) else {0}):
            found.append(f"its status is {ran.status}")
        form = wanted(command, block.text)
        if form is not None and shape(json.loads(ran.shown)) != shape(form):
            found.append(f"the page shows another form: {form}")
        if "$(daypass assume" in line:  # the reader goes on as himself
            reader.run('eval "$(daypass assume --unset)"')
            variables = page.world.environment().items()
            reader.run(
                f"export {shlex.join(f'{name}={value}' for name, value in variables if name.startswith('AWS_'))}"
            )
        if found:
            failed.append(f"{block.name}: {line}\n  {found}\n{ran.shown[-1500:]}")
    if as_root:
        become(reader, ADMIN_KEY)
    return failed


def become(reader: Reader, key: tuple[str, ...]) -> None:
    reader.run(f"export AWS_ACCESS_KEY_ID={key[0]} AWS_SECRET_ACCESS_KEY={key[1]}")


@pytest.mark.parametrize("path", _PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_page_runs_as_written(path: Path, world: World) -> None:
    mine = [block for block in _RUN if block.page == path]
    seed = world.with_device() if any("mfa" in block.text for block in mine) else ""
    answers = {
        "Secret access key: ": lambda: ADMIN_KEY[1],
        r"MFA code of [^\n]*: ": lambda: pyotp.TOTP(seed).at(time.time() + 30),
        r"Role \(number, or text to filter\): ": lambda: "deployer",
        r"\[y/N\]: ": lambda: "y",
    }
    page, failed = Page(world, seed), []
    with Reader(world.environment(), world.directory, answers) as reader:
        reader.run("unset AWS_PROFILE")
        for block in mine:
            failed += run_block(block, page, reader)
    assert not failed, "\n\n".join(failed)


def test_most_commands_of_the_pages_are_run() -> None:
    def count(some: list[Block]) -> int:
        return sum(len([*block.commands("daypass")]) for block in some)

    run = [*_RUN, *(block for block in _BLOCKS if _BY_ANOTHER.search(block.reason))]
    incidents = [
        block for block in _BLOCKS if block.page.stem == "runbooks"
    ]  # they need the fault; game days take the steps
    assert count(run) >= 0.78 * (count(_BLOCKS) - count(incidents))


_INCIDENT = {
    "good-trust-policy.json": "trust.json", r"\bROLE\b": "deployer", r"\bUSER\b": "ana", r"\bKEY_ID\b": "{key}",
    r"\bISSUER\b": "{issuer}", r"\bACCOUNT\b": "{account}", r"\bGRANT_ID\b": "0" * 32, "https://replica.example.com": "{url}",
}  # fmt: skip
_ELSEWHERE = re.compile(r"^daypass (clock|server-keys|probe|audit verify|backup)\b")
"""Commands on the database of a server, or of its operator, which the tests of the command line run."""


def test_commands_of_runbooks_do_their_work(world: World) -> None:
    """Without the fault that their alert is about: each is a command, finds what it names, and ends as documented."""
    account = world.server.api("POST", "/accounts", body={"name": "incident"})["id"]
    facts = {"key": world.key, "issuer": world.issuer.url, "account": account, "url": world.server.url}
    page, failed, ran_commands = Page(world, ""), [], 0
    page.known |= {name: value.format(**facts) for name, value in _INCIDENT.items()}
    page.known.pop(r"\bID\b")
    incidents = [block for block in _BLOCKS if block.page.stem == "runbooks"]
    with Reader(world.environment(), world.directory, {r"\[y/N\]: ": lambda: "y"}) as reader:
        for command in dict.fromkeys(each for block in incidents for each in statements(block.text)):
            if not command.startswith("daypass ") or _ELSEWHERE.match(command):
                continue
            ran = reader.run(page.filled(command))
            ran_commands += 1
            found = ran.status == 0 or "daypass: " not in ran.shown or "GRANT_ID" in command  # no grant was made here
            if ran.status not in {0, 1} or not found:
                failed.append(f"{command}: {ran.status}\n{ran.shown[-800:]}")
    assert not failed, "\n\n".join(failed)
    assert ran_commands > 20
