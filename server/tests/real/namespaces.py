"""Three hosts in network namespaces of their own, on one bridge: packets between them are really lost. Needs Linux, root and iproute2."""

import contextlib
import ctypes
import os
import subprocess

import resp
from processes import started, wait_until

NODES = (1, 2, 3)
PEERS, CLIENTS = 7000, 6379
CLONE_NEWNET = 0x40000000
TAG = f"sf{os.getpid() % 10000}"


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def namespace(node):
    return f"{TAG}n{node}"


def place(node):
    """Where its peers reach the node of a host."""
    return f"10.77.0.{node}:{PEERS}"


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


    def prepare_pairs(self):
        """From now on `lose` works, and `hear` does not."""
        for node in NODES:
            port = f"port{node}"
            self.at_hub("qdisc", "add", "dev", port, "root", "handle", "1:", "htb", "default", "1")
            for number in (1, 3):
                self.at_hub("class", "add", "dev", port, "parent", "1:", "classid", f"1:{number}", "htb", "rate", "10gbit", "quantum", "60000")
            self.at_hub("qdisc", "add", "dev", port, "parent", "1:3", "blackhole")

    def lose(self, sender, receiver, lost):
        """All packets from one node to another are lost from now on, without a word, or none."""
        where = ["dev", f"port{receiver}", "parent", "1:", "protocol", "ip", "prio", str(10 + sender)]
        match = ["u32", "match", "ip", "src", f"10.77.0.{sender}/32", "flowid", "1:3"]
        self.at_hub("filter", "add" if lost else "del", *where, *(match if lost else []))

    def at_hub(self, *words):
        subprocess.run(["ip", "netns", "exec", f"{TAG}hub", "tc", *words], check=True)

    def weather(self, *qdisc):
        """What every node's packets go through on their way out; answers whether the system knows it."""
        known = True
        for node in NODES:
            words = ["ip", "netns", "exec", namespace(node), "tc", "qdisc", "replace", "dev", "eth0", "root", *qdisc]
            known &= subprocess.run(words, check=False, capture_output=True).returncode == 0
        return known


class Client(resp.Client):
    def __init__(self, node):
        with inside(node):
            super().__init__(CLIENTS)


def serves(node):
    with contextlib.suppress(OSError):
        return Client(node).call("PING") == "+PONG"
    return False


class Cluster:
    """A node on each host."""

    def __init__(self, binary, directory, start, flags):
        members = ",".join(f"{node}={place(node)}" for node in NODES)
        self.start_process, self.processes, self.words, self.ids = start, {}, {}, {}
        self.binary, self.directory, self.flags = binary, directory, flags
        for node in NODES:
            self.name(node, node, members)
            self.start(node)
        for node in NODES:
            wait_until(f"node {node} serves", lambda node=node: serves(node))

    def name(self, node, id, members, *joins):
        """What runs on a host from its next start on."""
        self.ids[node] = id
        words = [self.binary, "server", "--node-id", str(id), "--cluster", members, "--dir", f"{self.directory}/{id}", "--port", str(CLIENTS)]
        self.words[node] = ["ip", "netns", "exec", namespace(node), *words, *joins, *self.flags]

    def replace(self, node):
        """The host gets an empty disk, and a node with a new id on it takes the place of the one that is gone."""
        old, new = self.ids[node], max(self.ids.values()) + 1
        self.name(node, new, f"{new}={place(node)}", "--join")
        self.start(node)
        other = next(other for other in NODES if other != node)
        self.tool(other, "replace", str(old), f"{new}={place(node)}")

    def tool(self, node, *words):
        """An operator's command, at a node."""
        command = ["ip", "netns", "exec", namespace(node), self.binary, "cluster", "--port", str(CLIENTS), *words]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"

    def start(self, node):
        self.processes[node] = self.start_process(self.words[node])


@contextlib.contextmanager
def cluster(binary, *flags):
    with Network() as network, started() as (directory, start):
        yield network, Cluster(binary, directory, start, flags)
