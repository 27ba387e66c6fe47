"""`planetserve tx propose` and `tx vote`: the committee's changes as flags, and as transactions.

A parameter is given as the ledger keeps it, an integer or a word; amounts may also be written as decimals (`tau=0.4`), and
then count in units of 1e-9.
"""

import argparse
from collections.abc import Sequence
from dataclasses import fields, replace

from network.chain_params import UNIT, Params
from network.chain_tx import GroupChange, Propose, TxKind, UpgradePlan, ValidatorChange, Vote
from network.cli.output import USAGE, CommandFailed
from network.codec import Message
from network.ids import parse_hex

AMOUNTS = ("assignment", "alpha", "beta", "tau", "threshold", "initial_reputation")
DECIMALS = 9
DEFAULT_POWER = 10


def add_parsers(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]", shared: argparse.ArgumentParser) -> None:
    """The commands `propose` and `vote`."""
    propose = kinds.add_parser("propose", help="put one change to the committee's vote (a member's verifier key)")
    changes = propose.add_subparsers(dest="change", required=True, metavar="CHANGE")
    common = argparse.ArgumentParser(add_help=False, parents=[shared])
    common.add_argument("--title", default="", help="a sentence for the voters; without one the change is named")
    params = changes.add_parser("params", parents=[common], help="change parameters of the chain")
    params.add_argument("values", nargs="+", metavar="NAME=VALUE")
    validator = changes.add_parser("validator", parents=[common], help="a validator joins, changes its power, or leaves")
    validator.add_argument("--consensus-key", required=True, metavar="HEX", help="its Ed25519 consensus key")
    validator.add_argument("--verifier-key", default="", metavar="HEX", help="the key its verifier signs with (to join)")
    validator.add_argument("--name", default="", help="its name (to join)")
    validator.add_argument("--power", type=int, default=DEFAULT_POWER, help=f"its power, {DEFAULT_POWER} unless given")
    validator.add_argument("--remove", action="store_true", help="it leaves")
    group = changes.add_parser("group", parents=[common], help="a model group is added, or removed")
    group.add_argument("group", metavar="NAME")
    group.add_argument("--model-hash", default="", metavar="HEX", help="SHA-256 of the published model file (to add)")
    group.add_argument("--scheme", default="", help="the noise scheme of its engines (to add)")
    group.add_argument("--remove", action="store_true", help="nobody can join it any more")
    upgrade = changes.add_parser("upgrade", parents=[common], help="plan an upgrade of the application at a height")
    upgrade.add_argument("name", metavar="NAME")
    upgrade.add_argument("--height", type=int, required=True)
    upgrade.add_argument("--app-version", type=int, required=True)
    cancel = changes.add_parser("cancel", parents=[common], help="give up the planned upgrade")
    cancel.add_argument("name", metavar="NAME")
    vote = kinds.add_parser("vote", parents=[shared], help="vote on a proposal (a member's verifier key)")
    vote.add_argument("proposal", type=int, metavar="NUMBER")
    side = vote.add_mutually_exclusive_group(required=True)
    side.add_argument("--approve", action="store_true")
    side.add_argument("--reject", action="store_true")


def transaction(arguments: argparse.Namespace, params: Params | None) -> tuple[TxKind, Message]:
    """The kind and body that the flags mean; `params` are the chain's. Raises CommandFailed."""
    if arguments.what == "vote":
        return TxKind.VOTE, Vote(arguments.proposal, arguments.approve)
    made, named = _change(arguments, params)
    return TxKind.PROPOSE, replace(made, title=arguments.title or named)


def changed(params: Params, values: Sequence[str]) -> Params:
    """The parameters with the NAME=VALUE pairs applied. Raises CommandFailed; what is sound, the ledger decides."""
    kinds = {field.name: type(getattr(params, field.name)) for field in fields(params)}
    given: dict[str, int | str] = {}
    for entry in values:
        name, equals, value = entry.partition("=")
        if not equals or name not in kinds:
            raise CommandFailed(f"{entry!r}: must be NAME=VALUE, NAME one of {', '.join(sorted(kinds))}", USAGE)
        given[name] = value if kinds[name] is str else _number(name, value)
    return replace(params, **given)  # type: ignore[arg-type]


def _change(arguments: argparse.Namespace, params: Params | None) -> tuple[Propose, str]:
    """The proposal without a title, and the change in words."""
    match arguments.change:
        case "params":
            if params is None:
                raise CommandFailed("the chain has no parameters yet; wait for its second block")
            return Propose(params=changed(params, arguments.values)), " ".join(arguments.values)[:128]
        case "validator":
            power = 0 if arguments.remove else arguments.power
            if power < 1 and not arguments.remove:
                raise CommandFailed("--power must be 1 at least; --remove lets a validator leave", USAGE)
            key = _hex(arguments.consensus_key, "--consensus-key")
            verifier = _hex(arguments.verifier_key, "--verifier-key") if arguments.verifier_key else b""
            words = f"validator {arguments.name or key.hex()[:16]}: power {power}"
            return Propose(validator=ValidatorChange(key, verifier, power, arguments.name)), words
        case "group":
            if arguments.remove == bool(arguments.model_hash):
                raise CommandFailed("a group is added with --model-hash and --scheme, or removed with --remove", USAGE)
            model = _hex(arguments.model_hash, "--model-hash") if arguments.model_hash else b""
            verb = "remove" if arguments.remove else "add"
            return Propose(group=GroupChange(arguments.group, model, arguments.scheme)), f"{verb} model group {arguments.group}"
        case "upgrade":
            plan = UpgradePlan(arguments.name, arguments.height, arguments.app_version)
            return Propose(upgrade=plan), f"upgrade {plan.name} to version {plan.app_version} at height {plan.height}"
    return Propose(cancel=arguments.name), f"cancel upgrade {arguments.name}"


def _number(name: str, value: str) -> int:
    whole, dot, fraction = value.partition(".")
    digits = whole.isascii() and whole.isdigit() and (not dot or (fraction.isascii() and fraction.isdigit()))
    if not digits or (dot and (name not in AMOUNTS or len(fraction) > DECIMALS)):
        kind = f"an integer, or a decimal of at most {DECIMALS} places" if name in AMOUNTS else "an integer"
        raise CommandFailed(f"{name}: {value!r} is not {kind}", USAGE)
    return int(whole) * UNIT + int(fraction.ljust(DECIMALS, "0")) if dot else int(whole)


def _hex(text: str, flag: str) -> bytes:
    raw = parse_hex(text, 32)
    if raw is None:
        raise CommandFailed(f"{flag} must be 64 hexadecimal digits", USAGE)
    return raw
