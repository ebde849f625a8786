"""Debian's redis-server judges the golden scripts: the same commands, the same replies, but for a reasoned skip list."""

import os
import subprocess
import sys

from processes import running


def redis_server(port, directory):
    os.makedirs(directory)
    return ["redis-server", "--port", str(port), "--dir", directory, "--save", "", "--bind", "127.0.0.1"]


with running(redis_server) as [port]:
    command = ["cargo", "test", "--locked", "-p", "steadfast-core", "--test", "differential", "--", "--nocapture"]
    environment = dict(os.environ, STEADFAST_REDIS=f"127.0.0.1:{port}")
    sys.exit(subprocess.run(command, env=environment, cwd="../../..").returncode)
