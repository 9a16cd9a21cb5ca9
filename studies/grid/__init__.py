"""Experiments: train detectors in rows and seeds, and compare them.

``grid`` reads what to compare, ``plan`` checks it and turns it into runs,
``schedule`` carries them out, ``table`` keeps one record of each, ``summary``
says what the records show, and ``figures`` and ``report`` show it. The rest is
shared with the demo: ``runs`` trains in a process of its own, ``scalars``
reads what it logs, ``accuracy``, ``machine``, ``theme`` and ``page``.
"""
