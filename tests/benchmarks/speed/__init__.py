"""Kernels and whole jobs beside their peers: what runs, how it is timed, and the page of the results.

A *case* is work that several *contenders* do; one of them is graphquilt. :mod:`run` gives each a process of its own,
one thread and the same graph, in turns, and keeps CPU seconds, wall time and memory; :mod:`page` draws them.
"""
