"""Every command: its module and its purpose. Plain data, so that reading it imports nothing."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """The module (below `daypass.cli`) and attribute of a command, imported when it is called, and a line for `--help`.

    "api:NAME": a group made from the descriptions in `daypass.api.NAME`.
    """

    module: str
    attribute: str
    summary: str


COMMANDS: dict[str, Place] = {
    "login": Place("login", "login", "Store a server and a key as a profile."),
    "logout": Place("profile", "logout", "Remove a profile and its cached sessions."),
    "profile": Place("profile", "profile", "List, choose, export and remove profiles."),
    "status": Place("profile", "status", "All profiles and cached sessions, with the time left."),
    "whoami": Place("profile", "whoami", "The identity of a profile, its expiry and its chain."),
    "roles": Place("profile", "roles", "The roles that you may assume."),
    "assume": Place("assume", "assume", "Assume a role and print its credentials."),
    "prompt": Place("assume", "prompt", "Print the role in use and the time left, for a shell's prompt."),
    "tui": Place("tui", "tui", "Watch your access, requests and sessions, full screen."),
    "exec": Place("exec", "exec_", "Run a command, or a shell, with a role's credentials."),
    "credential-process": Place("process", "credential_process", "Print a role's credentials as AWS SDKs read them."),
    "credential-helper": Place(
        "credential_helper", "credential_helper", "Access tokens as passwords for git and registries."
    ),
    "agent": Place("agent", "agent", "Keep credentials valid for the programs of this machine."),
    "proxy": Place("proxy", "proxy", "Give requests to one server the credentials of a role."),
    "ssh": Place("certificate", "ssh", "Run ssh with a short-lived certificate of a role."),
    "certificate": Place("certificate", "certificate", "Certificates of OpenSSH and databases, by role."),
    "ldap": Place("certificate", "ldap", "Let a database check passwords that a role has presigned."),
    "pam": Place("certificate", "pam", "Check for PAM a password that a role has presigned."),
    "k8s": Place("k8s", "k8s", "Kubernetes: roles for pods, and access to clusters by role."),
    "token": Place("assume", "token", "Print an access token for an API."),
    "find": Place("api:access", "", "Find people, roles, sessions and requests by name, id or ARN."),
    "explain": Place("explain", "explain", "Show why a request was denied."),
    "lint": Place("policy", "lint", "Find mistakes in policies."),
    "trust": Place("trust", "trust", "Trust policies for tokens of identity providers."),
    "provider": Place("provider", "provider", "Token issuers that an account accepts."),
    "pod-identity": Place("api:providers", "", "Roles of Kubernetes service accounts by EKS Pod Identity."),
    "anchor": Place("anchor", "anchor", "Trust anchors: authorities whose certificates are accepted."),
    "client": Place("client", "client", "OAuth clients of your account."),
    "browser": Place("api:sessions", "", "Browsers in which you are signed in."),
    "iam": Place("iam", "iam", "Call any operation of the IAM API."),
    "consent": Place("api:oauth", "", "Consents that people let Daypass remember."),
    "resource-server": Place("client", "resource_server", "Services that accept access tokens of your account."),
    "bridge": Place("bridge", "bridge", "Use sessions of this installation in other clouds."),
    "simulate": Place("access", "simulate", "Test a request safely; nothing changes."),
    "access": Place("access", "access", "Show who can do what."),
    "user": Place("user", "user", "Users of your account."),
    "group": Place("user", "group", "Groups of your account."),
    "key": Place("user", "key", "Access keys of users."),
    "mfa": Place("mfa", "mfa", "Passkeys, MFA devices and recovery codes."),
    "scim": Place("api:providers", "", "Tokens with which a directory provisions users and groups."),
    "policy": Place("policy", "policy", "Managed policies of your account."),
    "role": Place("role", "role", "Roles of your account."),
    "request": Place("access_request", "request", "Requests for access to roles."),
    "elevate": Place("elevate", "elevate", "Request a role, wait, run a command with it, and end it."),
    "rule": Place("approval_rule", "rule", "Approval rules: who may request a role, and who approves."),
    "notify": Place("api:notifications", "", "Notifications about access requests."),
    "oncall": Place("approval_rule", "oncall", "Who is on call, by the schedules of approval rules."),
    "review": Place("api:access_requests", "", "Reviews of emergency access."),
    "sessions": Place("operate", "sessions", "Sessions that were issued."),
    "revoke": Place("revoke", "revoke", "End sessions immediately."),
    "revocations": Place("api:sessions", "", "Revocations in force."),
    "stream": Place("stream", "stream", "Event streams to other systems: revocations, changed credentials."),
    "offboard": Place("revoke", "offboard", "End a person's sessions, keys, password and devices."),
    "dashboard": Place("dashboard", "dashboard", "Figures of the record: sessions, refusals, access."),
    "probe": Place("probe", "probe", "Check a server from outside."),
    "doctor": Place("doctor", "doctor", "Find faults of a server, with the runbook of each."),
    "support-bundle": Place("doctor", "support_bundle", "Write a file for support, without secrets."),
    "gameday": Place("monitoring", "gameday", "Break a separate deployment, and measure the repair."),
    "monitoring": Place("monitoring", "monitoring", "Rules, alerts and dashboards for a monitoring system."),
    "audit": Place("audit", "audit", "Read and verify the audit record."),
    "clock": Place("installation", "clock", "Show the server's time, and correct it after a clock error."),
    "server-keys": Place("installation", "server_keys", "The keys that seal sessions and sign tokens."),
    "backup": Place("installation", "backup", "Back up the database, restore it, and test a backup."),
    "account": Place("api:accounts", "", "Accounts of this installation."),
    "guardrail": Place("operate", "guardrail", "Policies that limit every principal of an account."),
    "settings": Place("dashboard", "settings", "Show the settings of the server."),
    "completion": Place("completion", "completion", "Print a completion script for your shell."),
    "serve": Place("completion", "serve", "Run the server."),
}

GROUPS: dict[str, tuple[str, ...]] = {
    "Log in": ("login", "logout", "profile", "status", "whoami", "tui", "mfa", "browser"),
    "Use a role": (
        "roles",
        "assume",
        "exec",
        "credential-process",
        "prompt",
        "credential-helper",
        "agent",
        "proxy",
        "ssh",
        "certificate",
        "ldap",
        "pam",
        "k8s",
        "token",
        "bridge",
    ),
    "Request access": ("request", "elevate", "rule", "review", "oncall", "notify"),
    "Policies": ("simulate", "access", "explain", "lint", "trust"),
    "Directory": ("find", "user", "group", "role", "policy", "key", "iam", "scim"),
    "Providers and clients": ("provider", "pod-identity", "anchor", "client", "resource-server", "consent"),
    "End access": ("sessions", "revoke", "revocations", "offboard", "stream"),
    "Record": ("audit", "dashboard"),
    "Operate": (
        "serve",
        "account",
        "guardrail",
        "settings",
        "server-keys",
        "backup",
        "probe",
        "monitoring",
        "gameday",
        "doctor",
        "support-bundle",
        "clock",
        "completion",
    ),
}
"""The commands as `daypass --help` shows them."""
