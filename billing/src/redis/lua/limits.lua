-- Limits of keys: the arithmetic of limits.rs, which says what it means. What is used of a key is thirteen 64-bit
-- integers, lowest byte first: how many holds, how much they hold; of both buckets what is missing and when that was so;
-- of day, week and month when it began and what was spent; and all that was ever spent (since version 2: what was before
-- stands in the key's own column `spent`).
local HOLDS, HELD, REQUESTS, TOKENS, SPENT = 1, 2, 3, 5, 13
local PERIODS = { day = 7, week = 9, month = 11 }
local USE = '<I8I8I8I8I8I8I8I8I8I8I8I8I8'

-- What one counted thing weighs in a bucket.
local UNITS = 60000

local function read_use(packed)
  if not packed then
    return { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
  end
  return { struct.unpack(USE, packed) }
end

local function write_use(use)
  return struct.pack(USE, unpack(use, 1, 13))
end

-- Brings a bucket to now. Returns what is missing of it.
local function refill(use, bucket, limit, now)
  local back = math.min(math.max(now - use[bucket + 1], 0), UNITS) * limit
  use[bucket] = math.max(math.min(use[bucket], limit * UNITS) - back, 0)
  use[bucket + 1] = math.max(use[bucket + 1], now)
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

local function give_back(use, tokens)
  use[TOKENS] = math.max(use[TOKENS] - tokens * UNITS, 0)
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
