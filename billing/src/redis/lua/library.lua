#!lua name=filature_ledger_4

-- The Redis ledger, version 4: this file, limits.lua, money.lua, transfers.lua and books.lua, loaded as one library. Whoever changes
-- what a function means, takes or returns raises the version here, in `register` below, and in keys.rs: gateways of
-- two versions may share one server. What version 3 wrote is read; what 1 and 2 wrote, which were never released, is not.
--
-- Each command inside of a function costs as much as all of its arithmetic, so what a step needs lies together: in the
-- account's hash its balances (`money`), of each of its keys what it may and what is used of it (`key:` and the key, see
-- limits.lua) and what it used of each model on the latest day (`day:`, see money.lua); in one hash of the shard all holds by call, in another what was deposited,
-- withdrawn and spent in the shard and, as `provider:fee` and `provider:earned`, what providers earned. What follows from those is not
-- kept: a shard's holds add up to what is held in it, and what is neither held, spent nor withdrawn is available.
--
-- Every key a function touches is passed to it (but for the hash of an earlier day, when the next begins), and all of them
-- carry the same {hash tag}. Amounts and their sums are
-- integers of at most 2^53 - 1 either side of zero, which Lua's doubles keep exact; alone they go to Redis as text, made
-- by `text`, since what Redis makes of a Lua number is slow, together they are packed, lowest byte first. Nothing is
-- written before every reason to refuse has been checked, since Redis does not undo what a failed function wrote.
local MAX = 9007199254740991

local function register(name, callback, flag)
  redis.register_function { function_name = 'filature_4_' .. name, callback = callback, flags = { flag } }
end

-- `%d` prints a 64-bit integer, and is several times as fast as `%.0f`.
local function text(number)
  return string.format('%d', number)
end

-- What is available (below zero after a late post that the balance could not pay), held and spent.
local MONEY = '<i8i8i8'

-- Whole hashes are only read where few columns can be.
local function account_row(account)
  local row = redis.call('HMGET', account, 'id', 'name', 'created_ms', 'deposited', 'withdrawn', 'money')
  if row[6] then
    local available, held, spent = struct.unpack(MONEY, row[6])
    row[6], row[7], row[8] = text(available), text(held), text(spent)
  end
  return row
end

-- What a hold says: amount, tokens, when those were taken, of how many a minute (-1: not limited), when it expires, and the
-- key.
local HOLD = '<i8i8i8i8i8'

local function write_hold(key, amount, tokens, taken_ms, per_min, expires_ms)
  return struct.pack(HOLD, amount, tokens, taken_ms, per_min, expires_ms) .. key
end

local function read_hold(found)
  local amount, tokens, taken_ms, per_min, expires_ms, key_at = struct.unpack(HOLD, found)
  return string.sub(found, key_at), amount, tokens, taken_ms, per_min, expires_ms
end
