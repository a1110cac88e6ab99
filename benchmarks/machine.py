"""What the run ran on."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "celery",
    "redis",
    "hiredis",
    "uvicorn",
    "uvloop",
    "sse-starlette",
    "streamstraight-server",
    "python-socketio",
    "openai",
)


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def redis_version() -> str:
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None:
        return "no Redis"
    done = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10)
    words = dict(word.split("=", 1) for word in done.stdout.split() if "=" in word)
    return f"{Path(binary).name} {words.get('v', '?')}"


def package_versions() -> list[str]:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {package}")
    return found


class OtherLoad:
    """How much of the machine went to anything but this run, which is what spoils figures."""

    def __init__(self) -> None:
        self.before = _machine_ticks()
        self.own_before = _own_seconds()

    def describe(self) -> str:
        """One line; to be asked for when the run's processes have ended."""
        total, busy, stolen = (
            now - before for now, before in zip(_machine_ticks(), self.before, strict=True)
        )
        own = (_own_seconds() - self.own_before) * os.sysconf("SC_CLK_TCK")
        if total <= 0:
            return "what else ran on the machine is not known"
        return (
            f"other processes took {max(0.0, busy - own) / total:.0%} of the CPUs during the run,"
            f" the hypervisor {stolen / total:.0%}"
        )


def _machine_ticks() -> tuple[int, int, int]:
    """Ticks of all CPUs since the machine started: all, busy, stolen by the hypervisor."""
    try:
        first = Path("/proc/stat").read_text().splitlines()[0]
    except OSError:
        return (0, 0, 0)
    user, nice, system, idle, iowait, irq, softirq, steal = map(int, first.split()[1:9])
    busy = user + nice + system + irq + softirq
    return (busy + idle + iowait + steal, busy, steal)


def _own_seconds() -> float:
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def describe() -> list[str]:
    """Two lines: the machine, the versions."""
    load = os.getloadavg()[0]
    return [
        f"{cpu_model()}, {os.cpu_count()} cores, {platform.system()} {platform.release()},"
        f" load {load:.1f} at the start",
        f"Python {platform.python_version()}, {redis_version()}, {', '.join(package_versions())}",
    ]
