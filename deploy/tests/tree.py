"""What the checks of this folder share: where things are, and what holds for every set of Kubernetes manifests."""

import re
from pathlib import Path

import kubernetes_validate
import yaml

DEPLOY = Path(__file__).resolve().parent.parent
ROOT = DEPLOY.parent

# The oldest version that the manifests promise to work on (the chart's kubeVersion says the same), and the newest known here.
VERSIONS = ("1.27", kubernetes_validate.latest_version())

# Kinds that Kubernetes itself does not know: their operators bring the schema.
FOREIGN = {"ServiceMonitor"}


def read(path):
    """The one document of a YAML file."""
    return yaml.safe_load(Path(path).read_text())


def variables():
    """Every variable that `nexus serve` reads, from the table of its settings."""
    table = (ROOT / "host/src/config/keys.rs").read_text()
    flags = re.findall(r'\b(?:key|list)\(\s*"[a-z0-9_.]+",\s*"([a-z0-9-]+)"', table)
    return {"NEXUS_" + flag.upper().replace("-", "_") for flag in flags}


def by_kind(documents, kind):
    return [document for document in documents if document["kind"] == kind]


def only(documents, kind):
    found = by_kind(documents, kind)
    assert len(found) == 1, f"{len(found)} of kind {kind}, right would be 1"
    return found[0]


def pod_of(document):
    return document["spec"]["template"]["spec"]


def labels_of(document):
    return document["spec"]["template"]["metadata"]["labels"]


def selects(selector, labels):
    return bool(selector) and selector.items() <= labels.items()


def faults(documents):
    """Everything that is wrong with a set of manifests, as sentences; none if all is well."""
    found = []
    for document in documents:
        if document["kind"] in FOREIGN:
            continue
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                found.append(f"{document['kind']} on {version}: {'.'.join(map(str, error.path))}: {error.message}")
    # What contradicts the schema need not have what the rest looks at.
    return found or [*_names(documents), *_ports(documents), *_pods(documents), *_hosts(documents)]


def _names(documents):
    hosts = only(documents, "StatefulSet")
    services = {service["metadata"]["name"]: service for service in by_kind(documents, "Service")}
    headless = services.get(hosts["spec"]["serviceName"])
    if headless is None:
        yield f"serviceName {hosts['spec']['serviceName']} names no Service"
        return
    if headless["spec"].get("clusterIP") != "None" or not headless["spec"].get("publishNotReadyAddresses"):
        yield "the hosts' Service must be headless and publish addresses that are not ready"
    peers = environment(hosts)["NEXUS_PEERS"]
    if not re.fullmatch(rf"dns:{re.escape(headless['metadata']['name'])}\.[^.]+\.svc:33123", peers):
        yield f"NEXUS_PEERS is {peers}, which is not the headless Service"
    accounts = {account["metadata"]["name"] for account in by_kind(documents, "ServiceAccount")}
    for owner in [hosts, *by_kind(documents, "Job")]:
        if pod_of(owner)["serviceAccountName"] not in accounts:
            yield f"{owner['kind']}: no ServiceAccount {pod_of(owner)['serviceAccountName']}"


def _ports(documents):
    hosts = only(documents, "StatefulSet")
    labels, container = labels_of(hosts), pod_of(hosts)["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for service in by_kind(documents, "Service"):
        name = service["metadata"]["name"]
        if not selects(service["spec"]["selector"], labels):
            yield f"Service {name} selects no host"
        for port in service["spec"]["ports"]:
            if ports.get(port["targetPort"]) != port["port"]:
                yield f"Service {name}: port {port['name']} is not the hosts' {port['targetPort']}"
    for policy in by_kind(documents, "NetworkPolicy"):
        opened = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        if opened != ports.keys():
            yield f"the NetworkPolicy opens {sorted(opened)}, the hosts have {sorted(ports)}"
        for rule in policy["spec"]["ingress"]:
            if any(port["port"] == "p2p" for port in rule["ports"]) and not rule.get("from"):
                yield "the NetworkPolicy lets anybody speak to the hosts' p2p port"
    chosen = [("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")]
    for document, selector in ((found, selector) for kind, selector in chosen for found in by_kind(documents, kind)):
        if not selects(document["spec"][selector]["matchLabels"], labels):
            yield f"{document['kind']} selects no host"
    for monitor in by_kind(documents, "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"]
        for endpoint in monitor["spec"]["endpoints"]:
            scraped = [
                service
                for service in by_kind(documents, "Service")
                if selects(wanted, service["metadata"]["labels"])
                and any(port["name"] == endpoint["port"] for port in service["spec"]["ports"])
            ]
            if len(scraped) != 1:
                yield f"the ServiceMonitor finds {len(scraped)} Services with port {endpoint['port']}, right would be 1"
            rules = (DEPLOY / "prometheus/nexus.rules.yaml").read_text()
            wanted_job = re.search(r'up\{job="([^"]+)"\}', rules).group(1)
            for service in scraped:
                job = service["metadata"]["labels"].get(monitor["spec"].get("jobLabel"))
                if job != wanted_job:
                    yield f"the ServiceMonitor's job is {job}, the rules ask for {wanted_job}"


def _pods(documents):
    user = int(re.search(r"--uid (\d+)", (DEPLOY / "container/Containerfile").read_text()).group(1))
    for owner in [only(documents, "StatefulSet"), *by_kind(documents, "Job")]:
        kind, pod = owner["kind"], pod_of(owner)
        security = pod["securityContext"]
        if (security.get("runAsNonRoot"), security.get("runAsUser")) != (True, user):
            yield f"{kind}: runs as {security.get('runAsUser')}, the image's user is {user}"
        if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{kind}: no seccomp profile"
        if pod.get("enableServiceLinks") is not False or pod.get("automountServiceAccountToken") is not False:
            yield f"{kind}: service links and the account's token must be off"
        for container in pod["containers"]:
            own = container.get("securityContext", {})
            hard = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
            for key, value in hard.items():
                if own.get(key) != value:
                    yield f"{kind}: {key} is {own.get(key)}, right would be {value}"
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        volumes |= {claim["metadata"]["name"] for claim in owner["spec"].get("volumeClaimTemplates", [])}
        mounts = {mount["name"] for container in pod["containers"] for mount in container.get("volumeMounts", [])}
        if volumes != mounts:
            yield f"{kind}: volumes {sorted(volumes)}, mounts {sorted(mounts)}"
        for volume in pod.get("volumes", []):
            # A key that every user can read is refused by the daemon.
            if volume["secret"].get("defaultMode", 0o644) & 0o007:
                yield f"{kind}: every user can read Secret {volume['secret']['secretName']}"


def _hosts(documents):
    hosts = only(documents, "StatefulSet")
    pod, settings = pod_of(hosts), environment(hosts)
    if hosts["spec"]["podManagementPolicy"] != "Parallel":
        yield "hosts that wait for each other to be ready never become it"
    if pod["terminationGracePeriodSeconds"] <= 30:
        yield "the pod is killed before graceful_shutdown.timeout is over"
    if pod["securityContext"].get("fsGroup") is None:
        yield "without fsGroup the hosts can read neither their key nor their disk"
    unknown = {name for name in settings if name.startswith("NEXUS_")} - variables()
    if unknown:
        yield f"{sorted(unknown)} are no settings of nexus serve"
    for name, path in (("startupProbe", "/health"), ("livenessProbe", "/health"), ("readinessProbe", "/ready")):
        probe = pod["containers"][0].get(name, {}).get("httpGet", {})
        if (probe.get("path"), probe.get("port")) != (path, "rest"):
            yield f"{name} asks {probe.get('path')}, right would be {path} on rest"
    name, service = hosts["metadata"]["name"], hosts["spec"]["serviceName"]
    for job in by_kind(documents, "Job"):
        asked = pod_of(job)["containers"][0]["args"]
        bare = [re.sub(r"^https?://", "", host) for host in asked]
        right = [f"{name}-{number}.{service}:9001" for number in range(hosts["spec"]["replicas"])]
        if bare != right:
            yield f"the job asks {bare}, the hosts are {right}"
        if pod_of(job)["containers"][0]["image"] != pod["containers"][0]["image"]:
            yield "the job runs another image than the hosts"


def environment(owner):
    """The first container's variables; what comes from elsewhere has its source."""
    found = pod_of(owner)["containers"][0].get("env", [])
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in found}
