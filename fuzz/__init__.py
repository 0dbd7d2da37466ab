"""Fuzzing: files, archives and requests that strangers could send, made in great number and sent in."""
