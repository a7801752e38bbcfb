"""`aws login`, for real: a person signs in by browser, the stock login provider of botocore renews the keys by itself, one revocation
ends both.

The browser and the AWS CLI (2.32 and later, which may not be installed) are played by what the tests use; a stock CLI is tested with it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from botocore.utils import JSONFileCache, LoginTokenLoader
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from stage import as_workload, cli, client, new_key, note, say, server
from tests.e2e.conftest import OPERATOR
from tests.e2e.test_aws_sign_in import SAME, Tool
from tests.e2e.test_sign_in_clients import PASSWORD

from daypass.client.profiles import Profile, save

WHO = """
import boto3, json
from botocore.exceptions import BotoCoreError, ClientError
try:
    found = boto3.client("sts").get_caller_identity()["Arn"]
except (BotoCoreError, ClientError) as error:
    found = f"refused: {error}"
print(json.dumps({"who": found}))
"""
LONG_AGO = "2026-01-01T00:00:00Z"


def main() -> None:
    key = new_key()
    with (
        tempfile.TemporaryDirectory() as name,
        server(Path(name) / "data", {OPERATOR: key}, DAYPASS_SERVER__PUBLIC_URL="{url}") as url,
    ):
        home = Path(name)
        save("default", Profile(url, *key), {"DAYPASS_HOME": name})
        say("1. Ann has a password and no key")
        iam = client("iam", url, key)
        person = iam.create_user(UserName="ann")["User"]["Arn"]
        iam.create_login_profile(UserName="ann", Password=PASSWORD)
        say("2. aws login: the browser signs her in, the CLI redeems the code with a key of its own")
        served: Any = SimpleNamespace(url=url)
        tool = Tool(served)
        note(f"$ AWS_ENDPOINT_URL={url} aws login")
        answer = tool.redeemed()
        pem = tool.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
        answer |= {"clientId": SAME, "dpopKey": pem}
        answer["accessToken"] |= {"accountId": OPERATOR, "expiresAt": LONG_AGO}
        tokens = LoginTokenLoader(JSONFileCache(name))
        tokens.save_token(person, answer)
        (home / "config").write_text(f"[default]\nregion = us-east-1\nlogin_session = {person}\n")
        environment = {"AWS_CONFIG_FILE": f"{name}/config", "AWS_LOGIN_CACHE_DIRECTORY": name, "AWS_ENDPOINT_URL": url}
        say("3. Her keys have expired; boto3, with no agent and nothing of ours, renews them")
        note(f"boto3: {as_workload(WHO, environment)['who']}")
        if tokens.load_token(person)["refreshToken"] == answer["refreshToken"]:
            sys.exit("nothing was renewed")
        say("4. Her access is revoked: the keys are refused, and are not renewed any more")
        cli(home, "revoke", "principal", person)
        note(f"boto3: {as_workload(WHO, environment)['who']}")
        renewed = tokens.load_token(person)
        renewed["accessToken"]["expiresAt"] = LONG_AGO
        tokens.save_token(person, renewed)
        note(f"renewal: {as_workload(WHO, environment)['who']}")
        say("5. The record")
        cli(home, "audit", "search", "--operation", "signin:CreateOAuth2Token", "--limit", "4")


if __name__ == "__main__":
    main()
