-- What crosses the ledger's border: deposits, withdrawals, how far the world outside was read, and where providers are paid.

-- Keys: account, marker, stream of the account's deposits, totals. Arguments: amount, most that all deposits may be, what
-- the marker says, the deposit as the stream has it.
local function deposit(keys, args)
  local account, marker, deposits, totals = unpack(keys)
  local amount, amount_max, note, entry = unpack(args)
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
  redis.call('XADD', deposits, '*', 'deposit', entry)
  return { 'ok', account_row(account) }
end

-- Keys: account, the withdrawal, stream of the account's withdrawals, the shard's open ones, totals. Arguments: amount, the
-- withdrawal's id, its name in the shard, how it begins, how many may be open.
local function withdraw(keys, args)
  local account, withdrawal, withdrawals, open, totals = unpack(keys)
  local amount, id, member, begun, open_max = unpack(args)
  local money = redis.call('HGET', account, 'money')
  if not money then
    return { 'unknown_account', '', {} }
  end
  local known = redis.call('GET', withdrawal)
  if known then
    return { 'again', known, account_row(account) }
  end
  local available, held, spent = struct.unpack(MONEY, money)
  if available < tonumber(amount) then
    return { 'insufficient', text(available), {} }
  end
  if redis.call('HLEN', open) >= tonumber(open_max) then
    return { 'too_many', '', {} }
  end
  redis.call('HINCRBY', totals, 'withdrawn', amount)
  redis.call('HINCRBY', account, 'withdrawn', amount)
  redis.call('HSET', account, 'money', struct.pack(MONEY, available - tonumber(amount), held, spent))
  redis.call('SET', withdrawal, begun)
  redis.call('XADD', withdrawals, '*', 'id', id)
  redis.call('HSET', open, member, begun)
  return { 'ok', begun, account_row(account) }
end

-- Keys: account, the withdrawal, the shard's open ones, totals. Arguments: the withdrawal as it stands and as it shall be, its
-- name in the shard, whether it is open then, what its account gets back. Answers it as it is then: another, if it did not
-- stand so.
local function step_withdrawal(keys, args)
  local account, withdrawal, open, totals = unpack(keys)
  local before, after, member, is_open, back = unpack(args)
  local known = redis.call('GET', withdrawal)
  if known ~= before then
    return known
  end
  if back ~= '0' then
    local available, held, spent = struct.unpack(MONEY, redis.call('HGET', account, 'money'))
    redis.call('HINCRBY', totals, 'withdrawn', '-' .. back)
    redis.call('HINCRBY', account, 'withdrawn', '-' .. back)
    redis.call('HSET', account, 'money', struct.pack(MONEY, available + tonumber(back), held, spent))
  end
  redis.call('SET', withdrawal, after)
  if is_open == '1' then
    redis.call('HSET', open, member, after)
  else
    redis.call('HDEL', open, member)
  end
  return after
end

-- The withdrawals under some keys.
local function withdrawals(keys)
  return redis.call('MGET', unpack(keys))
end

-- Keys: the bookmark, the stream of what was credited to nobody, and for each new entry the stream of the account it names,
-- or again the first stream. Arguments: where the bookmark is ('' if nowhere), where it shall be; how many entries the
-- stream may have, how many an account's, and how many seconds that is kept; the new entries.
local function move_bookmark(keys, args)
  local bookmark, uncredited = unpack(keys)
  local from, to, entries_max, of_max, of_kept_s = unpack(args)
  local known = redis.call('GET', bookmark) or ''
  if known == to then
    return 1
  end
  if known ~= from then
    return 0
  end
  for at = 6, #args do
    redis.call('XADD', uncredited, 'MAXLEN', entries_max, '*', 'transfer', args[at])
    local of = keys[at - 3]
    if of ~= uncredited then
      redis.call('XADD', of, 'MAXLEN', of_max, '*', 'transfer', args[at])
      redis.call('EXPIRE', of, of_kept_s)
    end
  end
  redis.call('SET', bookmark, to)
  return 1
end

-- Keys: the hash of where providers are to be paid. Arguments: the provider, what stands there ('' if nothing), what shall
-- stand there, how many the hash may have.
local function name_payout(keys, args)
  local names = unpack(keys)
  local provider, from, to, names_max = unpack(args)
  local known = redis.call('HGET', names, provider) or ''
  if known == to then
    return 'ok'
  end
  if known ~= from then
    return 'other'
  end
  if known == '' and redis.call('HLEN', names) >= tonumber(names_max) then
    return 'too_many'
  end
  redis.call('HSET', names, provider, to)
  return 'ok'
end

register('deposit', deposit)
register('withdraw', withdraw)
register('step_withdrawal', step_withdrawal)
register('withdrawals', withdrawals, 'no-writes')
register('move_bookmark', move_bookmark)
register('name_payout', name_payout)
