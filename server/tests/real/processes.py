"""Starts servers on free loopback ports and ends them by their own handles."""

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(what, condition, patience=60):
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > patience:
            raise TimeoutError(f"waited in vain: {what}")
        time.sleep(0.02)


def answers(port):
    """Whether a server on this port says PONG."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


@contextlib.contextmanager
def started():
    """Yields a directory and a function that starts a process and answers it; all of them end, and the directory goes, at the end."""
    directory, processes = tempfile.mkdtemp(prefix="steadfast-real-"), []

    def start(words):
        processes.append(subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return processes[-1]

    try:
        yield directory, start
    finally:
        for process in processes:
            process.kill()
            process.wait()
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def running(*commands):
    """Runs commands (functions of port and directory that answer an argument list) and yields their ports."""
    with started() as (directory, start):
        ports = []
        for at, command in enumerate(commands):
            port = free_port()
            start(command(port, f"{directory}/{at}"))
            ports.append(port)
        for port in ports:
            wait_until(f"a server answers on port {port}", lambda: answers(port))
        yield ports
