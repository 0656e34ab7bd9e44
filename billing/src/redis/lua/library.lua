#!lua name=filature_ledger_3

-- The Redis ledger, version 3: this file, limits.lua, money.lua and books.lua, loaded as one library. Whoever changes
-- what a function means, takes or returns raises the version here, in `register` below, and in keys.rs: gateways of
-- two versions may share one server. (A version leaves the holds of later ones alone and settles those of earlier ones:
-- version 1's lie in keys of their own, version 2's do not say when their tokens were taken. Earlier versions cannot
-- show accounts and keys that later ones have written to.)
--
-- Each command inside of a function costs as much as all of its arithmetic, so what a step needs lies together: in the
-- account's hash its balances (`available`, `held`, `spent`), its holds (`hold:` and the call: amount, tokens, key; if
-- the key's tokens are limited, also when they were taken and the limit) and what is used of its keys (`use:` and the
-- key, see limits.lua); in the shard's hash the same sums and, as `provider:fee` and `provider:earned`, what providers
-- earned. What is available in a shard is not kept: it is what was deposited less what is held and spent.
--
-- Every key a function touches is passed to it, and all of them carry the same {hash tag}. Amounts and their sums are
-- integers of at most 2^53 - 1 either side of zero, which Lua's doubles keep exact; they go to Redis as text, made by
-- `text`, since what Redis makes of a Lua number is slow. Nothing is written before every reason to refuse has been
-- checked, since Redis does not undo what a failed function wrote.
local MAX = 9007199254740991

local function register(name, callback, flag)
  redis.register_function { function_name = 'filature_3_' .. name, callback = callback, flags = { flag } }
end

-- `%d` prints a 64-bit integer, and is several times as fast as `%.0f`.
local function text(number)
  return string.format('%d', number)
end

-- Whole hashes are only read where few columns can be.
local function account_row(account)
  return redis.call('HMGET', account, 'id', 'name', 'created_ms', 'deposited', 'available', 'held', 'spent')
end
