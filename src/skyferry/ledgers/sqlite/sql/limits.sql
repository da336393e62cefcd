-- Shared rates and breakers. Times are in seconds.

-- name: read_rate
SELECT at, ahead, rate FROM rates WHERE name = :name

-- name: write_rate
INSERT OR REPLACE INTO rates (name, at, ahead, rate) VALUES (:name, :at, :ahead, :rate)

-- name: list_breakers
SELECT json_group_array(json_array(name, opening, side, until - :now, cooldown)) FROM (SELECT * FROM breakers ORDER BY name)

-- name: open
INSERT INTO breakers (name, opening, side, at, until, cooldown, holder, trial_until)
VALUES (:name, :opening, :side, :now, :now + :seconds, :cooldown, '', 0)
ON CONFLICT (name) DO UPDATE SET opening = max(opening + 1, excluded.opening), side = excluded.side, at = excluded.at,
    until = max(until, excluded.until), cooldown = excluded.cooldown, holder = '', trial_until = 0
RETURNING opening

-- name: take_trial
-- A time that is 5 s ahead was recorded before the clock was set back; by less, this process waited for its turn.
UPDATE breakers SET holder = :owner, trial_until = :now + :lease
WHERE name = :name AND opening = :opening AND (until <= :now OR at > :now + 5)
    AND (holder = :owner OR trial_until <= :now OR trial_until > :now + :lease + 5)
RETURNING 1

-- name: close
DELETE FROM breakers WHERE name = :name AND opening = :opening
