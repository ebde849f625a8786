"""What lies on a node's disk is damaged while redis-py clients go on: the node gets its data back from the others and is a member like any
other again. Three real processes on loopback; then one alone, which must refuse and lose nothing.

Held against it: no acknowledged count is lost; clients of the other nodes see no error; the healed node serves, and with one of the others
is a quorum; all nodes compare their states and agree; a node alone names the file, and starts again once that is whole.

Usage: damaged.py BINARY. Needs redis-py."""

import contextlib
import os
import subprocess
import sys
import tempfile
import threading

import redis

from plain_client import connect
from processes import answers, free_port, started, wait_until
from three_nodes import Cluster

BINARY = sys.argv[1]
# So little that snapshots are taken while it runs.
FLAGS = ["--snapshot-log-bytes", "1mb"]


def damage(directory, kind):
    """Overwrites bytes in the middle of what the newest file of a kind holds."""
    name = max(name for name in os.listdir(directory) if name.startswith(kind))
    path = os.path.join(directory, name)
    with open(path, "r+b") as file:
        content = file.read().rstrip(b"\0")
        file.seek(len(content) // 2)
        file.write(b"\xa5" * 64)
    return name


class Counting(threading.Thread):
    """Counts on one node until it is told to end; an error is one too many."""

    def __init__(self, port, key):
        super().__init__(daemon=True)
        self.client, self.key, self.count, self.error, self.ends = connect(port), key, 0, None, False

    def run(self):
        try:
            while not self.ends:
                self.client.incr(self.key)
                self.client.set(f"{self.key}:{self.count % 1000}", "x" * 500)
                self.count += 1
        except redis.RedisError as error:
            self.error = error


def three(cluster, directory):
    def end(id):
        cluster.processes[id - 1].kill()
        cluster.processes[id - 1].wait()

    def run(id):
        cluster.start(id - 1)
        cluster.wait()

    ports, third = cluster.ports, f"{directory}/2"
    clients = [connect(port) for port in ports]
    counting = [Counting(ports[id - 1], f"count:{id}") for id in (1, 2)]
    for thread in counting:
        thread.start()
    for kind in ("log-", "snapshot-", "log-"):
        wait_until("a snapshot is on node 3's disk", lambda: any(n.startswith("snapshot-") for n in os.listdir(third)))
        end(3)
        name = damage(third, kind)
        run(3)
        wait_until("nothing is left to do", lambda: clients[2].info("raft")["raft_rejoining"] == 0)
        aside = [name for name in os.listdir(third) if name.startswith("damaged-")]
        print(f"node 3 came back after {name} was damaged; set aside: {len(aside)} files")
    for thread in counting:
        thread.ends = True
        thread.join()
        assert thread.error is None, thread.error
    # Node 1 goes: the healed node and node 2 are a quorum, and node 3 a voter.
    end(1)
    for thread in counting:
        got = int(clients[2].get(thread.key))
        assert got == thread.count, f"{thread.key}: {thread.count} acknowledged, {got} found"
    clients[2].set("after", "1")
    run(1)
    for number in range(400):
        clients[0].set("more", number)
    checked = lambda: [client.info("raft")["raft_checked_index"] for client in clients]
    wait_until("all have compared their states", lambda: min(checked()) > 0)
    digests = lambda: {client.info("raft")["raft_state_digest"] for client in clients}
    wait_until("all are equal", lambda: len(digests()) == 1)
    print(f"{sum(thread.count for thread in counting)} counts, none lost; states compared up to entry {min(checked())}")


def alone(start, directory):
    port, data = free_port(), f"{directory}/alone"
    words = [BINARY, "server", "--port", str(port), "--dir", data]
    process = start(words)
    wait_until("it serves", lambda: answers(port))
    with contextlib.closing(connect(port)) as client:
        for number in range(200):
            client.set(f"key:{number}", "x" * 100)
    process.kill()
    process.wait()
    name = max(name for name in os.listdir(data) if name.startswith("log-"))
    with open(os.path.join(data, name), "rb") as file:
        whole = file.read()
    damage(data, "log-")
    refused = subprocess.run(words, capture_output=True, text=True, timeout=60)
    said = refused.stdout + refused.stderr
    assert refused.returncode > 0 and name in said and "damaged at byte" in said, said
    with open(os.path.join(data, name), "wb") as file:
        file.write(whole)
    start(words)
    wait_until("it serves again", lambda: answers(port))
    with contextlib.closing(connect(port)) as client:
        assert client.dbsize() == 200
    print("a node alone refused, and has all once its file is whole")


with tempfile.TemporaryDirectory(prefix="steadfast-damaged-") as directory:
    cluster = Cluster(BINARY, directory, FLAGS)
    try:
        three(cluster, directory)
    finally:
        cluster.end()
with started() as (directory, start):
    alone(start, directory)
