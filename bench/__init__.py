"""How long things take, what they need and how exact they are: `python -m bench`, docs/performance.md."""
