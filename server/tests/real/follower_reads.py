"""How many linearizable reads a follower answers, compared with the leader. Three nodes on loopback with default settings, redis-benchmark
against one node at a time, alternating; medians.

Usage: follower_reads.py BINARY [ROUNDS]. Needs redis-benchmark. Prints figures; asserts nothing about them."""

import statistics
import sys
import tempfile

from benchmark import throughput
from resp import Client
from three_nodes import Cluster

BINARY = sys.argv[1]
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 5
# (connections, pipeline, requests)
LOADS = ((1, 1, 20_000), (50, 1, 100_000), (50, 16, 1_000_000))


def main():
    with tempfile.TemporaryDirectory(prefix="steadfast-reads-") as directory:
        cluster = Cluster(BINARY, directory)
        try:
            leader = cluster.leader()
            follower = (leader + 1) % 3
            assert Client(cluster.ports[leader]).call("SET", "measured", "x" * 256) == "+OK"
            for connections, pipeline, requests in LOADS:
                figures = {leader: [], follower: []}
                for _ in range(ROUNDS):
                    for node, found in figures.items():
                        found.append(throughput(cluster.ports[node], "-c", connections, "-P", pipeline, "-n", requests, "GET", "measured"))
                one, other = (statistics.median(figures[node]) for node in (leader, follower))
                assert cluster.leader() == leader, "leadership moved meanwhile: run it again"
                print(f"{connections} connections, pipeline {pipeline}: leader {one:.0f}, follower {other:.0f} reads a second: {other / one:.2f}", flush=True)
        finally:
            cluster.end()


main()
