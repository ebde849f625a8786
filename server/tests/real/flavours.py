"""The document's programs, in threads or in asyncio, against nodes that the name `redis` means in turn. Needs `own_machine`."""

import ast
import asyncio
import inspect
import itertools
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import redis

from own_machine import PEERS, PORT, address, point
from processes import wait_until
from snippets import for_asyncio

THREADS = 64


async def until(what, condition, patience=30):
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > patience:
            raise TimeoutError(f"waited in vain: {what}")
        await asyncio.sleep(0.02)


class Servers:
    """One node or three, each at port 6379 of an address of its own."""

    def __init__(self, binary, directory, start, count, password=None):
        self.password, flags = password, ["--requirepass", password] if password else []
        self.nodes, self.processes, self.words, self.start_process = range(1, count + 1), {}, {}, start
        members = ",".join(f"{node}={address(node)}:{PEERS}" for node in self.nodes)
        for node in self.nodes:
            cluster = ["--node-id", str(node), "--cluster", members] if count > 1 else []
            where = ["--bind", address(node), "--port", str(PORT), "--dir", f"{directory}/{count}-{node}"]
            self.words[node] = [binary, "server", *where, *cluster, *flags]
            self.start(node)
        self.wait()

    def start(self, node):
        self.processes[node] = self.start_process(self.words[node])

    def wait(self):
        for node in self.nodes:
            wait_until(f"node {node} answers", lambda node=node: self.answers(node))

    def answers(self, node):
        try:
            with self.admin(node) as client:
                return client.ping()
        except redis.ConnectionError:
            return False

    def kill(self, node):
        self.processes[node].kill()
        self.processes[node].wait()

    def end(self):
        for node in self.nodes:
            self.kill(node)

    def admin(self, node):
        return redis.Redis(host=address(node), port=PORT, password=self.password, decode_responses=True)

    def info(self, node, field):
        with self.admin(node) as client:
            return client.info("everything").get(field)

    def leader(self):
        found = []
        wait_until("somebody leads", lambda: found.extend(n for n in self.nodes if self.info(n, "raft_role") == "leader") or found)
        return found[0]


class World:
    """What a check works with."""

    def __init__(self, servers, asynchronous):
        self.servers, self.asynchronous, self.clients = servers, asynchronous, []
        self.turn, self.name = itertools.cycle(servers.nodes), asyncio.Lock()
        if not asynchronous:
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))

    async def call(self, function, *arguments, **named):
        if self.asynchronous:
            return await function(*arguments, **named)
        return await asyncio.to_thread(function, *arguments, **named)

    def begin(self, function, *arguments):
        return asyncio.create_task(self.call(function, *arguments))

    async def program(self, text, node=None, **given):
        """Runs a text of the document as a program of its own, which finds `redis` at this node, or at the next in turn."""
        names = {name: self.fit(thing) for name, thing in given.items()}
        async with self.name:
            node = node or next(self.turn)
            point(node)
            await self.execute(text, names)
            program = SimpleNamespace(**names)
            program.client = names.get("redis_client") or names["client"]
            self.clients.append(program.client)
            told = str(await self.call(program.client.execute_command, "CLIENT", "INFO"))
            assert f" laddr={address(node)}:{PORT} " in told, told  # it keeps this connection, so stays with this node
        return program

    async def execute(self, text, names):
        if not self.asynchronous:
            return await asyncio.to_thread(exec, compile(text, "document", "exec"), names)
        running = eval(compile(for_asyncio(text), "document", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
        if running is not None:
            await running

    def fit(self, thing):
        """Something async of the test, as the document's code calls it."""
        if self.asynchronous or not inspect.iscoroutinefunction(thing):
            return thing
        loop = asyncio.get_running_loop()
        return lambda *arguments: asyncio.run_coroutine_threadsafe(thing(*arguments), loop).result()

    async def close(self):
        for client in self.clients:
            await self.call(client.aclose if hasattr(client, "aclose") else client.close)
            await self.call(client.connection_pool.disconnect)
        self.clients.clear()


def output(*words, given=None):
    """What a command line prints."""
    done = subprocess.run(words, input=given, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout
