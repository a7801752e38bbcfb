"""Traces of the real client and server, as a collector receives them."""

from __future__ import annotations

import gzip
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from botocore import UNSIGNED
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.e2e.conftest import ADMIN_KEY, OPERATOR, running
from tests.e2e.test_web_identity import federated, now_ms
from tests.processes import free_port, until_listening

from daypass.client.http import segment
from daypass.gameday.deployment import Missing, program
from daypass.monitoring.dashboards import dashboards

pytestmark = pytest.mark.slow

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


ALLOW_ALL = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})


class Collector:
    """A receiver of OTLP over HTTP that decodes with the published protocol buffers."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Receiver, self.received))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def spans(self, until: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """All spans, once they are complete."""
        for _ in range(300):  # only a failure waits so long
            if until(self.received):
                return [*self.received]
            time.sleep(0.1)
        pytest.fail(f"these spans alone arrived: {[each['name'] for each in self.received]}")


class _Receiver(BaseHTTPRequestHandler):
    def __init__(self, received: list[dict[str, Any]], *given: Any) -> None:
        self._received = received
        super().__init__(*given)

    def do_POST(self) -> None:
        assert (self.path, self.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
        body = self.rfile.read(int(self.headers["content-length"]))
        encoding = self.headers.get("content-encoding", "")
        sent = ExportTraceServiceRequest.FromString(gzip.decompress(body) if encoding == "gzip" else body)
        for resource in sent.resource_spans:
            service = _values(resource.resource.attributes)["service.name"]
            self._received.extend(_span(span, service) for scope in resource.scope_spans for span in scope.spans)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def _span(span: Any, service: str) -> dict[str, Any]:
    return {
        "trace": span.trace_id.hex(), "id": span.span_id.hex(), "parent": span.parent_span_id.hex(), "name": span.name,
        "kind": span.kind, "service": service, "begins": span.start_time_unix_nano, "text": str(span),
        **_values(span.attributes),
    }  # fmt: skip


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    try:
        yield made
    finally:
        made.close()


def test_one_trace_leads_from_the_client_to_the_commit_and_is_on_the_record(
    collector: Collector, tmp_path: Path
) -> None:
    given = {"DAYPASS_TRACING__ENDPOINT": f"{collector.url}/v1/traces"}
    with running(tmp_path / "data", environment=given) as server:
        principal = {"AWS": f"arn:aws:iam::{OPERATOR}:user/admin"}
        statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
        trust = json.dumps({"Version": "2012-10-17", "Statement": statement})
        iam = server.client("iam")
        iam.create_role(RoleName="traced", AssumeRolePolicyDocument=trust)
        iam.put_role_policy(RoleName="traced", PolicyName="p", PolicyDocument=ALLOW_ALL)
        iam.create_role(RoleName="next", AssumeRolePolicyDocument=trust.replace("user/admin", "role/traced"))

        def daypass(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
            environment = {
                "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "AWS_ENDPOINT_URL": server.url,
                "AWS_ACCESS_KEY_ID": ADMIN_KEY[0], "AWS_SECRET_ACCESS_KEY": ADMIN_KEY[1], **more,
            }  # fmt: skip
            command = [sys.executable, "-m", "daypass.cli.main", *arguments]
            return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)

        exported = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "TRACEPARENT": f"00-{TRACE}-{PARENT}-01"}
        assert daypass("assume", f"arn:aws:iam::{OPERATOR}:role/traced", "--shell", "sh", **exported).returncode == 0
        assert daypass("assume", f"arn:aws:iam::{OPERATOR}:role/absent", **exported).returncode == 4
        next_hop = (
            sys.executable,
            "-m",
            "daypass.cli.main",
            "assume",
            f"arn:aws:iam::{OPERATOR}:role/next",
            "--shell",
            "sh",
        )
        hops = daypass("exec", f"arn:aws:iam::{OPERATOR}:role/traced", "--", *next_hop, **exported)
        assert hops.returncode == 0, hops.stderr
        shown = daypass("audit", "search", "--operation", "sts:AssumeRole", "--output", "json")
        events = [json.loads(line)["event"] for line in shown.stdout.splitlines()]
        assert [event["trace_id"] for event in events] == [TRACE] * 4, "also of the second hop of a chain"
        assert [bool(event["actor"].get("session_id")) for event in events] == [True, False, False, False]
    spans = collector.spans(lambda found: [each["trace"] for each in found if each["kind"] == 2].count(TRACE) >= 2)
    own = [each for each in spans if each["trace"] == TRACE]
    issued, refused, *_ = sorted((each for each in own if each["kind"] == 2), key=lambda each: each["begins"])
    assert (issued["name"], issued["daypass.operation"]) == ("sts:AssumeRole", "sts:AssumeRole")
    assert (refused["name"], refused["error.type"]) == ("sts:AssumeRole", "AccessDenied")
    client = next(each for each in own if each["id"] == issued["parent"])
    assert (client["kind"], client["parent"], client["http.response.status_code"]) == (3, PARENT, 200)
    below = sorted((each for each in own if each["parent"] == issued["id"]), key=lambda each: each["begins"])
    assert [each["name"] for each in below] == ["daypass.evaluate", "daypass.commit"]
    assert {each["service"] for each in own} == {"daypass", "daypass-cli"}
    everything = "".join(each["text"] for each in spans)
    assert not [secret for secret in (*ADMIN_KEY, "ASIA", "traced", OPERATOR) if secret in everything]


def test_fetch_of_issuer_keys_is_in_the_trace_that_waits_for_it(collector: Collector, tmp_path: Path) -> None:
    given = {
        "DAYPASS_TRACING__ENDPOINT": f"{collector.url}/v1/traces",
        "DAYPASS_FEDERATION__FILES": str(tmp_path),
        "DAYPASS_LOG__FORMAT": "ecs",
    }
    with running(tmp_path / "data", environment=given) as server:
        issuer, role = federated(server, static_jwks="", jwks_file="keys.json")
        sts = server.client("sts", signature_version=UNSIGNED)
        asked = {"RoleArn": role, "RoleSessionName": "job", "WebIdentityToken": issuer.token(now_ms(), sub="ann")}
        with pytest.raises(sts.exceptions.IDPCommunicationErrorException):
            sts.assume_role_with_web_identity(**asked)
        said = [json.loads(line) for line in server.log.read_text().splitlines() if "issuer.fetch_failed" in line]
        [refused] = server.api("GET", "/audit/records", query={"error": "idp_communication"})["records"]
        assert {line["trace.id"] for line in said} == {refused["event"]["trace_id"]}
        (tmp_path / "keys.json").write_text(json.dumps(issuer.jwks()))
        server.api("POST", f"/providers/oidc/{segment(issuer.url)}/keys/refresh")
        sts.assume_role_with_web_identity(**asked)
        server.client("iam").simulate_custom_policy(PolicyInputList=[ALLOW_ALL], ActionNames=["s3:GetObject"])
    spans = collector.spans(lambda found: "iam:SimulateCustomPolicy" in [each["name"] for each in found])

    def below(operation: str) -> list[set[str]]:
        served = sorted((each for each in spans if each["name"] == operation), key=lambda each: each["begins"])
        return [{each["name"] for each in spans if each["parent"] == parent["id"]} for parent in served]

    assert below("sts:AssumeRoleWithWebIdentity") == [
        {"daypass.fetch_keys", "daypass.commit"},  # refused
        {"daypass.evaluate", "daypass.commit"},
    ]
    [simulated] = below("iam:SimulateCustomPolicy")
    assert simulated >= {"daypass.heavy", "daypass.commit"}


def test_a585_forged_context_of_a_trace_chooses_neither_sampling_nor_what_is_recorded(
    collector: Collector, tmp_path: Path
) -> None:
    given = {"DAYPASS_TRACING__ENDPOINT": f"{collector.url}/v1/traces", "DAYPASS_TRACING__SHARE": "0"}
    forged = {
        f"00-{TRACE}-{PARENT}-01": TRACE,  # wants to be sampled
        f"ff-{TRACE}-{PARENT}-01": "",
        f"00-{'0' * 32}-{PARENT}-01": "",
        f"00-{TRACE}-{'0' * 16}-01": "",
        f"00-{TRACE.upper()}-{PARENT}-01": "",
        f"00-{TRACE}-{PARENT}-01-{'x' * 4000}": "",
        '00-<script>"}-01': "",
    }
    with running(tmp_path / "data", environment=given) as server:
        for parent, recorded in forged.items():
            sts = server.client("sts")
            sts.meta.events.register(
                "before-sign.sts", lambda request, parent=parent, **_: request.headers.add_header("traceparent", parent)
            )
            sts.meta.events.register(
                "before-sign.sts", lambda request, **_: request.headers.add_header("tracestate", "a=" + "b" * 600)
            )
            request_id = sts.get_session_token()["ResponseMetadata"]["RequestId"]
            assert request_id not in parent, "a request's own id is the server's"
            [record] = server.api("GET", "/audit/records", query={"request_id": request_id})["records"]
            assert record["event"].get("trace_id", "") == recorded, parent
        _, text = fetched(f"{server.url}/metrics", "application/openmetrics-text")
        assert ("trace_id" in text, TRACE in text) == (False, False)
    assert collector.received == []


def fetched(url: str, accept: str = "") -> tuple[str, str]:
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}), timeout=10) as answer:
        return answer.headers["content-type"], answer.read().decode()


def has_prometheus() -> bool:
    try:
        return bool(program("prometheus"))
    except Missing:
        return False


@pytest.mark.skipif(not has_prometheus(), reason="apt-get install prometheus")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_exemplars_lead_from_prometheus_to_the_trace_and_the_record(
    collector: Collector, tmp_path: Path, workers: str
) -> None:
    given = {"DAYPASS_TRACING__ENDPOINT": f"{collector.url}/v1/traces"}
    with running(tmp_path / "data", "--workers", workers, environment=given) as server:
        iam = server.client("iam")
        statement = {"Effect": "Allow", "Principal": {"AWS": OPERATOR}, "Action": "sts:AssumeRole"}
        trust = json.dumps({"Version": "2012-10-17", "Statement": statement})
        role = iam.create_role(RoleName="traced", AssumeRolePolicyDocument=trust)["Role"]["Arn"]

        def load() -> None:
            sts = server.client("sts")  # its own connection: a process has the exemplars of what it answered
            sts.assume_role(RoleArn=role, RoleSessionName="example")
            with pytest.raises(sts.exceptions.ClientError, match="AccessDenied"):
                sts.assume_role(RoleArn=role + "-absent", RoleSessionName="example")

        load()
        time.sleep(0.3)  # until figures are published
        kind, text = fetched(f"{server.url}/metrics", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
        assert (kind, text.endswith("# EOF\n")) == ("application/openmetrics-text; version=1.0.0; charset=utf-8", True)
        kind, text = fetched(f"{server.url}/metrics", "text/plain")
        assert (kind, "trace_id" in text) == ("text/plain; version=0.0.4; charset=utf-8", False)
        found = in_prometheus(tmp_path, server.url, load)
        shown = [each for board in dashboards().values() for panel in board["panels"] for each in panel["targets"]]
        assert any(each["exemplar"] and "daypass_issuance_seconds_bucket" in each["expr"] for each in shown)
        for labels, trace in found.items():
            assert "trace" not in labels
            [record] = server.api("GET", "/audit/events", query={"trace": trace})["records"]
            assert record["event"]["operation"] == "sts:AssumeRole"
    spans = collector.spans(lambda received: set(found.values()) <= {each["trace"] for each in received})
    assert {each["name"] for each in spans if each["trace"] in found.values() and each["kind"] == 2} >= {
        "sts:AssumeRole"
    }


def in_prometheus(directory: Path, server: str, load: Callable[[], None]) -> dict[str, str]:
    """The last trace of each series with exemplars, as a real Prometheus has them."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        own = f"127.0.0.1:{free.getsockname()[1]}"
    (directory / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s}\nscrape_configs: [{job_name: daypass, static_configs: [{targets: "
        f"['{server.partition('//')[2]}']}}]}}]\n"
    )
    arguments = (f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/series")
    command = [program("prometheus"), *arguments, f"--web.listen-address={own}", "--enable-feature=exemplar-storage"]
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    wanted = {"daypass_issuance_seconds_bucket", "daypass_request_seconds_bucket", "daypass_requests_total"}
    wanted |= {"daypass_assume_total", "daypass_refused_total"}
    try:
        for _ in range(300):  # only a failure waits so long
            load()
            now = time.time()
            asked = {
                "query": '{operation="sts:AssumeRole"} or daypass_refused_total',
                "start": now - 600,
                "end": now + 1,
            }
            try:
                _, text = fetched(f"http://{own}/api/v1/query_exemplars?{urllib.parse.urlencode(asked)}")
            except OSError:
                time.sleep(0.1)
                continue
            data = json.loads(text)["data"]
            if wanted <= {each["seriesLabels"]["__name__"] for each in data}:
                return {json.dumps(each["seriesLabels"]): each["exemplars"][-1]["labels"]["trace_id"] for each in data}
            time.sleep(0.1)
    finally:
        process.terminate()
        process.wait(60)
    pytest.fail((directory / "prometheus.log").read_text())


def test_collector_that_is_down_delays_no_request_and_no_stop(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}/v1/traces"
    with running(tmp_path / "data", environment={"DAYPASS_TRACING__ENDPOINT": endpoint}) as server:
        for _ in range(20):
            server.client("sts").get_caller_identity()
        key = {"AWS_ENDPOINT_URL": server.url, "AWS_ACCESS_KEY_ID": ADMIN_KEY[0], "AWS_SECRET_ACCESS_KEY": ADMIN_KEY[1]}
        environment = {"HOME": str(tmp_path), "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint, **key}
        command = [sys.executable, "-m", "daypass.cli.main", "whoami"]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert (ran.returncode, ran.stderr) == (0, "")
    assert server.process.returncode == 0
    assert "Traceback" not in server.log.read_text()


def test_server_without_traces_does_not_import_opentelemetry(tmp_path: Path) -> None:
    program = (
        "import sys, daypass.server.process, daypass.cli.options, daypass.client.boto, daypass.client.transport; "
        "print([name for name in sys.modules if 'opentelemetry' in name])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_real_collector_reads_the_trace_of_a_request_and_passes_it_on(collector: Collector, tmp_path: Path) -> None:
    """Rotel, a judge that is not of our making, decodes what the server sends and encodes it anew."""
    if (found := find_spec("rotel")) is None or found.origin is None:
        pytest.skip("Rotel is not installed: sh tools/setup.sh programs")
    address = f"127.0.0.1:{free_port()}"
    options = {
        "otlp-http-endpoint": address, "otlp-grpc-endpoint": f"127.0.0.1:{free_port()}", "exporter": "otlp",
        "otlp-exporter-endpoint": collector.url, "otlp-exporter-protocol": "http", "batch-timeout": "100ms",
        "pid-file": str(tmp_path / "rotel.pid"),
    }  # fmt: skip
    command = [str(Path(found.origin).with_name("rotel-agent")), "start"]
    command += [part for name, value in options.items() for part in (f"--{name}", value)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT) as rotel:
        try:
            until_listening(rotel, int(address.rpartition(":")[2]))
            environment = {"DAYPASS_TRACING__ENDPOINT": f"http://{address}/v1/traces"}
            with running(tmp_path / "data", environment=environment) as server:
                sts, context = server.client("sts"), f"00-{TRACE}-{PARENT}-01"
                sts.meta.events.register(
                    "before-send", lambda request, **_: request.headers.update(traceparent=context)
                )
                sts.get_caller_identity()
            of_trace = [each for each in collector.spans(is_whole) if each["trace"] == TRACE]
        finally:
            rotel.terminate()
    by_name = {each["name"]: each for each in of_trace}
    whole, commit = by_name["sts:GetCallerIdentity"], by_name["daypass.commit"]
    assert (whole["parent"], whole["daypass.operation"]) == (PARENT, "sts:GetCallerIdentity")
    assert commit["parent"] == whole["id"]


def is_whole(spans: list[dict[str, Any]]) -> bool:
    return {"sts:GetCallerIdentity", "daypass.commit"} <= {each["name"] for each in spans if each["trace"] == TRACE}
