"""The platform: control plane, gateway, replicas and their store."""
