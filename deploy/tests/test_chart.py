"""The chart, rendered by Helm itself: the command if there is one, else its library."""

import json
import shutil
import subprocess
import tempfile
import unittest

import tree
import yaml

CHART = tree.DEPLOY / "helm/nexus"
KEY = {"clusterKey": {"existingSecret": "nexus-cluster-key"}}
EVERYTHING = {
    "replicaCount": 5,
    "clusterKey": {"value": "correct horse battery staple"},
    "auth": {"existingSecret": "tokens"},
    "tls": {"existingSecret": "tls"},
    "form": {"tokenSecret": "admin", "keep": 10_000_000},
    "settings": {"NEXUS_COMPACT_AT": "128MiB"},
    "image": {"repository": "registry.example/nexus", "tag": "1", "pullSecrets": [{"name": "registry"}]},
    "networkPolicy": {"clients": [{"podSelector": {}}], "scrapers": [{"namespaceSelector": {}}]},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
    "persistence": {"storageClass": "local"},
    "nodeSelector": {"disk": "local"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
    "podAnnotations": {"a": "b"},
    "podLabels": {"team": "access"},
}
LEAST = {
    **KEY,
    "replicaCount": 1,
    "form": {"enabled": False},
    "podDisruptionBudget": {"enabled": False},
    "networkPolicy": {"enabled": False},
}


def by_command(values, name):
    """Documents and notes as `helm` renders them."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(values, file)
        file.flush()
        line = ["helm", "template", name, str(CHART), "--namespace", "isp", "--values", file.name]
        ran = subprocess.run(line, capture_output=True, text=True)
        if ran.returncode != 0:
            raise RuntimeError(ran.stderr)
        return [document for document in yaml.safe_load_all(ran.stdout) if document]


def by_library(values, name):
    import helm_python

    with helm_python.Chart.load(CHART) as chart:
        files = chart.render(values, name=name, namespace="isp")
    texts = (text for path, text in sorted(files.items()) if path.endswith(".yaml"))
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


render = by_command if shutil.which("helm") else by_library


def lint():
    """What Helm has against the chart, strictly."""
    if shutil.which("helm"):
        line = ["helm", "lint", "--strict", "--set", "clusterKey.existingSecret=k", str(CHART)]
        ran = subprocess.run(line, capture_output=True, text=True)
        return ran.stdout + ran.stderr if ran.returncode else ""
    import helm_python

    report = helm_python.lint(CHART, KEY, strict=True)
    worse = [message for message in report["messages"] if message["severity"] > 1]
    return report["errors"] + worse


class Chart(unittest.TestCase):
    def test_helm_finds_no_fault(self):
        self.assertFalse(lint())

    def test_every_rendering_is_valid_and_agrees_with_itself(self):
        for values in (KEY, EVERYTHING, LEAST):
            with self.subTest(values):
                self.assertEqual(tree.faults(render(values, "east")), [])

    def test_by_default_it_is_what_the_plain_manifests_are(self):
        chart, plain = render(KEY, "nexus"), [tree.read(path) for path in (tree.DEPLOY / "kubernetes").glob("*.yaml")]
        for kind in ("StatefulSet", "Job"):
            ours, theirs = (tree.only(documents, kind) for documents in (chart, plain))
            ours, theirs = tree.pod_of(ours), tree.pod_of(theirs)
            own, other = ours["containers"][0], theirs["containers"][0]
            for key in ("command", "args", "image", "ports", "resources", "securityContext", "volumeMounts"):
                self.assertEqual(own.get(key), other.get(key), f"{kind}: {key}")
            self.assertEqual(ours.get("volumes"), theirs.get("volumes"), kind)
            # A probe over TLS names its scheme, so the chart always does.
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                bare = json.loads(json.dumps(own.get(probe)).replace(', "scheme": "HTTP"', ""))
                self.assertEqual(bare, other.get(probe), probe)
        for kind in ("PodDisruptionBudget", "NetworkPolicy"):
            ours, theirs = (tree.only(documents, kind)["spec"] for documents in (chart, plain))
            self.assertEqual(ours.keys(), theirs.keys(), kind)

    def test_settings_reach_the_hosts(self):
        documents = render(EVERYTHING, "east")
        hosts, job = tree.only(documents, "StatefulSet"), tree.only(documents, "Job")
        settings = tree.environment(hosts)
        self.assertEqual(settings["NEXUS_PEERS"], "dns:east-nexus-headless.isp.svc:33123")
        self.assertEqual(settings["NEXUS_COMPACT_AT"], "128MiB")
        self.assertEqual(settings["NEXUS_TOKENS_FILE"], "/etc/nexus/tokens/tokens.yaml")
        self.assertEqual(job["spec"]["ttlSecondsAfterFinished"], 10_000_000)
        self.assertEqual(len(tree.pod_of(job)["containers"][0]["args"]), 5)
        self.assertTrue(all(host.startswith("https://") for host in tree.pod_of(job)["containers"][0]["args"]))
        self.assertEqual(tree.only(documents, "Secret")["stringData"]["cluster.key"], "correct horse battery staple")

    def test_what_cannot_work_is_refused_before_anything_is_installed(self):
        refused = [
            ({}, "no cluster key"),
            ({"clusterKey": {"existingSecret": "a", "value": "correct horse battery staple"}}, "set one of them"),
            ({"clusterKey": {"value": "short"}}, "clusterKey"),
            ({**KEY, "auth": {"existingSecret": "tokens"}}, "form.tokenSecret"),
            ({**KEY, "replicas": 3}, "replicas"),
            ({**KEY, "replicaCount": 0}, "replicaCount"),
            ({**KEY, "settings": {"NEXUS_PEERS": "a:1"}}, "NEXUS_PEERS"),
            ({**KEY, "spread": "Sometimes"}, "spread"),
        ]
        for values, told in refused:
            with self.subTest(told), self.assertRaises(Exception) as caught:
                render(values, "east")
            self.assertIn(told, str(caught.exception))

    def test_every_value_is_known_to_the_schema(self):
        schema = json.loads((CHART / "values.schema.json").read_text())
        values = tree.read(CHART / "values.yaml")
        self.assertEqual(set(schema["properties"]) - {"global"}, set(values))
        for name, value in values.items():
            known = schema["properties"][name].get("properties")
            if known is not None:
                self.assertEqual(set(known), set(value), name)


if __name__ == "__main__":
    unittest.main()
