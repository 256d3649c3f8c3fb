"""The dashboard in a real browser, before a real collector: what people see, and what they never should."""

from __future__ import annotations

from roomprobe.collector.pages.frame import room_url
from tests.browser import filling
from tests.browser.chromium import Browser, Page
from tests.browser.conftest import PICTURES, Dashboard, clean
from tests.report import samples


async def test_first_start_login_and_logout(empty: Dashboard, page: Page) -> None:
    await page.go(f"{empty.url}/")
    assert await page.run("location.pathname") == "/login"
    await page.picture(PICTURES / "login.png")
    await page.type("#password", "not this one")
    await page.key("Enter")
    await page.until("document.querySelector('[role=alert]')?.textContent == 'The password is not right.'")
    # Chromium itself notes the 401 on the console; that is the only thing it may note.
    assert len(page.wrong) == 1 and "401" in page.wrong.pop()
    await page.picture(PICTURES / "login-wrong.png")
    await page.until("new Promise(done => setTimeout(() => done(true), 1200))")  # a wrong password costs a second
    await page.type("#password", empty.password)
    await page.click("form button")
    assert await page.run("location.pathname") == "/"
    assert "roomprobe collector enrol" in await page.text()
    await page.picture(PICTURES / "first-start.png")
    await page.click("a[href='/logout']")
    await page.click("form button")
    assert await page.run("location.pathname") == "/login"
    await page.go(f"{empty.url}/")
    assert await page.run("location.pathname") == "/login"
    clean(page, empty.url)


async def test_the_grid_the_room_and_the_check(fleet: Dashboard, page: Page) -> None:
    await fleet.login(page)
    rooms = await page.run("Array.from(document.querySelectorAll('.grid tbody tr'), r => r.innerText)")
    assert [row.split()[0] for row in rooms] == ["Training", "Auditorium", "Store", "Boardroom", "Huddle"]
    assert "silent" in rooms[1] and "full" not in rooms[1] and "never heard" in rooms[2]
    await page.picture(PICTURES / "grid.png")
    await page.click("a.tile.bad")
    assert await page.run("document.querySelectorAll('.grid tbody tr').length") == 1
    await page.go(f"{fleet.url}/?q=london")
    assert await page.run("document.querySelectorAll('.grid tbody tr').length") == 2

    await page.go(f"{fleet.url}{room_url('Boardroom 4')}")
    await page.until("document.querySelector('#plot canvas')")
    text = await page.text()
    assert "not at best quality" in text and "UDP 24704 from 10.20.4.0/24 to acme.call.sl" in text
    assert "10.20.4.1" in text and "10.20.0.53" in text
    await page.picture(PICTURES / "room.png")
    await page.click("#checks details a")
    await page.until("document.querySelector('#plot canvas')")
    await page.run("document.querySelector('details[data-key=evidence]').open = true")
    await page.picture(PICTURES / "room-check.png")

    await page.go(f"{fleet.url}/checks")
    await page.picture(PICTURES / "checks.png")
    await page.go(f"{fleet.url}/checks/starleaf/F2")
    assert "It is one room: Training 1" in await page.text()
    await page.picture(PICTURES / "check.png")
    await page.go(f"{fleet.url}/changes")
    await page.picture(PICTURES / "changes.png")
    await page.go(f"{fleet.url}{room_url('Training 1', 'runs')}")
    await page.run("document.querySelectorAll('input[name=a]')[50].click()")
    await page.click("form button")
    assert "Calls" in await page.text()
    await page.picture(PICTURES / "compare.png")
    await page.go(f"{fleet.url}{room_url('Auditorium')}")
    assert "says nothing of now" in await page.text()
    await page.picture(PICTURES / "room-silent.png")
    clean(page, fleet.url)


async def test_a_change_is_seen_without_loading_the_page_again(fleet: Dashboard, page: Page) -> None:
    await fleet.login(page)
    await page.go(f"{fleet.url}{room_url('Huddle 2')}")
    await page.until("document.querySelector('#plot canvas')")
    await page.run("document.querySelector('#checks details').open = true; window.stays = 1")
    await page.run("document.querySelector('#checks details summary').focus()")
    await fleet.send("Huddle 2", [fleet.boxes["Huddle 2"].full(samples.broken(), filling.now())])
    await page.until("document.querySelector('h1').innerText.includes('broken')")
    assert await page.run("window.stays") == 1
    assert await page.run("document.querySelector('#checks details').open") is True
    assert await page.run("document.activeElement.tagName") == "SUMMARY"
    assert "Huddle 2" in await page.run("document.getElementById('refresh').innerText")
    await page.picture(PICTURES / "live.png")
    clean(page, fleet.url)


async def test_a_link_for_the_firewall_team(fleet: Dashboard, browser: Browser, page: Page) -> None:
    await fleet.login(page)
    await page.go(f"{fleet.url}{room_url('Boardroom 4')}")
    await page.click(".actions a")
    await page.type("#label", "firewall team")
    await page.click("form[action='/shares'] button")
    link = await page.run("document.getElementById('made').value")
    await page.picture(PICTURES / "shares.png")
    clean(page, fleet.url)
    guest = await browser.page()
    await guest.go(link)
    assert await guest.run("location.pathname") == room_url("Boardroom 4")
    await guest.until("document.querySelector('#plot canvas')")
    await guest.picture(PICTURES / "shared-room.png")
    assert await guest.run("document.querySelectorAll('nav a, form').length") > 0
    for closed in ("/shares", "/changes", room_url("Huddle 2")):
        assert await guest.run(f"fetch('{closed}').then(a => a.status)") == 403
    await guest.go(f"{fleet.url}/")
    assert await guest.run("location.pathname") == room_url("Boardroom 4")
    assert {wrong.split(" http")[0].partition("status of ")[2][:3] for wrong in guest.wrong} == {"403"}
    await page.click("td form button")
    await guest.go(f"{fleet.url}{room_url('Boardroom 4')}")
    assert await guest.run("location.pathname") == "/login"


async def test_a_link_for_the_whole_fleet_changes_nothing(fleet: Dashboard, browser: Browser, page: Page) -> None:
    await fleet.login(page)
    await page.go(f"{fleet.url}/shares")
    await page.type("#label", "service desk")
    await page.click("form[action='/shares'] button")
    link = await page.run("document.getElementById('made').value")
    guest = await browser.page()
    await guest.go(link)
    assert "Training 1" in await guest.text() and "read-only link" in await guest.text()
    assert await guest.run("document.querySelectorAll('form[method=post]').length") == 0
    await guest.go(fleet.url + room_url("Training 1"))
    assert "Share this room" not in await guest.text()
    clean(guest, fleet.url)


async def test_what_may_be_old_is_said_to_be_old(fleet: Dashboard, page: Page) -> None:
    await fleet.login(page)
    ask = "document.dispatchEvent(new Event('visibilitychange'))"
    said = "document.getElementById('refresh').innerText"
    away = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    await page.send("Network.emulateNetworkConditions", offline=True, **away)
    await page.run(ask)
    await page.until(f"{said}.includes('what stands here may be old')")
    await page.picture(PICTURES / "collector-gone.png")
    await page.send("Network.emulateNetworkConditions", offline=False, **away)
    await page.run(ask)
    await page.until(f"{said}.includes('answers again')")
    assert page.wrong and all("ERR_INTERNET_DISCONNECTED" in wrong for wrong in page.wrong)
    page.wrong.clear()
    await page.send("Network.clearBrowserCookies")
    await page.run(ask)
    await page.until(f"{said}.includes('logged out')")
    clean(page, fleet.url)
