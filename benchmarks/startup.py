"""`rollout --help` beside a bare interpreter, in one run: prints both medians and their difference.

python benchmarks/startup.py
"""

import statistics
import subprocess
import sys
import time

ROUNDS = 15


def median(argv: list[str]) -> float:
    """Milliseconds."""
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
        times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


bare = median([sys.executable, "-c", "pass"])
tool = median([sys.executable, "-m", "rollout", "--help"])
print(f"bare interpreter {bare:.0f} ms, rollout --help {tool:.0f} ms, ratio {tool / bare:.1f} (aim: 150 ms)")
