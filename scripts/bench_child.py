"""Runs one command and prints its seconds and largest resident size in kB; a child of `bench`."""

from __future__ import annotations

import resource
import subprocess
import sys
import time


def main() -> None:
    started = time.monotonic()
    subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
    elapsed = time.monotonic() - started
    print(f"{elapsed:.4f} {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}")


if __name__ == "__main__":
    main()
