-- Limits of keys: the arithmetic of limits.rs, which says what it means. A key is twenty-one 64-bit integers, lowest byte
-- first. What is used of it: how many holds, how much they hold; of both
-- buckets what is missing and when that was so; of day, week and month when it began and what was spent; all that was ever
-- spent; and when nothing was last missing of the bucket of tokens. What it may, -1 being anything: when it was revoked,
-- when it expires, requests and tokens a minute, concurrent calls, the budget and its period.
local HOLDS, HELD, REQUESTS, TOKENS, SPENT, UNUSED = 1, 2, 3, 5, 13, 14
local REVOKED, EXPIRES, REQUESTS_MAX, TOKENS_MAX, CONCURRENT_MAX, BUDGET, PERIOD = 15, 16, 17, 18, 19, 20, 21
local KEY = '<i8i8i8i8i8i8i8i8i8i8i8i8i8i8i8i8i8i8i8i8i8'

-- Periods by number: where a key says when they began. The last has no beginning.
local DAY, WEEK, MONTH, EVER = 7, 9, 11, 13
local PERIODS = { day = DAY, week = WEEK, month = MONTH, never = EVER }

-- What one counted thing weighs in a bucket.
local UNITS = 60000
-- How many times its limit may be missing of a bucket.
local DEBT = 10

local function read_key(packed)
  return { struct.unpack(KEY, packed) }
end

local function write_key(use)
  return struct.pack(KEY, unpack(use, 1, 21))
end

-- Brings a bucket to now. Returns what is missing of it.
local function refill(use, bucket, limit, now)
  local back = math.min(math.max(now - use[bucket + 1], 0), UNITS * DEBT) * limit
  use[bucket] = math.max(math.min(use[bucket], limit * UNITS * DEBT) - back, 0)
  use[bucket + 1] = math.max(use[bucket + 1], now)
  if bucket == TOKENS and use[bucket] == 0 then
    use[UNUSED] = use[bucket + 1]
  end
  return use[bucket]
end

local function fits(used, limit, count)
  return count <= limit and used + count * UNITS <= limit * UNITS
end

local function begin_hold(use, amount)
  use[HOLDS] = use[HOLDS] + 1
  use[HELD] = use[HELD] + amount
end

local function end_hold(use, amount)
  use[HOLDS] = math.max(use[HOLDS] - 1, 0)
  use[HELD] = math.max(use[HELD] - amount, 0)
end

-- Tokens taken at a time come back unless they have since: the bucket was unused in between.
local function give_back(use, tokens, taken_ms)
  if taken_ms >= use[UNUSED] then
    use[TOKENS] = math.max(use[TOKENS] - tokens * UNITS, 0)
  end
end

-- So many tokens were used where others had been taken.
local function settle_tokens(use, limit, tokens, taken_ms, used, now)
  refill(use, TOKENS, limit, now)
  if used < tokens then
    give_back(use, tokens - used, taken_ms)
  else
    use[TOKENS] = math.min(use[TOKENS] + (used - tokens) * UNITS, limit * UNITS * DEBT)
  end
end

-- What was spent in the period that began at `start`.
local function spent_since(use, period, start)
  if period == EVER then
    return use[SPENT]
  end
  return start > use[period] and 0 or use[period + 1]
end

local function spend(use, period, start, cost)
  if start > use[period] then
    use[period], use[period + 1] = start, 0
  end
  use[period + 1] = math.min(use[period + 1] + cost, MAX)
end

local function spend_on_key(use, day, week, month, cost)
  spend(use, DAY, day, cost)
  spend(use, WEEK, week, cost)
  spend(use, MONTH, month, cost)
  use[SPENT] = use[SPENT] + cost
end
