"""Servers that tests talk to: DynamoDB Local, and a proxy that makes any of them misbehave."""
