"""`daypass k8s`: roles for pods by their service account, and access to a cluster by role."""

from __future__ import annotations

import json
import os

import click

from daypass.cli import output
from daypass.cli.options import CommandGroup, complete_roles, server_options
from daypass.client import state
from daypass.client.profiles import LocalStateError

_VERSION = "client.authentication.k8s.io/v1"
_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@click.group(cls=CommandGroup)
def k8s() -> None:
    """Kubernetes: roles for pods, and access to clusters by role."""


@k8s.command("webhook")
@click.option("--endpoint", required=True, metavar="URL", help="Daypass, as pods reach it.")
@click.option("--region", default="us-east-1", metavar="NAME", show_default=True, help="The region that pods get.")
@click.option(
    "--audience", default="sts.amazonaws.com", metavar="NAME", show_default=True, help="Audience of pods' tokens."
)
@click.option("--agent-image", default="", metavar="IMAGE", help="The image of agents, for pods that ask for one.")
@click.option("--listen", default="0.0.0.0:8443", metavar="HOST:PORT", show_default=True, help="Address to listen on.")
@click.option("--cert", required=True, metavar="FILE", help="The certificate chain; read again when it changes.")
@click.option("--key", required=True, metavar="FILE", help="Its private key.")
@click.option(
    "--client-ca", default="", metavar="FILE", help="Serve only clients with a certificate of this authority."
)
@click.option("--api", default="https://kubernetes.default.svc", metavar="URL", show_default=True, help="API server.")
@click.option(
    "--account",
    default=_ACCOUNT,
    metavar="DIR",
    show_default=True,
    help="Directory with token and ca.crt for the API server.",
)
def webhook(**given: str) -> None:
    """Serve the admission webhook that gives pods a role by the annotations of EKS.

    /mutate/required refuses a pod that it cannot serve; /mutate admits it unchanged, with a warning.
    """
    from daypass.client.pod_identity import PodSettings
    from daypass.client.proxy import host_and_port
    from daypass.client.transport import endpoint_of
    from daypass.client.webhook import ApiServer, ReloadedCertificate, Webhook

    endpoint = endpoint_of(given["endpoint"]).geturl()
    cluster = PodSettings(endpoint, given["region"], given["audience"], given["agent_image"])
    accounts = ApiServer(endpoint_of(given["api"]).geturl(), given["account"]).annotations
    try:
        tls = ReloadedCertificate(given["cert"], given["key"], given["client_ca"])
        server = Webhook(host_and_port(given["listen"]), cluster, accounts, tls)
    except OSError as error:  # also a certificate that is none
        raise LocalStateError(f"The webhook cannot start: {error.strerror or error}.") from None
    with server:
        output.message(f"serving https://{given['listen'].rpartition(':')[0]}:{server.server_port}")
        server.serve_forever()


@k8s.command("credential")
@click.option("--audience", required=True, metavar="URI", help="The cluster's resource server.")
@click.option(
    "--role", default="", metavar="ROLE", shell_complete=complete_roles, help="As this role. Default: as you are."
)
@server_options
def credential(audience: str, role: str, profile: str, endpoint: str) -> None:
    """Print an access token as kubectl reads it (ExecCredential). It is the `exec` of a user in a kubeconfig."""
    from daypass.client.package_hosts import token_for

    _check_version(os.environ.get("KUBERNETES_EXEC_INFO", ""))
    token = token_for(audience, role, profile, endpoint)
    status = {"token": token.text, "expirationTimestamp": state.iso_time(token.expires_at)}
    click.echo(json.dumps({"apiVersion": _VERSION, "kind": "ExecCredential", "status": status}))


def _check_version(asked: str) -> None:
    """Raises UsageError for a kubectl that asks for another version."""
    if not asked:
        return
    try:
        version = json.loads(asked)["apiVersion"]
    except (ValueError, LookupError, TypeError):
        raise click.UsageError("KUBERNETES_EXEC_INFO is not that of kubectl.") from None
    if version != _VERSION:
        raise click.UsageError(f"The kubeconfig must ask for apiVersion {_VERSION}, not {version!r}.")
