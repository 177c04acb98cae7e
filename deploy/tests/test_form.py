"""The script that forms the cluster, on real daemons on this machine. The variable DAEMON names it."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import tree

BINARY = os.environ.get("DAEMON")
SCRIPT = tree.DEPLOY / "container/form-cluster"
# A debug build compiles its plugins for a while.
START_WITHIN = 300


def free_ports(count):
    """Ports nobody listens on: a host's peers must be known before it starts."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Host:
    """One daemon with its directory."""

    def __init__(self, folder, number, p2p, grpc):
        self.folder, self.number = Path(folder), number
        self.data, self.log = self.folder / f"data-{number}", self.folder / f"log-{number}"
        self.url = f"http://127.0.0.1:{grpc[number]}"
        peers = ",".join(f"127.0.0.1:{port}" for port in p2p)
        self.line = [
            BINARY, "serve", "--node-id", f"nexus-{number}", "--data-path", str(self.data), "--http-port", "0",
            "--metrics-port", "0", "--grpc-port", str(grpc[number]), "--p2p-port", str(p2p[number]), "--peers", peers,
            "--cluster-key-file", str(self.folder / "cluster.key"),
        ]  # fmt: skip
        self.process = None

    def start(self):
        with self.log.open("w") as log:
            self.process = subprocess.Popen(self.line, stdout=subprocess.PIPE, stderr=log, text=True)
        return self

    def ready(self):
        """Waits for the line that says where it listens; it comes, or the process ends."""
        line = self.process.stdout.readline()
        if not line.startswith("nexus ready "):
            raise AssertionError(f"no start: {line!r}\n{self.log.read_text()}")
        return self

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def status(self):
        line = [BINARY, "--server", self.url, "--output", "json", "cluster", "status"]
        return json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout)


def form(hosts, within=START_WITHIN):
    """How the script ended, and what it said."""
    settings = {**os.environ, "NEXUS": BINARY, "NEXUS_FORM_WITHIN": str(within)}
    line = [str(SCRIPT), *(host.url for host in hosts)]
    ran = subprocess.run(line, env=settings, capture_output=True, text=True, timeout=START_WITHIN)
    return ran.returncode, ran.stderr


@unittest.skipUnless(BINARY, "DAEMON names no daemon; cargo xtask deploy does")
class Form(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="nexus-form-")
        self.addCleanup(shutil.rmtree, self.folder)
        key = Path(self.folder) / "cluster.key"
        key.touch(mode=0o600)
        key.write_text("correct horse battery staple\n")
        ports = free_ports(6)
        self.hosts = [Host(self.folder, number, ports[:3], ports[3:]) for number in range(3)]
        for host in self.hosts:
            self.addCleanup(host.stop)

    def test_one_cluster_comes_of_it_however_often_it_runs(self):
        for host in self.hosts[:2]:
            host.start()
        for host in self.hosts[:2]:
            host.ready()

        # Whoever does not answer may be a member of a cluster: none is formed without it.
        ended, told = form(self.hosts, within=1)
        self.assertEqual((ended, [host.status()["standing"] for host in self.hosts[:2]]), (6, ["waiting"] * 2), told)

        self.hosts[2].start().ready()
        ended, told = form(self.hosts)
        self.assertEqual(ended, 0, told)
        before = [host.status() for host in self.hosts]
        self.assertEqual(len({one["cluster_id"] for one in before}), 1)
        self.assertEqual([one["standing"] for one in before], ["member"] * 3)
        self.until_three_vote()

        ended, told = form(self.hosts)
        self.assertEqual(ended, 0, told)
        self.assertNotIn("joined", told)
        after = [host.status() for host in self.hosts]
        for old, new in zip(before, after):
            self.assertEqual((old["cluster_id"], old["member"]), (new["cluster_id"], new["member"]))

        # A host that lost its disk forms no second cluster, and does not slip into its old place.
        self.hosts[0].stop()
        shutil.rmtree(self.hosts[0].data)
        self.hosts[0].start().ready()
        ended, told = form(self.hosts)
        self.assertEqual(ended, 4, told)
        self.assertEqual(self.hosts[0].status()["standing"], "waiting", told)
        self.assertIn("nexus-0", told)

    def until_three_vote(self):
        """Until every host knows so: before that the loss of the first one's disk ends the ledger."""
        until = time.monotonic() + 60
        vote = lambda host: [member["vote"] for member in host.status()["members"]]
        while any(vote(host) != ["voter"] * 3 for host in self.hosts):
            self.assertLess(time.monotonic(), until, "not every host knows three voters")
            time.sleep(0.1)

    def test_a_wrong_command_line_is_told(self):
        for arguments, settings in ([], {}), (["http://127.0.0.1:1"], {"NEXUS_FORM_WITHIN": "soon"}):
            ran = subprocess.run([str(SCRIPT), *arguments], env={**os.environ, **settings}, capture_output=True)
            self.assertEqual(ran.returncode, 2)

    def test_a_host_that_is_alone_is_told(self):
        alone = Host(self.folder, 0, [1], free_ports(1))
        at = alone.line.index("--p2p-port")
        del alone.line[at:]
        self.addCleanup(alone.stop)
        alone.start().ready()
        ended, told = form([alone])
        self.assertEqual(ended, 4)
        self.assertIn("no peers configured", told)

    def test_the_example_of_a_cluster_is_a_configuration(self):
        line = [BINARY, "serve", "--check-config", "--config", str(tree.DEPLOY / "examples/cluster-core-1.yaml")]
        key = ["--cluster-key-file", str(Path(self.folder) / "cluster.key")]
        own = {name: value for name, value in os.environ.items() if not name.startswith("NEXUS_")}
        ran = subprocess.run(line + key, env=own, capture_output=True, text=True)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
