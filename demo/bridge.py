"""A session of one installation is used in two other places, for real: at a second installation, which stands for AWS, and at a
service that verifies tokens as Vault and OpenBao do.

Nothing is stored at the other side but what `daypass bridge` prints, and no long-lived secret is anywhere. Everything is in loopback.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from stage import cli, client, document, new_key, note, refused, say, server, session_key

HOME_ACCOUNT, OTHER_ACCOUNT = "111122223333", "444455556666"
PUBLIC = "https://daypass.home.example"

# All of the service: PyJWT, the key set on standard input, and the role of the printed auth method.
VERIFIER = """
import json, sys, jwt
token, issuer, role = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
try:
    key = jwt.PyJWKSet.from_dict(json.load(sys.stdin))[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, ["ES256", "ES384"], issuer=issuer, audience=role["bound_audiences"])
    print(f"accepted: {claims['sub']}" if claims["sub"] == role["bound_subject"] else "refused: another subject")
except (jwt.PyJWTError, KeyError) as error:
    print(f"refused: {type(error).__name__}")
"""


def login(home: Path, url: str, key: tuple[str, ...], profile: str) -> None:
    arguments = ("login", "--endpoint", url, "--access-key-id", key[0], "--secret-stdin", "--profile", profile)
    cli(home, *arguments, stdin=key[1], quiet=True)


def set_up(url: str, home: Path, key: tuple[str, str]) -> tuple[tuple[str, str], str]:
    """A person with a key, and the role whose sessions are used elsewhere."""
    login(home, url, key, "home")
    iam = client("iam", url, key)
    iam.enable_outbound_web_identity_federation()
    person = iam.create_user(UserName="ann")["User"]["Arn"]
    made = iam.create_access_key(UserName="ann")["AccessKey"]
    trust = document(Principal={"AWS": person}, Action="sts:AssumeRole")
    role = iam.create_role(RoleName="deploy", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    may = document(Action="sts:GetWebIdentityToken", Resource="*")
    iam.put_role_policy(RoleName="deploy", PolicyName="other-clouds", PolicyDocument=may)
    return (made["AccessKeyId"], made["SecretAccessKey"]), str(role)


def token_for(url: str, session: tuple[str, ...], audience: str) -> str:
    asked = client("sts", url, session).get_web_identity_token(Audience=[audience], SigningAlgorithm="ES384")
    return str(asked["WebIdentityToken"])


def told(home: Path, what: str, role: str, *more: str) -> dict[str, Any]:
    """The other side's configuration."""
    arguments = ("bridge", what, "--subject", role, *more, "--profile", "home")
    cli(home, *arguments)
    return dict(json.loads(cli(home, *arguments, "--output", "json", quiet=True)))


def key_set(url: str, issuer: str) -> str:
    with urllib.request.urlopen(f"{url}{issuer.removeprefix(PUBLIC)}/.well-known/jwks.json", timeout=20) as answer:
        return str(answer.read().decode())


def enter(url: str, home: Path, key: tuple[str, str], found: dict[str, Any], keys: str) -> str:
    """The administrator of the second installation enters what was printed; the issuer is not on the net, so its keys come along."""
    login(home, url, key, "other")
    file = home / "keys.json"
    file.write_text(keys)
    provider = found["provider"]
    client_ids = [word for name in provider["ClientIDList"] for word in ("--client-id", name)]
    cli(home, "provider", "add", provider["Url"], *client_ids, f"static_jwks=@{file}", "--profile", "other", quiet=True)
    trust = json.dumps(found["trust_policy"]).replace("ACCOUNT_ID", OTHER_ACCOUNT)
    return str(client("iam", url, key).create_role(RoleName="from-home", AssumeRolePolicyDocument=trust)["Role"]["Arn"])


def assumed(url: str, role: str, token: str) -> dict[str, Any]:
    unsigned = Config(signature_version=UNSIGNED)
    sts = boto3.client("sts", endpoint_url=url, region_name="eu-central-1", config=unsigned)
    return dict(sts.assume_role_with_web_identity(RoleArn=role, RoleSessionName="job", WebIdentityToken=token))


def verify(token: str, issuer: str, role: dict[str, Any], keys: str) -> str:
    """The service's verification of a token, in a separate process."""
    command = [sys.executable, "-c", VERIFIER, token, issuer, json.dumps(role)]
    ran = subprocess.run(command, input=keys, capture_output=True, text=True, check=True, timeout=60)
    return ran.stdout.strip()


def main() -> None:
    started = time.perf_counter()
    key, other_key = new_key(), new_key()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        home = folder / "cli"
        with (
            server(folder / "home", {HOME_ACCOUNT: key}, DAYPASS_SERVER__PUBLIC_URL=PUBLIC) as url,
            server(folder / "other", {OTHER_ACCOUNT: other_key}) as other,
        ):
            play(url, other, home, key, other_key)
    say(f"Done in {time.perf_counter() - started:.1f} s.")


def play(url: str, other: str, home: Path, key: tuple[str, str], other_key: tuple[str, str]) -> None:
    person, role = set_up(url, home, key)
    issuer = client("iam", url, key).get_outbound_web_identity_federation_info()["IssuerIdentifier"]
    keys = key_set(url, issuer)
    session = session_key(client("sts", url, person).assume_role(RoleArn=role, RoleSessionName="ann"))

    say("1. What AWS, or another installation, must be told")
    theirs = enter(other, home, other_key, told(home, "aws", role), keys)
    made = assumed(other, theirs, token_for(url, session, "sts.amazonaws.com"))
    who = client("sts", other, session_key(made)).get_caller_identity()["Arn"]
    note(f"there it is {who}")
    wrong = token_for(url, session, "another-service")
    error = refused(lambda: assumed(other, theirs, wrong), "InvalidIdentityToken")
    note(f"a token for another service: {error.response['Error']['Code']}")

    say("2. What Vault or OpenBao must be told")
    rules = told(home, "vault", role)["role"]
    for what, text in (("the token", token_for(url, session, "vault")), ("one for another service", wrong)):
        note(f"{what}: {verify(text, issuer, rules, keys)}")

    say("3. Ann leaves: no token is issued any more, and the report lists those that are still valid")
    cli(home, "offboard", "ann", "--profile", "home")
    error = refused(lambda: token_for(url, session, "vault"), "ExpiredToken")
    note(f"the session: {error.response['Error']['Code']}")

    say("4. The record")
    cli(home, "audit", "search", "--operation", "sts:GetWebIdentityToken", "--profile", "home")
    cli(home, "audit", "verify", "--profile", "home")


if __name__ == "__main__":
    main()
