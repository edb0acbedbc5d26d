"""The story of ``stagegate demo``: real parts, on this machine, in a minute.

Everything here is a user of the registry: it starts the server and calls the
command line as anybody would, and nothing in the registry knows of it.
"""
