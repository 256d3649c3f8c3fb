"""A real Chromium without a window, spoken to over its DevTools protocol (one WebSocket): pages, clicks, pictures.

Everything that a page asked for, said on the console or failed at is kept, so that a test can hold that there was nothing wrong.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

PATH = shutil.which("chromium") or shutil.which("chromium-browser")
WAIT_S = 30.0
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--lang=en-GB",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-port=0",
)


def _keep(file: Path, body: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(body)


class Page:
    """One tab. `asked` are the addresses it requested, `wrong` what it complained of, `received` the bytes on the wire."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.asked: list[str] = []
        self.statuses: list[tuple[int, str]] = []
        self.wrong: list[str] = []
        self.received = 0
        self._loaded = asyncio.Event()

    async def send(self, method: str, **values: Any) -> dict[str, Any]:
        """A command of the protocol and its answer."""
        return await self._browser.send(method, values, self._session)

    async def begin(self) -> None:
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self.send(f"{domain}.enable")

    async def go(self, url: str) -> None:
        """Opens an address and waits until it is loaded. The times and bytes begin anew."""
        self.received = 0
        self._loaded.clear()
        answer = await self.send("Page.navigate", url=url)
        assert "errorText" not in answer, answer
        await asyncio.wait_for(self._loaded.wait(), WAIT_S)

    async def run(self, script: str) -> Any:
        """The value of an expression (of what it promises, too)."""
        answer = await self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    async def until(self, script: str) -> None:
        """Waits until the expression is true."""
        async with asyncio.timeout(WAIT_S):
            while not await self.run(f"(async () => Boolean(await ({script})))()"):
                await asyncio.sleep(0.05)

    async def follow(self, script: str) -> None:
        """Does something that leads to another page, and waits for that."""
        self._loaded.clear()
        await self.run(f"{script}; 0")
        await asyncio.wait_for(self._loaded.wait(), WAIT_S)

    async def click(self, selector: str) -> None:
        """Clicks something that leads to another page."""
        await self.follow(f"document.querySelector({json.dumps(selector)}).click()")

    async def type(self, selector: str, text: str) -> None:
        """Writes into a field."""
        await self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        await self.send("Input.insertText", text=text)

    async def key(self, key: str) -> None:
        """One key, pressed and let go."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27}
        text = {"text": "\r"} if key == "Enter" else {}
        await self.send("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=codes[key], **text)
        await self.send("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=codes[key])

    async def text(self) -> str:
        """What a person can read."""
        return str(await self.run("document.body.innerText"))

    async def picture(self, file: Path, *, whole: bool = True) -> None:
        """A picture of the page."""
        made = await self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        _keep(file, base64.b64decode(made["data"]))

    async def paper(self, file: Path) -> bytes:
        """The page as it is printed (PDF)."""
        made = base64.b64decode((await self.send("Page.printToPDF", printBackground=False))["data"])
        _keep(file, made)
        return made

    async def dark(self, wanted: bool = True) -> None:
        """Whether the reader's system is dark."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if wanted else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[feature])

    async def size(self, width: int, height: int) -> None:
        """The window's size."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    async def scripts(self, wanted: bool) -> None:
        """Whether JavaScript runs."""
        await self.send("Emulation.setScriptExecutionDisabled", value=not wanted)

    async def first_paint_ms(self) -> float:
        """From the navigation to the first picture, as the browser measured it."""
        paint = "performance.getEntriesByName('first-contentful-paint')[0]"
        await self.until(paint)
        return float(await self.run(f"{paint}.startTime"))

    def happened(self, method: str, told: dict[str, Any]) -> None:
        """An event of the protocol."""
        if method == "Page.loadEventFired":
            self._loaded.set()
        elif method == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])
        elif method == "Network.responseReceived":
            self.statuses.append((told["response"]["status"], told["response"]["url"]))
        elif method == "Network.loadingFinished":
            self.received += int(told["encodedDataLength"])
        elif method == "Runtime.exceptionThrown":
            self.wrong.append(json.dumps(told["exceptionDetails"])[:500])
        elif method == "Runtime.consoleAPICalled":
            self.wrong.append(json.dumps(told["args"])[:500])
        elif method == "Log.entryAdded":
            self.wrong.append(f"{told['entry']['level']}: {told['entry']['text']} {told['entry'].get('url', '')}")


class Browser:
    """One Chromium; `page` opens a tab in a profile of its own, without anybody's cookies."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}

    async def send(self, method: str, values: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        more = {"sessionId": session} if session else {}
        await self._socket.send_json({"id": number, "method": method, "params": values, **more})
        try:
            return await asyncio.wait_for(self._waiting[number], WAIT_S)
        finally:
            del self._waiting[number]

    async def page(self) -> Page:
        """A tab nobody has used."""
        context = (await self.send("Target.createBrowserContext", {}))["browserContextId"]
        target = await self.send(
            "Target.createTarget",
            {"url": "about:blank", "browserContextId": context, "width": 1280, "height": 900},
        )
        attached = await self.send("Target.attachToTarget", {"targetId": target["targetId"], "flatten": True})
        page = self._pages[attached["sessionId"]] = Page(self, attached["sessionId"])
        await page.begin()
        await page.size(1280, 900)
        return page

    async def listen(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" in told:
                waiting = self._waiting.get(told["id"])
                if waiting is not None and not waiting.done():
                    if "error" in told:
                        waiting.set_exception(AssertionError(told["error"]))
                    else:
                        waiting.set_result(told["result"])
            elif (page := self._pages.get(told.get("sessionId", ""))) is not None:
                page.happened(told["method"], told["params"])


@contextlib.asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Browser]:
    """A Chromium with an empty profile in `folder`."""
    assert PATH is not None
    child = await asyncio.create_subprocess_exec(
        *(PATH, *FLAGS, f"--user-data-dir={folder}", "about:blank"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        port = folder / "DevToolsActivePort"
        async with asyncio.timeout(WAIT_S):
            while not port.exists() or len(port.read_text().split()) < 2:
                await asyncio.sleep(0.05)
        number, place = port.read_text().split()
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(f"ws://127.0.0.1:{number}{place}", max_msg_size=0) as socket,
        ):
            made = Browser(socket)
            listening = asyncio.create_task(made.listen())
            try:
                yield made
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        await child.wait()
