"""How long `featurelayer --help` takes, against an empty Python and one that only imports click.

    python benchmarks/cli_help.py

Prints seconds (median of 9) and ratios of one run. The claim: under 0.2 seconds.
"""

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "featurelayer --help": ["-m", "featurelayer", "--help"],
    "import click": ["-c", "import click"],
    "python": ["-c", "pass"],
}


def seconds(arguments: list[str]) -> float:
    """The median of nine runs."""
    times = []
    for _ in range(9):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    measured = {name: seconds(arguments) for name, arguments in COMMANDS.items()}
    ours = next(iter(measured.values()))
    for name, value in measured.items():
        print(f"{name:<20} {value:6.3f} s   {ours / value:5.2f} x")
    print("under 0.2 s" if ours < 0.2 else "NOT under 0.2 s")
