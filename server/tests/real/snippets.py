"""What the users' document shows, word for word, and the same for redis.asyncio."""

import re

BASIC = """\
import redis

# Connect to Redis
client = redis.Redis(
    host='redis',
    port=6379,
    decode_responses=True
)

# Set a value
client.set('key', 'value')

# Get a value
value = client.get('key')
print(value)  # 'value'

# Set with expiration (30 seconds)
client.setex('session:123', 30, 'user_data')

# Increment counter
client.incr('page_views')
"""

CACHING = """\
import redis
import json

redis_client = redis.Redis(host='redis', port=6379, decode_responses=True)

def get_user(user_id):
    # Check cache first
    cache_key = f'user:{user_id}'
    cached = redis_client.get(cache_key)

    if cached:
        return json.loads(cached)

    # Cache miss - fetch from database
    user = database.query_user(user_id)

    # Store in cache for 5 minutes
    redis_client.setex(cache_key, 300, json.dumps(user))
    return user
"""

RATE_LIMITING = '''\
import redis

redis_client = redis.Redis(host='redis', port=6379, decode_responses=True)

def check_rate_limit(user_id, limit=60):
    """Allow 60 requests per minute"""
    key = f'rate_limit:{user_id}:minute'

    # Increment counter
    current = redis_client.incr(key)

    # Set expiry on first request
    if current == 1:
        redis_client.expire(key, 60)

    return current <= limit
'''

SESSIONS = '''\
import redis
import json
from datetime import timedelta

redis_client = redis.Redis(host='redis', port=6379, decode_responses=True)

def create_session(session_id, user_data):
    """Create a session that expires in 1 hour"""
    key = f'session:{session_id}'
    redis_client.setex(
        key,
        timedelta(hours=1),
        json.dumps(user_data)
    )

def get_session(session_id):
    """Retrieve session data"""
    key = f'session:{session_id}'
    data = redis_client.get(key)
    return json.loads(data) if data else None

def delete_session(session_id):
    """Delete a session"""
    key = f'session:{session_id}'
    redis_client.delete(key)
'''

LOCKING = '''\
import redis
from redis.lock import Lock

redis_client = redis.Redis(host='redis', port=6379, decode_responses=True)

def process_with_lock(resource_id):
    """Ensure only one process accesses the resource"""
    lock = redis_client.lock(
        f'lock:{resource_id}',
        timeout=10,  # Lock expires after 10 seconds
        blocking_timeout=5  # Wait up to 5 seconds to acquire
    )

    if lock.acquire(blocking=True):
        try:
            # Critical section - only one process at a time
            process_resource(resource_id)
        finally:
            lock.release()
'''

QUEUE = """\
import redis
import json

redis_client = redis.Redis(host='redis', port=6379, decode_responses=True)

# Producer: Add to queue
def enqueue_task(queue_name, task_data):
    redis_client.lpush(queue_name, json.dumps(task_data))

# Consumer: Process queue
def process_queue(queue_name):
    while True:
        # Block until item available (0 = wait forever)
        item = redis_client.brpop(queue_name, timeout=0)
        if item:
            _, task_json = item
            task = json.loads(task_json)
            process_task(task)
"""

PUBSUB = """\
import redis

redis_client = redis.Redis(host='redis', port=6379, decode_responses=True)

# Publisher
def publish_event(channel, message):
    redis_client.publish(channel, message)

# Subscriber
def subscribe_to_events(channel):
    pubsub = redis_client.pubsub()
    pubsub.subscribe(channel)

    for message in pubsub.listen():
        if message['type'] == 'message':
            print(f"Received: {message['data']}")
"""

# The document imports redis above these.
POOLING = """\
pool = redis.ConnectionPool(host='redis', port=6379, max_connections=10)
redis_client = redis.Redis(connection_pool=pool)
"""

PIPELINE = """\
pipe = redis_client.pipeline()
pipe.set('key1', 'value1')
pipe.set('key2', 'value2')
pipe.execute()
"""

EXPIRATION = """\
redis_client.setex('key', 3600, 'value')  # Expires in 1 hour
"""

PASSWORD = """\
redis.Redis(host='redis', port=6379, password='your-secure-password')
"""

CONNECT = "redis-cli -h localhost -p 6379"
COMMAND_LINES = {
    "ping": "redis-cli -h localhost -p 6379 ping",
    "healthy": "redis-cli ping",
    "flushall": "redis-cli -h localhost -p 6379 FLUSHALL",
    "memory": "redis-cli -h localhost -p 6379 INFO memory",
    "clients": "redis-cli -h localhost -p 6379 CLIENT LIST",
    "stats": "redis-cli -h localhost -p 6379 INFO stats",
}

QUICK_REFERENCE = """\
# Basic commands
SET key value
GET key
DEL key
EXISTS key
KEYS pattern
TTL key
EXPIRE key seconds

# Counters
INCR counter
DECR counter
INCRBY counter 10

# Lists
LPUSH list value
RPUSH list value
LPOP list
RPOP list
LRANGE list 0 -1

# Hashes
HSET hash field value
HGET hash field
HGETALL hash
HDEL hash field

# Sets
SADD set member
SMEMBERS set
SISMEMBER set member
SREM set member

# Sorted Sets
ZADD zset score member
ZRANGE zset 0 -1
ZRANK zset member

# Info
INFO
DBSIZE
CLIENT LIST
"""

AWAITED = r"\b((?:redis_client|client)\.(?!lock|pipeline|pubsub)\w+\(|lock\.(?:acquire|release)\(|pubsub\.subscribe\(|pipe\.execute\(|process_(?:task|resource)\()"
TO_ASYNCIO = (
    (r"(?m)^import redis$", "import redis.asyncio as redis"),
    (r"(?m)^from redis\.lock ", "from redis.asyncio.lock "),
    (r"(?m)^def ", "async def "),
    (r"\bfor message in pubsub\b", "async for message in pubsub"),
    (AWAITED, r"await \1"),
)


def for_asyncio(text):
    for pattern, replacement in TO_ASYNCIO:
        text = re.sub(pattern, replacement, text)
    return text
