"""A command that keeps a node busy for seconds costs latency, and never leadership: raft has threads of its own. Three nodes on loopback
with default settings; a transaction of scripts that all three run, and KEYS over very many keys on the leader.

Usage: busy.py BINARY [KEYS]. Prints how long each took; asserts that nobody was elected meanwhile."""

import sys
import tempfile
import time

from resp import Client
from three_nodes import Cluster

BINARY = sys.argv[1]
KEYS = int(sys.argv[2]) if len(sys.argv) > 2 else 200_000
KEYS_AT_ONCE = 1000
# Each stays within a script's budget; together they are one step of the state machine, below the request time-out.
SCRIPT = "local n = 0 for i = 1, 10000000 do n = n + i % 7 end return n"
SCRIPTS = 22


def scripts(client):
    assert client.call("MULTI") == "+OK"
    for _ in range(SCRIPTS):
        assert client.call("EVAL", SCRIPT, "0") == "+QUEUED"
    return lambda: client.call("EXEC")


def keys(client):
    for first in range(0, KEYS, KEYS_AT_ONCE):
        pairs = [word for key in range(first, first + KEYS_AT_ONCE) for word in (f"key:{key}", "x")]
        assert client.call("MSET", *pairs) == "+OK"
    return lambda: client.call("KEYS", "*:none*")


def main():
    with tempfile.TemporaryDirectory(prefix="steadfast-busy-") as directory:
        cluster = Cluster(BINARY, directory)
        try:
            leader = cluster.leader()
            client, watcher, other = (Client(cluster.ports[node]) for node in (leader, leader, (leader + 1) % 3))
            for what, prepare in (("a transaction of scripts", scripts), (f"KEYS over {KEYS} keys", keys)):
                run = prepare(client)
                term = watcher.info("raft_term")
                began = time.monotonic()
                reply = run()
                took = time.monotonic() - began
                assert isinstance(reply, list), reply
                assert other.call("SET", "after", "it") == "+OK"
                assert (watcher.info("raft_role"), watcher.info("raft_term")) == ("leader", term), "somebody was elected"
                print(f"ok: {what} took {took:.1f} s, and nobody was elected", flush=True)
        finally:
            cluster.end()


main()
