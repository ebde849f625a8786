"""A loopback and a hosts file that nobody else sees, and that go with this process, however it ends. Needs Linux, root and iproute2."""

import ctypes
import os
import subprocess
import tempfile

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
PORT, PEERS = 6379, 7000
HOSTS = "/etc/hosts"
LINE_BYTES = 40


def enter():
    """Must be called before any thread starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.NamedTemporaryFile("w") as hosts:
        hosts.write("127.0.0.1 localhost".ljust(LINE_BYTES - 1) + "\n")
        hosts.flush()
        subprocess.run(["mount", "--bind", hosts.name, HOSTS], check=True)


def address(node):
    return f"127.0.0.{node}"


def point(node):
    """The name `redis` means this node from now on. Lines keep their length, and one write changes all: nobody reads half a file."""
    line = f"{address(node)} redis".ljust(LINE_BYTES - 1) + "\n"
    hosts = os.open(HOSTS, os.O_WRONLY)
    try:
        os.pwrite(hosts, line.encode(), LINE_BYTES)
    finally:
        os.close(hosts)
