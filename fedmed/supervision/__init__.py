"""Processes that a machine's operator runs: started, watched, started again, ended with all they started.

Both rooms with effects, the province's and the coordinator's, run theirs by these means; nothing here knows
what a study is.
"""
