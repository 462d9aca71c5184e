-- name: put_router
INSERT INTO routers (name, account, doc) VALUES (:name, :account, :doc)
ON CONFLICT (name) DO UPDATE SET doc = excluded.doc;

-- name: all_routers
SELECT doc FROM routers ORDER BY rowid;

-- name: drop_router
DELETE FROM routers WHERE name = :name;
