"""How long things take, as ratios within one run where that is possible: `python -m bench`."""
