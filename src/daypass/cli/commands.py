"""Every command: its module and its purpose. Plain data, so that reading it imports nothing."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """The module and attribute of a command, which are imported when it is called, and a line for `--help`."""

    module: str
    attribute: str
    summary: str


COMMANDS: dict[str, Place] = {
    "login": Place("daypass.cli.login", "login", "Store a server and a key as a profile."),
    "logout": Place("daypass.cli.profile", "logout", "Remove a profile and its cached sessions."),
    "profile": Place("daypass.cli.profile", "profile", "List, choose, export and remove profiles."),
    "status": Place("daypass.cli.status", "status", "All profiles and cached sessions, with the time left."),
    "whoami": Place("daypass.cli.whoami", "whoami", "The identity of a profile, its expiry and its chain."),
    "roles": Place("daypass.cli.whoami", "roles", "The roles that you may assume."),
    "assume": Place("daypass.cli.assume", "assume", "Assume a role and print its credentials."),
    "exec": Place("daypass.cli.exec", "exec_", "Run a command, or a shell, with a role's credentials."),
    "credential-process": Place(
        "daypass.cli.process", "credential_process", "Print a role's credentials as AWS SDKs read them."
    ),
    "explain": Place("daypass.cli.explain", "explain", "Show why a request was denied."),
    "lint": Place("daypass.cli.lint", "lint", "Find mistakes in policies."),
    "trust": Place("daypass.cli.trust", "trust", "Trust policies for tokens of identity providers."),
    "provider": Place("daypass.cli.provider", "provider", "Token issuers that an account accepts."),
    "anchor": Place("daypass.cli.anchor", "anchor", "Trust anchors: authorities whose certificates are accepted."),
    "client": Place("daypass.cli.client", "client", "OAuth clients of your account."),
    "browser": Place("daypass.cli.own", "browser", "Browsers in which you are signed in."),
    "iam": Place("daypass.cli.iam_call", "iam", "Call any operation of the IAM API."),
    "consent": Place("daypass.cli.consent", "consent", "Consents that people let Daypass remember."),
    "resource-server": Place(
        "daypass.cli.resource_server", "resource_server", "Services that accept access tokens of your account."
    ),
    "bridge": Place("daypass.cli.bridge", "bridge", "Use sessions of this installation in other clouds."),
    "simulate": Place("daypass.cli.access", "simulate", "Show what would be decided, and why."),
    "access": Place("daypass.cli.access", "access", "Show who can do what."),
    "user": Place("daypass.cli.user", "user", "Users of your account."),
    "group": Place("daypass.cli.group", "group", "Groups of your account."),
    "key": Place("daypass.cli.key", "key", "Access keys of users."),
    "mfa": Place("daypass.cli.mfa", "mfa", "Passkeys, MFA devices and recovery codes."),
    "scim": Place("daypass.cli.scim", "scim", "Tokens with which a directory provisions users and groups."),
    "policy": Place("daypass.cli.policy", "policy", "Managed policies of your account."),
    "role": Place("daypass.cli.role", "role", "Roles of your account."),
    "request": Place("daypass.cli.access_request", "request", "Requests for access to roles."),
    "elevate": Place("daypass.cli.elevate", "elevate", "Request a role, wait, run a command with it, and end it."),
    "rule": Place("daypass.cli.approval_rule", "rule", "Approval rules: who may request a role, and who approves."),
    "notify": Place("daypass.cli.notify", "notify", "Notifications about access requests."),
    "oncall": Place("daypass.cli.on_call", "oncall", "Who is on call, by the schedules of approval rules."),
    "review": Place("daypass.cli.review", "review", "Reviews of emergency access."),
    "sessions": Place("daypass.cli.operate", "sessions", "Sessions that were issued."),
    "revoke": Place("daypass.cli.revoke", "revoke", "End sessions immediately."),
    "revocations": Place("daypass.cli.revoke", "revocations", "Revocations in force."),
    "stream": Place(
        "daypass.cli.stream", "stream", "Event streams to other systems: revocations, changed credentials."
    ),
    "offboard": Place("daypass.cli.offboard", "offboard", "End a person's sessions, keys, password and devices."),
    "dashboard": Place("daypass.cli.dashboard", "dashboard", "Figures of the record: sessions, refusals, access."),
    "probe": Place("daypass.cli.probe", "probe", "Check a server from outside."),
    "audit": Place("daypass.cli.audit", "audit", "Read and verify the audit record."),
    "clock": Place("daypass.cli.clock", "clock", "Show the server's time, and correct it after a clock error."),
    "server-keys": Place("daypass.cli.server_keys", "server_keys", "The keys that seal sessions and sign tokens."),
    "backup": Place("daypass.cli.backup", "backup", "Back up the database, restore it, and test a backup."),
    "account": Place("daypass.cli.operate", "account", "Accounts of this installation."),
    "guardrail": Place("daypass.cli.operate", "guardrail", "Policies that limit every principal of an account."),
    "settings": Place("daypass.cli.dashboard", "settings", "Show the settings of the server."),
    "completion": Place("daypass.cli.completion", "completion", "Print a completion script for your shell."),
    "serve": Place("daypass.cli.serve", "serve", "Run the server."),
}
