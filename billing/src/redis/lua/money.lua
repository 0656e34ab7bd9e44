-- Gives a hold back. Returns what it held.
local function release(account, holds, member)
  local found = redis.call('HGET', holds, member)
  if not found then
    return '0'
  end
  local hold = read_hold(found)
  local used = 'use:' .. hold.key
  local money, packed = unpack(redis.call('HMGET', account, 'money', used))
  local available, held, spent = struct.unpack(MONEY, money)
  local use = read_use(packed)
  end_hold(use, hold.amount)
  give_back(use, hold.tokens, hold.taken_ms)
  redis.call('HDEL', holds, member)
  redis.call('HSET', account, 'money', struct.pack(MONEY, available + hold.amount, held - hold.amount, spent), used,
    write_use(use))
  return text(hold.amount)
end

-- The numbers of a reserve: quote, least quote, tokens, now, expiry; when day, week and month began.
local ASK = '<I8I8I8I8I8I8I8I8'
local QUOTE, QUOTE_MIN, TOKENS_ASKED, NOW, EXPIRES = 1, 2, 3, 4, 5
local STARTS = { day = 6, week = 7, month = 8 }

-- Takes a request and its tokens from the buckets, or answers that a limit is reached. Returns as well of how many
-- tokens a minute, and how much the budget leaves, if there is one.
local function take(use, ask, limits, requests, per_min, concurrent, budget, period)
  local now, tokens = ask[NOW], ask[TOKENS_ASKED]
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
    return nil, per_min, budget - use[SPENT] - use[HELD]
  end
  return nil, per_min, budget and budget - spent_since(use, period, ask[STARTS[period]]) - use[HELD]
end

-- The answer to a reserve whose hold is there: the client asks again where an answer was lost. Nothing is taken twice.
local function reserved_before(found, use, limits, requests, per_min, key, ask)
  local hold = read_hold(found)
  if hold.key ~= key or hold.amount < ask[QUOTE_MIN] or hold.amount > ask[QUOTE] then
    return { 'already_reserved' }
  end
  if limits == UNLIMITED then
    return { 'ok', text(hold.amount) }
  end
  local function used(bucket, limit)
    return text(limit and refill(use, bucket, limit, ask[NOW]) or 0)
  end
  return { 'ok', text(hold.amount), used(REQUESTS, tonumber(requests)), used(TOKENS, tonumber(per_min)), limits }
end

-- Arguments: member, key, numbers (ASK).
local function reserve(keys, args)
  local account, holds = unpack(keys)
  local member, key = args[1], args[2]
  local ask = { struct.unpack(ASK, args[3]) }
  local quote_min = ask[QUOTE_MIN]
  local used = 'use:' .. key
  local money, packed, grant = unpack(redis.call('HMGET', account, 'money', used, 'key:' .. key))
  if not money then
    return { 'unknown_account' }
  end
  if not grant then
    return { 'unknown_key' }
  end
  local revoked_ms, key_expires_ms, limits, requests, per_min, concurrent, budget, period = string.match(grant, GRANT)
  if revoked_ms ~= '-' then
    return { 'key_revoked' }
  end
  if key_expires_ms ~= '-' and tonumber(key_expires_ms) <= ask[NOW] then
    return { 'key_expired' }
  end
  local available, held, spent = struct.unpack(MONEY, money)
  local use = read_use(packed)
  local refused, takes_tokens, left
  if limits ~= UNLIMITED then
    refused, takes_tokens, left = take(use, ask, limits, requests, per_min, concurrent, budget, period)
  end
  if not refused and left and left < quote_min then
    refused = { 'budget', text(left), limits }
  end
  if not refused and available < quote_min then
    refused = { 'insufficient', text(available) }
  end
  local amount = math.min(ask[QUOTE], left or available, available)
  local hold = not refused and write_hold {
    amount = amount, tokens = takes_tokens and ask[TOKENS_ASKED] or 0, taken_ms = takes_tokens and use[TOKENS + 1] or 0,
    per_min = takes_tokens, expires_ms = ask[EXPIRES], key = key,
  }
  if refused or redis.call('HSETNX', holds, member, hold) == 0 then
    local found = redis.call('HGET', holds, member)
    return found and reserved_before(found, read_use(packed), limits, requests, per_min, key, ask) or refused
  end
  begin_hold(use, amount)
  redis.call('HSET', account, 'money', struct.pack(MONEY, available - amount, held + amount, spent), used,
    write_use(use))
  if limits == UNLIMITED then
    return { 'ok', text(amount) }
  end
  return { 'ok', text(amount), text(use[REQUESTS]), text(use[TOKENS]), limits }
end

-- The numbers of a record: legs, cost, tokens used, now; when day, week and month began; the day of its use, four kinds of
-- tokens.
local CALL = '<I8I8I8I8I8I8I8I8I8I8I8I8'
local LEGS, COST, TOKENS_USED, POSTED, DAY_START, DAY_OF, KINDS = 1, 2, 3, 4, 5, 8, 9

-- What a key used of a model on a day: calls, four kinds of tokens, cost. The latest day's row lies with the account, as
-- `day:` and the key and the model, behind the day; those of days that are over in a hash each. A day has so many rows,
-- then all other models of a key in one.
local ROWS_MAX = 4096
local SUMS = '<I8I8I8I8I8I8'
local DAY = '<I8'

local function add_sums(sums, more)
  for at = 1, 6 do
    sums[at] = math.min((sums[at] or 0) + more[at], MAX)
  end
  return struct.pack(SUMS, unpack(sums, 1, 6))
end

-- Adds to a day that is over.
local function add_to_past(usage, kept_s, key, name, more)
  local found = redis.call('HGET', usage, name)
  local rows = not found and redis.call('HLEN', usage)
  if rows and rows >= ROWS_MAX then
    name = key .. ':other'
    found = redis.call('HGET', usage, name)
  end
  redis.call('HSET', usage, name, add_sums(found and { struct.unpack(SUMS, found) } or {}, more))
  if rows == 0 then
    redis.call('EXPIRE', usage, kept_s)
  end
end

-- Whether a day has all the rows it may. If not, `row` says that it has one more.
local function is_full(row, account, day)
  local found = redis.call('HGET', account, 'rows')
  local rows_day, rows = 0, 0
  if found then
    rows_day, rows = struct.unpack('<I8I8', found)
  end
  rows = rows_day == day and rows or 0
  if rows >= ROWS_MAX then
    return true
  end
  row[#row + 1], row[#row + 2] = 'rows', struct.pack('<I8I8', day, rows + 1)
  return false
end

-- Adds what a call used to `row`, the columns that are written to its account. `found` is the row that is there, `usage`
-- the hash of the call's day, in case that is over; the hashes of other days are named like it but for the day.
local function add_use(row, account, usage, key, model, found, kept_s, call)
  local day, name = call[DAY_OF], key .. ':' .. model
  local more = { 1, call[KINDS], call[KINDS + 1], call[KINDS + 2], call[KINDS + 3], call[COST] }
  local found_day = found and struct.unpack(DAY, found) or 0
  if found_day < day and is_full(row, account, day) then
    name = key .. ':other'
    found = redis.call('HGET', account, 'day:' .. name)
    found_day = found and struct.unpack(DAY, found) or 0
  end
  if found_day > day then
    return add_to_past(usage, kept_s, key, name, more)
  end
  local sums = found and { struct.unpack(SUMS, found, 9) } or {}
  if found and found_day < day then
    local past = string.gsub(usage, '%d+$', text(found_day))
    add_to_past(past, kept_s, key, name, sums)
    sums = {}
  end
  row[#row + 1], row[#row + 2] = 'day:' .. name, struct.pack(DAY, day) .. add_sums(sums, more)
end

-- What a charged call is to its key: holds, limits, budget, and all it ever spent. Without a hold its tokens count against
-- today's limit.
local function charge_key(use, hold, per_min, call)
  local tokens, taken_ms = 0, 0
  if hold then
    end_hold(use, hold.amount)
    tokens, taken_ms, per_min = hold.tokens, hold.taken_ms, hold.per_min
  end
  if per_min then
    settle_tokens(use, per_min, tokens, taken_ms, call[TOKENS_USED], call[POSTED])
  end
  spend_on_key(use, call[DAY_START], call[DAY_START + 1], call[DAY_START + 2], call[COST])
end

-- Notes that a column of the shard grows.
local function grow(shared, column, by)
  local so_far = shared.by[column]
  if not so_far then
    shared.columns[#shared.columns + 1] = column
  end
  shared.by[column] = (so_far or 0) + by
end

-- Charges one call. Its keys begin behind `first`, its arguments behind `at`; what it shares with the others of its
-- shard is written once for all of them.
local function post_one(shared, keys, first, args, at)
  local account, marker, usage = unpack(keys, first + 1, first + 3)
  local member, key, record, model = unpack(args, at + 1, at + 4)
  local call = shared.calls[at]
  local used = 'use:' .. key
  local money, packed, grant, of_day =
    unpack(redis.call('HMGET', account, 'money', used, 'key:' .. key, 'day:' .. key .. ':' .. model))
  if not money then
    return { 'unknown_account' }
  end
  local found = shared.holds[member]
  local hold = found and read_hold(found)
  if hold and hold.key ~= key then
    return { 'other_key' }
  end
  -- The marker says where in the stream the record lies, and what the call cost.
  local posted = shared.posted[marker]
  if posted then
    -- A hold that another record of this post ends is still there, and not to be given back.
    shared.holds[member] = nil
    return { 'again', string.match(posted, '%d+$'), hold and release(account, shared.key, member) or '0' }
  end
  local paid, amount = call[COST], hold and hold.amount or 0
  if hold and paid > amount then
    return { 'above_hold', text(amount) }
  end
  if not hold then
    local sum = tonumber(redis.call('HGET', shared.totals, 'spent') or 0) + (shared.by.spent or 0)
    if paid > MAX - sum then
      return { 'too_large' }
    end
  end
  -- Without a hold this is a late post: it was swept, so the balance pays, below zero if it must.
  local available, held, spent = struct.unpack(MONEY, money)
  local row = { account, 'money', struct.pack(MONEY, available + amount - paid, held - amount, spent + paid) }
  if grant then
    local use = read_use(packed)
    charge_key(use, hold, not hold and tonumber((select(5, string.match(grant, GRANT)))), call)
    row[4], row[5] = used, write_use(use)
  end
  add_use(row, account, usage, key, model, of_day, args[1], call)
  local place = redis.call('XADD', shared.records, '*', 'record', record)
  redis.call('HSET', unpack(row))
  if hold then
    shared.ended[#shared.ended + 1] = member
    shared.holds[member] = nil
  end
  local cost = text(paid)
  shared.posted[marker] = place .. ' ' .. cost
  shared.markers[#shared.markers + 1], shared.markers[#shared.markers + 2] = marker, shared.posted[marker]
  grow(shared, 'spent', paid)
  for leg = at + 6, at + 4 + 2 * call[LEGS], 2 do
    local fee, earned = struct.unpack('<I8I8', args[leg + 1])
    grow(shared, args[leg] .. ':fee', fee)
    grow(shared, args[leg] .. ':earned', earned)
  end
  return { 'ok', cost, text(hold and amount - paid or 0) }
end

-- What the records of one post have in common: their holds, the markers, the shard's sums.
local function write_shared(shared)
  if #shared.ended > 0 then
    redis.call('HDEL', shared.key, unpack(shared.ended))
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

-- By name what is found under each of some names.
local function found_by(names, found)
  local by = {}
  for at, value in ipairs(found) do
    by[names[at]] = value
  end
  return by
end

-- Charges the calls of a shard, each for itself: what is wrong with one does not keep the others.
--
-- Keys: holds, records, totals; of each call account, marker, use of the day.
-- Arguments: seconds to keep a day's use; of each call member, key, record, model, numbers (CALL); of each leg provider,
-- and fee and earned.
local function post(keys, args)
  local members, markers, places, calls, at = {}, {}, {}, {}, 1
  for first = 3, #keys - 1, 3 do
    local call = { struct.unpack(CALL, args[at + 5]) }
    markers[#markers + 1], members[#members + 1], places[#places + 1] = keys[first + 2], args[at + 1], at
    calls[at] = call
    at = at + 5 + 2 * call[LEGS]
  end
  local shared = {
    key = keys[1], records = keys[2], totals = keys[3], calls = calls, ended = {}, markers = {}, columns = {}, by = {},
    holds = found_by(members, redis.call('HMGET', keys[1], unpack(members))),
    posted = found_by(markers, redis.call('MGET', unpack(markers))),
  }
  local answers = {}
  for number, place in ipairs(places) do
    local is_done, answer = pcall(post_one, shared, keys, 3 * number, args, place)
    answers[number] = is_done and answer or { 'damaged', type(answer) == 'table' and answer.err or tostring(answer) }
  end
  write_shared(shared)
  return answers
end

local function void(keys, args)
  return release(keys[1], keys[2], args[1])
end

local function renew(keys, args)
  local found = redis.call('HGET', keys[1], args[1])
  if not found then
    return 0
  end
  local hold = read_hold(found)
  hold.expires_ms = tonumber(args[2])
  redis.call('HSET', keys[1], args[1], write_hold(hold))
  return 1
end

-- After the holds, the keys are the accounts of the members to sweep. One that was renewed or posted since the caller
-- looked stays as it is.
local function sweep(keys, args)
  local released = {}
  for at = 2, #args do
    local found = redis.call('HGET', keys[1], args[at])
    if found and read_hold(found).expires_ms <= tonumber(args[1]) then
      released[#released + 1] = release(keys[at], keys[1], args[at])
    end
  end
  return released
end

local function deposit(keys, args)
  local account, marker, totals = unpack(keys)
  local amount, amount_max, note = unpack(args)
  local money = redis.call('HGET', account, 'money')
  if not money then
    return { 'unknown_account', {} }
  end
  if redis.call('EXISTS', marker) == 1 then
    return { 'again', account_row(account) }
  end
  local deposited = tonumber(redis.call('HGET', totals, 'deposited') or 0)
  if tonumber(amount) > tonumber(amount_max) - deposited then
    return { 'too_large', {} }
  end
  local available, held, spent = struct.unpack(MONEY, money)
  redis.call('HINCRBY', totals, 'deposited', amount)
  redis.call('HINCRBY', account, 'deposited', amount)
  redis.call('HSET', account, 'money', struct.pack(MONEY, available + tonumber(amount), held, spent))
  redis.call('SET', marker, note)
  return { 'ok', account_row(account) }
end

register('reserve', reserve)
register('post', post)
register('void', void, 'allow-oom')
register('renew', renew, 'allow-oom')
register('sweep', sweep, 'allow-oom')
register('deposit', deposit)
