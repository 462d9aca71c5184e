-- Versions of an operator's shapes as they were published first. Parameters are named (:name).

-- name: publish_shape
INSERT INTO published_shapes (name, digest, doc) VALUES (:name, :digest, :doc);

-- name: published_shapes
SELECT name, digest, doc FROM published_shapes;
