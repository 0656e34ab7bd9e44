-- Gives a hold back. Returns what it held.
local function release(account, holds, member)
  local found = redis.call('HGET', holds, member)
  if not found then
    return 0
  end
  local key, amount, tokens, taken_ms = read_hold(found)
  local column = 'key:' .. key
  local money, packed = unpack(redis.call('HMGET', account, 'money', column))
  local available, held, spent = struct.unpack(MONEY, money)
  local use = read_key(packed)
  end_hold(use, amount)
  give_back(use, tokens, taken_ms)
  redis.call('HDEL', holds, member)
  redis.call('HSET', account, 'money', struct.pack(MONEY, available + amount, held - amount, spent), column,
    write_key(use))
  return amount
end

-- Takes a request and its tokens from the buckets, or answers that a limit is reached. Returns as well how much the budget
-- leaves, if there is one; `started` is when its period began.
local function take(use, tokens, now, started)
  local requests, per_min, concurrent = use[REQUESTS_MAX], use[TOKENS_MAX], use[CONCURRENT_MAX]
  local requests_used = requests >= 0 and refill(use, REQUESTS, requests, now) or 0
  local tokens_used = per_min >= 0 and refill(use, TOKENS, per_min, now) or 0
  local reached
  if requests >= 0 and not fits(requests_used, requests, 1) then
    reached = 'requests'
  elseif per_min >= 0 and not fits(tokens_used, per_min, tokens) then
    reached = 'tokens'
  elseif concurrent >= 0 and use[HOLDS] >= concurrent then
    reached = 'concurrent'
  end
  if reached then
    return { 'limited', reached, requests_used, requests, tokens_used, per_min }
  end
  if requests >= 0 then
    use[REQUESTS] = requests_used + UNITS
  end
  if per_min >= 0 then
    use[TOKENS] = tokens_used + tokens * UNITS
  end
  return nil, use[BUDGET] >= 0 and use[BUDGET] - spent_since(use, use[PERIOD], started) - use[HELD]
end

-- The answer to a reserve: what is held and, where there are limits a minute, what is used of them and what they are.
local function reserved(use, amount)
  local requests, per_min = use[REQUESTS_MAX], use[TOKENS_MAX]
  if requests < 0 and per_min < 0 then
    return { 'ok', amount }
  end
  return { 'ok', amount, requests >= 0 and use[REQUESTS] or 0, requests, per_min >= 0 and use[TOKENS] or 0, per_min }
end

-- The answer to one whose hold is there: the client asks again where an answer was lost. Nothing is taken twice.
local function reserved_before(found, use, key, quote, quote_min, now)
  local holder, amount = read_hold(found)
  if holder ~= key or amount < quote_min or amount > quote then
    return { 'already_reserved' }
  end
  for bucket, limit in pairs { [REQUESTS] = use[REQUESTS_MAX], [TOKENS] = use[TOKENS_MAX] } do
    if limit >= 0 then
      refill(use, bucket, limit, now)
    end
  end
  return reserved(use, amount)
end

-- Arguments: member, key, numbers: quote, least quote, tokens, now, expiry; when day, week and month began.
local function reserve(keys, args)
  local account, holds = keys[1], keys[2]
  local member, key = args[1], args[2]
  local quote, quote_min, tokens, now, expires_ms, day, week, month = struct.unpack('<I8I8I8I8I8I8I8I8', args[3])
  local column = 'key:' .. key
  local money, packed = unpack(redis.call('HMGET', account, 'money', column))
  if not money then
    return { 'unknown_account' }
  end
  if not packed then
    return { 'unknown_key' }
  end
  local use = read_key(packed)
  if use[REVOKED] >= 0 then
    return { 'key_revoked' }
  end
  if use[EXPIRES] >= 0 and use[EXPIRES] <= now then
    return { 'key_expired' }
  end
  local available, held, spent = struct.unpack(MONEY, money)
  local period = use[PERIOD]
  local refused, left = take(use, tokens, now, period == DAY and day or period == WEEK and week or month)
  if not refused and left and left < quote_min then
    refused = { 'budget', left, period }
  end
  if not refused and available < quote_min then
    refused = { 'insufficient', available }
  end
  local amount = math.min(quote, left or available, available)
  local per_min = use[TOKENS_MAX]
  local hold = not refused
    and write_hold(key, amount, per_min >= 0 and tokens or 0, use[TOKENS + 1], per_min, expires_ms)
  if refused or redis.call('HSETNX', holds, member, hold) == 0 then
    local found = redis.call('HGET', holds, member)
    return found and reserved_before(found, read_key(packed), key, quote, quote_min, now) or refused
  end
  begin_hold(use, amount)
  redis.call('HSET', account, 'money', struct.pack(MONEY, available - amount, held + amount, spent), column,
    write_key(use))
  return reserved(use, amount)
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
local ROW_DAY = '<I8'
local ROW = '<I8I8I8I8I8I8I8'

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
  if rows_day > day then
    return false -- A late call of an earlier day: the latest day is what is counted.
  end
  rows = rows_day == day and rows or 0
  if rows >= ROWS_MAX then
    return true
  end
  row[#row + 1], row[#row + 2] = 'rows', struct.pack('<I8I8', day, rows + 1)
  return false
end

-- The row that is there with a call's use on it, if it is of the call's day: as nearly always.
local function same_day(found, call)
  local day, calls, prompt, cached, completion, reasoning, cost = struct.unpack(ROW, found)
  return day == call[DAY_OF]
    and struct.pack(ROW, day, math.min(calls + 1, MAX), math.min(prompt + call[KINDS], MAX),
      math.min(cached + call[KINDS + 1], MAX), math.min(completion + call[KINDS + 2], MAX),
      math.min(reasoning + call[KINDS + 3], MAX), math.min(cost + call[COST], MAX))
end

-- Adds what a call used to `row`, the columns that are written to its account. `found` is the row that is there, `usage`
-- the hash of the call's day, in case that is over; the hashes of other days are named like it but for the day.
local function add_use(row, account, usage, key, model, found, kept_s, call)
  local day, name = call[DAY_OF], key .. ':' .. model
  local more = { 1, call[KINDS], call[KINDS + 1], call[KINDS + 2], call[KINDS + 3], call[COST] }
  local found_day = found and struct.unpack(ROW_DAY, found) or 0
  if found_day < day and is_full(row, account, day) then
    name = key .. ':other'
    found = redis.call('HGET', account, 'day:' .. name)
    found_day = found and struct.unpack(ROW_DAY, found) or 0
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
  row[#row + 1], row[#row + 2] = 'day:' .. name, struct.pack(ROW_DAY, day) .. add_sums(sums, more)
end

-- What a charged call is to its key: limits, budget, and all it ever spent. Its tokens count against the limit under which
-- it began.
local function charge_key(use, tokens, taken_ms, per_min, call)
  if per_min >= 0 then
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
  local account, marker, usage = keys[first + 1], keys[first + 2], keys[first + 3]
  local member, key, record, model = args[at + 1], args[at + 2], args[at + 3], args[at + 4]
  local call, column, day_column = shared.calls[at], 'key:' .. key, 'day:' .. key .. ':' .. model
  local money, packed, of_day = unpack(redis.call('HMGET', account, 'money', column, day_column))
  if not money then
    return { 'unknown_account' }
  end
  local hold = shared.holds[member]
  local holder, amount, tokens, taken_ms, per_min
  if hold then
    holder, amount, tokens, taken_ms, per_min = read_hold(hold)
    if holder ~= key then
      return { 'other_key' }
    end
  end
  -- The marker says where in the stream the record lies, and what the call cost.
  local posted = shared.posted[marker]
  if posted then
    -- A hold that another record of this post ends is still there, and not to be given back.
    shared.holds[member] = nil
    return { 'again', string.match(posted, '%d+$'), hold and release(account, shared.key, member) or 0 }
  end
  local paid = call[COST]
  if hold and paid > amount then
    return { 'above_hold', amount }
  end
  if not hold then
    local sum = tonumber(redis.call('HGET', shared.totals, 'spent') or 0) + (shared.by.spent or 0)
    if paid > MAX - sum then
      return { 'too_large' }
    end
  end
  -- Without a hold this is a late post: it was swept, so the balance pays, below zero if it must, and its tokens count
  -- against today's limit.
  local available, held, spent = struct.unpack(MONEY, money)
  local released = hold and amount or 0
  local row = { account, 'money', struct.pack(MONEY, available + released - paid, held - released, spent + paid) }
  if packed then
    local use = read_key(packed)
    if hold then
      end_hold(use, amount)
    end
    charge_key(use, tokens or 0, taken_ms or 0, per_min or use[TOKENS_MAX], call)
    row[4], row[5] = column, write_key(use)
  end
  local used = of_day and same_day(of_day, call)
  if used then
    row[#row + 1], row[#row + 2] = day_column, used
  else
    add_use(row, account, usage, key, model, of_day, args[1], call)
  end
  local place = redis.call('XADD', shared.records, '*', 'record', record)
  redis.call('HSET', unpack(row))
  if hold then
    shared.ended[#shared.ended + 1] = member
    shared.holds[member] = nil
  end
  posted = place .. ' ' .. text(paid)
  shared.posted[marker] = posted
  local markers = shared.markers
  markers[#markers + 1], markers[#markers + 2] = marker, posted
  grow(shared, 'spent', paid)
  for leg = at + 6, at + 4 + 2 * call[LEGS], 2 do
    local fee, earned = struct.unpack('<I8I8', args[leg + 1])
    grow(shared, args[leg] .. ':fee', fee)
    grow(shared, args[leg] .. ':earned', earned)
  end
  return { 'ok', paid, hold and amount - paid or 0 }
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

-- What a failed step answers: a command's own error (a right that is missing, a disk that is full) passes by, what cannot be
-- read stays until somebody mends it.
local function wrong(error)
  error = type(error) == 'table' and error.err or tostring(error)
  -- Those of commands begin with their code, those of Lua with their place.
  return { string.match(error, '^%u+ ') and 'failed' or 'damaged', error }
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
    answers[number] = is_done and answer or wrong(answer)
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
  local key, amount, tokens, taken_ms, per_min = read_hold(found)
  redis.call('HSET', keys[1], args[1], write_hold(key, amount, tokens, taken_ms, per_min, tonumber(args[2])))
  return 1
end

-- After the holds, the keys are the accounts of the members to sweep. One that was renewed or posted since the caller
-- looked stays as it is; one that cannot be given back is a -1 and keeps no other.
local function sweep(keys, args)
  local released = {}
  for at = 2, #args do
    local found = redis.call('HGET', keys[1], args[at])
    if found and select(6, read_hold(found)) <= tonumber(args[1]) then
      local is_done, amount = pcall(release, keys[at], keys[1], args[at])
      released[#released + 1] = is_done and amount or -1
    end
  end
  return released
end

register('reserve', reserve)
register('post', post)
register('void', void, 'allow-oom')
register('renew', renew, 'allow-oom')
register('sweep', sweep, 'allow-oom')
