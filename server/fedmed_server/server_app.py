"""Flower's ServerApp at the coordinator: runs a study's phases on the grid it is given.

`build_server_app` makes one for a simulation, whose settings are at hand. `app` is the one of a deployment:
Flower starts it in a process of its own, and all it is given is a run's configuration.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flwr.app import Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

from fedmed.crypto.identity import Identity
from fedmed.messages import Roster
from fedmed.phase_record import PhaseRecord
from fedmed.study import StudySpec
from fedmed_server.deployed_study import Order, run_order
from fedmed_server.driver import GridDriver, MessageFactory, Patience
from fedmed_server.node_versions import version_keeper
from fedmed_server.study_flow import OnRound, StudyOutcome, run_study


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What a coordinator needs for one study.

    Attributes:
        spec: The study.
        identity: The coordinator's private keys.
        roster: The roster that all provinces pinned.
        today: The coordinator's date.
        directory: Flower node id of each roster point.
        make_message: Makes messages for the grid, given the grid.
        deadline_s: How long a phase may take.
        on_phase: Called after each phase.
        on_round: Called after each aggregation.
        deliver: Called with the outcome; a ServerApp returns nothing by itself.
    """

    spec: StudySpec
    identity: Identity
    roster: Roster
    today: datetime.date
    directory: Mapping[int, int]
    make_message: Callable[[Grid], MessageFactory]
    deadline_s: float
    on_phase: Callable[[PhaseRecord], None]
    on_round: OnRound
    deliver: Callable[[StudyOutcome], None]


def build_server_app(**parts: Any) -> ServerApp:  # checked by the dataclass that they make
    """Make a ServerApp that runs one study from its ceremony to its end.

    Args:
        **parts: The fields of `ServerSettings`; keywords, so that a simulation need not import this room.

    Returns:
        An app whose main raises what stops the study and otherwise hands the outcome to ``deliver``.
    """
    settings = ServerSettings(**parts)
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        del context  # settings come from the caller, not from a run's configuration
        driver = GridDriver(
            grid,
            settings.directory,
            make_message=settings.make_message(grid),
            patience=Patience(deadline_s=settings.deadline_s),
            on_phase=settings.on_phase,
        )
        steps = run_study(
            settings.spec,
            settings.identity,
            settings.roster,
            today=settings.today,
            on_round=settings.on_round,
        )
        settings.deliver(driver.run(steps))

    return app


# Each look is an HTTP request; nodes sleep three seconds between theirs, so more of them gain nothing.
DEPLOYED_POLL_S: Final = 0.25
# A SuperNode that was killed may not come back before the SuperLink has missed two of its heartbeats, after
# 60 s (measured with flwr 1.41: error 2004 until then); its supervisor then tries at most 60 s later.
DEPLOYED_LOST_S: Final = 150.0


def deployed_message(
    content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
) -> Message:
    """Make a message inside a Flower task; see `fedmed_server.driver.MessageFactory`."""
    return Message(content, dst_node_id=dst_node_id, message_type=message_type, ttl=ttl, group_id=group_id)


app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the study that the run's configuration names; raises `FedMedError` for what stops it."""
    order = Order.from_config(context.run_config)

    def open_driver(directory: Mapping[int, int], on_phase: Callable[[PhaseRecord], None]) -> GridDriver:
        return GridDriver(
            grid,
            directory,
            make_message=deployed_message,
            patience=Patience(
                deadline_s=order.phase_deadline_s, poll_s=DEPLOYED_POLL_S, lost_s=DEPLOYED_LOST_S
            ),
            on_phase=on_phase,
            on_version=version_keeper(order.home),
        )

    today = datetime.datetime.now(tz=datetime.UTC).date()
    run_order(order, grid, open_driver, today=today)
