"""Survival: the time to the next hospital stay, by hospital level.

fedmed study new --kind survival readmission.toml
python -m fedmed.examples.readmission readmission.toml provinces
"""

from __future__ import annotations

import sys

from fedmed import studies


def main(study: str, data: str) -> None:
    """Run the study and print the share without a next stay by time, and the log-rank test."""
    result = studies.run(study, data)
    curves = result.frame("survival").pivot_table(index="time", columns="group", values="survival")
    print(curves.round(3).to_string())  # noqa: T201
    print(result.frame("log_rank").to_string(index=False))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
