"""What a remote machine has: an SSH server with SFTP. ``python ssh_machine.py ADDRESS HOST_KEY AUTHORISED_KEYS``."""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE

import asyncssh


async def serve(session: asyncssh.SSHServerProcess) -> None:
    """Run what is asked for in a shell, whose environment is this server's."""
    shell = await asyncio.create_subprocess_exec("bash", "-c", session.command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    output, errors = await shell.communicate()
    session.stdout.write(output)
    session.stderr.write(errors)
    session.exit(shell.returncode)


async def main(address: str, host_key: str, authorised: str) -> None:
    await asyncssh.listen(
        address,
        22,
        server_host_keys=[host_key],
        authorized_client_keys=authorised,
        process_factory=serve,
        sftp_factory=True,
        encoding=None,
    )
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
