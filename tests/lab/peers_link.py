"""Who may stand at the codec's address: our own emulator, a web server, a stand-in for the device; and a controller.

All that play a codec have the role `codec` (`codec-codec2` in namespace codec2), so that each replaces the other.
Functions work as in peers.py, which has all of these too.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .faults_link import CODEC_PORTS
from .network import Lab
from .peer import Peer, folder_for
from .procs import LabError, Spec, program, run
from .product import AGENT

HERE = Path(__file__).parent
HELD_S = 5.0


class Watched(Peer):
    """A server that writes what it sees into a file, one JSON object a line."""

    def __init__(self, lab: Lab, spec: Spec, file: Path) -> None:
        self.file = file
        super().__init__(lab, spec)

    def seen(self, event: str | None = None, **wanted: Any) -> list[dict[str, Any]]:
        """What it has written so far; only that `event`, and those with these values, where they are given."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        wanted |= {} if event is None else {"event": event}
        return [one for one in map(json.loads, lines) if all(one.get(key) == value for key, value in wanted.items())]


def _role(ns: str) -> str:
    return "codec" if ns == "codec" else f"codec-{ns}"


def _self_signed(folder: Path, name: str) -> tuple[str, str]:
    """A certificate as devices make it for themselves, and its key: new at every start."""
    certificate, key = str(folder / "certificate.pem"), str(folder / "key.pem")
    made = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}", "-days", "3")
    run([program("openssl", "openssl"), "req", "-x509", *made, "-out", certificate, "-keyout", key])
    return certificate, key


def codec(
    lab: Lab,
    ns: str = "codec",
    *,
    port_offset: int = 0,
    ports: Iterable[int] | None = None,
    interface: str | None = None,
) -> Watched:
    """`roomprobe codec` as root in a namespace; `seen()` gives what it writes to its `--log`."""
    chosen = tuple(ports) if ports is not None else CODEC_PORTS
    file = folder_for(lab, _role(ns)) / "seen.json"
    argv = ["env", f"PYTHONPATH={AGENT}", "PYTHONDONTWRITEBYTECODE=1", sys.executable, "-m", "roomprobe", "codec"]
    argv += ["--port-offset", str(port_offset), "--json", "--log", str(file)]
    argv += ["--ports", ",".join(map(str, chosen))] if ports is not None else []
    argv += ["--interface", interface] if interface else []
    ready = tuple(("tcp", port + port_offset, 1) for port in chosen)
    return Watched(lab, Spec(_role(ns), ns, tuple(argv), ready), file)


def web_instead(lab: Lab, ns: str = "codec") -> Peer:
    """A real nginx with a self-signed certificate on TCP 443 of [::] where the codec should be, and nothing else."""
    nginx, folder = program("nginx", "nginx-light"), folder_for(lab, "web")
    certificate, key = _self_signed(folder, "web.example")
    paths = " ".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    server = f"listen [::]:443 ssl; ssl_certificate {certificate}; ssl_certificate_key {key};"
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log stderr warn;\nevents {{ }}\n"
        f"http {{ access_log {folder}/access.log; {paths}\n"
        f'server {{ {server} location / {{ default_type text/html; return 200 "<p>It works!</p>\\n"; }} }}\n}}\n'
    )
    argv = (nginx, "-e", "stderr", "-c", str(config))
    return Peer(lab, Spec(_role(ns), ns, argv, (("tcp", 443, 1),)))


def one_controller(lab: Lab, ns: str = "codec", *, limit: str = "newest", port_offset: int = 0) -> Watched:
    """codec_standin.py in the place of a real 5141, which serves one controller only.

    `limit`: a new connection to a port that is in use closes the one before (`newest`), is reset (`oldest`), is refused
    as nothing listens meanwhile (`closed`), or is served as well (`none`). `seen()` gives `connect`, `tls`,
    `received` (bytes, data as hex) and `close` (why: peer, reset, replaced, refused, answered, garbage), each with
    port, connection, peer and source (its port).
    """
    folder = folder_for(lab, _role(ns))
    file = folder / "seen.json"
    script = str(HERE / "codec_standin.py")
    argv = (sys.executable, script, limit, str(file), *_self_signed(folder, "teamline"), str(port_offset))
    ready = tuple(("tcp", port + port_offset, 1) for port in CODEC_PORTS)
    return Watched(lab, Spec(_role(ns), ns, argv, ready), file)


class Controller(Watched):
    """A controller that holds its five connections."""

    def outages(self) -> list[dict[str, Any]]:
        """Every connection it has lost so far."""
        return self.seen("lost")

    def holds(self) -> set[int]:
        """The ports that it is connected to now."""
        last = {one["port"]: one["event"] for one in self.seen() if one["event"] in ("connected", "lost")}
        return {port for port, event in last.items() if event == "connected"}

    def settled(self) -> None:
        """Wait until it holds all five; LabError when it does not come to that."""
        end = time.monotonic() + HELD_S
        while self.holds() != set(CODEC_PORTS):
            if time.monotonic() > end:
                raise LabError(f"the controller holds only {sorted(self.holds())}: {self.seen()[-3:]}")
            time.sleep(0.01)


def controller(lab: Lab, ns: str = "controller", *, address: str | None = None, port_offset: int = 0) -> Controller:
    """controller_standin.py in a namespace (a lab with `controller=True`), connected to the codec on all five ports."""
    file = folder_for(lab, "controller") / "seen.json"
    script = str(HERE / "controller_standin.py")
    where = address or lab.codec_addresses()[0]
    peer = Controller(lab, Spec("controller", ns, (sys.executable, script, where, str(file), str(port_offset))), file)
    try:
        peer.settled()
    except LabError:
        peer.stop()
        raise
    return peer


# For `scripts/lab peer NAME`.
NAMED: dict[str, Callable[..., Peer]] = {
    function.__name__.replace("_", "-"): function for function in (codec, web_instead, one_controller, controller)
}
