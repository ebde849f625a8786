"""Three nodes in network namespaces of their own, with real packets lost between them: a node that is cut off, wholly or in one
direction, answers honestly, and catches up by itself once the network heals.

Usage: partition.py BINARY. Needs Linux, root and iproute2. Each check prints a line; the last line counts them."""

import contextlib
import ctypes
import os
import subprocess
import sys

import resp
from processes import started, wait_until

BINARY = sys.argv[1]
NODES = (1, 2, 3)
PEERS, CLIENTS = 7000, 6379
CLONE_NEWNET = 0x40000000
TAG = f"sf{os.getpid() % 10000}"


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def namespace(node):
    return f"{TAG}n{node}"


def loss(cut, *where):
    """All packets that leave by this device are lost from now on, or none."""
    words = ["add", *where, "root", "blackhole"] if cut else ["del", *where, "root"]
    subprocess.run(["tc", "qdisc", *words], check=True)


@contextlib.contextmanager
def inside(node):
    """Sockets made here by this thread belong to the namespace of the node."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{namespace(node)}") as away:
        if libc.setns(away.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            if libc.setns(home.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")


class Network:
    """A bridge in a namespace of its own, and a host for each node on it."""

    def __enter__(self):
        ip("netns", "add", f"{TAG}hub")
        ip("-n", f"{TAG}hub", "link", "add", "hub", "type", "bridge")
        ip("-n", f"{TAG}hub", "link", "set", "hub", "up")
        for node in NODES:
            ip("netns", "add", namespace(node))
            ip("-n", namespace(node), "link", "add", "eth0", "type", "veth", "peer", "name", f"port{node}", "netns", f"{TAG}hub")
            ip("-n", f"{TAG}hub", "link", "set", f"port{node}", "master", "hub", "up")
            ip("-n", namespace(node), "address", "add", f"10.77.0.{node}/24", "dev", "eth0")
            ip("-n", namespace(node), "link", "set", "eth0", "up")
            ip("-n", namespace(node), "link", "set", "lo", "up")
        return self

    def __exit__(self, *_):
        for name in [namespace(node) for node in NODES] + [f"{TAG}hub"]:
            subprocess.run(["ip", "netns", "delete", name], check=False)

    def speak(self, node, may):
        with inside(node):
            loss(not may, "dev", "eth0")

    def hear(self, node, may):
        subprocess.run(
            ["ip", "netns", "exec", f"{TAG}hub", "tc", "qdisc"]
            + (["del", "dev", f"port{node}", "root"] if may else ["add", "dev", f"port{node}", "root", "blackhole"]),
            check=True,
        )


class Client(resp.Client):
    def __init__(self, node):
        with inside(node):
            super().__init__(CLIENTS)


def is_not_applied(reply):
    return reply.startswith(("-CLUSTERDOWN ", "-TRYAGAIN "))


@contextlib.contextmanager
def cluster():
    members = ",".join(f"{node}=10.77.0.{node}:{PEERS}" for node in NODES)
    with Network() as network, started() as (directory, start):
        for node in NODES:
            words = [BINARY, "server", "--node-id", str(node), "--cluster", members, "--dir", f"{directory}/{node}"]
            words += ["--port", str(CLIENTS), "--request-timeout", "2s"]
            start(["ip", "netns", "exec", namespace(node), *words])
        for node in NODES:
            wait_until(f"node {node} serves", lambda node=node: serves(node))
        yield network


def serves(node):
    with contextlib.suppress(OSError):
        return Client(node).call("PING") == "+PONG"
    return False


def lonely_node(network, lonely, cut, heal):
    """Cuts a node off and heals it again; answers how its writes were answered meanwhile."""
    other = Client(next(node for node in NODES if node != lonely))
    client = Client(lonely)
    assert client.call("SET", "k", "before") == "+OK"
    cut(network, lonely)
    client.send("SET", "lonely", "at once")
    wait_until("the majority goes on", lambda: other.call("SET", "k", "during") == "+OK")
    outcomes = [client.receive()]
    read = client.call("GET", "k")
    assert is_not_applied(read), f"a read without a quorum answered {read}"

    def write_is_refused():
        outcomes.append(client.call("SET", "lonely", "later"))
        return is_not_applied(outcomes[-1])

    wait_until("the lonely node knows that it has no quorum", write_is_refused)
    for outcome in outcomes:
        assert is_not_applied(outcome) or outcome.startswith("-UNKNOWN "), outcome
    assert other.call("SET", "k", "after") == "+OK"
    heal(network, lonely)

    def caught_up():
        reply = client.call("GET", "k")
        assert reply == "after" or is_not_applied(reply), f"stale after healing: {reply}"
        return reply == "after"

    wait_until("it catches up by itself", caught_up)
    if all(map(is_not_applied, outcomes)):
        assert client.call("GET", "lonely") == "$-1", "a write that was refused is there"
    other.call("DEL", "lonely")
    wait_until("all nodes are equal", lambda: len({tuple(map(Client(node).info, FACTS)) for node in NODES}) == 1)
    return [outcome.split()[0][1:] for outcome in outcomes]


FACTS = ("raft_applied_index", "raft_state_digest")


def cut_both(network, node):
    network.speak(node, False)
    network.hear(node, False)


def heal_both(network, node):
    network.speak(node, True)
    network.hear(node, True)


WAYS = {
    "cut off": (cut_both, heal_both),
    "unheard": (lambda network, node: network.speak(node, False), lambda network, node: network.speak(node, True)),
    "deaf": (lambda network, node: network.hear(node, False), lambda network, node: network.hear(node, True)),
}


def main():
    checks = 0
    with cluster() as network:
        for way, (cut, heal) in WAYS.items():
            for role in ("leader", "follower"):
                roles = {node: Client(node).info("raft_role") for node in NODES}
                lonely = next(node for node in NODES if roles[node] == role)
                outcomes = lonely_node(network, lonely, cut, heal)
                checks += 1
                print(f"ok: a {role} that is {way} is honest and comes back (its writes: {', '.join(outcomes)})", flush=True)
    print(f"{checks} passed, 0 failed")


main()
