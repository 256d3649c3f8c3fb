"""Short words for what a run must show: used by every test of the product in the lab."""

from __future__ import annotations

from typing import Any

from .network import Lab
from .product import Run

UDP_ROWS = ("F3", "F4", "F5", "F6", "F7")
ONE_EACH = {"config.starleaf.com": (20,), "acme.call.sl": (10,)}


def only(run: Run, row: str, **wanted: Any) -> dict[str, Any]:
    """The one check of a row that was run, with those values."""
    found = [check for check in run.rows(row, **wanted) if check["outcome"] != "skipped"]
    assert len(found) == 1, f"{len(found)} checks of {row}: {[c['id'] for c in found]}"
    return found[0]


def udp_outcomes(run: Run, rows: tuple[str, ...] = UDP_ROWS) -> set[str]:
    """The outcomes of the tunnel's UDP rows."""
    return set().union(*(run.outcomes(row) for row in rows))


def calls(run: Run, state: str, **more: Any) -> dict[str, Any]:
    """The service `calls`, held against what it must be."""
    return service(run, "calls", state, **more)


def service(run: Run, name: str, state: str, **more: Any) -> dict[str, Any]:
    """A service, held against what it must be; the failure says what the run said."""
    found = run.service(name)
    wanted = {"state": state, **more}
    got = {key: found[key] for key in wanted}
    assert got == wanted, f"{got} instead of {wanted}: {found['sentence']}\n{told(run)}"
    return found


def told(run: Run) -> str:
    """Every check in a line, for a failure's message."""
    return "\n".join(f"{c['id']}: {c['outcome']} ({c['reason']}) {c['sentence']}" for c in run.report["checks"])


def interval(check: dict[str, Any]) -> tuple[int | None, int | None]:
    """The distances of the interval that a silence is placed in."""
    hop = check["hop"] or {}
    last, following = hop.get("last_answering") or {}, hop.get("next_on_control") or {}
    return last.get("distance"), following.get("distance")


def contains(check: dict[str, Any], lab: Lab, router: str) -> bool:
    """Whether the interval contains the router: either end may be the dropper."""
    return lab.hop(router) in interval(check)
