"""What a study prints at its end: arms, privacy, cost and two conclusions for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.report.evaluation import evaluation_line
from fedmed.report.findings import findings, site_noun, went_wrong
from fedmed.report.guarantee import when_alone
from fedmed.report.looks import ArmLook, known_arms
from fedmed.report.result import Arm, Result, worst_node
from fedmed.report.units import ABSENT, byte_size, delta, duration, epsilon, metric, plural, ratio

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text


def summary_lines(result: Result) -> list[RenderableType]:
    """Summarise a result for the terminal.

    Args:
        result: Any valid result.

    Returns:
        Things for ``rich.console.Console.print``, in order: the table of arms, privacy, cost, what went
        wrong (if anything), two conclusions, warnings (if any).

    Guarantees:
        Texts from the result are never read as rich markup; columns line up when names are Chinese.
    """
    from rich.text import Text

    found, privacy, sums = findings(result), result.privacy, result.aggregation
    guarantee = (
        f"epsilon {epsilon(privacy.epsilon_spent)} spent of {epsilon(privacy.epsilon)} planned, delta "
        f"{delta(privacy.delta)}, unit {privacy.unit}, homes {privacy.max_nodes_per_person}, "
        f"{plural(privacy.dropouts, 'dropout')}, {plural(privacy.colluders, 'colluder')}; fallback epsilon "
        f"{epsilon(privacy.fallback_epsilon)} {when_alone(result)}"
    )
    cost = (
        f"{byte_size(sums.bytes_total)} in {duration(result.seconds['total'])}; scheme {sums.scheme.value}, "
        f"{sums.bytes_up_per_value:.2f} bytes a value up, {plural(sums.aggregations, 'aggregation')} in "
        f"{plural(sums.attempts, 'attempt')}"
    )
    lines: list[RenderableType] = [_arms_table(result)] if known_arms(result) else []
    if result.evaluation is not None:
        lines.append(Text.assemble(("Released ", "bold"), evaluation_line(result.evaluation)))
    lines.append(Text.assemble(("Privacy  ", "bold"), guarantee))
    lines.append(Text.assemble(("Cost     ", "bold"), cost))
    lines += [Text.assemble(("Trouble  ", "bold yellow"), sentence) for sentence in went_wrong(result)]
    lines += [Text(sentence) for sentence in found.conclusions]
    lines += [Text.assemble(("Warning  ", "bold red"), sentence) for sentence in found.warnings]
    return lines


def show_summary(result: Result, *, page: Path) -> None:
    """Print a result's summary on stdout, and where its report page lies."""
    from rich.console import Console

    console = Console()
    for line in summary_lines(result):
        console.print(line)
    console.print(f"Report   {page}", markup=False, highlight=False, soft_wrap=True)


def _arms_table(result: Result) -> Table:
    """One row for each known arm."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, title=Text(result.study.title), title_justify="left", pad_edge=False)
    table.add_column("Arm", no_wrap=True)
    table.add_column("Privacy", no_wrap=True)
    table.add_column("AUC", justify="right", no_wrap=True)
    table.add_column(f"Worst {site_noun(result)}", no_wrap=True)
    table.add_column("AP", justify="right", no_wrap=True)
    table.add_column("E/O", justify="right", no_wrap=True)
    for look, arm in known_arms(result):
        table.add_row(*_arm_cells(result, look, arm=arm), style="bold" if look.key == "federated" else "")
    return table


def _arm_cells(result: Result, look: ArmLook, *, arm: Arm) -> list[Text]:
    """The cells of one row, as `Text` so that no bracket is read as markup."""
    from rich.text import Text

    worst = worst_node(arm)
    labels = {node.key: node.label for node in result.nodes}
    cells = (
        look.name,
        f"epsilon {epsilon(result.privacy.epsilon)}" if look.private else "none",
        metric(arm.auc),
        ABSENT if worst is None else f"{metric(worst[1])} {labels[worst[0]]}",
        metric(arm.average_precision),
        ratio(arm.expected_over_observed),
    )
    return [Text(cell) for cell in cells]
