"""The gRPC listener: each call of `gateway.Gateway` becomes one request to the engine's own REST routes."""
