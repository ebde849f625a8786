-- The sandbox: runs once in each fresh interpreter, before the script, with the host's functions in `host`. Answers the
-- globals of the script.
local host = ...
local raw_pcall, raw_xpcall, raw_error, raw_next, raw_tostring = pcall, xpcall, error, next, tostring
local raw_type, raw_loadstring, raw_tonumber, select = type, loadstring, tonumber, select
local raw_getmetatable, raw_setmetatable, rawget, rawset = getmetatable, setmetatable, rawget, rawset
local resume, wrap, create = coroutine.resume, coroutine.wrap, coroutine.create

for _, name in ipairs({ 'dofile', 'loadfile', 'print', 'newproxy', 'module', 'require', 'getfenv', 'setfenv' }) do
  _G[name] = nil
end
string.dump = nil

-- Tables that a script can't change: empty ones before those that are meant.
local READONLY = 'Attempt to modify a readonly table'
local behind = {}
local function refuse() raw_error(READONLY, 2) end
local function readonly(real)
  local shown = {}
  behind[shown] = real
  return raw_setmetatable(shown, { __index = real, __newindex = refuse, __metatable = false })
end
function getmetatable(object)
  if behind[object] then return nil end
  return raw_getmetatable(object)
end
function setmetatable(object, ...)
  if behind[object] then raw_error(READONLY, 0) end
  local setmetatable = raw_setmetatable
  return setmetatable(object, ...)
end
do
  local raw_rawget, raw_rawset = rawget, rawset
  function rawget(object, ...)
    local rawget = raw_rawget
    return rawget(behind[object] or object, ...)
  end
  function rawset(object, ...)
    if behind[object] then raw_error(READONLY, 0) end
    local rawset = raw_rawset
    return rawset(object, ...)
  end
  _G.rawget, _G.rawset = rawget, rawset
  rawget, rawset = raw_rawget, raw_rawset
end

-- A budget that ran out can't be caught: whoever catches an error passes it on. What `redis.call` throws is a table to
-- whoever catches it, and its text to `pcall`.
local function passed(ok, ...)
  host.check(ok, (...))
  if ok then return true, ... end
  return false, host.thrown((...))
end
local function texts(ok, ...)
  if ok then return true, ... end
  local thrown = ...
  local text = raw_type(thrown) == 'table' and rawget(thrown, 'err')
  return false, (raw_type(text) == 'string' or raw_type(text) == 'number') and text or thrown
end
function pcall(...) return texts(passed(raw_pcall(...))) end
function xpcall(f, handler)
  return passed(raw_xpcall(f, function(thrown) return handler(host.thrown(thrown)) end))
end
-- A coroutine's instructions are counted from its own beginning on, in hundreds: its first hundred is counted here.
function coroutine.create(f)
  host.steps(100)
  return create(f)
end
function coroutine.resume(...) return passed(resume(...)) end
function coroutine.wrap(f)
  host.steps(100)
  local inner = wrap(f)
  return function(...) return inner(...) end
end

-- No bytecode, which could break out of the interpreter.
function loadstring(text, name)
  if raw_type(text) ~= 'string' or text:byte(1) == 27 then
    return nil, 'attempt to load a binary chunk'
  end
  host.steps(#text)
  return raw_loadstring(text, name or text)
end
function load(reader, name)
  local parts = {}
  while true do
    local part = reader()
    if part == nil or part == '' then break end
    parts[#parts + 1] = part
  end
  return loadstring(table.concat(parts), name or '=(load)')
end

-- Nothing that an address decides may show: not in texts, not in the order of a loop.
local nothing = host.nothing
local function is_object(value)
  local kind = raw_type(value)
  return kind == 'table' or kind == 'function' or kind == 'thread' or (kind == 'userdata' and value ~= nothing)
end
function tostring(value)
  if is_object(value) then
    local meta = raw_getmetatable(value)
    if raw_type(meta) ~= 'table' or rawget(meta, '__tostring') == nil then
      return raw_type(value) .. ': 0x0'
    end
  elseif value == nothing then
    return 'userdata: (nil)'
  end
  return raw_tostring(value)
end
local everything
function next(object, key)
  if behind[object] then object = everything(behind[object]) end
  local following, value = raw_next(object, key)
  if is_object(following) then
    raw_error('the order of a table whose keys are objects differs between replicas', 2)
  end
  return following, value
end
local ordered_next = next
function pairs(object)
  if raw_type(object) ~= 'table' then
    raw_error("bad argument #1 to 'pairs' (table expected, got " .. raw_type(object) .. ')', 2)
  end
  return ordered_next, object, nil
end
-- How much memory there is and was is not for scripts: it depends on the interpreter's build.
function collectgarbage() return 0 end
function gcinfo() return 0, 0 end

-- What a library function does in one instruction is counted by what it goes through.
do
  local rep, sub, concat, insert, remove, sort = string.rep, string.sub, table.concat, table.insert, table.remove, table.sort
  local unpack, tonumber = unpack, tonumber
  function string.rep(...)
    local text, count = ...
    local times = raw_tonumber(count)
    if times and times > 16 then
      host.bytes(times * (raw_type(text) == 'string' and #text + 1 or 32))
    end
    return rep(...)
  end
  function string.sub(...)
    local text, from, to = ...
    if raw_type(text) == 'string' and #text > 4096 then
      local first, last = raw_tonumber(from) or 1, raw_tonumber(to) or -1
      if first < 0 then first = #text + first end
      if last < 0 then last = #text + last end
      if last - first > 4096 then host.bytes(last - first < #text and last - first or #text) end
    end
    return sub(...)
  end
  -- What they make may be there already, and is then no new memory.
  local upper, lower, reverse, format = string.upper, string.lower, string.reverse, string.format
  local function long(text) return raw_type(text) == 'string' and #text > 4096 end
  function string.upper(...)
    if long((...)) then host.bytes(#(...)) end
    return upper(...)
  end
  function string.lower(...)
    if long((...)) then host.bytes(#(...)) end
    return lower(...)
  end
  function string.reverse(...)
    if long((...)) then host.bytes(#(...)) end
    return reverse(...)
  end
  function string.format(...)
    for at = 1, select('#', ...) do
      local text = select(at, ...)
      if long(text) then host.bytes(#text) end
    end
    return format(...)
  end
  function table.concat(list, separator, from, to, ...)
    if raw_type(list) == 'table' then
      local count = (raw_tonumber(to) or #list) - (raw_tonumber(from) or 1)
      if count > 32 then host.steps(count) end
    end
    return concat(list, separator, from, to, ...)
  end
  function table.insert(list, ...)
    if behind[list] then raw_error(READONLY, 0) end
    if select('#', ...) == 2 and raw_type(list) == 'table' then
      local moved = #list - (raw_tonumber((...)) or 0)
      if moved > 32 then host.steps(moved / 4) end
    end
    return insert(list, ...)
  end
  function table.remove(list, ...)
    if behind[list] then raw_error(READONLY, 0) end
    local at = raw_tonumber((...))
    if at and raw_type(list) == 'table' then
      local moved = #list - at
      if moved > 32 then host.steps(moved / 4) end
    end
    return remove(list, ...)
  end
  function table.sort(list, ...)
    local count = raw_type(list) == 'table' and #list or 0
    if count > 32 then host.steps(count * 20) end
    return sort(list, ...)
  end
  function table.maxn(list)
    local max = 0
    for key in raw_next, list do
      if raw_type(key) == 'number' and key > max then max = key end
    end
    return max
  end
  function table.foreach(list, work)
    for key, value in ordered_next, list do
      local answer = work(key, value)
      if answer ~= nil then return answer end
    end
  end
  function _G.tonumber(value, ...)
    if raw_type(value) == 'string' and #value > 64 then host.bytes(#value) end
    return tonumber(value, ...)
  end
  function _G.unpack(list, from, to)
    local first = raw_tonumber(from) or 1
    local last = raw_tonumber(to) or (raw_type(list) == 'table' and #list or 0)
    if last - first >= 7997 then raw_error('too many results to unpack', 2) end
    return unpack(list, first, last)
  end
end

function host.index(object, key) return object[key] end
string.find, string.match, string.gsub = host.find, host.match, host.gsub
function string.gmatch(subject, pattern)
  local at = 1
  return function()
    local found = { host.gmatch(subject, pattern, at) }
    if found[1] == nil then
      at = #subject + 2
      return nil
    end
    at = found[1]
    return select(2, unpack(found))
  end
end
string.gfind = string.gmatch
math.random, math.randomseed = host.random, host.randomseed

redis = { LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3, REPL_NONE = 0, REPL_SLAVE = 2,
  REPL_REPLICA = 2, REPL_AOF = 1, REPL_ALL = 3, REDIS_VERSION = '7.4.1', REDIS_VERSION_NUM = 0x00070401 }
-- No Lua functions: `return redis.call(…)` in a script would leave its frame, and with it the line that the error names.
redis.call, redis.pcall, redis.acl_check_cmd = host.call, host.pcall, host.acl_check_cmd
redis.sha1hex = host.sha1hex
function redis.error_reply(text)
  if raw_type(text) ~= 'string' then return { err = 'ERR wrong number or type of arguments' } end
  return { err = host.error_text(text) }
end
function redis.status_reply(text)
  if raw_type(text) ~= 'string' then return { err = 'ERR wrong number or type of arguments' } end
  return { ok = text }
end
-- Lines of a log would be written by each replica, and again whenever the log is replayed: none is.
function redis.log(level, ...)
  if select('#', ...) == 0 then
    raw_error({ err = 'ERR redis.log() requires two arguments or more.' }, 0)
  elseif raw_type(level) ~= 'number' then
    raw_error({ err = 'ERR First argument must be a number (log level).' }, 0)
  elseif level < 0 or level > 3 then
    raw_error({ err = 'ERR Invalid debug level.' }, 0)
  end
end
function redis.setresp(...)
  if select('#', ...) ~= 1 then
    raw_error({ err = 'ERR redis.setresp() requires one argument.' }, 0)
  end
  local version = raw_tonumber((...))
  if version ~= 2 and version ~= 3 then
    raw_error({ err = 'ERR RESP version must be 2 or 3.' }, 0)
  end
  host.setresp(version)
end
function redis.replicate_commands() return true end
function redis.set_repl(...)
  if select('#', ...) ~= 1 then
    raw_error({ err = 'ERR redis.set_repl() requires two arguments.' }, 0)
  end
  local flags = raw_tonumber((...)) or 0
  if flags <= -1 or flags >= 4 then
    raw_error({ err = 'ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.' }, 0)
  end
end
function redis.breakpoint() return false end
function redis.debug() end

KEYS, ARGV = host.keys, host.argv
os = { clock = host.clock }
local strings = raw_getmetatable('')
strings.__metatable = false

-- The globals. Libraries that not every script needs are made when they are first asked for.
local globals = _G
local waiting = { bit = true, cjson = true, cmsgpack = true, struct = true }
function everything(real)
  if real == globals then
    for name in raw_next, waiting do
      if rawget(globals, name) == nil then rawset(globals, name, readonly(host.library(name))) end
    end
  end
  return real
end
for _, name in ipairs({ 'coroutine', 'math', 'os', 'redis', 'string', 'table' }) do
  globals[name] = readonly(globals[name])
end
raw_setmetatable(globals, {
  __index = function(_, name)
    if waiting[name] then
      local library = readonly(host.library(name))
      rawset(globals, name, library)
      return library
    end
    raw_error("Script attempted to access nonexistent global variable '" .. raw_tostring(name) .. "'", 2)
  end,
})
local shown = readonly(globals)
globals._G = shown
return shown
