"""The node: the only room that talks to the outside world."""
