"""A follower that was away for very many writes comes back while clients go on: what the leader pays for it. Three nodes on loopback; the
CPU time of the leader's process for each request of an open-loop load, before and while the follower catches up.

Usage: catch_up.py BINARY OPEN_LOOP [WRITES] [REQUESTS_A_SECOND]. OPEN_LOOP is `cargo build --release --example open_loop`. Needs
redis-benchmark. Prints figures; asserts only that the follower catches up."""

import os
import re
import subprocess
import sys
import tempfile
import time

from benchmark import throughput
from processes import answers, wait_until
from resp import Client
from three_nodes import Cluster

BINARY, OPEN_LOOP = sys.argv[1], sys.argv[2]
WRITES = int(sys.argv[3]) if len(sys.argv) > 3 else 1_000_000
RATE = int(sys.argv[4]) if len(sys.argv) > 4 else 5000
SECONDS, KEYS = 10, 1_000_000


def cpu(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def field(port, name):
    try:
        return int(Client(port).info(name))
    except (OSError, ValueError, TypeError):
        return 0


def load(port):
    return subprocess.Popen([OPEN_LOOP, str(port), str(RATE), str(SECONDS), str(KEYS)], stdout=subprocess.PIPE, text=True)


def paid(cluster, leader, during=None):
    """CPU microseconds of the leader for a request, for as long as `during` runs beside the load, and how long that is."""
    pid = cluster.processes[leader].pid
    running = load(cluster.ports[leader])
    time.sleep(1)
    before, began = cpu(pid), time.monotonic()
    if during:
        during()
    else:
        time.sleep(SECONDS - 2)
    took = time.monotonic() - began
    spent = cpu(pid) - before
    line = running.communicate()[0].strip()
    assert running.returncode == 0
    return spent / (RATE * took) * 1e6, took, line


def main():
    with tempfile.TemporaryDirectory(prefix="steadfast-catch-up-") as directory:
        cluster = Cluster(BINARY, directory)
        try:
            leader = cluster.leader()
            away = (leader + 1) % 3
            port = cluster.ports[leader]

            def write(count):
                throughput(port, "-c", 50, "-P", 16, "-n", count, "-r", KEYS, "-d", 100, "-t", "set")

            write(KEYS // 2)
            usual = [paid(cluster, leader)[0] for _ in range(3)]
            cluster.processes[away].kill()
            cluster.processes[away].wait()
            write(WRITES)
            alone = [paid(cluster, leader)[0] for _ in range(3)]

            def come_back():
                cluster.start(away)
                wait_until("the follower answers", lambda: answers(cluster.ports[away]))
                wait_until("it has caught up", lambda: field(cluster.ports[away], "raft_applied_index") + 2000 > field(port, "raft_commit_index") > 0, 300)

            catching, took, line = paid(cluster, leader, come_back)
            usual, alone = (sorted(found)[1] for found in (usual, alone))
            print(f"leader's CPU for a request: {usual:.1f} us with both followers, {alone:.1f} us with one, {catching:.1f} us while the other catches up")
            print(f"that is {catching / usual:.2f} times the usual; it took {took:.1f} s to catch up with {WRITES} writes; clients: {line}", flush=True)
            assert re.match("p50", line) and cluster.leader() == leader, "leadership moved meanwhile: run it again"
        finally:
            cluster.end()


main()
