"""Clients that ask for a cluster, or for sentinels, find a leader and go on when it dies, unchanged: redis-py's.

Usage: discovery.py BINARY. Each check prints a line; the last line counts them."""

import sys
import tempfile

import redis
from processes import wait_until
from redis.cluster import ClusterNode, RedisCluster
from redis.sentinel import Sentinel
from three_nodes import Cluster

HOST = "127.0.0.1"


def sentinel_of(cluster):
    return Sentinel([(HOST, port) for port in cluster.ports], socket_timeout=5)


def sentinels_name_the_leader(cluster):
    sentinel, leader = sentinel_of(cluster), cluster.leader()
    assert sentinel.discover_master("mymaster") == (HOST, cluster.ports[leader])
    others = {(HOST, port) for node, port in enumerate(cluster.ports) if node != leader}
    wait_until("both others are up", lambda: set(sentinel.discover_slaves("mymaster")) == others)
    master, replica = sentinel.master_for("mymaster"), sentinel.slave_for("mymaster")
    assert master.set("sentinel", "1") and replica.get("sentinel") == b"1", "what was written is read from a replica at once"
    try:
        sentinel.discover_master("another")
    except redis.sentinel.MasterNotFoundError:
        return
    raise AssertionError("a master that is not there was found")


def clusters_are_one_shard(cluster):
    startup = [ClusterNode(HOST, port) for port in cluster.ports]
    for replicas in (False, True):
        client = RedisCluster(startup_nodes=startup, read_from_replicas=replicas)
        assert client.set("{a}1", "x") and client.get("{a}1") == b"x"
        assert client.mset_nonatomic({"b": "1", "c": "2"}) and client.mget_nonatomic("b", "c") == [b"1", b"2"]
        with client.pipeline() as pipe:
            assert pipe.set("d", "3").get("d").execute() == [True, b"3"]
        assert client.eval("return redis.call('GET', KEYS[1])", 1, "d") == b"3"
        assert client.cluster_keyslot("d") == client.keyslot("d")
        assert {node.port for node in client.get_nodes()} == set(cluster.ports)
        assert client.get_primaries()[0].port == cluster.ports[cluster.leader()]
        client.close()


def sentinel_clients_follow(cluster):
    leader = cluster.leader()
    master = sentinel_of(cluster).master_for("mymaster", retry_on_timeout=True)
    assert master.set("followed", "before")
    cluster.processes[leader].kill()
    cluster.processes[leader].wait()

    def goes_on():
        try:
            return master.set("followed", "after")
        except redis.ConnectionError:
            return False  # its own node is dead, and it has not asked for another yet

    wait_until("a sentinel client goes on at the new leader", goes_on)
    assert master.get("followed") == b"after" and cluster.leader() != leader
    cluster.start(leader)
    cluster.wait()


def cluster_clients_follow(cluster):
    client = RedisCluster(startup_nodes=[ClusterNode(HOST, port) for port in cluster.ports])
    wait_until("all nodes are known", lambda: client.nodes_manager.initialize() or len(client.get_nodes()) == 3)
    leader = cluster.leader()
    assert client.incr("counted") == 1
    cluster.processes[leader].kill()
    cluster.processes[leader].wait()

    def goes_on():
        try:
            return client.set("followed", "cluster")
        except (redis.ConnectionError, redis.exceptions.RedisClusterException):
            return False

    wait_until("a cluster client goes on at the new leader", goes_on)
    assert client.get("followed") == b"cluster" and client.get("counted") == b"1"
    client.close()
    cluster.start(leader)
    cluster.wait()


CHECKS = (sentinels_name_the_leader, clusters_are_one_shard, sentinel_clients_follow, cluster_clients_follow)


def main():
    with tempfile.TemporaryDirectory(prefix="steadfast-discovery-") as directory:
        cluster = Cluster(sys.argv[1], directory)
        try:
            for check in CHECKS:
                check(cluster)
                print(f"ok: {check.__name__.replace('_', ' ')}", flush=True)
        finally:
            cluster.end()
    print(f"{len(CHECKS)} passed, 0 failed")


main()
