-- Shared rates and breakers. Times are in seconds. Each is one statement, which commits by itself.

-- name: reserve
-- $1 name, $2 units, $3 rate, $4 burst. `skyferry.ledgers.rates.reserve` is the same rule. Returns the seconds until the units may be used.
INSERT INTO @schema.rates AS r (name, at, ahead, rate)
VALUES ($1, @schema.ledger_now() / 4194304.0::float8, $2::float8 / $3::float8 - $4::float8, $3::float8)
ON CONFLICT (name) DO UPDATE SET
    at = CASE WHEN excluded.at >= r.at - 5 THEN greatest(excluded.at, r.at) ELSE excluded.at END, rate = excluded.rate, ahead = $2::float8 / $3::float8 + greatest(
    -$4::float8,
    (r.ahead - greatest(0, excluded.at - r.at))
        * CASE WHEN r.ahead > greatest(0, excluded.at - r.at) THEN r.rate / excluded.rate ELSE 1 END
)
RETURNING greatest(0, ahead - $2::float8 / $3::float8)

-- name: list_breakers
SELECT name, opening, side, until - @schema.ledger_now() / 4194304.0::float8, cooldown FROM @schema.breakers ORDER BY name

-- name: open
-- $1 name, $2 side, $3 seconds, $4 cooldown. Returns the number of the opening.
INSERT INTO @schema.breakers AS b (name, opening, side, at, until, cooldown, holder, trial_until)
SELECT $1, now, $2, now / 4194304.0::float8, now / 4194304.0::float8 + $3::float8, $4::float8, '', 0 FROM (SELECT @schema.ledger_now() AS now) AS t
ON CONFLICT (name) DO UPDATE SET opening = greatest(b.opening + 1, excluded.opening), side = excluded.side, at = excluded.at,
    until = greatest(b.until, excluded.until), cooldown = excluded.cooldown, holder = '', trial_until = 0
RETURNING opening

-- name: take_trial
-- $1 owner, $2 name, $3 opening, $4 lease. Returns a row if it is granted. A time that is 5 s ahead was recorded before the clock
-- was set back; by less, this statement waited for another one.
UPDATE @schema.breakers AS b SET holder = $1, trial_until = t.now + $4::float8
FROM (SELECT @schema.ledger_now() / 4194304.0::float8 AS now) AS t
WHERE b.name = $2 AND b.opening = $3 AND (b.until <= t.now OR b.at > t.now + 5)
    AND (b.holder = $1 OR b.trial_until <= t.now OR b.trial_until > t.now + $4::float8 + 5)
RETURNING 1

-- name: close
DELETE FROM @schema.breakers WHERE name = $1 AND opening = $2
