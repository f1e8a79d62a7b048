"""What starting costs: `featurelayer --help` against an empty Python, and the lookup client against boto3 alone.

    python benchmarks/import_time.py [--runs 15]

Each is a fresh process that reads compiled modules, as in an installed package. The runs alternate, so that a change of
the machine's speed meets all; printed are medians of wall time, differences and ratios of one run. The claims: help
under 0.2 seconds; the client, its DynamoDB store included, at most 20 ms over boto3.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

HELP, EMPTY, BOTO3, CLIENT = "featurelayer --help", "python -c pass", "import boto3", "import FeatureClient"
STORE = "with its DynamoDB store"
COMMANDS = {
    EMPTY: ["-c", "pass"],
    HELP: ["-m", "featurelayer", "--help"],
    BOTO3: ["-c", "import boto3"],
    CLIENT: ["-c", "import boto3; from featurelayer.online import FeatureClient"],
    STORE: [
        "-c",
        "import boto3, featurelayer.online.stores.dynamodb.store; from featurelayer.online import FeatureClient",
    ],
}


def medians(runs: int) -> dict[str, float]:
    """Median seconds of each command; one round before the counted ones fills the caches."""
    times = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for run in range(runs + 1):
            for name, arguments in COMMANDS.items():
                start = time.perf_counter()
                subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=environment)
                if run:
                    times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    measured = medians(parser.parse_args().runs)
    for name, base in ((EMPTY, EMPTY), (HELP, EMPTY), (BOTO3, EMPTY), (CLIENT, BOTO3), (STORE, BOTO3)):
        over = measured[name] - measured[base]
        against = (
            f"{measured[name] / measured[base]:6.2f} x  {over * 1000:+7.1f} ms over {base}" if name != base else ""
        )
        print(f"{name:<25} {measured[name] * 1000:7.1f} ms  {against}")
    over = measured[STORE] - measured[BOTO3]
    print(f"help: {measured[HELP]:.3f} s, {'under' if measured[HELP] < 0.2 else 'NOT under'} 0.2 s")
    print(f"client: {over * 1000:.1f} ms over boto3, {'at most' if over <= 0.02 else 'MORE THAN'} 20 ms")


if __name__ == "__main__":
    main()
