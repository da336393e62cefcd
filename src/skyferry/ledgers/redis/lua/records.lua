-- In front of every script: `now`, and the records. Numbers are doubles, which are exact up to 2^53; times are in ticks of 2^-22 s.
-- ids are the 16 bytes of a transfer. A place is a destination: the length of the store, store, key. A record ends with texts that
-- no settlement looks into: of a transfer its contents (place, source key if it differs, route, transfer), then the receipt; of a place
-- the placement. From version 2 on, the transfer in the contents may be compressed, with its receipt; so may a placement.
--
-- What is fast in Lua 5.1: `..` copies a text at once, but `struct.pack` byte by byte. A text of up to 31 bytes is hashed whole, of a
-- longer one only some bytes, and texts that are equal in these are compared one by one: so a place without a placement has 30.
-- A number as an argument of a command is formatted each time.
local NONE = -1
local CLAIMED, RETRY, DONE, SKIPPED, DEAD, DISCARDED = 0, 1, 2, 3, 4, 5
local states = {[0] = claimed, retry, done, skipped, dead, discarded}
local ROW, ROW_HEAD, CONTENTS = '<BdddI4I4ddI2c0I4c0', '<BdddI4I4ddI2c0I4', '<I4c0I4c0I4c0I4c0'
local PLACE, PLACED, PLACEMENT = '<dddI2I4', '<I4c0I4c0', '<I4c0I4c0I4c0'
local LETTER, UPLOAD = '<dddBI2c0I2c0I4c0I4c0', '<dI4c0I4c0I4c0'
local MANY = 4000 -- arguments of a command
local now_text = string.format('%.0f', now)
local pack, unpack_from = struct.pack, struct.unpack

-- The results of a command on many fields, or nothing.
local function send(command, key, list)
    local size = #list
    if size == 0 then return {} end
    if size <= MANY then return redis.call(command, key, unpack(list)) end
    local found = {}
    for first = 1, size, MANY do
        local part = redis.call(command, key, unpack(list, first, math.min(first + MANY - 1, size)))
        if type(part) == 'table' then
            for n = 1, #part do found[#found + 1] = part[n] end
        end
    end
    return found
end

local function push(list, ...)
    local size = #list
    for n = 1, select('#', ...) do list[size + n] = select(n, ...) end
end

local function push_pair(list, first, second)
    local size = #list
    list[size + 1], list[size + 2] = first, second
end

-- Whether a list of texts with their lengths has a text.
local function has(list, text)
    local at, found = 1, nil
    while at <= #list do
        found, at = struct.unpack('>I4c0', list, at)
        if found == text then return true end
    end
    return false
end

local function index(serial, id) return pack('>I8', serial) .. id end

-- Numbers that grow, also if the server has forgotten the last ones: they are not below the time.
local function next_fence(last) return math.max(last + 1, now) end

local function read_row(packed)
    if not packed then return nil end
    local state, owner, serial, due, burned, lost, created, updated, reason, contents, next = unpack_from(ROW, packed)
    return {state = state, owner = owner, serial = serial, due = due, burned = burned, lost = lost, created = created, updated = updated,
        reason = reason, contents = contents, receipt = packed:sub(next)}
end

local function pack_row(row)
    return pack(ROW_HEAD, row.state, row.owner, row.serial, row.due, row.burned, row.lost, row.created, row.updated, #row.reason,
        row.reason, #row.contents) .. row.contents .. row.receipt
end

-- The contents of a transfer: place, source key, route, transfer.
local function read_contents(row) return unpack_from(CONTENTS, row.contents) end

-- Change the state of a known transfer, and write it.
local function move_row(id, row, state)
    redis.call('ZREM', states[row.state], index(row.serial, id))
    row.state, row.updated = state, now
    redis.call('ZADD', states[state], now, index(row.serial, id))
    redis.call('HSET', transfers, id, pack_row(row))
end

local function read_place(packed)
    if not packed then return {owner = 0, fence = 0, till = 0, uploads = 0, version = 0, placed = ''} end
    local owner, fence, till, uploads_here, version, next = unpack_from(PLACE, packed)
    return {owner = owner, fence = fence, till = till, uploads = uploads_here, version = version, placed = packed:sub(next)}
end

local function pack_place(at)
    return pack(PLACE, at.owner, at.fence, at.till, at.uploads, at.version) .. at.placed
end

-- The identity of a placement, and the bucket of its source while it is live; nothing if there is none.
local function read_placed(placed)
    if placed == '' then return '', '' end
    local identity, bucket = unpack_from(PLACED, placed)
    return identity, bucket
end

local function placement_of(at)
    if at.placed == '' then return '' end
    local _, _, text = unpack_from(PLACEMENT, at.placed)
    return text
end

local function write_place(name, at)
    if at.owner == 0 and at.uploads == 0 and at.placed == '' then
        redis.call('HDEL', places, name)
    else
        redis.call('HSET', places, name, pack_place(at))
    end
end

local function read_places(names)
    local found, by_name = send('HMGET', places, names), {}
    for n = 1, #names do by_name[names[n]] = by_name[names[n]] or read_place(found[n]) end
    return by_name
end

-- Keys in an index: without a NUL, so that the end of the key comes before all longer keys.
local function escape(key)
    if key:find('\0', 1, true) then return (key:gsub('%z', '\0\1')) end
    return key
end
local function above(prefix) return '(' .. prefix:sub(1, -2) .. string.char(prefix:byte(-1) + 1) end
local function key_of(place) return place:sub(5 + unpack_from('>I4', place)) end

-- The names of a transfer in the index of keys.
local function own_name(id, place) return 'd' .. escape(key_of(place)) .. '\0\0' .. id end
local function source_name(id, source)
    return source ~= '' and 's' .. escape(source) .. '\0\0' .. id
end

-- Members and scores behind (score, serial) in their order, `limit` at most. Members begin with a serial.
local function walk(key, newest, score, serial, limit, last)
    local ties = redis.call('ZCOUNT', key, score, score)
    local command = newest and 'ZREVRANGEBYSCORE' or 'ZRANGEBYSCORE'
    local found = redis.call(command, key, score, last, 'WITHSCORES', 'LIMIT', 0, limit + ties)
    local items = {}
    for n = 1, #found, 2 do
        local item = {at = tonumber(found[n + 1]), member = found[n], serial = struct.unpack('>I8', found[n])}
        local tied = item.at == score
        if #items < limit and not (tied and newest and item.serial >= serial or tied and not newest and item.serial <= serial) then
            items[#items + 1] = item
        end
    end
    return items
end

local function read_letter(packed)
    if not packed then return nil end
    local letter = {}
    letter.serial, letter.at, letter.redriven, letter.published, letter.route, letter.reason, letter.bucket, letter.text =
        struct.unpack(LETTER, packed)
    return letter
end

local function write_letter(id, letter)
    redis.call('HSET', letters, id, struct.pack(LETTER, letter.serial, letter.at, letter.redriven, letter.published, #letter.route,
        letter.route, #letter.reason, letter.reason, #letter.bucket, letter.bucket, #letter.text, letter.text))
end

local function cause(letter) return struct.pack('>I2c0', #letter.route, letter.route) .. letter.reason end

local function drop_letter(id, letter)
    local member = index(letter.serial, id)
    redis.call('HDEL', letters, id)
    redis.call('ZREM', letters_at, member)
    redis.call('ZREM', letters_redriven, member)
    redis.call('ZREM', letters_unpublished, member)
    if redis.call('HINCRBY', letters_causes, cause(letter), -1) <= 0 then redis.call('HDEL', letters_causes, cause(letter)) end
    if letter.bucket ~= '' and tonumber(redis.call('ZINCRBY', letters_buckets, -1, letter.bucket)) <= 0 then
        redis.call('ZREM', letters_buckets, letter.bucket)
    end
end

-- A letter of a known id is kept, but a redriven one is replaced: it has died again.
local function add_letter(id, at, route, reason, bucket, text)
    local old = read_letter(redis.call('HGET', letters, id))
    if old and old.redriven == NONE then return end
    if old then drop_letter(id, old) end
    local letter = {serial = redis.call('HINCRBY', counters, 'letters', 1), at = at, redriven = NONE, published = 0, route = route,
        reason = reason, bucket = bucket, text = text}
    write_letter(id, letter)
    local member = index(letter.serial, id)
    redis.call('ZADD', letters_at, at, member)
    redis.call('ZADD', letters_unpublished, 0, member)
    redis.call('HINCRBY', letters_causes, cause(letter), 1)
    if bucket ~= '' then redis.call('ZINCRBY', letters_buckets, 1, bucket) end
end

local function transfer_of(letter_id)
    if #letter_id ~= 32 or letter_id:find('%X') then return nil end
    return (letter_id:gsub('..', function(two) return string.char(tonumber(two, 16)) end))
end

local function of_place(place) return struct.pack('>I4c0', #place, place) end
local function of_name(store, name) return struct.pack('>I4c0I4c0', #store, store, #name, name) end
local function store_of(place) return place:sub(5, 4 + struct.unpack('>I4', place)) end

-- Forget an upload.
local function drop_upload(serial)
    local packed = redis.call('HGET', uploads, serial)
    if not packed then return nil end
    local _, place, name = struct.unpack(UPLOAD, packed)
    redis.call('HDEL', uploads, serial)
    redis.call('ZREM', uploads_at, serial)
    redis.call('ZREM', uploads_places, of_place(place) .. serial)
    redis.call('ZREM', uploads_names, of_name(store_of(place), name) .. serial)
    redis.call('ZREMRANGEBYLEX', parts, '[' .. serial, '[' .. serial .. '\255')
    return place
end

-- The serials of the uploads to a place, the latest last.
local function uploads_to(place)
    local prefix, serials = of_place(place), {}
    for n, member in ipairs(redis.call('ZRANGEBYLEX', uploads_places, '[' .. prefix, '[' .. prefix .. '\255')) do
        serials[n] = member:sub(-8)
    end
    return serials
end

-- The serial of an upload to a place.
local function find_upload(place, id)
    local prefix = of_name(store_of(place), id)
    for _, member in ipairs(redis.call('ZRANGEBYLEX', uploads_names, '[' .. prefix, '[' .. prefix .. '\255')) do
        local serial = member:sub(-8)
        local _, other = struct.unpack(UPLOAD, redis.call('HGET', uploads, serial))
        if other == place then return serial end
    end
end
