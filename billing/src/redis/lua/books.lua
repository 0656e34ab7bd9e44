-- Accounts and keys, records, sums, leases.
local function create_account(keys, args)
  local account, accounts = unpack(keys)
  if redis.call('EXISTS', account) == 0 then
    redis.call('HSET', account, 'id', args[1], 'name', args[2], 'created_ms', args[3], 'deposited', 0, 'money',
      struct.pack(MONEY, 0, 0, 0))
    redis.call('SADD', accounts, args[1])
  end
  return account_row(account)
end

-- Tells reserves what a key may, leaving what is used of it.
local function write_grant(account, key, id)
  local revoked_ms, expires_ms, limits = unpack(redis.call('HMGET', key, 'revoked_ms', 'expires_ms', 'limits'))
  local packed = redis.call('HGET', account, 'key:' .. id)
  local use = packed and read_key(packed) or { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
  local requests, tokens, concurrent, budget, period
  if limits then
    requests, tokens, concurrent, budget, period = string.match(limits, '^(%S+) (%S+) (%S+) (%S+) (%S+)$')
  end
  use[REVOKED], use[EXPIRES] = tonumber(revoked_ms) or -1, tonumber(expires_ms) or -1
  use[REQUESTS_MAX], use[TOKENS_MAX], use[CONCURRENT_MAX] =
    tonumber(requests) or -1, tonumber(tokens) or -1, tonumber(concurrent) or -1
  use[BUDGET], use[PERIOD] = tonumber(budget) or -1, PERIODS[period] or EVER
  redis.call('HSET', account, 'key:' .. id, write_key(use))
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
  redis.call('HSET', key, 'id', id, 'hash', hash, unpack(args, 3))
  write_grant(account, key, id)
  redis.call('SADD', account_keys, id)
  return 'ok'
end

-- After the key's id, how many columns are to go, then those, then columns and their values.
local function update_key(keys, args)
  local account, key = unpack(keys)
  local id, gone = args[1], tonumber(args[2])
  if redis.call('EXISTS', key) == 1 then
    if gone > 0 then
      redis.call('HDEL', key, unpack(args, 3, gone + 2))
    end
    if #args > gone + 2 then
      redis.call('HSET', key, unpack(args, gone + 3))
    end
    write_grant(account, key, id)
  end
  return redis.call('HGETALL', key)
end

local function revoke_key(keys, args)
  local account, key = unpack(keys)
  if redis.call('EXISTS', key) == 1 then
    redis.call('HSETNX', key, 'revoked_ms', args[2])
    write_grant(account, key, args[1])
  end
  return redis.call('HGETALL', key)
end

-- What is known of a key and what is used of it, at one moment.
local function key_use(keys, args)
  local key, account = unpack(keys)
  return { redis.call('HGETALL', key), redis.call('HGET', account, 'key:' .. args[1]) or '' }
end

-- What an account used: the rows that lie with it, and the hashes of days, at one moment.
local function usage(keys)
  local found = {}
  for at, key in ipairs(keys) do
    found[at] = redis.call('HGETALL', key)
  end
  return found
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

-- Forgets the records before a place. The keys after the stream are the markers of their calls, which stay a while.
local function trim(keys, args)
  local before, kept_ms = unpack(args)
  for at = 2, #keys do
    redis.call('PEXPIRE', keys[at], kept_ms)
  end
  return redis.call('XTRIM', keys[1], 'MINID', before)
end

-- The shard's sums, what is held in it, and the number of holds, at one moment.
local function totals(keys)
  local held, holds = 0, redis.call('HVALS', keys[2])
  for _, hold in ipairs(holds) do
    held = held + select(2, read_hold(hold))
  end
  return { redis.call('HGETALL', keys[1]), text(held), #holds }
end

-- Takes, renews or gives up a lease, by the server's clock.
local function lease(keys, args)
  local holder, ttl_ms = unpack(args)
  local current = redis.call('GET', keys[1])
  if current and current ~= holder then
    return 0
  end
  if ttl_ms == '0' then
    redis.call('DEL', keys[1])
    return 0
  end
  redis.call('SET', keys[1], holder, 'PX', ttl_ms)
  return 1
end

register('account', function(keys) return account_row(keys[1]) end, 'no-writes')
register('create_account', create_account)
register('create_key', create_key)
register('update_key', update_key)
register('revoke_key', revoke_key)
register('key_use', key_use, 'no-writes')
register('usage', usage, 'no-writes')
register('record', record, 'no-writes')
register('trim', trim, 'allow-oom')
register('totals', totals, 'no-writes')
register('lease', lease, 'allow-oom') -- the sealer's: it is what makes room
