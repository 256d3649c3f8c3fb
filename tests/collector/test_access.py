"""Who may do what: every route without login, share links, forms, cookies, enrolment, headers, behind a proxy, over TLS."""

from __future__ import annotations

import asyncio
import datetime
import re
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDict

from roomprobe.collector import app as application
from roomprobe.collector import auth, pages, people, serve, tls, tokens
from roomprobe.collector.auth import Access
from roomprobe.collector.limits import Backoff, Bucket
from roomprobe.config import ConfigError
from tests.collector.conftest import PASSWORD, STRETCHED, Running, running
from tests.collector.making import full

OPEN = {
    ("POST", "/v1/enrol"),
    ("GET", "/healthz"),
    ("GET", "/login"),
    ("POST", "/login"),
    ("GET", "/share/{token}"),
    ("GET", "/static/{version}/{name}"),
}
ROUTES = (*application.ROUTES, *pages.ROUTES)


def routes(server: Running) -> list[tuple[web.AbstractRoute, str, str]]:
    """Every route of the application: (route, method, a path for it)."""
    app = application.make(server.collector)
    found = []
    for route in app.router.routes():
        assert route.resource is not None
        found.append((route, route.method, re.sub(r"\{number\}|\{interval\}", "1", route.resource.canonical)))
    return found


async def ask(server: Running, method: str, path: str, **more: Any) -> aiohttp.ClientResponse:
    place = re.sub(r"\{\w+\}", "x", path)
    answer = await server.http.request(method, f"{server.url}{place}", allow_redirects=False, **more)
    await answer.read()
    return answer


async def test_every_route_is_closed_to_strangers(server: Running) -> None:
    found = routes(server)
    assert len(found) == len(ROUTES)
    assert {(method, path) for _, method, path in found} >= OPEN
    for _, method, path in found:
        if (method, path) not in OPEN:
            for headers in (
                {},
                {"Authorization": "Bearer guess"},
                {"Cookie": "roomprobe=guess; roomprobe_share=guess"},
            ):
                answer = await ask(server, method, path, headers=headers)
                assert answer.status in (401, 429), (method, path, headers)
                assert answer.content_type == "application/problem+json"


async def test_a_route_without_a_rule_is_closed_to_everybody(server: Running) -> None:
    app = application.make(server.collector)

    async def secret(request: web.Request) -> web.Response:
        return web.Response(text="secret")

    app.router.add_get("/forgotten", secret)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        headers = {"Authorization": f"Bearer {server.reader}"}
        async with server.http.get(f"http://127.0.0.1:{port}/forgotten", headers=headers) as answer:
            assert answer.status == 403
    finally:
        await runner.cleanup()


async def test_a_box_and_a_program_may_not_do_what_people_do(server: Running) -> None:
    for route, method, path in routes(server):
        rule = application.make(server.collector)[auth.RULES]
        assert len(rule) == len(ROUTES)
        if (method, path) in OPEN or path == "/v1/runs":
            continue
        box = await ask(server, method, path, headers={"Authorization": f"Bearer {server.token}"})
        assert box.status in (401, 429), (method, path)
        server.collector.strangers = Bucket(1.0, 30.0)
        if method == "POST":
            program = await ask(server, method, path, headers={"Authorization": f"Bearer {server.reader}"})
            assert program.status == 403, (method, path, route)


async def login(server: Running, password: str = PASSWORD, **more: Any) -> aiohttp.ClientResponse:
    return await ask(server, "POST", "/login", data={"password": password, **more})


async def session(server: Running) -> tuple[dict[str, str], str]:
    """Headers of somebody who is logged in, and the CSRF token."""
    answer = await login(server)
    assert answer.status == 303
    cookie = answer.cookies["roomprobe"]
    digest = tokens.digest(cookie.value)
    csrf = await server.collector.reader.ask(
        lambda db: db.execute("SELECT csrf FROM session WHERE hash = ?", (digest,)).fetchone()[0]
    )
    return {"Cookie": f"roomprobe={cookie.value}"}, csrf


async def test_login_gives_a_cookie_that_scripts_cannot_read(server: Running) -> None:
    answer = await login(server, next="/rooms/x")
    cookie = answer.cookies["roomprobe"]
    assert (answer.status, answer.headers["Location"]) == (303, "/rooms/x")
    assert cookie["httponly"] and cookie["samesite"] == "Lax" and cookie["path"] == "/" and not cookie["secure"]
    headers = {"Cookie": f"roomprobe={cookie.value}"}
    assert (await ask(server, "GET", "/v1/rooms", headers=headers)).status == 200
    hashes = await server.collector.reader.ask(lambda db: [row[0] for row in db.execute("SELECT hash FROM session")])
    assert cookie.value.encode() not in hashes and tokens.digest(cookie.value) in hashes


@pytest.mark.parametrize("onward", ["//evil.example", "https://evil.example", "/\\evil", "\r\nX: y", "/a\r\nX: y", "x"])
async def test_login_leads_nowhere_else(server: Running, onward: str) -> None:
    assert (await login(server, next=onward)).headers["Location"] == "/"


async def test_wrong_passwords_make_the_address_wait(server: Running) -> None:
    for wrong in ("", "wrong", "x" * 5000, "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "5"):
        assert (await login(server, wrong)).status == 401
    late = await login(server)
    assert late.status == 429 and int(late.headers["Retry-After"]) >= 1


async def test_whoever_must_wait_is_told_so_whatever_they_send(server: Running) -> None:
    server.collector.logins = Backoff(free=0)
    server.collector.logins.failed("127.0.0.1", server.collector.mono() + 100)
    for kind, body in (("text/plain", b"x"), (FORM, b"a" * 9000), (FORM, b"next=%2Frooms%2Fx&password=y")):
        answer = await ask(server, "POST", "/login", headers={"Accept": "text/html", "Content-Type": kind}, data=body)
        assert answer.status == 429 and answer.content_type == "text/html"
    assert 'value="/rooms/x"' in await answer.text()


async def test_guesses_that_come_together_wait_for_each_other(server: Running) -> None:
    answers = await asyncio.gather(*(login(server, f"guess {number}") for number in range(30)))
    assert sum(answer.status == 401 for answer in answers) < 10


async def test_a_cookie_that_is_over_does_not_keep_its_owner_out(server: Running) -> None:
    stale = {"Cookie": "roomprobe=stale"}
    for _ in range(50):
        assert (await ask(server, "GET", "/v1/rooms", headers=stale)).status == 401
    assert (await ask(server, "GET", "/login", headers=stale)).status == 200
    assert (await login(server)).status == 303


def test_the_wait_doubles_and_success_forgets() -> None:
    backoff = Backoff(free=2, most=10.0)
    waits = []
    for _ in range(6):
        backoff.failed("a", 0.0)
        waits.append(backoff.wait("a", 0.0))
    assert waits == [0.0, 1.0, 2.0, 4.0, 8.0, 10.0] and backoff.wait("b", 0.0) == 0.0
    backoff.succeeded("a")
    assert backoff.wait("a", 0.0) == 0.0


def test_a_bucket_refills() -> None:
    bucket = Bucket(per_s=2.0, burst=3.0)
    assert [bucket.take("a", 0.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert bucket.take("a", 0.5) == 0.0 and bucket.take("b", 0.5) == 0.0
    assert bucket.take("a", -5.0) > 0  # a clock that went back gives nothing


async def test_forms_need_their_token(server: Running) -> None:
    headers, csrf = await session(server)
    form = {"label": "firewall team", "days": "7"}
    for more in ({}, {"csrf": "guess"}, {"csrf": ""}):
        assert (await ask(server, "POST", "/v1/shares", headers=headers, data=form | more)).status == 403
    foreign = headers | {"Origin": "https://evil.example"}
    assert (await ask(server, "POST", "/v1/shares", headers=foreign, data=form | {"csrf": csrf})).status == 403
    assert (await login(server)).status == 303
    assert (await ask(server, "POST", "/login", headers={"Origin": "null"}, data={"password": PASSWORD})).status == 403
    assert (await ask(server, "POST", "/v1/shares", headers=headers, data=form | {"csrf": csrf})).status == 200
    assert (await ask(server, "POST", "/v1/shares", headers=headers | {"X-CSRF-Token": csrf}, data=form)).status == 200
    for bad in ({"days": "0"}, {"days": "9999999"}, {"days": "x"}, {"label": ""}, {"label": "x" * 201}):
        data = form | {"csrf": csrf} | bad
        assert (await ask(server, "POST", "/v1/shares", headers=headers, data=data)).status == 400
    data = form | {"csrf": csrf, "room": "nowhere"}
    assert (await ask(server, "POST", "/v1/shares", headers=headers, data=data)).status == 404
    big = {"csrf": csrf, "label": "x" * 20_000}
    assert (await ask(server, "POST", "/v1/shares", headers=headers, data=big)).status == 413


FORM = "application/x-www-form-urlencoded"
NO_FORMS = [
    (f"{FORM}; charset=bogus", b"password=x", None),
    (f"{FORM}; charset=utf-16", b"p", None),
    (FORM, b"password=\xff\xfe&csrf=\xff&next=%ED%A0%80", None),
    (FORM, b"&" * 8000, None),
    (FORM, b"password=x", "http://[::1"),
    ("multipart/form-data", b"x", None),
    ("multipart/form-data; boundary=x", b"--x\r\n", None),
    ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n", None),
    ("multipart/form-data; boundary=" + "x" * 80, b"x", None),
]


@pytest.mark.parametrize(("kind", "body", "origin"), NO_FORMS)
async def test_a_form_that_is_none_is_refused(server: Running, kind: str, body: bytes, origin: str | None) -> None:
    headers, _ = await session(server)
    sent = {"Content-Type": kind, "Accept": "text/html"} | ({"Origin": origin} if origin else {})
    assert (await ask(server, "POST", "/login", headers=sent, data=body)).status in (401, 403, 415)
    for _, method, path in routes(server):
        if method == "POST" and (method, path) not in OPEN and path != "/v1/runs":
            assert (await ask(server, method, path, headers=headers | sent, data=body)).status == 403, path


@pytest.mark.parametrize("days", ["367", "0000011", "0000010" + "0" * 20, "000001" + "9" * 5000, "\u0663", "-1", ""])
@pytest.mark.parametrize("path", ["/shares", "/v1/shares"])
async def test_a_link_is_good_for_a_year_at_most(server: Running, path: str, days: str) -> None:
    headers, csrf = await session(server)
    answer = await ask(server, "POST", path, headers=headers, data={"csrf": csrf, "label": "x", "days": days})
    assert answer.status == 400


async def test_logout_and_a_new_password_end_sessions(server: Running) -> None:
    headers, csrf = await session(server)
    assert (await ask(server, "POST", "/logout", headers=headers, data={"csrf": csrf})).status == 303
    assert (await ask(server, "GET", "/v1/rooms", headers=headers)).status == 401
    headers, _ = await session(server)
    await server.collector.write(people.set_password, server.collector.now(), tokens.stretch("another password"))
    assert (await ask(server, "GET", "/v1/rooms", headers=headers)).status == 401


async def test_a_share_link_reads_and_nothing_else(server: Running) -> None:
    await server.enrol("Lobby")
    headers, csrf = await session(server)
    made = {}
    for room in ("", "Lobby"):
        form = {"label": "x", "room": room, "csrf": csrf}
        answer = await ask(server, "POST", "/v1/shares", headers=headers, data=form)
        made[room] = await answer.json()
    whole = await ask(server, "GET", made[""]["path"])
    assert (whole.status, whole.headers["Location"]) == (303, "/")
    one = await ask(server, "GET", made["Lobby"]["path"])
    assert (one.status, one.headers["Location"]) == (303, "/rooms/Lobby")
    assert one.cookies["roomprobe_share"]["httponly"]
    fleet = {"Cookie": f"roomprobe_share={whole.cookies['roomprobe_share'].value}"}
    lobby = {"Cookie": f"roomprobe_share={one.cookies['roomprobe_share'].value}"}
    for path, of_fleet, of_room in (
        ("/v1/rooms", 200, 403),
        ("/v1/rooms/Lobby", 200, 200),
        ("/v1/rooms/Boardroom 4", 200, 403),
        ("/v1/rooms/Boardroom 4/runs", 200, 403),
        ("/v1/changes", 200, 403),
        ("/metrics", 200, 403),
    ):
        assert (await ask(server, "GET", path, headers=fleet)).status == of_fleet, path
        assert (await ask(server, "GET", path, headers=lobby)).status == of_room, path
    assert (await ask(server, "POST", "/v1/shares", headers=fleet, data={"label": "x"})).status == 403
    number = made["Lobby"]["id"]
    answer = await ask(server, "POST", f"/v1/shares/{number}/revoke", headers=headers, data={"csrf": csrf})
    assert answer.status == 200
    assert (await ask(server, "GET", "/v1/rooms/Lobby", headers=lobby)).status == 401
    assert (await ask(server, "GET", made["Lobby"]["path"])).status == 404
    assert (
        await ask(server, "POST", f"/v1/shares/{number}/revoke", headers=headers, data={"csrf": csrf})
    ).status == 404


async def test_what_is_over_is_refused(server: Running) -> None:
    long_ago = server.collector.now() - 400 * people.DAY_MS
    _, link = await server.collector.write(people.share, long_ago, name=None, label="old", days=30)
    assert (await ask(server, "GET", f"/share/{link}")).status == 404
    cookie = await server.collector.write(people.open_session, long_ago, "test")
    assert (await ask(server, "GET", "/v1/rooms", headers={"Cookie": f"roomprobe={cookie}"})).status == 401
    number, token = await server.collector.write(people.api_token, long_ago, "x")
    bearer = {"Authorization": f"Bearer {token}"}
    assert (await ask(server, "GET", "/v1/rooms", headers=bearer)).status == 200
    await server.collector.write(people.end, long_ago, "token", number)
    assert (await ask(server, "GET", "/v1/rooms", headers=bearer)).status == 401


async def test_enrolment_works_once_and_in_time(server: Running) -> None:
    now = server.collector.now()
    good = await server.collector.write(people.mint, now, "Lobby", minutes=5, site="Cambridge")
    old = await server.collector.write(people.mint, now - 600_000, "Lobby", minutes=5)

    async def enrol(**body: Any) -> tuple[int, Any]:
        answer = await ask(server, "POST", "/v1/enrol", json=body)
        return answer.status, await answer.json(content_type=None)

    status, made = await enrol(token=good, hostname="pi")
    assert status == 200 and made["room"] == "Lobby" and len(made["token"]) == 43
    one = full(0, {"F1": "open"}, agent=made["agent"], at=now)
    assert (await server.post([one], token=made["token"]))[0] == 200
    assert (await enrol(token=good, hostname="pi"))[0] == 409
    assert (await enrol(token=old))[0] == 410
    assert (await enrol(token="x" * 43))[0] == 401
    for body in ({}, {"token": 1}, {"token": good, "more": 1}, {"token": good, "hostname": "x" * 300}):
        assert (await enrol(**body))[0] == 400
    assert (await ask(server, "POST", "/v1/enrol", data=b"x" * 9000)).status == 413
    stored = await server.collector.reader.ask(
        lambda db: [
            bytes(row[0]) for row in db.execute("SELECT hash FROM enrolment UNION SELECT token_hash FROM agent")
        ]
    )
    assert good.encode() not in stored and made["token"].encode() not in stored


async def test_one_enrolment_token_makes_one_box_when_two_ask_at_once(server: Running) -> None:
    token = await server.collector.write(people.mint, server.collector.now(), "Lobby", minutes=5)
    answers = await asyncio.gather(*(ask(server, "POST", "/v1/enrol", json={"token": token}) for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [200] + [409] * 7


async def test_security_headers_stand_on_every_answer(server: Running) -> None:
    for path in ("/healthz", "/login", "/v1/rooms", "/nowhere", "/share/x"):
        headers = (await ask(server, "GET", path)).headers
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-store"
        assert "Python" not in headers["Server"]
        assert "Strict-Transport-Security" not in headers
    assert (await ask(server, "DELETE", "/v1/rooms")).status == 405


async def test_a_person_is_led_to_the_login(server: Running) -> None:
    app_page = {"Accept": "text/html"}
    assert (await ask(server, "GET", "/v1/rooms", headers=app_page)).status == 401
    page = await server.http.get(f"{server.url}/login?next=%22%3E%3Cscript%3E")
    assert "<script>" not in await page.text()


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[Running]:
    names = ("roomprobe.example", "127.0.0.1")
    certificate, key = tls.own(tmp_path, names, datetime.datetime.now(datetime.UTC))
    async with running(tmp_path / "state", context=tls.context(certificate, key)) as found:
        await found.collector.write(people.set_password, found.collector.now(), tokens.stretch(PASSWORD))
        yield found


async def test_over_tls_cookies_are_secure_and_the_pin_is_the_certificate(secure: Running, tmp_path: Path) -> None:
    pin = aiohttp.Fingerprint(bytes.fromhex(tls.pin(tmp_path / tls.CERTIFICATE)))
    data = {"password": PASSWORD}
    async with secure.http.post(f"{secure.url}/login", data=data, ssl=pin, allow_redirects=False) as answer:
        cookie = answer.cookies["__Host-roomprobe"]
        assert answer.status == 303 and cookie["secure"] and cookie["httponly"]
        assert answer.headers["Strict-Transport-Security"]
    trusting = ssl.create_default_context(cafile=tmp_path / tls.CERTIFICATE)
    async with secure.http.get(f"{secure.url}/healthz", ssl=trusting) as answer:
        assert answer.status == 200
    with pytest.raises(aiohttp.ServerFingerprintMismatch):
        await secure.http.get(f"{secure.url}/healthz", ssl=aiohttp.Fingerprint(b"\0" * 32))


def test_the_certificate_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    certificate, key = tls.own(tmp_path, ["a.example", "192.0.2.1", "2001:db8::1"], now)
    before = certificate.read_bytes()
    assert tls.own(tmp_path, ["b.example"], now)[0].read_bytes() == before
    assert key.stat().st_mode & 0o777 == 0o600
    from cryptography import x509

    made = x509.load_pem_x509_certificate(before)
    assert (made.not_valid_after_utc - now).days > 3650
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.example"]
    assert len(names.get_values_for_type(x509.IPAddress)) == 2


def test_a_certificate_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("not one")
    for path in (tmp_path / "bad.pem", tmp_path / "nowhere.pem", tmp_path):
        with pytest.raises(ConfigError):
            serve.plan_tls(serve.Serve(state=tmp_path, certificate=path, key=path))


async def test_plain_http_stays_on_this_machine_or_behind_a_proxy(tmp_path: Path) -> None:
    state = tmp_path
    assert serve.plan_tls(serve.Serve(state=state)) is None
    assert serve.plan_tls(serve.Serve(state=state, address="::1")) is None
    assert serve.plan_tls(serve.Serve(state=state, address="0.0.0.0", behind_proxy=True)) is None
    assert serve.plan_tls(serve.Serve(state=state, address="0.0.0.0")) is not None


@pytest.mark.parametrize("behind", [True, False])
async def test_forwarded_headers_are_believed_from_our_own_proxy_only(tmp_path: Path, behind: bool) -> None:
    async with running(tmp_path, behind_proxy=behind) as server:
        await server.collector.write(people.set_password, server.collector.now(), tokens.stretch(PASSWORD))
        for number in range(8):
            headers = {"X-Forwarded-For": f"203.0.113.9, 198.51.100.{number}", "X-Forwarded-Proto": "https"}
            answer = await ask(server, "POST", "/login", headers=headers, data={"password": "wrong"})
        assert answer.status == (401 if behind else 429)
        server.collector.logins = Backoff()
        answer = await ask(server, "POST", "/login", headers=headers, data={"password": PASSWORD})
        assert ("__Host-roomprobe" in answer.cookies) is behind


async def test_behind_a_proxy_that_passes_on_another_host_the_told_url_counts(tmp_path: Path) -> None:
    async with running(tmp_path, behind_proxy=True, url="https://Rooms.acme.example/") as server:
        await server.collector.write(people.set_password, server.collector.now(), STRETCHED)
        there = {"Origin": "https://rooms.acme.example", "Host": "127.0.0.1:8080", "X-Forwarded-Proto": "https"}
        answer = await ask(server, "POST", "/login", headers=there, data={"password": PASSWORD})
        assert answer.status == 303
        headers = there | {"Cookie": f"__Host-roomprobe={answer.cookies['__Host-roomprobe'].value}"}
        page = await (await ask(server, "GET", "/shares", headers=headers)).text()
        found = re.search('name="csrf" value="([^"]+)"', page)
        assert found is not None
        made = await ask(server, "POST", "/shares", headers=headers, data={"csrf": found[1], "label": "x"})
        assert "https://Rooms.acme.example/share/" in await made.text()
        for origin in ("https://evil.example", "null"):
            answer = await ask(
                server, "POST", "/login", headers=there | {"Origin": origin}, data={"password": PASSWORD}
            )
            assert answer.status == 403


async def test_of_forwarded_headers_the_proxys_own_line_counts(tmp_path: Path) -> None:
    async with running(tmp_path, behind_proxy=True) as server:
        for number in range(8):  # HAProxy adds a line behind those that the asker sent
            lines = [("X-Forwarded-For", f"203.0.113.{number}"), ("X-Forwarded-For", "198.51.100.1")]
            answer = await ask(server, "POST", "/login", headers=CIMultiDict(lines), data={"password": "wrong"})
        assert answer.status == 429


def test_passwords_are_stretched_with_a_salt() -> None:
    one, two = tokens.stretch("secret"), tokens.stretch("secret")
    assert one != two and "secret" not in one and one.startswith("scrypt$16384$8$5$")
    assert tokens.matches("secret", one) and not tokens.matches("Secret", one) and not tokens.matches("", one)
    assert len({tokens.token() for _ in range(100)}) == 100
    assert re.fullmatch(r"([a-z2-9]{5}-){3}[a-z2-9]{5}", tokens.password())


def test_every_rule_is_used() -> None:
    assert {rule for *_, rule in application.ROUTES} == set(Access)
