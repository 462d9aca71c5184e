-- Every statement that the store runs, by name. Parameters are named (:name).

-- name: put_deployment
INSERT INTO deployments (name, account, doc, create_time, delete_time)
VALUES (:name, :account, :doc, :create_time, :delete_time)
ON CONFLICT (name) DO UPDATE SET doc = excluded.doc, delete_time = excluded.delete_time;

-- name: all_deployments
SELECT d.doc, d.last_request_at, d.used_lived_s, d.idle_watched_s, f.doc AS faults
FROM deployments d LEFT JOIN faults f ON f.deployment = d.name ORDER BY d.create_time, d.name;

-- name: drop_deployment
DELETE FROM deployments WHERE name = :name;

-- name: touch_deployment
UPDATE deployments SET last_request_at = :at, used_lived_s = :lived_s, idle_watched_s = :idle_watched_s WHERE name = :name;

-- name: put_faults
INSERT INTO faults (deployment, doc) VALUES (:deployment, :doc)
ON CONFLICT (deployment) DO UPDATE SET doc = excluded.doc;

-- name: drop_faults
DELETE FROM faults WHERE deployment = :name;

-- name: put_fleet_beat
INSERT INTO fleet_beat (id, boot, monotonic_s, wall_s, lived_s, watched_s)
VALUES (1, :boot, :monotonic_s, :wall_s, :lived_s, :watched_s)
ON CONFLICT (id) DO UPDATE SET boot = excluded.boot, monotonic_s = excluded.monotonic_s, wall_s = excluded.wall_s,
    lived_s = excluded.lived_s, watched_s = excluded.watched_s;

-- name: last_fleet_beat
SELECT boot, monotonic_s, wall_s, lived_s, watched_s FROM fleet_beat;

-- name: put_model
INSERT INTO models (name, account, doc) VALUES (:name, :account, :doc)
ON CONFLICT (name) DO UPDATE SET doc = excluded.doc;

-- name: all_models
SELECT name, doc FROM models ORDER BY name;

-- name: drop_model
DELETE FROM models WHERE name = :name;

-- name: put_replica
INSERT INTO replicas (id, deployment, generation, socket, key, pid, created_at, accelerators, threads)
VALUES (:id, :deployment, :generation, :socket, :key, :pid, :created_at, :accelerators, :threads)
ON CONFLICT (id) DO UPDATE SET pid = excluded.pid;

-- name: all_replicas
SELECT id, deployment, generation, socket, key, pid, created_at, accelerators, threads
FROM replicas ORDER BY created_at, id;

-- name: drop_replica
DELETE FROM replicas WHERE id = :id;

-- name: put_served_settings
INSERT INTO served_settings (deployment, doc) VALUES (:deployment, :doc)
ON CONFLICT (deployment) DO UPDATE SET doc = excluded.doc;

-- name: all_served_settings
SELECT deployment, doc FROM served_settings;

-- name: drop_served_settings
DELETE FROM served_settings WHERE deployment = :name;

-- name: put_key
INSERT INTO api_keys (id, hash, prefix, account, user, role, display_name, create_time, expire_time, revoke_time)
VALUES (:id, :hash, :prefix, :account, :user, :role, :display_name, :create_time, :expire_time, :revoke_time)
ON CONFLICT (id) DO UPDATE SET hash = excluded.hash, prefix = excluded.prefix, role = excluded.role,
    expire_time = excluded.expire_time, revoke_time = excluded.revoke_time;

-- name: all_keys
SELECT id, hash, prefix, account, user, role, display_name, create_time, expire_time, revoke_time
FROM api_keys ORDER BY create_time;

-- name: drop_key
DELETE FROM api_keys WHERE id = :id;

-- name: add_event
INSERT INTO events (time, deployment, kind, reason, message, replica)
VALUES (:time, :deployment, :kind, :reason, :message, :replica);

-- name: prune_events
DELETE FROM events WHERE seq <= (SELECT max(seq) FROM events) - :keep;

-- name: events_of
SELECT * FROM (
    SELECT seq, time, deployment, kind, reason, message, replica FROM events
    WHERE deployment = :deployment AND seq > :after AND seq >= coalesce(
        (SELECT max(seq) FROM events WHERE deployment = :deployment AND reason = 'Created'), 0
    ) ORDER BY seq DESC LIMIT :limit
) ORDER BY seq;

-- name: all_events
SELECT * FROM (
    SELECT seq, time, deployment, kind, reason, message, replica FROM events
    WHERE deployment LIKE :prefix || '%' AND seq > :after ORDER BY seq DESC LIMIT :limit
) ORDER BY seq;

-- name: put_deployed_model
INSERT INTO deployed_models (name, deployment, doc) VALUES (:name, :deployment, :doc)
ON CONFLICT (name) DO UPDATE SET doc = excluded.doc;

-- name: all_deployed_models
SELECT doc FROM deployed_models ORDER BY rowid;

-- name: addon_uses
SELECT name, use FROM deployed_models WHERE use IS NOT NULL;

-- name: put_addon_use
UPDATE deployed_models SET use = :use WHERE name = :name;

-- name: drop_deployed_model
DELETE FROM deployed_models WHERE name = :name;

-- name: drop_deployed_models_of
DELETE FROM deployed_models WHERE deployment = :deployment;

-- name: add_signing_key
INSERT INTO signing_keys (purpose, key) VALUES (:purpose, :key) ON CONFLICT (purpose) DO NOTHING;

-- name: signing_key
SELECT key FROM signing_keys WHERE purpose = :purpose;
