"""`planetserve COMMAND ...`: finds the command, and hands over to the module that does it.

Nothing heavy is imported here: roles and the localnet replace this process (`exec`), the rest runs as a module of its own,
so that `planetserve --help` answers at once. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 this machine or configuration
cannot do it, 4 the network cannot be reached, 5 keys or proofs do not hold.
"""

import difflib
import os
import runpy
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROLES = {
    "validator": "abci_app",
    "relay": "relay",
    "node": "serving_node",
    "gateway": "network.gateway",
    "front": "serving_node.front",
}
MODULES = {
    "query": "network.cli.query",
    "chat": "network.cli.chat",
    "keys": "network.cli.keys",
    "tx": "network.cli.tx",
    "doctor": "network.cli.doctor",
    "requests": "network.cli.requests",
    "rest": "network.rest",
    "route": "network.cli.route",
}
OPERATOR = "abci_app.cli"  # everything about a validator but running it
USAGE = 2

HELP = """usage: planetserve COMMAND ...

A decentralised, anonymous, verifiable network for serving open language models.

  localnet    a whole network on this machine: up, down, status, logs, kill, pause, resume, start
  chat        ask the network one question through the gateway
  query       read the ledger, proven: nodes, node, epoch, params, tx, directory, committee, validators, proposals,
              proposal, transcript
  tx          write to the ledger: register, update, retire, propose, vote
  keys        a node's keys: new, show; a gateway's API keys: api
  requests    where the time of the gateway's last requests went
  route       explain: why a model node's last prompts went where they went, and what came of it
  doctor      look a relay, model node or gateway over: clock, chain, listing, reachability, path sets, and what to do
  validator   init, start, status, doctor, reset, rollback, snapshot, restore, export, guard, upgrade, systemd
  relay       start: run a relay
  node        start: run a model node
  gateway     start: run the OpenAI-compatible gateway
  front       start: run an OpenAI endpoint beside one engine of your own, which forwards to your other fronts; no chain
  rest        serve the ledger over HTTP: proven JSON, and the Cosmos routes that explorers call

`planetserve COMMAND --help` says more; docs/cli.md says all. Home: --home, else $PLANETSERVE_HOME, else .localnet.
Exit codes: 0 done, 1 failed, 2 usage, 3 preflight, 4 network unreachable, 5 keys or proofs."""

START_HELP = """usage: planetserve {role} start (--config FILE | NAME [--home HOME])

Run a {role} in the foreground until Ctrl-C. NAME means HOME/NAME/config.toml, else NAME/config.toml."""


def main() -> int:
    """Run one command; its exit code."""
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP)
        return 0 if words else USAGE
    command, rest = words[0], words[1:]
    if command in ("--version", "version"):
        print(f"planetserve {_version()}")
        return 0
    if command == "localnet":
        return _become("localnet", rest)
    if command in ROLES:
        if command == "validator" and rest[:1] != ["start"]:
            return _run(OPERATOR, "validator", rest)
        return _start(command, rest)
    if command in MODULES:
        return _run(MODULES[command], command, rest)
    return _unknown(command, ["localnet", *ROLES, *MODULES], "planetserve")


def _version() -> str:
    try:
        return version("planetserve")
    except PackageNotFoundError:
        return "of a checkout that is not installed"


def _start(role: str, words: list[str]) -> int:
    """`ROLE start`: find the configuration, then become the role's process."""
    if not words or words[0] in ("-h", "--help"):
        print(START_HELP.format(role=role))
        return 0 if words else USAGE
    if words[0] != "start":
        return _unknown(words[0], ["start"], f"planetserve {role}")
    rest = words[1:]
    if any(word in ("-h", "--help") for word in rest):
        print(START_HELP.format(role=role))
        return 0
    config = _config(rest)
    if config is None:
        print(
            f"planetserve {role} start: name a node, or give --config FILE\n\n{START_HELP.format(role=role)}", file=sys.stderr
        )
        return USAGE
    if not config.is_file():
        print(f"planetserve {role} start: there is no {config}; `planetserve localnet up` writes one per node", file=sys.stderr)
        return 3
    return _become(ROLES[role], ["--config", str(config)])


def _config(words: list[str]) -> Path | None:
    """The configuration file that `--config FILE` or `NAME [--home HOME]` means; None when it means none."""
    values: dict[str, str] = {"--home": os.environ.get("PLANETSERVE_HOME", ".localnet")}
    names: list[str] = []
    rest = iter(words)
    for word in rest:
        flag, _, value = word.partition("=")
        if flag in ("--config", "--home"):
            values[flag] = value or next(rest, "")
        elif word.startswith("-"):
            return None
        else:
            names.append(word)
    if values.get("--config") and not names:
        return Path(values["--config"])
    if len(names) == 1 and "--config" not in values and values["--home"]:
        return configuration(names[0], values["--home"])
    return None


def configuration(name: str, home: str) -> Path:
    """The configuration of a node of the home, else of the folder that is called so."""
    named, own = Path(home) / name / "config.toml", Path(name) / "config.toml"
    return own if own.is_file() and not named.is_file() else named


def _become(module: str, words: list[str]) -> int:
    """Replace this process by `python -m module WORDS`."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *words])


def _run(module: str, command: str, words: list[str]) -> int:
    """Run one of our own modules in this process; it ends by SystemExit."""
    sys.argv = [f"planetserve {command}", *words]
    try:
        runpy.run_module(module, run_name="__main__")
    except SystemExit as ended:
        if isinstance(ended.code, int):
            return ended.code
        return 0 if ended.code is None else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader of our output has seen enough
        return 0
    return 0


def _unknown(word: str, known: list[str], prefix: str) -> int:
    near = difflib.get_close_matches(word, known, n=1)
    hint = f"did you mean `{prefix} {near[0]}`?" if near else f"known: {', '.join(known)}"
    print(f"{prefix}: there is no command {word!r}; {hint}", file=sys.stderr)
    return USAGE


if __name__ == "__main__":
    sys.exit(main())
