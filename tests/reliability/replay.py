"""`python -m tests.reliability.replay SEED [--store sqlite] [--warehouse duckdb] [--protocol NAME]`: one trial, told.

Says what happened step by step; if it broke, also the shortest course that breaks.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.reliability.finding import attempt, shortest
from tests.reliability.protocols import PROTOCOLS
from tests.reliability.simulation import Choices
from tests.reliability.stages import memory_stage, sqlite_stage
from tests.reliability.warehouse import SimulatedDuckDB


def main() -> int:
    """Replay the trial that the command line names; 1 if it broke."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seed", type=int)
    parser.add_argument("--store", choices=["memory", "sqlite"], default="memory")
    parser.add_argument("--warehouse", choices=["sqlite", "duckdb"], default="sqlite")
    parser.add_argument("--protocol", choices=["real", *PROTOCOLS], default="real")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stage = sqlite_stage(Path(folder)) if given.store == "sqlite" else memory_stage()
        if given.protocol != "real":
            stage = PROTOCOLS[given.protocol]()
        if given.warehouse == "duckdb":
            stage.use_duckdb(SimulatedDuckDB())
        broken, trial = attempt(stage, Choices(given.seed))
        print("\n".join(f"{number}. {text}" for number, text in enumerate(trial.told, 1)))
        if broken is None:
            print("everything held")
            return 0
        print(f"BROKEN: {broken}\n\n{shortest(stage, given.seed)}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
