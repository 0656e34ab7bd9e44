#!lua name=filature_ledger_1

-- The money steps of the Redis ledger, version 1. Whoever changes what a function means, takes or returns raises the
-- version here, in the names of the functions, and in keys.rs: gateways of two versions may share one server.
--
-- Every key a function touches is passed to it, and all of them carry the same {hash tag}. Amounts are integers below
-- 2^53 and stay text: Lua's numbers are doubles, so sums are left to HINCRBY and INCRBY, and only the sign of their
-- results is looked at. Nothing is written before every reason to refuse has been checked, since Redis does not undo
-- what a failed function wrote.

local function negative(amount)
  if amount == '0' then
    return amount
  end
  return '-' .. amount
end

-- Adds to a column of the account and to the same column of the shard.
local function move(account, totals, column, change)
  redis.call('HINCRBY', totals, column, change)
  return redis.call('HINCRBY', account, column, change)
end

-- Gives a hold back. Returns what it held.
local function release(account, hold, expiry, totals, member)
  local amount = redis.call('GET', hold)
  if not amount then
    return '0'
  end
  move(account, totals, 'held', negative(amount))
  move(account, totals, 'available', amount)
  redis.call('DEL', hold)
  redis.call('ZREM', expiry, member)
  return amount
end

-- Takes the quote from what is available, or all there is if that is at least the minimum. Returns how much it took,
-- or nil if it took nothing. Looks by taking and putting back, so that no amount is compared as a double.
local function take(account, quote, quote_min)
  if redis.call('HINCRBY', account, 'available', negative(quote)) >= 0 then
    return quote
  end
  redis.call('HINCRBY', account, 'available', quote)
  local after = redis.call('HINCRBY', account, 'available', negative(quote_min))
  redis.call('HINCRBY', account, 'available', quote_min)
  if after < 0 then
    return nil
  end
  local available = redis.call('HGET', account, 'available')
  redis.call('HINCRBY', account, 'available', negative(available))
  return available
end

local function reserve(keys, args)
  local account, key, hold, expiry, totals = unpack(keys)
  local id, member, quote, quote_min, now_ms, expires_ms = unpack(args)
  if redis.call('EXISTS', account) == 0 then
    return { 'unknown_account' }
  end
  local owner, revoked_ms, key_expires_ms = unpack(redis.call('HMGET', key, 'account', 'revoked_ms', 'expires_ms'))
  if owner ~= id then
    return { 'unknown_key' }
  end
  if revoked_ms then
    return { 'key_revoked' }
  end
  if key_expires_ms and tonumber(key_expires_ms) <= tonumber(now_ms) then
    return { 'key_expired' }
  end
  if redis.call('EXISTS', hold) == 1 then
    return { 'already_reserved' }
  end
  local held = take(account, quote, quote_min)
  if not held then
    return { 'insufficient', redis.call('HGET', account, 'available') }
  end
  redis.call('HINCRBY', totals, 'available', negative(held))
  move(account, totals, 'held', held)
  redis.call('SET', hold, held)
  redis.call('ZADD', expiry, expires_ms, member)
  return { 'ok', held }
end

local function post(keys, args)
  local account, key, hold, expiry, records, marker, earnings, totals = unpack(keys)
  local id, member, record, cost, fee, earned = unpack(args)
  if redis.call('EXISTS', account) == 0 then
    return { 'unknown_account' }
  end
  -- The marker says where in the stream the record lies, and what the call cost.
  local posted = redis.call('GET', marker)
  if posted then
    return { 'again', string.match(posted, '%d+$'), release(account, hold, expiry, totals, member) }
  end
  local released = '0'
  local held = redis.call('GET', hold)
  if held then
    if redis.call('DECRBY', hold, cost) < 0 then
      redis.call('INCRBY', hold, cost)
      return { 'above_hold', held }
    end
    released = redis.call('GET', hold)
    redis.call('DEL', hold)
    redis.call('ZREM', expiry, member)
    move(account, totals, 'held', negative(held))
    move(account, totals, 'available', released)
  else
    -- A late post: the hold was swept, so the balance pays, below zero if it must.
    move(account, totals, 'available', negative(cost))
  end
  move(account, totals, 'spent', cost)
  redis.call('HINCRBY', totals, 'fees', fee)
  redis.call('HINCRBY', totals, 'earned', earned)
  if redis.call('HGET', key, 'account') == id then
    redis.call('HINCRBY', key, 'spent', cost)
  end
  for at = 7, #args, 3 do
    redis.call('HINCRBY', earnings, args[at] .. ':fee', args[at + 1])
    redis.call('HINCRBY', earnings, args[at] .. ':earned', args[at + 2])
  end
  local place = redis.call('XADD', records, '*', 'record', record)
  redis.call('SET', marker, place .. ' ' .. cost)
  return { 'ok', cost, released }
end

local function void(keys, args)
  local account, hold, expiry, totals = unpack(keys)
  return release(account, hold, expiry, totals, args[1])
end

local function renew(keys, args)
  local hold, expiry = unpack(keys)
  if redis.call('EXISTS', hold) == 0 then
    return 0
  end
  redis.call('ZADD', expiry, 'XX', args[2], args[1])
  return 1
end

-- After expiry and totals, the keys are the account and the hold of each member to sweep. One that was renewed or
-- posted since the caller looked stays as it is.
local function sweep(keys, args)
  local expiry, totals = keys[1], keys[2]
  local released = {}
  for at = 2, #args do
    local account, hold = keys[at * 2 - 1], keys[at * 2]
    local expires_ms = redis.call('ZSCORE', expiry, args[at])
    if expires_ms and tonumber(expires_ms) <= tonumber(args[1]) then
      released[#released + 1] = release(account, hold, expiry, totals, args[at])
    end
  end
  return released
end

local function deposit(keys, args)
  local account, marker, totals = unpack(keys)
  local amount, amount_max, note = unpack(args)
  if redis.call('EXISTS', account) == 0 then
    return { 'unknown_account', {} }
  end
  if redis.call('EXISTS', marker) == 1 then
    return { 'again', redis.call('HGETALL', account) }
  end
  redis.call('HINCRBY', totals, 'deposited', amount)
  local above = redis.call('HINCRBY', totals, 'deposited', negative(amount_max))
  redis.call('HINCRBY', totals, 'deposited', amount_max)
  if above > 0 then
    redis.call('HINCRBY', totals, 'deposited', negative(amount))
    return { 'too_large', {} }
  end
  redis.call('HINCRBY', account, 'deposited', amount)
  move(account, totals, 'available', amount)
  redis.call('SET', marker, note)
  return { 'ok', redis.call('HGETALL', account) }
end

local function create_account(keys, args)
  local account, accounts = unpack(keys)
  if redis.call('EXISTS', account) == 0 then
    redis.call('HSET', account, 'id', args[1], 'name', args[2], 'created_ms', args[3], 'deposited', 0, 'available', 0,
      'held', 0, 'spent', 0)
    redis.call('SADD', accounts, args[1])
  end
  return redis.call('HGETALL', account)
end

-- The arguments after the first two are the key's columns and values.
local function create_key(keys, args)
  local account, key, account_keys = unpack(keys)
  local id, hash = unpack(args)
  if redis.call('EXISTS', account) == 0 then
    return 'unknown_account'
  end
  local stored = redis.call('HGET', key, 'hash')
  if stored then
    return stored == hash and 'ok' or 'conflict'
  end
  redis.call('HSET', key, 'id', id, 'hash', hash, 'spent', 0, unpack(args, 3))
  redis.call('SADD', account_keys, id)
  return 'ok'
end

local function revoke_key(keys, args)
  local key = keys[1]
  if redis.call('EXISTS', key) == 1 then
    redis.call('HSETNX', key, 'revoked_ms', args[1])
  end
  return redis.call('HGETALL', key)
end

local function record(keys, args)
  local marker, records = unpack(keys)
  local posted = redis.call('GET', marker)
  if not posted then
    return false
  end
  local place = string.match(posted, '^%S+')
  local found = redis.call('XRANGE', records, place, place)[1]
  return found and found[2][2]
end

-- The shard's sums and its number of holds, at one moment.
local function totals(keys)
  return { redis.call('HGETALL', keys[1]), redis.call('ZCARD', keys[2]) }
end

redis.register_function('filature_1_reserve', reserve)
redis.register_function('filature_1_post', post)
redis.register_function { function_name = 'filature_1_void', callback = void, flags = { 'allow-oom' } }
redis.register_function('filature_1_renew', renew)
redis.register_function { function_name = 'filature_1_sweep', callback = sweep, flags = { 'allow-oom' } }
redis.register_function('filature_1_deposit', deposit)
redis.register_function('filature_1_create_account', create_account)
redis.register_function('filature_1_create_key', create_key)
redis.register_function('filature_1_revoke_key', revoke_key)
redis.register_function { function_name = 'filature_1_record', callback = record, flags = { 'no-writes' } }
redis.register_function { function_name = 'filature_1_totals', callback = totals, flags = { 'no-writes' } }
