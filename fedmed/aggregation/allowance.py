"""Whose noise may be missing: defaults and limits of a study's allowance."""

from __future__ import annotations

from fedmed.types import Allowance, require


def default_allowance(
    nodes: int,
    *,
    planned: int | None = None,
    threshold: int | None = None,
    dropouts: int | None = None,
    colluders: int | None = None,
    min_contributors: int | None = None,
) -> Allowance:
    """Fill in what a study leaves open and refuse what the protocol cannot keep.

    Args:
        nodes: Custodians in the roster, n >= 3.
        planned: Contributors that the study plans; default n.
        threshold: Opening shares t; default ceil((2 n + 1) / 3).
        dropouts: Contributors that may be lost; default min(planned - t, 1 if planned <= 8 else
            ceil(planned / 10)), at least 0.
        colluders: Contributors whose noise may be known; default min(t - 1, 2 t - n - 1,
            planned - dropouts - 2).
        min_contributors: Least contributors of a sum; default max(3, colluders + 2).

    Returns:
        The allowance. n 3: t 3, d 0, c 1; n 4: t 3, d 1, c 1; n 31: t 21, d 4, c 10.

    Guarantees:
        colluders <= min(t - 1, 2 t - n - 1, least_set - 2): that many cannot open alone, any two opening
        sets share a custodian outside them, and two honest contributors are in every sum.

    Raises:
        ConfigError: an argument is outside its bounds; the message names it.
    """
    require(nodes >= 3, f"nodes must be >= 3, got {nodes}: two nodes always learn each other's sum")
    planned = nodes if planned is None else planned
    require(3 <= planned <= nodes, f"planned_contributors must be in 3..{nodes}, got {planned}")
    threshold = (2 * nodes + 3) // 3 if threshold is None else threshold
    require(1 <= threshold <= nodes, f"threshold must be in 1..{nodes}, got {threshold}")
    if dropouts is None:
        dropouts = max(0, min(planned - threshold, 1 if planned <= 8 else -(-planned // 10)))
    most_colluders = min(threshold - 1, 2 * threshold - nodes - 1)
    require(
        most_colluders >= 0,
        f"threshold must be above half of {nodes} nodes, got {threshold}: two halves could open two sums",
    )
    if colluders is None:
        colluders = max(0, min(most_colluders, planned - dropouts - 2))
    if min_contributors is None:
        min_contributors = max(3, colluders + 2)
    require(
        1 <= min_contributors <= planned, f"min_contributors must be in 1..{planned}, got {min_contributors}"
    )
    allowance = Allowance(
        planned_contributors=planned,
        threshold=threshold,
        dropouts=dropouts,
        colluders=colluders,
        min_contributors=min_contributors,
    )
    most_colluders = min(most_colluders, allowance.least_set - 2)
    require(
        colluders <= most_colluders,
        f"colluders must be <= {most_colluders} for {nodes} nodes and threshold {threshold}, got {colluders}",
    )
    return allowance
