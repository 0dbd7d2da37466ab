"""The node's HTTP: uploads, the state of every study, health and metrics."""
