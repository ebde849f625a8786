"""Three nodes on hosts of their own while everything breaks: nodes are killed, stopped, cut off, made deaf or dumb, bridged by the third.
An operator meanwhile has others lead, and puts new nodes in the place of dead ones. redis-py clients on all hosts read, write and count.

Held against them: every register is linearizable; no acknowledged count is lost and none counts twice; who runs and exchanges messages both
ways with all others sees no error; at the end all nodes are equal.

Usage: chaos.py BINARY [MINUTES] [SEED]. Needs Linux, root, iproute2 and redis-py. Prints what breaks and what was checked."""

import contextlib
import itertools
import random
import signal
import sys
import threading
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from linearizable import NEVER, check_the_check, violation
from namespaces import CLIENTS, NODES, Client, cluster, inside, serves
from processes import wait_until

BINARY = sys.argv[1]
MINUTES = float(sys.argv[2]) if len(sys.argv) > 2 else 30
SEED = int(sys.argv[3]) if len(sys.argv) > 3 else 1
CLIENTS_A_NODE, KEYS, EPOCH_SECONDS = 2, 4, 20
# After what broke is whole again, a node may need so long until it has a leader and has caught up.
GRACE_SECONDS = 5
NOT_APPLIED = ("CLUSTERDOWN", "TRYAGAIN", "LOADING")


class Errors:
    """What broke when, and for whom."""

    def __init__(self):
        self.faults = []

    def begin(self, nodes):
        self.faults.append([time.monotonic(), NEVER, set(nodes)])

    def end(self):
        self.faults[-1][1] = time.monotonic() + GRACE_SECONDS

    def excuse(self, node, start, end):
        return any(node in nodes and begin <= end and start <= stop for begin, stop, nodes in self.faults)


class Worker(threading.Thread):
    """A redis-py client on a node's host, which takes that node for the only server there is."""

    fresh = itertools.count()

    def __init__(self, node, number, errors):
        super().__init__(daemon=True)
        self.node, self.name, self.errors = node, f"{node}.{number}", errors
        self.draw = random.Random(f"{SEED} {self.name}")
        self.epoch, self.history, self.wrong, self.done = 0, {}, [], 0
        self.counted, self.open, self.last, self.ends = 0, 0, 0, False

    def run(self):
        with inside(self.node):
            self.client = redis.Redis(port=CLIENTS, socket_timeout=12, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0), decode_responses=True)
            while not self.ends:
                self.step()
                time.sleep(0.002)

    def step(self):
        key, kind = f"register:{self.epoch}:{self.draw.randrange(KEYS)}", self.draw.choices(("get", "set", "count"), (5, 4, 1))[0]
        value = f"{self.name}:{next(self.fresh)}"
        start = time.monotonic()
        try:
            reply = {"get": lambda: self.client.get(key), "set": lambda: self.client.set(key, value), "count": lambda: self.client.incr(f"count:{self.name}")}[kind]()
        except redis.RedisError as error:
            return self.failed(kind, key, value, start, error)
        end = time.monotonic()
        self.done += 1
        if kind == "count":
            self.counted += 1
            if not self.last < reply <= self.counted + self.open:
                self.wrong.append(f"client {self.name} counted {reply} after {self.last}, {self.counted} acknowledged and {self.open} open")
            self.last = reply
        else:
            self.note(key, (kind, reply if kind == "get" else value, start, end))
        return None

    def failed(self, kind, key, value, start, error):
        end, text = time.monotonic(), str(error)
        # redis-py takes the word LOADING away and gives the error a class of its own.
        if not text.startswith(NOT_APPLIED) and not isinstance(error, redis.BusyLoadingError):
            if kind == "count":
                self.open += 1
            elif kind == "set":
                self.note(key, (kind, value, start, NEVER))
        if not self.errors.excuse(self.node, start, end):
            self.wrong.append(f"client {self.name} saw an error though its node was whole: {type(error).__name__}: {text}, after {end - start:.1f} s")

    def note(self, key, operation):
        self.history.setdefault(key, []).append(operation)


class Faults:
    def __init__(self, network, nodes, errors, draw):
        self.network, self.nodes, self.errors, self.draw = network, nodes, errors, draw

    def leader(self):
        for node in NODES:
            with contextlib.suppress(OSError, StopIteration):
                if Client(node).info("raft_role") == "leader":
                    return node
        return self.draw.choice(NODES)

    def one(self):
        """Something breaks, and is whole again when this returns."""
        leader = self.leader()
        node = leader if self.draw.random() < 0.5 else self.draw.choice(NODES)
        others = [other for other in NODES if other != node]
        self.draw.shuffle(others)
        lasts = self.draw.choice((0.3, 1, 2, 4, 8)) * self.draw.uniform(0.7, 1.3)
        kind = self.draw.choice(("kill", "kill two", "stop", "isolate", "deaf", "dumb", "one way", "bridge", "in turn", "step down", "replace"))
        victims = {"step down": (), "kill two": NODES, "one way": (node, others[0]), "bridge": (node, others[0]), "in turn": NODES}.get(kind, (node,))
        print(f"{time.strftime('%H:%M:%S')} {kind} {node}{' (leader)' if node == leader else ''} for {lasts:.1f} s", flush=True)
        self.errors.begin(victims)
        if kind == "stop":
            self.nodes.processes[node].send_signal(signal.SIGSTOP)
            time.sleep(lasts)
            self.nodes.processes[node].send_signal(signal.SIGCONT)
        elif kind.startswith("kill"):
            self.kill([node] if kind == "kill" else [node, others[0]], lasts)
        elif kind == "step down":
            self.nodes.tool(node, "stepdown")
        elif kind == "replace":
            self.nodes.processes[node].kill()
            self.nodes.processes[node].wait()
            time.sleep(lasts)
            self.nodes.replace(node)
        elif kind == "in turn":
            for each in (node, *others):
                self.kill([each], lasts / 3)
        else:
            out, into = [(node, other) for other in others], [(other, node) for other in others]
            pairs = {"isolate": out + into, "deaf": into, "dumb": out, "one way": out[:1], "bridge": [out[0], into[0]]}[kind]
            for pair in pairs:
                self.network.lose(*pair, True)
            time.sleep(lasts)
            for pair in pairs:
                self.network.lose(*pair, False)
        for each in NODES:
            wait_until(f"node {each} serves", lambda each=each: serves(each))
        self.errors.end()

    def kill(self, victims, lasts):
        for node in victims:
            self.nodes.processes[node].kill()
        for node in victims:
            self.nodes.processes[node].wait()
        time.sleep(lasts)
        for node in victims:
            self.nodes.start(node)
        for node in victims:
            wait_until(f"node {node} serves", lambda node=node: serves(node))


def judge(workers, epoch):
    """Takes the registers of an epoch out of the histories; answers how many operations were judged."""
    merged = {}
    for worker in workers:
        for key in [key for key in list(worker.history) if int(key.split(":")[1]) <= epoch]:
            merged.setdefault(key, []).extend(worker.history.pop(key))
    for key, history in merged.items():
        wrong = violation(history)
        assert wrong is None, f"{key} is not linearizable: {wrong}"
    for worker in workers:
        assert not worker.wrong, worker.wrong[0]
        assert worker.is_alive() or worker.ends, f"client {worker.name} died"
    return sum(map(len, merged.values()))


def main():
    check_the_check()
    draw, errors = random.Random(SEED), Errors()
    # The operator reaches all nodes.
    with cluster(BINARY, "--bind", "0.0.0.0") as (network, nodes):
        if not network.weather("netem", "delay", "3ms", "2ms", "loss", "0.5%"):
            print("this system has no netem: packets are lost all at once or not at all, and are not late")
        network.prepare_pairs()
        workers = [Worker(node, number, errors) for node in NODES for number in range(CLIENTS_A_NODE)]
        for worker in workers:
            worker.start()
        faults = Faults(network, nodes, errors, draw)
        began = turned = time.monotonic()
        epoch = judged = count = 0
        while time.monotonic() - began < MINUTES * 60:
            time.sleep(draw.uniform(GRACE_SECONDS + 0.5, GRACE_SECONDS + 3))
            faults.one()
            count += 1
            if time.monotonic() - turned > EPOCH_SECONDS:
                epoch, turned = epoch + 1, time.monotonic()
                for worker in workers:
                    worker.epoch = epoch
                # What was begun on the registers before has ended by the next turn.
                judged += judge(workers, epoch - 2)
        time.sleep(GRACE_SECONDS)
        for worker in workers:
            worker.ends = True
        for worker in workers:
            worker.join()
        judged += judge(workers, epoch)
        for worker in workers:
            final = int(Client(worker.node).call("GET", f"count:{worker.name}"))
            assert worker.counted <= final <= worker.counted + worker.open, f"count:{worker.name} is {final}, {worker.counted} acknowledged, {worker.open} open"
        facts = ("raft_applied_index", "raft_state_digest")
        wait_until("all nodes are equal", lambda: len({tuple(map(Client(node).info, facts)) for node in NODES}) == 1)
    done, unknown = (sum(getattr(worker, what) for worker in workers) for what in ("done", "open"))
    print(f"{count} faults in {MINUTES:g} minutes: {done} operations, {judged} on registers, all linearizable; no count lost or doubled ({unknown} open); no error that a fault does not excuse")


main()
