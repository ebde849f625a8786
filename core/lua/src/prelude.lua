-- The sandbox: runs once in each fresh interpreter, before the script, with the host's functions in `host`.
local host = ...
local raw_pcall, raw_xpcall, raw_error, raw_next, raw_tostring = pcall, xpcall, error, next, tostring
local raw_type, raw_load, raw_loadstring, select = type, load, loadstring, select
local resume, wrap = coroutine.resume, coroutine.wrap
local getmetatable, rawget = getmetatable, rawget

for _, name in ipairs({ 'dofile', 'loadfile', 'print', 'newproxy', 'collectgarbage', 'gcinfo', 'module', 'require',
  'getfenv', 'setfenv' }) do
  _G[name] = nil
end
string.dump = nil

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
function coroutine.resume(...) return passed(resume(...)) end
function coroutine.wrap(f)
  local inner = wrap(f)
  return function(...) return inner(...) end
end

-- No bytecode, which could break out of the interpreter.
function loadstring(text, name)
  if raw_type(text) ~= 'string' or text:byte(1) == 27 then
    return nil, 'attempt to load a binary chunk'
  end
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
local function is_object(value)
  local kind = raw_type(value)
  return kind == 'table' or kind == 'function' or kind == 'userdata' or kind == 'thread'
end
function tostring(value)
  if is_object(value) then
    local meta = getmetatable(value)
    if raw_type(meta) ~= 'table' or rawget(meta, '__tostring') == nil then
      return raw_type(value) .. ': 0x0'
    end
  end
  return raw_tostring(value)
end
function next(object, key)
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
math.random, math.randomseed = host.random, host.randomseed

redis = { LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3, REPL_NONE = 0, REPL_SLAVE = 2,
  REPL_REPLICA = 2, REPL_AOF = 1, REPL_ALL = 3, REDIS_VERSION = '7.4.1', REDIS_VERSION_NUM = 0x00070401 }
-- No Lua function: `return redis.call(…)` in a script would leave its frame, and with it the line that the error names.
redis.call, redis.pcall = host.call, host.pcall
redis.sha1hex = host.sha1hex
function redis.error_reply(text)
  if raw_type(text) ~= 'string' then return { err = 'ERR wrong number or type of arguments' } end
  return { err = host.error_text(text) }
end
function redis.status_reply(text)
  if raw_type(text) ~= 'string' then return { err = 'ERR wrong number or type of arguments' } end
  return { ok = text }
end
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
  elseif ... ~= 2 and ... ~= 3 then
    raw_error({ err = 'ERR RESP version must be 2 or 3.' }, 0)
  end
end
function redis.replicate_commands() return true end
function redis.set_repl() end
function redis.breakpoint() return false end
function redis.debug() end

KEYS, ARGV = host.keys, host.argv
setmetatable(_G, {
  __index = function(_, name)
    raw_error("Script attempted to access nonexistent global variable '" .. raw_tostring(name) .. "'", 2)
  end,
  __newindex = function() raw_error('Attempt to modify a readonly table', 2) end,
  __metatable = false,
})
local strings = getmetatable('')
strings.__metatable = false
