"""An AI agent acts for a person, for real: with a narrower role, visible in every token, refused outside it, stopped by one revocation.

The agent has a role of its own. For each task it exchanges the person's token, together with its own, for a session of a role that may
do what the task needs. The session has the person as its source identity, and a lifetime and a policy as its budget.
"""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

from service_to_service import (
    ACCESS_TOKEN,
    AWS,
    COMPANY,
    ID_TOKEN,
    chain,
    company_and_server,
    exchange,
    given,
    introspect,
    must_fail,
    post,
    service_b,
)
from stage import cli, client, document, note, refused, say

ACCOUNT = "111122223333"
TOOL = "https://orders.example"
SOURCE_IDENTITY = "https://aws.amazon.com/source_identity"
BUDGET = json.dumps(
    {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iam:ListUsers", "Resource": "*"}}
)


def set_up(url: str, home: Path, key: tuple[str, str], keys_at: str, authority: str) -> tuple[str, str]:
    """The company's sign-in as a provider, the agent's role, and the role of what agents may do for people."""
    cli(home, "login", "--endpoint", url, "--access-key-id", key[0], "--secret-stdin", stdin=key[1], quiet=True)
    ca = home / "ca.pem"
    ca.write_text(authority)
    here = (f"jwks_url={keys_at}/jwks", f"ca_pem=@{ca}", "allow_private_networks=true")  # its keys are on this machine
    cli(home, "provider", "add", f"https://{COMPANY}", "--client-id", "assistant", *here, quiet=True)
    iam = client("iam", url, key)
    federated = {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{COMPANY}"}
    actions = ["sts:AssumeRoleWithWebIdentity", "sts:SetSourceIdentity"]
    only_agent = {"StringEquals": {f"{COMPANY}:aud": "assistant", f"{COMPANY}:sub": "agent"}}
    own = document(Principal=federated, Action=actions, Condition=only_agent)
    agent = str(iam.create_role(RoleName="agent", AssumeRolePolicyDocument=own)["Role"]["Arn"])
    for_people = {"StringEquals": {f"{COMPANY}:aud": "assistant"}, "ArnEquals": {"daypass:ActorArn": agent}}
    trust = document(Principal=federated, Action=actions, Condition=for_people)
    tasks = str(iam.create_role(RoleName="agent-tasks", AssumeRolePolicyDocument=trust)["Role"]["Arn"])
    may = document(Action=["iam:ListUsers", "iam:ListRoles"], Resource="*")
    iam.put_role_policy(RoleName="agent-tasks", PolicyName="tasks", PolicyDocument=may)
    return agent, tasks


def task(url: str, ann: str, own: str, role: str, name: str, **more: str) -> dict[str, Any]:
    """A session for one task: at most 15 minutes, and no more than the policy of the task."""
    detail = {
        "type": "urn:daypass:session",
        "role": role,
        "role_session_name": name,
        "duration_seconds": 900,
        "policy": BUDGET,
    }
    acting = {"actor_token": own, "actor_token_type": ACCESS_TOKEN} if own else {}
    return exchange(url, ann, ID_TOKEN, authorization_details=json.dumps([detail]), **acting, **more)


def main() -> None:
    started = time.perf_counter()
    with company_and_server(ACCOUNT) as (url, home, key, company, keys_at, authority):
        say("1. A role for the agent, and a narrower one for what it may do for people")
        agent, role = set_up(url, home, key, keys_at, authority)
        own = given(exchange(url, company.token(aud="assistant", sub="agent"), ID_TOKEN, role=agent))
        ann = company.token(aud="assistant", sub="ann", **{SOURCE_IDENTITY: "ann"})

        say("2. Ann asks for something: the agent gets a session for this task alone, 15 minutes long")
        aws = task(url, ann, own, role, "task-1", requested_token_type=AWS)
        keys = (aws["access_key_id"], aws["secret_access_key"], given(aws))
        iam, sts = client("iam", url, keys), client("sts", url, keys)
        note(sts.get_caller_identity()["Arn"])
        note(f"without the agent's own token: {must_fail(task(url, ann, '', role, 'task-1'))}")

        say("3. It does what the task needs, and is refused outside its role and outside its budget")
        note(f"ListUsers: {len(iam.list_users()['Users'])} users")
        note(f"ListRoles: refused by the budget: {refused(iam.list_roles, 'AccessDenied').response['Error']['Code']}")
        create = refused(lambda: iam.create_user(UserName="mallory"), "AccessDenied").response["Error"]["Code"]
        note(f"CreateUser: refused by the role: {create}")

        say("4. A tool that it calls sees the person, the agent and the task in the token")
        token = given(task(url, ann, own, role, "task-2", audience=TOOL))
        with urllib.request.urlopen(f"{url}/.well-known/jwks.json", timeout=10) as found:
            claims = service_b(token, url, found.read().decode())
        for link, who in zip(chain(claims), ("the session", "acts", "its proof", "for"), strict=True):
            note(f"{who:12} {link}")
        note(f"{'source':12} {claims[SOURCE_IDENTITY]}")

        say("5. One revocation of the agent's session stops all its tasks")
        session = post(url, "/oauth2/introspect", {"token": own}, own)["urn:daypass:session"]["id"]
        cli(home, "revoke", "session", session, "--reason", "the agent misbehaves")
        note(f"AWS credentials: refused: {refused(sts.get_caller_identity, 'ExpiredToken').response['Error']['Code']}")
        note(f"introspection: active {introspect(url, key, token)['active']}")
        note(f"another task: {must_fail(task(url, ann, own, role, 'task-3'))}")

        say("6. The record of the task")
        cli(home, "audit", "search", "--session-id", claims["urn:daypass:session"]["id"])
        cli(home, "audit", "verify")
    say(f"Done in {time.perf_counter() - started:.1f} s.")


if __name__ == "__main__":
    main()
