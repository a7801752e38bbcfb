"""Patches pods of annotated service accounts so that their SDKs find the role: `daypass k8s webhook`.

The annotations are those of EKS. The patch gives a pod nothing but the token of its own service account and the name of a
role; the role's trust policy decides. It must never replace what a pod already says about itself.
Sources: Amazon EKS, IAM roles for service accounts; Kubernetes, admission.k8s.io/v1.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

_PREFIX: Final = "eks.amazonaws.com/"
_AGENT: Final = "daypass.dev/agent"
_AGENT_CONFIG: Final = "daypass.dev/agent-config"
_TOKEN_VOLUME, _TOKENS = "aws-iam-token", "/var/run/secrets/eks.amazonaws.com/serviceaccount"
_AGENT_VOLUME, _AGENT_STATE = "daypass-agent", "/var/lib/daypass-agent"
_CONFIG_VOLUME, _CONFIGS = "daypass-agent-config", "/etc/daypass"
_METADATA: Final = "127.0.0.1:8711"
_ROLE = re.compile(r"arn:[a-z-]{3,16}:iam::[0-9]{12}:role/[!-~]{1,576}")
_SECONDS: Final = range(600, 86_401)
_REVIEW: Final = "admission.k8s.io/v1"

Pod = dict[str, Any]
Annotations = Mapping[str, str]
AnnotationsOf = Callable[[str, str], Annotations]
"""The annotations of a service account, by namespace and name. Raises OSError."""


class Unusable(ValueError):
    """The annotations cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class PodSettings:
    """Settings for pods. `agent_image` serves pods that ask for an agent; "": none do."""

    endpoint: str
    region: str
    audience: str = "sts.amazonaws.com"
    agent_image: str = ""


def reviewed(cluster: PodSettings, annotations_of: AnnotationsOf, review: Any, *, required: bool) -> dict[str, Any]:
    """The answer to an AdmissionReview. `required`: a pod that cannot be served is refused; else it is admitted unchanged,
    with a warning. Raises ValueError for what is no AdmissionReview of a pod.
    """
    try:
        version, request = review["apiVersion"], review["request"]
        uid, namespace, pod = request["uid"], request.get("namespace", ""), request["object"]
        if version != _REVIEW or not all(isinstance(each, str) for each in (uid, namespace)):
            raise ValueError("it is of another version")
        answer: dict[str, Any] = {"uid": uid, "allowed": True}
        try:
            account = pod["spec"].get("serviceAccountName") or "default"
            if patch := patch_of(cluster, pod, annotations_of(namespace, account)):
                answer["patchType"] = "JSONPatch"
                answer["patch"] = base64.b64encode(json.dumps(patch).encode()).decode()
        except (Unusable, OSError) as error:
            reason = str(error) if isinstance(error, Unusable) else "the service account could not be read"
            text = f"Daypass: {reason}"
            refusal = {"allowed": False, "status": {"code": 403, "message": text}}
            answer |= refusal if required else {"warnings": [text[:256]]}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is not an AdmissionReview of a pod: {error!r}") from None
    return {"apiVersion": _REVIEW, "kind": "AdmissionReview", "response": answer}


def patch_of(cluster: PodSettings, pod: Pod, account: Annotations) -> list[dict[str, Any]]:
    """The JSON patch of a pod; empty: it needs none. Raises Unusable."""
    role = account.get(f"{_PREFIX}role-arn", "")
    if not role:
        return []
    if not _ROLE.fullmatch(role):
        raise Unusable(f"the annotation {_PREFIX}role-arn is not the ARN of a role")
    own = pod.get("metadata", {}).get("annotations") or {}
    with_agent = (own.get(_AGENT) or account.get(_AGENT)) == "true"
    if with_agent and not cluster.agent_image:
        raise Unusable(f"the annotation {_AGENT} needs a webhook with --agent-image")
    spec: Pod = json.loads(json.dumps(pod["spec"]))
    if any(volume["name"] == _TOKEN_VOLUME for volume in spec.get("volumes", ())):
        return []  # it has been served before
    skipped = {name.strip() for name in own.get(f"{_PREFIX}skip-containers", "").split(",")}
    audience = account.get(f"{_PREFIX}audience") or cluster.audience
    settings, mounts = _of_agent(cluster) if with_agent else _of_token(cluster, role)
    changed = False
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        if container["name"] not in skipped:
            changed |= _added(container, settings, mounts)
    if not changed:
        return []
    token = {"audience": audience, "expirationSeconds": _seconds(own, account), "path": "token"}
    volumes: list[Pod] = [{"name": _TOKEN_VOLUME, "projected": {"sources": [{"serviceAccountToken": token}]}}]
    patch = [{"op": "replace", "path": "/spec", "value": spec}]
    if with_agent:
        volumes += _agent_volumes()
        spec["initContainers"] = [_sidecar(cluster), *spec.get("initContainers", ())]
        noted = {**own, _AGENT_CONFIG: _agent_config(cluster, role)}
        patch.append({"op": "add", "path": "/metadata/annotations", "value": noted})
    spec["volumes"] = [*spec.get("volumes", ()), *volumes]
    return patch


def _seconds(own: Annotations, account: Annotations) -> int:
    name = f"{_PREFIX}token-expiration"
    text = own.get(name) or account.get(name) or "86400"
    if not (text.isascii() and text.isdigit() and int(text[:9]) in _SECONDS):
        raise Unusable(f"the annotation {name} is not a number of {_SECONDS[0]} to {_SECONDS[-1]} seconds")
    return int(text)


def _added(container: Pod, settings: Mapping[str, str], mounts: list[Pod]) -> bool:
    """Whether the container has been given environment and mounts. One that names a role or credentials itself is left
    alone, and so is a variable that it has.
    """
    present = {each["name"] for each in container.get("env", ())}
    if present & {
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_ACCESS_KEY_ID",
    }:
        return False
    more = [{"name": name, "value": value} for name, value in settings.items() if name not in present]
    container["env"] = [*container.get("env", ()), *more]
    container["volumeMounts"] = [*container.get("volumeMounts", ()), *mounts]
    return True


def _where(cluster: PodSettings) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL_STS": cluster.endpoint,
        "AWS_REGION": cluster.region,
        "AWS_DEFAULT_REGION": cluster.region,
    }


def _of_token(cluster: PodSettings, role: str) -> tuple[dict[str, str], list[Pod]]:
    named = {"AWS_ROLE_ARN": role, "AWS_WEB_IDENTITY_TOKEN_FILE": f"{_TOKENS}/token"}
    return {**named, **_where(cluster)}, [_mount(_TOKEN_VOLUME, _TOKENS)]


def _of_agent(cluster: PodSettings) -> tuple[dict[str, str], list[Pod]]:
    """Containers beside an agent get no token: its metadata endpoint is in the network of the pod alone."""
    return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://{_METADATA}/", **_where(cluster)}, []


def _mount(volume: str, path: str, *, read_only: bool = True) -> Pod:
    return {"name": volume, "mountPath": path, **({"readOnly": True} if read_only else {})}


def _agent_config(cluster: PodSettings, role: str) -> str:
    quoted = {name: json.dumps(value) for name, value in {"role": role, "at": cluster.endpoint}.items()}
    return f"""endpoints = [{quoted["at"]}]
region = {json.dumps(cluster.region)}
state = "{_AGENT_STATE}"

[source]
web_identity_token_file = "{_TOKENS}/token"

[roles.pod]
arn = {quoted["role"]}

[metadata]
role = "pod"
listen = "{_METADATA}"
"""


def _agent_volumes() -> list[Pod]:
    item = {"path": "agent.toml", "fieldRef": {"fieldPath": f"metadata.annotations['{_AGENT_CONFIG}']"}}
    return [
        {"name": _AGENT_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
        {"name": _CONFIG_VOLUME, "downwardAPI": {"items": [item]}},
    ]


def _sidecar(cluster: PodSettings) -> Pod:
    """A container that runs beside the others and starts before them (Kubernetes 1.29)."""
    status = ["daypass", "agent", "status", "--config", f"{_CONFIGS}/agent.toml"]
    return {
        "name": "daypass-agent",
        "image": cluster.agent_image,
        "command": ["daypass", "agent", "run", "--config", f"{_CONFIGS}/agent.toml"],
        "restartPolicy": "Always",
        "env": [{"name": "HOME", "value": _AGENT_STATE}],
        "volumeMounts": [
            _mount(_TOKEN_VOLUME, _TOKENS),
            _mount(_CONFIG_VOLUME, _CONFIGS),
            _mount(_AGENT_VOLUME, _AGENT_STATE, read_only=False),
        ],
        "startupProbe": {"exec": {"command": status}, "periodSeconds": 1, "failureThreshold": 30, "timeoutSeconds": 5},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
