"""One script a kind of question, each run as ``python -m fedmed.examples.NAME STUDY DATA``.

Studies come from ``fedmed study new --kind``, data from ``fedmed data generate``.
"""
