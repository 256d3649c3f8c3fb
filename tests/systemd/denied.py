"""What a shipped unit denies: the unit itself, with a program in the place of ours that tries what it should not."""

from __future__ import annotations

import re

from tests.systemd.machine import Machine

PROGRAM = """
import os, socket, ctypes, mmap, pathlib
def tried(what, call):
    try:
        call()
    except (OSError, PermissionError) as error:
        print(what, "denied")
    else:
        print(what, "ALLOWED")
tried("write-etc", lambda: open("/etc/roomprobe/x", "w"))
tried("write-usr", lambda: open("/usr/x", "w"))
tried("read-shadow", lambda: open("/etc/shadow").read())
tried("write-open", lambda: open("/srv/open/x", "w"))
tried("home", lambda: os.listdir("/home"))
tried("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
tried("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
tried("vsock", lambda: socket.socket(40, socket.SOCK_STREAM))
tried("settime", lambda: __import__("time").clock_settime(0, 0))
tried("exec-memory", lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC))
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    if getattr(libc, name)(*args) != 0:
        raise OSError(ctypes.get_errno(), name)
tried("namespace", lambda: call("unshare", 0x10000000))
tried("mount", lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None))
tried("setuid", lambda: os.setuid(0))
tried("device", lambda: open("/dev/mem", "rb"))
tried("sysctl", lambda: open("/proc/sys/net/ipv4/ip_forward", "w"))
print("others", [p for p in os.listdir("/proc") if p.isdigit() and pathlib.Path(f"/proc/{p}").stat().st_uid not in (os.getuid(),)])
open(os.environ["STATE_DIRECTORY"] + "/x", "w").close()
os.unlink(os.environ["STATE_DIRECTORY"] + "/x")
print("state ok")
from roomprobe import synced
print("clock", synced._kernel(), synced.clock())
if credentials := os.environ.get("CREDENTIALS_DIRECTORY"):
    print("token ok" if open(credentials + "/collector-token").read().strip() else "token missing")
"""


def tried(box: Machine, unit: str) -> str:
    """What the program said of each of its attempts: "denied" or "ALLOWED"."""
    box.write("/opt/roomprobe/denied.py", PROGRAM)
    box.run("install", "-d", "-m", "777", "/srv/open")  # nothing but the sandbox keeps anybody out
    text = (box.tree / f"etc/systemd/system/{unit}.service").read_text()
    for setting, value in (
        ("Type", "oneshot"),
        ("WatchdogSec", "0"),
        ("Restart", "no"),
        ("ExecStart", "/opt/roomprobe/venv/bin/python /opt/roomprobe/denied.py"),
        # State of its own: the service goes on beside it.
        ("StateDirectory", f"{unit}-denied"),
    ):
        text, found = re.subn(rf"^{setting}=.*$", f"{setting}={value}", text, flags=re.M)
        assert found == 1, setting
    text = re.sub(r"^RuntimeDirectory=.*$", f"RuntimeDirectory={unit}-denied", text, flags=re.M)
    box.write(f"/etc/systemd/system/{unit}-denied.service", text)
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "start", f"{unit}-denied", check=False)
    said = box.journal(f"{unit}-denied")
    assert "ALLOWED" not in said and said.count(" denied\n") == PROGRAM.count('\ntried("'), said
    assert "others []" in said and "state ok" in said, said
    return said
