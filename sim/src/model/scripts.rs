//! The Lua scripts that the workloads send: those of redis-py's `Lock`, word for word, one that is wrong on purpose, and some of our own.

use steadfast_core::script::sha1_hex;

/// Deletes the lock if the token is the caller's.
pub const RELEASE: &str = "
        local token = redis.call('get', KEYS[1])
        if not token or token ~= ARGV[1] then
            return 0
        end
        redis.call('del', KEYS[1])
        return 1
    ";

/// Adds to the lock's time, or replaces it, if the token is the caller's.
pub const EXTEND: &str = "
        local token = redis.call('get', KEYS[1])
        if not token or token ~= ARGV[1] then
            return 0
        end
        local expiration = redis.call('pttl', KEYS[1])
        if not expiration then
            expiration = 0
        end
        if expiration < 0 then
            return 0
        end

        local newttl = ARGV[2]
        if ARGV[3] == \"0\" then
            newttl = ARGV[2] + expiration
        end
        redis.call('pexpire', KEYS[1], newttl)
        return 1
    ";

/// Sets the lock's time anew if the token is the caller's.
pub const REACQUIRE: &str = "
        local token = redis.call('get', KEYS[1])
        if not token or token ~= ARGV[1] then
            return 0
        end
        redis.call('pexpire', KEYS[1], ARGV[2])
        return 1
    ";

/// What people write instead of `RELEASE`: the planted bug of a release without a look at the token.
pub const RELEASE_UNCHECKED: &str = "
        redis.call('del', KEYS[1])
        return 1
    ";

/// Counts one more request in a window, whose first sets its end.
pub const LIMIT: &str = "
        local count = redis.call('incr', KEYS[1])
        if count == 1 then
            redis.call('pexpire', KEYS[1], ARGV[1])
        end
        return count
    ";

/// Moves an amount from one account to another, unless it is not there.
pub const TRANSFER: &str = "
        local have = tonumber(redis.call('get', KEYS[1]) or '0')
        if have < tonumber(ARGV[1]) then
            return 0
        end
        redis.call('decrby', KEYS[1], ARGV[1])
        redis.call('incrby', KEYS[2], ARGV[1])
        return 1
    ";

/// Writes a number that it draws by chance. The model does not follow: such keys are judged by nothing but that all replicas
/// hold the same.
pub const RANDOM: &str = "
        redis.call('set', KEYS[1], math.random(1000000))
        return 1
    ";

/// Fills database 1, and empties it by chance: a database that is flushed while a snapshot is written is in it nevertheless. It leaves
/// database 0 as it was, and the model does not follow.
pub const FLUSH: &str = "
        for number = 1, 8 do
            local key = KEYS[1] .. ':' .. number
            redis.call('set', key, ARGV[1])
            redis.call('move', key, 1)
        end
        if math.random(6) == 1 then
            redis.call('swapdb', 0, 1)
            redis.call('flushdb')
            redis.call('swapdb', 0, 1)
        end
        return 1
    ";

/// The names of the keys of `RANDOM` and `FLUSH` begin so.
pub const RANDOM_PREFIX: &[u8] = b"random:";

/// Name of a script.
pub fn sha(body: &[u8]) -> Vec<u8> {
    sha1_hex(body).to_vec()
}

/// The script of a name.
pub fn named(name: &[u8]) -> Option<&'static str> {
    [RELEASE, EXTEND, REACQUIRE, RELEASE_UNCHECKED, LIMIT, TRANSFER, RANDOM, FLUSH]
        .into_iter()
        .find(|body| sha(body.as_bytes()) == name)
}
