-- What requests used, by minute (older: by hour) and payer. Parameters are named (:name).

-- name: add_request_usage
INSERT INTO request_usage (account, at_ms, user, key, deployment, model, adapter, tags, simulated, guard, requests,
    failed, prompt, cached, generated, accepted, rejected, unpriced, charge)
VALUES (:account, :at_ms, :user, :key, :deployment, :model, :adapter, :tags, :simulated, :guard, :requests, :failed,
    :prompt, :cached, :generated, :accepted, :rejected, :unpriced, :charge)
ON CONFLICT DO UPDATE SET requests = requests + excluded.requests, failed = failed + excluded.failed,
    prompt = prompt + excluded.prompt, cached = cached + excluded.cached, generated = generated + excluded.generated,
    accepted = accepted + excluded.accepted, rejected = rejected + excluded.rejected,
    unpriced = unpriced + excluded.unpriced, charge = charge + excluded.charge;

-- name: put_last_request
INSERT INTO last_request (id, number) VALUES (1, :number) ON CONFLICT (id) DO UPDATE SET number = excluded.number;

-- name: last_request
SELECT coalesce(max(number), 0) AS number FROM last_request;

-- By spans of :per_ms from the epoch on.
-- name: request_usage
SELECT at_ms / :per_ms * :per_ms AS from_ms, user, key, deployment, model, adapter, tags, simulated, guard,
    sum(requests) AS requests, sum(failed) AS failed, sum(prompt) AS prompt, sum(cached) AS cached,
    sum(generated) AS generated, sum(accepted) AS accepted, sum(rejected) AS rejected, sum(unpriced) AS unpriced, sum(charge) AS charge
FROM request_usage WHERE account = :account AND at_ms >= :start AND at_ms < :end
GROUP BY from_ms, user, key, deployment, model, adapter, tags, simulated, guard;

-- name: charged
SELECT account, sum(charge) AS charge FROM request_usage WHERE at_ms >= :start GROUP BY account;

-- name: known_tags
SELECT DISTINCT account, tags FROM request_usage WHERE at_ms >= :start AND tags != '';

-- name: roll_up_usage
INSERT INTO request_usage (account, at_ms, user, key, deployment, model, adapter, tags, simulated, guard, requests,
    failed, prompt, cached, generated, accepted, rejected, unpriced, charge)
SELECT account, at_ms / 3600000 * 3600000 AS hour_ms, user, key, deployment, model, adapter, tags, simulated, guard,
    sum(requests), sum(failed), sum(prompt), sum(cached), sum(generated), sum(accepted), sum(rejected), sum(unpriced),
    sum(charge)
FROM request_usage WHERE at_ms < :until AND at_ms % 3600000 != 0
GROUP BY account, hour_ms, user, key, deployment, model, adapter, tags, simulated, guard
ON CONFLICT DO UPDATE SET requests = requests + excluded.requests, failed = failed + excluded.failed,
    prompt = prompt + excluded.prompt, cached = cached + excluded.cached, generated = generated + excluded.generated,
    accepted = accepted + excluded.accepted, rejected = rejected + excluded.rejected,
    unpriced = unpriced + excluded.unpriced, charge = charge + excluded.charge;

-- name: drop_rolled_up
DELETE FROM request_usage WHERE at_ms < :until AND at_ms % 3600000 != 0;

-- name: prune_request_usage
DELETE FROM request_usage
WHERE at_ms < (SELECT at_ms FROM request_usage ORDER BY at_ms DESC LIMIT 1 OFFSET :keep);
