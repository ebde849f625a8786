"""redis-py and redis-cli against Steadfast: what the users' documents show, and the lock, on one node and on three.

Usage: clients.py BINARY. Each check prints a line; the last line counts them."""

import json
import subprocess
import sys
import threading
from datetime import timedelta

import redis
from redis.lock import Lock

from processes import free_port, running, wait_until

BINARY = sys.argv[1]


def single(port, directory):
    return [BINARY, "server", "--port", str(port), "--dir", directory]


def three():
    members = ",".join(f"{at}=127.0.0.1:{free_port()}" for at in (1, 2, 3))

    def node(at):
        return lambda port, directory: [
            BINARY, "server", "--port", str(port), "--dir", directory, "--node-id", str(at), "--cluster", members,
        ]

    return [node(at) for at in (1, 2, 3)]


def caching(client):
    client.set("key", "value")
    assert client.get("key") == "value"
    client.setex("session:123", 30, "user_data")
    assert 0 < client.ttl("session:123") <= 30
    client.setex("user:7", timedelta(hours=1), json.dumps({"name": "n"}))
    assert json.loads(client.get("user:7")) == {"name": "n"}
    assert client.delete("user:7") == 1 and client.get("user:7") is None
    assert client.incr("page_views") == 1


def rate_limit(client):
    def allowed(limit=5):
        current = client.incr("rate_limit:u:minute")
        if current == 1:
            client.expire("rate_limit:u:minute", 60)
        return current <= limit

    assert [allowed() for _ in range(7)] == [True] * 5 + [False] * 2
    assert client.ttl("rate_limit:u:minute") > 0


def pipelines(client):
    with client.pipeline() as pipe:
        pipe.set("key1", "value1").set("key2", "value2").get("key1").incr("n")
        assert pipe.execute() == [True, True, "value1", 1]
    with client.pipeline(transaction=False) as pipe:
        for at in range(500):
            pipe.set(f"p{at}", at)
            pipe.get(f"p{at}")
        assert pipe.execute() == [x for at in range(500) for x in (True, str(at))]


def optimistic_locking(client):
    client.set("balance", 10)

    def move(pipe):
        balance = int(pipe.get("balance"))
        pipe.multi()
        pipe.set("balance", balance + 1)

    def many():
        for _ in range(25):
            client.transaction(move, "balance")

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.get("balance") == "110"


def locks(client):
    lock = client.lock("lock:r", timeout=10, blocking_timeout=5)
    assert lock.acquire(blocking=True) and lock.owned() and lock.locked()
    assert not client.lock("lock:r", timeout=10).acquire(blocking=False)
    lock.extend(5)
    assert 10 < client.ttl("lock:r") <= 15
    lock.reacquire()
    assert client.ttl("lock:r") <= 10
    lock.release()
    assert client.get("lock:r") is None
    stale = Lock(client, "lock:r", timeout=10)
    assert stale.acquire()
    client.delete("lock:r")
    other = Lock(client, "lock:r", timeout=10)
    assert other.acquire()
    try:
        stale.release()
        raise AssertionError("a stale holder released the lock of its successor")
    except redis.exceptions.LockError:
        pass
    assert other.owned()
    other.release()


def scripts_after_flush(client):
    script = client.register_script("return redis.call('incrby', KEYS[1], ARGV[1])")
    assert script(keys=["s"], args=[5]) == 5
    client.script_flush()
    assert script(keys=["s"], args=[5]) == 10
    try:
        client.eval("while true do end", 0)
        raise AssertionError("an endless script ended")
    except redis.exceptions.ResponseError as error:
        assert "script" in str(error), error


def scan_and_keys(client):
    for at in range(1000):
        client.set(f"scan:{at}", at)
    found = set(client.scan_iter(match="scan:*", count=100))
    assert found == {f"scan:{at}" for at in range(1000)}
    assert set(client.keys("scan:99*")) == {f"scan:{at}" for at in range(1000) if str(at).startswith("99")}


def introspection(client):
    info = client.info()
    assert info["redis_version"].startswith("7.4") and info["role"] == "master" and info["loading"] == 0
    assert client.info("raft")["raft_role"] in ("leader", "follower")
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert client.config_get("append*")["appendonly"] == "yes"
    client.client_setname("me")
    assert client.client_getname() == "me" and any(c["name"] == "me" for c in client.client_list())
    assert client.command_count() > 60 and "get" in client.command()
    assert client.ping() and client.echo("x") == "x"


def resp3(port):
    client = redis.Redis(port=port, protocol=3, decode_responses=True)
    assert client.set("r3", "v") and client.get("r3") == "v" and client.get("none") is None
    assert isinstance(client.config_get("port"), dict)


def command_line(port):
    def cli(*words):
        return subprocess.run(["redis-cli", "-p", str(port), *words], capture_output=True, text=True, check=True).stdout

    assert cli("ping") == "PONG\n"
    assert cli("set", "cli", "a b") == "OK\n" and cli("get", "cli") == "a b\n"
    assert "strlen" in cli("command", "docs", "strlen").lower()
    own = subprocess.run([BINARY, "cli", "-p", str(port), "get", "cli"], capture_output=True, text=True, check=True)
    assert own.stdout == "a b\n", own.stdout
    benchmark = ["redis-benchmark", "-p", str(port), "-q", "-n", "2000", "-c", "20", "-t", "ping,set,get,incr,mset"]
    subprocess.run(benchmark, capture_output=True, check=True)


def every_node_reads_its_own_and_others_writes(ports):
    clients = [redis.Redis(port=port, decode_responses=True) for port in ports]
    for round_ in range(50):
        for at, writer in enumerate(clients):
            value = f"{round_}:{at}"
            writer.set("shared", value)
            assert [reader.get("shared") for reader in clients] == [value] * len(clients)


def digests_agree(ports):
    def states():
        infos = [redis.Redis(port=port).info("raft") for port in ports]
        return {(i["raft_applied_index"], i["raft_state_digest"]) for i in infos}

    wait_until("equal index and equal digest", lambda: len(states()) == 1)


PER_CLIENT = [caching, rate_limit, pipelines, optimistic_locking, locks, scripts_after_flush, scan_and_keys, introspection]
passed = 0
for name, commands in (("one node", [single]), ("three nodes", three())):
    with running(*commands) as ports:
        for at, check in enumerate(PER_CLIENT):
            client = redis.Redis(port=ports[at % len(ports)], decode_responses=True)
            client.flushall()
            check(client)
            passed += 1
            print(f"ok {name}: {check.__name__}")
        for check, argument in (
            (resp3, ports[0]), (command_line, ports[-1]),
            (every_node_reads_its_own_and_others_writes, ports), (digests_agree, ports),
        ):
            check(argument)
            passed += 1
            print(f"ok {name}: {check.__name__}")
print(f"{passed} passed, 0 failed")
