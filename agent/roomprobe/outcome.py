"""The closed vocabulary: every word that a verdict or a service may use.

One word for one thing, here, in the JSON report, in the terminal and in the documentation (docs/vocabulary.md).
Words once shipped stay; new ones are added at the end of their list.
"""

from enum import StrEnum


class Outcome(StrEnum):
    """What one check found. The proof that each one needs stands in docs/vocabulary.md."""

    OPEN = "open"
    REACHED = "reached"
    PASSES = "passes"
    CLOSED = "closed"
    REFUSED = "refused"
    REJECTED = "rejected"
    FILTERED = "filtered"
    INTERCEPTED = "intercepted"
    UNANSWERED = "unanswered"
    NO_TARGET = "no-target"
    SKIPPED = "skipped"
    FAULT = "fault"


class Confidence(StrEnum):
    """How sure a verdict is: seen (proven), concluded (inferred), or neither (none)."""

    PROVEN = "proven"
    INFERRED = "inferred"
    NONE = "none"


class Where(StrEnum):
    """Where the trouble sits. A verdict without trouble has no place at all (null)."""

    THIS_BOX = "this-box"
    JACK = "jack"
    LAN = "lan"
    SITE_EDGE = "site-edge"
    BEYOND = "beyond"
    FAR_END = "far-end"
    UNKNOWN = "unknown"


class State(StrEnum):
    """What a service can do on this network."""

    FULL = "full"
    DEGRADED = "degraded"
    BROKEN = "broken"
    UNKNOWN = "unknown"


class Need(StrEnum):
    """How much a service depends on a row. Optional rows are shown and never counted."""

    REQUIRED = "required"
    RECOMMENDED = "recommended"
    OPTIONAL = "optional"


class Reason(StrEnum):
    """Why an outcome or a state is what it is, for programs; the sentence says the same to people."""

    # met
    ANSWERED = "answered"
    VERIFIED = "verified"
    WANTS_CLIENT_CERTIFICATE = "wants-client-certificate"
    HANDSHAKE_ONLY = "handshake-only"
    LEAVES_SITE = "leaves-site"
    CERTIFICATE_EXPIRED = "certificate-expired"
    # refused, blocked or silent
    PORT_CLOSED = "port-closed"
    PORT_UNREACHABLE = "port-unreachable"
    RESET = "reset"
    ADMIN_PROHIBITED = "admin-prohibited"
    UNREACHABLE = "unreachable"
    PATH_ENDS = "path-ends"
    SIBLING_ANSWERS = "sibling-answers"
    NATIVE_ONLY = "native-only"
    SILENCE = "silence"
    LOSS = "loss"
    UNPROVEN = "unproven"
    # somebody else
    ISSUER_UNEXPECTED = "issuer-unexpected"
    NAME_MISMATCH = "name-mismatch"
    HANDSHAKE_SHORT = "handshake-short"
    NOT_TLS = "not-tls"
    WILDCARD_DNS = "wildcard-dns"
    # names
    NXDOMAIN = "nxdomain"
    NO_ADDRESS = "no-address"
    RESOLVER_FILTERS = "resolver-filters"
    RESOLVER_REFUSES = "resolver-refuses"
    RESOLVER_FAILS = "resolver-fails"
    RESOLVER_SILENT = "resolver-silent"
    RESOLVERS_DIFFER = "resolvers-differ"
    # the web proxy
    PROXY_AUTHENTICATION = "proxy-authentication"
    PROXY_REFUSES = "proxy-refuses"
    PROXY_FAILS = "proxy-fails"
    PROXY_SILENT = "proxy-silent"
    # this box and its jack
    NO_CARRIER = "no-carrier"
    NO_LOCAL_ADDRESS = "no-local-address"
    NO_GATEWAY = "no-gateway"
    GATEWAY_SILENT = "gateway-silent"
    PERMISSION = "permission"
    LOCAL_FIREWALL = "local-firewall"
    RESOURCE = "resource"
    CLOCK = "clock"
    # not run
    NOT_IN_RELEASE = "not-in-release"
    NOT_CONFIGURED = "not-configured"
    ATTESTATION = "attestation"
    OPT_IN = "opt-in"
    PRIVILEGE = "privilege"
    INTERVAL = "interval"
    NO_FAMILY = "no-family"
    NO_PEER = "no-peer"
    TIME = "time"
    INTERRUPTED = "interrupted"
    # services
    ALL_MET = "all-met"
    REQUIRED_NOT_MET = "required-not-met"
    RECOMMENDED_NOT_MET = "recommended-not-met"
    NO_EGRESS = "no-egress"
    SOME_ADDRESSES = "some-addresses"
    ONE_FAMILY = "one-family"
    SOME_RESOLVERS = "some-resolvers"
    NOT_TESTED = "not-tested"
    # added since the first list
    TLS_ALERT = "tls-alert"
    ADDRESS_UNUSABLE = "address-unusable"
    INTERFACE_DOWN = "interface-down"
    # the controller link
    NO_CODEC = "no-codec"
    SEVERAL_CODECS = "several-codecs"
    NOT_A_CODEC = "not-a-codec"
    CODEC_BUSY = "codec-busy"
    CODEC_RESTARTED = "codec-restarted"
    CERTIFICATE_CHANGED = "certificate-changed"
    NO_LINK_LOCAL = "no-link-local"
    NEIGHBOUR_SILENT = "neighbour-silent"
    STRAY_ROUTER = "stray-router"
    MTU_BLACK_HOLE = "mtu-black-hole"
    IDLE_TIMEOUT = "idle-timeout"
    NEIGHBOUR_ANSWERS = "neighbour-answers"
    ADDRESS_TWICE = "address-twice"
