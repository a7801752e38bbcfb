"""The examples of docs/how-to/integrations.md: Envoy's JWT filter with the real program, Spring's settings with a JWT library."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
import yaml
from tests.e2e.conftest import running
from tests.e2e.test_gateways import Application, ask, bearer
from tests.e2e.test_policies import AUDIENCE, World
from tests.e2e.test_proxies import free_port, replaced
from tests.packaging.machine import ROOT
from tests.processes import bound

pytestmark = pytest.mark.slow
ISSUER = "https://daypass.example.com"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    environment = {"DAYPASS_SERVER__PUBLIC_URL": "{url}"}
    with running(tmp_path_factory.mktemp("integrations"), environment=environment) as server:
        made = World(server)
        yield made
        made.verifier.stop()


@pytest.fixture(scope="module")
def port(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of Envoy, with the example, in front of an application that answers with what it received."""
    program = shutil.which("envoy", path=str(Path(sys.executable).parent)) or shutil.which("envoy")
    if program is None:
        pytest.skip("envoy is not installed")
    application, port = Application(), free_port()
    threading.Thread(target=application.serve_forever, daemon=True).start()
    example = replaced(
        (ROOT / "deploy/proxy/envoy-jwt.yaml").read_text(),
        (ISSUER, world.server.url),
        ("port_value: 8700", f"port_value: {world.server.url.rpartition(':')[2]}"),
        ("port_value: 8080", f"port_value: {application.server_port}"),
        ("address: 0.0.0.0, port_value: 80}", f"address: 127.0.0.1, port_value: {port}}}"),
    )
    folder = tmp_path_factory.mktemp("envoy")
    (folder / "envoy.yaml").write_text(example)
    command = [program, "-c", str(folder / "envoy.yaml"), "--concurrency", "1", "--base-id", str(port), "-l", "warn"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(bound(command), stdout=log, stderr=log)
    try:
        wait_for(port, process, folder / "log")
        yield port
    finally:
        process.terminate()
        process.wait(120)
        application.shutdown()
        application.server_close()


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Returns when Envoy answers."""
    end = time.monotonic() + 60
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        try:
            if ask(port, b"GET", b"/orders/7")[0] == 401:
                return
        except OSError:
            pass
        time.sleep(0.05)


def test_envoy_passes_the_tokens_of_its_audience_alone_and_says_who_sent_them(port: int, world: World) -> None:
    token = world.text()
    status, _, body = ask(port, b"GET", b"/orders/7", bearer(token), b"X-Subject: admin")
    assert status == 200
    subjects = [value for name, value in json.loads(body)["headers"] if name.lower() == "x-subject"]
    assert len(subjects) == 1
    assert subjects[0].startswith("AROA")
    head, _, rest = token.partition(".")
    claims, _, signature = rest.partition(".")
    altered = f"{head}.{claims[:-4]}AAAA.{signature}"
    for wrong in (altered, world.text_for("https://other.example"), "x"):
        assert ask(port, b"GET", b"/orders/7", bearer(wrong))[0] in (401, 403)


def test_settings_for_spring_verify_a_token(world: World) -> None:
    page = (ROOT / "docs/how-to/integrations.md").read_text()
    found = next(text for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "resourceserver" in text)
    settings = yaml.safe_load(found)["spring"]["security"]["oauth2"]["resourceserver"]["jwt"]
    assert (settings["issuer-uri"], settings["audiences"]) == (ISSUER, AUDIENCE)
    issuer = world.server.url  # Spring reads the discovery document of the issuer, as here
    with urllib.request.urlopen(f"{issuer}/.well-known/openid-configuration", timeout=60) as answer:
        keys = jwt.PyJWKClient(json.load(answer)["jwks_uri"])
    token = world.text()
    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
    algorithms = settings["jws-algorithms"].split(",")
    key = keys.get_signing_key_from_jwt(token)
    required = ["sub", "jti", "iat", "exp", "client_id"]  # those that Spring's validator of at+jwt asks for
    claims = jwt.decode(token, key, algorithms, audience=AUDIENCE, issuer=issuer, options={"require": required})
    assert claims["scope"] == "all"
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(world.text_for("https://other.example"), key, algorithms, audience=AUDIENCE, issuer=issuer)
