-- Users, secrets, quotas, guards, owners and the audit log. Parameters are named (:name).

-- name: put_user
INSERT INTO users (name, account, doc) VALUES (:name, :account, :doc)
ON CONFLICT (name) DO UPDATE SET doc = excluded.doc;

-- name: all_users
SELECT name, doc FROM users ORDER BY name;

-- name: drop_user
DELETE FROM users WHERE name = :name;

-- name: put_secret
INSERT INTO secrets (name, account, key_name, sealed) VALUES (:name, :account, :key_name, :sealed)
ON CONFLICT (name) DO UPDATE SET key_name = excluded.key_name, sealed = excluded.sealed;

-- name: all_secrets
SELECT name, key_name, sealed FROM secrets ORDER BY name;

-- name: drop_secret
DELETE FROM secrets WHERE name = :name;

-- name: put_quota
INSERT INTO quotas (name, value, update_time) VALUES (:name, :value, :update_time)
ON CONFLICT (name) DO UPDATE SET value = excluded.value, update_time = excluded.update_time;

-- name: drop_quota
DELETE FROM quotas WHERE name = :name;

-- name: all_quotas
SELECT name, value, update_time FROM quotas ORDER BY name;

-- name: put_guard
INSERT INTO guards (name, account, doc) VALUES (:name, :account, :doc)
ON CONFLICT (name) DO UPDATE SET doc = excluded.doc;

-- name: all_guards
SELECT doc FROM guards ORDER BY name;

-- name: drop_guard
DELETE FROM guards WHERE name = :name;

-- name: put_owner
INSERT INTO owners (name, user) VALUES (:name, :user) ON CONFLICT (name) DO UPDATE SET user = excluded.user;

-- name: disown
DELETE FROM owners WHERE user = :user AND substr(name, 1, length(:prefix)) = :prefix;

-- name: owner_of
SELECT user FROM owners WHERE name = :name;

-- name: add_audit
INSERT INTO audit_logs (seq, trail, account, time, principal, method, message, resource, code, detail, admin, key_id,
    client_ip, user_agent, former, digest)
VALUES (:seq, :trail, :account, :time, :principal, :method, :message, :resource, :code, :detail, :admin, :key_id,
    :client_ip, :user_agent, :former, :digest);

-- name: prune_audit
DELETE FROM audit_logs WHERE trail = :trail AND seq < :first;

-- name: audit_last_seq
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'audit_logs'), 0) AS seq;

-- name: audit_ends
SELECT (SELECT seq FROM audit_logs WHERE trail = :trail ORDER BY seq LIMIT 1) AS first,
    (SELECT seq FROM audit_logs WHERE trail = :trail ORDER BY seq DESC LIMIT 1) AS last;

-- name: audit_digest
SELECT digest FROM audit_logs WHERE seq = :seq;

-- name: audit_first_kept
SELECT max(
    coalesce((SELECT seq FROM audit_logs WHERE trail = :trail ORDER BY seq DESC LIMIT 1 OFFSET :keep - 1), 0),
    coalesce((SELECT seq + 1 FROM audit_logs WHERE trail = :trail AND time < :since ORDER BY seq DESC LIMIT 1), 0)
) AS first;

-- name: audit_chain
SELECT * FROM audit_logs WHERE trail = :trail AND seq > :after ORDER BY seq LIMIT :limit;

-- The conditions of a filter go where /*where*/ stands: made of column names and parameters, never of values.

-- name: audit_newest
SELECT * FROM audit_logs
WHERE account = :account AND time >= :start AND time < :end AND seq < :cursor /*where*/
ORDER BY seq DESC LIMIT :limit;

-- name: audit_oldest
SELECT * FROM audit_logs
WHERE account = :account AND time >= :start AND time < :end AND seq > :cursor /*where*/
ORDER BY seq LIMIT :limit;

-- name: audit_count
SELECT count(*) AS count FROM audit_logs
WHERE account = :account AND time >= :start AND time < :end /*where*/;
