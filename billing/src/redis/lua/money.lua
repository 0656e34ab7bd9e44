-- What a hold says: amount, tokens, key, when they were taken, of how many a minute. Version 1 wrote the amount only, to
-- a key of its own, version 2 the first three; without a limit there are no more.
local function read_hold(found, of_version_1)
  found = found or redis.call('GET', of_version_1)
  if not found then
    return nil
  end
  local amount, tokens, key, taken_ms, per_min = string.match(found, '^(%d+) ?(%d*) ?(%S*) ?(%d*) ?(%d*)$')
  return tonumber(amount), tonumber(tokens) or 0, key, tonumber(taken_ms) or 0, tonumber(per_min)
end

local function remove_hold(account, found, hold, of_version_1, expiry, member)
  if found then
    redis.call('HDEL', account, hold)
  else
    redis.call('DEL', of_version_1)
  end
  redis.call('ZREM', expiry, member)
end

-- Gives a hold back. Returns what it held.
local function release(account, of_version_1, expiry, totals, member)
  local hold = 'hold:' .. member
  local available, held, found = unpack(redis.call('HMGET', account, 'available', 'held', hold))
  local amount, tokens, key, taken_ms = read_hold(found, of_version_1)
  if not amount then
    return '0'
  end
  remove_hold(account, found, hold, of_version_1, expiry, member)
  redis.call('HINCRBY', totals, 'held', text(0 - amount))
  available, held = text(tonumber(available) + amount), text(tonumber(held) - amount)
  if key == '' then
    redis.call('HSET', account, 'available', available, 'held', held)
    return text(amount)
  end
  local use = read_use(redis.call('HGET', account, 'use:' .. key))
  end_hold(use, amount)
  give_back(use, tokens, taken_ms)
  redis.call('HSET', account, 'available', available, 'held', held, 'use:' .. key, write_use(use))
  return text(amount)
end

-- Where the arguments of `reserve` say when the periods began.
local STARTS = { day = 9, week = 10, month = 11 }

-- Takes a request and its tokens from the buckets, or answers that a limit is reached. Returns as well how much the
-- budget leaves, if there is one.
local function take(use, limits, spent_before, tokens, args)
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
    return nil, per_min, budget - tonumber(spent_before or 0) - use[SPENT] - use[HELD]
  end
  return nil, per_min, budget and budget - spent_since(use, period, tonumber(args[STARTS[period]])) - use[HELD]
end

-- The answer to a reserve whose hold is there: the client asks again where an answer was lost. Nothing is taken twice.
local function reserved_before(found, use, limits, args)
  local amount, _, key_id = read_hold(found)
  if key_id ~= args[3] or amount < tonumber(args[5]) or amount > tonumber(args[4]) then
    return { 'already_reserved' }
  end
  if not limits then
    return { 'ok', text(amount) }
  end
  local requests, per_min = string.match(limits, '^(%S+) (%S+)')
  local function used(bucket, limit)
    return text(limit and refill(use, bucket, limit, tonumber(args[7])) or 0)
  end
  return { 'ok', text(amount), used(REQUESTS, tonumber(requests)), used(TOKENS, tonumber(per_min)), limits }
end

-- Arguments: account, member, key, quote, least quote, tokens, now, expiry; starts of day, week and month.
local function reserve(keys, args)
  local account, key, expiry, totals = unpack(keys)
  local id, member, key_id = unpack(args, 1, 3)
  local quote, quote_min, tokens = tonumber(args[4]), tonumber(args[5]), tonumber(args[6])
  local hold, used = 'hold:' .. member, 'use:' .. key_id
  local available, held_before, found, packed =
    unpack(redis.call('HMGET', account, 'available', 'held', hold, used))
  if not available then
    return { 'unknown_account' }
  end
  local owner, revoked_ms, key_expires_ms, limits, spent_before =
    unpack(redis.call('HMGET', key, 'account', 'revoked_ms', 'expires_ms', 'limits', 'spent'))
  if owner ~= id then
    return { 'unknown_key' }
  end
  if revoked_ms then
    return { 'key_revoked' }
  end
  if key_expires_ms and tonumber(key_expires_ms) <= tonumber(args[7]) then
    return { 'key_expired' }
  end
  local use = read_use(packed)
  if found then
    return reserved_before(found, use, limits, args)
  end
  local refused, takes_tokens, left
  if limits then
    refused, takes_tokens, left = take(use, limits, spent_before, tokens, args)
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
  local amount = math.min(quote, left or quote, available)
  local amount_text = text(amount)
  begin_hold(use, amount)
  local says = takes_tokens and { amount_text, args[6], key_id, text(use[TOKENS + 1]), text(takes_tokens) }
    or { amount_text, '0', key_id }
  redis.call('HSET', account, 'available', text(available - amount), 'held', text(tonumber(held_before) + amount), hold,
    table.concat(says, ' '), used, write_use(use))
  redis.call('HINCRBY', totals, 'held', amount_text)
  redis.call('ZADD', expiry, args[8], member)
  if limits then
    return { 'ok', amount_text, text(use[REQUESTS]), text(use[TOKENS]), limits }
  end
  return { 'ok', amount_text }
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

-- What a charged call is to its key: holds, limits, budget, and all it ever spent. The arguments of the record begin
-- behind `at`.
local function charge_key(use, held, tokens, taken_ms, per_min, args, at)
  if held then
    end_hold(use, held)
  end
  if per_min then
    settle_tokens(use, per_min, tokens, taken_ms, tonumber(args[at + 9]), tonumber(args[at + 8]))
  end
  spend_on_key(use, tonumber(args[at + 10]), tonumber(args[at + 11]), tonumber(args[at + 12]), tonumber(args[at + 7]))
end

-- Notes that a column of the shard changes.
local function change(shared, column, by)
  if not shared.by[column] then
    shared.columns[#shared.columns + 1] = column
  end
  shared.by[column] = (shared.by[column] or 0) + by
end

-- Of the call's key, without whose hold the record came: whether it is the account's, and its tokens a minute.
local function key_of_late(key, id)
  local owner, limits = unpack(redis.call('HMGET', key, 'account', 'limits'))
  return owner == id, limits and tonumber(string.match(limits, '^%S+ (%S+)'))
end

-- Charges one call. Its keys begin behind `first`, its arguments behind `at`; what it shares with the others of its
-- shard is written once for all of them.
local function post_one(shared, keys, first, args, at)
  local account, key, of_version_1, marker, usage = unpack(keys, first + 1, first + 5)
  local legs, id, member, key_id, record, model, cost = unpack(args, at + 1, at + 7)
  local hold, used = 'hold:' .. member, 'use:' .. key_id
  local available, held, spent, found, packed =
    unpack(redis.call('HMGET', account, 'available', 'held', 'spent', hold, used))
  if not available then
    return { 'unknown_account' }
  end
  local amount, tokens, holder, taken_ms, per_min = read_hold(found, of_version_1)
  if amount and holder ~= '' and holder ~= key_id then
    return { 'other_key' }
  end
  -- The marker says where in the stream the record lies, and what the call cost.
  local posted = shared.posted[marker]
  if posted then
    return { 'again', string.match(posted, '%d+$'), release(account, of_version_1, shared.expiry, shared.totals, member) }
  end
  local paid = tonumber(cost)
  if amount and paid > amount then
    return { 'above_hold', text(amount) }
  end
  if not amount then
    local sum = tonumber(redis.call('HGET', shared.totals, 'spent') or 0) + (shared.by.spent or 0)
    if paid > MAX - sum then
      return { 'too_large' }
    end
  end
  local is_keys = amount and holder ~= ''
  local has_key = is_keys
  if not is_keys then
    has_key, per_min = key_of_late(key, id)
  end
  -- Without a hold this is a late post: it was swept, so the balance pays, below zero if it must.
  local row = { account, 'available', text(tonumber(available) + (amount or 0) - paid),
    'held', text(tonumber(held) - (amount or 0)), 'spent', text(tonumber(spent) + paid) }
  if has_key then
    local use = read_use(packed)
    charge_key(use, is_keys and amount, is_keys and tokens or 0, taken_ms, per_min, args, at)
    row[8], row[9] = used, write_use(use)
  end
  local place = redis.call('XADD', shared.records, '*', 'record', record)
  redis.call('HSET', unpack(row))
  if found then
    redis.call('HDEL', account, hold)
  elseif amount then
    redis.call('DEL', of_version_1)
  end
  if amount then
    shared.members[#shared.members + 1] = member
  end
  shared.posted[marker] = place .. ' ' .. cost
  shared.markers[#shared.markers + 1], shared.markers[#shared.markers + 2] = marker, shared.posted[marker]
  change(shared, 'held', 0 - (amount or 0))
  change(shared, 'spent', paid)
  for leg = at + 17, at + 14 + 3 * tonumber(legs), 3 do
    change(shared, args[leg] .. ':fee', tonumber(args[leg + 1]))
    change(shared, args[leg] .. ':earned', tonumber(args[leg + 2]))
  end
  add_use(usage, key_id, model, args[1], args, at + 13, cost)
  return { 'ok', cost, text(amount and amount - paid or 0) }
end

-- What the records of one post have in common: the shard's sums, its expiring holds, the markers.
local function write_shared(shared)
  if #shared.members > 0 then
    redis.call('ZREM', shared.expiry, unpack(shared.members))
  end
  if #shared.markers == 0 then
    return
  end
  redis.call('MSET', unpack(shared.markers))
  local row = { shared.totals }
  for at, sum in ipairs(redis.call('HMGET', shared.totals, unpack(shared.columns))) do
    local column = shared.columns[at]
    row[2 * at], row[2 * at + 1] = column, text(tonumber(sum or 0) + shared.by[column])
  end
  redis.call('HSET', unpack(row))
end

-- Charges the calls of a shard, each for itself: what is wrong with one does not keep the others.
--
-- Keys: expiry, records, totals; of each call account, key, hold of version 1, marker, use of the day.
-- Arguments: seconds to keep a day's use; of each call how many legs, account, member, key, record, model, cost, now,
-- tokens used, starts of day, week and month, its four kinds of tokens; of each leg provider, fee, earned.
local function post(keys, args)
  local shared = { expiry = keys[1], records = keys[2], totals = keys[3], posted = {}, markers = {}, members = {},
    columns = {}, by = {} }
  local markers = {}
  for first = 3, #keys - 1, 5 do
    markers[#markers + 1] = keys[first + 4]
  end
  for at, posted in ipairs(redis.call('MGET', unpack(markers))) do
    shared.posted[markers[at]] = posted
  end
  local answers, at = {}, 1
  for first = 3, #keys - 1, 5 do
    local is_done, answer = pcall(post_one, shared, keys, first, args, at)
    answers[#answers + 1] = is_done and answer or { 'damaged', type(answer) == 'table' and answer.err or tostring(answer) }
    at = at + 16 + 3 * tonumber(args[at + 1])
  end
  write_shared(shared)
  return answers
end

local function void(keys, args)
  local account, of_version_1, expiry, totals = unpack(keys)
  return release(account, of_version_1, expiry, totals, args[1])
end

local function renew(keys, args)
  local account, of_version_1, expiry = unpack(keys)
  if redis.call('HEXISTS', account, 'hold:' .. args[1]) == 0 and redis.call('EXISTS', of_version_1) == 0 then
    return 0
  end
  redis.call('ZADD', expiry, 'XX', args[2], args[1])
  return 1
end

-- After expiry and totals, the keys are account and hold of version 1 of each member to sweep. One that was renewed or
-- posted since the caller looked stays as it is.
local function sweep(keys, args)
  local expiry, totals = keys[1], keys[2]
  local released = {}
  for at = 2, #args do
    local account, of_version_1 = keys[at * 2 - 1], keys[at * 2]
    local expires_ms = redis.call('ZSCORE', expiry, args[at])
    if expires_ms and tonumber(expires_ms) <= tonumber(args[1]) then
      released[#released + 1] = release(account, of_version_1, expiry, totals, args[at])
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
    return { 'again', account_row(account) }
  end
  local deposited = tonumber(redis.call('HGET', totals, 'deposited') or 0)
  if tonumber(amount) > tonumber(amount_max) - deposited then
    return { 'too_large', {} }
  end
  redis.call('HINCRBY', totals, 'deposited', amount)
  redis.call('HINCRBY', account, 'deposited', amount)
  redis.call('HINCRBY', account, 'available', amount)
  redis.call('SET', marker, note)
  return { 'ok', account_row(account) }
end

register('reserve', reserve)
register('post', post)
register('void', void, 'allow-oom')
register('renew', renew, 'allow-oom')
register('sweep', sweep, 'allow-oom')
register('deposit', deposit)
