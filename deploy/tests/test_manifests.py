"""The plain manifests and the compose files: known to Kubernetes, and at one with each other."""

import copy
import re
import unittest

import tree

FOLDER = tree.DEPLOY / "kubernetes"
# Not applied with the rest: the key is the operator's to make, and not everybody has the Prometheus operator.
APART = {"secret.example.yaml", "servicemonitor.yaml"}


def manifests():
    return [tree.read(path) for path in sorted(FOLDER.glob("*.yaml")) if path.name != "kustomization.yaml"]


class Manifests(unittest.TestCase):
    def test_every_manifest_is_valid_and_all_agree(self):
        self.assertEqual(tree.faults(manifests()), [])

    def test_what_is_applied_together_is_everything_but_what_is_named_apart(self):
        listed = set(tree.read(FOLDER / "kustomization.yaml")["resources"])
        self.assertEqual(listed, {path.name for path in FOLDER.glob("*.yaml")} - APART - {"kustomization.yaml"})

    def test_the_example_key_is_refused_by_the_daemon(self):
        secret = tree.only(manifests(), "Secret")
        self.assertLess(len(secret["stringData"]["cluster.key"]), 16)
        volume = tree.pod_of(tree.only(manifests(), "StatefulSet"))["volumes"][0]
        self.assertEqual(volume["secret"]["secretName"], secret["metadata"]["name"])

    def test_a_mistake_is_found(self):
        def spoil(kind, change):
            documents = copy.deepcopy(manifests())
            change(tree.only(documents, kind) if kind != "Service" else tree.by_kind(documents, kind)[0])
            return " / ".join(tree.faults(documents))

        cases = [
            ("StatefulSet", lambda it: it["spec"].update(replica=3), "replica"),
            ("StatefulSet", lambda it: it["spec"].update(replicas="3"), "replicas"),
            ("StatefulSet", lambda it: it["spec"].update(serviceName="nexus"), "headless"),
            ("StatefulSet", lambda it: it["spec"].update(replicas=5), "the job asks"),
            ("StatefulSet", lambda it: tree.pod_of(it).pop("volumes"), "mounts"),
            ("StatefulSet", lambda it: tree.pod_of(it)["volumes"][0]["secret"].pop("defaultMode"), "every user can read"),
            ("StatefulSet", lambda it: tree.pod_of(it)["securityContext"].update(runAsUser=0), "the image's user"),
            ("StatefulSet", lambda it: tree.pod_of(it)["containers"][0]["env"].append({"name": "NEXUS_PEER", "value": "a"}), "no settings"),
            ("NetworkPolicy", lambda it: it["spec"]["ingress"][0].pop("from"), "anybody"),
            ("PodDisruptionBudget", lambda it: it["spec"].update(maxUnavailable=[1]), "maxUnavailable"),
            ("Service", lambda it: it["spec"]["ports"][0].update(targetPort="rests"), "is not the hosts'"),
            ("Job", lambda it: tree.pod_of(it)["containers"][0]["securityContext"].update(readOnlyRootFilesystem=False), "readOnly"),
        ]
        for kind, change, told in cases:
            with self.subTest(told):
                self.assertIn(told, spoil(kind, change))

    def test_the_settings_are_read_from_the_daemons_own_table(self):
        self.assertGreaterEqual(tree.variables(), {"NEXUS_NODE_ID", "NEXUS_PEERS", "NEXUS_CLUSTER_KEY_FILE", "NEXUS_LISTEN"})


class Compose(unittest.TestCase):
    def setUp(self):
        self.cluster = tree.read(tree.DEPLOY / "compose.cluster.yaml")
        self.hosts = {name: one for name, one in self.cluster["services"].items() if name != "init"}

    def test_three_hosts_run_the_image_of_one_host(self):
        one = tree.read(tree.DEPLOY / "container/compose.yaml")["services"]["nexus"]
        self.assertEqual(list(self.hosts), ["nexus-0", "nexus-1", "nexus-2"])
        for name, host in self.hosts.items():
            same = ("image", "stop_grace_period", "read_only", "cap_drop", "security_opt", "restart")
            self.assertEqual({key: host[key] for key in same}, {key: one[key] for key in same})
            self.assertEqual(host["environment"], {"NEXUS_NODE_ID": name})
            self.assertEqual(host["build"]["dockerfile"], one["build"]["dockerfile"])
        self.assertEqual(self.cluster["services"]["init"]["image"], one["image"])

    def test_hosts_know_each_other_and_share_nothing_but_the_key(self):
        peers = "--peers=" + ",".join(f"{name}:33123" for name in self.hosts)
        volumes, ports = [], []
        for host in self.hosts.values():
            self.assertIn(peers, host["command"])
            self.assertEqual(host["secrets"], ["cluster_key"])
            self.assertIn("--cluster-key-file=/run/secrets/cluster_key", host["command"])
            volumes += [volume.split(":")[0] for volume in host["volumes"]]
            ports += host["ports"]
        self.assertEqual(set(volumes), set(self.cluster["volumes"]))
        self.assertEqual(len(volumes), len(self.hosts))
        self.assertEqual(len(set(port.split(":")[1] for port in ports)), len(ports))
        self.assertTrue(all(port.startswith("127.0.0.1:") for port in ports))

    def test_the_cluster_is_formed_of_all_hosts(self):
        init = self.cluster["services"]["init"]
        self.assertEqual(init["entrypoint"], ["form-cluster", *(f"http://{name}:9001" for name in self.hosts)])
        self.assertEqual(set(init["depends_on"]), set(self.hosts))
        copied = (tree.DEPLOY / "container/Containerfile").read_text()
        self.assertIn("deploy/container/form-cluster /usr/bin/form-cluster", copied)

    def test_the_key_goes_neither_into_the_repository_nor_into_the_image(self):
        self.assertIn("cluster.key", self.cluster["secrets"]["cluster_key"]["file"])
        for file in (".gitignore", ".dockerignore"):
            self.assertTrue(re.search(r"^\S*\*\*/cluster\.key$", (tree.ROOT / file).read_text(), re.M), file)


if __name__ == "__main__":
    unittest.main()
