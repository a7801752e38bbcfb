"""A fault in the agent's configuration is named by its key, in words for people."""

from __future__ import annotations

from pathlib import Path

import pytest

from daypass.client.agent.config import load
from daypass.client.profiles import LocalStateError

ROLE = '[roles.app]\narn = "app"\n'
FILE = ROLE + '[[roles.app.file]]\npath = "/x"\nform = "env"\n'
KEYS_OF_METADATA = "role, listen"

FAULTS = {
    'lisen = "127.0.0.1:1"\n' + ROLE: "lisen: there is no such key. Did you mean listen?",
    ROLE + '[metadata]\ncolour = "red"': f"metadata.colour: there is no such key; the keys here are {KEYS_OF_METADATA}",
    "[roles.app]": "roles.app.arn: it is missing",
    "roles = 3": "roles: it must be tables, [roles.NAME]",
    '[[roles.app]]\narn = "app"': "roles.app: it must be a table, [roles.app]",
    "metadata = 1": "metadata: it must be a table, [metadata]",
    ROLE + "file = 1": "roles.app.file: write [[roles.app.file]]",
    "listen = 8710": "listen: 8710 is not text in quotes",
    "listen = {}": "listen: a table is not text in quotes",
    f"listen = {'9' * 70}": "this value is not text in quotes",
    'check = "60s"': 'check: "60s" is not a number',
    ROLE + "duration = true": "roles.app.duration: true is not a whole number",
    ROLE + "duration = 60": "roles.app.duration: 60 is not from 900 to 43200 (seconds)",
    'endpoints = "https://x"': 'endpoints: "https://x" is not a list of texts in quotes',
    'endpoints = ["ftp://x"]': "endpoints: The endpoint 'ftp://x' is not of the form",
    ROLE + "users = [1]": "roles.app.users, entry 1: 1 is not text in quotes",
    ROLE + 'token_owner = "no-such-user"': "roles.app.token_owner: this system has no user 'no-such-user'",
    ROLE.replace('"app"', '"an app"'): "roles.app.arn: 'an app' is not the ARN or the name of a role",
    FILE.replace("env", "ini"): 'roles.app.file 1.form: "ini" is not one of credentials, env, jwt, template',
    FILE + 'group = "no-such-group"': "roles.app.file 1.group: this system has no group 'no-such-group'",
    FILE.replace("env", "template"): "roles.app.file 1.template: it is missing",
    ROLE + '[metadata]\nrole = "app"\nlisten = "0.0.0.0:80"': "metadata.listen: '0.0.0.0:80' is not a loopback",
    "check = 0\n" + ROLE: "check: 0 is not a number of seconds above 0",
}


@pytest.mark.parametrize(("text", "fault"), FAULTS.items(), ids=FAULTS.values())
def test_agent_configuration_with_a_fault_is_refused_with_the_key_and_the_expected_value(
    text: str, fault: str, tmp_path: Path
) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(LocalStateError) as refused:
        load(str(path))
    assert fault in str(refused.value)
    assert not {"$", "Expected", "Object"} & set(str(refused.value).split())
