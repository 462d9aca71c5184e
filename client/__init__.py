"""The contract and the way to it: wire types, HTTP client, command line.

Imports neither `tui` nor `engine`; both import it.
"""
