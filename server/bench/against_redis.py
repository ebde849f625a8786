#!/usr/bin/env python3
"""CPU per request against redis-server, in one run: A B A B ..., server on one core, load generator on the other.

    against_redis.py --steadfast target/release/steadfast --loadgen PATH [--redis redis-server] [--rounds 5]

PATH is `unitbench` (built from its one Rust file with `rustc -O`): 50 connections, one request under way on each. Two cases:
GET, and SET with an fsync before each answer on both sides. Prints medians and ratios; ratios of CPU per request are what
to trust, requests per second and times are this machine's at this moment. Exit code 1 if a ratio is above its bound."""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

CONNECTIONS, KEYS, BYTES = 50, 100_000, 64
BOUNDS = {"GET": 1.0, "SET": 1.1}
COMMANDS = {"GET": ["GET", "key:__rand_int__"], "SET": ["SET", "key:__rand_int__", "__data__"]}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_seconds(pid):
    """User and system time of all threads of a process, ended ones too: the kernel's CPU clock of that process."""
    return time.clock_gettime(((~pid) << 3) | 2)


class Server:
    def __init__(self, words, port):
        self.port = port
        self.process = subprocess.Popen(["taskset", "-c", "0", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(500):
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                    connection.sendall(b"PING\r\n")
                    if connection.recv(64).startswith(b"+PONG"):
                        return
            except OSError:
                pass
            time.sleep(0.02)
        raise TimeoutError(words)

    def stop(self):
        self.process.kill()
        self.process.wait()


def load(arguments, port, command, *how):
    words = ["taskset", "-c", "1", arguments.loadgen, "-p", str(port), "-c", str(CONNECTIONS), "-r", str(KEYS), "-d", str(BYTES)]
    return json.loads(subprocess.run([*words, *how, "--", *command], check=True, capture_output=True, text=True).stdout)


def measure(arguments, server, case):
    before, began = cpu_seconds(server.process.pid), time.monotonic()
    result = load(arguments, server.port, COMMANDS[case], "-n", str(arguments.requests[case]))
    cpu, wall = cpu_seconds(server.process.pid) - before, time.monotonic() - began
    if result.get("errors", 0):
        sys.exit(f"the server answered errors: {result}")
    return 1e6 * cpu / arguments.requests[case], arguments.requests[case] / wall


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steadfast", required=True)
    parser.add_argument("--loadgen", required=True)
    parser.add_argument("--redis", default=shutil.which("redis-server") or "redis-server")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests-get", type=int, default=300_000)
    parser.add_argument("--requests-set", type=int, default=100_000)
    arguments = parser.parse_args()
    arguments.requests = {"GET": arguments.requests_get, "SET": arguments.requests_set}
    top = tempfile.mkdtemp(prefix="steadfast-bench-")
    failed = False
    try:
        ours, theirs = free_port(), free_port()
        os.makedirs(f"{top}/redis")
        redis = [arguments.redis, "--port", str(theirs), "--dir", f"{top}/redis", "--save", "", "--appendonly", "yes",
                 "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0", "--loglevel", "warning"]
        steadfast = [arguments.steadfast, "server", "--port", str(ours), "--dir", f"{top}/steadfast"]
        servers = {"redis": Server(redis, theirs), "steadfast": Server(steadfast, ours)}
        for server in servers.values():
            load(arguments, server.port, COMMANDS["SET"], "-n", str(KEYS), "--seq")
        for case, bound in BOUNDS.items():
            figures = {name: [] for name in servers}
            for _ in range(arguments.rounds):
                for name, server in servers.items():
                    figures[name].append(measure(arguments, server, case))
            cpu = {name: statistics.median(f[0] for f in rows) for name, rows in figures.items()}
            rps = {name: statistics.median(f[1] for f in rows) for name, rows in figures.items()}
            ratios = sorted(b[0] / a[0] for a, b in zip(figures["redis"], figures["steadfast"]))
            ratio = cpu["steadfast"] / cpu["redis"]
            for name in servers:
                print(f"{case}  {name:10} {cpu[name]:7.2f} us of CPU a request  {rps[name]:9.0f} requests a second")
            print(f"{case}  ratio {ratio:.2f} (rounds {ratios[0]:.2f} to {ratios[-1]:.2f}), bound {bound}\n")
            failed |= ratio > bound
        for server in servers.values():
            server.stop()
    finally:
        shutil.rmtree(top, ignore_errors=True)
    sys.exit(1 if failed else 0)


main()
