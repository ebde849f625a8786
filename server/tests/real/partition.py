"""Three nodes in network namespaces of their own, with real packets lost between them: a node that is cut off, wholly or in one
direction, answers honestly, and catches up by itself once the network heals.

Usage: partition.py BINARY. Needs Linux, root and iproute2. Each check prints a line; the last line counts them."""

import sys

from namespaces import NODES, Client, cluster
from processes import wait_until

BINARY = sys.argv[1]


def is_not_applied(reply):
    return reply.startswith(("-CLUSTERDOWN ", "-TRYAGAIN "))


def lonely_node(network, lonely, cut, heal):
    """Cuts a node off and heals it again; answers how its writes were answered meanwhile."""
    other = Client(next(node for node in NODES if node != lonely))
    client = Client(lonely)
    assert client.call("SET", "k", "before") == "+OK"
    cut(network, lonely)
    client.send("SET", "lonely", "at once")
    wait_until("the majority goes on", lambda: other.call("SET", "k", "during") == "+OK")
    outcomes = [client.receive()]
    read = client.call("GET", "k")
    assert is_not_applied(read), f"a read without a quorum answered {read}"

    def write_is_refused():
        outcomes.append(client.call("SET", "lonely", "later"))
        return is_not_applied(outcomes[-1])

    wait_until("the lonely node knows that it has no quorum", write_is_refused)
    for outcome in outcomes:
        assert is_not_applied(outcome) or outcome.startswith("-UNKNOWN "), outcome
    assert other.call("SET", "k", "after") == "+OK"
    heal(network, lonely)

    def caught_up():
        reply = client.call("GET", "k")
        assert reply == "after" or is_not_applied(reply), f"stale after healing: {reply}"
        return reply == "after"

    wait_until("it catches up by itself", caught_up)
    if all(map(is_not_applied, outcomes)):
        assert client.call("GET", "lonely") == "$-1", "a write that was refused is there"
    other.call("DEL", "lonely")
    wait_until("all nodes are equal", lambda: len({tuple(map(Client(node).info, FACTS)) for node in NODES}) == 1)
    return [outcome.split()[0][1:] for outcome in outcomes]


FACTS = ("raft_applied_index", "raft_state_digest")


def cut_both(network, node):
    network.speak(node, False)
    network.hear(node, False)


def heal_both(network, node):
    network.speak(node, True)
    network.hear(node, True)


WAYS = {
    "cut off": (cut_both, heal_both),
    "unheard": (lambda network, node: network.speak(node, False), lambda network, node: network.speak(node, True)),
    "deaf": (lambda network, node: network.hear(node, False), lambda network, node: network.hear(node, True)),
}


def main():
    checks = 0
    with cluster(BINARY, "--request-timeout", "2s") as (network, _):
        for way, (cut, heal) in WAYS.items():
            for role in ("leader", "follower"):
                roles = {node: Client(node).info("raft_role") for node in NODES}
                lonely = next(node for node in NODES if roles[node] == role)
                outcomes = lonely_node(network, lonely, cut, heal)
                checks += 1
                print(f"ok: a {role} that is {way} is honest and comes back (its writes: {', '.join(outcomes)})", flush=True)
    print(f"{checks} passed, 0 failed")


main()
