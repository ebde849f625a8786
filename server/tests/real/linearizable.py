"""Whether a history of one register is linearizable, where every value is written once: Gibbons and Korach, Testing Shared Memories (1997),
theorem 4.7. For such histories it takes no search.

The operations on a value must fit between those on others. From the end of the first to the start of the last that follows it the register
must have held it (a zone); two values can't be held at once, and all of a value's operations can't lie within another's zone."""

NEVER = float("inf")


def violation(history, initial=None):
    """What is wrong, or none. `history` holds (kind, value, start, end): "set", whose end is NEVER if its outcome is unknown, or "get"."""
    writes, reads = {initial: (-NEVER, -NEVER)}, {}
    for kind, value, start, end in history:
        if kind == "set":
            assert value not in writes, "values are written once"
            writes[value] = (start, end)
        else:
            reads.setdefault(value, []).append((start, end))
    forward, backward = [], []
    for value, (start, end) in writes.items():
        of = reads.pop(value, [])
        if end == NEVER and not of:
            continue  # it may never have happened
        if any(stop < start for _, stop in of):
            return f"{value!r} was read before it was written"
        first, last = min([end, *(stop for _, stop in of)]), max([start, *(begin for begin, _ in of)])
        (forward if first < last else backward).append((min(first, last), max(first, last), value))
    if reads:
        return f"{next(iter(reads))!r} was read and never written"
    forward.sort(key=lambda zone: zone[:2])
    for (_, end, value), (start, _, other) in zip(forward, forward[1:]):
        if start < end:
            return f"{value!r} was read while {other!r} was held"
    for start, end, value in backward:
        for begin, stop, other in forward:
            if begin < start and end < stop:
                return f"{value!r} was written and is gone, while {other!r} was held before and after"
    return None


def check_the_check():
    """It finds what is wrong in histories that are, and nothing in others."""
    sets = [("set", "a", 0, 1), ("set", "b", 2, 3)]
    for reads, wrong in (
        ([("get", "b", 4, 5)], False),
        ([("get", "a", 4, 5)], True),
        ([("get", "a", 2.5, 5)], False),
        ([("get", "b", 2.4, 2.6), ("get", "a", 2.7, 2.8)], True),
        ([("get", "a", 2.4, 2.6), ("get", "b", 2.7, 2.8)], False),
        ([("get", None, 0.5, 0.6), ("get", "a", 0.7, 0.8)], False),
        ([("get", "a", 0.5, 0.6), ("get", None, 0.7, 0.8)], True),
        ([("get", "b", 1.1, 1.2)], True),
        ([("get", "c", 4, 5)], True),
    ):
        assert (violation(sets + reads) is not None) == wrong, reads
    unknown = [("set", "a", 0, 1), ("set", "u", 2, NEVER)]
    assert violation(unknown + [("get", "a", 5, 6), ("get", "u", 7, 8), ("get", "u", 9, 10)]) is None
    assert violation(unknown + [("get", "u", 7, 8), ("get", "a", 9, 10)]) is not None
