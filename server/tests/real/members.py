"""The members of a cluster change while redis-py clients on every member count, write and read.
Real processes on loopback.

Held against it: a client whose node stays sees no error; no acknowledged count is lost and none counts twice; every
register is linearizable; after each change all members are equal; what must be refused is refused and changes nothing;
a removed node ends by itself and says why; nodes start again with the flags that they were first started with.

Usage: members.py BINARY [STAGE...]. Needs redis-py. Without stages: all. Prints how long each change took."""

import contextlib
import itertools
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import redis

from linearizable import NEVER, check_the_check, violation
from plain_client import connect
from processes import answers, free_port, wait_until

BINARY = sys.argv[1]
CLIENTS_A_NODE, COUNTERS, REGISTERS, DATA = 2, 3, 4, 5_000
# So little that a new node gets a snapshot and not only a log.
FLAGS = ("--snapshot-log-bytes", "256kb")
NOT_APPLIED = ("CLUSTERDOWN", "TRYAGAIN")
REMOVED = "was removed from its cluster"


class Node:
    """A process with a log, which is started with the same words each time."""

    def __init__(self, number, directory, joins):
        self.number, self.port, self.place = number, free_port(), f"127.0.0.1:{free_port()}"
        self.named, self.log, self.process = f"{number}={self.place}", f"{directory}/{number}.log", None
        self.going = False
        self.words = [BINARY, "server", "--node-id", str(number), "--cluster", self.named, "--port", str(self.port)]
        self.words += ["--dir", f"{directory}/{number}", *FLAGS, *(("--join",) if joins else ())]

    def start(self):
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(self.words, stdout=log, stderr=subprocess.STDOUT)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def info(self):
        with contextlib.closing(connect(self.port)) as client:
            return client.info("raft")

    def last_words(self):
        with open(self.log) as log:
            return log.read().splitlines()[-1]

    def ends_removed(self):
        """Waits until the process has ended by itself because its node is no member any more."""
        wait_until(f"the process of removed node {self.number} ends", lambda: self.process.poll() is not None, 20)
        assert self.process.returncode > 0, f"node {self.number} ended with {self.process.returncode}"
        assert REMOVED in self.last_words(), f"node {self.number} said {self.last_words()!r}"


class Cluster:
    """Nodes that were made, by their ids, and the members among them, each with whether it votes."""

    def __init__(self, directory):
        self.directory, self.nodes, self.votes = directory, {}, {}
        self.new(1, joins=False)
        self.votes[1] = True
        wait_until("the first node answers", lambda: answers(self.nodes[1].port))

    def new(self, number, joins=True):
        """A new process with an empty directory. One that joins waits to be added."""
        assert number not in self.nodes
        self.nodes[number] = node = Node(number, self.directory, joins)
        node.start()
        wait_until(f"node {number} listens", lambda: os.path.exists(node.log) and os.path.getsize(node.log) > 0)
        return node

    def end(self):
        for node in self.nodes.values():
            node.kill()

    def members(self):
        return [self.nodes[number] for number in sorted(self.votes)]

    def staying(self):
        return [node for node in self.members() if not node.going]

    def leader(self):
        found = []

        def look():
            for node in self.staying():
                with contextlib.suppress(redis.RedisError):
                    if node.info()["raft_role"] == "leader":
                        found.append(node)
            return found

        wait_until("somebody leads", look)
        return found[0]

    def followers(self):
        leader = self.leader()
        return [node for node in self.staying() if node is not leader]

    def tool(self, *words, at=None):
        """Asks the tool at a node, or at any that stays; answers its exit code, what it said and how long it took."""
        began = time.monotonic()
        asked = [BINARY, "cluster", "-p", str((at or self.staying()[-1]).port), *map(str, words)]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=60)
        return done.returncode, (done.stdout + done.stderr).strip(), time.monotonic() - began

    def does(self, *words, at=None):
        code, said, took = self.tool(*words, at=at)
        assert code == 0, f"{words} failed: {said}"
        print(f"  {' '.join(map(str, words))}: {took:.2f} s", flush=True)
        return said

    def refuses(self, *words, at=None, hands_over=False):
        """The tool fails with a sentence. The members are who they were, and so is the leader unless it hands over."""
        leader = self.leader().number
        code, said, took = self.tool(*words, at=at)
        assert code == 1 and said.startswith("steadfast: "), f"{words} answered {code}, {said!r}"
        self.whole()
        assert hands_over or self.leader().number == leader, f"{words} was refused, and another node leads"
        print(f"  {' '.join(map(str, words))}: refused after {took:.2f} s: {said}", flush=True)
        return said

    def add(self, number, *flags):
        said = self.does("add", self.new(number).named, *flags)
        self.votes[number] = "--learner" not in flags
        assert self.votes[number] == (said == f"node {number} is a voter"), said

    def promote(self, number):
        self.does("promote", number)
        self.votes[number] = True

    def remove(self, node, ends=True):
        self.does("remove", node.number)
        del self.votes[node.number]
        if ends:
            node.ends_removed()

    def replace(self, old, number, ends=True):
        self.does("replace", old.number, self.new(number).named)
        del self.votes[old.number]
        self.votes[number] = True
        if ends:
            old.ends_removed()

    def whole(self, alive=None):
        """Waits until all members, or those that are alive, know the same members and leader and hold the same."""
        alive, seen = alive or [node for node in self.members() if node.process.poll() is None], {}
        expected = {f"raft_member_{node.number}": node.place for node in self.members()}
        votes = {f"raft_member_{number}": "yes" if votes else "no" for number, votes in self.votes.items()}

        def look():
            seen.clear()
            for node in alive:
                with contextlib.suppress(redis.RedisError):
                    info = node.info()
                    told = {name: fact for name, fact in info.items() if name.startswith("raft_member_")}
                    right = {name: fact["peer"] for name, fact in told.items()} == expected
                    right = right and {name: fact["votes"] for name, fact in told.items()} == votes
                    facts = ("raft_leader_id", "raft_applied_index", "raft_state_digest")
                    seen[node.number] = (right, *(info[fact] for fact in facts), tuple(sorted(told)))
            facts = set(seen.values())
            index = {fact[2]: fact[3] for fact in facts}
            unequal = [fact for fact in facts if fact[3] != index[fact[2]]]
            assert not unequal, f"nodes that applied as much hold different things: {seen}"
            right = all(fact[0] and fact[1] in self.votes for fact in facts)
            return len(seen) == len(alive) and len(facts) == 1 and right

        try:
            wait_until("all members are equal", look, 20)
        except TimeoutError as error:
            raise AssertionError(f"the members are not equal: {seen}, expected {expected}, {votes}") from error


class Worker(threading.Thread):
    """A redis-py client of one node. It may see an error only if its node goes; then it uses another meanwhile."""

    fresh = itertools.count()

    def __init__(self, load, home):
        super().__init__(daemon=True)
        self.load, self.home, self.name, self.waits = load, home, f"{home.number}.{next(self.fresh)}", False
        self.draw = random.Random(self.name)
        self.use(home)
        self.start()

    def use(self, node):
        self.node, self.client = node, connect(node.port)

    def run(self):
        while not self.load.ends:
            if not self.load.runs.is_set():
                self.waits = True
                self.load.runs.wait()
                self.waits = False
            if self.node is not self.home and not self.home.going:
                self.use(self.home)
            try:
                self.step()
            except Exception as error:
                self.load.wrong.append(f"client {self.name} died: {error!r}")
                raise
            time.sleep(0.005)

    def step(self):
        kind, value = self.draw.choices(("get", "set", "count"), (2, 2, 3))[0], f"{self.name}:{next(self.fresh)}"
        register, going = f"register:{self.draw.randrange(REGISTERS)}", self.node.going
        # What a node that goes was counting may have an unknown outcome. All other counters are exact.
        counter = "count:going" if going else f"count:{self.draw.randrange(COUNTERS)}"
        start = time.monotonic()
        try:
            if kind == "count":
                self.client.incr(counter)
            else:
                value = self.client.get(register) if kind == "get" else (self.client.set(register, value) and value)
            self.load.note(kind, counter, register, value, start, time.monotonic())
        except redis.RedisError as error:
            words = f"{type(error).__name__}: {error}"
            unknown = not (isinstance(error, redis.BusyLoadingError) or str(error).startswith(NOT_APPLIED))
            if kind != "get" and unknown:
                self.load.note(kind, counter, register, value, start, NEVER)
            if going:
                self.load.excused.append(words)
                self.use(self.draw.choice(self.load.cluster.staying()))
            else:
                who, after = f"client {self.name} of node {self.node.number}, which stays", time.monotonic() - start
                self.load.wrong.append(f"{who}, saw {words} at {kind} after {after:.1f} s")


class Load:
    """Clients on all members, and what they were told."""

    def __init__(self, cluster):
        self.cluster, self.workers, self.ends = cluster, [], False
        self.lock, self.runs = threading.Lock(), threading.Event()
        self.counted, self.open, self.history, self.wrong, self.excused = {}, {}, {}, [], []
        self.runs.set()
        with contextlib.closing(connect(cluster.nodes[1].port)) as client, client.pipeline(transaction=False) as pipe:
            for number in range(DATA):
                pipe.set(f"data:{number}", f"{number}" * 20)
            assert all(pipe.execute())
        self.at(1)

    def at(self, number):
        self.workers += [Worker(self, self.cluster.nodes[number]) for _ in range(CLIENTS_A_NODE)]

    def note(self, kind, counter, register, value, start, end):
        with self.lock:
            if kind == "count":
                told = self.open if end == NEVER else self.counted
                told[counter] = told.get(counter, 0) + 1
            else:
                self.history.setdefault(register, []).append((kind, value, start, end))

    @contextlib.contextmanager
    def paused(self):
        self.runs.clear()
        alive = [worker for worker in self.workers if worker.is_alive()]
        wait_until("all clients wait", lambda: all(worker.waits or not worker.is_alive() for worker in alive))
        try:
            yield
        finally:
            self.runs.set()
            wait_until("no client waits", lambda: not any(worker.waits and worker.is_alive() for worker in alive))

    def goes(self, node):
        """From now on clients of this node may see errors."""
        with self.paused():
            node.going = True
        return node

    def check(self):
        """While nobody writes: the members are equal, and every one of them holds what was acknowledged."""
        with self.paused():
            self.cluster.whole()
            self.acknowledged()
        # Some load between one change and the next.
        time.sleep(0.3)

    def acknowledged(self):
        assert not self.wrong, "\n".join(self.wrong)
        for node in self.cluster.members():
            with contextlib.closing(connect(node.port)) as client:
                for counter, count in self.counted.items():
                    final, most = int(client.get(counter)), count + self.open.get(counter, 0)
                    exact = counter == "count:going" or count == most
                    what = f"{counter} is {final} on node {node.number}, {count} acknowledged, {most - count} open"
                    assert exact and count <= final <= most, what
                values = client.mget([f"data:{number}" for number in range(DATA)])
                assert values == [f"{number}" * 20 for number in range(DATA)], f"data is lost on node {node.number}"
        for register, history in self.history.items():
            wrong = violation(history)
            assert wrong is None, f"{register} is not linearizable: {wrong}"

    def end(self):
        self.ends = True
        self.runs.set()
        for worker in self.workers:
            worker.join()
        assert not self.wrong, "\n".join(self.wrong)
        counts, operations = sum(self.counted.values()), sum(map(len, self.history.values()))
        left = ", ".join(f"{words} ({self.excused.count(words)})" for words in sorted(set(self.excused)))
        print(f"  {counts} counts, {sum(self.open.values())} open; {operations} operations on registers", flush=True)
        print(f"  clients of nodes that went saw: {left or 'nothing'}", flush=True)


def grow_and_shrink(cluster):
    """One node grows to three; one follower is replaced while it runs, and the leader after it was killed; the new
    leader is removed, and then the next one, until one node is left. Clients of nodes that stay see no error; nothing
    acknowledged is lost; removed processes end by themselves, and end again when they are started on their old
    directories."""
    load = Load(cluster)
    load.check()
    cluster.add(2)
    load.at(2)
    load.check()
    cluster.add(3, "--learner")
    # A learner that has yet to catch up is busy loading.
    wait_until("the learner serves", lambda: serves(cluster.nodes[3]))
    load.at(3)
    load.check()
    cluster.promote(3)
    load.check()
    old = load.goes(cluster.followers()[0])
    cluster.replace(old, 4)
    load.at(4)
    load.check()
    old.start()
    old.ends_removed()
    dead = load.goes(cluster.leader())
    dead.kill()
    cluster.replace(dead, 5, ends=False)
    load.at(5)
    load.check()
    # It was never told. It is when it comes back, whatever directory it has.
    dead.start()
    dead.ends_removed()
    for _ in range(2):
        goes = load.goes(cluster.leader())
        cluster.remove(goes)
        load.check()
        goes.start()
        goes.ends_removed()
    load.check()
    load.end()
    cluster.whole()
    load.acknowledged()
    assert len(cluster.members()) == 1


def refusals(cluster):
    """What can't be, or must not be, is refused with a sentence. Then members and leader are who they were, and the
    nodes serve."""
    # Nobody listens there. The id was not used: it may be added later.
    cluster.refuses("add", f"2=127.0.0.1:{free_port()}")
    cluster.add(2)
    cluster.add(3, "--learner")
    cluster.whole()
    cluster.refuses("transfer", 3)
    cluster.promote(3)
    cluster.whole()
    for node in cluster.members():
        assert cluster.does("add", node.named) == f"node {node.number} is a voter"
        cluster.whole()
    for words in (("remove", 9), ("promote", 9)):
        cluster.refuses(*words)
    cluster.add(4)
    cluster.whole()
    removed = cluster.nodes[4]
    cluster.remove(removed)
    cluster.whole()
    # A removed id is used up: on a place where a new node waits with it, and by itself.
    del cluster.nodes[4]
    shutil.rmtree(f"{cluster.directory}/4")
    again = cluster.new(4)
    cluster.refuses("add", again.named)
    again.kill()
    cluster.refuses("replace", 3, cluster.new(5).named.replace("5=", "4="))
    # One of three is dead. Without another one no majority of the rest would live.
    dead, alive = cluster.followers()
    dead.going = True
    dead.kill()
    cluster.refuses("remove", alive.number)
    cluster.refuses("remove", cluster.leader().number, hands_over=True)
    cluster.remove(dead, ends=False)
    cluster.whole()
    for node in cluster.members():
        with contextlib.closing(connect(node.port)) as client:
            client.incr("count")
    with contextlib.closing(connect(cluster.members()[0].port)) as client:
        assert client.get("count") == "2"
    dead.start()
    dead.ends_removed()


def own_answers(cluster):
    """The tool answers what it was asked, right after something else was refused too, and while somebody else asks. It
    says that nothing was changed only if that is so."""
    cluster.add(2)
    cluster.add(3)
    cluster.remove(cluster.nodes[2])
    cluster.whole()
    # A process that waits with an id that is used up: adding it is refused each time.
    del cluster.nodes[2]
    shutil.rmtree(f"{cluster.directory}/2")
    again = cluster.new(2)
    for number in range(4, 8):
        new = cluster.new(number)
        assert "was a member once" in cluster.refuses("add", again.named)
        cluster.tool("add", again.named)
        cluster.does("add", new.named, "--learner")
        cluster.votes[number] = False
        cluster.whole()
    for pair in ((4, 5), (6, 7)):
        said, first = {}, cluster.nodes[1]

        def ask(number):
            said[number] = cluster.tool("remove", number, at=first)

        asked = [threading.Thread(target=ask, args=(number,)) for number in pair]
        for thread in asked:
            thread.start()
        for thread in asked:
            thread.join()
        time.sleep(0.5)
        told = cluster.leader().info()
        for number in pair:
            code, words, _ = said[number]
            there = f"raft_member_{number}" in told
            what = f"remove {number} answered {code}, {words!r}, and {told}"
            assert there == (code != 0), what
            if there:
                cluster.does("remove", number, at=first)
            del cluster.votes[number]
            cluster.nodes[number].ends_removed()
        cluster.whole()


def restarts(cluster):
    """Members that have come and gone since are no matter to those that start again with the flags of their first
    start: each in turn while clients count on the others, and all at once after they were killed."""
    load = Load(cluster)
    cluster.add(2)
    load.at(2)
    cluster.add(3)
    load.at(3)
    load.check()
    old = load.goes(cluster.followers()[0])
    cluster.replace(old, 4)
    load.at(4)
    load.check()
    for node in cluster.members():
        load.goes(node)
        began = time.monotonic()
        node.process.terminate()
        assert node.process.wait() == 0, f"node {node.number} ended with {node.process.returncode}"
        wait_until("its clients went", lambda node=node: not any(worker.node is node for worker in load.workers))
        node.start()
        wait_until(f"node {node.number} serves", lambda node=node: serves(node))
        print(f"  end node {node.number} and start it again: {time.monotonic() - began:.2f} s", flush=True)
        with load.paused():
            node.going = False
        load.check()
    load.end()
    began = time.monotonic()
    for node in cluster.members():
        node.process.kill()
    for node in cluster.members():
        node.process.wait()
    for node in cluster.members():
        node.start()
    for node in cluster.members():
        wait_until(f"node {node.number} serves", lambda node=node: serves(node))
    print(f"  kill all nodes and start them again: {time.monotonic() - began:.2f} s", flush=True)
    cluster.whole()
    load.acknowledged()
    cluster.does("status")
    old.start()
    old.ends_removed()
    cluster.whole()


def removed_for_ever(cluster):
    """A node that was told that it was removed, and has ended, ends again when it is started later on, though none of
    the members that it knew is left to tell it again."""
    cluster.add(2)
    cluster.remove(cluster.nodes[1])
    cluster.add(3)
    cluster.remove(cluster.nodes[2])
    cluster.whole()
    cluster.nodes[1].start()
    cluster.nodes[1].ends_removed()


def serves(node):
    try:
        with contextlib.closing(connect(node.port)) as client:
            return client.get("data:1") == "1" * 20
    except redis.RedisError:
        return False


def main():
    check_the_check()
    stages = (grow_and_shrink, refusals, restarts, own_answers, removed_for_ever)
    for stage in [globals()[name] for name in sys.argv[2:]] or stages:
        print(stage.__name__.replace("_", " "), flush=True)
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="steadfast-members-") as directory:
            cluster = Cluster(directory)
            try:
                stage(cluster)
            except BaseException:
                for node in cluster.nodes.values():
                    with open(node.log) as log:
                        print(f"--- node {node.number}, exit code {node.process.poll()}\n{log.read()}", file=sys.stderr)
                raise
            finally:
                cluster.end()
        print(f"ok: {stage.__name__.replace('_', ' ')} in {time.monotonic() - began:.1f} s", flush=True)


main()
