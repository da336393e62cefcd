-- Health, pruning, refusals, held deletes.

-- name: open
-- version; the oldest that a program may know, as the caller knows it. Returns both, as they are now: they are made if they are missing,
-- an older version is expanded, and a server that has lost a contraction gets it back, since records may need it.
for n, field in ipairs({'version', 'compatible_from'}) do
    redis.call('HSETNX', counters, field, ARGV[n])
    if (tonumber(redis.call('HGET', counters, field)) or math.huge) < tonumber(ARGV[n]) then redis.call('HSET', counters, field, ARGV[n]) end
end
return redis.call('HMGET', counters, 'version', 'compatible_from')

-- name: version
return redis.call('HMGET', counters, 'version', 'compatible_from')

-- name: contract
-- version. Returns the workers that know only older ones; if there are none, no program that does may use the ledger from now on.
local older, known = {}, redis.call('HGETALL', workers)
for n = 1, #known, 2 do
    local _, till, _, _, next_one = struct.unpack('<ddI2c0I4c0', known[n + 1])
    local version = next_one <= #known[n + 1] and struct.unpack('<I2', known[n + 1], next_one) or 1
    if till > now and version < tonumber(ARGV[1]) then push(older, known[n]) end
end
if #older == 0 and tonumber(redis.call('HGET', counters, 'compatible_from')) < tonumber(ARGV[1]) then
    redis.call('HSET', counters, 'compatible_from', ARGV[1])
end
return older

-- name: prune
-- age, limit. Returns the count.
local before, limit, old = now - ARGV[1], tonumber(ARGV[2]), {}
for _, state in ipairs({DONE, SKIPPED, DISCARDED}) do
    local found = redis.call('ZRANGEBYSCORE', states[state], '-inf', string.format('(%.0f', before), 'WITHSCORES', 'LIMIT', 0, limit)
    for n = 1, #found, 2 do push(old, {tonumber(found[n + 1]), found[n], states[state]}) end
end
table.sort(old, function(a, b) return a[1] < b[1] or a[1] == b[1] and a[2] < b[2] end)
for n = 1, math.min(limit, #old) do
    local member, key = old[n][2], old[n][3]
    local id = member:sub(9)
    local row = read_row(redis.call('HGET', transfers, id))
    local place, source = read_contents(row)
    redis.call('ZREM', keys, own_name(id, place), source_name(id, source) or own_name(id, place))
    redis.call('ZREM', key, member)
    redis.call('HDEL', transfers, id)
    redis.call('HDEL', failures, id)
end
if #old > 0 then return math.min(limit, #old) end
old = redis.call('ZRANGEBYSCORE', refusals_at, '-inf', string.format('(%.0f', before), 'LIMIT', 0, limit)
for _, name in ipairs(old) do
    redis.call('ZREM', refusals_at, name)
    redis.call('ZREM', refusals_keys, name)
    redis.call('HDEL', refusals, name)
end
return #old

-- name: add_refusals
-- for each: name, time, refusal
for n = 1, #ARGV, 3 do
    redis.call('HSET', refusals, ARGV[n], ARGV[n + 2])
    redis.call('ZADD', refusals_at, ARGV[n + 1], ARGV[n])
    redis.call('ZADD', refusals_keys, 0, ARGV[n])
end

-- name: list_refusals
-- beginning of the names. Returns {time, refusal}, ...
local answer = {}
for n, name in ipairs(redis.call('ZRANGEBYLEX', refusals_keys, '[' .. ARGV[1], '[' .. ARGV[1] .. '\255')) do
    answer[n] = redis.call('HGET', refusals, name)
end
return answer

-- name: hold
-- for each: id, store, reason, record. Returns the number of new ones.
local count = 0
for n = 1, #ARGV, 4 do
    local id, store = ARGV[n], ARGV[n + 1]
    if redis.call('HEXISTS', held_deletes, id) == 0 then
        local serial = redis.call('HINCRBY', counters, 'held', 1)
        redis.call('HSET', held_deletes, id, struct.pack('<ddI4c0I4c0I4c0', serial, NONE, #store, store, #ARGV[n + 2], ARGV[n + 2], #ARGV[n + 3],
            ARGV[n + 3]))
        redis.call('ZADD', held, serial, id)
        redis.call('HINCRBY', held_counts, struct.pack('>I4c0', #store, store) .. ARGV[n + 2], 1)
        count = count + 1
    end
end
return count

-- name: list_held
-- "newest" or "oldest", serial, limit; states. Returns {state, id, serial, decided, record}, ...
local newest, serial, limit = ARGV[1] == 'newest', ARGV[2], tonumber(ARGV[3])
local items, keys_of, answer = {}, {held = held, approved = approved, rejected = rejected}, {}
for n = 4, #ARGV do
    local command = newest and 'ZREVRANGEBYSCORE' or 'ZRANGEBYSCORE'
    for _, id in ipairs(redis.call(command, keys_of[ARGV[n]], '(' .. serial, newest and '-inf' or '+inf', 'LIMIT', 0, limit)) do
        local known, decided, _, _, record = struct.unpack('<ddI4c0I4c0I4c0', redis.call('HGET', held_deletes, id))
        push(items, {ARGV[n], id, known, decided, record})
    end
end
table.sort(items, function(a, b) if newest then return a[3] > b[3] end return a[3] < b[3] end)
for n = 1, math.min(limit, #items) do answer[n] = items[n] end
return answer

-- name: find_held
local answer = {}
for n, id in ipairs(ARGV) do answer[n] = redis.call('HEXISTS', held_deletes, id) end
return answer

-- name: decide
-- state; states before; source to forget, or nothing, and id of each. Returns the count.
local keys_of, count = {held = held, approved = approved, rejected = rejected}, 0
for n = 3, #ARGV, 2 do
    local id = ARGV[n + 1]
    for before in ARGV[2]:gmatch('%a+') do
        if redis.call('ZREM', keys_of[before], id) == 1 then
            local serial, _, store, reason, record = struct.unpack('<ddI4c0I4c0I4c0', redis.call('HGET', held_deletes, id))
            redis.call('ZADD', keys_of[ARGV[1]], serial, id)
            redis.call('HSET', held_deletes, id, struct.pack('<ddI4c0I4c0I4c0', serial, now, #store, store, #reason, reason, #record, record))
            if before == 'held' then
                local name = struct.pack('>I4c0', #store, store) .. reason
                if redis.call('HINCRBY', held_counts, name, -1) <= 0 then redis.call('HDEL', held_counts, name) end
            end
            if ARGV[n] ~= '' then redis.call('HDEL', identities, ARGV[n]) end
            count = count + 1
            break
        end
    end
end
return count

-- name: forget_held
local count = 0
for _, id in ipairs(ARGV) do
    local packed = redis.call('HGET', held_deletes, id)
    if packed then
        local _, _, store, reason = struct.unpack('<ddI4c0I4c0I4c0', packed)
        if redis.call('ZREM', held, id) == 1 then
            local name = struct.pack('>I4c0', #store, store) .. reason
            if redis.call('HINCRBY', held_counts, name, -1) <= 0 then redis.call('HDEL', held_counts, name) end
        end
        redis.call('ZREM', approved, id)
        redis.call('ZREM', rejected, id)
        redis.call('HDEL', held_deletes, id)
        count = count + 1
    end
end
return count

-- name: count_held
return redis.call('HGETALL', held_counts)

-- name: get_identity
return redis.call('HGET', identities, ARGV[1])

-- name: set_identity
redis.call('HSET', identities, ARGV[1], ARGV[2])
