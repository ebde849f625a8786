"""A redis-py client that tries nothing twice: whoever uses it sees every error."""

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry


def connect(port):
    return redis.Redis("127.0.0.1", port, socket_timeout=15, retry=Retry(NoBackoff(), 0), decode_responses=True)
