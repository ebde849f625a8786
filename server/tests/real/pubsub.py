"""redis-py's pubsub, sync and asyncio, as its documents show it, on one node and on three; and redis-cli.

Usage: pubsub.py BINARY. Each check prints a line; the last line counts them."""

import asyncio
import subprocess
import sys
import threading

import redis
import redis.asyncio

from processes import free_port, running, wait_until

BINARY = sys.argv[1]
HOST = "127.0.0.1"


def single(port, directory):
    return [BINARY, "server", "--port", str(port), "--dir", directory]


def three():
    members = ",".join(f"{at}={HOST}:{free_port()}" for at in (1, 2, 3))

    def node(at):
        return lambda port, directory: [
            BINARY, "server", "--port", str(port), "--dir", directory, "--node-id", str(at), "--cluster", members,
        ]

    return [node(at) for at in (1, 2, 3)]


def message(kind, channel, data, pattern=None):
    return {"type": kind, "pattern": pattern, "channel": channel, "data": data}


def get_message(ports, protocol):
    publisher = redis.Redis(port=ports[0], protocol=protocol, decode_responses=True)
    pubsub = redis.Redis(port=ports[-1], protocol=protocol, decode_responses=True).pubsub()
    pubsub.subscribe("a", "b")
    pubsub.psubscribe("a*")
    confirmed = [pubsub.get_message(timeout=5) for _ in range(3)]
    assert confirmed == [
        message("subscribe", "a", 1), message("subscribe", "b", 2), message("psubscribe", "a*", 3),
    ], confirmed
    assert publisher.publish("a", "hello") == 2
    assert pubsub.get_message(timeout=5) == message("message", "a", "hello")
    assert pubsub.get_message(timeout=5) == message("pmessage", "a", "hello", "a*")
    assert pubsub.get_message() is None
    assert publisher.pubsub_channels("a*") == ["a"] and publisher.pubsub_numpat() == 1
    assert publisher.pubsub_numsub("a", "b", "c") == [("a", 1), ("b", 1), ("c", 0)]
    if protocol == 2:  # redis-py 5.0.1 does not understand what Redis answers in RESP3
        pubsub.ping("x")
        assert pubsub.get_message(timeout=5) == message("pong", None, "x")
    pubsub.unsubscribe()
    pubsub.punsubscribe()
    ended = {tuple(pubsub.get_message(timeout=5).values())[:3] for _ in range(3)}
    assert ended == {("unsubscribe", None, "a"), ("unsubscribe", None, "b"), ("punsubscribe", None, "a*")}, ended
    assert not pubsub.subscribed
    pubsub.close()


def run_in_thread(ports, protocol):
    client = redis.Redis(port=ports[0], protocol=protocol, decode_responses=True)
    got, done = [], threading.Event()

    def handle(told):
        got.append((told["channel"], told["data"]))
        if len(got) == 100:
            done.set()

    pubsub = redis.Redis(port=ports[-1], protocol=protocol, decode_responses=True).pubsub()
    pubsub.subscribe(**{"jobs": handle})
    pubsub.psubscribe(**{"other:*": handle})
    thread = pubsub.run_in_thread(sleep_time=0.01)
    wait_until("both are subscribed", lambda: (client.pubsub_numsub("jobs"), client.pubsub_numpat()) == ([("jobs", 1)], 1))
    with client.pipeline() as pipe:
        for at in range(50):
            pipe.publish("jobs", at).publish("other:x", at)
        assert pipe.execute() == [1] * 100
    assert done.wait(30), len(got)
    assert got == [pair for at in range(50) for pair in (("jobs", str(at)), ("other:x", str(at)))]
    thread.stop()
    thread.join()
    wait_until("nobody is counted", lambda: client.pubsub_channels() == [] and client.pubsub_numpat() == 0)


def shard_channels(ports, protocol):
    client = redis.Redis(port=ports[0], protocol=protocol, decode_responses=True)
    pubsub = client.pubsub()
    pubsub.ssubscribe("s")
    assert pubsub.get_message(timeout=5) == message("ssubscribe", "s", 1)
    assert client.execute_command("SPUBLISH", "s", "x") == 1 and client.publish("s", "x") == 0
    assert client.execute_command("PUBSUB", "SHARDNUMSUB", "s") == ["s", 1]
    assert pubsub.get_message(timeout=5) == message("smessage", "s", "x")
    pubsub.close()


def in_asyncio(ports, protocol):
    async def reads(pubsub, count):
        got = []
        async for told in pubsub.listen():
            if told["type"] in ("message", "pmessage"):
                got.append(told["data"])
            if len(got) == count:
                return got

    async def main():
        clients = [redis.asyncio.Redis(port=port, protocol=protocol, decode_responses=True) for port in ports]
        async with clients[-1].pubsub() as pubsub, clients[0].pubsub() as other:
            await pubsub.subscribe("chat")
            await other.psubscribe("ch?t")
            assert (await pubsub.get_message(timeout=5))["type"] == "subscribe"
            assert (await other.get_message(timeout=5))["type"] == "psubscribe"
            readers = [asyncio.create_task(reads(each, 100)) for each in (pubsub, other)]
            publishes = [clients[at % len(clients)].publish("chat", str(at)) for at in range(100)]
            counts = await asyncio.gather(*publishes)
            assert set(counts) == {2}, counts
            one, two = await asyncio.wait_for(asyncio.gather(*readers), 30)
            assert one == two and len(one) == 100, "all hear all in one order"
        for client in clients:
            await client.aclose() if hasattr(client, "aclose") else await client.close()

    asyncio.run(main())


def redis_cli(ports, _protocol):
    client = redis.Redis(port=ports[0])
    for words in (["redis-cli", "-p", str(ports[-1])], [BINARY, "cli", "-p", str(ports[-1])]):
        listener = subprocess.Popen([*words, "subscribe", "cli"], stdout=subprocess.PIPE, text=True)
        wait_until("it listens", lambda: client.publish("cli", "hello") == 1)
        told = [listener.stdout.readline().strip() for _ in range(6)]
        assert told == ["subscribe", "cli", "1", "message", "cli", "hello"], told
        listener.kill()
        listener.wait()
        wait_until("it is gone", lambda: client.pubsub_numsub("cli") == [(b"cli", 0)])


CHECKS = [get_message, run_in_thread, shard_channels, in_asyncio]
passed = 0
for name, commands in (("one node", [single]), ("three nodes", three())):
    with running(*commands) as ports:
        for check, protocol in [(check, protocol) for check in CHECKS for protocol in (2, 3)] + [(redis_cli, 2)]:
            check(ports, protocol)
            passed += 1
            print(f"ok {name}, RESP{protocol}: {check.__name__}")
print(f"{passed} passed, 0 failed")
