-- Queries. None looks at more than a few thousand records; the caller goes on from where one ended.

-- name: get
-- id. Returns {place, row, failures}
local row = read_row(redis.call('HGET', transfers, ARGV[1]))
if not row then return nil end
local place, _, _, text = read_contents(row)
return {place, row.state, row.reason, row.burned, row.lost, row.created, row.updated, row.due, text, row.receipt,
    redis.call('HGET', failures, ARGV[1])}

-- name: ids
-- cursor of HSCAN, pattern, records to look at. Returns {next cursor, id, ...}; an id may come twice
local found = redis.call('HSCAN', transfers, ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local answer = {found[1]}
for n = 1, #found[2], 2 do push(answer, found[2][n]) end
return answer

-- name: list
-- time, serial: the place in the listing; limit; records to look at in each state, and keys to look up; states; since; idle or 0;
-- route; reason; prefix of the key; source key. Returns {1 at the end, time, serial, row, ...}
local score, serial, limit, most, few = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local wanted, since, idle = ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])
local route, reason, prefix, source = ARGV[9], ARGV[10], ARGV[11], ARGV[12]
local items, horizon, by_key = {}, nil, false
if idle > 0 and score > now - idle then score, serial = now - idle, math.huge end

local function is_newer(a, b)
    if a.at ~= b.at then return a.at > b.at end
    return a.serial > b.serial
end

local function ids_between(low, high)
    local found = {}
    for n, name in ipairs(redis.call('ZRANGEBYLEX', keys, low, high)) do found[n] = name:sub(-16) end
    return found
end

local ids
if source ~= '' then
    local own, other = 'd' .. escape(source) .. '\0\0', 's' .. escape(source) .. '\0\0'
    ids = ids_between('[' .. other, above(other))
    for _, id in ipairs(ids_between('[' .. own, above(own))) do push(ids, id) end
elseif prefix ~= '' then
    local low = 'd' .. escape(prefix)
    if redis.call('ZLEXCOUNT', keys, '[' .. low, above(low)) <= few then ids = ids_between('[' .. low, above(low)) end
end
if ids then
    by_key = true
    for n, packed in ipairs(send('HMGET', transfers, ids)) do
        local row = read_row(packed)
        local item = {at = row.updated, serial = row.serial, id = ids[n], row = row}
        if wanted:find(row.state, 1, true) and is_newer({at = score, serial = serial}, item) then push(items, item) end
    end
else
    for state in wanted:gmatch('%d') do
        local found = walk(states[tonumber(state)], true, score, serial, most, since)
        for _, item in ipairs(found) do
            item.id = item.member:sub(9)
            push(items, item)
        end
        if #found == most and (not horizon or is_newer(found[most], horizon)) then horizon = found[most] end
    end
end
table.sort(items, is_newer)

local function is_wanted(row, place, other, route_of_row)
    if route ~= '' and route_of_row ~= route then return false end
    if reason ~= '' and row.reason ~= reason then return false end
    if row.updated < since then return false end
    if idle > 0 and math.max(row.updated, row.due) > now - idle then return false end
    if prefix ~= '' and key_of(place):sub(1, #prefix) ~= prefix then return false end
    return source == '' or other == source or other == '' and key_of(place) == source
end

local answer, count = {horizon and 0 or 1, score, serial}, 0
for _, item in ipairs(items) do
    if horizon and is_newer(horizon, item) then break end
    if count == limit then
        answer[1] = 0
        break
    end
    local row = item.row or read_row(redis.call('HGET', transfers, item.id))
    answer[2], answer[3] = item.at, item.serial
    local place, other, route_of_row, text = read_contents(row)
    if is_wanted(row, place, other, route_of_row) then
        count = count + 1
        push(answer, {row.serial, item.id, place, row.state, row.reason, row.burned, row.lost, row.created, row.updated, row.due, text,
            row.receipt})
    end
end
if answer[3] == math.huge then answer[3] = NONE end
return answer

-- name: count
local answer = {}
for state = CLAIMED, DISCARDED do answer[state + 1] = redis.call('ZCARD', states[state]) end
return answer

-- name: oldest
-- state, time, serial, limit. Returns {1 at the end, time, serial, {route, serial, id, place, transfer}, ...}: the first of each route
local state, limit = tonumber(ARGV[1]), tonumber(ARGV[4])
local items = walk(states[state], false, tonumber(ARGV[2]), tonumber(ARGV[3]), limit, '+inf')
local first, last = {}, items[#items]
for _, item in ipairs(items) do
    local row = read_row(redis.call('HGET', transfers, item.member:sub(9)))
    local place, _, route, text = read_contents(row)
    if not first[route] or item.serial < first[route].serial then
        item.place, item.text, first[route] = place, text, item
    end
end
local answer = {#items < limit and 1 or 0, last and last.at or 0, last and last.serial or 0}
for route, item in pairs(first) do push(answer, {route, item.serial, item.member:sub(9), item.place, item.text}) end
return answer

-- name: placements
local answer = {}
for n, packed in ipairs(send('HMGET', places, ARGV)) do answer[n] = placement_of(read_place(packed)) end
return answer

-- name: placed
-- store, bucket, key, limit: the live placements behind a key. Returns {1 at the end, key, placement, ...}
local store, bucket, key, limit = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local prefix, at_store = struct.pack('>I4c0I4c0', #store, store, #bucket, bucket), struct.pack('>I4c0', #store, store)
local found = redis.call('ZRANGEBYLEX', placed, (key == '' and '[' or '(') .. prefix .. key, '[' .. prefix .. '\255', 'LIMIT', 0, limit)
local answer, names = {#found < limit and 1 or 0}, {}
for n, member in ipairs(found) do names[n] = at_store .. member:sub(#prefix + 1) end
for n, packed in ipairs(send('HMGET', places, names)) do
    push(answer, names[n]:sub(#at_store + 1), placement_of(read_place(packed)))
end
return answer

-- name: compare
-- state, time, serial, limit. Returns {1 at the end, time, serial, number without record, without letter}
local state, limit = tonumber(ARGV[1]), tonumber(ARGV[4])
local items = walk(states[state], false, tonumber(ARGV[2]), tonumber(ARGV[3]), limit, '+inf')
local last, lost, unburied = items[#items], 0, 0
for _, item in ipairs(items) do
    local id = item.member:sub(9)
    local row = read_row(redis.call('HGET', transfers, id))
    if not row or row.state ~= state or row.serial ~= item.serial or row.updated ~= item.at then lost = lost + 1 end
    if state == DEAD then
        local name = id:gsub('.', function(c) return string.format('%02x', c:byte()) end)
        if redis.call('HEXISTS', letters, name) == 0 then unburied = unburied + 1 end
    end
end
return {#items < limit and 1 or 0, last and last.at or 0, last and last.serial or 0, lost, unburied}

-- name: sizes
local listed = 0
for state = CLAIMED, DISCARDED do listed = listed + redis.call('ZCARD', states[state]) end
return {redis.call('HLEN', transfers), listed, redis.call('HLEN', letters), redis.call('ZCARD', letters_at)}
