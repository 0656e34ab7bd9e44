#!lua name=filature_ledger_2

-- The Redis ledger, version 2: this file, limits.lua, money.lua and books.lua, loaded as one library. Whoever changes
-- what a function means, takes or returns raises the version here, in `register` below, and in keys.rs: gateways of
-- two versions may share one server. (Version 1 leaves version 2's holds alone, and version 2 knows those of version 1.)
--
-- Every key a function touches is passed to it, and all of them carry the same {hash tag}. Amounts and their sums are
-- integers of at most 2^53 - 1 either side of zero, which Lua's doubles keep exact; they go to Redis as text, made by
-- `text`, since what Redis makes of a Lua number is slow. Nothing is written before every reason to refuse has been
-- checked, since Redis does not undo what a failed function wrote.
local MAX = 9007199254740991

local function register(name, callback, flag)
  redis.register_function { function_name = 'filature_2_' .. name, callback = callback, flags = { flag } }
end

-- `%d` prints a 64-bit integer, and is several times as fast as `%.0f`.
local function text(number)
  return string.format('%d', number)
end
