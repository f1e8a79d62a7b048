"""Point-in-time SQL: a registry and a request become a plan, a plan and a dialect become a script.

Pure: values in, text out. Nothing here opens a connection.
"""
