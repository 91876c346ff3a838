"""From a study to its stages: what each round computes, how it travels, what it costs; a module a kind.

A new kind of study is four modules and a line in the table of each room: its part of the study file
(`fedmed.study`, line in ``kinds``), its stages (here, case in ``by_kind``), what a node answers
(`fedmed_nodes.answers`, case in ``by_kind``) and what the coordinator makes of the sums (`fedmed.programs`,
case in ``by_kind``). Custodian, rounds, ledger, run store, driver and simulation know no kind.
"""
