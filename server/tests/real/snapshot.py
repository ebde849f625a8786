"""What a snapshot of a million keys costs clients: latency under an open-loop load at 30 % of saturation, with snapshots one after the
other and without, alternating; peak memory in both; the longest that the event loop was held up. Redis with BGSAVE beside it.

Usage: snapshot.py BINARY OPEN_LOOP [ROUNDS] [KEYS]. OPEN_LOOP is `cargo build --release --example open_loop`. Needs redis-server and
redis-benchmark. Prints figures; asserts nothing about them."""

import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from benchmark import throughput
from processes import answers, free_port, wait_until
from resp import Client
from three_nodes import Cluster

BINARY, OPEN_LOOP = sys.argv[1], sys.argv[2]
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 5
KEYS = int(sys.argv[4]) if len(sys.argv) > 4 else 1_000_000
SECONDS, KEYS_AT_ONCE, CONNECTIONS = 8, 1000, 50


def memory(pid, name):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(re.search(rf"{name}:\s+(\d+) kB", status.read())[1]) / 1024


def tree(pid):
    """The process and its children: Redis saves in one."""
    found = [pid]
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
        for child in children.read().split():
            found += tree(int(child))
    return found


def occupied(pid):
    """Memory of a process and its children, what they share counted once: that is asked only where there are any, for it holds them up."""
    total, found = 0, tree(pid)
    if len(found) == 1:
        return memory(pid, "VmRSS")
    for one in found:
        try:
            with open(f"/proc/{one}/smaps_rollup", encoding="ascii") as rollup:
                total += int(re.search(r"Pss:\s+(\d+) kB", rollup.read())[1]) / 1024
        except (ProcessLookupError, FileNotFoundError, TypeError):
            pass  # it has ended meanwhile
    return total


def fill(client):
    for first in range(0, KEYS, KEYS_AT_ONCE):
        pairs = [word for key in range(first, first + KEYS_AT_ONCE) for word in (f"key:{key:012}", f"{key:0100}")]
        assert client.call("MSET", *pairs) == "+OK"


def saturation(port):
    set_, get = (throughput(port, "-c", CONNECTIONS, "-n", 200_000, "-r", KEYS, "-d", 100, "-t", kind) for kind in ("set", "get"))
    return 2 / (1 / set_ + 1 / get)


def load(port, rate):
    words = [OPEN_LOOP, str(port), str(int(rate)), str(SECONDS), str(KEYS), str(CONNECTIONS)]
    line = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return [float(number) for number in re.findall(r"p\S+ ([\d.]+)", line)], line.strip()


class Watch(threading.Thread):
    """Looks at the memory of the largest of the processes, with their children, until told to end."""

    def __init__(self, pids):
        super().__init__()
        self.pids, self.ended, self.peak = pids, threading.Event(), 0

    def look(self):
        self.peak = max(self.peak, max(occupied(pid) for pid in self.pids))
        time.sleep(0.05)

    def run(self):
        while not self.ended.is_set():
            self.look()

    def end(self):
        self.ended.set()
        self.join()


class Saves(Watch):
    """One snapshot after another meanwhile, on all the nodes given."""

    def __init__(self, clients, pids):
        super().__init__(pids)
        self.clients, self.count = clients, 0

    def run(self):
        while not self.ended.is_set():
            for client in self.clients:
                client.call("BGSAVE")
            self.count += 1
            while any("rdb_bgsave_in_progress:1" in client.call("INFO", "persistence") for client in self.clients):
                self.look()


def measure(name, port, ports, pids):
    client = Client(port)
    fill(client)
    rate = 0.3 * saturation(port)
    before = max(memory(pid, "VmRSS") for pid in pids)
    without, during, saves, peaks = [], [], 0, []
    for _ in range(ROUNDS):
        watch = Watch(pids)
        watch.start()
        figures, line = load(port, rate)
        watch.end()
        without.append(figures)
        print(f"  {name}, without: {line}", flush=True)
        thread = Saves([Client(one) for one in ports], pids)
        thread.start()
        figures, line = load(port, rate)
        thread.end()
        during.append(figures)
        saves += thread.count
        peaks.append((watch.peak, thread.peak))
        print(f"  {name}, with {thread.count} snapshots: {line}", flush=True)
    one, other = (statistics.median(figures[2] for figures in found) for found in (without, during))
    print(f"{name} at {rate:.0f} requests a second: p99.9 {one:.2f} ms without, {other:.2f} ms during snapshots: {other / one:.2f}")
    peak = max(during for _, during in peaks)
    ratio = statistics.median(during / without for without, during in peaks)
    print(f"{name}: {saves} snapshots; peak memory {ratio:.2f} times that of the same load without (median of rounds); {before:.0f} MB before all load, "
          f"at most {peak:.0f} MB with snapshots ({peak / before:.2f})")
    held = re.search(r"snapshot_step_usec_max:(\d+)", client.call("INFO", "persistence"))
    if held:
        print(f"{name}: longest step {held[1]} us", flush=True)


def alone(name, words):
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    port = int(words[words.index("--port") + 1])
    try:
        wait_until(f"{name} answers", lambda: answers(port))
        measure(name, port, [port], [process.pid])
    finally:
        process.kill()
        process.wait()


def main():
    with tempfile.TemporaryDirectory(prefix="steadfast-snapshot-") as directory:
        # Snapshots only when they are asked for; each lets go of log, in memory, too.
        never = ["--snapshot-log-bytes", str(512 << 20)]
        alone("one node", [BINARY, "server", "--port", str(free_port()), "--dir", f"{directory}/alone", *never])
        redis = ["redis-server", "--port", str(free_port()), "--dir", directory, "--save", "", "--appendonly", "yes"]
        alone("Redis", [*redis, "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"])
        cluster = Cluster(BINARY, directory, never)
        try:
            leader = cluster.leader()
            measure("three nodes", cluster.ports[leader], cluster.ports, [process.pid for process in cluster.processes])
        finally:
            cluster.end()


main()
