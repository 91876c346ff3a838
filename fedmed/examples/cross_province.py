"""Statistics: who travels where for a hospital stay, as shares of the stays of each home.

fedmed study new --kind flow flow.toml
python -m fedmed.examples.cross_province flow.toml provinces
"""

from __future__ import annotations

import sys

from fedmed import studies


def main(study: str, data: str) -> None:
    """Run the study and print the share of each home's stays by place of care."""
    stays = studies.run(study, data).frame("stays")
    matrix = stays.pivot_table(index="home", columns="place of care", values="estimate")
    shares = matrix.div(matrix.sum(axis=1), axis=0)
    print(shares.round(3).to_string())  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
