"""From an epoch's credit C(T) to a model node's reputation R(T): the published formulas in fixed point.

Section 5 of `docs/verification.md`. Everything is in units of 1e-9 and each formula rounds down once.
"""

from dataclasses import replace

from abci_app.state.fixed import ratio, weighted
from network.chain_records import NodeRecord, Params

RETURN_EPOCHS = 3  # clean scored epochs in a row after which an untrusted node above the threshold is trusted again


def punishment(abnormal: int, params: Params) -> int:
    """The factor that replaces beta: min(beta, floor((W + 1) / (W + c / gamma + 2))), with c abnormal epochs in the window.

    The published factor exceeds beta for small c and large gamma, which would reward: hence the minimum.
    """
    return min(params.beta, ratio(params.window + 1, params.window + abnormal * params.gamma_inverse + 2))


def abnormal_count(credits: tuple[int, ...], params: Params) -> int:
    """How many of the window's epochs had a credit below tau."""
    return sum(credit < params.tau for credit in credits)


def accumulate(suspicion: int, evidence: int, params: Params) -> tuple[int, bool]:
    """(suspicion after an epoch, whether it reached its limit): max(0, before + evidence), all in millinats.

    Honest answers' e-values have a mean of at most 1, so it takes e^(limit in nats) epochs on average until they reach the
    limit; there it begins anew. A limit of 0 asks for none of this.
    """
    held = max(0, suspicion + evidence) if params.suspicion_limit else 0
    reached = 0 < params.suspicion_limit <= held
    return (0 if reached else held), reached


def updated(node: NodeRecord, credit: int, params: Params) -> NodeRecord:
    """The node's record after an epoch whose scored challenges had the mean credit `credit`.

    The window takes the new credit and is trimmed first, then counted. c / W > gamma, with W the full window even while
    it fills, is c * gamma_inverse > W in integers.
    """
    credits = (*node.credits, credit)[-params.window :]
    abnormal = abnormal_count(credits, params)
    punished = abnormal * params.gamma_inverse > params.window
    factor = punishment(abnormal, params) if punished else params.beta
    reputation = weighted((params.alpha, node.reputation), (factor, credit))
    clean = node.clean_epochs + 1 if credit >= params.tau else 0
    trusted = reputation >= params.threshold and (node.trusted or clean >= RETURN_EPOCHS)
    return replace(node, credits=credits, reputation=reputation, trusted=trusted, clean_epochs=clean)
