"""Every mistake in a configuration is one sentence with file, key and what is allowed; a right one is read."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomprobe import config, trust, values
from roomprobe.config import Config, ConfigError
from roomprobe.options import Options
from roomprobe.sections import RULES, ProfilesSection, SiteSection
from roomprobe.spool.engine import CAP_BYTES, LEAST_CAP_BYTES
from roomprobe.text import escape

FULL = """
[site]
org = "ACME"
domain = "acme.example."
site = "Cambridge"
room = "Boardroom 4"
prefixes = ["10.20.0.0/16", "2001:db8::/48"]
room_system = "192.0.2.10"
attest = ["P2"]
[network]
interface = "eth0"
resolvers = ["192.0.2.53", "fe80::53%eth0"]
proxy = "http://proxy.acme.example:8080/"
rate_per_s = 100
burst = 50
[profiles]
enabled = ["starleaf"]
opt_in = ["openvpn"]
pins = { "config.starleaf.com" = ["AA:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] }
[targets]
"Config.StarLeaf.com" = ["203.0.113.10", "2001:DB8:0::1"]
"""


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_everything_that_is_allowed_is_read_in_its_normal_form(tmp_path: Path) -> None:
    read = config.load(explicit=write(tmp_path / "r.toml", FULL))
    assert read.site.org == "acme"
    assert read.site.domain == "acme.example"
    assert read.site.prefixes == ("10.20.0.0/16", "2001:db8::/48")
    assert read.network.resolvers == ("192.0.2.53", "fe80::53%eth0")
    assert read.network.proxy == "http://proxy.acme.example:8080"
    assert (read.network.rate_per_s, read.network.burst) == (100, 50)
    assert read.profiles.pins == {"config.starleaf.com": ("a" * 64,)}
    assert read.targets == {"config.starleaf.com": ("203.0.113.10", "2001:db8::1")}


MISTAKES: list[tuple[str, str]] = [
    ('[site]\norgg = "acme"', 'unknown key in [site]: "orgg" (did you mean org?); allowed: org, domain, site, room, '),
    ("[sight]\n", 'unknown key "sight" (did you mean site?); allowed: site, network, profiles, schedule, daemon, '),
    ("site = 3", "site must be a table, written [site], not a whole number."),
    ("[site]\norg = 5", "site.org must be one DNS label (letters a-z, digits and hyphens, at most 63, no hyphen at"),
    ('[site]\norg = "a.b"', 'not "a.b".'),
    ('[site]\norg = "-acme"', 'not "-acme".'),
    (f'[site]\norg = "{"a" * 64}"', "site.org must be one DNS label"),
    ('[site]\norg = "ａｃｍｅ"', "site.org must be one DNS label"),
    ('[site]\ndomain = "acme..example"', 'site.domain must be a DNS name such as "acme.example", not "acme..example".'),
    ('[site]\nroom = "a\\u001b[31m"', 'without control characters, not "a\\x1b[31m".'),
    ('[site]\nroom = ""', "site.room must be one line of text of 1 to 200 characters"),
    ("[site]\nroom = 1979-05-27", "site.room must be one line of text of 1 to 200 characters, not a date or time."),
    ('[site]\nprefixes = "10.0.0.0/8"', 'site.prefixes must be a list, not "10.0.0.0/8"; each item must be a network'),
    ('[site]\nprefixes = ["10.20.4.1/16"]', 'without host bits, not "10.20.4.1/16": write 10.20.0.0/16.'),
    ('[site]\nprefixes = ["10.20.0.0"]', 'site.prefixes must be a network in CIDR form such as "10.20.0.0/16", not'),
    ('[site]\nprefixes = ["10.20.0.0/33"]', "site.prefixes must be a network in CIDR form"),
    ('[site]\nroom_system = "192.0.2.300"', 'site.room_system must be an IPv4 or IPv6 address, not "192.0.2.300".'),
    ("[site]\nroom_system = true", "site.room_system must be an IPv4 or IPv6 address, not true or false."),
    ('[site]\nad_domain = "x"', "site.ad_domain is not used by this release; remove it."),
    ("[roles]\nkdc = 'x'", "[roles] is not used by this release; remove it."),
    ("[schedule]\nfull_s = 4", "schedule.full_s must be a whole number from 5 to 86400, not 4."),
    ("[schedule]\njitter = 0.6", "schedule.jitter must be a number from 0 to 0.5, not 0.6."),
    ("[schedule]\njitter = nan", "schedule.jitter must be a number from 0 to 0.5, not nan."),
    ('[daemon]\nmetrics = "localhost:1"', 'daemon.metrics must be an address and a port such as "127.0.0.1:9917"'),
    ('[daemon]\nmetrics = "::1:9917"', 'or "[::1]:9917", or "off", not "::1:9917".'),
    ('[daemon]\nmetrics = "127.0.0.1:0"', 'daemon.metrics must be an address and a port such as "127.0.0.1:9917"'),
    ("[daemon]\nspool_mib = 3", "daemon.spool_mib must be a whole number from 4 to 4096, not 3."),
    ('[daemon]\nspool_mib = "64"', 'daemon.spool_mib must be a whole number from 4 to 4096, not "64".'),
    ('[collector]\nurl = "http://c.example"', "collector.url must begin with https (http is for this machine alone), "),
    ('[collector]\nurl = "ftp://c.example"', "collector.url must be the collector's address such as \"https://coll"),
    (
        '[collector]\nurl = "https://u@c.example"',
        "collector.url must be the collector's address such as \"https://coll",
    ),
    (
        '[collector]\nagent = "room-4"',
        'collector.agent must be the UUID that the collector gave this box, not "room-4".',
    ),
    ('[collector]\npin = "12"', "collector.pin must be a SHA-256 fingerprint of 64 hex digits"),
    ('[network]\ninterface = "eth0/../x"', "network.interface must be a network interface name of at most 15"),
    ('[network]\nresolvers = ["dns.example"]', 'network.resolvers must be an IPv4 or IPv6 address, not "dns.example".'),
    (
        '[network]\nproxy = "http://proxy:99999"',
        'network.proxy must be the web proxy as "http://host:port" with a port fr',
    ),
    ('[network]\nproxy = "http://proxy:0"', "with a port from 1 to 65535"),
    ('[network]\nproxy = "http://proxy"', "with a port from 1 to 65535"),
    (
        '[network]\nproxy = "https://proxy:1"',
        'network.proxy must be the web proxy as "http://host:port", not "https://',
    ),
    (
        '[network]\nproxy = "http://u:p@proxy:1"',
        "without a user name or password: this release cannot log in to a proxy.",
    ),
    ('[network]\nproxy = "http://[::1:1"', "network.proxy must be the web proxy"),
    ('[network]\nproxy = "proxy:3128"', "network.proxy must be the web proxy"),
    ("[network]\nrate_per_s = 0", "network.rate_per_s must be a whole number from 1 to 10000, not 0."),
    ("[network]\nrate_per_s = 1.5", "network.rate_per_s must be a whole number from 1 to 10000, not a number."),
    ("[network]\nburst = true", "network.burst must be a whole number from 1 to 10000, not true or false."),
    (f"[network]\nburst = {10**30}", "network.burst must be a whole number from 1 to 10000, not one so large."),
    ('[network]\nca_file = "none.pem"', "none.pem is not a file."),
    ("[profiles]\nenabled = []", "profiles.enabled must be a list of 1 to 256 items, not 0."),
    (
        '[profiles.pins]\n"x.example" = ["12"]',
        'profiles.pins "x.example" must be a SHA-256 fingerprint of 64 hex digits',
    ),
    ('[profiles]\npins = "x"', 'profiles.pins must be a table of host names, not "x".'),
    ('[targets]\n"a b" = ["192.0.2.1"]', 'targets "a b" must be a DNS name such as "acme.example", not "a b".'),
    (
        '[targets]\n"a.example" = "192.0.2.1"',
        'targets "a.example" must be a list, not "192.0.2.1"; each item must be an',
    ),
    ('[targets]\n"a.example" = []', 'targets "a.example" must be a list of 1 to 256 items, not 0.'),
    ('[targets]\n"a.b" = ["::1"]\n"A.b" = ["::2"]', 'targets "A.b" stands twice.'),
    ('[targets]\nacme.call.sl = ["192.0.2.1"]', 'targets must be a table of host names: put "acme.call.sl" in quotes.'),
    ('[targets]\n"a.b" = ["0.0.0.0"]', 'of one far end, and "0.0.0.0" is the unspecified address.'),
    ('[targets]\n"a.b" = ["::"]', 'and "::" is the unspecified address.'),
    ('[targets]\n"a.b" = ["224.0.0.1"]', 'and "224.0.0.1" is for many hosts at once.'),
    ('[targets]\n"a.b" = ["ff02::1"]', 'and "ff02::1" is for many hosts at once.'),
    ('[targets]\n"a.b" = ["255.255.255.255"]', 'and "255.255.255.255" is for many hosts at once.'),
    ('[targets]\n"a.b" = ["fe80::1"]', 'and "fe80::1" is link-local: name the interface, such as "fe80::1%eth0".'),
    ("sources = {}", 'unknown key "sources"'),
    ("[site\n", "not valid TOML: Expected ']' at the end of a table declaration (at line 1, column 6)."),
    ("a = 1\na = 2\n", "not valid TOML: Cannot overwrite a value (at line 2, "),
    (f"a = {'9' * 5000}", "not valid TOML: "),
    ("a = " + "[" * 20_000, "is nested too deeply."),
]


@pytest.mark.parametrize(("text", "sentence"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    file = write(tmp_path / "roomprobe.toml", text)
    with pytest.raises(ConfigError) as caught:
        config.load(explicit=file)
    said = str(caught.value)
    assert str(file) in said
    assert sentence in said
    assert "\n" not in said and said.endswith(".") and len(said) < 800


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    write(tmp_path / "latin1.toml", b'[site]\nroom = "caf\xe9"\n')
    write(tmp_path / "huge.toml", "#" * (config.MOST_BYTES + 1))
    write(tmp_path / "empty.toml", "")
    for name, sentence in {
        "missing.toml": "cannot be read (No such file or directory).",
        ".": "is a directory; a TOML file is needed.",
        "fifo": "is not a regular file; a TOML file is needed.",
        "latin1.toml": "latin1.toml, line 2: not UTF-8 text; save the file as UTF-8.",
        "huge.toml": "is larger than 256 KiB, the most that is read.",
        "nul\0": "is not a file name.",
    }.items():
        with pytest.raises(ConfigError) as caught:
            config.load(explicit=tmp_path / name)
        assert sentence in str(caught.value), name
    assert config.load(explicit=tmp_path / "empty.toml") == Config()


def test_a_file_without_permission(tmp_path: Path) -> None:
    file = write(tmp_path / "secret.toml", "")
    file.chmod(0)
    if os.access(file, os.R_OK):
        child = os.fork()
        if child == 0:  # root reads everything, so the reader has to be somebody else
            status = 1
            try:
                os.chdir(tmp_path)
                os.setuid(65534)
                config.load(explicit=Path("secret.toml"))
            except ConfigError as error:
                status = 0 if "cannot be read (Permission denied)." in str(error) else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    else:
        with pytest.raises(ConfigError, match="Permission denied"):
            config.load(explicit=file)


def test_what_the_daemon_reads(tmp_path: Path) -> None:
    agent = "0F0E0D0C-0000-4000-8000-000000000001"
    text = f"""
[schedule]
full_s = 600
jitter = 0
[daemon]
metrics = "[0:0::1]:9917"
ndjson = "runs.ndjson"
spool_mib = 4
[collector]
url = "https://collector.acme.example:8443/"
agent = "{agent}"
token_file = "/run/token"
"""
    read = config.load(explicit=write(tmp_path / "r.toml", text))
    assert (read.schedule.full_s, read.schedule.quick_s, read.schedule.jitter) == (600, 30, 0.0)
    assert (read.daemon.metrics, read.daemon.ndjson) == ("[::1]:9917", str(tmp_path / "runs.ndjson"))
    assert (read.daemon.spool_mib, read.daemon.spool_mib << 20) == (4, LEAST_CAP_BYTES), "the least that a spool has"
    assert config.Config().daemon.spool_mib << 20 == CAP_BYTES
    assert read.collector.url == "https://collector.acme.example:8443"
    assert (read.collector.agent, read.collector.token_file) == (agent.lower(), "/run/token")
    local = write(tmp_path / "l.toml", '[collector]\nurl = "http://127.0.0.1:8080"\n[daemon]\nmetrics = "off"\n')
    assert (config.load(explicit=local).collector.url, config.load(explicit=local).daemon.metrics) == (
        "http://127.0.0.1:8080",
        "off",
    )


def test_a_ca_file_stands_beside_its_configuration_and_holds_certificates(tmp_path: Path) -> None:
    file = write(tmp_path / "roomprobe.toml", '[network]\nca_file = "site-ca.pem"\n')
    write(tmp_path / "site-ca.pem", "not a certificate")
    with pytest.raises(ConfigError, match=r"site-ca\.pem holds none that can be read"):
        config.load(explicit=file)
    write(tmp_path / "site-ca.pem", first_certificate())
    assert config.load(explicit=file).network.ca_file == str(tmp_path / "site-ca.pem")


def first_certificate() -> str:
    import certifi

    return Path(certifi.where()).read_text().split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (first_certificate().replace(" CERTIFICATE", " TRUSTED CERTIFICATE"), "holds none that can be read"),
        ("#" * 5_000_000 + "\n" + first_certificate(), "is larger than 4 MiB, the most that is read."),
    ],
    ids=["trusted", "late"],
)
def test_a_ca_file_that_the_judge_could_not_read_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    file = write(tmp_path / "roomprobe.toml", '[network]\nca_file = "site-ca.pem"\n')
    write(tmp_path / "site-ca.pem", text)
    assert not trust._anchors(str(tmp_path / "site-ca.pem"))
    with pytest.raises(ConfigError) as caught:
        config.load(explicit=file)
    assert sentence in str(caught.value)


def as_nobody(call: Callable[[], object]) -> str:
    """What the call said as another user (root reads everything): its result, or its ConfigError."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    read, out = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setuid(65534)
            said = repr(call())
        except ConfigError as error:
            said = str(error)
        finally:
            os.write(out, said.encode())
            os._exit(0)
    os.close(out)
    os.waitpid(child, 0)
    with os.fdopen(read) as pipe:
        return pipe.read()


def open_to_all(folder: Path) -> None:
    """Lets anybody into the folder: pytest closes those that it makes above it, one more of them in a worker."""
    for one in (folder, *folder.parents):
        if not one.stat().st_mode & stat.S_IXOTH:
            one.chmod(0o755)


def test_a_directory_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    open_to_all(tmp_path)
    write(tmp_path / "conf.d/a.toml", "")
    (tmp_path / "conf.d").chmod(0o700)
    assert as_nobody(lambda: config.load([tmp_path])) == f"{tmp_path}/conf.d cannot be read (Permission denied)."
    assert as_nobody(lambda: config.listed(tmp_path / "conf.d/deeper")).endswith("cannot be read (Permission denied).")


def test_the_home_of_another_user_is_absent(tmp_path: Path) -> None:
    write(tmp_path / ".config/roomprobe/roomprobe.toml", "[")
    open_to_all(tmp_path)
    home = {"HOME": str(tmp_path)}
    assert as_nobody(lambda: len(config.default_directories(home))) == "2"
    (tmp_path / ".config").chmod(0o700)
    assert as_nobody(lambda: len(config.default_directories(home))) == "1"


def test_a_link_that_leads_nowhere_is_a_mistake_and_hidden_files_are_not_read(tmp_path: Path) -> None:
    for name in (".hidden.toml", ".#a.toml", "a.toml~", "#a.toml#"):
        write(tmp_path / "conf.d" / name, "[")
    assert config.load([tmp_path]) == Config()
    (tmp_path / "roomprobe.toml").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"roomprobe\.toml cannot be read \(No such file or directory\)\."):
        config.load([tmp_path])


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    assert config.load(explicit=write(tmp_path / "r.toml", b'\xef\xbb\xbf[site]\nroom = "A"\n')).site.room == "A"


@pytest.mark.parametrize(
    ("text", "flags", "sentence"),
    [
        ('[profiles]\nenabled = ["starleef"]', {}, '{file}: profiles.enabled: there is no profile "starleef" (did you'),
        ("", {"profiles": ("starleef",)}, '--profile: there is no profile "starleef"'),
        ('[site]\nattest = ["P9"]', {}, "{file}: site.attest: no profile has a row to tick called"),
        ('[profiles]\nopt_in = ["dhcp"]', {}, "{file}: profiles.opt_in: there is no"),
        ("", {"opt_in": ("dhcp",)}, '--opt-in: there is no "dhcp"'),
        ('[profiles]\nopt_in = ["ike"]', {"opt_in": ("dhcp",)}, "{file}: profiles.opt_in or --opt-in: there is no"),
    ],
)
def test_an_unknown_word_is_said_with_the_file_or_the_flag(
    tmp_path: Path, text: str, flags: dict[str, Any], sentence: str
) -> None:
    file = write(tmp_path / "r.toml", text)
    with pytest.raises(ConfigError) as caught:
        Options(config=file, **flags).load()
    assert str(caught.value).startswith(sentence.replace("{file}", str(file)))


def test_the_interface_is_said_with_the_file_or_the_flag(tmp_path: Path) -> None:
    file = write(tmp_path / "r.toml", '[network]\ninterface = "eth9"')
    read = config.load(explicit=file)
    assert read.said("network.interface") == f"{file}: network.interface"
    assert config.with_options(read, Options(interface="eth8")).said("network.interface") == "--interface"


def test_files_are_merged_in_order_key_by_key(tmp_path: Path) -> None:
    system, user = tmp_path / "etc", tmp_path / "user"
    write(system / "roomprobe.toml", '[site]\norg = "one"\nroom = "A"\n[targets]\n"a.example" = ["192.0.2.1"]\n')
    write(system / "conf.d/20-b.toml", '[site]\norg = "three"\n')
    write(system / "conf.d/10-a.toml", '[site]\norg = "two"\nsite = "S"\n')
    write(system / "conf.d/not-toml.txt", "[")
    write(user / "roomprobe.toml", '[targets]\n"b.example" = ["192.0.2.2"]\n')
    read = config.load([system, user, tmp_path / "missing"])
    assert (read.site.org, read.site.room, read.site.site) == ("three", "A", "S")
    assert read.targets == {"a.example": ("192.0.2.1",), "b.example": ("192.0.2.2",)}
    assert [p.name for p in config.files([system, user])] == [
        "roomprobe.toml",
        "10-a.toml",
        "20-b.toml",
        "roomprobe.toml",
    ]
    only = write(tmp_path / "only.toml", '[site]\nroom = "B"\n')
    assert config.load([system], explicit=only) == Config(
        site=SiteSection(room="B"), sources={"site.room": f"{only}: site.room"}
    )


def test_directories_for_root_and_for_a_plain_user(monkeypatch: pytest.MonkeyPatch) -> None:
    etc = Path("/etc/roomprobe")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert config.default_directories({"HOME": "/root"}) == (etc,)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert config.default_directories({"HOME": "/home/u"}) == (etc, Path("/home/u/.config/roomprobe"))
    assert config.default_directories({"HOME": "/h", "XDG_CONFIG_HOME": "/x"}) == (etc, Path("/x/roomprobe"))
    assert config.default_directories({"HOME": "/h", "XDG_CONFIG_HOME": "x"}) == (etc, Path("/h/.config/roomprobe"))
    assert config.default_directories({}) == (etc,)


def test_flags_win_and_opt_in_adds() -> None:
    base = Config(site=SiteSection(org="one", room="A"), profiles=ProfilesSection(enabled=("x",), opt_in=("ike",)))
    flags = Options(org="Two", profiles=("starleaf", "starleaf"), opt_in=("openvpn", "ike"), interface="eth1")
    made = config.with_options(base, flags)
    assert (made.site.org, made.site.room, made.network.interface) == ("two", "A", "eth1")
    assert (made.profiles.enabled, made.profiles.opt_in) == (("starleaf",), ("ike", "openvpn"))
    assert config.with_options(base, Options()) == base
    for wrong, flag in (
        (Options(org="a_b"), "--org"),
        (Options(interface=""), "--interface"),
        (Options(room="\n"), "--room"),
    ):
        with pytest.raises(ConfigError, match=f"command line: {flag} must be"):
            config.with_options(base, wrong)


def test_rules_stand_for_every_key_of_every_section() -> None:
    sections = {f.name: f.type for f in msgspec.structs.fields(Config) if f.name not in ("targets", "sources")}
    assert sections.keys() == RULES.keys()
    for name, section in sections.items():
        assert {f.name for f in msgspec.structs.fields(section)} == RULES[name].keys()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(anything)
def test_a_rule_gives_a_value_or_one_sentence(value: Any) -> None:
    for keys in RULES.values():
        for rule in keys.values():
            try:
                done = rule(value)
            except ValueError as error:
                assert str(error) == escape(str(error), 500)
            else:
                assert rule(list(done) if isinstance(done, tuple) else done) == done


@given(st.text(alphabet="0123456789abcdef:.%/[]@ \n", max_size=30))
def test_address_like_text_never_breaks_a_rule(text: str) -> None:
    for rule in (values.address, values.prefix, values.proxy, values.hostname, values.fingerprint):
        for value in (text, "http://" + text):
            try:
                rule(value)
            except ValueError as error:
                assert str(error).startswith("must be ")
