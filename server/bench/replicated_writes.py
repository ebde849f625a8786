#!/usr/bin/env python3
"""Durable writes on three nodes against etcd and Redis, in one run, taking turns: every turn starts three new servers on one core, and
the load is on the other.

    replicated_writes.py BINARY CLOSED_LOOP [ROUNDS] [SECONDS]

CLOSED_LOOP is `cargo build --release --example closed_loop`. Needs etcd and etcdctl (Debian's etcd-server and etcd-client) and redis-server.
What an answer promises: steadfast and etcd have the write in the synced logs of a majority. `redis, WAIT 1` has synced it on the primary and
one replica has received it; a fail-over can lose it nevertheless. etcd is loaded twice, with a connection for each client and with ten
clients on each connection, and the faster counts. Prints medians, their ratios, and how busy the load was; asserts nothing about them."""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/real"))
from processes import answers, free_port, wait_until
from resp import Client
from three_nodes import leads

BINARY, CLOSED_LOOP = sys.argv[1], sys.argv[2]
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 5
SECONDS = int(sys.argv[4]) if len(sys.argv) > 4 else 4
CONNECTIONS = (50, 200)
NODES = range(3)


class Servers:
    """Three servers on the first core; knows who of them takes writes."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="steadfast-writes-")
        self.ports, self.peers = [free_port() for _ in NODES], [free_port() for _ in NODES]
        self.processes = []
        for node in NODES:
            place = f"{self.directory.name}/{node}"
            os.mkdir(place)
            words = ["taskset", "-c", "0", *self.words(node, place)]
            self.processes.append(subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        try:
            self.target = self.ready()
        except BaseException:
            self.end()
            raise

    def end(self):
        for process in self.processes:
            process.kill()
            process.wait()
        self.directory.cleanup()


class Steadfast(Servers):
    KINDS = (("set",),)

    def words(self, node, place):
        members = ",".join(f"{other + 1}=127.0.0.1:{port}" for other, port in enumerate(self.peers))
        return [BINARY, "server", "--node-id", str(node + 1), "--cluster", members, "--port", str(self.ports[node]), "--dir", place]

    def ready(self):
        for port in self.ports:
            wait_until("a node answers", lambda port=port: answers(port))
        found = []
        wait_until("somebody leads", lambda: found.extend(port for port in self.ports if leads(port)) or found)
        return found[0]


class Redis(Servers):
    KINDS = (("wait",),)

    def words(self, node, place):
        follows = ["--replicaof", "127.0.0.1", str(self.ports[0])] if node else []
        return ["redis-server", "--port", str(self.ports[node]), "--dir", place, "--save", "", "--appendonly", "yes", "--appendfsync", "always",
                "--auto-aof-rewrite-percentage", "0", *follows]

    def ready(self):
        for port in self.ports:
            wait_until("a server answers", lambda port=port: answers(port))
        wait_until("both replicas follow", lambda: self.online() == 2)
        return self.ports[0]

    def online(self):
        return sum("state=online" in (Client(self.ports[0]).info(f"slave{number}") or "") for number in range(2))


class Etcd(Servers):
    KINDS = (("etcd", 1), ("etcd", 10))

    def words(self, node, place):
        url = "http://127.0.0.1:{}".format
        members = ",".join(f"n{other}={url(port)}" for other, port in enumerate(self.peers))
        return ["etcd", "--name", f"n{node}", "--data-dir", place, "--listen-client-urls", url(self.ports[node]), "--advertise-client-urls",
                url(self.ports[node]), "--listen-peer-urls", url(self.peers[node]), "--initial-advertise-peer-urls", url(self.peers[node]),
                "--initial-cluster", members, "--initial-cluster-state", "new", "--log-level", "error"]

    def ready(self):
        found = []
        wait_until("etcd has a leader", lambda: found.extend(self.leaders()) or found)
        return found[0]

    def leaders(self):
        places = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        words = ["etcdctl", "--endpoints", places, "endpoint", "status", "-w", "json"]
        told = subprocess.run(words, check=False, capture_output=True, text=True, env={**os.environ, "ETCDCTL_API": "3"}).stdout
        try:
            known = [(one["Endpoint"], one["Status"]) for one in json.loads(told)]
        except ValueError:
            return []
        return [int(place.rsplit(":", 1)[1]) for place, status in known if status.get("leader") == status["header"]["member_id"]]


def load(port, kind, connections):
    """Writes a second, what was printed, and the share of its core that the load took."""
    streams = kind[1] if len(kind) > 1 else 1
    words = [CLOSED_LOOP, kind[0], port, connections // streams, SECONDS, 100_000, streams]
    began, before = time.monotonic(), os.times()
    line = subprocess.run(["taskset", "-c", "1", *map(str, words)], check=True, capture_output=True, text=True).stdout.strip()
    after = os.times()
    busy = after.children_user + after.children_system - before.children_user - before.children_system
    return float(re.match(r"\d+", line)[0]), line, busy / (time.monotonic() - began)


def main():
    systems = {"steadfast": Steadfast, "etcd": Etcd, "redis, WAIT 1": Redis}
    found = {}
    for turn in range(ROUNDS):
        for name, system in systems.items():
            servers = system()
            try:
                load(servers.target, system.KINDS[0], CONNECTIONS[0])  # warm
                for connections in CONNECTIONS:
                    for kind in system.KINDS:
                        rate, line, busy = load(servers.target, kind, connections)
                        found.setdefault((connections, name, kind), []).append(rate)
                        print(f"round {turn + 1}, {name} {kind}, {connections} clients: {line}; load {busy:.0%} busy", flush=True)
            finally:
                servers.end()
    for connections in CONNECTIONS:
        best = {name: max(statistics.median(rates) for (c, n, _), rates in found.items() if (c, n) == (connections, name)) for name in systems}
        for name, rate in best.items():
            print(f"{connections} clients: {name} {rate:.0f} writes a second; steadfast has {best['steadfast'] / rate:.2f} times as many")


main()
