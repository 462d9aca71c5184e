"""The control plane's routes: thin, one file a resource."""
