"""Response codes of transactions: registered once, permanent. A retired number stays listed and is never reused."""

CODESPACE = "planetserve"
_registered: dict[int, str] = {}


class TxError(Exception):
    """A transaction that cannot be: a permanent code and a sentence for its sender. It changes nothing."""

    def __init__(self, code: int, detail: str = "") -> None:
        self.code = code
        self.detail = detail
        self.log = f"{_registered[code]}: {detail}" if detail else _registered[code]
        super().__init__(self.log)


class UpgradeNeeded(Exception):
    """The chain has decided an upgrade that this release does not bring. Starting the same release again cannot help."""

    def __init__(self, name: str, height: int, version: int) -> None:
        self.name = name
        self.height = height
        self.version = version
        super().__init__(
            f"the chain needs upgrade {name!r} (application version {version}) from height {height} on, and this release "
            "does not have it; nothing of that block was applied: install the release and start again"
        )


def register(code: int, meaning: str) -> int:
    """Give `code` its meaning, for ever."""
    assert code not in _registered and code > 0, f"code {code} is taken"
    _registered[code] = meaning
    return code


def meanings() -> dict[int, str]:
    """Every code with its meaning, for the documentation and its test."""
    return dict(_registered)


TOO_LARGE = register(1, "the transaction is larger than 65536 bytes")
MALFORMED = register(2, "the transaction is not canonically encoded")
UNKNOWN_KIND = register(3, "no transaction of this kind exists")
BAD_SIGNATURE = register(4, "the signature is not the signer's for this chain")
STALE_NONCE = register(5, "the nonce is not greater than the signer's last one")
BAD_FIELD = register(6, "a field has a value that is never valid")
ALREADY_REGISTERED = register(7, "this key has a node already")
UNKNOWN_NODE = register(8, "the signer has no node")
NODE_RETIRED = register(9, "the node has retired")
UNKNOWN_GROUP = register(10, "no such model group, or another model hash than the group's")
DIRECTORY_FULL = register(11, "the directory has no room for another node")
NOT_A_VERIFIER = register(12, "the signer is not a committee member's verifier")
WRONG_EPOCH = register(13, "the transaction names another epoch than the running one")
WINDOW_CLOSED = register(14, "the window for this kind of transaction is not open at this height")
DUPLICATE = register(15, "the signer has done this already in this epoch")
BAD_PROOF = register(16, "the VRF proof does not verify")
NO_COMMITMENT = register(17, "nothing was committed that this could open")
BAD_OPENING = register(18, "the opening does not match the commitment")
NOT_ASSIGNED = register(19, "the signer's VRF output does not select this node and slot")
BAD_TRANSCRIPT = register(20, "the transcript is not the answer to its challenge, or its signature is not the node's")
KEY_COLLISION = register(21, "the key shares its 62-bit tree index with another key")
INTERNAL = register(22, "this node failed to judge the transaction; nothing is said about others")
UNKNOWN_SIGNER = register(23, "the signer has no node and is no verifier: it can do nothing but register")
QUOTA_EXCEEDED = register(24, "the signer has no tokens left in this epoch")
BAD_WORK = register(25, "the registration's puzzle is not solved for a recent epoch")
REGISTRATIONS_FULL = register(26, "there is no room for another registration now")
PROPOSAL_PENDING = register(27, "the committee member has a pending proposal")
UNKNOWN_PROPOSAL = register(28, "no such proposal")
PROPOSAL_CLOSED = register(29, "votes on this proposal do not count any more")
BAD_CHANGE = register(30, "the change cannot be made to the state as it is")
