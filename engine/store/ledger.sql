-- Times of replicas in READY and the sums over them. Parameters are named (:name).

-- name: put_interval
INSERT INTO usage_intervals (number, account, deployment, replica, node, region, accelerator_type, accelerators, price,
    simulated, began_ms, ended_ms, held_ms)
VALUES (:number, :account, :deployment, :replica, :node, :region, :accelerator_type, :accelerators, :price,
    :simulated, :began_ms, :ended_ms, :held_ms)
ON CONFLICT (number) DO UPDATE SET ended_ms = excluded.ended_ms, held_ms = excluded.held_ms;

-- name: open_intervals
SELECT number, deployment, replica, node, region, accelerator_type, accelerators, price, simulated, began_ms, held_ms
FROM usage_intervals WHERE ended_ms IS NULL ORDER BY number;

-- name: last_interval
SELECT coalesce(max(number), 0) AS number FROM usage_intervals;

-- name: prune_intervals
DELETE FROM usage_intervals
WHERE number <= (SELECT max(number) FROM usage_intervals) - :keep AND ended_ms IS NOT NULL;

-- name: put_beat
INSERT INTO ledger_beat (id, boot, monotonic_ms, ledger_ms) VALUES (1, :boot, :monotonic_ms, :ledger_ms)
ON CONFLICT (id) DO UPDATE SET boot = excluded.boot, monotonic_ms = excluded.monotonic_ms,
    ledger_ms = excluded.ledger_ms;

-- name: last_beat
SELECT boot, monotonic_ms, ledger_ms FROM ledger_beat;

-- What is over, of all accounts, within a period.
-- name: ended_usage
SELECT account, accelerators, price, simulated,
    sum(min(ended_ms, :end) - max(began_ms, :start)) AS ms
FROM usage_intervals WHERE ended_ms > :start AND began_ms < :end
GROUP BY account, accelerators, price, simulated;

-- All of one account within a period, what is open to :now, and each interval cut where a span of :per_ms from the epoch on
-- ends.
-- name: usage
WITH RECURSIVE part (deployment, accelerator_type, accelerators, price, simulated, at_ms, until_ms) AS (
    SELECT deployment, accelerator_type, accelerators, price, simulated, max(began_ms, :start),
        min(coalesce(ended_ms, held_ms, :now), :end)
    FROM usage_intervals
    WHERE account = :account AND (ended_ms > :start OR ended_ms IS NULL) AND began_ms < :end
        AND coalesce(ended_ms, held_ms, :now) > max(began_ms, :start)
        AND number NOT IN (SELECT value FROM json_each(:newer))
    UNION ALL
    SELECT deployment, accelerator_type, accelerators, price, simulated, (at_ms / :per_ms + 1) * :per_ms, until_ms
    FROM part WHERE (at_ms / :per_ms + 1) * :per_ms < until_ms)
SELECT at_ms / :per_ms * :per_ms AS from_ms, deployment, accelerator_type, accelerators, price, simulated,
    sum(min(until_ms, (at_ms / :per_ms + 1) * :per_ms) - at_ms) AS ms
FROM part GROUP BY from_ms, deployment, accelerator_type, accelerators, price, simulated ORDER BY from_ms, deployment;
