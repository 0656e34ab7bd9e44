-- Limits of keys: the arithmetic of limits.rs, which says what it means. What is used of a key is fourteen 64-bit
-- integers, lowest byte first: how many holds, how much they hold; of both buckets what is missing and when that was so;
-- of day, week and month when it began and what was spent; all that was ever spent; and when nothing was last missing of
-- the bucket of tokens.
local HOLDS, HELD, REQUESTS, TOKENS, SPENT, UNUSED = 1, 2, 3, 5, 13, 14
local PERIODS = { day = 7, week = 9, month = 11 }
local USE = '<I8I8I8I8I8I8I8I8I8I8I8I8I8I8'

-- What one counted thing weighs in a bucket.
local UNITS = 60000
-- How many times its limit may be missing of a bucket.
local DEBT = 10

local function read_use(packed)
  if not packed then
    return { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
  end
  return { struct.unpack(USE, packed) }
end

local function write_use(use)
  return struct.pack(USE, unpack(use, 1, 14))
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
  local at = PERIODS[period]
  if start > use[at] then
    return 0
  end
  return use[at + 1]
end

local function spend(use, period, start, cost)
  local at = PERIODS[period]
  if start > use[at] then
    use[at], use[at + 1] = start, 0
  end
  use[at + 1] = math.min(use[at + 1] + cost, MAX)
end

local function spend_on_key(use, day, week, month, cost)
  spend(use, 'day', day, cost)
  spend(use, 'week', week, cost)
  spend(use, 'month', month, cost)
  use[SPENT] = use[SPENT] + cost
end
