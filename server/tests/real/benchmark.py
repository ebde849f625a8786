"""redis-benchmark, and what it says."""

import re
import subprocess


def throughput(port, *words):
    """Requests a second of one kind of command."""
    output = subprocess.run(["redis-benchmark", "-p", str(port), "-q", *map(str, words)], check=True, capture_output=True, text=True).stdout
    return float(re.findall(r"([\d.]+) requests per second", output)[-1])
