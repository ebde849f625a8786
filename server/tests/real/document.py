"""The users' document: every program and command line that it shows runs as it is written there, at `redis` and at `localhost`, in threads and
in asyncio, on one node and on three, which `redis` means in turn; queue and lock also while the leader is killed.

Usage: document.py BINARY [hiredis]. Each check prints a line; the last line counts them. Needs Linux, root and iproute2."""

import asyncio
import itertools
import shlex
import sys
from contextlib import suppress

import redis
from redis.exceptions import AuthenticationError, LockError, LockNotOwnedError

import own_machine
from flavours import Servers, World, output, until
from processes import started
from snippets import (
    BASIC, CACHING, COMMAND_LINES, CONNECT, EXPIRATION, LOCKING, PASSWORD, PIPELINE, POOLING, PUBSUB, QUEUE, QUICK_REFERENCE, RATE_LIMITING,
    SESSIONS,
)

BINARY, PARSER = sys.argv[1], "hiredis" if "hiredis" in sys.argv[2:] else "plain"
PATIENCE_SECONDS = 60
LONG_MILLIS, SHORT_MILLIS = 120_000, 100  # what is left of a lock's time, instead of the document's ten seconds
THREE = range(3)


class Done(Exception):
    """Ends a loop of the document that never ends."""


async def basic_connection(world):
    printed = []
    programs = [await world.program(BASIC, print=printed.append) for _ in THREE]
    assert printed == ["value"] * 3
    client = programs[0].client
    assert await world.call(client.get, "page_views") == "3"
    assert await world.call(client.get, "session:123") == "user_data" and 0 < await world.call(client.ttl, "session:123") <= 30


async def caching_database_queries(world):
    class Database:
        asked = []

        def query_user(self, user_id):
            self.asked.append(user_id)
            return {"id": user_id, "name": "Ada"}

    programs = [await world.program(CACHING, database=Database()) for _ in THREE]
    for program in programs:
        assert await world.call(program.get_user, 7) == {"id": 7, "name": "Ada"}
    assert Database.asked == [7], "others than the first find it in the cache"
    assert 0 < await world.call(programs[0].client.ttl, "user:7") <= 300


async def rate_limiting(world):
    programs = [await world.program(RATE_LIMITING) for _ in THREE]
    for program in programs * 5:
        assert await world.call(program.check_rate_limit, "one by one")
    allowed = await asyncio.gather(*(world.call(programs[at % 3].check_rate_limit, "at once") for at in range(75)))
    assert sum(allowed) == 60, allowed
    assert not await world.call(programs[0].check_rate_limit, "at once")
    assert await world.call(programs[0].check_rate_limit, "another")
    assert 0 < await world.call(programs[0].client.ttl, "rate_limit:at once:minute") <= 60


async def session_management(world):
    one, two, three = [await world.program(SESSIONS) for _ in THREE]
    assert await world.call(two.get_session, "s") is None
    await world.call(one.create_session, "s", {"user": "Ada"})
    assert await world.call(two.get_session, "s") == {"user": "Ada"}
    assert 3000 < await world.call(two.client.ttl, "session:s") <= 3600
    await world.call(three.delete_session, "s")
    assert await world.call(one.get_session, "s") is None


class Holder:
    """A program that takes the lock of a resource and works on it until it is told to leave. When the lock's time is over is then a matter of
    the test, and not of how fast the machine is."""

    def __init__(self, world, resource):
        self.world, self.resource, self.inside, self.leave = world, resource, asyncio.Event(), asyncio.Event()

    async def placed(self, node=None):
        self.program = await self.world.program(LOCKING, node, process_resource=self.work)
        return self

    async def work(self, resource):
        assert resource == self.resource
        self.seconds = await self.world.call(self.program.client.ttl, self.key())
        assert await self.lives(LONG_MILLIS)
        self.inside.set()
        await self.leave.wait()

    def begin(self):
        return self.world.begin(self.program.process_with_lock, self.resource)

    async def take(self):
        """Again until it was inside: in the document one waits for five seconds, then goes away without a word."""
        while not self.inside.is_set():
            await self.world.call(self.program.process_with_lock, self.resource)

    def lives(self, millis):
        return self.world.call(self.program.client.pexpire, self.key(), millis)

    def key(self):
        return f"lock:{self.resource}"

    def token(self):
        return self.world.call(self.program.client.get, self.key())


async def refused(world, lock, exception):
    try:
        await world.call(lock.release)
    except exception:
        return
    raise AssertionError("a lock was released by one that does not hold it")


async def lock_is_waited_for(world):
    one, two = [await Holder(world, "r").placed() for _ in range(2)]
    first = one.begin()
    await one.inside.wait()
    assert 0 < one.seconds <= 10
    second = asyncio.create_task(two.take())
    other = two.program.client.lock("lock:r", timeout=10, thread_local=False)
    assert not await world.call(other.acquire, blocking=False)
    await refused(world, other, LockError)
    other.local.token = b"of somebody else"
    await refused(world, other, LockNotOwnedError)
    assert not two.inside.is_set() and await two.token()
    one.leave.set()
    await first
    await two.inside.wait()
    two.leave.set()
    await second
    assert await two.token() is None


async def lock_waited_for_in_vain(world):
    one, two = [await Holder(world, "long").placed() for _ in range(2)]
    first = one.begin()
    await one.inside.wait()
    await two.begin()
    assert not two.inside.is_set()
    one.leave.set()
    await first
    assert await two.token() is None


async def lock_expires_while_held(world):
    one, two = [await Holder(world, "e").placed() for _ in range(2)]
    first = one.begin()
    await one.inside.wait()
    second = asyncio.create_task(two.take())
    assert await two.lives(SHORT_MILLIS)
    await two.inside.wait()
    token = await two.token()
    one.leave.set()
    assert isinstance((await asyncio.gather(first, return_exceptions=True))[0], LockNotOwnedError)
    assert token and await two.token() == token, "who comes too late takes the lock from nobody"
    two.leave.set()
    await second


class Counter:
    """Programs that read a number and write the next one, each in turn under the lock."""

    def __init__(self, world, name):
        self.world, self.name, self.inside, self.done = world, name, 0, {}

    async def work(self, node, goes_on):
        async def process_resource(name):
            self.inside += 1
            assert self.inside == 1, "two hold the lock"
            assert await self.world.call(program.client.pexpire, f"lock:{name}", LONG_MILLIS)
            value = await self.world.call(program.client.get, name)
            await self.world.call(program.client.set, name, int(value or 0) + 1)
            self.inside -= 1
            self.done[at] += 1

        at = len(self.done)
        self.done[at] = 0
        program = await self.world.program(LOCKING, node, process_resource=process_resource)

        async def rounds():
            while goes_on(self.done[at]):
                await self.world.call(program.process_with_lock, self.name)
            return program

        return asyncio.create_task(rounds())

    async def check(self, tasks):
        programs = await asyncio.gather(*tasks)
        assert int(await self.world.call(programs[0].client.get, self.name)) == sum(self.done.values()), self.done


async def lock_is_contended(world):
    counter = Counter(world, "contended")
    await counter.check([await counter.work(None, lambda done: done < 4) for _ in range(4)])


class Consumers:
    """Programs that consume a queue, are started again when their connection breaks, and what each has got."""

    def __init__(self, world, queue):
        self.world, self.queue, self.got, self.tasks, self.broken = world, queue, [], [], 0

    async def add(self, node=None):
        got = []

        async def process_task(task):
            if task == "end":
                raise Done
            got.append(task)

        async def consume():
            while True:
                try:
                    await self.world.call(program.process_queue, self.queue)
                except Done:
                    return
                except redis.ConnectionError:
                    self.broken += 1

        program = await self.world.program(QUEUE, node, process_task=process_task)
        self.got.append(got)
        self.tasks.append(asyncio.create_task(consume()))

    async def end(self, producer):
        for _ in self.tasks:
            await self.world.call(producer.enqueue_task, self.queue, "end")
        await asyncio.gather(*self.tasks)

    def everything(self):
        return [tuple(item) for got in self.got for item in got]

    def in_order(self):
        """What one consumer gets of one producer is in the producer's order."""
        return all(own == sorted(own) for got in self.got for who in range(9) for own in [[item[1] for item in got if item[0] == who]])


async def queue_in_order(world):
    producer, consumers = await world.program(QUEUE), Consumers(world, "ordered")
    for at in range(30):
        await world.call(producer.enqueue_task, "ordered", [0, at])
    await consumers.add()
    await consumers.end(producer)
    assert consumers.got == [[[0, at] for at in range(30)]], consumers.got


async def queue_serves_who_came_first(world):
    producer, consumers, servers = await world.program(QUEUE), Consumers(world, "waited"), world.servers
    for count in range(1, 5):
        await consumers.add()
        await until("it waits", lambda count=count: sum(servers.info(node, "blocked_clients") for node in servers.nodes) == count)
    for at in range(4):
        await world.call(producer.enqueue_task, "waited", [0, at])
    await consumers.end(producer)
    assert consumers.got == [[[0, at]] for at in range(4)], consumers.got


async def queue_with_many(world):
    consumers, producers = Consumers(world, "many"), [await world.program(QUEUE) for _ in THREE]
    for _ in range(4):
        await consumers.add()

    async def produce(who):
        for at in range(40):
            await world.call(producers[who].enqueue_task, "many", [who, at])

    await asyncio.gather(*(produce(who) for who in THREE))
    await consumers.end(producers[0])
    assert sorted(consumers.everything()) == [(who, at) for who in THREE for at in range(40)], "each to one consumer"
    assert consumers.in_order()


async def publish_and_subscribe(world):
    async def listen(heard):
        def collect(line):
            heard.append(line)
            if line == "Received: end":
                raise Done

        program = await world.program(PUBSUB, print=collect)

        async def listens():
            with suppress(Done):
                await world.call(program.subscribe_to_events, "events")

        return asyncio.create_task(listens())

    heard = [[], [], []]
    listeners = [await listen(each) for each in heard]
    admin = world.servers.admin(1)
    await until("all are subscribed", lambda: admin.pubsub_numsub("events") == [("events", 3)])
    publishers = [await world.program(PUBSUB) for _ in THREE]
    for at in range(30):
        await world.call(publishers[at % 3].publish_event, "events", f"m{at}")
    await world.call(publishers[0].publish_event, "events", "end")
    await asyncio.gather(*listeners)
    assert heard == [[f"Received: m{at}" for at in range(30)] + ["Received: end"]] * 3, heard
    admin.close()


async def pool_pipeline_and_expiration(world):
    program = await world.program("import redis\n" + POOLING + PIPELINE + EXPIRATION)
    client, call = program.client, world.call
    assert await call(client.mget, "key1", "key2", "key") == [b"value1", b"value2", b"value"]
    assert 3000 < await call(client.ttl, "key") <= 3600
    counts = await asyncio.gather(*(call(client.incr, "pooled") for _ in range(10)))
    assert sorted(counts) == list(range(1, 11)) and program.pool.max_connections == 10


# What each line of the quick reference answers, after those before it: to redis-cli, and to redis-py.
WORDS = {"seconds": "100", "score": "1"}
REFERENCE = {
    "SET key value": ("OK", True), "GET key": ("value", "value"), "DEL key": ("1", 1), "EXISTS key": ("0", 0), "KEYS pattern": ("", []),
    "TTL key": ("-2", -2), "EXPIRE key seconds": ("0", False),
    "INCR counter": ("1", 1), "DECR counter": ("0", 0), "INCRBY counter 10": ("10", 10),
    "LPUSH list value": ("1", 1), "RPUSH list value": ("2", 2), "LPOP list": ("value", "value"), "RPOP list": ("value", "value"),
    "LRANGE list 0 -1": ("", []),
    "HSET hash field value": ("1", 1), "HGET hash field": ("value", "value"), "HGETALL hash": ("field\nvalue", {"field": "value"}),
    "HDEL hash field": ("1", 1),
    "SADD set member": ("1", 1), "SMEMBERS set": ("member", {"member"}), "SISMEMBER set member": ("1", 1), "SREM set member": ("1", 1),
    "ZADD zset score member": ("1", 1), "ZRANGE zset 0 -1": ("member", ["member"]), "ZRANK zset member": ("0", 0),
}
DATA, INSIGHT = QUICK_REFERENCE.split("# Info\n")
LINES = [line for line in DATA.splitlines() if line and not line.startswith("#")]
assert LINES == list(REFERENCE)


def words_of(line):
    return [WORDS.get(word, word) for word in line.split()]


async def quick_reference_in_python(world):
    programs = itertools.cycle([await world.program(BASIC, print=id) for _ in THREE])
    await world.call(next(programs).client.flushall)
    for line in LINES:
        name, *arguments = words_of(line)
        if name == "ZADD":
            arguments = ["zset", {"member": 1}]
        method = getattr(next(programs).client, {"DEL": "delete"}.get(name, name.lower()))
        reply = await world.call(method, *arguments)
        assert reply == REFERENCE[line][1], (line, reply)
    client = next(programs).client
    assert await world.call(client.dbsize) == 2
    assert (await world.call(client.info, "memory"))["used_memory"] > 0
    assert (await world.call(client.info, "stats"))["total_commands_processed"] > 0
    assert (await world.call(client.info))["connected_clients"] > 0
    assert any(each["cmd"].startswith("client") for each in await world.call(client.client_list))


def commands_line_by_line(tool):
    def run(name):
        return output(*tool, *shlex.split(COMMAND_LINES[name])[1:])

    assert run("ping") == run("healthy") == "PONG\n" and run("flushall") == "OK\n"
    session = output(*tool, *shlex.split(CONNECT)[1:], given="".join(" ".join(words_of(line)) + "\n" for line in LINES))
    assert session == "".join(REFERENCE[line][0] + "\n" for line in LINES), session
    assert "used_memory:" in run("memory") and "total_commands_processed:" in run("stats")
    assert "addr=127.0.0.1:" in run("clients") and "cmd=client" in run("clients")
    info, size, clients = (output(*tool, *shlex.split(CONNECT)[1:], *line.split()) for line in INSIGHT.splitlines())
    assert "redis_version:" in info and size == "2\n" and "addr=127.0.0.1:" in clients
    assert run("flushall") == "OK\n" and output(*tool, *shlex.split(CONNECT)[1:], "DBSIZE") == "0\n"


async def redis_cli(world):
    await asyncio.to_thread(commands_line_by_line, ["redis-cli"])


async def steadfast_cli(world):
    await asyncio.to_thread(commands_line_by_line, [BINARY, "cli"])


async def password_is_required(world):
    program = await world.program("import redis\nclient = " + PASSWORD)
    assert await world.call(program.client.set, "key", "value")
    for other in (PASSWORD.replace("your-secure-password", "another"), "redis.Redis(host='redis', port=6379)"):
        try:
            await world.program("import redis\nclient = " + other)
            raise AssertionError(f"served: {other}")
        except AuthenticationError:
            pass
    for tool in (["redis-cli"], [BINARY, "cli"]):
        assert output(*tool, *CONNECT.split()[1:], "-a", "your-secure-password", "ping") == "PONG\n"


async def queue_outlives_leader(world, leader, others):
    """No item is consumed twice, and none is lost but for the one that a consumer had asked for at the leader: that reply is lost with its
    connection. Nor can a producer there know what became of the item that it had sent."""
    consumers, acknowledged, unknown, counts = Consumers(world, "dies"), [], [], [0, 0, 0]
    ends, places = asyncio.Event(), [*others, leader]
    producers = [await world.program(QUEUE, node) for node in places]
    for node in places:
        await consumers.add(node)

    async def produce(who):
        while not ends.is_set():
            item = (who, counts[who])
            try:
                await world.call(producers[who].enqueue_task, "dies", item)
            except redis.ConnectionError:
                assert places[who] == leader
                unknown.append(item)
            else:
                acknowledged.append(item)
            counts[who] += 1

    tasks = [asyncio.create_task(produce(who)) for who in THREE]
    await until("all are at it", lambda: min(counts) > 10 and all(consumers.got))
    yield
    before = list(counts)
    await until("all go on", lambda: all(counts[who] > before[who] + 20 for who in THREE))
    ends.set()
    await asyncio.gather(*tasks)
    await consumers.end(producers[0])
    got = consumers.everything()
    lost = set(acknowledged) - set(got)
    assert len(got) == len(set(got)), "an item was consumed twice"
    assert set(got) <= set(acknowledged) | set(unknown)
    assert len(lost) <= consumers.broken <= 1 and len(unknown) <= 1, (lost, consumers.broken, unknown)
    assert consumers.in_order()


async def counter_outlives_leader(world, leader, others):
    killed, counter = asyncio.Event(), Counter(world, "dies:counter")
    at_kill = {}

    def goes_on(done):
        return not killed.is_set() or sum(counter.done.values()) < sum(at_kill.values()) + 6

    tasks = [await counter.work(node, goes_on) for node in others * 2]
    await until("some have counted", lambda: sum(counter.done.values()) >= 3)
    yield
    at_kill.update(counter.done)
    killed.set()
    await counter.check(tasks)


async def holder_outlives_leader(world, leader, others):
    one, two, three = [await Holder(world, "dies:held").placed(node) for node in (*others, leader)]
    first = one.begin()
    await one.inside.wait()
    token = await one.token()
    second, third = asyncio.create_task(two.take()), three.begin()
    three.leave.set()
    yield
    assert await one.token() == token and not two.inside.is_set(), "the lock is still held, at another leader"
    one.leave.set()
    await first
    await two.inside.wait()
    two.leave.set()
    await second
    ended = (await asyncio.gather(third, return_exceptions=True))[0]
    assert ended is None or isinstance(ended, redis.ConnectionError), "who was at the leader goes on elsewhere, or hears of it"
    assert await two.token() is None


async def holder_loses_leader(world, leader, others):
    one, two = [await Holder(world, "dies:lost").placed(node) for node in (leader, others[0])]
    first = one.begin()
    await one.inside.wait()
    token = await one.token()
    second = asyncio.create_task(two.take())
    yield
    assert await two.token() == token and not two.inside.is_set(), "the lock is still held, though nobody can release it"
    assert await two.lives(SHORT_MILLIS)
    await two.inside.wait()
    token = await two.token()
    one.leave.set()
    ended = (await asyncio.gather(first, return_exceptions=True))[0]
    assert isinstance(ended, (redis.ConnectionError, LockNotOwnedError)), ended
    assert token and await two.token() == token
    two.leave.set()
    await second


async def leader_dies_under_queue_and_locks(world):
    leader = world.servers.leader()
    others = [node for node in world.servers.nodes if node != leader]
    scenarios = [
        scenario(world, leader, others)
        for scenario in (holder_outlives_leader, holder_loses_leader, counter_outlives_leader, queue_outlives_leader)
    ]
    for scenario in scenarios:
        await anext(scenario)
    own_machine.point(others[0])
    world.servers.kill(leader)
    await asyncio.gather(*(anext(scenario, None) for scenario in scenarios))
    world.servers.start(leader)
    await asyncio.to_thread(world.servers.wait)


CHECKS = (
    basic_connection, caching_database_queries, rate_limiting, session_management, lock_is_waited_for, lock_expires_while_held,
    lock_is_contended, queue_in_order, queue_serves_who_came_first, queue_with_many, publish_and_subscribe, pool_pipeline_and_expiration,
)
COMMAND_LINE_CHECKS = (redis_cli, steadfast_cli)
passed = 0


async def run(name, check, world):
    global passed
    await asyncio.wait_for(check(world), PATIENCE_SECONDS)
    passed += 1
    print(f"ok {name}: {check.__name__.replace('_', ' ')}", flush=True)


async def in_flavour(count, asynchronous):
    name = f"{count} node{'s' * (count > 1)}, {'asyncio' if asynchronous else 'threads'}, {PARSER}"
    with started() as (directory, start):
        world = World(Servers(BINARY, directory, start, count), asynchronous)
        slow = asyncio.create_task(run(name, lock_waited_for_in_vain, world))
        await asyncio.sleep(0)
        for check in CHECKS:
            await run(name, check, world)
        await slow
        for check in (quick_reference_in_python,) + (() if asynchronous else COMMAND_LINE_CHECKS):
            await run(name, check, world)
        if count > 1:
            await run(name, leader_dies_under_queue_and_locks, world)
        await world.close()
        world.servers.end()
        world = World(Servers(BINARY, f"{directory}/closed", start, count, "your-secure-password"), asynchronous)
        await run(name, password_is_required, world)
        await world.close()


def main():
    assert redis.__version__ == "5.0.1" and redis.utils.HIREDIS_AVAILABLE == (PARSER == "hiredis")
    own_machine.enter()
    for count in (1, 3):
        for asynchronous in (False, True):
            asyncio.run(in_flavour(count, asynchronous))
    print(f"{passed} passed, 0 failed")


main()
