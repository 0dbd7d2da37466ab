"""Pages for people, rendered here: studies, one study, the node itself; no request goes to any other host."""
