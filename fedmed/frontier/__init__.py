"""What each epsilon, mode and secure sum buys and costs, worked out by simulation on local tables.

Nothing here knows how to reach a node that is deployed: every run makes custodians of its own, in its own
process, from rows that the caller hands in.
"""
