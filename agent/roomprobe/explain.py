"""One row of a profile in plain words: what it is for, what is sent, what each result means, which rule to ask for.

Pure: made from the profile and the configuration alone. The words for results are those of docs/vocabulary.md.
"""

from __future__ import annotations

from roomprobe.config import Config
from roomprobe.meets import Meets, meets
from roomprobe.model import Profile, Requirement, Verdict
from roomprobe.outcome import Confidence, Need, Outcome, Reason
from roomprobe.plan import DNS_PORT, UDP_SENDS, name_of
from roomprobe.text import escape

SENT = {
    "dns": "The name and a random one beside it are asked for (A and AAAA) at every resolver, over UDP and over TCP.",
    "tls": "One TCP connection to every address of the name: a TLS handshake with the name, and then one `GET /`.",
    "tcp": "One TCP connection to every address of the name; it only listens for a moment, and closes.",
    "controller": "One TCP connection to the codec, over IPv6.",
    "udp": f"Up to {UDP_SENDS} small packets of no known protocol, as a tunnel's are, in a second to every address.",
}
ASKED = {
    "listen": "Nothing is sent over it; it listens for two seconds, and closes.",
    "tls": "Over it a TLS handshake and one `GET /`, then it is closed.",
    "auth": "Over it one `GET /auth`, then it is closed.",
}
SHAPES = {"stun": "STUN", "ntp": "NTP", "openvpn": "OpenVPN", "ike": "IKE"}
LATER = "When that ends silent or refused, the path is followed hop by hop, with at most 100 packets."

NEEDS = {
    Need.REQUIRED: "required: without it this does not work",
    Need.RECOMMENDED: "recommended: without it this works, but not at its best",
    Need.OPTIONAL: "optional: it is shown and never counted",
}
COUNTS = {
    Meets.MET: "met",
    Meets.NOT_MET: "not met",
    Meets.CANNOT_TELL: "cannot tell",
    Meets.LEFT_OUT: "left out",
}

_PATH = {
    Outcome.CLOSED: "The far end itself says that nothing listens there. The network lets it through.",
    Outcome.REJECTED: "A device on the way refused it.",
    Outcome.FILTERED: "It goes silent on the way, while other traffic to the same address goes on.",
    Outcome.REFUSED: "It was refused, and by whom cannot be told.",
}
_OWN = {
    Outcome.FAULT: "This box itself failed to send. That says nothing about the network.",
    Outcome.SKIPPED: "It was not run; the reason stands beside it.",
}
MEANINGS: dict[str, dict[Outcome, str]] = {
    "dns": {
        Outcome.OPEN: "The resolver gave addresses for the name.",
        Outcome.NO_TARGET: "The resolver says that the name does not exist: gone, mistyped, or hidden by the resolver.",
        Outcome.INTERCEPTED: "The resolver answers for names that do not exist, too; its answer is worth nothing.",
        Outcome.REFUSED: "The resolver, or something before it, refused to answer.",
        Outcome.UNANSWERED: "No usable answer. It is about this resolver, never about the far end's firewall.",
        **_OWN,
    },
    "tls": {
        Outcome.OPEN: "A TLS handshake with a peer whose certificate is right for the name.",
        Outcome.REACHED: "The far end was reached; who it is cannot be verified (it may want a certificate).",
        **_PATH,
        Outcome.INTERCEPTED: "Somebody else answered: another issuer or name in the certificate, or a nearer device.",
        Outcome.UNANSWERED: "No answer, and no proof that it is blocked.",
        Outcome.NO_TARGET: "The name gave no address, so there was nothing to ask.",
        **_OWN,
    },
    "tcp": {
        Outcome.REACHED: "The connection was accepted; what listens there cannot be verified.",
        **_PATH,
        Outcome.INTERCEPTED: "A device on the way accepted the connection in the far end's place.",
        Outcome.UNANSWERED: "No answer, and no proof that it is blocked.",
        Outcome.NO_TARGET: "The name gave no address, so there was nothing to ask.",
        **_OWN,
    },
    "controller": {
        Outcome.OPEN: "The codec answered in its own protocol, or a roomprobe that plays it did.",
        Outcome.REACHED: "The codec takes the connection; what it speaks there is not published.",
        Outcome.CLOSED: "The codec itself says that nothing listens there. The network lets it through.",
        Outcome.REJECTED: "A device on the way refused it.",
        Outcome.REFUSED: "It was refused, and by whom cannot be told.",
        Outcome.FILTERED: "It goes silent on the way (or large packets do, or idle connections), while other traffic goes on.",
        Outcome.INTERCEPTED: "Something else answers in the codec's place.",
        Outcome.UNANSWERED: "No usable answer, and no proof that it is blocked; the sentence says what was seen.",
        **_OWN,
    },
    "udp": {
        Outcome.OPEN: "The far end answered a packet like the room system's own.",
        Outcome.PASSES: "No answer, but the packet was followed out of the site; beyond that is unknown.",
        **_PATH,
        Outcome.INTERCEPTED: "Something nearer answered in the far end's place.",
        Outcome.UNANSWERED: "No answer, and no proof that it is blocked. The real far end does not answer strangers.",
        Outcome.NO_TARGET: "The name gave no address, so there was nothing to ask.",
        **_OWN,
    },
}


def row(profile: Profile, wanted: str, config: Config) -> str | None:
    """Everything about the row of this id (which may stand for several hosts), or None when the profile has none."""
    rows = [one for one in profile.row if one.id == wanted]
    if not rows:
        return None
    first = rows[0]
    purpose = "; ".join(dict.fromkeys(one.purpose for one in rows))
    facts: list[tuple[str, str]] = [("profile", f"{profile.title}, version {profile.version} ({profile.status})")]
    facts += [("needed for", f"{_titles(profile, one)} ({NEEDS[one.need]})") for one in rows]
    if first.group is not None:
        members = [one.id for one in profile.row if one.group == first.group]
        facts.append(("one of", f"{', '.join(members)}: one is enough; the room system tries them in this order"))
    facts.append(("source", profile.documents[first.document]))
    facts += [("asked", _target(one, config)) for one in rows if one.host is not None or one.kind == "controller"]
    if first.unproven is not None:
        facts.append(("not asked", first.unproven))
        if first.attest:
            facts.append(("instead", f'if it is so, tick it in the config: [site] attest = ["{first.id}"]'))
    else:
        facts += [("what is sent", sentence) for sentence in _sent(first)]
        facts.append(("how often", _often(first.min_interval_s)))
    facts.append(("rule to ask", _rule(rows, config)))
    if profile.note is not None:
        facts.append(("note", profile.note))
    lines = [f"{escape(first.id)}  {escape(purpose)}", ""]
    lines += [f"  {label:<13}{escape(text, 500)}" for label, text in _once_each(facts)]
    if first.unproven is None:
        lines += ["", "  what a result means", ""]
        lines += [f"  {o:<13}{COUNTS[_counts(o)]:<13}{text}" for o, text in MEANINGS[first.kind].items()]
    return "\n".join(lines)


def name(wanted: Requirement, config: Config) -> str:
    """The row's host name; its template while the organisation or the domain is not known."""
    try:
        return name_of(wanted, config) or ""
    except KeyError:
        return wanted.host or ""


def _once_each(facts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The facts without repeats, each label written once."""
    told: list[tuple[str, str]] = []
    for label, text in dict.fromkeys(facts):
        told.append(("" if told and any(label == before for before, _ in told) else label, text))
    return told


def _titles(profile: Profile, wanted: Requirement) -> str:
    return ", ".join(service.title for service in profile.service if service.id in wanted.services)


def _target(wanted: Requirement, config: Config) -> str:
    if wanted.kind == "dns":
        return f"{name(wanted, config)}, at every resolver, port {wanted.port or DNS_PORT}"
    if wanted.kind == "controller":
        return f"the codec ({config.site.codec or 'found on this network, or given with --codec'}), TCP {wanted.port}"
    port = wanted.port if wanted.port is not None else wanted.params.get("ports", "")
    return f"{name(wanted, config)} {(wanted.transport or '').upper()} {port}".rstrip()


def _sent(wanted: Requirement) -> list[str]:
    sentences = [SENT[wanted.kind], *(ASKED[word] for word in wanted.params.get("ask", ()))]
    native = [SHAPES[shape] for shape in wanted.params.get("native", ())]
    if native:
        sentences.append(
            f"As many in the port's usual protocol ({', '.join(native)}); an answer to those alone proves no tunnel."
        )
    for shape in wanted.params.get("native_opt_in", ()):
        sentences.append(
            f"With --opt-in {shape} also some shaped like {SHAPES[shape]}; they may alarm intrusion detection."
        )
    return sentences if wanted.kind in ("dns", "controller") else [*sentences, LATER]


def _often(seconds: int) -> str:
    if seconds == 0:
        return "at every run"
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        if seconds % size == 0:
            count = seconds // size
            return f"at most once {f'every {count} {unit}s' if count > 1 else f'{_a(unit)} {unit}'}"
    raise AssertionError("every whole number is a multiple of one")


def _a(unit: str) -> str:
    return "an" if unit == "hour" else "a"


def _rule(rows: list[Requirement], config: Config) -> str:
    first = rows[0]
    if first.kind == "dns":
        return "UDP and TCP 53 from the room system to its resolvers; the names must resolve there"
    if first.kind == "controller":
        return f"TCP {first.port} over IPv6 from the controller (ports 1024-65535) to the codec: in the switch, and in any firewall between"
    if first.host is None or first.transport is None:
        return "none: no firewall rule decides this"
    port = first.port if first.port is not None else first.params.get("ports")
    if port is None:
        return "none: no rule for inbound connections is needed"
    also = "; one of the group is enough" if first.group else ""
    return f"{first.transport.upper()} {port} outbound from the room system to {name(first, config)}, by name{also}"


def _counts(outcome: Outcome) -> Meets:
    return meets(Verdict(outcome=outcome, confidence=Confidence.NONE, reason=Reason.NOT_CONFIGURED, sentence=""))
