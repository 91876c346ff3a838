"""Statistics: mean inpatient cost by disease and hospital level, as a table with a column a level.

fedmed study new --kind statistics cost.toml
python -m fedmed.examples.mean_cost cost.toml provinces
"""

from __future__ import annotations

import sys

from fedmed import studies


def main(study: str, data: str) -> None:
    """Run the study and print the mean cost in yuan; a blank cell is missing."""
    result = studies.run(study, data)
    costs = result.frame("mean_cost")
    wide = costs.pivot_table(index="disease", columns="hosp_lv", values="estimate")
    print(wide.round(0).to_string())  # noqa: T201
    print("page:", result.save("runs/mean-cost"))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
