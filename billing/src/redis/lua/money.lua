-- Adds to a column of the account and to the same column of the shard.
local function move(account, totals, column, change)
  if change ~= 0 then
    change = text(change)
    redis.call('HINCRBY', totals, column, change)
    redis.call('HINCRBY', account, column, change)
  end
end

-- What a hold says: amount, tokens, key. Version 1 wrote the amount only.
local function read_hold(hold)
  local found = redis.call('GET', hold)
  if not found then
    return nil
  end
  local amount, tokens, key = string.match(found, '^(%d+) ?(%d*) ?(%S*)$')
  return tonumber(amount), tonumber(tokens) or 0, key
end

local function remove_hold(hold, expiry, member)
  redis.call('DEL', hold)
  redis.call('ZREM', expiry, member)
end

-- Gives a hold back. Returns what it held.
local function release(account, hold, expiry, totals, live, member)
  local amount, tokens, key = read_hold(hold)
  if not amount then
    return '0'
  end
  remove_hold(hold, expiry, member)
  move(account, totals, 'held', 0 - amount)
  move(account, totals, 'available', amount)
  if key ~= '' then
    local use = read_use(live, key)
    end_hold(use, amount)
    give_back(use, tokens)
    write_use(live, key, use)
  end
  return text(amount)
end

-- Where the arguments of `reserve` say when the periods began.
local STARTS = { day = 9, week = 10, month = 11 }

-- Takes a request and its tokens from the buckets, or answers that a limit is reached. Returns as well how much the
-- budget leaves, if there is one.
local function take(use, limits, key, tokens, args)
  local now = tonumber(args[7])
  local requests, per_min, concurrent, budget, period = string.match(limits, '^(%S+) (%S+) (%S+) (%S+) (%S+)$')
  requests, per_min, concurrent, budget = tonumber(requests), tonumber(per_min), tonumber(concurrent), tonumber(budget)
  local requests_used = requests and refill(use, REQUESTS, requests, now)
  local tokens_used = per_min and refill(use, TOKENS, per_min, now)
  local reached
  if requests and not fits(requests_used, requests, 1) then
    reached = 'requests'
  elseif per_min and not fits(tokens_used, per_min, tokens) then
    reached = 'tokens'
  elseif concurrent and use[HOLDS] >= concurrent then
    reached = 'concurrent'
  end
  if reached then
    return { 'limited', text(requests_used or 0), text(tokens_used or 0), limits, reached }
  end
  if requests then
    use[REQUESTS] = requests_used + UNITS
  end
  if per_min then
    use[TOKENS] = tokens_used + tokens * UNITS
  end
  if budget and period == 'never' then
    return nil, per_min, budget - tonumber(redis.call('HGET', key, 'spent')) - use[HELD]
  end
  return nil, per_min, budget and budget - spent_since(use, period, tonumber(args[STARTS[period]])) - use[HELD]
end

-- Arguments: account, member, key, quote, least quote, tokens, now, expiry; starts of day, week and month.
local function reserve(keys, args)
  local account, key, hold, expiry, totals, live = unpack(keys)
  local id, member, key_id = unpack(args, 1, 3)
  local quote, quote_min, tokens = tonumber(args[4]), tonumber(args[5]), tonumber(args[6])
  local available = redis.call('HGET', account, 'available')
  if not available then
    return { 'unknown_account' }
  end
  local owner, revoked_ms, key_expires_ms, limits =
    unpack(redis.call('HMGET', key, 'account', 'revoked_ms', 'expires_ms', 'limits'))
  if owner ~= id then
    return { 'unknown_key' }
  end
  if revoked_ms then
    return { 'key_revoked' }
  end
  if key_expires_ms and tonumber(key_expires_ms) <= tonumber(args[7]) then
    return { 'key_expired' }
  end
  if redis.call('EXISTS', hold) == 1 then
    return { 'already_reserved' }
  end
  local use = read_use(live, key_id)
  local refused, takes_tokens, left
  if limits then
    refused, takes_tokens, left = take(use, limits, key, tokens, args)
  end
  if refused then
    return refused
  end
  if left and left < quote_min then
    return { 'budget', text(left), limits }
  end
  available = tonumber(available)
  if available < quote_min then
    return { 'insufficient', text(available) }
  end
  local held = math.min(quote, left or quote, available)
  begin_hold(use, held)
  write_use(live, key_id, use)
  move(account, totals, 'available', 0 - held)
  move(account, totals, 'held', held)
  redis.call('SET', hold, string.format('%d %d %s', held, takes_tokens and tokens or 0, key_id))
  redis.call('ZADD', expiry, args[8], member)
  if limits then
    return { 'ok', text(held), text(use[REQUESTS]), text(use[TOKENS]), limits }
  end
  return { 'ok', text(held) }
end

-- What a day's use of a key and a model adds to the day: six 64-bit integers in as many rows as there may be, then all
-- other models of a key in one.
local ROWS_MAX = 4096
local SUMS = '<I8I8I8I8I8I8'

local function add_use(usage, key, model, kept_s, args, first, cost)
  local row = key .. ':' .. model
  local sums = redis.call('HGET', usage, row)
  local rows = not sums and redis.call('HLEN', usage)
  if rows and rows >= ROWS_MAX then
    row = key .. ':other'
    sums = redis.call('HGET', usage, row)
  end
  sums = sums and { struct.unpack(SUMS, sums) } or { 0, 0, 0, 0, 0, 0 }
  local more = { 1, args[first], args[first + 1], args[first + 2], args[first + 3], cost }
  for at = 1, 6 do
    sums[at] = math.min(sums[at] + tonumber(more[at]), MAX)
  end
  redis.call('HSET', usage, row, struct.pack(SUMS, unpack(sums, 1, 6)))
  if rows == 0 then
    redis.call('EXPIRE', usage, kept_s)
  end
end

-- What a charged call is to its key: holds, limits, budget, and all it ever spent.
local function charge_key(key, live, id, key_id, held, reserved, args)
  local owner, limits = unpack(redis.call('HMGET', key, 'account', 'limits'))
  if owner ~= id then
    return
  end
  local use = read_use(live, key_id)
  if held then
    end_hold(use, held)
  end
  local per_min = limits and tonumber(string.match(limits, '^%S+ (%S+)'))
  if per_min then
    local used = refill(use, TOKENS, per_min, tonumber(args[9])) + (tonumber(args[10]) - reserved) * UNITS
    use[TOKENS] = math.min(math.max(used, 0), per_min * UNITS)
  end
  local cost = tonumber(args[8])
  spend(use, 'day', tonumber(args[11]), cost)
  spend(use, 'week', tonumber(args[12]), cost)
  spend(use, 'month', tonumber(args[13]), cost)
  write_use(live, key_id, use)
  redis.call('HINCRBY', key, 'spent', args[8])
end

-- Arguments: account, member, key, record, model, fee, earned; cost, now, tokens used, starts of day, week and month;
-- seconds to keep the day's use, its four kinds of tokens; then of each leg provider, fee, earned.
local function post(keys, args)
  local account, key, hold, expiry, records, marker, earnings, totals, live, usage = unpack(keys)
  local id, member, key_id, record, model, fee, earned, cost = unpack(args, 1, 8)
  local amount, reserved, holder = read_hold(hold)
  if not amount and redis.call('EXISTS', account) == 0 then
    return { 'unknown_account' }
  end
  if amount and holder ~= '' and holder ~= key_id then
    return { 'other_key' }
  end
  -- The marker says where in the stream the record lies, and what the call cost.
  local posted = redis.call('GET', marker)
  if posted then
    return { 'again', string.match(posted, '%d+$'), release(account, hold, expiry, totals, live, member) }
  end
  local paid = tonumber(cost)
  if amount and paid > amount then
    return { 'above_hold', text(amount) }
  end
  if not amount and paid > MAX - tonumber(redis.call('HGET', totals, 'spent') or 0) then
    return { 'too_large' }
  end
  if amount then
    remove_hold(hold, expiry, member)
    move(account, totals, 'held', 0 - amount)
  end
  -- Without a hold this is a late post: it was swept, so the balance pays, below zero if it must.
  move(account, totals, 'available', (amount or 0) - paid)
  move(account, totals, 'spent', paid)
  redis.call('HINCRBY', totals, 'fees', fee)
  redis.call('HINCRBY', totals, 'earned', earned)
  charge_key(key, live, id, key_id, amount and holder ~= '' and amount, reserved or 0, args)
  add_use(usage, key_id, model, args[14], args, 15, cost)
  for at = 19, #args, 3 do
    redis.call('HINCRBY', earnings, args[at] .. ':fee', args[at + 1])
    redis.call('HINCRBY', earnings, args[at] .. ':earned', args[at + 2])
  end
  local place = redis.call('XADD', records, '*', 'record', record)
  redis.call('SET', marker, place .. ' ' .. cost)
  return { 'ok', cost, text(amount and amount - paid or 0) }
end

local function void(keys, args)
  local account, hold, expiry, totals, live = unpack(keys)
  return release(account, hold, expiry, totals, live, args[1])
end

local function renew(keys, args)
  local hold, expiry = unpack(keys)
  if redis.call('EXISTS', hold) == 0 then
    return 0
  end
  redis.call('ZADD', expiry, 'XX', args[2], args[1])
  return 1
end

-- After expiry and totals, the keys are account, hold and use of each member to sweep. One that was renewed or posted
-- since the caller looked stays as it is.
local function sweep(keys, args)
  local expiry, totals = keys[1], keys[2]
  local released = {}
  for at = 2, #args do
    local account, hold, live = unpack(keys, at * 3 - 3, at * 3 - 1)
    local expires_ms = redis.call('ZSCORE', expiry, args[at])
    if expires_ms and tonumber(expires_ms) <= tonumber(args[1]) then
      released[#released + 1] = release(account, hold, expiry, totals, live, args[at])
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
  local deposited = tonumber(redis.call('HGET', totals, 'deposited') or 0)
  if tonumber(amount) > tonumber(amount_max) - deposited then
    return { 'too_large', {} }
  end
  move(account, totals, 'deposited', tonumber(amount))
  move(account, totals, 'available', tonumber(amount))
  redis.call('SET', marker, note)
  return { 'ok', redis.call('HGETALL', account) }
end

register('reserve', reserve)
register('post', post)
register('void', void, 'allow-oom')
register('renew', renew)
register('sweep', sweep, 'allow-oom')
register('deposit', deposit)
