"""Three nodes on loopback with default settings."""

import subprocess

from processes import answers, free_port, wait_until
from resp import Client


class Cluster:
    def __init__(self, binary, directory, flags=()):
        self.ports = [free_port() for _ in range(3)]
        members = ",".join(f"{node + 1}=127.0.0.1:{free_port()}" for node in range(3))
        self.words = [
            [binary, "server", "--node-id", str(node + 1), "--cluster", members, "--port", str(port), "--dir", f"{directory}/{node}", *flags]
            for node, port in enumerate(self.ports)
        ]
        self.processes = [None] * 3
        for node in range(3):
            self.start(node)
        self.wait()

    def start(self, node):
        self.processes[node] = subprocess.Popen(self.words[node], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def end(self):
        for process in self.processes:
            process.kill()
            process.wait()

    def wait(self):
        for port in self.ports:
            wait_until(f"a server answers on port {port}", lambda port=port: answers(port))

    def leader(self):
        found = []
        wait_until("somebody leads", lambda: found.extend(n for n, port in enumerate(self.ports) if leads(port)) or found)
        return found[0]


def leads(port):
    try:
        return Client(port).info("raft_role") == "leader"
    except OSError:
        return False
