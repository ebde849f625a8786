"""How long a fail-over takes, and what clients of the other nodes see of it. Three nodes on loopback with default settings; the leader is
killed, told to end, or asked to step down, again and again, while a client of each node that stays up writes without pause.

Usage: failover.py BINARY [ROUNDS]. Prints medians; asserts that nobody was refused, and that nothing acknowledged was lost or doubled."""

import statistics
import sys
import tempfile
import threading
import time

from processes import wait_until
from resp import Client
from three_nodes import Cluster

BINARY = sys.argv[1]
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 20


class Writer(threading.Thread):
    """Counts without pause at one node, and notes when each answer came."""

    def __init__(self, port, key):
        super().__init__(daemon=True)
        self.client, self.key, self.answered, self.refused, self.ends = Client(port), key, [], [], False
        self.start()

    def run(self):
        while not self.ends:
            sent = time.monotonic()
            reply = self.client.call("INCR", self.key)
            (self.answered if reply.startswith(":") else self.refused).append((sent, time.monotonic(), reply))

    def end(self):
        self.ends = True
        self.join()


def asked_to_step_down(cluster, leader):
    assert Client(cluster.ports[leader]).call("RAFT", "STEPDOWN") == "+OK"
    wait_until("another leads", lambda: cluster.leader() != leader)


def killed(cluster, leader):
    cluster.processes[leader].kill()
    cluster.processes[leader].wait()


def told_to_end(cluster, leader):
    cluster.processes[leader].terminate()
    cluster.processes[leader].wait()


def round_of(cluster, number, end):
    """Ends the leader, or its leadership; answers the milliseconds from then to the first answer to a later write, and the longest gap,
    each the worst of the nodes that stay up."""
    leader = cluster.leader()
    stays = end is asked_to_step_down
    nodes = [node for node in range(3) if node != leader or stays]
    writers = [Writer(cluster.ports[node], f"{end.__name__}:{number}:{node}") for node in nodes]
    wait_until("all write", lambda: all(len(writer.answered) > 20 for writer in writers))
    ended = time.monotonic()
    end(cluster, leader)
    # Answers of a killed leader may still be on their way: they count when their write was sent after its end.
    ended = time.monotonic() if end is killed else ended
    wait_until("all write again", lambda: all(writer.answered[-1][0] > ended + 0.2 for writer in writers))
    for writer in writers:
        writer.end()
        assert not writer.refused, f"a client of a node that stayed up was refused: {writer.refused[0]}"
        count = len(writer.answered)
        assert writer.client.call("GET", writer.key) == str(count), "an acknowledged write was lost or doubled"
    first = max(min(done for sent, done, _ in writer.answered if done > ended) for writer in writers)
    gaps = [max(b[1] - a[1] for a, b in zip(writer.answered, writer.answered[1:])) for writer in writers]
    if not stays:
        cluster.start(leader)
        cluster.wait()
    return (first - ended) * 1000, max(gaps) * 1000


def main():
    with tempfile.TemporaryDirectory(prefix="steadfast-failover-") as directory:
        cluster = Cluster(BINARY, directory)
        try:
            for end in (killed, told_to_end, asked_to_step_down):
                rounds = [round_of(cluster, number, end) for number in range(ROUNDS)]
                first, gaps = ([pair[at] for pair in rounds] for at in (0, 1))
                print(
                    f"the leader is {end.__name__.replace('_', ' ')}, {ROUNDS} rounds: first answer after {statistics.median(first):.0f} ms (median, "
                    f"{min(first):.0f} to {max(first):.0f}); longest gap {statistics.median(gaps):.0f} ms (median, {min(gaps):.0f} to "
                    f"{max(gaps):.0f}); nobody was refused",
                    flush=True,
                )
        finally:
            cluster.end()


main()
