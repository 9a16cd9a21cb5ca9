"""The demo: distil a detector from scratch on a CPU, and report on it.

``pipeline`` trains three rows with ``studies.grid``, ``measure`` evaluates the
checkpoints, ``results`` holds the numbers, ``pictures`` and ``report`` show
them.
"""
