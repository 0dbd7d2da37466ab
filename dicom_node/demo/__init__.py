"""The demonstration: a scanner, the node and a hospital's PACS on this machine; truth against result.

    run.py         the whole of it
    scans.py       the studies to send: synthetic ones, made in a process beside, or one from disk
    hospital.py    the processes: the node's Orthanc, the node, the PACS
    follow.py      one study from the scanner into the PACS
    outcome.py     what became of it: `summary.json`
    table.py       the same for a person

It alone knows the phantom; the node does not.
"""
