"""Machines on this one: each has a network, a home and processes of its own, and answers over SSH."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from docs.pages import ROOT

NETWORKS = ("198.51.100", "203.0.113", "192.0.2")  # kept for documentation (RFC 5737): hardly anything is there


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=20).stdout


class Machines:
    """``with Machines(folder, 2) as machines``; all is gone behind it.

    Args:
        folder: gets a key, and a home a machine.
        number: of machines.
    """

    def __init__(self, folder: Path, number: int):
        name = f"nnc{os.getpid()}"
        self.bridge, self.names = name, [f"{name}-{index}" for index in range(number)]
        self.here, self.addresses = "", [""] * number
        self.homes = [folder / f"machine{index}" for index in range(number)]
        self.key = folder / "key"
        self.servers: list[subprocess.Popen] = []

    def __enter__(self):
        missing = [program for program in ("ip", "unshare", "ssh-keygen") if shutil.which(program) is None]
        if missing or os.geteuid():
            pytest.skip(f"network namespaces need root and {', '.join(missing) or 'its rights'}")
        pytest.importorskip("asyncssh", reason="no SSH server; pip install asyncssh")
        try:
            self.start()
        except subprocess.CalledProcessError as error:
            self.remove()
            pytest.skip(f"no network namespaces here: {error.stderr or error}")
        except BaseException:
            self.remove()
            raise
        return self

    def start(self) -> None:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True, timeout=20)
        taken = ip("-4", "address")
        network = next(network for network in NETWORKS if network not in taken)
        self.here, self.addresses = f"{network}.1", [f"{network}.{index + 10}" for index in range(len(self.names))]
        ip("link", "add", self.bridge, "type", "bridge")
        ip("address", "add", f"{self.here}/24", "dev", self.bridge)
        ip("link", "set", self.bridge, "up")
        for name, address, home in zip(self.names, self.addresses, self.homes, strict=True):
            home.mkdir()
            ip("netns", "add", name)
            ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", name, "master", self.bridge, "up")
            ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "route", "add", "default", "via", self.here)
            self.servers.append(self.serve(name, address, home))

    def serve(self, name: str, address: str, home: Path) -> subprocess.Popen:
        """The SSH server of a machine, whose end is that of all processes there."""
        command = ["ip", "netns", "exec", name, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        command += [sys.executable, str(ROOT / "tests" / "ssh_machine.py"), address, str(self.key), f"{self.key}.pub"]
        # NNI lets pip look for a newer NNI on every machine: not in the environment that the tests run in
        environment = {"PIP_NO_INDEX": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "HOME": str(home)}
        environment["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
        server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        return server

    def remove(self) -> None:
        for server in self.servers:
            server.kill()
            server.wait()
        for words in (*(("netns", "del", name) for name in self.names), ("link", "del", self.bridge)):
            subprocess.run(["ip", *words], capture_output=True)

    def __exit__(self, *_) -> None:
        self.remove()
