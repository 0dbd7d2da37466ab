"""Published checkpoints in, a bundle out; runs once, on request, and is never needed by a running node."""
