"""The shipped profile holds every row; a wrong profile is one sentence; a site's own takes its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomprobe import profile, values
from roomprobe.config import Config, ConfigError
from roomprobe.model import Profile
from roomprobe.outcome import Need
from roomprobe.probes import PROBES
from roomprobe.sections import ProfilesSection, SiteSection

GOOD = """
schema = 1
id = "room"
title = "Room"
version = "1"
documents = { page = "The page" }
[[service]]
id = "calls"
title = "Calls"
[[row]]
id = "A1"
purpose = "media"
document = "page"
services = ["calls"]
need = "recommended"
group = "g"
kind = "udp"
transport = "udp"
host = "{org}.example"
port = 5000
params = { native_opt_in = ["ike"] }
[[row]]
id = "A2"
purpose = "media"
document = "page"
services = ["calls"]
need = "recommended"
group = "g"
kind = "udp"
transport = "udp"
host = "{org}.example"
port = 5001
[[row]]
id = "N1"
purpose = "the name"
document = "page"
services = ["calls"]
need = "required"
kind = "dns"
host = "{org}.Example"
"""


@pytest.fixture
def starleaf() -> Profile:
    return profile.available([])["starleaf"].profile


def test_starleaf_has_every_row_with_its_services(starleaf: Profile) -> None:
    rows = {(r.id, r.host): r for r in starleaf.row}
    assert [r.id for r in starleaf.row] == ["F0", *(f"F{n}" for n in range(11)), "P1", "P2", "P3"]
    assert {s.id for s in starleaf.service} == {"sign-in", "calls", "browser-calls", "standby"}
    assert rows["F0", "config.starleaf.com"].services == rows["F1", "config.starleaf.com"].services == ("sign-in",)
    assert rows["F0", "{org}.call.sl"].services == rows["F2", "{org}.call.sl"].services == ("calls",)
    assert {r.id for r in starleaf.row if r.services == ("browser-calls",)} == {"F8", "F9"}
    assert {r.id for r in starleaf.row if r.services == ("standby",)} == {"P1", "P2", "P3"}
    assert {r.id for r in starleaf.row if r.unproven} == {"F8", "F9", "F10", "P1", "P2", "P3"}
    assert [r.id for r in starleaf.row if r.attest] == ["P2"]


def test_starleaf_tcp_443_is_required_on_both_names(starleaf: Profile) -> None:
    rows = [r for r in starleaf.row if r.kind == "tls"]
    assert [(r.id, r.transport, r.port, r.need) for r in rows] == [
        ("F1", "tcp", 443, Need.REQUIRED),
        ("F2", "tcp", 443, Need.REQUIRED),
    ]


def test_starleaf_udp_ports_are_one_group_in_the_endpoints_order(starleaf: Profile) -> None:
    rows = [r for r in starleaf.row if r.group == "udp-tunnel"]
    assert [r.port for r in rows] == [24704, 3478, 1194, 500, 123]
    assert {r.need for r in rows} == {Need.RECOMMENDED}
    assert {r.port: r.params for r in rows} == {
        24704: {},
        3478: {"native": ["stun"]},
        1194: {"native_opt_in": ["openvpn"]},
        500: {"native_opt_in": ["ike"]},
        123: {"native": ["ntp"]},
    }


def test_starleaf_is_legacy_with_its_note_and_names_a_source_for_every_row(starleaf: Profile) -> None:
    assert starleaf.status == "legacy"
    assert starleaf.note == (
        "StarLeaf's public service was wound down in 2022; who answers at these names may not be StarLeaf."
    )
    assert {r.document for r in starleaf.row} == starleaf.documents.keys()
    assert all(r.min_interval_s >= 300 for r in starleaf.row if r.kind in PROBES)


def test_native_shapes_are_those_that_can_be_built() -> None:
    shapes = pytest.importorskip("roomprobe.wire.shapes")
    assert set(shapes.SHAPES) - {"opaque"} == set(profile.NATIVE_SHAPES)


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new, 1)


MISTAKES = [
    (changed("schema = 1", "schema = 2"), 'schema: there is no "2"; allowed: 1.'),
    (changed('title = "Room"', ""), "a key is missing: title."),
    (changed('title = "Room"', "title = 4"), "title: expected text, got a whole number."),
    (
        changed('title = "Room"', 'titel = "Room"'),
        'unknown key "titel" (did you mean title?); allowed: schema, id, title',
    ),
    (changed('id = "room"', 'id = "a/b"'), "id: must be 1 to 40 letters, digits, dots, hyphens or underscores, not"),
    (changed('version = "1"', 'version = "1"\nstatus = "old"'), 'status: there is no "old"; allowed: current, legacy.'),
    (changed('version = "1"', 'version = "1"\nstatus = "legacy"'), "note: a legacy profile needs one; it is shown in"),
    (changed("port = 5000", "prot = 5000"), 'row "A1": unknown key "prot" (did you mean port?); allowed: id, purpose,'),
    (changed('transport = "udp"', 'transport = "sctp"'), 'transport: there is no "sctp"; allowed: udp, tcp.'),
    (changed("port = 5000", "port = 65536"), 'row "A1": port: must be a whole number from 1 to 65535, not 65536.'),
    (changed("port = 5000", "port = 0"), 'row "A1": port: must be a whole number from 1 to 65535, not 0.'),
    (changed("port = 5000", 'port = "5000"'), 'row "A1": port: expected a whole number'),
    (changed("port = 5000", f"port = {10**30}"), 'row "A1": port: '),
    (changed("port = 5000", ""), 'row "A1": port: a row of kind udp needs one.'),
    (changed("port = 5001", "port = 5001\nmin_interval_s = -1"), 'row "A2": min_interval_s: must be'),
    (changed('kind = "udp"', 'kind = "tls"'), 'row "A1": transport: a row of kind tls needs "tcp".'),
    (
        changed('kind = "udp"', 'kind = "upd"'),
        'kind: this release has no probe "upd" (did you mean udp?); allowed: dns, ',
    ),
    (changed('kind = "udp"', "kind = []"), 'row "A1": kind: expected text, got a list.'),
    (
        changed('host = "{org}.example"', 'host = "{user}.example"'),
        "host: {org} and {domain} are the only placeholders.",
    ),
    (changed('host = "{org}.example"', 'host = "{org.x}.example"'), "are the only placeholders."),
    (changed('host = "{org}.example"', 'host = "{org!r}.example"'), "are the only placeholders."),
    (changed('host = "{org}.example"', 'host = "{org"'), "are the only placeholders."),
    (changed('host = "{org}.example"', 'host = "a b"'), 'host: must be a DNS name such as "acme.example", not "a b".'),
    (changed('host = "{org}.example"', ""), "host: a row of kind udp needs one."),
    (changed('host = "{org}.example"', 'host = "other.example"'), 'row "A2": group: must have the same host, services'),
    (changed('services = ["calls"]', 'services = ["cals"]'), 'services: there is no "cals" (did you mean calls?); al'),
    (changed('services = ["calls"]', "services = []"), "services: at least one is needed."),
    (changed('document = "page"', 'document = "book"'), 'document: there is no "book"; allowed: page.'),
    (
        changed('need = "recommended"', 'need = "must"'),
        'row "A1": need: there is no "must"; allowed: required, recommended, o',
    ),
    (
        changed('id = "A2"', 'id = "A1"').replace("5001", "5000"),
        'row "A1": stands twice with the same host, transport and',
    ),
    (changed('id = "A2"', 'id = ""'), 'row "": id: must be'),
    (
        changed('native_opt_in = ["ike"]', 'native = ["sip"]'),
        'params.native: there is no "sip"; allowed: ike, ntp',
    ),
    (changed('native_opt_in = ["ike"]', 'native = "stun"'), 'params.native: must be a list of words, not "stun".'),
    (changed('native_opt_in = ["ike"]', "native = [3]"), "params.native: must be a list of words, not a list."),
    (changed('native_opt_in = ["ike"]', "size = 3"), 'params: a row of kind udp takes no "size"; allowed: native, na'),
    (changed("[[service]]", "[service]"), "service: at least one [[service]] is needed."),
    (GOOD.partition("[[row]]")[0], "row: at least one [[row]] is needed."),
    (
        GOOD.partition("[[row]]")[0].replace("schema", "row = [3]\nschema"),
        "row number 1: expected a table, got a whole nu",
    ),
    (
        changed('[[service]]\nid = "calls"', '[[service]]\nid = "calls"\ntitle = "x"\n[[service]]\nid = "calls"'),
        "two serv",
    ),
]


@pytest.mark.parametrize(("text", "sentence"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_wrong_profile_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        profile.available([tmp_path])
    said = str(caught.value)
    assert said.startswith(str(tmp_path / "p.toml")) and sentence in said
    assert "\n" not in said and said.endswith(".") and "`" not in said


def test_a_profile_is_bounded(tmp_path: Path) -> None:
    row = '[[row]]\nid = "X"\n'
    (tmp_path / "p.toml").write_text(GOOD + row * profile.MOST_ROWS)
    with pytest.raises(ConfigError, match="a profile has at most 500 rows, not 503"):
        profile.available([tmp_path])


def test_a_sites_own_profile_is_found_and_replaces_a_shipped_one(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    (first / "room.toml").write_text(GOOD)
    (first / "other.toml").write_text(changed('id = "room"', 'id = "starleaf"'))
    (second / "room.toml").write_text(changed('title = "Room"', 'title = "Later"'))
    found = profile.available([first, second, tmp_path / "missing"])
    assert found["starleaf"].profile.title == "Room"
    assert (found["starleaf"].origin, found["starleaf"].replaces) == (str(first / "other.toml"), True)
    assert (found["room"].profile.title, found["room"].replaces) == ("Later", False)
    assert [p.id for p in profile.load(["room", "starleaf"], [first])] == ["room", "starleaf"]
    (first / "twice.toml").write_text(GOOD)
    with pytest.raises(ConfigError, match=r"twice\.toml: id: .*room\.toml has the same id; each file needs its own\."):
        profile.available([first])


def test_unknown_names_list_what_there_is() -> None:
    known = profile.available([])
    with pytest.raises(
        ConfigError,
        match=r'there is no profile "starleef" \(did you mean starleaf\?\); allowed: starleaf, teamline-5141\.',
    ):
        profile.choose(known, ["starleef"])
    with pytest.raises(ConfigError, match=r'site\.attest: no profile has a row to tick called "P1".*allowed: P2\.'):
        profile.cross_check(known, Config(site=SiteSection(attest=("P1",))))
    with pytest.raises(ConfigError, match=r'there is no "dhcp-discover"; allowed: openvpn, ike\.'):
        profile.cross_check(known, Config(profiles=ProfilesSection(opt_in=("dhcp-discover",))))
    profile.cross_check(known, Config(site=SiteSection(attest=("P2",)), profiles=ProfilesSection(opt_in=("ike",))))


@given(st.text(alphabet="{}orgdmain.-!: x", max_size=30))
def test_a_host_template_gives_a_name_or_one_of_its_errors(template: str) -> None:
    try:
        made = profile.host_of(template, {"org": "acme"})
    except (KeyError, ValueError):
        return
    assert values.hostname(made) == made


def test_a_row_whose_name_nobody_looks_up_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    for text in (GOOD.rpartition("[[row]]")[0], GOOD.replace(".Example", ".elsewhere")):
        file.write_text(text)
        with pytest.raises(ConfigError) as caught:
            profile.read(file)
        assert str(caught.value) == (
            f'{file}, row "A1": host: no row looks this name up, so the row could never be judged: '
            'add a row with kind = "dns" and host = "{org}.example".'
        )


def test_the_example_of_the_page_is_a_right_profile(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs/profiles.md").read_text(encoding="utf-8")
    block = page.partition("## The file\n\n")[2].partition("\n| key")[0]
    file = tmp_path / "room.toml"
    file.write_text("".join(line.removeprefix("    ") + "\n" for line in block.splitlines()), encoding="utf-8")
    assert [row.kind for row in profile.read(file).row] == ["dns", "udp"]


def test_hidden_files_are_left_out_and_a_dangling_link_is_not(tmp_path: Path) -> None:
    for name in (".hidden.toml", ".#room.toml", "room.toml~"):
        (tmp_path / name).write_text("[")
    assert "room" not in profile.available([tmp_path])
    (tmp_path / "gone.toml").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"gone\.toml cannot be read \(No such file"):
        profile.available([tmp_path])


def test_profiles_that_are_no_directory(tmp_path: Path) -> None:
    (tmp_path / "profiles").write_text("")
    with pytest.raises(ConfigError, match=r"profiles cannot be read \(Not a directory\)\."):
        profile.available([tmp_path / "profiles"])
