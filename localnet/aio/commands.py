"""What the commands of `planetserve localnet` do, each to its exit code."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp

from localnet.aio import home as homes
from localnet.aio import perturb as perturbing
from localnet.aio import preflight, render, report
from localnet.aio.home import Home
from localnet.aio.probe import Probe
from localnet.aio.prompt import QUESTION, Answer, PromptFailed, ask
from localnet.aio.start import Start
from localnet.errors import PREFLIGHT, LocalnetError
from localnet.plan import PlannedNode
from localnet.setup.pins import Layout

DEFAULT_MANIFEST = Path(__file__).parent.parent / "manifests" / "default.toml"
PROMPT_TRIES, PROMPT_PAUSE = 5, 3.0


def up(path: Path, place: Layout, manifest: str | None, port_base: int | None) -> int:
    """Start what is not running, wait until the network serves, ask it one prompt."""
    began = time.monotonic()
    home = _home(path, place, manifest, port_base)
    with homes.alone(path):
        missing = [node for node in home.plan.nodes if node.name not in home.herd.living()]
        if not missing and asyncio.run(_is_ready(home)):
            print(f"already running at {path}\n{_where(home)}")
            return 0
        preflight.check(home, missing)
        render.write(home)
        started: list[str] = []
        try:
            answer, who, route = asyncio.run(_start(home, missing, started))
        except BaseException:
            _undo(home, started)
            raise
    print(_story(home, answer, who, route, time.monotonic() - began))
    return 0


def _home(path: Path, place: Layout, manifest: str | None, port_base: int | None) -> Home:
    try:
        text = Path(manifest).read_text() if manifest else DEFAULT_MANIFEST.read_text()
    except OSError as error:
        raise LocalnetError(f"the manifest cannot be read: {error}", "check --manifest", PREFLIGHT) from error
    if not homes.exists(path):
        return homes.create(path, text, port_base, place)
    home = homes.load(path, place)
    remedy = f"leave the option out, use another --home, or remove this one: planetserve localnet down --wipe --home {path}"
    if port_base is not None and port_base != home.identity.port_base:
        raise LocalnetError(f"the network at {path} has other ports", remedy, PREFLIGHT)
    if manifest and text != (path / homes.MANIFEST).read_text():
        raise LocalnetError(f"the network at {path} was made from another manifest", remedy, PREFLIGHT)
    return home


async def _is_ready(home: Home) -> bool:
    async with aiohttp.ClientSession() as session:
        return bool((await report.status(home, Probe(session)))["ready"])


async def _start(home: Home, missing: list[PlannedNode], started: list[str]) -> tuple[Answer, str, str]:
    print(f"Starting {home.plan.manifest.chain_id} at {home.path}", flush=True)
    async with aiohttp.ClientSession() as session:
        probe = Probe(session)
        await Start(home, probe, sys.stdout, started).run(missing)
        answer = await _ask(home, session)
        return answer, *await _told(home, probe, answer)


async def _ask(home: Home, session: aiohttp.ClientSession) -> Answer:
    """The first prompt. A network this young may still lose a circuit, so a failure before the first token is tried again."""
    print(f"\n  > {QUESTION}\n  ", end="", flush=True)
    shown: list[str] = []

    def show(piece: str) -> None:
        shown.append(piece)
        print(piece.replace("\n", "\n  "), end="", flush=True)

    for attempt in range(PROMPT_TRIES):
        try:
            return await ask(session, home.plan.gateway.address, home.plan.manifest.groups[0].name, show)
        except PromptFailed as error:
            if shown or attempt == PROMPT_TRIES - 1:
                raise LocalnetError(
                    f"the network is up and did not answer: {error}",
                    f"read {home.path / home.plan.gateway.name / 'log'}",
                ) from error
            await asyncio.sleep(PROMPT_PAUSE)
    raise AssertionError("the loop above returns or raises")


async def _told(home: Home, probe: Probe, answer: Answer) -> tuple[str, str]:
    """Who answered, with the reputation on the ledger, and the route, both in names."""
    record = await probe.directory(home.plan.rpc[0])
    entries = {entry.node_id.hex(): entry for entry in (record.entries if record else ())}
    route = " -> ".join(entries[hop].name if hop in entries else hop for hop in answer.route.split(",") if hop)
    who = entries.get(answer.node)
    if who is None:
        return f"{answer.node or 'a node that did not say its name'}, not in the directory", route
    return f"{who.name} ({answer.node[:12]}), reputation {who.reputation / 1e9:.3f}", route


def _story(home: Home, answer: Answer, who: str, route: str, seconds: float) -> str:
    rows = [
        "",
        f"  first token  {answer.first_token_seconds:.2f} s; {answer.tokens} tokens in {answer.seconds:.2f} s",
        f"  answered by  {who}",
        f"  route        gateway -> four circuits of three relays -> {route or 'not told'}",
        f"  ready after  {seconds:.1f} s",
        "",
        _where(home),
    ]
    return "\n".join(rows)


def _where(home: Home) -> str:
    return (
        f"  OPENAI_BASE_URL=http://{home.plan.gateway.address}/v1   (any API key)\n"
        '  .venv/bin/planetserve chat "hello"      ask again\n'
        "  .venv/bin/planetserve localnet status   what runs\n"
        "  .venv/bin/planetserve query nodes       the ledger's view of it\n"
        "  make localnet-down                      end it"
    )


def _undo(home: Home, started: list[str]) -> None:
    """End what this run started. Ctrl-C is deaf meanwhile; it takes seconds at most."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        if started:
            print("\nending what was started ...", file=sys.stderr, flush=True)
            home.herd.stop(started)
    finally:
        signal.signal(signal.SIGINT, previous)


def down(path: Path, wipe: bool) -> int:
    """End every process of the network, and with `wipe` remove its home."""
    if not homes.exists(path):
        print(f"nothing to stop at {path}")
        return 0
    with homes.alone(path):
        herd = homes.herd(path)
        count = herd.stop() if herd else 0
        print(f"stopped {count} processes" if count else "nothing was running")
        if wipe:
            homes.wipe(path)
            print(f"removed {path}")
    return 0


async def status(home: Home, as_json: bool) -> int:
    """Print what runs."""
    async with aiohttp.ClientSession() as session:
        document = await report.status(home, Probe(session))
    print(json.dumps(document) if as_json else report.table(document))
    return 0


def logs(home: Home, name: str, follow: bool, lines: int) -> int:
    """Print the end of a node's log; with `follow`, go on until Ctrl-C."""
    path = home.path / perturbing.node_of(home, name).name / "log"
    if not path.exists():
        raise LocalnetError(f"{name} has written no log", "start it: planetserve localnet up")
    with path.open(errors="replace") as log:
        print("".join(log.readlines()[-lines:] if lines > 0 else []), end="", flush=True)
        while follow:
            written = log.read()
            if written:
                print(written, end="", flush=True)
            time.sleep(0.2)
    return 0


PERTURBATIONS: dict[str, Callable[[Home, str], str]] = {
    "kill": perturbing.kill,
    "pause": perturbing.pause,
    "resume": perturbing.resume,
    "start": perturbing.start,
}


def perturb(home: Home, word: str, name: str) -> int:
    """Kill, pause, resume or start one node."""
    with homes.alone(home.path):
        print(PERTURBATIONS[word](home, name))
    return 0
