-- Claims, renewals and settlements: each reads a whole batch, decides, and writes it. A script fails only before its first write.

-- name: claim
-- owner, lease, number of transfers; one text with these of each transfer: id, 1 if a person asks, place, identities of its store,
-- source key if it differs, contents. Returns one text with these of each transfer: 0 claim (3 if it took the key over), fence,
-- attempt, lost, version of the placement, placement; or 1 settled, state, 0, 0, 0, reason; or 2 wait, ticks, busy, 0, 0, nothing. Then the open uploads of those
-- claims that have some: {number, {age, progress, part, ...}, ...}.
local me, lease, count, text = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local ids, wanted, asked, identities, sources, contents, position = {}, {}, {}, {}, {}, {}, 1
for n = 1, count do
    ids[n], asked[n], wanted[n], identities[n], sources[n], contents[n], position = unpack_from('<c16BI4c0I4c0I4c0I4c0', text, position)
end
local packed, at_place, rows = send('HMGET', transfers, ids), read_places(wanted), {}
for n = 1, count do rows[ids[n]] = rows[ids[n]] or read_row(packed[n]) end
local counted = redis.call('HMGET', counters, 'serial', 'fence')
local serial, fence = tonumber(counted[1] or 0), tonumber(counted[2] or 0)
local answers, open_uploads, leased, changed, left_states = {}, {}, {}, {}, {}
local row_writes, indexed, key_writes = {}, {}, {}
local ANSWER = '<BdI4I4dI4' -- 29 bytes, and a text
local CLAIM, TAKEOVER = 0, 3

local function is_moved(at, within)
    return at.placed ~= '' and within ~= '' and not has(within, (read_placed(at.placed)))
end

-- The rule `refuse_claim` that all ledgers share. The tests compare the two.
local function refuse(row, at, is_asked, within)
    if row then
        local again = row.state == DONE or row.state == SKIPPED
        if row.state >= DONE and not (again and (is_asked or row.reason == 'no_route' or is_moved(at, within))) then
            return pack(ANSWER, 1, row.state, 0, 0, 0, #row.reason) .. row.reason
        end
        if row.state == RETRY and row.due > now then return pack(ANSWER, 2, row.due - now, 0, 0, 0, 0) end
    end
    if at.owner ~= 0 and at.owner ~= me and at.till > now then return pack(ANSWER, 2, at.till - now, 1, 0, 0, 0) end
end

local function read_uploads(n, name)
    local found = {n}
    for _, upload in ipairs(uploads_to(name)) do
        local saved, _, _, progress = struct.unpack(UPLOAD, redis.call('HGET', uploads, upload))
        local one = {now - saved, progress}
        for _, part in ipairs(redis.call('ZRANGEBYLEX', parts, '[' .. upload, '[' .. upload .. '\255')) do
            one[#one + 1] = part:sub(13)
        end
        found[#found + 1] = one
    end
    return found
end

for n = 1, count do
    local id, name = ids[n], wanted[n]
    local row, at = rows[id], at_place[name]
    local answer = refuse(row, at, asked[n] == 1, identities[n])
    if not answer then
        local kind = CLAIM
        if at.owner ~= me then
            if at.owner ~= 0 then kind = TAKEOVER end
            fence = next_fence(fence)
            at.owner, at.fence = me, fence
        end
        at.till = math.max(at.till, now + lease)
        leased[name] = at
        if not row then
            serial = serial + 1
            row = {state = CLAIMED, owner = me, serial = serial, due = NONE, burned = 0, lost = 0, created = now, updated = now,
                reason = '', contents = contents[n], receipt = ''}
            rows[id], changed[id] = row, true
            push_pair(key_writes, '0', own_name(id, name))
            local other = source_name(id, sources[n])
            if other then push_pair(key_writes, '0', other) end
        elseif row.state ~= CLAIMED or row.owner ~= me then
            if row.state == CLAIMED then row.lost = row.lost + 1 end
            left_states[row.state] = left_states[row.state] or {}
            push(left_states[row.state], index(row.serial, id))
            row.state, row.owner, row.reason, row.due, row.updated, changed[id] = CLAIMED, me, '', NONE, now, true
        end
        local placement = placement_of(at)
        answer = pack(ANSWER, kind, at.fence, row.burned + 1, row.lost, at.version, #placement) .. placement
        if at.uploads > 0 then open_uploads[#open_uploads + 1] = read_uploads(n, name) end
    end
    answers[n] = answer
end
for id in pairs(changed) do
    push_pair(row_writes, id, pack_row(rows[id]))
    push_pair(indexed, now_text, index(rows[id].serial, id))
end
local place_writes = {}
for name, at in pairs(leased) do push_pair(place_writes, name, pack_place(at)) end
if #place_writes > 0 then
    for state, members in pairs(left_states) do send('ZREM', states[state], members) end
    redis.call('HSET', counters, 'serial', serial, 'fence', fence)
    send('HSET', places, place_writes)
    send('HSET', transfers, row_writes)
    send('ZADD', claimed, indexed)
    send('ZADD', keys, key_writes)
end
return {table.concat(answers), open_uploads}

-- name: renew
-- owner, lease; for each claim: place, fence. Returns the numbers of the claims that were lost.
local me, lease, names, lost, writes = tonumber(ARGV[1]), tonumber(ARGV[2]), {}, {}, {}
for n = 3, #ARGV, 2 do names[#names + 1] = ARGV[n] end
local at_place = read_places(names)
for n = 1, #names do
    local at = at_place[names[n]]
    if at.owner == me and at.fence == tonumber(ARGV[2 * n + 2]) then
        at.till = math.max(at.till, now + lease)
        push_pair(writes, names[n], pack_place(at))
    else
        push(lost, n)
    end
end
send('HSET', places, writes)
return lost

-- name: settle
-- owner, number of settlements; one text with these of each: id, fence, 1 if last, state, delay or -1, counted failures, expected
-- version of the placement or -1, place, reason, receipt, new placement or nothing, nothing or these: failure, closed uploads, letter;
-- and new contents, with the receipt, or nothing. Returns {0, 1 if recorded, ...}; {1, 1 if it would be recorded, ..., {version, placement}, ...} if a version is not the
-- expected one, and then nothing is recorded.
local me, count, text = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local items, ids, names, position = {}, {}, {}, 1
for n = 1, count do
    local item = {unpack_from('<c16dBBdBdI4c0I4c0I4c0I4c0I4c0I4c0', text, position)}
    items[n], ids[n], names[n], position = item, item[1], item[8], item[14]
end
local packed, at_place, rows = send('HMGET', transfers, ids), read_places(names), {}
for n = 1, count do rows[ids[n]] = rows[ids[n]] or read_row(packed[n]) end
local answers, conflict = {0}, false
local changed, touched, left_index, freed, placed_old, placed_new = {}, {}, {}, {}, {}, {}
local failed, buried, closed, left_names, new_names = {}, {}, {}, {}, {}

-- A copy that was made by hand has the provenance of another key, so a rebuild may have taken the transfer for one to that key.
local function replace_contents(id, row, name, contents)
    local place, source = unpack_from('<I4c0I4c0', row.contents)
    if place ~= name then
        local _, new_source = unpack_from('<I4c0I4c0', contents)
        push(left_names, own_name(id, place), source_name(id, source) or nil)
        push_pair(new_names, '0', own_name(id, name))
        local other = source_name(id, new_source)
        if other then push_pair(new_names, '0', other) end
    end
    row.contents, row.receipt = contents, ''
end

local function placed_name(name, bucket)
    local size = 4 + unpack_from('>I4', name)
    return name:sub(1, size) .. pack('>I4', #bucket) .. bucket .. name:sub(size + 1)
end

local function place(name, at, item)
    if at.version ~= item[7] then
        conflict = true
    elseif item[11] ~= '' then
        local _, old = read_placed(at.placed)
        local _, new = read_placed(item[11])
        if old ~= new then
            if old ~= '' then push(placed_old, placed_name(name, old)) end
            placed_new[name] = new
        end
        at.version, at.placed = at.version + 1, item[11]
    end
end

local function record_rare(id, name, at, rare)
    local failure, uploads_closed, letter = struct.unpack('<I4c0I4c0I4c0', rare)
    if failure ~= '' then
        local earlier = failed[id] or redis.call('HGET', failures, id)
        failed[id] = (earlier and earlier .. ',' or '') .. failure
    end
    if uploads_closed ~= '' and at.uploads > 0 then push(closed, {name, uploads_closed}) end
    if letter ~= '' then push(buried, {letter, failed[id] or ''}) end
end

for n = 1, count do
    local item, id, name = items[n], ids[n], names[n]
    local row, at = rows[id], at_place[name]
    answers[n + 1] = 0
    if at.owner == me and at.fence == item[2] then
        if item[3] == 1 then freed[name] = true end
        touched[name] = true
        if row and row.state == CLAIMED then
            answers[n + 1] = 1
            changed[id] = index(row.serial, id)
            left_index[#left_index + 1] = changed[id]
            row.state, row.reason, row.updated = item[4], item[9], now
            row.due = item[5] == NONE and NONE or now + item[5]
            row.burned = row.burned + item[6]
            if item[10] ~= '' then row.receipt = item[10] end
            if item[13] ~= '' then replace_contents(id, row, name, item[13]) end
            if item[7] ~= NONE then place(name, at, item) end
            if item[12] ~= '' then record_rare(id, name, at, item[12]) end
        end
    end
end
if conflict then
    answers[1] = 1
    local unchanged = read_places(names)
    for n = 1, count do push(answers, {unchanged[names[n]].version, placement_of(unchanged[names[n]])}) end
    return answers
end

send('ZREM', claimed, left_index)
local row_writes, by_state = {}, {}
for id, member in pairs(changed) do
    local row = rows[id]
    push_pair(row_writes, id, pack_row(row))
    by_state[row.state] = by_state[row.state] or {}
    push_pair(by_state[row.state], now_text, member)
end
for state, members in pairs(by_state) do send('ZADD', states[state], members) end
send('HSET', transfers, row_writes)
send('ZREM', keys, left_names)
send('ZADD', keys, new_names)
for id, text in pairs(failed) do redis.call('HSET', failures, id, text) end
for _, one in ipairs(buried) do
    local letter_id, at, route, reason, bucket, head = struct.unpack('<I4c0dI2c0I2c0I4c0I4c0', one[1])
    add_letter(letter_id, at, route, reason, bucket, head:sub(1, -3) .. one[2] .. ']]')
end
for _, one in ipairs(closed) do
    local next_one, id = 1, nil
    while next_one <= #one[2] do
        id, next_one = struct.unpack('>I4c0', one[2], next_one)
        local serial = find_upload(one[1], id)
        if serial then
            drop_upload(serial)
            at_place[one[1]].uploads = at_place[one[1]].uploads - 1
        end
    end
end
local place_writes, gone, live = {}, {}, {}
for name in pairs(touched) do
    local at = at_place[name]
    if freed[name] then at.owner, at.till = 0, 0 end
    if at.owner == 0 and at.uploads == 0 and at.placed == '' then
        push(gone, name)
    else
        push_pair(place_writes, name, pack_place(at))
    end
end
send('HSET', places, place_writes)
send('HDEL', places, gone)
send('ZREM', placed, placed_old)
for name, bucket in pairs(placed_new) do
    if bucket ~= '' then push_pair(live, '0', placed_name(name, bucket)) end
end
send('ZADD', placed, live)
return answers

-- name: free
-- owner; places. Ends the leases of the owner.
local me, names = tonumber(ARGV[1]), {}
for n = 2, #ARGV do names[#names + 1] = ARGV[n] end
for name, at in pairs(read_places(names)) do
    if at.owner == me then
        at.owner, at.till = 0, 0
        write_place(name, at)
    end
end
