# SPDX-License-Identifier: BSD-3-Clause

"""The contenders: NBD servers, started one at a time, watched and stopped."""

import contextlib
import ctypes
import mmap
import os
import shutil
import signal
import socket
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    pass


def output_of(*command):
    """The first line, or None when the command does not work."""
    try:
        done = subprocess.run(command, capture_output=True, text=True,
                              timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def first_line(text):
    return text.splitlines()[0] if text else None


class Contender:
    """COMMAND makes the command line from (socket, image).  IMAGE says which
    of a row's images it serves.
    """

    def __init__(self, name, image, command, version):
        self.name, self.image = name, image
        self.command, self.version = command, version

    def again(self, name):
        """The same under another name, to show the noise."""
        return Contender(name, self.image, self.command, self.version)


def vmdk_plugin(flags=("-r",)):
    plugin = os.environ.get("VMDKIT_PLUGIN") or "vmdk"
    about = output_of("nbdkit", plugin, "--dump-plugin")
    if about is None:
        return None
    known = dict(line.split("=", 1) for line in about.splitlines()
                 if "=" in line)
    version = "%s %s" % (known.get("name"), known.get("version"))
    return Contender("vmdk", "vmdk", lambda sock, image: [
        "nbdkit", "-f", *flags, "-U", sock, plugin, image], version)


def qemu(flags=("-r",)):
    version = first_line(output_of("qemu-nbd", "--version"))
    if version is None:
        return None
    return Contender("qemu", "vmdk", lambda sock, image: [
        "qemu-nbd", *flags, "-f", "vmdk", "--persistent", "-e", "16",
        "-k", sock, image], version)


def nbdkit_file(flags=("-r",)):
    version = first_line(output_of("nbdkit", "--version"))
    if version is None or output_of("nbdkit", "file", "--version") is None:
        return None
    return Contender("file", "raw", lambda sock, image: [
        "nbdkit", "-f", *flags, "-U", sock, "file", image], version)


def nbdkit_null():
    """For maps: what the protocol and the client cost alone."""
    version = first_line(output_of("nbdkit", "--version"))
    if version is None:
        return None
    return Contender("null", "size", lambda sock, size: [
        "nbdkit", "-f", "-r", "-U", sock, "null", str(size)], version)


def connectable(path):
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as s:
        try:
            s.connect(path)
        except OSError:
            return False
    return True


class Server:
    """A running contender.  Use as a context."""

    def __init__(self, contender, image, folder):
        self.socket = os.path.join(folder, "socket")
        self.log = os.path.join(folder, "log")
        self.command = contender.command(self.socket, image)

    def __enter__(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.socket)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log)
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def wait_until_ready(self):
        end = time.monotonic() + 60
        while not connectable(self.socket):
            if self.process.poll() is not None or time.monotonic() > end:
                raise Failed("%s: does not start\n%s" % (
                    " ".join(self.command), self.said()))
            time.sleep(0.005)

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def said(self):
        with open(self.log, errors="replace") as f:
            return f.read()[-2000:]

    def cpu(self):
        """Seconds of all its threads, in user space and in the kernel."""
        with open("/proc/%d/stat" % self.process.pid) as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def peak_rss(self):
        """MiB."""
        with open("/proc/%d/status" % self.process.pid) as f:
            for line in f:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
        return None


libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int,
                      ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mlock.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


class Pinned:
    """Files kept in memory, so that no run pays for the disk under them.

    Where they cannot be locked they are read before each run instead, and
    the kernel may still drop them.
    """

    def __init__(self, paths):
        self.maps, self.unlocked = [], []
        for path in paths:
            if not self.lock(path):
                self.unlocked.append(path)

    def lock(self, path):
        with open(path, "rb") as f:
            size = os.fstat(f.fileno()).st_size
            if size == 0:
                return True
            at = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED,
                           f.fileno(), 0)
        if at == ctypes.c_void_p(-1).value:
            return False
        if libc.mlock(at, size) != 0:
            libc.munmap(at, size)
            return False
        self.maps.append((at, size))
        return True

    def warm(self):
        for path in self.unlocked:
            with open(path, "rb", buffering=0) as f:
                while f.read(8 << 20):
                    pass

    def close(self):
        for at, size in self.maps:
            libc.munmap(at, size)
        self.maps = []


def on_tmpfs(folder):
    kind = output_of("stat", "-f", "-c", "%T", folder)
    return kind == "tmpfs"


def find_program(name, folder):
    """NAME from FOLDER, where it was built, or from the path."""
    built = os.path.join(folder, name)
    return built if os.access(built, os.X_OK) else shutil.which(name)
