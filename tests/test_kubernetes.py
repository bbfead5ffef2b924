"""The Kubernetes manifests, as Kustomize builds them: valid, and in accord with code and images."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
import yaml
from kubernetes_validate import SchemaNotFoundError, validate

from assay.domain import errors
from assay_adapters.environment.sections import installed
from assay_adapters.http.config import ApiConfig
from assay_ml_api.config import ServerConfig
from assay_streaming.config import StreamConfig

Object: TypeAlias = dict[str, Any]

ROOT: Final = Path(__file__).parents[1]
BIN: Final = Path(sys.executable).parent
VERSIONS: Final = ("1.31", "1.37")
"""Of Kubernetes: the oldest that has all that is used, and one of today."""
OF_OTHERS: Final = {"ScaledObject", "TriggerAuthentication", "PodMonitor"}
"""Kinds of KEDA and of the Prometheus operator, whose schemas Kubernetes does not have."""

REST: Final = {
    "namespace": "assay",
    "resources": ["../base"],
    "components": ["../components/fan-out", "../components/files"],
    "configMapGenerator": [{"name": "contracts", "literals": ["transactions.odcs.yaml=any"]}],
}
"""What the example leaves out."""


def documented(example: Object) -> tuple[Object, str]:
    """The example with what the guide adds for brokers that want a password: two files."""
    guide = (ROOT / "docs" / "kubernetes.md").read_text("utf-8")
    added, kafka = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    more = yaml.safe_load(added)
    return example | more | {"resources": example["resources"] + more["resources"]}, kafka


@pytest.fixture(scope="module", params=["example", "documented", "rest"])
def objects(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All objects of an installation."""
    folder = tmp_path_factory.mktemp("kubernetes") / "kubernetes"
    shutil.copytree(ROOT / "infra" / "kubernetes", folder)
    shutil.copytree(folder / "example", folder / "documented")
    kustomization = folder / "documented" / "kustomization.yaml"
    content, kafka = documented(yaml.safe_load(kustomization.read_text("utf-8")))
    kustomization.write_text(yaml.safe_dump(content))
    (folder / "documented" / "kafka.yaml").write_text(kafka)
    (folder / "rest").mkdir()
    (folder / "rest" / "kustomization.yaml").write_text(yaml.safe_dump(REST))
    done = subprocess.run(
        [BIN / "kubectl", "kustomize", folder / request.param],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr  # it warns of what is deprecated
    return list(yaml.safe_load_all(done.stdout))


def of(objects: list[Object], *kinds: str) -> list[Object]:
    return [each for each in objects if each["kind"] in kinds]


def templates(objects: list[Object]) -> Iterator[tuple[Object, Object]]:
    """What makes pods, and the pods that it makes."""
    for each in of(objects, "Deployment", "StatefulSet", "Job"):
        yield each, each["spec"]["template"]
    for each in of(objects, "CronJob"):
        yield each, each["spec"]["jobTemplate"]["spec"]["template"]


def containers(template: Object) -> list[Object]:
    return [*template["spec"].get("initContainers", ()), *template["spec"]["containers"]]


def environment(objects: list[Object], container: Object) -> dict[str, str]:
    """The variables of a container; what Kubernetes fills in is empty."""
    maps = {each["metadata"]["name"]: each["data"] for each in of(objects, "ConfigMap")}
    found: dict[str, str] = {}
    for each in container.get("envFrom", ()):
        found |= maps[each["configMapRef"]["name"]]
    return found | {each["name"]: each.get("value", "") for each in container.get("env", ())}


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a selector of labels means these."""
    if any(labels.get(name) != value for name, value in selector.get("matchLabels", {}).items()):
        return False
    return all(
        (labels.get(each["key"]) in each["values"]) == (each["operator"] == "In")
        for each in selector.get("matchExpressions", ())
    )


def chosen(objects: list[Object], selector: Mapping[str, Any]) -> list[Object]:
    """Pods that a selector means."""
    pods = (template for _, template in templates(objects))
    return [each for each in pods if selects(selector, each["metadata"]["labels"])]


def test_objects_fit_their_schemas(objects: list[Object]) -> None:
    """Each is what Kubernetes takes, and has no field that it does not know."""
    strange: set[str] = set()
    for each, version in product(objects, VERSIONS):
        try:
            validate(each, version, strict=True)
        except SchemaNotFoundError:
            strange.add(each["kind"])
    assert strange <= OF_OTHERS


def test_pods_have_no_rights(objects: list[Object]) -> None:
    """What the level `restricted` asks for, and more: no token, no writable file but in memory."""
    found = list(templates(objects))
    assert found
    for _, template in found:
        pod = template["spec"]
        assert pod["serviceAccountName"] == "assay"
        assert pod["automountServiceAccountToken"] is False
        context = pod["securityContext"]
        assert context["runAsNonRoot"]
        assert context["runAsUser"] == context["runAsGroup"] == 10001
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        volumes = {each["name"]: each for each in pod["volumes"]}
        for container in containers(template):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            for mount in container["volumeMounts"]:
                volume = volumes[mount["name"]]
                assert mount.get("readOnly") or volume["emptyDir"]["medium"] == "Memory"
        # Readable by the group of the process, which `fsGroup` makes the files' own.
        if "secrets" in volumes:
            assert context["fsGroup"] == 10001
            assert volumes["secrets"]["secret"]["defaultMode"] == 0o440


def test_containers_are_bounded(objects: list[Object]) -> None:
    """Each asks for what it needs and is held to a limit."""
    for _, template in templates(objects):
        for container in containers(template):
            for bound in ("requests", "limits"):
                assert set(container["resources"][bound]) == {"cpu", "memory"}, container["name"]


def test_images_are_those_of_the_dockerfile(objects: list[Object]) -> None:
    """Each is a target, has a tag, runs as the target's user and listens where that does."""
    dockerfile = (ROOT / "infra" / "docker" / "Dockerfile").read_text("utf-8")
    stages = re.split(r"^FROM \S+ AS ", dockerfile, flags=re.MULTILINE)
    targets = {f"assay-{each.split()[0]}": each for each in stages if "ENTRYPOINT" in each}
    for _, template in templates(objects):
        for container in containers(template):
            image, _, tag = container["image"].rpartition("/")[2].partition(":")
            assert tag
            assert f"USER {template['spec']['securityContext']['runAsUser']}" in targets[image]
            ports = [str(each["containerPort"]) for each in container.get("ports", ())]
            if ports:
                assert ports == re.findall(r"^EXPOSE (.*)$", targets[image], re.MULTILINE)


def test_variables_are_settings(objects: list[Object]) -> None:
    """Each is known, no secret is in clear, and files are where secrets are mounted."""
    known = {
        f"ASSAY_{section}__{name}".upper()
        for section, config in installed().items()
        for name in config.model_fields
    }
    for _, template in templates(objects):
        # Else each Service of the namespace whose name begins with `assay` adds unknown ones.
        assert template["spec"]["enableServiceLinks"] is False
        for container in containers(template):
            mounts = [f"{each['mountPath']}/" for each in container["volumeMounts"]]
            for name, value in environment(objects, container).items():
                assert name.removesuffix("_FILE") in known
                assert not re.search(r"://[^/]*:[^/]*@", value)
                if name.endswith("_FILE"):
                    assert any(value.startswith(each) for each in mounts), name
                else:
                    assert not re.search("PASSWORD|SECRET|TOKEN|API_KEY", name)


def test_there_are_no_secrets(objects: list[Object]) -> None:
    """They are made beside the manifests."""
    assert not of(objects, "Secret")


def test_services_are_probed(objects: list[Object]) -> None:
    """They are restarted by liveness, and led to or waited for by readiness."""
    for each in of(objects, "Deployment", "StatefulSet"):
        (container,) = each["spec"]["template"]["spec"]["containers"]
        (port,) = container["ports"]
        paths = {"startup": "live", "liveness": "live", "readiness": "ready"}
        for name, path in paths.items():
            probe = container[f"{name}Probe"]
            assert probe["httpGet"] == {"path": f"/health/{path}", "port": port["name"]}
        # A start may take as long as its imports on a busy node.
        startup = container["startupProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] >= 60


def test_services_have_time_to_end(objects: list[Object]) -> None:
    """None is killed in the midst of a call or a commit."""
    stream = StreamConfig()
    call = ApiConfig.model_validate({"url": "http://api"}).timeout
    for each in of(objects, "StatefulSet"):
        pod = each["spec"]["template"]["spec"]
        assert pod["terminationGracePeriodSeconds"] >= call + 2 * stream.drain
    for each in of(objects, "Deployment"):
        pod = each["spec"]["template"]["spec"]
        pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert pod["terminationGracePeriodSeconds"] > pause + ServerConfig().shutdown_timeout


def test_streaming_services_keep_their_names(objects: list[Object]) -> None:
    """Each pod has the name that its predecessor had, and none waits for its neighbours."""
    for each in of(objects, "StatefulSet"):
        (container,) = each["spec"]["template"]["spec"]["containers"]
        assert container["env"] == [
            {
                "name": "ASSAY_STREAM__INSTANCE_ID",
                "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}},
            }
        ]
        assert each["spec"]["podManagementPolicy"] == "Parallel"
        (headless,) = (
            service
            for service in of(objects, "Service")
            if service["metadata"]["name"] == each["spec"]["serviceName"]
        )
        assert headless["spec"]["clusterIP"] == "None"
        assert headless["spec"]["selector"] == each["spec"]["selector"]["matchLabels"]


def test_selectors_mean_pods(objects: list[Object]) -> None:
    """Each means its own, and a budget those of which there are several."""
    for owner, template in templates(objects):
        if "selector" in owner["spec"]:
            assert chosen(objects, owner["spec"]["selector"]) == [template]
        for spread in template["spec"].get("topologySpreadConstraints", ()):
            assert chosen(objects, spread["labelSelector"]) == [template]
    for service in of(objects, "Service"):
        (template,) = chosen(objects, {"matchLabels": service["spec"]["selector"]})
        names = {port["name"] for each in containers(template) for port in each["ports"]}
        assert {each["targetPort"] for each in service["spec"]["ports"]} <= names
    for policy in of(objects, "NetworkPolicy"):
        assert chosen(objects, policy["spec"]["podSelector"])
    for monitor in of(objects, "PodMonitor"):
        pods = chosen(objects, monitor["spec"]["selector"])
        ports = [port for pod in pods for each in containers(pod) for port in each.get("ports", ())]
        asked = {each["port"] for each in monitor["spec"]["podMetricsEndpoints"]}
        assert asked == {each["name"] for each in ports}
    several = [
        each["spec"]["selector"]
        for each in of(objects, "Deployment", "StatefulSet")
        if each["spec"].get("replicas") != 1
    ]
    budgets = [each["spec"] for each in of(objects, "PodDisruptionBudget")]
    assert all(each["maxUnavailable"] == 1 for each in budgets)
    guarded = [each["selector"] for each in budgets]
    assert sorted(guarded, key=str) == sorted(several, key=str)


def test_what_is_scaled_has_no_number_of_its_own(objects: list[Object]) -> None:
    """Applying the manifests again takes back nothing that an autoscaler has done."""
    for scaler in of(objects, "HorizontalPodAutoscaler", "ScaledObject"):
        target = scaler["spec"]["scaleTargetRef"]
        (scaled,) = (
            each
            for each in of(objects, target["kind"])
            if each["metadata"]["name"] == target["name"]
        )
        assert scaled["apiVersion"] == target["apiVersion"]
        assert "replicas" not in scaled["spec"]


def test_consumers_are_scaled_by_the_lag_that_they_commit(objects: list[Object]) -> None:
    """KEDA reads their group and topic, and starts no more than there are partitions."""
    stream = StreamConfig()
    for scaler in of(objects, "ScaledObject"):
        spec = scaler["spec"]
        (scaled,) = (
            each
            for each in of(objects, "StatefulSet")
            if each["metadata"]["name"] == spec["scaleTargetRef"]["name"]
        )
        (container,) = scaled["spec"]["template"]["spec"]["containers"]
        assert container["name"] == spec["scaleTargetRef"]["envSourceContainerName"]
        (trigger,) = spec["triggers"]
        told, given = trigger["metadata"], environment(objects, container)
        assert given[told["topicFromEnv"]] == stream.topic
        assert given[told["consumerGroupFromEnv"]] == stream.group
        assert given[told["bootstrapServersFromEnv"]]
        assert told["offsetResetPolicy"] == stream.start
        assert told["allowIdleConsumers"] == "false"
        credentials = {each["metadata"]["name"] for each in of(objects, "TriggerAuthentication")}
        assert {each["name"] for each in [trigger.get("authenticationRef")] if each} == credentials
        assert 0 < spec["minReplicaCount"] <= spec["maxReplicaCount"] == stream.partitions


def test_jobs_do_not_repeat_what_would_fail_again(objects: list[Object]) -> None:
    """Exit codes say what the same call would come to."""
    for each in (*of(objects, "Job"), *of(objects, "CronJob")):
        job = each["spec"].get("jobTemplate", each)["spec"]
        assert job["template"]["spec"]["restartPolicy"] == "Never"  # else no policy may be given
        (codes,) = (
            set(rule["onExitCodes"]["values"])
            for rule in job["podFailurePolicy"]["rules"]
            if rule["action"] == "FailJob"
        )
        assert errors.CONFIGURATION in codes <= {errors.DATA, errors.CONFIGURATION}


def test_the_first_step_of_the_guide_has_what_it_needs(objects: list[Object]) -> None:
    """What it applies before the services are the Jobs, and all that these name."""
    guide = (ROOT / "docs" / "kubernetes.md").read_text("utf-8")
    (listed,) = re.findall(r"--selector 'app.kubernetes.io/component in \((.*?)\)'", guide)
    first = [
        each
        for each in objects
        if each["metadata"].get("labels", {}).get("app.kubernetes.io/component")
        in listed.split(", ")
    ]
    assert not of(first, "Deployment", "StatefulSet", "CronJob")
    assert of(first, "Job") == of(objects, "Job")
    (account,) = of(first, "ServiceAccount")
    for _, template in templates(first):
        assert template["spec"]["serviceAccountName"] == account["metadata"]["name"]
        for container in containers(template):
            assert environment(first, container)
        assert all(
            selects(each["spec"]["podSelector"], template["metadata"]["labels"])
            for each in of(first, "NetworkPolicy")
        )


def test_the_network_lets_through_what_settings_name(objects: list[Object]) -> None:
    """Servers' ports may be reached, and the model API is where callers look for it."""
    within, servers = (
        [
            (port["port"], port.get("endPort", port["port"]))
            for rule in policy["spec"]["egress"]
            for port in rule["ports"]
        ]
        for name in ("assay", "servers")
        for policy in of(objects, "NetworkPolicy")
        if policy["metadata"]["name"] == name
    )
    (settings,) = (
        each["data"]
        for each in of(objects, "ConfigMap")
        if each["metadata"]["name"].startswith("settings-")
    )
    asked = (
        settings.get("ASSAY_POSTGRES__URL", ""),
        settings.get("ASSAY_KAFKA__BOOTSTRAP_SERVERS", ""),
    )
    for port in re.findall(r":(\d+)", " ".join(asked)):
        assert any(first <= int(port) <= last for first, last in servers), port
    (api,) = (each for each in of(objects, "Service") if each["metadata"]["name"] == "api")
    (port,) = api["spec"]["ports"]
    assert settings["ASSAY_API__URL"] == f"http://api:{port['port']}"
    ports = {
        port["containerPort"]
        for _, template in templates(objects)
        for each in containers(template)
        for port in each.get("ports", ())
    }
    assert {(each, each) for each in ports} <= set(within)


def test_commands_are_those_of_assay(objects: list[Object]) -> None:
    """What a container runs, `assay` has."""
    commands = {
        tuple(container["args"])
        for _, template in templates(objects)
        for container in containers(template)
        if "args" in container and "command" not in container
    }
    assert commands
    for command in commands:
        done = subprocess.run(
            [BIN / "assay", *command, "--help"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("said", "ends"),
    [
        (errors.DONE, errors.DONE),
        (errors.NOTHING_TO_DO, errors.DONE),
        (errors.DATA, errors.DATA),
        (errors.TEMPORARY, errors.TEMPORARY),
    ],
)
def test_nothing_to_do_is_no_failure_of_a_job(said: int, ends: int, tmp_path: Path) -> None:
    """The shell around a batch run passes its arguments on, and its exit code."""
    manifest = ROOT / "infra" / "kubernetes" / "components" / "files" / "batch.yaml"
    spec = yaml.safe_load(manifest.read_text("utf-8"))["spec"]["jobTemplate"]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    stub = tmp_path / "assay"
    stub.write_text(f'#!/bin/sh\necho "$@"\nexit {said}\n')
    stub.chmod(0o755)
    done = subprocess.run(
        [*container["command"], *container["args"]],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ends
    assert done.stdout.split() == ["batch", "run", *container["args"]]
