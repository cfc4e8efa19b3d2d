# SPDX-License-Identifier: Apache-2.0
"""deploy/kubernetes: rendered as `kubectl apply -k` would, checked against Kubernetes' schemas, run as
far as it can be without a cluster, and its nodes restarted with dnsmasq in the place of cluster DNS."""
import functools
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request

import pytest
import yaml

import cluster
import processes
from processes import HOST, ROOT, SLOWNESS, free_port, is_open
from resp import Connection, Error, eventually

pytestmark = pytest.mark.proxy_only
KUBERNETES = ROOT / "deploy" / "kubernetes"
HERE = ROOT / "tests" / "deploy"
OVERLAYS = ["base", *sorted(f"overlays/{path.name}" for path in (KUBERNETES / "overlays").iterdir())]


@functools.lru_cache(maxsize=None)
def rendered(overlay):
    program = ["kustomize", "build"] if shutil.which("kustomize") else ["kubectl", "kustomize"]
    done = subprocess.run([*program, KUBERNETES / overlay], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # it warns of what is deprecated
    return list(yaml.safe_load_all(done.stdout))


def of_kind(overlay, kind, name=None):
    return [one for one in rendered(overlay) if one["kind"] == kind and name in (None, one["metadata"]["name"])]


def workloads(overlay):
    return of_kind(overlay, "Deployment") + of_kind(overlay, "StatefulSet")


def containers(pod):
    return pod.get("initContainers", []) + pod["containers"]


def check(objects):
    done = subprocess.run(["node", HERE / "check-manifests.mjs"], input=json.dumps(objects), capture_output=True,
                          text=True, timeout=120, check=False)
    assert done.stderr == ""
    return done.stdout.strip()


def test_all_is_as_the_schemas_have_it():
    assert len(OVERLAYS) == 5
    objects = [one for overlay in OVERLAYS for one in rendered(overlay)]
    assert len(objects) > 30
    assert check(objects) == ""


def test_the_schemas_find_what_is_wrong():
    """In one go, for the compiler is slow. The kind of the Prometheus operator comes from other schemas."""
    changes = {"unknown": lambda spec: spec.update(replica=3), "kind": lambda spec: spec.update(replicas="three"),
               "lacking": lambda spec: spec.pop("selector"), "choice": lambda spec: spec.update(podManagementPolicy="Some")}
    objects = []
    for name, change in changes.items():
        one = json.loads(json.dumps(of_kind("base", "StatefulSet")[0]))
        one["metadata"]["name"] = name
        change(one["spec"])
        objects.append(one)
    monitor = json.loads(json.dumps(of_kind("overlays/monitoring", "ServiceMonitor")[0]))
    monitor["spec"]["endpoints"][0]["prot"] = "metrics"
    found = check([*objects, monitor])
    assert any(line.startswith("ServiceMonitor sumcache: ") and '"prot"' in line for line in found.splitlines()), found
    for name, word in (("unknown", '"replica"'), ("kind", "replicas"), ("lacking", "selector"), ("choice", '"Some"')):
        assert any(line.startswith(f"StatefulSet {name}: ") and word in line for line in found.splitlines()), found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_it_names_is_there(overlay):
    """Selectors find pods, volumes find ConfigMaps, ports have the names by which they are asked for."""
    pods = {one["metadata"]["name"]: one["spec"]["template"] for one in workloads(overlay)}
    labels = [pod["metadata"]["labels"] for pod in pods.values()]
    maps = {one["metadata"]["name"] for one in of_kind(overlay, "ConfigMap")}

    def selects(selector):
        return any(selector.items() <= one.items() for one in labels)

    for one in workloads(overlay):
        assert one["spec"]["selector"]["matchLabels"].items() <= one["spec"]["template"]["metadata"]["labels"].items()
    for one in of_kind(overlay, "Service"):
        assert selects(one["spec"]["selector"])
    for one in of_kind(overlay, "PodDisruptionBudget"):
        assert selects(one["spec"]["selector"]["matchLabels"])
    for one in of_kind(overlay, "NetworkPolicy"):
        assert selects(one["spec"]["podSelector"]["matchLabels"])
    for one in of_kind(overlay, "Service"):
        ports = {port["name"] for pod in pods.values() for container in containers(pod["spec"])
                 for port in container.get("ports", []) if one["spec"]["selector"].items() <= pod["metadata"]["labels"].items()}
        assert {port["targetPort"] for port in one["spec"]["ports"]} <= ports
    for one in of_kind(overlay, "ServiceMonitor"):
        services = [service for service in of_kind(overlay, "Service")
                    if one["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()]
        assert [service["metadata"]["name"] for service in services] == ["sumcache"]
        assert {end["port"] for end in one["spec"]["endpoints"]} <= {port["name"] for port in services[0]["spec"]["ports"]}
    for one in of_kind(overlay, "HorizontalPodAutoscaler"):
        assert one["spec"]["scaleTargetRef"]["name"] in pods
        assert "replicas" not in of_kind(overlay, "Deployment", "sumcache")[0]["spec"]
    for pod in (pod["spec"] for pod in pods.values()):
        volumes = {one["name"]: one for one in pod["volumes"]}
        for volume in volumes.values():
            assert volume.get("configMap", {"name": None})["name"] in maps | {None}
            assert volume.get("secret", {"secretName": "sumcache"})["secretName"] == "sumcache"
        for container in containers(pod):
            ports = {port["name"] for port in container.get("ports", [])}
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= set(volumes)
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                for how in ("tcpSocket", "httpGet"):
                    assert container.get(probe, {}).get(how, {"port": None})["port"] in ports | {None}
    assert of_kind(overlay, "StatefulSet")[0]["spec"]["serviceName"] == "sumcache-nodes"
    assert of_kind(overlay, "Service", "sumcache-nodes")[0]["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_may_do_little(overlay):
    for pod in (one["spec"]["template"]["spec"] for one in workloads(overlay)):
        assert pod["securityContext"]["runAsNonRoot"] and pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        for container in containers(pod):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False and context["capabilities"] == {"drop": ["ALL"]}
            if container["name"] != "application":
                assert context["readOnlyRootFilesystem"]
                assert container["resources"]["requests"]["memory"] == container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_is_run_in_the_image_that_it_does_not_have(overlay):
    """It has sumcache alone: hooks and probes cannot start a shell, nor `sleep`."""
    for pod in (one["spec"]["template"]["spec"] for one in of_kind(overlay, "Deployment")):
        for container in (one for one in containers(pod) if one["name"] == "sumcache"):
            hooks = list(container.get("lifecycle", {}).values())
            probes = [container[name] for name in container if name.endswith("Probe")]
            assert [one["exec"] for one in hooks + probes if "exec" in one] == []
            assert "command" not in container


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_proxies_take_their_configuration(overlay, tmp_path):
    config = next(one for one in of_kind(overlay, "ConfigMap") if "sumcache.yaml" in one["data"])
    path = tmp_path / "sumcache.yaml"
    path.write_text(config["data"]["sumcache.yaml"])
    done = processes.run("--config", path, "--check-config")
    assert (done.returncode, done.stderr) == (0, "")
    settings = yaml.safe_load(path.read_text())
    drain = int(settings["timeouts"]["drain"].rstrip("s"))
    sidecar = overlay.endswith("sidecar")
    assert settings["listen"] == (["127.0.0.1:6379"] if sidecar else ["0.0.0.0:6379"])
    # YAML 1.1 takes `off` for false.
    assert ("auth" in settings) != (sidecar or settings.get("protected_mode") is False)
    pod = of_kind(overlay, "Deployment")[0]["spec"]["template"]["spec"]
    pause = 0 if sidecar else pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert drain + pause < pod.get("terminationGracePeriodSeconds", 30)


def get(port, path, token=None):
    """→ (status, text), as the kubelet or Prometheus would ask."""
    request = urllib.request.Request(f"http://{HOST}:{port}{path}")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize("overlay", ["overlays/monitoring", "overlays/without-passwords"])
def test_probes_and_the_monitor_are_answered(overlay, start, tmp_path):
    """The file of the ConfigMap, run; asked what the probes and the ServiceMonitor ask. Started is a
    proxy that has a node, and alive is one without."""
    config = next(one for one in of_kind(overlay, "ConfigMap") if "sumcache.yaml" in one["data"])["data"]["sumcache.yaml"]
    container = of_kind(overlay, "Deployment", "sumcache")[0]["spec"]["template"]["spec"]["containers"][0]
    ready, alive = (container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe"))
    token = None
    for monitor in of_kind(overlay, "ServiceMonitor"):
        (end,) = monitor["spec"]["endpoints"]
        credentials = end["authorization"]["credentials"]
        assert credentials["name"] == "sumcache" and f"/run/secrets/sumcache/{credentials['key']}\n" in config
        token = "a token, long enough"
    for name, text in (("client-password", "secret"), ("node-password", "of nodes"), ("admin-token", "a token, long enough")):
        (tmp_path / name).write_text(f"{text}\n")
    node = start.node(extra=["--requirepass", "of nodes"] if token else [])
    port, admin = free_port(), free_port()
    for old, new in (("/run/secrets/sumcache", str(tmp_path)), ("0.0.0.0:6379", f"{HOST}:{port}"),
                     ("0.0.0.0:9379", f"{HOST}:{admin}"), ("srv: [_redis._tcp.sumcache-nodes]", f"static: [{node.name}]")):
        assert old in config or (token is None and old.startswith("/run"))
        config = config.replace(old, new)
    path = tmp_path / "sumcache.yaml"
    path.write_text(config)
    start.process([processes.BINARY, "--config", path])
    eventually(lambda: is_open(admin) and get(admin, ready)[0] == 200, within=20 * SLOWNESS, what="it is ready")
    status, text = get(admin, "/metrics", token)
    assert status == 200 and "\nsumcache_ready 1\n" in text
    if token:
        assert get(admin, "/metrics")[0] == 401
    assert get(admin, alive)[0] == 200
    node.end()
    eventually(lambda: get(admin, ready)[0] == 503, within=20 * SLOWNESS, what="it is unready")
    assert get(admin, alive)[0] == 200


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_node_starts_as_its_pod_would_start_it(overlay, start, tmp_path):
    data = next(one for one in of_kind(overlay, "ConfigMap") if "redis.conf" in one["data"])["data"]
    pod = of_kind(overlay, "StatefulSet")[0]["spec"]["template"]["spec"]
    container, port = pod["containers"][0], free_port()
    (tmp_path / "redis.conf").write_text(
        data["redis.conf"].replace("bind * -::*", f"bind {HOST}").replace("port 6379", f"port {port}"))
    (tmp_path / "node-password").write_text("long and 'random'\n")
    command = [word.replace("/etc/redis/", f"{tmp_path}/").replace("/run/secrets/sumcache/", f"{tmp_path}/")
               for word in container["command"]]
    names = {variable["name"]: variable["valueFrom"]["resourceFieldRef"]["resource"] for variable in container["env"]}
    assert names == {"MEMORY_LIMIT": "limits.memory"}
    start.process(command, env={**os.environ, "MEMORY_LIMIT": str(2 << 30)})
    eventually(lambda: is_open(port), within=10 * SLOWNESS, what="the node listens")
    with Connection(port) as client:
        if overlay.endswith("without-passwords"):
            assert client.ask("PING") == "PONG"
        else:
            assert str(client.ask("PING")).startswith("NOAUTH")
            assert client.ask("AUTH", "long and 'random'") == "OK"
        told = {name: client.ask("CONFIG", "GET", name)[1] for name in
                ("maxmemory", "maxmemory-policy", "save", "appendonly", "protected-mode")}
    # Redis 7 refuses all other hosts if that is on and there is no password.
    assert told == {"maxmemory": str(3 << 29).encode(), "maxmemory-policy": b"allkeys-lru", "save": b"",
                    "appendonly": b"no", "protected-mode": b"no"}


class Reader(cluster.Background):
    """Asks for one key after the other; notes errors, the longest wait, and what was a miss."""

    def __init__(self, proxy, keys):
        super().__init__()
        self.proxy, self.keys = proxy, keys
        self.errors, self.longest, self.hits, self.misses = [], 0, 0, 0

    def _run(self):
        with self.proxy.connect() as client:
            while not self.over.is_set():
                for key in self.keys:
                    began = time.monotonic()
                    answer = client.ask("GET", key)
                    self.longest = max(self.longest, time.monotonic() - began)
                    if isinstance(answer, Error):
                        self.errors.append(str(answer))
                    self.hits += isinstance(answer, bytes)
                    self.misses += answer is None


def wait_for_pods(proxy, names):
    """Until it knows these and nobody else, all are up, and each key has an owner."""
    def are_there():
        lines = proxy.node_lines()
        return (sorted(lines) == sorted(names) and all(line["state"] == "up" for line in lines.values()) and
                proxy.counter("slots_fenced") == 0)

    eventually(are_there, within=10 * SLOWNESS, what=f"{names} are the nodes")


def test_pods_are_restarted_one_after_the_other(start, dns):
    """Each loses its record and its address, and comes back under its name with another one, empty.
    Clients see misses, and nothing else; in the end each key is where it was."""
    service = of_kind("base", "Service", "sumcache-nodes")[0]["metadata"]["name"]
    port_name = of_kind("base", "Service", "sumcache-nodes")[0]["spec"]["ports"][0]["name"]
    prefix = of_kind("base", "StatefulSet")[0]["metadata"]["name"]
    domain = "cache.svc.cluster"
    config = yaml.safe_load(next(one for one in of_kind("base", "ConfigMap")
                                 if "sumcache.yaml" in one["data"])["data"]["sumcache.yaml"])
    name = f"{config['nodes']['srv'][0]}.{domain}.test"
    assert name.startswith(f"_{port_name}._tcp.{service}.")
    nodes = start.nodes_of_a_name(4)
    port, spare, pods = nodes[0].port, nodes[3], dict(enumerate(nodes[:3]))

    def host(i):
        return f"{prefix}-{i}.{service}.{domain}"

    def publish():
        dns.write_hosts({f"{host(i)}.test": [pod.host] for i, pod in pods.items()})
        dns.set_services(*[(name, f"{host(i)}.test", port, 0, 1) for i in pods])

    publish()
    proxy = start.proxy([], cluster.by_dns(dns.port, srv=[name]), workers=2)
    names = [f"{host(i)}.test:{port}" for i in range(3)]
    wait_for_pods(proxy, names)
    ring, keys = proxy.counter("ring_hash"), [f"k:{i}" for i in range(150)]
    cluster.put_all(proxy, dict.fromkeys(keys, "1"))
    homes = {i: set(cluster.values(pod, keys)) for i, pod in pods.items()}
    assert min(map(len, homes.values())) > 20
    with Reader(proxy, keys) as reader:
        for i in range(3):
            gone = pods.pop(i)
            gone.end()
            publish()
            wait_for_pods(proxy, [names[k] for k in pods])
            pods[i], spare = spare, start.node(port=port, host=gone.host)
            publish()
            wait_for_pods(proxy, names)
            cluster.put_all(proxy, dict.fromkeys(homes[i], "1"))
    assert reader.errors == [] and reader.hits > 0
    assert reader.longest < 0.5 * SLOWNESS
    assert proxy.counter("ring_hash") == ring
    cluster.put_all(proxy, dict.fromkeys(keys, "2"))
    assert {i: set(cluster.values(pod, keys)) & homes[i] for i, pod in pods.items()} == homes
